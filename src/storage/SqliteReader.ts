/**
 * Reads everything that is kept, a page of rows at a time, for a broker that starts. Runs in the worker.
 */
import type { DatabaseSync, StatementSync } from "node:sqlite"
import { SqliteBytes } from "./SqliteBytes.ts"

/** Rows of one table. Blobs are in `bytes`: a row has where they start and end (both 0: there is none). */
export type Page = { readonly bytes: Uint8Array<ArrayBuffer> } & (
  | { readonly table: "session"; readonly rows: ReadonlyArray<SessionRow> }
  | { readonly table: "subscription"; readonly rows: ReadonlyArray<SubscriptionRow> }
  | { readonly table: "incoming"; readonly rows: ReadonlyArray<IncomingRow> }
  | { readonly table: "pool"; readonly rows: ReadonlyArray<PoolRow> }
  | { readonly table: "chunk"; readonly rows: ReadonlyArray<ChunkRow> }
  | { readonly table: "retained"; readonly rows: ReadonlyArray<RetainedRow> }
)

type Blob = readonly [start: number, end: number]

export type SessionRow = readonly [
  ...will: Blob,
  number: number,
  clientId: string,
  userName: string,
  unclaimed: number,
  expirySeconds: number,
  disconnectedAt: number
]
export type SubscriptionRow = readonly [session: number, filter: string, options: number, identifier: number]
export type IncomingRow = readonly [...message: Blob, session: number, packetId: number, state: number]
export type PoolRow = readonly [...messages: Blob, number: number, chunks: number]
export type ChunkRow = readonly [
  ...entries: Blob,
  ...marks: Blob,
  session: number,
  first: number,
  last: number,
  pool: number | null
]
export type RetainedRow = readonly [...message: Blob, topic: string]

/** A page has about this many bytes of blobs, */
const PAGE_BYTES = 512 * 1024
/** and at most this many rows. */
const PAGE_ROWS = 4_096

interface Query {
  readonly table: Page["table"]
  /** Blobs come first. */
  readonly blobs: number
  readonly sql: string
}

/** A session comes before what is in it, and a session's messages in their order. */
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
  chunk: {
    table: "chunk",
    blobs: 2,
    sql:
      "SELECT entries, states, session, first, last, pool FROM chunk LEFT JOIN mark ON mark.chunk = chunk.id " +
      "ORDER BY session, first, chunk.id"
  },
  retained: { table: "retained", blobs: 1, sql: "SELECT message, topic FROM retained" }
} satisfies Record<Page["table"], Query>

/** All pages. The database is being read from the first to the last, or until the generator is closed. */
export function* pages(database: DatabaseSync): Generator<Page, undefined, void> {
  const tables = ["session", "subscription", "incoming", "pool", "chunk", "retained"] as const
  for (const table of tables) yield* pagesOf(database, queries[table])
  return undefined
}

function* pagesOf(database: DatabaseSync, { blobs, sql, table }: Query): Generator<Page, undefined, void> {
  let bytes = new SqliteBytes()
  let rows: Array<ReadonlyArray<unknown>> = []
  // The rows are those of the query, whose columns are those of the table's row type.
  const page = () => ({ table, bytes: bytes.bytes.subarray(0, bytes.at), rows }) as unknown as Page
  for (const columns of iterate(database.prepare(sql))) {
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
    rows.push(row)
    if (rows.length === PAGE_ROWS || bytes.at >= PAGE_BYTES) {
      yield page()
      bytes = new SqliteBytes()
      rows = []
    }
  }
  if (rows.length > 0) yield page()
  return undefined
}

const iterate = (statement: StatementSync): Iterable<ReadonlyArray<unknown>> => {
  statement.setReturnArrays(true)
  return statement.iterate() as unknown as Iterable<ReadonlyArray<unknown>> // arrays from now on
}
