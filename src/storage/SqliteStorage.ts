/**
 * Keeps everything in one SQLite file: what is acknowledged survives a crash of the broker and, by default, the loss of
 * power.
 *
 * Owns the service and its layer. The file is written by a worker thread (`SqliteWorker.ts`), so that the broker never
 * waits for a disk; batches are made here (`SqliteBatch.ts`). A commit is one transaction and, with the default
 * durability, one fsync.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { mkdirSync } from "node:fs"
import { dirname, resolve } from "node:path"
import type { PutOutgoing, StoreOperation, StoreRecord } from "../core/StoreOperation.ts"
import {
  BrokerStorage,
  type QueuedRequest,
  StorageCorrupt,
  StorageError,
  type StorageErrorReason,
  StorageFailed,
  StorageForeign,
  StorageFull,
  StorageLocked,
  StorageNewer,
  StorageReadOnly
} from "./BrokerStorage.ts"
import * as SqliteBatch from "./SqliteBatch.ts"
import { SqliteCatalog } from "./SqliteCatalog.ts"
import { HEARTBEAT_MILLIS, type Opened } from "./SqliteDatabase.ts"
import * as SqliteFailure from "./SqliteFailure.ts"
import type { Durability } from "./SqliteFile.ts"
import * as SqliteFile from "./SqliteFile.ts"
import * as SqliteLoad from "./SqliteLoad.ts"
import * as SqliteLock from "./SqliteLock.ts"
import * as SqliteRecovery from "./SqliteRecovery.ts"
import { RESERVE_BYTES } from "./SqliteReserve.ts"
import { type Answer, type Refusal, SqliteThread } from "./SqliteThread.ts"
import type { Request, Results } from "./SqliteWorker.ts"

export interface SqliteOptions {
  /** The database file; made, with its directory, when there is none. Some files beside it begin with its name. */
  readonly file: string
  /** What a commit survives; default "fsync": the loss of power. */
  readonly durability?: Durability | undefined
  /**
   * Milliseconds that the first operation of a batch waits for company; default 0. While one batch is being written the
   * next gathers anyway: more only pays where fsync is cheap and the processor is not.
   */
  readonly gatherMillis?: number | undefined
  /** The file grows no further; default 0: as far as there is room on the disk. */
  readonly fileBytesMax?: number | undefined
  /** The write-ahead log is emptied into the file when it has about this size; default 16 MiB. */
  readonly logBytesMax?: number | undefined
  /** A file that is damaged is moved aside and what can be read of it kept; default false: the start fails. */
  readonly recover?: boolean | undefined
}

/** Pages of rows that the worker reads before they are needed. */
const PAGES_AHEAD = 2

const LOG_BYTES_MAX = 16 * 1024 * 1024
/** A disk that takes longer is not waited for when the broker ends: what was acknowledged is in the log. */
const CLOSE_MILLIS = 10_000
/** Larger buffers are not held on to. */
const KEPT_BUFFER_BYTES = 4 * 1024 * 1024

/** Whoever has asked is told, and nobody tries again. */
const ONCE = "Make room for it, and start again."

const reasonOf = (file: string, { kind, message }: Refusal, advice: string | undefined): StorageErrorReason => {
  const detail = `${file}: ${message}`
  switch (kind) {
    case "full":
      return new StorageFull({ detail, advice })
    case "read-only":
      return new StorageReadOnly({ detail })
    case "locked":
      return new StorageLocked({ detail })
    case "corrupt":
      return new StorageCorrupt({
        detail:
          `${detail} Restore a backup, or start with recovery (--recover): ` +
          "it moves the file aside and keeps what can be read."
      })
    case "gone":
      return new StorageCorrupt({ detail })
    case "foreign":
      return new StorageForeign({ detail })
    case "newer":
      return new StorageNewer({ detail })
    case "died":
    case "failed":
      return new StorageFailed({ detail })
  }
}

const errorOf = (file: string, refusal: Refusal, advice?: string): StorageError =>
  new StorageError({ reason: reasonOf(file, refusal, advice) })

/** What went wrong with a file where it is tried once, as the error that says what to do. */
export const toError = (file: string, error: unknown): StorageError => errorOf(file, SqliteFailure.of(error), ONCE)

/** Runs what throws on the broker's side of the file. */
const attempt = <A>(file: string, body: () => A): Effect.Effect<A, StorageError> =>
  Effect.try({ try: body, catch: (error) => toError(file, error) })

/** What is left of the records of a page. */
type Parts = Iterator<ReadonlyArray<StoreRecord>, undefined>

const NO_PARTS: Parts = [].values()

const nextOf = (parts: Parts): Effect.Effect<IteratorResult<ReadonlyArray<StoreRecord>, undefined>, Refusal> =>
  Effect.try({ try: () => parts.next(), catch: (error): Refusal => SqliteFailure.of(error) })

/** The store of one file. */
export class SqliteStore {
  /** For tests, which make it die. */
  readonly thread: SqliteThread
  private readonly file: string
  private readonly gatherMillis: number
  private readonly catalog = new SqliteCatalog()
  private buffer: ArrayBuffer | undefined = undefined
  private run = 0
  /** The start of the thread that has the database open. */
  private openedBy = 0
  private lastAlive = 0
  /** The last batch that is known to be kept. */
  private sequence = 0

  constructor(options: SqliteOptions, file: string) {
    this.file = file
    this.gatherMillis = options.gatherMillis ?? 0
    this.thread = new SqliteThread({
      file,
      durability: options.durability ?? "fsync",
      fileBytesMax: options.fileBytesMax ?? 0,
      logBytesMax: options.logBytesMax ?? LOG_BYTES_MAX
    })
  }

  /** One request. An answer that nobody waits for any more is let go: the worker goes on in order. */
  private ask<R extends Request>(
    request: R,
    transfer: ReadonlyArray<ArrayBuffer> = []
  ): Effect.Effect<Results[R["_tag"]], Refusal> {
    return Effect.callback((resume) => {
      this.thread.request(request, transfer, (answer: Answer<Results[R["_tag"]]>) =>
        resume(answer.ok ? Effect.succeed(answer.result) : Effect.fail(answer))
      )
    })
  }

  /** A request that is on its way before anybody waits for the answer. */
  private askAhead<R extends Request>(request: R): Effect.Effect<Results[R["_tag"]], Refusal> {
    const answered = Deferred.makeUnsafe<Results[R["_tag"]], Refusal>()
    this.thread.request(request, [], (answer: Answer<Results[R["_tag"]]>) =>
      Deferred.doneUnsafe(answered, answer.ok ? Effect.succeed(answer.result) : Effect.fail(answer))
    )
    return Deferred.await(answered)
  }

  private readonly toError = (refusal: Refusal): StorageError => errorOf(this.file, refusal)

  get open(): Effect.Effect<Opened, StorageError> {
    return Effect.mapError(this.openDatabase(false), (refusal) => errorOf(this.file, refusal, ONCE))
  }

  private openDatabase(again: boolean): Effect.Effect<Opened, Refusal> {
    return Effect.map(this.ask({ _tag: "Open", again }), (opened) => {
      this.openedBy = this.thread.starts
      return opened
    })
  }

  private get isOpen(): boolean {
    return this.thread.alive && this.openedBy === this.thread.starts
  }

  /** The database is open for this run, also when the thread had to be started again. */
  private readonly ready: Effect.Effect<void, Refusal> = Effect.suspend(() => {
    if (this.isOpen) return Effect.void
    return Effect.flatMap(this.openDatabase(true), ({ run, sequence }) => {
      if (run === this.run && sequence >= this.sequence) return Effect.void
      this.openedBy = 0
      const message =
        "It is not as this broker has left it: another has written to it, or it was replaced. Restart the broker."
      return Effect.fail<Refusal>({ kind: "failed", message })
    })
  })

  /** The records, a page of rows at a time. */
  get load(): Stream.Stream<StoreRecord, StorageError> {
    const begin = Effect.gen({ self: this }, function* () {
      if (!this.isOpen) yield* this.openDatabase(true)
      const { aliveAt, nextPool, nextSession, run } = yield* this.ask({ _tag: "Begin" })
      this.run = run
      this.sequence = 0
      this.lastAlive = aliveAt === 0 ? 0 : aliveAt + HEARTBEAT_MILLIS
      this.catalog.clear()
      this.catalog.nextSession = nextSession
      this.catalog.nextPool = nextPool
      return this.pages(new SqliteLoad.SqliteLoad(this.catalog))
    })
    return Stream.unwrap(begin).pipe(Stream.mapError((refusal) => errorOf(this.file, refusal, ONCE)))
  }

  /** While the records of one page are taken, the worker reads the next. */
  private pages(load: SqliteLoad.SqliteLoad): Stream.Stream<StoreRecord, Refusal> {
    const ahead = Array.from({ length: PAGES_AHEAD }, () => this.askAhead({ _tag: "Page" }))
    return Stream.paginate(NO_PARTS, (parts) =>
      Effect.flatMap(nextOf(parts), (part) => {
        if (part.done !== true) return Effect.succeed([part.value, Option.some(parts)] as const)
        return Effect.map(ahead.shift() ?? Effect.succeed(undefined), (page) => {
          if (page === undefined) return [load.end(), Option.none()] as const
          ahead.push(this.askAhead({ _tag: "Page" }))
          return [[], Option.some<Parts>(load.parts(page))] as const
        })
      })
    )
  }

  /**
   * A batch that a dying thread has taken with it is made again: if it had been committed, it is not committed twice.
   * Not interruptible, because what the worker has done must be noted here.
   */
  commit(operations: ReadonlyArray<StoreOperation>, sequence: number): Effect.Effect<void, StorageError> {
    const once = Effect.suspend(() => this.commitOnce(operations, sequence))
    return once.pipe(
      Effect.catchIf(
        ({ kind }) => kind === "died",
        () => once
      ),
      Effect.mapError(this.toError),
      Effect.uninterruptible
    )
  }

  private commitOnce(operations: ReadonlyArray<StoreOperation>, sequence: number): Effect.Effect<void, Refusal> {
    if (sequence <= this.sequence) return Effect.void
    return Effect.flatMap(this.ready, () => {
      const { batch, change } = SqliteBatch.encode(this.catalog, operations, sequence, this.buffer)
      this.buffer = undefined
      return Effect.map(this.ask({ _tag: "Commit", batch }, [batch.bytes.buffer]), (buffer) => {
        if (buffer.byteLength <= KEPT_BUFFER_BYTES) this.buffer = buffer
        this.catalog.apply(change)
        this.sequence = sequence
      })
    })
  }

  /** Waiting messages of one session: pages, until one has some. A thread that died can be asked again. */
  private queued({ clientId, ...range }: QueuedRequest): Effect.Effect<ReadonlyArray<PutOutgoing>, StorageError> {
    const session = this.catalog.sessions.get(clientId)?.number
    if (session === undefined) return Effect.succeed([])
    const from = (after: number): Effect.Effect<ReadonlyArray<PutOutgoing>, Refusal> =>
      Effect.gen({ self: this }, function* () {
        yield* this.ready
        const page = yield* this.ask({ _tag: "Queued", range: { ...range, session, after } })
        const records = yield* Effect.try({
          try: () => SqliteLoad.readQueued(page, clientId, after),
          catch: (error): Refusal => SqliteFailure.of(error)
        })
        if (records === undefined) return []
        return records.length > 0 || page.complete >= range.through ? records : yield* from(page.complete)
      })
    const once = Effect.suspend(() => from(range.after))
    return once.pipe(
      Effect.catchIf(
        ({ kind }) => kind === "died",
        () => once
      ),
      Effect.mapError(this.toError)
    )
  }

  get service(): BrokerStorage["Service"] {
    return {
      keeps: "everything",
      load: this.load,
      commit: (operations, sequence) => this.commit(operations, sequence),
      queued: (request) => Effect.suspend(() => this.queued(request)),
      hasRoom: Effect.andThen(this.ready, this.ask({ _tag: "HasRoom" })).pipe(Effect.mapError(this.toError)),
      lastAlive: Effect.sync(() => this.lastAlive),
      gatherMillis: this.gatherMillis
    }
  }

  /** Ends the thread when it has done what it was given. */
  get close(): Effect.Effect<void> {
    const close = Effect.suspend(() => (this.thread.alive ? this.ask({ _tag: "Close" }) : Effect.void))
    return close.pipe(
      Effect.timeout(CLOSE_MILLIS),
      Effect.ignore,
      Effect.andThen(Effect.promise(() => this.thread.kill()))
    )
  }
}

const recover = Effect.fnUntraced(function* (file: string) {
  const recovered = yield* attempt(file, () => SqliteRecovery.recover(file))
  if (recovered === undefined) {
    yield* Effect.logInfo(`The store ${file} is not damaged: there is nothing to recover.`)
    return
  }
  const { incomingMessages, movedTo, queuedMessages, retainedMessages, sessions, subscriptions } = recovered
  yield* Effect.logWarning(
    `The store ${file} was damaged. It is now ${movedTo}; of it were kept ${sessions} sessions, ` +
      `${subscriptions} subscriptions, ${queuedMessages} queued, ${incomingMessages} incoming and ` +
      `${retainedMessages} retained messages.`
  )
})

/** What is kept is for the eyes of its owner, also in a file that was put there by other means. */
const makePrivate = (file: string): Effect.Effect<void> =>
  Effect.flatMap(Effect.exit(attempt(file, () => SqliteFile.makePrivate(file))), (exit) => {
    if (Exit.isFailure(exit)) {
      return Effect.logWarning(`Others than its owner can read the store ${file}, and this user may not forbid it.`)
    }
    if (exit.value.length === 0) return Effect.void
    return Effect.logWarning(`Others than its owner could read ${exit.value.join(", ")}: now they cannot.`)
  })

/** An open store; it is closed with the scope. */
export const open: (options: SqliteOptions) => Effect.Effect<SqliteStore, StorageError, Scope.Scope> =
  Effect.fnUntraced(function* (options) {
    const named = resolve(options.file)
    yield* attempt(named, () => mkdirSync(dirname(named), { recursive: true, mode: 0o700 }))
    const file = yield* attempt(named, () => SqliteFile.placeOf(named))
    yield* Effect.acquireRelease(
      attempt(file, () => SqliteLock.acquire(file)),
      (lock) => Effect.sync(() => lock.release())
    )
    yield* attempt(file, () => SqliteRecovery.tidy(file))
    // Before recovery, which moves the file aside as it is.
    if (process.platform !== "win32") yield* makePrivate(file)
    if (options.recover === true) yield* recover(file)
    const store = new SqliteStore(options, file)
    yield* Effect.addFinalizer(() => store.close)
    const { created, reserved } = yield* store.open
    if (created) yield* Effect.logInfo(`Made the store ${file}.`)
    if (!reserved) {
      yield* Effect.logWarning(
        `There is no room for the reserve of the store ${file}, ${RESERVE_BYTES / 1024 ** 2} MiB: should the disk be ` +
          "full, not even what makes room may be kept. Make room; the broker takes it within a minute."
      )
    }
    return store
  })

export const make = (options: SqliteOptions): Effect.Effect<BrokerStorage["Service"], StorageError, Scope.Scope> =>
  Effect.map(open(options), (store) => store.service)

/** Keeps everything in the file, until the scope closes. */
export const layer = (options: SqliteOptions): Layer.Layer<BrokerStorage, StorageError> =>
  Layer.effect(BrokerStorage)(make(options))
