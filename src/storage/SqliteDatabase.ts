/**
 * One open database and what the broker asks of it. Runs in the worker.
 *
 * Owns when the write-ahead log is emptied into the database: between batches, when the next has not come yet, and at
 * the latest when the log has grown to its limit.
 */
import type { DatabaseSync } from "node:sqlite"
import type { SqliteBatch } from "./SqliteBatch.ts"
import * as SqliteFailure from "./SqliteFailure.ts"
import * as SqliteFile from "./SqliteFile.ts"
import { type Page, pages, type QueuePage, type QueueRange, queued } from "./SqliteReader.ts"
import { RESERVE_BYTES, SqliteReserve } from "./SqliteReserve.ts"
import * as SqliteSchema from "./SqliteSchema.ts"
import { SqliteWriter } from "./SqliteWriter.ts"

export interface DatabaseOptions extends SqliteFile.FileOptions {
  /** The write-ahead log is emptied when it has about this many bytes. */
  readonly logBytesMax: number
}

export interface Opened {
  readonly created: boolean
  readonly run: number
  /** The last batch of that run that is kept. */
  readonly sequence: number
  /** Whether there was room to hold some in reserve. */
  readonly reserved: boolean
}

export interface Begun {
  readonly run: number
  /** When the run before was last known to live, in milliseconds since the epoch; 0: there was none. */
  readonly aliveAt: number
  readonly nextSession: number
  readonly nextPool: number
}

/** A file with more than this in it is not written anew, which takes that much memory. */
const SHRINK_BYTES_MAX = 16 * 1024 * 1024
/** The log's own words about each page, and the index beside it. */
const LOG_OVERHEAD = 1.02
const LOG_INDEX_BYTES = 64 * 1024

/** While nothing is committed, this often it is noted that the broker lives. */
export const HEARTBEAT_MILLIS = 60_000

export class SqliteDatabase {
  readonly opened: Opened
  private readonly database: DatabaseSync
  private readonly options: DatabaseOptions
  private readonly writer: SqliteWriter
  private readonly reserve: SqliteReserve
  private reading: Generator<Page, undefined, void> | undefined = undefined
  private readonly identity: string | undefined
  private aliveAt = 0
  private full = false
  /** Rows and pages written since the log was emptied, */
  private work: number
  /** and how many bytes of log one of them takes: measured when it is emptied. */
  private bytesOfWork = 8_192

  constructor(options: DatabaseOptions, reserve: SqliteReserve = new SqliteReserve(options.file)) {
    this.options = options
    // What a broker that was killed has left is to be emptied too, or one that is killed again and again never does.
    this.work = SqliteFile.sizeOf(`${options.file}-wal`) / this.bytesOfWork
    const { created, database } = SqliteFile.open(options)
    this.database = database
    this.reserve = reserve
    const reserved = this.reserve.take()
    this.writer = new SqliteWriter(database)
    this.opened = {
      created,
      run: SqliteSchema.numberOf(database, "SELECT number FROM run"),
      sequence: SqliteSchema.numberOf(database, "SELECT sequence FROM run"),
      reserved
    }
    // Now that something has been read, all its files are there.
    this.identity = SqliteFile.identityOf(options.file)
  }

  /** A new run of the broker: its sequences start again. */
  begin(now: number): Begun {
    this.reading?.return(undefined)
    this.reading = undefined
    const { database } = this
    const aliveAt = SqliteSchema.numberOf(database, "SELECT alive_at FROM run")
    SqliteSchema.transaction(database, () => {
      database.prepare("UPDATE run SET number = number + 1, sequence = 0, alive_at = ?").run(now)
    })
    this.aliveAt = now
    return {
      run: SqliteSchema.numberOf(database, "SELECT number FROM run"),
      aliveAt,
      nextSession: SqliteSchema.numberOf(database, "SELECT max(number) FROM session") + 1,
      nextPool: SqliteSchema.numberOf(database, "SELECT max(number) FROM pool") + 1
    }
  }

  /** The next rows of what is kept; undefined behind the last, until a run begins again. */
  page(): Page | undefined {
    this.reading ??= pages(this.database)
    return this.reading.next().value
  }

  /** Waiting messages of one session. */
  queued(range: QueueRange): QueuePage {
    return queued(this.database, range)
  }

  /** Keeps the batch, unless it has been kept before. */
  commit(batch: SqliteBatch, now: number): void {
    // SQLite would go on writing to what nobody finds again.
    if (!this.isInPlace) throw new SqliteFailure.SqliteFailure("failed", SqliteFile.REMOVED)
    try {
      this.writer.write(batch, now)
    } catch (error) {
      throw this.failed(error)
    }
    this.aliveAt = now
    this.work += workOf(batch)
  }

  /** Between batches: empties the log when it is long. */
  rest(): void {
    if (this.work * this.bytesOfWork >= this.options.logBytesMax) this.checkpoint()
  }

  /**
   * Notes that the broker lives, so that a later run knows about when this one ended, and takes the reserve if there
   * was no room for it before.
   */
  beat(now: number): void {
    try {
      if (this.full || !this.isInPlace) return
      this.reserve.take()
      if (now - this.aliveAt < HEARTBEAT_MILLIS) return
      this.database.prepare("UPDATE run SET alive_at = ?").run(now)
      this.aliveAt = now
    } catch {
      // The next commit will say what is wrong.
    }
  }

  /** Whether there is room for more than deletes. */
  hasRoom(): boolean {
    if (!this.full) return true
    // The reserve would be taken beside a file that is another's.
    if (!this.isInPlace) return false
    this.checkpoint("TRUNCATE")
    const { fileBytesMax } = this.options
    if (fileBytesMax > 0 && this.usedBytes() > fileBytesMax - this.reserveOfLimit / 2) return false
    if (!this.reserve.take() && !this.hasRoomInside() && !this.shrink()) return false
    SqliteFile.limit(this.database, fileBytesMax)
    this.full = false
    return true
  }

  close(): void {
    this.reading?.return(undefined)
    this.database.close()
  }

  /** A full disk: what was held in reserve is given up, so that deletes can be kept, and the log is emptied. */
  private failed(error: unknown): SqliteFailure.SqliteFailure {
    const failure = SqliteFailure.of(error)
    if (failure.kind !== "full") return failure
    this.full = true
    this.reserve.release()
    const { fileBytesMax } = this.options
    if (fileBytesMax > 0) SqliteFile.limit(this.database, fileBytesMax + this.reserveOfLimit)
    this.checkpoint("TRUNCATE")
    return failure
  }

  /** Whether the file that is open is the one that a later run will find. */
  private get isInPlace(): boolean {
    return SqliteFile.identityOf(this.options.file) === this.identity
  }

  /** How far deletes may go beyond a limit of the file's size. */
  private get reserveOfLimit(): number {
    return Math.min(RESERVE_BYTES, this.options.fileBytesMax / 4)
  }

  private count(name: "page_count" | "freelist_count" | "page_size"): number {
    return SqliteSchema.numberOf(this.database, `PRAGMA ${name}`)
  }

  private usedBytes(): number {
    return (this.count("page_count") - this.count("freelist_count")) * this.count("page_size")
  }

  /** A file does not get smaller when what is in it goes: what is free in it is as good as the reserve. */
  private hasRoomInside(): boolean {
    return this.hasFreePages && this.reserve.hasRoom(0)
  }

  /**
   * Writes a file that is nearly empty anew: what is free in it goes back to the disk, and so does a log that the file
   * had no room for. True when the reserve could be taken again.
   *
   * All that is in it goes through the log, so where the disk has no room for that it is not even tried: it would take
   * from everybody else on that disk what little there is.
   */
  private shrink(): boolean {
    const bytes = this.usedBytes()
    if (bytes > SHRINK_BYTES_MAX || !this.hasFreePages) return false
    if (this.reserve.freeBytes() < bytes * LOG_OVERHEAD + LOG_INDEX_BYTES) return false
    try {
      this.database.exec("VACUUM") // in memory, and then through the log
    } catch {
      // Others have taken the room meanwhile. What was in it still is; the log gives back what it grew by.
      this.checkpoint("TRUNCATE")
      return false
    }
    this.checkpoint("TRUNCATE")
    return this.reserve.take()
  }

  private get hasFreePages(): boolean {
    return this.count("freelist_count") * this.count("page_size") >= RESERVE_BYTES
  }

  /** "TRUNCATE" gives the log's room back, unless somebody reads: nobody is waited for. */
  private checkpoint(mode: "PASSIVE" | "TRUNCATE" = "PASSIVE"): void {
    const { database } = this
    try {
      if (mode === "TRUNCATE") database.exec("PRAGMA busy_timeout = 0")
      const row = database.prepare(`PRAGMA wal_checkpoint(${mode})`).get()
      const bytes = Number(row?.log ?? 0) * this.count("page_size")
      if (this.work > 0 && bytes > 0) this.bytesOfWork = Math.max(64, bytes / this.work)
    } catch {
      // No room in the database: the log keeps everything, and grows.
    } finally {
      if (mode === "TRUNCATE") database.exec(`PRAGMA busy_timeout = ${SqliteFile.BUSY_MILLIS}`)
    }
    this.work = 0
  }
}

/** About how many places of the tables a batch touches. */
const workOf = (batch: SqliteBatch): number =>
  1 +
  batch.length / 4_096 +
  batch.chunks.length / 6 +
  batch.removedOutgoing.length / 3 +
  batch.states.length / 16 +
  batch.incoming.length / 5 +
  batch.removedIncoming.length / 3 +
  batch.retained.length +
  batch.sessions.length +
  batch.subscriptions.length
