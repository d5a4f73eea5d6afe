/**
 * Reads what is kept, a page of rows at a time: everything for a broker that starts, and the waiting messages of one
 * session. Runs in the worker.
 */
import type { DatabaseSync } from "node:sqlite"
import { OBJECT_BYTES } from "../core/Content.ts"
import { CHUNK_MESSAGES } from "./SqliteBatch.ts"
import { SqliteBytes } from "./SqliteBytes.ts"
import { type ChunkPage, chunkPages, ChunkRows } from "./SqliteChunks.ts"
import { iterate } from "./SqliteRows.ts"

export type Page = RowPage | ChunkPage

/** Rows of one table. Blobs are in `bytes`: a row has where they start and end (both 0: there is none). */
export type RowPage = { readonly bytes: Uint8Array<ArrayBuffer> } & (
  | { readonly table: "session"; readonly rows: ReadonlyArray<SessionRow> }
  | { readonly table: "subscription"; readonly rows: ReadonlyArray<SubscriptionRow> }
  | { readonly table: "incoming"; readonly rows: ReadonlyArray<IncomingRow> }
  | { readonly table: "pool"; readonly rows: ReadonlyArray<PoolRow> }
  | { readonly table: "retained"; readonly rows: ReadonlyArray<RetainedRow> }
)

type Blob = readonly [start: number, end: number]

export type SessionRow = readonly [
  ...will: Blob,
  number: number,
  clientId: string | Uint8Array, // bytes: it has U+0000 in it
  userName: string,
  unclaimed: number,
  expirySeconds: number,
  disconnectedAt: number
]
export type SubscriptionRow = readonly [session: number, filter: string, options: number, identifier: number]
export type IncomingRow = readonly [...message: Blob, session: number, packetId: number, state: number]
export type PoolRow = readonly [...messages: Blob, number: number, chunks: number]
export type RetainedRow = readonly [...message: Blob, topic: string]

/** A page has about this many bytes of blobs, */
const PAGE_BYTES = 512 * 1024
/** and at most this many rows. */
const PAGE_ROWS = 4_096

interface Query {
  readonly table: RowPage["table"]
  /** Blobs come first. */
  readonly blobs: number
  readonly sql: string
}

/**
 * A session comes before what is in it. Each order is that of a key to its last column: otherwise SQLite sorts, and
 * with each row its blobs.
 */
const queries = {
  session: {
    table: "session",
    blobs: 1,
    sql:
      "SELECT will, number, client_id, user_name, unclaimed, expiry_seconds, disconnected_at FROM session " +
      "ORDER BY number"
  },
  subscription: {
    table: "subscription",
    blobs: 0,
    sql: "SELECT session, filter, options, identifier FROM subscription ORDER BY session, filter"
  },
  incoming: {
    table: "incoming",
    blobs: 1,
    sql: "SELECT message, session, packet_id, state FROM incoming ORDER BY session, packet_id"
  },
  pool: { table: "pool", blobs: 1, sql: "SELECT messages, number, chunks FROM pool ORDER BY number" },
  retained: { table: "retained", blobs: 1, sql: "SELECT message, topic FROM retained" }
} satisfies Record<RowPage["table"], Query>

/** Which messages of a session are read. */
export interface QueueRange {
  readonly session: number
  /** Their orders are above this one, */
  readonly after: number
  /** and up to this one. */
  readonly through: number
  /** About so many bytes at once. */
  readonly bytesMax: number
}

/** Rows that hold the first messages of a range, as far as there are any. */
export interface QueuePage {
  readonly chunks: ChunkPage
  /** What the chunks point into. */
  readonly pools: RowPage
  /** Every message up to this order is in these chunks; above it a chunk that follows may have some too. */
  readonly complete: number
}

const QUEUED =
  "SELECT entries, states, session, first, last, pool FROM chunk LEFT JOIN mark ON mark.chunk = chunk.id " +
  "WHERE session = ? AND first BETWEEN ? AND ? AND last > ? ORDER BY first, last, pool, chunk.id"

/**
 * The first chunks that hold messages of the range, and the pools that they point into. After a restart an order is
 * given again whose message has gone, so a chunk may begin before the one before it ends: a page goes only up to where
 * the next chunk begins, and holds all that begin at or before the first order asked for.
 */
export const queued = (database: DatabaseSync, { after, bytesMax, session, through }: QueueRange): QueuePage => {
  const pools = new Collected("pool", 1)
  const chunks = new ChunkRows()
  const known = new Set<unknown>()
  let messages = 0
  let complete = through
  const pool = database.prepare("SELECT messages, number, chunks FROM pool WHERE number = ?")
  const found = iterate(database.prepare(QUEUED), session, after - CHUNK_MESSAGES + 2, through, after)
  for (const row of found) {
    const first = Number(row[3])
    if (first > after + 1 && chunks.count > 0 && chunks.length + pools.length + messages * OBJECT_BYTES >= bytesMax) {
      complete = first - 1
      break
    }
    chunks.add(row)
    const number = row[5]
    if (typeof number === "number" && !known.has(number)) {
      known.add(number)
      for (const columns of iterate(pool, number)) pools.add(columns)
    }
    messages += Number(row[4]) - first + 1
  }
  return { chunks: chunks.page(), pools: pools.page(), complete }
}

/**
 * All pages, a session's messages in their order. While they are read nothing that is in them is committed, so that
 * they are of one instant, and there is no log that could grow behind them.
 */
export function* pages(database: DatabaseSync): Generator<Page, undefined, void> {
  for (const table of ["session", "subscription", "incoming", "pool"] as const) yield* pagesOf(database, queries[table])
  yield* chunkPages(database)
  yield* pagesOf(database, queries.retained)
  return undefined
}

function* pagesOf(database: DatabaseSync, { blobs, sql, table }: Query): Generator<RowPage, undefined, void> {
  let collected = new Collected(table, blobs)
  for (const columns of iterate(database.prepare(sql))) {
    collected.add(columns)
    if (collected.rows === PAGE_ROWS || collected.length >= PAGE_BYTES) {
      yield collected.page()
      collected = new Collected(table, blobs)
    }
  }
  if (collected.rows > 0) yield collected.page()
  return undefined
}

/** Rows of a table on their way into a page; the blobs come first in a row. */
class Collected {
  private readonly table: RowPage["table"]
  private readonly blobs: number
  private readonly bytes = new SqliteBytes()
  private readonly list: Array<ReadonlyArray<unknown>> = []

  constructor(table: RowPage["table"], blobs: number) {
    this.table = table
    this.blobs = blobs
  }

  get rows(): number {
    return this.list.length
  }

  /** Of the blobs, in bytes. */
  get length(): number {
    return this.bytes.at
  }

  add(columns: ReadonlyArray<unknown>): void {
    const { blobs, bytes } = this
    const row: Array<unknown> = []
    for (let index = 0; index < blobs; index++) {
      const blob = columns[index]
      const start = blob instanceof Uint8Array ? bytes.at : 0
      if (blob instanceof Uint8Array) {
        bytes.reserve(blob.length)
        bytes.copy(blob)
      }
      row.push(start, blob instanceof Uint8Array ? bytes.at : 0)
    }
    for (let index = blobs; index < columns.length; index++) row.push(columns[index])
    this.list.push(row)
  }

  page(): RowPage {
    const { bytes, list: rows, table } = this
    // The rows are those of a query of the table, whose columns are those of its row type.
    return { table, bytes: bytes.bytes.subarray(0, bytes.at), rows } as unknown as RowPage
  }
}
