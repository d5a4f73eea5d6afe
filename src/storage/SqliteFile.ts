/**
 * Opening a database file: what must be true of it before the broker may rely on it, and how hard it writes.
 *
 * Never starts afresh beside what it cannot read: a file that is not there is made, and everything else is a failure
 * that says what is wrong.
 */
import { closeSync, existsSync, lstatSync, openSync, readlinkSync, readSync, realpathSync, statSync } from "node:fs"
import { basename, dirname, join, resolve } from "node:path"
import { DatabaseSync } from "./NodeSqlite.ts"
import { SqliteFailure } from "./SqliteFailure.ts"
import * as SqliteSchema from "./SqliteSchema.ts"

/**
 * What survives once a commit has succeeded. "fsync": everything survives the loss of power. "os": everything survives
 * the end of the process, and the loss of power may undo the last seconds. "none": as "os", but the loss of power may
 * leave a file that cannot be read.
 */
export type Durability = "fsync" | "os" | "none"

export interface FileOptions {
  readonly file: string
  readonly durability: Durability
  /** The database file grows no further than this; 0: as far as there is room. */
  readonly fileBytesMax: number
}

const PAGE_BYTES = 8 * 1024
const CACHE_KIB = 32 * 1024
const HEADER = "SQLite format 3\0"

const synchronous = { fsync: "FULL", os: "NORMAL", none: "OFF" } as const

export const sizeOf = (path: string): number => (existsSync(path) ? statSync(path).size : 0)

/** Where a file is, or will be made, without symbolic links: under two names it would have two locks and two logs. */
export const placeOf = (path: string): string => {
  try {
    return realpathSync.native(path)
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "ENOENT")) throw error
  }
  const place = join(realpathSync.native(dirname(path)), basename(path))
  // A link to what is not there yet.
  const isLink = lstatSync(place, { throwIfNoEntry: false })?.isSymbolicLink() === true
  return isLink ? placeOf(resolve(dirname(place), readlinkSync(place))) : place
}

/**
 * An open database as the file system knows it, whatever its name; undefined when one of its files is gone.
 *
 * Of the log only whether it is there: asking when it was changed makes the system write that down at the next fsync,
 * which takes a fifth of the commits a second.
 */
export const identityOf = (file: string): string | undefined => {
  const stat = statSync(file, { throwIfNoEntry: false })
  const isWhole = stat !== undefined && existsSync(`${file}-wal`) && existsSync(`${file}-shm`)
  return isWhole ? `${stat.dev} ${stat.ino}` : undefined
}

/** Makes the file when there is none, for the eyes of its owner only. */
const create = (file: string): void => {
  if (sizeOf(file) > 0) return
  if (sizeOf(`${file}-wal`) > 0) {
    throw new SqliteFailure("corrupt", `It is gone or empty, but ${file}-wal, which belongs to it, is still there.`)
  }
  closeSync(openSync(file, "a", 0o600)) // SQLite gives the files beside it the same mode
}

/** Whether it begins as databases do; an empty file does. */
export const looksLikeDatabase = (file: string): boolean => {
  const bytes = Buffer.alloc(HEADER.length)
  const descriptor = openSync(file, "r")
  try {
    return readSync(descriptor, bytes) === 0 || bytes.toString("latin1") === HEADER
  } finally {
    closeSync(descriptor)
  }
}

const checkHeader = (file: string): void => {
  if (!looksLikeDatabase(file)) {
    throw new SqliteFailure("foreign", "It is not a database, or its beginning has been destroyed.")
  }
}

const configure = (database: DatabaseSync, { durability, fileBytesMax }: FileOptions): void => {
  database.exec(`
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = ${synchronous[durability]};
    PRAGMA wal_autocheckpoint = 0;
    PRAGMA cache_size = -${CACHE_KIB};
    PRAGMA temp_store = MEMORY;
  `)
  // Elsewhere fsync is what it says; on macOS it leaves the bytes in the drive's cache.
  if (durability === "fsync") database.exec("PRAGMA fullfsync = ON; PRAGMA checkpoint_fullfsync = ON")
  limit(database, fileBytesMax)
}

/** Sets how large the file may become; 0: as SQLite allows. */
export const limit = (database: DatabaseSync, fileBytesMax: number): void => {
  const pages =
    fileBytesMax === 0 ? 0xffff_fffe : Math.ceil(fileBytesMax / SqliteSchema.numberOf(database, "PRAGMA page_size"))
  database.exec(`PRAGMA max_page_count = ${pages}`)
}

/**
 * An open database of ours with the newest tables, and whether it has just been made. Throws SqliteFailure or an error
 * of SQLite.
 */
export const open = (options: FileOptions): { readonly database: DatabaseSync; readonly created: boolean } => {
  const { file } = options
  create(file)
  checkHeader(file)
  const database = new DatabaseSync(file)
  try {
    database.exec(`PRAGMA busy_timeout = 5000; PRAGMA page_size = ${PAGE_BYTES}`)
    const created = SqliteSchema.isNew(database)
    configure(database, options)
    SqliteSchema.migrate(database)
    return { database, created }
  } catch (error) {
    database.close()
    throw error
  }
}
