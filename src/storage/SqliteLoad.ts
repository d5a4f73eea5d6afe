/**
 * From rows to the records that they stand for, checked: what is no record is damage, and said so.
 */
import type { IncomingState, OutgoingState } from "../core/MessageState.ts"
import type { PutOutgoing, PutSubscription, StoredMessage, StoreRecord } from "../core/StoreOperation.ts"
import type { QoS } from "../protocol/Packet.ts"
import { IDENTIFIERS, POOLED, PoolReader, RETAIN, SHARED_FILTER } from "./SqliteBatch.ts"
import type { KnownSession, SqliteCatalog } from "./SqliteCatalog.ts"
import { SqliteFailure } from "./SqliteFailure.ts"
import * as SqliteMark from "./SqliteMark.ts"
import { MessageReader } from "./SqliteMessage.ts"
import * as SqliteMessage from "./SqliteMessage.ts"
import type {
  ChunkRow,
  IncomingRow,
  Page,
  PoolRow,
  QueuePage,
  RetainedRow,
  SessionRow,
  SubscriptionRow
} from "./SqliteReader.ts"

/** What does not read as it should. */
const damaged = (what: string): SqliteFailure => new SqliteFailure("corrupt", `It has ${what} that cannot be read.`)

const outgoingStates: ReadonlyArray<number> = [1, 2, 3, 4, 5, 10] satisfies ReadonlyArray<OutgoingState>
const incomingStates: ReadonlyArray<number> = [6, 7, 8, 9, 10] satisfies ReadonlyArray<IncomingState>

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
  private readonly onDamage: ((page: Page, row: Page["rows"][number]) => void) | undefined

  /** With `onDamage` a row that cannot be read is left out instead of ending it all. */
  constructor(catalog: SqliteCatalog, onDamage?: (page: Page, row: Page["rows"][number]) => void) {
    this.catalog = catalog
    this.onDamage = onDamage
  }

  /** The records of a page; messages of one session may be held back until the next. Throws SqliteFailure. */
  records(page: Page): Array<StoreRecord> {
    const records: Array<StoreRecord> = []
    for (const row of page.rows) {
      try {
        this.read(page, row, records)
      } catch (error) {
        if (this.onDamage === undefined || !(error instanceof SqliteFailure)) throw error
        this.onDamage(page, row)
      }
    }
    return records
  }

  /** What was held back. */
  end(): Array<StoreRecord> {
    const records: Array<StoreRecord> = []
    this.flush(records)
    return records
  }

  private read({ bytes, table }: Page, row: Page["rows"][number], records: Array<StoreRecord>): void {
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
      case "chunk":
        this.readChunk(bytes, row as ChunkRow, records)
        return
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
    const [start, end, number, clientId, userName, unclaimed, expirySeconds, disconnectedAt] = row
    const known = { number, lastOrder: 0 }
    this.sessions.set(number, { clientId, known })
    this.catalog.sessions.set(clientId, known)
    const will = end === 0 ? undefined : SqliteMessage.readWill(bytes.subarray(start, end))
    if (end !== 0 && will === undefined) throw damaged(`the will of ${clientId}`)
    return {
      _tag: "PutSession",
      clientId,
      userName,
      ...(unclaimed === 1 ? { unclaimed: true } : undefined),
      expirySeconds,
      disconnectedAt,
      will
    }
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

  private readChunk(bytes: Uint8Array, row: ChunkRow, records: Array<StoreRecord>): void {
    const [, , , , number, first, last, poolNumber] = row
    const { clientId, known } = this.sessionOf(number)
    if (number !== this.groupSession || first > this.groupLast) {
      this.flush(records)
      this.groupSession = number
      this.groupLast = last
    } else {
      this.groupOverlaps = true
      this.groupLast = Math.max(this.groupLast, last)
    }
    known.lastOrder = Math.max(known.lastOrder, last)
    const pool = poolNumber === null ? undefined : this.pools.get(poolNumber)
    readEntries(bytes, row, clientId, pool, this.group)
    // Nobody else will ask for what is in it.
    if (pool !== undefined && poolNumber !== null && --pool.waiting <= 0) this.pools.delete(poolNumber)
  }

  private flush(records: Array<StoreRecord>): void {
    if (this.group.length === 0) return
    if (this.groupOverlaps) this.group.sort((a, b) => a.order - b.order)
    for (const record of this.group) records.push(record)
    this.group = []
    this.groupOverlaps = false
  }
}

/** Appends the messages of a chunk that are still there. Throws SqliteFailure. */
const readEntries = (
  bytes: Uint8Array,
  [start, end, markStart, markEnd, , first, last]: ChunkRow,
  clientId: string,
  pool: PoolReader | undefined,
  found: Array<PutOutgoing>
): void => {
  const states = markEnd === 0 ? undefined : SqliteMark.read(bytes.subarray(markStart, markEnd), last - first + 1)
  const entries = new EntryReader(bytes.subarray(start, end), pool)
  for (let order = first; order <= last; order++) {
    const entry = entries.read(clientId, order)
    if (entry === undefined) throw damaged(`a message for ${clientId}`)
    if (states === undefined) found.push(entry)
    else if (!SqliteMark.isGone(states, order - first)) {
      const mark = SqliteMark.get(states, order - first)
      if (mark !== undefined && !outgoingStates.includes(mark.state)) throw damaged(`a message for ${clientId}`)
      found.push(mark === undefined ? entry : { ...entry, ...mark })
    }
  }
}

/** The messages of a page of one session's queue, in order; undefined behind the last. Throws SqliteFailure. */
export const readQueued = (
  { chunks, complete, pools }: QueuePage,
  clientId: string,
  after: number
): ReadonlyArray<PutOutgoing> | undefined => {
  if (chunks.rows.length === 0) return undefined
  const readers = new Map<number, PoolReader>()
  for (const row of pools.rows) {
    const [start, end, number, count] = row as PoolRow // the rows of a page are those of its table
    readers.set(number, new PoolReader(pools.bytes.subarray(start, end), count))
  }
  const found: Array<PutOutgoing> = []
  for (const row of chunks.rows) {
    const chunk = row as ChunkRow // as above
    const pool = chunk[7]
    readEntries(chunks.bytes, chunk, clientId, pool === null ? undefined : readers.get(pool), found)
  }
  const records = found.filter(({ order }) => order > after && order <= complete)
  return records.sort((a, b) => a.order - b.order)
}

/** The messages of a chunk, one behind the other. */
class EntryReader {
  private readonly messages: MessageReader
  private readonly pool: PoolReader | undefined

  constructor(source: Uint8Array, pool: PoolReader | undefined) {
    this.messages = new MessageReader(source)
    this.pool = pool
  }

  read(clientId: string, order: number): PutOutgoing | undefined {
    const { reader } = this.messages
    const flags = reader.uint8()
    const qos = flags & 0x03
    const state = reader.uint8()
    const packetId = reader.uint16()
    const subscriptionIdentifiers = (flags & IDENTIFIERS) === 0 ? undefined : this.readIdentifiers()
    const sharedFilter = (flags & SHARED_FILTER) === 0 ? undefined : reader.text()
    const message = (flags & POOLED) === 0 ? this.messages.read() : this.readPooled()
    if (message === undefined || reader.error !== undefined || qos > 2 || !outgoingStates.includes(state)) {
      return undefined
    }
    return {
      _tag: "PutOutgoing",
      clientId,
      order,
      message,
      qos: qos as QoS, // checked
      retain: (flags & RETAIN) !== 0,
      packetId,
      state: state as OutgoingState, // checked
      subscriptionIdentifiers,
      ...(sharedFilter === undefined ? undefined : { sharedFilter })
    }
  }

  private readIdentifiers(): ReadonlyArray<number> {
    const { reader } = this.messages
    const identifiers: Array<number> = []
    for (let left = reader.uint32(); left > 0 && reader.error === undefined; left--) identifiers.push(reader.uint32())
    return identifiers
  }

  private readPooled(): StoredMessage | undefined {
    return this.pool?.at(this.messages.reader.uint32())
  }
}
