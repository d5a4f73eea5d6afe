/**
 * What can go wrong with a database file, as plain data that crosses the border between threads.
 *
 * Owns the reading of SQLite's result codes. The typed errors that users see are made of these in `SqliteStorage.ts`.
 */

export type FailureKind =
  /** No room. */
  | "full"
  /** Nothing can be written. */
  | "read-only"
  /** Another program has it. */
  | "locked"
  /** It cannot be read any more. */
  | "corrupt"
  /** It is not there, though it has been. */
  | "gone"
  /** Not made by this program. */
  | "foreign"
  /** Made by a later version of this program. */
  | "newer"
  /** Anything else, which may pass. */
  | "failed"

export class SqliteFailure extends Error {
  readonly kind: FailureKind

  constructor(kind: FailureKind, message: string) {
    super(message)
    this.kind = kind
  }
}

/** Something in it does not read as it should. */
export const damaged = (what: string): SqliteFailure =>
  new SqliteFailure("corrupt", `It has ${what} that cannot be read.`)

/** SQLite's primary result codes. */
const kinds = new Map<number, FailureKind>([
  [5, "locked"],
  [6, "locked"],
  [8, "read-only"],
  [11, "corrupt"],
  [13, "full"],
  [14, "read-only"], // what cannot even be opened
  [26, "foreign"]
])

/** What the operating system said, where SQLite was not asked. */
const errnoKinds = new Map<string, FailureKind>([
  ["ENOSPC", "full"],
  ["EDQUOT", "full"],
  ["EROFS", "read-only"],
  ["EACCES", "read-only"],
  ["EPERM", "read-only"],
  // A directory where a file should be, or the other way round.
  ["EISDIR", "foreign"],
  ["ERR_FS_EISDIR", "foreign"],
  ["ENOTDIR", "foreign"],
  ["EEXIST", "foreign"]
])

const property = (error: unknown, name: string): unknown =>
  typeof error === "object" && error !== null && name in error ? error[name as keyof typeof error] : undefined

const code = (error: unknown): number | undefined => {
  const errcode = property(error, "errcode")
  return typeof errcode === "number" ? errcode : undefined
}

/** Result codes that speak of what was read, and no other: of reading, and of what a table is said to be. */
const damage = new Set([
  1, // SQLITE_ERROR: a table or column that is not there
  11, // SQLITE_CORRUPT
  26, // SQLITE_NOTADB
  266, // SQLITE_IOERR_READ
  522, // SQLITE_IOERR_SHORT_READ
  8_202, // SQLITE_IOERR_DATA
  8_458 // SQLITE_IOERR_CORRUPTFS
])

/** Whether reading has failed because of what is in the file. */
export const isDamage = (error: unknown): boolean => {
  const errcode = code(error)
  // A number that JavaScript cannot hold: none of ours.
  if (errcode === undefined) return property(error, "code") === "ERR_OUT_OF_RANGE"
  return damage.has(errcode) || (errcode & 0xff) === 11
}

/** SQLITE_TOOBIG, SQLITE_CONSTRAINT, SQLITE_MISMATCH. */
const unfit = [18, 19, 20]

/** Whether a row was refused because of what is in it. */
export const isUnfit = (error: unknown): boolean => unfit.includes((code(error) ?? 0) & 0xff)

export const of = (error: unknown): SqliteFailure => {
  if (error instanceof SqliteFailure) return error
  const message = error instanceof Error ? error.message : String(error)
  const errcode = code(error)
  if (errcode !== undefined) {
    // The upper bytes say more exactly what happened; the lowest says what to do.
    return new SqliteFailure(kinds.get(errcode & 0xff) ?? "failed", `${message} (SQLite result code ${errcode}).`)
  }
  const errno = property(error, "code")
  return new SqliteFailure((typeof errno === "string" ? errnoKinds.get(errno) : undefined) ?? "failed", `${message}.`)
}
