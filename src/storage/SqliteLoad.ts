/**
 * From rows to the records that they stand for, checked: what is no record is damage, and said so.
 */
import type { IncomingState } from "../core/MessageState.ts"
import type { PutOutgoing, PutSession, PutSubscription, StoreRecord } from "../core/StoreOperation.ts"
import type { QoS } from "../protocol/Packet.ts"
import { PoolReader } from "./SqliteBatch.ts"
import type { KnownSession, SqliteCatalog } from "./SqliteCatalog.ts"
import type { ChunkPage } from "./SqliteChunks.ts"
import * as SqliteChunks from "./SqliteChunks.ts"
import { EntryReader } from "./SqliteEntries.ts"
import { damaged, SqliteFailure } from "./SqliteFailure.ts"
import * as SqliteMessage from "./SqliteMessage.ts"
import type {
  IncomingRow,
  Page,
  PoolRow,
  QueuePage,
  RetainedRow,
  RowPage,
  SessionRow,
  SubscriptionRow
} from "./SqliteReader.ts"

const incomingStates: ReadonlyArray<number> = [6, 7, 8, 9, 10] satisfies ReadonlyArray<IncomingState>

/**
 * So many records are made before the first is handed on. Where all objects that a place in the code has made so far
 * are still in use when the engine first looks, it makes those that follow there among the lasting ones, where garbage
 * is cleared last: with thousands at once a start with a million messages took 200 MiB and 2 s of CPU more.
 */
const PART_RECORDS = 256

/** Called with a row that cannot be read. */
export type OnDamage = (page: Page, row: number) => void

interface LoadedSession {
  readonly clientId: string
  readonly known: KnownSession
}

export class SqliteLoad {
  private readonly catalog: SqliteCatalog
  private readonly sessions = new Map<number, LoadedSession>()
  private readonly pools = new Map<number, PoolReader>()
  /** Chunks whose orders overlap are put in order before they are given on; nearly always it is one. */
  private group: Array<PutOutgoing> = []
  private groupSession = 0
  private groupLast = 0
  private groupOverlaps = false
  private readonly onDamage: OnDamage | undefined

  /** With `onDamage` a row that cannot be read is left out instead of ending it all. */
  constructor(catalog: SqliteCatalog, onDamage?: OnDamage) {
    this.catalog = catalog
    this.onDamage = onDamage
  }

  /**
   * The records of a page, some at a time; messages of one session may be held back until the next page. Throws
   * SqliteFailure.
   */
  *parts(page: Page): Generator<Array<StoreRecord>, undefined, void> {
    const read = this.reading(page)
    const count = page.table === "chunk" ? page.numbers.length / SqliteChunks.CHUNK_COLUMNS : page.rows.length
    let records: Array<StoreRecord> = []
    for (let row = 0; row < count; row++) {
      try {
        read(row, records)
      } catch (error) {
        if (this.onDamage === undefined || !(error instanceof SqliteFailure)) throw error
        this.onDamage(page, row)
      }
      if (records.length < PART_RECORDS) continue
      yield records
      records = []
    }
    if (records.length > 0) yield records
    return undefined
  }

  /** Reads it all for what cannot be read. Throws SqliteFailure. */
  check(pages: Iterable<Page>): void {
    for (const page of pages) {
      const parts = this.parts(page)
      while (parts.next().done !== true);
    }
  }

  /** Reads one row. What it needs for the page is made once. */
  private reading(page: Page): (row: number, records: Array<StoreRecord>) => void {
    if (page.table !== "chunk") return (row, records) => this.read(page, page.rows[row]!, records)
    const reader = new EntryReader(page)
    return (row, records) => this.readChunk(page, reader, row * SqliteChunks.CHUNK_COLUMNS, records)
  }

  /** What was held back. */
  end(): Array<StoreRecord> {
    const records: Array<StoreRecord> = []
    this.flush(records)
    return records
  }

  private read({ bytes, table }: RowPage, row: RowPage["rows"][number], records: Array<StoreRecord>): void {
    // The casts: the rows of a page are those of its table.
    switch (table) {
      case "session":
        records.push(this.readSession(bytes, row as SessionRow))
        return
      case "subscription":
        records.push(this.readSubscription(row as SubscriptionRow))
        return
      case "incoming":
        records.push(this.readIncoming(bytes, row as IncomingRow))
        return
      case "pool": {
        const [start, end, number, chunks] = row as PoolRow
        this.pools.set(number, new PoolReader(bytes.subarray(start, end), chunks))
        return
      }
      case "retained": {
        this.flush(records)
        const [start, end, topic] = row as RetainedRow
        const message = SqliteMessage.read(bytes.subarray(start, end))
        if (message === undefined || message.topic !== topic) throw damaged(`a retained message (${topic})`)
        records.push({ _tag: "PutRetained", message })
      }
    }
  }

  private readSession(bytes: Uint8Array, row: SessionRow): StoreRecord {
    const [start, end, number, name, userName, unclaimed, expirySeconds, disconnectedAt] = row
    const clientId = typeof name === "string" ? name : Buffer.from(name).toString()
    const known = { number, lastOrder: 0 }
    this.sessions.set(number, { clientId, known })
    this.catalog.sessions.set(clientId, known)
    const will = end === 0 ? undefined : SqliteMessage.readWill(bytes.subarray(start, end))
    if (end !== 0 && will === undefined) throw damaged(`the will of ${clientId}`)
    const record: PutSession = { _tag: "PutSession", clientId, userName, expirySeconds, disconnectedAt, will }
    return unclaimed === 1 ? { ...record, unclaimed: true } : record
  }

  private sessionOf(number: number): LoadedSession {
    const session = this.sessions.get(number)
    if (session === undefined) throw damaged(`something of session ${number}, which is not there itself,`)
    return session
  }

  private readSubscription([number, filter, options, identifier]: SubscriptionRow): StoreRecord {
    const { clientId } = this.sessionOf(number)
    const qos = options & 0x03
    const retainHandling = options >>> 4
    if (qos > 2 || retainHandling > 2) throw damaged(`a subscription of ${clientId}`)
    return {
      _tag: "PutSubscription",
      clientId,
      filter,
      qos: qos as QoS, // checked
      noLocal: (options & 0x04) !== 0,
      retainAsPublished: (options & 0x08) !== 0,
      retainHandling: retainHandling as PutSubscription["retainHandling"], // checked
      subscriptionIdentifier: identifier
    }
  }

  private readIncoming(bytes: Uint8Array, [start, end, number, packetId, state]: IncomingRow): StoreRecord {
    const { clientId } = this.sessionOf(number)
    const message = SqliteMessage.read(bytes.subarray(start, end))
    if (message === undefined || !incomingStates.includes(state)) throw damaged(`an incoming message of ${clientId}`)
    return { _tag: "PutIncoming", clientId, packetId, message, state: state as IncomingState } // checked
  }

  private readChunk({ numbers }: ChunkPage, reader: EntryReader, at: number, records: Array<StoreRecord>): void {
    const number = numbers[at + SqliteChunks.SESSION]!
    const first = numbers[at + SqliteChunks.FIRST]!
    const last = numbers[at + SqliteChunks.LAST]!
    const poolNumber = numbers[at + SqliteChunks.POOL]!
    const { clientId, known } = this.sessionOf(number)
    if (!(first <= last)) throw damaged(`a message for ${clientId}`) // also when one of them is no number
    if (number !== this.groupSession || first > this.groupLast) {
      this.flush(records)
      this.groupSession = number
      this.groupLast = last
    } else {
      this.groupOverlaps = true
      this.groupLast = Math.max(this.groupLast, last)
    }
    known.lastOrder = Math.max(known.lastOrder, last)
    const pool = poolNumber === 0 ? undefined : this.pools.get(poolNumber)
    reader.read(at, clientId, pool, this.group)
    // Nobody else will ask for what is in it.
    if (pool !== undefined && --pool.waiting <= 0) this.pools.delete(poolNumber)
  }

  private flush(records: Array<StoreRecord>): void {
    if (this.group.length === 0) return
    if (this.groupOverlaps) this.group.sort((a, b) => a.order - b.order)
    for (const record of this.group) records.push(record)
    this.group = []
    this.groupOverlaps = false
  }
}

/** The messages of a page of one session's queue, in order; undefined behind the last. Throws SqliteFailure. */
export const readQueued = (
  { chunks, complete, pools }: QueuePage,
  clientId: string,
  after: number
): ReadonlyArray<PutOutgoing> | undefined => {
  if (chunks.numbers.length === 0) return undefined
  const readers = new Map<number, PoolReader>()
  for (const row of pools.rows) {
    const [start, end, number, count] = row as PoolRow // the rows of a page are those of its table
    readers.set(number, new PoolReader(pools.bytes.subarray(start, end), count))
  }
  const found: Array<PutOutgoing> = []
  const reader = new EntryReader(chunks)
  for (let at = 0; at < chunks.numbers.length; at += SqliteChunks.CHUNK_COLUMNS) {
    reader.read(at, clientId, readers.get(chunks.numbers[at + SqliteChunks.POOL]!), found)
  }
  const records = found.filter(({ order }) => order > after && order <= complete)
  return records.sort((a, b) => a.order - b.order)
}
