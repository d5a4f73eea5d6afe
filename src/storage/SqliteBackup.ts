/**
 * A copy of a database while it may be in use: as it was at one instant.
 *
 * The copy is read in one go, page by page as they lie in the file, so that the broker's log does not grow for long
 * behind it; commits go on meanwhile.
 */
import * as Effect from "effect/Effect"
import { closeSync, existsSync, openSync, rmSync, statSync } from "node:fs"
import { backup as copy, DatabaseSync } from "./NodeSqlite.ts"
import { SqliteFailure } from "./SqliteFailure.ts"
import * as SqliteSchema from "./SqliteSchema.ts"
import * as SqliteStorage from "./SqliteStorage.ts"
import type { StorageError } from "./BrokerStorage.ts"

export interface Backup {
  /** Size of the copy. */
  readonly bytes: number
}

/** All pages in one step: with smaller ones every commit of the broker would make it begin again. */
const ALL_PAGES = 0x7fff_ffff

const check = (file: string): void => {
  // Not read here: a file that the process closes loses the locks that SQLite has on it in the same process.
  if (statSync(file).isDirectory()) throw new SqliteFailure("foreign", "It is a directory.")
  const database = new DatabaseSync(file, { readOnly: true })
  try {
    if (SqliteSchema.isNew(database)) throw new SqliteFailure("failed", "It is empty.")
  } finally {
    database.close()
  }
}

/** Copies the database `file` to `to`, which must not exist. Start a broker on the copy to restore it. */
export const backup = (file: string, to: string): Effect.Effect<Backup, StorageError> =>
  Effect.tryPromise({
    try: async () => {
      if (!existsSync(file)) throw new SqliteFailure("failed", "There is no such file.")
      check(file)
      if (existsSync(to)) throw new SqliteFailure("failed", `${to} exists already: name a new file.`)
      closeSync(openSync(to, "ax", 0o600))
      const source = new DatabaseSync(file, { readOnly: true })
      try {
        source.exec("PRAGMA busy_timeout = 5000")
        await copy(source, to, { rate: ALL_PAGES })
        return { bytes: statSync(to).size }
      } catch (error) {
        rmSync(to, { force: true })
        throw error
      } finally {
        source.close()
      }
    },
    catch: (error) => SqliteStorage.toError(file, error)
  })
