/**
 * Writes batches into the tables. Runs in the worker; remembers nothing between batches but its statements.
 */
import type { DatabaseSync, StatementSync } from "node:sqlite"
import { CHUNK_MESSAGES, type SqliteBatch } from "./SqliteBatch.ts"
import * as SqliteMark from "./SqliteMark.ts"
import * as SqliteSchema from "./SqliteSchema.ts"

/** A chunk as the index knows it. */
interface Chunk {
  readonly id: number
  readonly session: number
  readonly first: number
  readonly last: number
  readonly pool: number | null
}

const REMOVE_SESSION = [
  "DELETE FROM mark WHERE chunk IN (SELECT id FROM chunk WHERE session = ?)",
  "DELETE FROM chunk WHERE session = ?",
  "DELETE FROM incoming WHERE session = ?",
  "DELETE FROM subscription WHERE session = ?",
  "DELETE FROM session WHERE number = ?"
]

const prepare = (database: DatabaseSync) => ({
  removeSession: REMOVE_SESSION.map((sql) => database.prepare(sql)),
  poolsOf: database.prepare("SELECT pool, count(*) AS chunks FROM chunk WHERE session = ? AND pool > 0 GROUP BY pool"),
  putSession: database.prepare(
    "INSERT INTO session VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (number) DO UPDATE SET " +
      "user_name = excluded.user_name, " +
      "unclaimed = excluded.unclaimed, expiry_seconds = excluded.expiry_seconds, " +
      "disconnected_at = excluded.disconnected_at, will = excluded.will"
  ),
  renameSession: database.prepare("UPDATE session SET client_id = ? WHERE number = ?"),
  putSubscription: database.prepare("INSERT OR REPLACE INTO subscription VALUES (?, ?, ?, ?)"),
  removeSubscription: database.prepare("DELETE FROM subscription WHERE session = ? AND filter = ?"),
  putRetained: database.prepare(
    "INSERT INTO retained VALUES (?, ?) ON CONFLICT (topic) DO UPDATE SET message = excluded.message"
  ),
  removeRetained: database.prepare("DELETE FROM retained WHERE topic = ?"),
  putIncoming: database.prepare("INSERT OR REPLACE INTO incoming VALUES (?, ?, ?, ?)"),
  removeIncoming: database.prepare("DELETE FROM incoming WHERE session = ? AND packet_id BETWEEN ? AND ?"),
  putPool: database.prepare("INSERT INTO pool VALUES (?, ?, ?)"),
  releasePool: database.prepare("UPDATE pool SET chunks = chunks - ? WHERE number = ? RETURNING chunks"),
  removePool: database.prepare("DELETE FROM pool WHERE number = ?"),
  putChunk: database.prepare("INSERT INTO chunk (session, first, last, pool, entries) VALUES (?, ?, ?, ?, ?)"),
  removeCovered: database.prepare(
    "DELETE FROM chunk WHERE session = ? AND first BETWEEN ? AND ? AND last <= ? " +
      "RETURNING id, session, first, last, pool"
  ),
  removeChunk: database.prepare("DELETE FROM chunk WHERE id = ?"),
  findChunks: database.prepare(
    "SELECT id, session, first, last, pool FROM chunk WHERE session = ? AND first BETWEEN ? AND ? AND last >= ?"
  ),
  mark: database.prepare("SELECT states FROM mark WHERE chunk = ?"),
  putMark: database.prepare(
    "INSERT INTO mark VALUES (?, ?) ON CONFLICT (chunk) DO UPDATE SET states = excluded.states"
  ),
  removeMark: database.prepare("DELETE FROM mark WHERE chunk = ?"),
  sequence: database.prepare("SELECT sequence FROM run"),
  progress: database.prepare("UPDATE run SET sequence = ?, alive_at = ?")
})

export class SqliteWriter {
  private readonly database: DatabaseSync
  private readonly statements: ReturnType<typeof prepare>
  /** Of the batch: chunks that it looked into, and what has become of the messages in them. */
  private readonly marked = new Map<number, { readonly chunk: Chunk; readonly states: Uint8Array }>()
  /** Of the batch: how many chunks less point into a pool. */
  private readonly released = new Map<number, number>()

  constructor(database: DatabaseSync) {
    this.database = database
    this.statements = prepare(database)
  }

  /**
   * Writes all of it, in one transaction with its sequence; nothing, when the file has that sequence already. `now` is
   * in milliseconds since the epoch.
   */
  write(batch: SqliteBatch, now: number): void {
    this.marked.clear()
    this.released.clear()
    SqliteSchema.transaction(this.database, () => {
      if (Number(this.statements.sequence.get()?.sequence) >= batch.sequence) return
      for (const session of batch.removedSessions) this.removeSession(session)
      for (const [session, to] of batch.renamedSessions) this.statements.renameSession.run(nameIn(to), session)
      this.putSessions(batch)
      this.removeOutgoing(batch)
      this.putChunks(batch)
      this.setStates(batch)
      this.writeMarks()
      this.releasePools()
      this.writeIncoming(batch)
      this.writeRetained(batch)
      this.statements.progress.run(batch.sequence, now)
    })
  }

  private removeSession(session: number): void {
    for (const row of this.statements.poolsOf.iterate(session)) this.release(Number(row.pool), Number(row.chunks))
    for (const statement of this.statements.removeSession) statement.run(session)
  }

  private putSessions({ bytes, sessions, subscriptions }: SqliteBatch): void {
    const { putSession, putSubscription, removeSubscription } = this.statements
    for (const row of sessions) {
      const will = row.willEnd === 0 ? null : bytes.subarray(row.willStart, row.willEnd)
      const { clientId, disconnectedAt, expirySeconds, number, unclaimed, userName } = row
      putSession.run(number, nameIn(clientId), userName, unclaimed ? 1 : 0, expirySeconds, disconnectedAt, will)
    }
    for (const [session, filter, options, identifier] of subscriptions) {
      if (options === undefined) removeSubscription.run(session, filter)
      else putSubscription.run(session, filter, options, identifier)
    }
  }

  private putChunks({ bytes, chunks, pools }: SqliteBatch): void {
    const { putChunk, putPool } = this.statements
    for (let at = 0; at < pools.length; at += 4) {
      putPool.run(pools[at]!, pools[at + 1]!, bytes.subarray(pools[at + 2]!, pools[at + 3]!))
    }
    for (let at = 0; at < chunks.length; at += 6) {
      const pool = chunks[at + 3]!
      const entries = bytes.subarray(chunks[at + 4]!, chunks[at + 5]!)
      putChunk.run(chunks[at]!, chunks[at + 1]!, chunks[at + 2]!, pool === 0 ? null : pool, entries)
    }
  }

  private removeOutgoing({ removedOutgoing }: SqliteBatch): void {
    for (let at = 0; at < removedOutgoing.length; at += 3) {
      const session = removedOutgoing[at]!
      const first = removedOutgoing[at + 1]!
      const last = removedOutgoing[at + 2]!
      for (const row of rows<Chunk>(this.statements.removeCovered, session, first, last, last)) this.forget(row)
      // Also when those were all: the order of a message that had gone before may be in a second chunk.
      for (const chunk of this.find(session, first, last)) {
        const { states } = this.marksOf(chunk)
        const from = Math.max(first, chunk.first) - chunk.first
        const to = Math.min(last, chunk.last) - chunk.first
        for (let index = from; index <= to; index++) SqliteMark.remove(states, index)
        if (SqliteMark.allGone(states)) {
          this.statements.removeChunk.run(chunk.id)
          this.forget(chunk)
        }
      }
    }
  }

  private setStates({ states: rows }: SqliteBatch): void {
    let session = 0
    let from = 0
    let chunks: ReadonlyArray<Chunk> = []
    for (let at = 0; at < rows.length; at += 4) {
      const order = rows[at + 1]!
      if (rows[at] !== session || order < from || order >= from + CHUNK_MESSAGES) {
        session = rows[at]!
        from = order
        // All chunks: after a restart the order of a message that has gone is given again, and is in two of them.
        chunks = this.find(session, from, from + CHUNK_MESSAGES - 1)
      }
      for (const chunk of chunks) {
        if (order < chunk.first || order > chunk.last) continue
        SqliteMark.set(this.marksOf(chunk).states, order - chunk.first, rows[at + 3]!, rows[at + 2]!)
      }
    }
  }

  /** The chunks that hold some of these orders. */
  private find(session: number, first: number, last: number): ReadonlyArray<Chunk> {
    return rows<Chunk>(this.statements.findChunks, session, first - CHUNK_MESSAGES + 1, last, first)
  }

  private marksOf(chunk: Chunk): { readonly chunk: Chunk; readonly states: Uint8Array } {
    let found = this.marked.get(chunk.id)
    if (found === undefined) {
      const row = this.statements.mark.get(chunk.id)
      const states = SqliteMark.read(row?.states, chunk.last - chunk.first + 1)
      found = { chunk, states }
      this.marked.set(chunk.id, found)
    }
    return found
  }

  /** A chunk has gone. */
  private forget({ id, pool }: Chunk): void {
    this.marked.delete(id)
    this.statements.removeMark.run(id)
    if (pool !== null) this.release(pool, 1)
  }

  private writeMarks(): void {
    for (const [id, { states }] of this.marked) this.statements.putMark.run(id, states)
  }

  private release(pool: number, chunks: number): void {
    this.released.set(pool, (this.released.get(pool) ?? 0) + chunks)
  }

  private releasePools(): void {
    const { releasePool, removePool } = this.statements
    for (const [pool, chunks] of this.released) {
      if (Number(releasePool.get(chunks, pool)?.chunks ?? 0) <= 0) removePool.run(pool)
    }
  }

  private writeIncoming({ bytes, incoming, removedIncoming }: SqliteBatch): void {
    const { putIncoming, removeIncoming } = this.statements
    for (let at = 0; at < removedIncoming.length; at += 3) {
      removeIncoming.run(removedIncoming[at]!, removedIncoming[at + 1]!, removedIncoming[at + 2]!)
    }
    for (let at = 0; at < incoming.length; at += 5) {
      const message = bytes.subarray(incoming[at + 3]!, incoming[at + 4]!)
      putIncoming.run(incoming[at]!, incoming[at + 1]!, incoming[at + 2]!, message)
    }
  }

  private writeRetained({ bytes, retained }: SqliteBatch): void {
    const { putRetained, removeRetained } = this.statements
    for (const [topic, start, end] of retained) {
      if (end === 0) removeRetained.run(topic)
      else putRetained.run(topic, bytes.subarray(start, end))
    }
  }
}

/** As it is in the file: for SQLite's functions, and for some versions of Node, text ends at U+0000. */
const nameIn = (clientId: string): string | Uint8Array => (clientId.includes("\0") ? Buffer.from(clientId) : clientId)

/** The rows of a statement whose columns are known. */
const rows = <Row extends object>(statement: StatementSync, ...parameters: ReadonlyArray<number>): ReadonlyArray<Row> =>
  statement.all(...parameters) as unknown as ReadonlyArray<Row> // the columns are in the SQL
