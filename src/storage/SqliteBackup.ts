/**
 * A copy of a database while it may be in use: as it was at one instant.
 *
 * The copy is read in one go, page by page as they lie in the file, so that the broker's log does not grow for long
 * behind it; commits go on meanwhile.
 */
import * as Effect from "effect/Effect"
import { closeSync, existsSync, openSync, rmSync, statSync } from "node:fs"
import { pathToFileURL } from "node:url"
import { backup as copy, DatabaseSync } from "./NodeSqlite.ts"
import { SqliteCatalog } from "./SqliteCatalog.ts"
import { of, SqliteFailure } from "./SqliteFailure.ts"
import { SqliteLoad } from "./SqliteLoad.ts"
import { pages } from "./SqliteReader.ts"
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

/** A damaged store is copied as it is, and so is what nobody can start on: all of the copy is read once. */
const checkCopy = (copied: string): void => {
  // Nobody else knows of it yet, and nothing is written beside it.
  const place = pathToFileURL(copied)
  place.searchParams.set("immutable", "1")
  const database = new DatabaseSync(place, { readOnly: true })
  try {
    const [verdict] = Object.values(database.prepare("PRAGMA integrity_check(1)").get() ?? {})
    if (verdict !== "ok") throw new SqliteFailure("corrupt", String(verdict))
    const load = new SqliteLoad(new SqliteCatalog())
    load.check(pages(database))
  } catch (error) {
    const { kind, message } = of(error)
    throw kind === "corrupt"
      ? new SqliteFailure("corrupt", `It is damaged, and so was the copy, which was removed: ${message}`)
      : error
  } finally {
    database.close()
  }
}

const remove = (copied: string): void => {
  for (const suffix of ["", "-journal", "-wal", "-shm"]) rmSync(`${copied}${suffix}`, { force: true })
}

/** What is said of the file that is written, and not of the one that is read. */
class TargetFailure extends Error {
  readonly failure: unknown

  constructor(failure: unknown) {
    super("The copy could not be written.")
    this.failure = failure
  }
}

const make = async (file: string, to: string): Promise<Backup> => {
  if (!existsSync(file)) throw new SqliteFailure("failed", "There is no such file.")
  check(file)
  if (existsSync(to)) throw new SqliteFailure("failed", `${to} exists already: name a new file.`)
  try {
    closeSync(openSync(to, "ax", 0o600))
  } catch (error) {
    throw new TargetFailure(error)
  }
  const source = new DatabaseSync(file, { readOnly: true })
  try {
    source.exec("PRAGMA busy_timeout = 5000")
    await copy(source, to, { rate: ALL_PAGES })
    checkCopy(to)
    return { bytes: statSync(to).size }
  } catch (error) {
    remove(to)
    // The source is only read: what has no room is the copy.
    throw of(error).kind === "full" ? new TargetFailure(error) : error
  } finally {
    source.close()
  }
}

/** Copies the database `file` to `to`, which must not exist. Start a broker on the copy to restore it. */
export const backup = (file: string, to: string): Effect.Effect<Backup, StorageError> =>
  Effect.tryPromise({
    try: () => make(file, to),
    catch: (error) =>
      error instanceof TargetFailure ? SqliteStorage.toError(to, error.failure) : SqliteStorage.toError(file, error)
  })
