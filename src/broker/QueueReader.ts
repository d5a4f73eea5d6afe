/**
 * From the store back to the core: waiting messages that only the store has, when the core asks for them.
 *
 * Owns how many pages are read at once, and that a page that cannot be read is tried again: until then its session
 * waits, and no other that a client may come back to. Sessions that have ended wait for each other (`Orphans.ts`).
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import type { BrokerCore } from "../core/BrokerCore.ts"
import type { Stored } from "../core/OutboundQueue.ts"
import { Orphan } from "../core/Orphan.ts"
import type { PageRequest } from "../core/PageRequest.ts"
import type { PutOutgoing } from "../core/StoreOperation.ts"
import type { BrokerStorage, QueuedRequest, StorageError } from "../storage/BrokerStorage.ts"
import type { JournalDriver } from "./JournalDriver.ts"

/** Pages that are read at once: half a megabyte each, from a store that reads one after the other. */
const READING_MAX = 4
/** Bytes of a page when a whole queue is read. */
const PART_BYTES = 512 * 1024
/** Waits before a page is tried again: doubled from the first to the last. */
const FIRST_RETRY_MILLIS = 1_000
const LAST_RETRY_MILLIS = 60_000

export class QueueReader {
  private readonly core: BrokerCore
  private readonly storage: BrokerStorage["Service"]
  private readonly journal: JournalDriver
  private readonly runFork: <A, E>(effect: Effect.Effect<A, E>) => Fiber.Fiber<A, E>
  private readonly schedule: () => void
  private readonly waiting = new Set<PageRequest>()
  /** Of those that could not be read: how long is waited next, in milliseconds. */
  private readonly waits = new WeakMap<PageRequest, number>()
  private readonly fibers = new Set<Fiber.Fiber<void>>()
  private reading = 0
  private stopped = false

  constructor(
    core: BrokerCore,
    storage: BrokerStorage["Service"],
    journal: JournalDriver,
    runFork: <A, E>(effect: Effect.Effect<A, E>) => Fiber.Fiber<A, E>,
    schedule: () => void
  ) {
    this.core = core
    this.storage = storage
    this.journal = journal
    this.runFork = runFork
    this.schedule = schedule
  }

  /** Called in every turn: reads what the core wishes for, as far as not too much is being read. */
  drain(): void {
    const { pageRequests } = this.core
    if (pageRequests.length > 0) for (const request of pageRequests.splice(0)) this.admit(request)
    for (const request of this.waiting) {
      if (this.reading >= READING_MAX || this.stopped) return
      this.waiting.delete(request)
      if (!this.core.isWanted(request)) continue
      this.reading++
      this.fork(Effect.ensuring(this.page(request), this.finished))
    }
  }

  /** What is not durable yet does not take the place of one that could be read. */
  private admit(request: PageRequest): void {
    if (request.sequence <= this.core.journal.durable) this.waiting.add(request)
    else this.fork(Effect.andThen(this.journal.whenDurable(request.sequence), this.again(request)))
  }

  private again(request: PageRequest): Effect.Effect<void> {
    return Effect.sync(() => {
      this.waiting.add(request)
      this.schedule()
    })
  }

  stop(): void {
    this.stopped = true
    this.waiting.clear()
    for (const fiber of this.fibers) fiber.interruptUnsafe()
  }

  private readonly finished: Effect.Effect<void> = Effect.sync(() => {
    this.reading--
    this.schedule()
  })

  private fork(effect: Effect.Effect<void>): void {
    const fiber = this.runFork(effect)
    this.fibers.add(fiber)
    fiber.addObserver(() => this.fibers.delete(fiber))
  }

  private page(request: PageRequest): Effect.Effect<void> {
    const { after, bytesMax, clientId, through } = request
    return this.read({ clientId, after, through, bytesMax }).pipe(
      Effect.matchCause({
        onSuccess: (records) => {
          if (this.stopped) return
          const lost = this.core.pageRead(request, records, Date.now())
          if (lost > 0) this.fork(Effect.logError(`The store has lost ${lost} messages that waited for ${clientId}.`))
        },
        onFailure: (cause) => {
          if (!this.stopped && !Cause.hasInterruptsOnly(cause)) this.retry(request, cause)
        }
      })
    )
  }

  /** All messages of one session that only the store has. */
  readPart(
    clientId: string,
    { after, sequence, through }: Pick<Stored, "after" | "sequence" | "through">
  ): Effect.Effect<ReadonlyArray<PutOutgoing>, StorageError> {
    const found: Array<PutOutgoing> = []
    return Effect.gen({ self: this }, function* () {
      yield* this.journal.whenDurable(sequence)
      for (let from = after; ; from = found.at(-1)!.order) {
        const records = yield* this.read({ clientId, after: from, through, bytesMax: PART_BYTES })
        found.push(...records)
        if (records.length === 0) return found
      }
    })
  }

  /** Some of the messages that only the store has, in order; none behind the last. */
  private read(request: QueuedRequest): Effect.Effect<ReadonlyArray<PutOutgoing>, StorageError> {
    return Effect.suspend(() => this.storage.queued?.(request) ?? Effect.succeed([]))
  }

  private retry(request: PageRequest, cause: Cause.Cause<StorageError>): void {
    const wait = this.waits.get(request) ?? FIRST_RETRY_MILLIS
    this.waits.set(request, Math.min(2 * wait, LAST_RETRY_MILLIS))
    const again = Effect.andThen(Effect.sleep(wait), this.again(request))
    const whose = request.reader instanceof Orphan ? "a session that has ended" : request.clientId
    this.fork(Effect.andThen(Effect.logError(`The queue of ${whose} cannot be read.`, cause), again))
  }
}
