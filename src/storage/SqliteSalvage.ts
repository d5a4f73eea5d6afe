/**
 * What can still be read of a damaged file, put into a new one.
 *
 * Rows are looked up around the damage: a page that cannot be read costs the rows on it, and those that only it leads
 * to. What then does not make sense (a message for a session that is gone) is left out too. Only what the damaged file
 * says counts as damage: where the new one cannot be written, all of it fails.
 */
import { closeSync, copyFileSync, existsSync, openSync, readSync, rmSync, statSync, writeSync } from "node:fs"
import type { SQLInputValue, StatementSync } from "node:sqlite"
import { DatabaseSync } from "./NodeSqlite.ts"
import { SqliteCatalog } from "./SqliteCatalog.ts"
import * as SqliteChunks from "./SqliteChunks.ts"
import * as SqliteFailure from "./SqliteFailure.ts"
import * as SqliteFile from "./SqliteFile.ts"
import { SqliteLoad } from "./SqliteLoad.ts"
import { type Page, pages } from "./SqliteReader.ts"
import * as SqliteSchema from "./SqliteSchema.ts"

export interface Counts {
  readonly sessions: number
  readonly subscriptions: number
  readonly queuedMessages: number
  readonly incomingMessages: number
  readonly retainedMessages: number
}

/** Tables whose rows have a number, and the column it is in. */
const numbered = [
  ["session", "number"],
  ["chunk", "id"],
  ["pool", "number"],
  ["mark", "chunk"],
  ["retained", "rowid"]
] as const

/** A file that has less than its header says, or damaged tables, is read all the same; it is never written to. */
const openDamaged = (file: string): DatabaseSync => {
  // What a broker left in the middle of making its file must be undone before anything is read.
  const readOnly = !existsSync(`${file}-journal`)
  // "Defensive" is against programs that mean to do harm by changing the schema; here it is only read.
  const database = new DatabaseSync(file, { readOnly, defensive: false })
  // The second lets it read a file whose header does not fit it.
  database.exec("PRAGMA query_only = ON; PRAGMA writable_schema = ON")
  return database
}

/** Fills `to`, an empty store in the file `toFile`, from a damaged one. Throws when `to` cannot be written. */
export const salvage = (from: string, to: DatabaseSync, toFile: string): void => {
  const mended = `${toFile}-source`
  try {
    const source = openSource(from, toFile, mended)
    if (source === undefined) return // not even its tables can be found
    try {
      copyAll(source, to)
    } finally {
      source.close()
    }
  } finally {
    for (const suffix of ["", "-wal", "-shm"]) rmSync(`${mended}${suffix}`, { force: true })
  }
  leaveOutNonsense(to)
}

/** As it is; or a copy of it with the first bytes, or the first page, of a store that was just made. */
const openSource = (from: string, fresh: string, mended: string): DatabaseSync | undefined => {
  const asItIs = tryOpen(from)
  if (asItIs !== undefined) return asItIs
  for (const bytes of [HEADER_BYTES, SqliteFile.PAGE_BYTES]) {
    mend(from, fresh, mended, bytes)
    const source = tryOpen(mended)
    if (source !== undefined) return source
  }
  return undefined
}

/** Undefined when it does not know its tables. */
const tryOpen = (file: string): DatabaseSync | undefined => {
  let database: DatabaseSync | undefined
  try {
    database = openDamaged(file)
    // Each can be asked for, whatever the answer.
    for (const [table] of numbered) database.prepare(`SELECT * FROM ${table}`)
    return database
  } catch (error) {
    database?.close()
    if (!SqliteFailure.isDamage(error)) throw error
    return undefined
  }
}

const HEADER_BYTES = 100

/** The tables of every store begin on the same pages, because they were made in the same order. */
const mend = (from: string, fresh: string, to: string, bytes: number): void => {
  copyFileSync(from, to)
  const hasLog = SqliteFile.sizeOf(`${from}-wal`) > 0
  if (hasLog) copyFileSync(`${from}-wal`, `${to}-wal`)
  const start = Buffer.alloc(bytes)
  const model = openSync(fresh, "r")
  readSync(model, start, 0, bytes, 0)
  closeSync(model)
  const journal = hasLog ? 2 : 1 // the header's words for a write-ahead log, and for none
  start.fill(journal, 18, 20)
  start.writeUInt32BE(Math.floor(statSync(from).size / SqliteFile.PAGE_BYTES), 28)
  const target = openSync(to, "r+")
  writeSync(target, start, 0, bytes, 0)
  closeSync(target)
}

const copyAll = (source: DatabaseSync, to: DatabaseSync): void => {
  for (const [table, key] of numbered) {
    SqliteSchema.transaction(to, () => copyNumbered(source, to, table, key))
  }
  const sessions = to.prepare("SELECT number FROM session").all()
  for (const [table, key] of [
    ["subscription", "filter"],
    ["incoming", "packet_id"]
  ] as const) {
    SqliteSchema.transaction(to, () => {
      for (const { number } of sessions) copySession(source, to, table, key, Number(number))
    })
  }
}

type Row = Record<string, unknown>

/** Puts rows into a table; those that are there stay. */
const putter = (to: DatabaseSync, table: string): ((row: Row) => void) => {
  let statement: StatementSync | undefined
  return ({ rowid: _, ...row }) => {
    const values = Object.values(row) as Array<SQLInputValue> // as SQLite gave them
    statement ??= to.prepare(
      `INSERT OR IGNORE INTO ${table} (${Object.keys(row).join(", ")}) VALUES (${values.map(() => "?").join(", ")})`
    )
    try {
      statement.run(...values)
    } catch (error) {
      // What a row of a damaged page holds may not even be of the right type.
      if (!SqliteFailure.isUnfit(error)) throw error
    }
  }
}

/**
 * From the lowest number up, until a page cannot be read; then from beyond it, in growing steps, until it can be, and
 * from there back down to the page.
 */
const copyNumbered = (source: DatabaseSync, to: DatabaseSync, table: string, key: string): void => {
  const columns = key === "rowid" ? "rowid, *" : "*"
  const upward = `SELECT ${columns} FROM ${table} WHERE ${key} >= ? ORDER BY ${key}`
  const downward = `SELECT ${columns} FROM ${table} WHERE ${key} BETWEEN ? AND ? ORDER BY ${key} DESC`
  const highest = highestOf(source, table, key)
  /** Up to here all has been read or given up. */
  let done = -1
  let step = 1
  for (let from = 0; from <= highest; ) {
    const before = done
    const copied = copy(source, to, table, upward, [from], (row) => {
      done = Math.max(done, Number(row[key]))
    })
    const found = done > before
    if (found && from > before + 1) copy(source, to, table, downward, [before + 1, from - 1], () => {})
    if (copied) return
    step = found ? 1 : step * 2
    from = Math.max(from, done) + step
  }
}

const highestOf = (source: DatabaseSync, table: string, key: string): number => {
  try {
    return SqliteSchema.numberOf(source, `SELECT max(${key}) FROM ${table}`)
  } catch (error) {
    if (!SqliteFailure.isDamage(error)) throw error
    return 2 ** 48 // its last page is damaged: as far as growing steps reach
  }
}

/** False when it met a page that cannot be read. */
const copy = (
  source: DatabaseSync,
  to: DatabaseSync,
  table: string,
  sql: string,
  parameters: ReadonlyArray<number>,
  note: (row: Row) => void
): boolean => {
  const put = putter(to, table)
  let rows: Iterator<Row> | undefined
  for (;;) {
    let next: IteratorResult<Row>
    try {
      rows ??= source.prepare(sql).iterate(...parameters)
      next = rows.next()
    } catch (error) {
      if (!SqliteFailure.isDamage(error)) throw error
      return false
    }
    if (next.done === true) return true
    note(next.value)
    put(next.value)
  }
}

/** What a session has, from both ends: what is between two damaged pages is lost. */
const copySession = (source: DatabaseSync, to: DatabaseSync, table: string, key: string, session: number): void => {
  const sql = `SELECT * FROM ${table} WHERE session = ? ORDER BY ${key}`
  if (!copy(source, to, table, sql, [session], () => {})) {
    copy(source, to, table, `${sql} DESC`, [session], () => {})
  }
}

const leaveOutNonsense = (database: DatabaseSync): void => {
  // What a row is found by must be a number.
  database.exec(`
    DELETE FROM chunk
    WHERE typeof(session) <> 'integer' OR typeof(first) <> 'integer' OR typeof(last) <> 'integer'
      OR typeof(pool) NOT IN ('integer', 'null');
  `)
  const damaged: Array<readonly [Page, row: number]> = []
  const load = new SqliteLoad(new SqliteCatalog(), (page, row) => damaged.push([page, row]))
  load.check(pages(database))
  SqliteSchema.transaction(database, () => {
    for (const [page, row] of damaged) leaveOut(database, page, row)
    database.exec(`
      DELETE FROM mark WHERE chunk NOT IN (SELECT id FROM chunk);
      UPDATE pool SET chunks = (SELECT count(*) FROM chunk WHERE chunk.pool = pool.number);
      DELETE FROM pool WHERE chunks = 0;
    `)
  })
}

/** The places in the rows are those of the types in `SqliteReader.ts`. */
const leaveOut = (database: DatabaseSync, page: Page, at: number): void => {
  const run = (sql: string, ...values: ReadonlyArray<SQLInputValue>) => database.prepare(sql).run(...values)
  switch (page.table) {
    case "session":
      run("UPDATE session SET will = NULL WHERE number = ?", page.rows[at]![2])
      return
    case "subscription":
      run("DELETE FROM subscription WHERE session = ? AND filter = ?", page.rows[at]![0], page.rows[at]![1])
      return
    case "incoming":
      run("DELETE FROM incoming WHERE session = ? AND packet_id = ?", page.rows[at]![2], page.rows[at]![3])
      return
    case "chunk": {
      const chunk = page.numbers.slice(at * SqliteChunks.CHUNK_COLUMNS)
      const [session, first] = [chunk[SqliteChunks.SESSION]!, chunk[SqliteChunks.FIRST]!]
      run("DELETE FROM chunk WHERE session = ? AND first = ?", session, first)
      return
    }
    case "retained":
      run("DELETE FROM retained WHERE topic = ?", page.rows[at]![2])
      return
    case "pool":
      return // a damaged pool shows in the chunks that point into it
  }
}

export const count = (database: DatabaseSync): Counts => {
  const number = (sql: string) => SqliteSchema.numberOf(database, sql)
  return {
    sessions: number("SELECT count(*) FROM session"),
    subscriptions: number("SELECT count(*) FROM subscription"),
    queuedMessages: number("SELECT coalesce(sum(last - first + 1), 0) FROM chunk"),
    incomingMessages: number("SELECT count(*) FROM incoming"),
    retainedMessages: number("SELECT count(*) FROM retained")
  }
}
