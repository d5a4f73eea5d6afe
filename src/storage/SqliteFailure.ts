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

export const of = (error: unknown): SqliteFailure => {
  if (error instanceof SqliteFailure) return error
  const message = error instanceof Error ? error.message : String(error)
  const errcode = property(error, "errcode")
  if (typeof errcode === "number") {
    // The upper bytes say more exactly what happened; the lowest says what to do.
    return new SqliteFailure(kinds.get(errcode & 0xff) ?? "failed", `${message} (SQLite result code ${errcode}).`)
  }
  const code = property(error, "code")
  return new SqliteFailure((typeof code === "string" ? errnoKinds.get(code) : undefined) ?? "failed", `${message}.`)
}
