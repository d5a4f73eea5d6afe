/**
 * Recovery of a damaged file: what can still be read of it takes its place, and it is moved aside as it is.
 *
 * Runs before the broker starts, under its lock. It may end at any instant and be begun again, because the damaged file
 * keeps its name until the new one is whole and on disk: as `.recovering` that one is being written, as `.recovered` it
 * is whole. A file that is absent beside a `.recovered` one is the middle of the exchange, which then is finished.
 */
import { existsSync, renameSync, rmSync } from "node:fs"
import { dirname } from "node:path"
import { DatabaseSync } from "./NodeSqlite.ts"
import { SqliteCatalog } from "./SqliteCatalog.ts"
import { of, SqliteFailure } from "./SqliteFailure.ts"
import * as SqliteFile from "./SqliteFile.ts"
import { SqliteLoad } from "./SqliteLoad.ts"
import { pages } from "./SqliteReader.ts"
import * as SqliteSalvage from "./SqliteSalvage.ts"
import * as SqliteSchema from "./SqliteSchema.ts"

export interface Recovered extends SqliteSalvage.Counts {
  /** Where the damaged file is now. */
  readonly movedTo: string
}

const RECOVERING = ".recovering"

/** Removes what a recovery that was interrupted has left and the next one does not need. */
export const tidy = (file: string): void => {
  removeScratch(file)
  if (SqliteFile.sizeOf(file) > 0) rmSync(`${file}${SqliteFile.RECOVERED}`, { force: true })
}

const removeScratch = (file: string): void => {
  for (const suffix of ["", "-source", "-source-wal", "-source-shm"]) {
    rmSync(`${file}${RECOVERING}${suffix}`, { force: true })
  }
}

/** Recovers the file if it is damaged; undefined: it is not. Throws SqliteFailure for a file that is not ours. */
export const recover = (file: string): Recovered | undefined => {
  tidy(file)
  if (existsSync(`${file}${SqliteFile.RECOVERED}`)) return exchange(file)
  SqliteFile.checkNotGone(file)
  if (SqliteFile.sizeOf(file) === 0 || !isDamaged(file)) return undefined
  make(file)
  return exchange(file)
}

/** Whether anything in it cannot be read. */
const isDamaged = (file: string): boolean => {
  let database: DatabaseSync | undefined
  try {
    SqliteFile.checkHeader(file)
    database = new DatabaseSync(file, { readOnly: !existsSync(`${file}-journal`) })
    if (SqliteSchema.isNew(database)) return false
    const [verdict] = Object.values(database.prepare("PRAGMA integrity_check(1)").get() ?? {})
    if (verdict !== "ok") return true
    const load = new SqliteLoad(new SqliteCatalog())
    load.check(pages(database))
    return false
  } catch (error) {
    const failure = SqliteFile.failureOf(file, error)
    if (failure.kind === "corrupt") return true
    throw failure
  } finally {
    database?.close()
  }
}

/** Makes the new file, whole and on disk, beside the damaged one. */
const make = (file: string): void => {
  const place = `${file}${RECOVERING}`
  try {
    const database = SqliteFile.openScratch(place)
    try {
      SqliteSalvage.salvage(file, database, place)
    } finally {
      database.close()
    }
    SqliteFile.sync(place)
    rename(place, `${file}${SqliteFile.RECOVERED}`)
  } catch (error) {
    removeScratch(file)
    const failure = of(error)
    if (failure.kind !== "full") throw failure
    const mebibytes = Math.ceil(SqliteFile.sizeOf(file) / 1024 ** 2) + 1
    const words = `It was not touched: what can be read of it takes up to ${mebibytes} MiB beside it.`
    throw new SqliteFailure("full", `${failure.message} ${words}`)
  }
}

/** Puts the new file in the place of the damaged one; what of this was done before is not done again. */
const exchange = (file: string): Recovered => {
  const recovered = `${file}${SqliteFile.RECOVERED}`
  const counts = countIn(recovered)
  const isThere = SqliteFile.sizeOf(file) > 0
  const movedTo = (isThere ? undefined : SqliteFile.damagedBeside(file).at(-1)) ?? SqliteFile.damagedName(file)
  if (isThere) rename(file, movedTo)
  // Before the new one has the name: the old one's log would be taken for its own.
  for (const suffix of ["-wal", "-journal"]) {
    if (SqliteFile.sizeOf(`${file}${suffix}`) > 0) rename(`${file}${suffix}`, `${movedTo}${suffix}`)
    else rmSync(`${file}${suffix}`, { force: true })
  }
  rmSync(`${file}-shm`, { force: true }) // made again from the log
  rename(recovered, file)
  return { movedTo, ...counts }
}

const countIn = (file: string): SqliteSalvage.Counts => {
  const database = new DatabaseSync(file, { readOnly: true })
  try {
    return SqliteSalvage.count(database)
  } finally {
    database.close()
  }
}

/** Each is on disk before the next, or the loss of power might leave them in any order. */
const rename = (from: string, to: string): void => {
  renameSync(from, to)
  SqliteFile.sync(dirname(to))
}
