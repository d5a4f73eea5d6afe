/**
 * From the core's journal to the store: one batch at a time, in order, each repeated until it is kept.
 *
 * Owns the fiber that commits, when it does, and who waits for a sequence. Nothing is ever skipped: while the store
 * fails, the core refuses what it could not keep.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import type { BrokerCore } from "../core/BrokerCore.ts"
import type { Batch, StorageState } from "../core/Journal.ts"
import { type BrokerStorage, StorageError } from "../storage/BrokerStorage.ts"
import type { EventHub } from "./EventHub.ts"

/** Waits between attempts: doubled from the first to the last. */
const FIRST_RETRY_MILLIS = 100
const LAST_RETRY_MILLIS = 5_000
/** Wait between two questions whether a full store has room again. */
const ROOM_MILLIS = 1_000

/**
 * While every round of the event loop brings something, a batch gathers, at most this long. A commit costs about the
 * same for ten messages as for a thousand, and what clients acknowledge meanwhile need not be written. Measured with
 * 10→10 QoS 1 at saturation, rounds alternating: not at all 138,000 messages/s, 2 ms 271,000, 4 ms 310,000, 8 ms
 * 303,000. Whoever is alone with a message does not wait: the next round brings nothing.
 */
const GATHER_MILLIS = 4

const KEEPS_AGAIN = "The store keeps what it is given again."

interface Waiter {
  readonly sequence: number
  readonly resume: () => void
}

export class JournalDriver {
  private readonly core: BrokerCore
  private readonly storage: BrokerStorage["Service"]
  private readonly hub: EventHub
  private readonly runFork: <A, E>(effect: Effect.Effect<A, E>) => Fiber.Fiber<A, E>
  private readonly schedule: () => void
  private committing: Fiber.Fiber<void> | undefined = undefined
  private durable = 0
  /** The last sequence handed to the store. */
  private taken = 0
  /** When the batch that gathers began, by the turns' clock; 0: none gathers. */
  private gatheringSince = 0
  /** The changes of the journal when the last turn looked. */
  private changesSeen = 0
  private watchingRoom: Fiber.Fiber<void> | undefined = undefined
  private stopped = false
  private state: StorageState = "ok"
  /** Whether the last attempt to commit has failed. */
  private failing = false
  private readonly waiters = new Set<Waiter>()
  private readonly idleWaiters = new Set<() => void>()

  constructor(
    core: BrokerCore,
    storage: BrokerStorage["Service"],
    hub: EventHub,
    runFork: <A, E>(effect: Effect.Effect<A, E>) => Fiber.Fiber<A, E>,
    schedule: () => void
  ) {
    this.core = core
    this.storage = storage
    this.hub = hub
    this.runFork = runFork
    this.schedule = schedule
  }

  /** Calls `idle` when everything journalled so far is kept. Returns how to stop waiting. */
  whenIdle(idle: () => void): () => void {
    this.begin()
    if (this.committing === undefined) {
      idle()
      return () => {}
    }
    this.idleWaiters.add(idle)
    return () => this.idleWaiters.delete(idle)
  }

  /** A turn ends: hands the store what has been journalled, unless it is busy, or more is about to come. */
  drain(now: number): void {
    if (!this.hasBatch) return
    if (this.gathers(now)) this.schedule()
    else this.begin()
  }

  private get hasBatch(): boolean {
    return this.committing === undefined && !this.stopped && this.core.journal.sequence > this.taken
  }

  /** Whether the next round of the event loop is waited for. */
  private gathers(now: number): boolean {
    const { changes, pending } = this.core.journal
    if (this.gatheringSince === 0) this.gatheringSince = now
    const gathered = now - this.gatheringSince
    const isQuiet = changes === this.changesSeen
    this.changesSeen = changes
    // With nothing left to be written, acknowledgements wait for nothing. (The clock may have been set back.)
    return pending > 0 && !isQuiet && gathered >= 0 && gathered < GATHER_MILLIS
  }

  private begin(): void {
    this.gatheringSince = 0
    while (this.hasBatch) {
      const fiber = this.runFork(this.next)
      if (fiber.pollUnsafe() === undefined) {
        this.committing = fiber
        fiber.addObserver(() => {
          this.committing = undefined
          if (this.idleWaiters.size > 0) this.begin()
          if (this.committing === undefined) for (const idle of this.idleWaiters) idle()
          this.schedule()
        })
      }
    }
  }

  /** Resumes when everything up to `sequence` is durable. */
  whenDurable(sequence: number): Effect.Effect<void> {
    if (this.storage.keeps === "nothing") return Effect.void
    return Effect.callback((resume) => {
      if (sequence <= this.durable) {
        resume(Effect.void)
        return
      }
      const waiter: Waiter = { sequence, resume: () => resume(Effect.void) }
      this.waiters.add(waiter)
      return Effect.sync(() => this.waiters.delete(waiter))
    })
  }

  stop(): void {
    this.stopped = true
    this.committing?.interruptUnsafe()
    this.watchingRoom?.interruptUnsafe()
  }

  /** What has been journalled, or will have been when it has waited for company. */
  private readonly next: Effect.Effect<void> = Effect.suspend(() => {
    const { gatherMillis = 0 } = this.storage
    const batch = Effect.suspend(() => {
      const taken = this.core.journal.take()
      if (taken === undefined) return Effect.void
      this.taken = taken.sequence
      if (taken.operations.length > 0) return this.commit(taken)
      // Its messages were acknowledged before the store was given them: nothing of it is left to be kept.
      this.stored(taken.sequence)
      return Effect.void
    })
    return gatherMillis > 0 ? Effect.andThen(Effect.sleep(gatherMillis), batch) : batch
  })

  private commit(first: Batch): Effect.Effect<void> {
    return Effect.gen({ self: this }, function* () {
      let batch = first
      const attempt = Effect.suspend(() => this.storage.commit(batch.operations, batch.sequence))
      for (let wait = FIRST_RETRY_MILLIS; ; wait = Math.min(wait * 2, LAST_RETRY_MILLIS)) {
        const exit = yield* Effect.exit(attempt)
        if (Exit.isSuccess(exit)) break
        if (Cause.hasInterruptsOnly(exit.cause)) return yield* Effect.interrupt
        this.failed(exit.cause)
        yield* Effect.sleep(wait)
        if (this.state === "full") batch = this.widened(batch)
      }
      this.stored(batch.sequence)
    })
  }

  /** With what has gathered meanwhile: what makes room must not wait behind what needs it, and may undo it. */
  private widened(batch: Batch): Batch {
    const more = this.core.journal.take()
    if (more === undefined) return batch
    this.taken = more.sequence
    return { operations: [...batch.operations, ...more.operations], sequence: more.sequence }
  }

  private stored(sequence: number): void {
    this.durable = sequence
    this.failing = false
    const now = Date.now()
    const { hasRoom } = this.storage
    // Also when it has failed for another reason since it was full.
    if (this.state !== "ok" && hasRoom !== undefined) this.watchRoom(hasRoom)
    else if (this.state !== "ok") this.change("ok", KEEPS_AGAIN, now)
    this.core.stored(sequence, now)
    for (const waiter of this.waiters) {
      if (waiter.sequence > sequence) continue
      this.waiters.delete(waiter)
      waiter.resume()
    }
  }

  /** It has kept this batch, perhaps in its last room: until there is more, what needs room is refused. */
  private watchRoom(hasRoom: NonNullable<BrokerStorage["Service"]["hasRoom"]>): void {
    if (this.watchingRoom !== undefined) return
    const watch = Effect.gen({ self: this }, function* () {
      while (!(yield* Effect.orElseSucceed(hasRoom, () => false))) {
        yield* Effect.sleep(ROOM_MILLIS)
      }
      // What fails again meanwhile is asked again when it has been kept.
      if (this.state !== "ok" && !this.failing) this.change("ok", KEEPS_AGAIN, Date.now())
    })
    const fiber = this.runFork(watch)
    this.watchingRoom = fiber
    fiber.addObserver(() => {
      this.watchingRoom = undefined
    })
  }

  private failed(cause: Cause.Cause<StorageError>): void {
    this.failing = true
    const error = Cause.squash(cause)
    const full = error instanceof StorageError && error.reason._tag === "StorageFull"
    const state = full ? "full" : "failed"
    if (state !== this.state) this.change(state, error instanceof Error ? error.message : String(error), Date.now())
  }

  private change(state: StorageState, description: string, now: number): void {
    this.state = state
    this.core.storageState(state, now)
    this.hub.publish({ _tag: "StorageChanged", state, description })
    // Whoever runs the broker must know, also when no program listens to the log.
    if (!this.hub.logs) this.runFork(state === "ok" ? Effect.logInfo(description) : Effect.logError(description))
    this.schedule()
  }
}
