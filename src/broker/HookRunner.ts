/**
 * Runs the hooks: effects that decide, of which many may be open at once.
 *
 * Owns the fibers of open questions, their one deadline, and the number of the error when there is no decision. A hook
 * that answers at once needs no fiber at all, one that answers without waiting leaves nothing behind.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"

/** The documented number of a question that got no decision: "Action impossible in control's present state". */
export const NO_DECISION = 211

/** The decision, or a sentence that says why there is none. */
export type Outcome<A> = { readonly decision: A } | { readonly failure: string }

interface Open {
  readonly fiber: Fiber.Fiber<unknown, unknown>
  /** Milliseconds since the epoch. */
  readonly dueAt: number
  readonly expire: () => void
}

export class HookRunner {
  /** In the order of their deadlines, because all have the same time. */
  private readonly open = new Set<Open>()
  private readonly idleWaiters = new Set<() => void>()
  private readonly timeoutMillis: number
  private readonly runFork: <A, E>(effect: Effect.Effect<A, E>) => Fiber.Fiber<A, E>

  constructor(timeoutSeconds: number, runFork: <A, E>(effect: Effect.Effect<A, E>) => Fiber.Fiber<A, E>) {
    this.timeoutMillis = timeoutSeconds * 1_000
    this.runFork = runFork
  }

  /**
   * `done` is called at most once, before this returns if the hook does not wait. If it does, returns how to interrupt
   * it when nobody wants its answer any more: then `done` is not called.
   */
  run<A>(
    ask: () => Effect.Effect<A, unknown>,
    now: number,
    done: (outcome: Outcome<A>) => void
  ): (() => void) | undefined {
    // A hook may throw while it makes its effect: suspended, that is a defect like any other.
    const fiber = this.runFork(Effect.suspend(ask))
    const exit = fiber.pollUnsafe()
    if (exit !== undefined) {
      done(toOutcome(exit))
      return undefined
    }
    const answer = (outcome: Outcome<A>) => {
      // Once: a late answer finds its question closed.
      if (this.open.delete(entry)) done(outcome)
      this.tellIdle()
    }
    const entry: Open = {
      fiber,
      dueAt: now + this.timeoutMillis,
      expire: () => answer({ failure: `it did not answer within ${this.timeoutMillis / 1_000} s` })
    }
    this.open.add(entry)
    fiber.addObserver((late) => answer(toOutcome(late)))
    return () => {
      if (this.open.delete(entry)) fiber.interruptUnsafe()
      this.tellIdle()
    }
  }

  private tellIdle(): void {
    if (this.open.size === 0) for (const idle of this.idleWaiters) idle()
  }

  /** Calls `idle` when no question is open. Returns how to stop waiting. */
  whenIdle(idle: () => void): () => void {
    if (this.open.size === 0) {
      idle()
      return () => {}
    }
    this.idleWaiters.add(idle)
    return () => this.idleWaiters.delete(idle)
  }

  get openCount(): number {
    return this.open.size
  }

  /** When the oldest open question has waited long enough; Infinity when none is open. */
  deadline(): number {
    for (const entry of this.open) return entry.dueAt
    return Number.POSITIVE_INFINITY
  }

  tick(now: number): void {
    for (const entry of this.open) {
      if (entry.dueAt > now) return
      entry.expire()
      entry.fiber.interruptUnsafe()
    }
  }

  /** Interrupts what is open; nobody is told. */
  stop(): void {
    const { open } = this
    const fibers = [...open].map((entry) => entry.fiber)
    open.clear()
    for (const fiber of fibers) fiber.interruptUnsafe()
  }
}

/** Of a hook that says yes or no: anything else is no decision, whatever its type promised. */
export const yesOrNo = (outcome: Outcome<boolean>): Outcome<boolean> =>
  "failure" in outcome || typeof outcome.decision === "boolean"
    ? outcome
    : { failure: "its answer is neither true nor false" }

const toOutcome = <A>(exit: Exit.Exit<A, unknown>): Outcome<A> =>
  Exit.isSuccess(exit) ? { decision: exit.value } : { failure: describe(exit.cause) }

/** Most characters of a failure that are told. */
const DESCRIPTION_MAX = 4_096

const describe = (cause: Cause.Cause<unknown>): string => {
  try {
    return Cause.pretty(cause).slice(0, DESCRIPTION_MAX)
  } catch (_error) {
    // What it failed with is the hook's own object, and may throw when it is looked at: refused all the same.
    return "it failed with something that cannot be put into words"
  }
}
