/**
 * One broker a database: a lock that the operating system takes back when the process ends, however it ends.
 *
 * It is SQLite's lock on a small file beside the database. The database itself stays open to readers: a backup, or the
 * `sqlite3` program.
 */
import { closeSync, openSync } from "node:fs"
import { DatabaseSync } from "./NodeSqlite.ts"
import { isDamage, of, SqliteFailure } from "./SqliteFailure.ts"

export interface SqliteLock {
  readonly release: () => void
}

/** Throws SqliteFailure: "locked" when another has it. */
export const acquire = (file: string): SqliteLock => {
  const path = `${file}-lock`
  let database: DatabaseSync | undefined
  try {
    closeSync(openSync(path, "a", 0o600))
    database = new DatabaseSync(path)
    // Nothing is ever written: the lock is all there is to it.
    database.exec("PRAGMA busy_timeout = 0; PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE")
  } catch (error) {
    database?.close()
    const failure = of(error)
    if (failure.kind === "locked") throw new SqliteFailure("locked", "Another broker is running on it.")
    if (isDamage(error)) {
      const words = `Its lock ${path} is damaged: ${failure.message} Nothing is kept in that file: delete it.`
      throw new SqliteFailure("failed", words)
    }
    throw failure
  }
  const held = database
  return { release: () => held.close() }
}
