/**
 * Opening a database file: what must be true of it before the broker may rely on it, and how hard it writes.
 *
 * Never starts afresh beside what it cannot read: a file that is not there is made, and everything else is a failure
 * that says what is wrong.
 */
import {
  chmodSync,
  closeSync,
  existsSync,
  fsyncSync,
  lstatSync,
  openSync,
  readdirSync,
  readlinkSync,
  readSync,
  realpathSync,
  statSync
} from "node:fs"
import { basename, dirname, join, resolve } from "node:path"
import { DatabaseSync } from "./NodeSqlite.ts"
import { of, SqliteFailure } from "./SqliteFailure.ts"
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
  /** It was there before, while this broker ran: none is made in its place. Absent: false. */
  readonly mustExist?: boolean
}

export const REMOVED =
  "It, or a file that belongs to it, was removed or replaced while the broker was running. " +
  "Put it back, or restart the broker."

export const PAGE_BYTES = 8 * 1024
/** How long another's lock on the file is waited for. */
export const BUSY_MILLIS = 5_000
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

/** What `--recover` moves aside has this behind its name, and when. */
const DAMAGED = ".damaged-"
/** A recovered file on its way to its place. */
export const RECOVERED = ".recovered"

/** The damaged files beside it, the latest last. */
export const damagedBeside = (file: string): ReadonlyArray<string> =>
  readdirSync(dirname(file))
    .filter((name) => name.startsWith(`${basename(file)}${DAMAGED}`) && !/-(wal|shm|journal)$/.test(name))
    .sort()
    .map((name) => join(dirname(file), name))

export const damagedName = (file: string): string =>
  `${file}${DAMAGED}${new Date().toISOString().replaceAll(/[:.]/g, "-")}`

/** Throws when the file is absent or empty and something beside it says that it has not always been. */
export const checkNotGone = (file: string): void => {
  if (sizeOf(file) > 0) return
  if (existsSync(`${file}${RECOVERED}`)) {
    throw new SqliteFailure("gone", "Its recovery was interrupted. Start with --recover again, which finishes it.")
  }
  const left = [
    ...(sizeOf(`${file}-wal`) > 0 ? [`${file}-wal`] : []),
    ...damagedBeside(file),
    ...(existsSync(`${file}-reserve`) ? [`${file}-reserve`] : [])
  ]
  if (left.length === 0) return
  throw new SqliteFailure(
    "gone",
    `It is gone or empty, but ${left[0]}, which belongs to it, is still there. Put the file back, or restore a ` +
      `backup; to start with nothing, move away ${left.join(" and ")}.`
  )
}

/** Makes the file when there is none, for the eyes of its owner only. */
const create = (file: string): void => {
  if (sizeOf(file) > 0) return
  checkNotGone(file)
  closeSync(openSync(file, "a", 0o600)) // SQLite gives the files beside it the same mode
}

/** Waits until a file, or what a directory lists, survives the loss of power. */
export const sync = (path: string): void => {
  const descriptor = openSync(path, "r")
  try {
    fsyncSync(descriptor)
  } catch (error) {
    // Some systems have no such thing for directories.
    if (!statSync(path).isDirectory()) throw error
  } finally {
    closeSync(descriptor)
  }
}

/** Whether it begins as databases do; an empty file does. */
const looksLikeDatabase = (file: string): boolean => {
  const bytes = Buffer.alloc(HEADER.length)
  const descriptor = openSync(file, "r")
  try {
    return readSync(descriptor, bytes) === 0 || bytes.toString("latin1") === HEADER
  } finally {
    closeSync(descriptor)
  }
}

/** Nothing but a broker puts a reserve beside a file. */
const isOurs = (file: string): boolean => existsSync(`${file}-reserve`)

/** Throws SqliteFailure. */
export const checkHeader = (file: string): void => {
  if (looksLikeDatabase(file)) return
  if (isOurs(file)) {
    throw new SqliteFailure("corrupt", "Its beginning has been destroyed, or another file was put in its place.")
  }
  throw new SqliteFailure("foreign", "It is not a database, or its beginning has been destroyed.")
}

/** What SQLite does not know as a database is damaged, if it is ours. */
export const failureOf = (file: string, error: unknown): SqliteFailure => {
  const failure = of(error)
  const isSaidBySqlite = !(error instanceof SqliteFailure)
  return isSaidBySqlite && failure.kind === "foreign" && isOurs(file)
    ? new SqliteFailure("corrupt", failure.message)
    : failure
}

/**
 * Takes the rights that others than the owner have on the files, unless they are another program's. Returns which;
 * throws where that is forbidden.
 */
export const makePrivate = (file: string): ReadonlyArray<string> => {
  const paths = ["", "-wal", "-shm"].map((suffix) => `${file}${suffix}`)
  const open = paths.filter((path) => ((statSync(path, { throwIfNoEntry: false })?.mode ?? 0) & 0o077) !== 0)
  if (open.length === 0 || !isOursOrNew(file)) return []
  // Having looked into the file may have made those beside it.
  for (const path of paths) if (existsSync(path)) chmodSync(path, 0o600)
  return open
}

/** Whether it is known to be a store, be it damaged, or to have nothing in it yet. */
const isOursOrNew = (file: string): boolean => {
  let database: DatabaseSync | undefined
  try {
    checkNotGone(file)
    if (sizeOf(file) === 0) return true
    if (!statSync(file).isFile()) return false
    checkHeader(file)
    database = new DatabaseSync(file, { readOnly: true })
    SqliteSchema.isNew(database)
    return true
  } catch (error) {
    const { kind } = failureOf(file, error)
    return kind === "newer" || (kind === "corrupt" && isOurs(file))
  } finally {
    database?.close()
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
  const { file, mustExist = false } = options
  if (mustExist && sizeOf(file) === 0) throw new SqliteFailure("failed", REMOVED)
  create(file)
  checkHeader(file)
  const database = new DatabaseSync(file)
  try {
    database.exec(`PRAGMA busy_timeout = ${BUSY_MILLIS}; PRAGMA page_size = ${PAGE_BYTES}`)
    const created = SqliteSchema.isNew(database)
    configure(database, options)
    SqliteSchema.migrate(database)
    return { database, created }
  } catch (error) {
    database.close()
    throw failureOf(file, error)
  }
}

/**
 * A new database with our tables, for what is made in one go: only fit for use when it has been closed and `sync`
 * succeeded. It may grow beyond the limit of a store, as what is copied into it has.
 */
export const openScratch = (file: string): DatabaseSync => {
  closeSync(openSync(file, "ax", 0o600))
  const database = new DatabaseSync(file)
  try {
    database.exec(`
      PRAGMA page_size = ${PAGE_BYTES};
      PRAGMA journal_mode = MEMORY;
      PRAGMA synchronous = OFF;
      PRAGMA cache_size = -${CACHE_KIB};
      PRAGMA temp_store = MEMORY;
    `)
    SqliteSchema.migrate(database)
    return database
  } catch (error) {
    database.close()
    throw error
  }
}
