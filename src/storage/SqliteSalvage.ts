/**
 * Recovery of a damaged file: it is moved aside as it is, and what can still be read of it is put into a new one.
 *
 * Rows are looked up around the damage: a page that cannot be read costs the rows on it, and those that only it leads
 * to. What then does not make sense (a message for a session that is gone) is left out too. Runs before the broker
 * starts, under its lock.
 */
import { existsSync, renameSync, rmSync } from "node:fs"
import type { SQLInputValue, StatementSync } from "node:sqlite"
import { DatabaseSync } from "./NodeSqlite.ts"
import { SqliteCatalog } from "./SqliteCatalog.ts"
import { of } from "./SqliteFailure.ts"
import * as SqliteFile from "./SqliteFile.ts"
import { SqliteLoad } from "./SqliteLoad.ts"
import { type Page, pages } from "./SqliteReader.ts"
import * as SqliteSchema from "./SqliteSchema.ts"

export interface Salvaged {
  /** Where the damaged file is now. */
  readonly movedTo: string
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

/** Recovers the file if it is damaged; undefined: it is not. Throws SqliteFailure for a file that is not ours. */
export const recover = (options: SqliteFile.FileOptions): Salvaged | undefined => {
  const { file } = options
  if (SqliteFile.sizeOf(file) === 0 && SqliteFile.sizeOf(`${file}-wal`) === 0) return undefined
  if (!isDamaged(file)) return undefined
  const movedTo = moveAside(file)
  const { database } = SqliteFile.open(options)
  try {
    copyAll(movedTo, database)
    leaveOutNonsense(database)
    return { movedTo, ...count(database) }
  } finally {
    database.close()
  }
}

/** Whether anything in it cannot be read. */
const isDamaged = (file: string): boolean => {
  // What has the reserve beside it is ours, however it begins.
  if (!existsSync(file) || !SqliteFile.looksLikeDatabase(file)) return existsSync(`${file}-reserve`)
  const database = new DatabaseSync(file)
  try {
    if (SqliteSchema.isNew(database)) return false
    const [verdict] = Object.values(database.prepare("PRAGMA integrity_check(1)").get() ?? {})
    if (verdict !== "ok") return true
    const load = new SqliteLoad(new SqliteCatalog())
    for (const page of pages(database)) load.records(page)
    return false
  } catch (error) {
    const failure = of(error)
    if (failure.kind === "corrupt") return true
    throw failure
  } finally {
    database.close()
  }
}

const moveAside = (file: string): string => {
  const movedTo = `${file}.damaged-${new Date().toISOString().replaceAll(/[:.]/g, "-")}`
  for (const suffix of ["", "-wal"]) {
    if (existsSync(`${file}${suffix}`)) renameSync(`${file}${suffix}`, `${movedTo}${suffix}`)
  }
  rmSync(`${file}-shm`, { force: true }) // made again from the log
  return movedTo
}

const copyAll = (from: string, to: DatabaseSync): void => {
  let source: DatabaseSync
  try {
    source = new DatabaseSync(from)
    source.exec("PRAGMA query_only = ON")
  } catch {
    return // not even that can be read
  }
  try {
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
  } finally {
    source.close()
  }
}

/** Puts rows into a table; those that are there stay. */
const put = (to: DatabaseSync, table: string, rows: Iterable<Record<string, unknown>>): void => {
  let statement: StatementSync | undefined
  for (const { rowid: _, ...row } of rows) {
    // What a row of a damaged page holds may not even be of the right type.
    const values = Object.values(row) as Array<SQLInputValue> // as SQLite gave them
    statement ??= to.prepare(
      `INSERT OR IGNORE INTO ${table} (${Object.keys(row).join(", ")}) VALUES (${values.map(() => "?").join(", ")})`
    )
    statement.run(...values)
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
  } catch {
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
  note: (row: Record<string, unknown>) => void
): boolean => {
  try {
    put(to, table, noting(source.prepare(sql).iterate(...parameters), note))
    return true
  } catch {
    return false
  }
}

function* noting(
  rows: Iterable<Record<string, unknown>>,
  note: (row: Record<string, unknown>) => void
): Generator<Record<string, unknown>> {
  for (const row of rows) {
    note(row)
    yield row
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
  const damaged: Array<readonly [Page["table"], ReadonlyArray<unknown>]> = []
  const load = new SqliteLoad(new SqliteCatalog(), ({ table }, row) => damaged.push([table, row]))
  for (const page of pages(database)) load.records(page)
  SqliteSchema.transaction(database, () => {
    for (const [table, row] of damaged) leaveOut(database, table, row as Array<number>) // the columns that are used are
    database.exec(`
      DELETE FROM mark WHERE chunk NOT IN (SELECT id FROM chunk);
      UPDATE pool SET chunks = (SELECT count(*) FROM chunk WHERE chunk.pool = pool.number);
      DELETE FROM pool WHERE chunks = 0;
    `)
  })
}

/** The places in the rows are those of the types in `SqliteReader.ts`. */
const leaveOut = (database: DatabaseSync, table: Page["table"], row: ReadonlyArray<number>): void => {
  const run = (sql: string, ...values: ReadonlyArray<number>) => database.prepare(sql).run(...values)
  switch (table) {
    case "session":
      run("UPDATE session SET will = NULL WHERE number = ?", row[2]!)
      return
    case "subscription":
      run("DELETE FROM subscription WHERE session = ? AND filter = ?", row[0]!, row[1]!)
      return
    case "incoming":
      run("DELETE FROM incoming WHERE session = ? AND packet_id = ?", row[2]!, row[3]!)
      return
    case "chunk":
      run("DELETE FROM chunk WHERE session = ? AND first = ?", row[4]!, row[5]!)
      return
    case "retained":
      run("DELETE FROM retained WHERE topic = ?", row[2]!)
      return
    case "pool":
      return // a damaged pool shows in the chunks that point into it
  }
}

const count = (database: DatabaseSync): Omit<Salvaged, "movedTo"> => {
  const number = (sql: string) => SqliteSchema.numberOf(database, sql)
  return {
    sessions: number("SELECT count(*) FROM session"),
    subscriptions: number("SELECT count(*) FROM subscription"),
    queuedMessages: number("SELECT coalesce(sum(last - first + 1), 0) FROM chunk"),
    incomingMessages: number("SELECT count(*) FROM incoming"),
    retainedMessages: number("SELECT count(*) FROM retained")
  }
}
