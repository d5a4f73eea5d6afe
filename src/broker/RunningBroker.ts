/**
 * One run of a broker, from its parts being made to the last of them being stopped.
 *
 * Owns the order of both. What can be asked of a broker while it runs is in `Broker.ts`.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { randomBytes } from "node:crypto"
import { BrokerCore } from "../core/BrokerCore.ts"
import type { CaughtDefect } from "../core/CoreState.ts"
import { BrokerStorage } from "../storage/BrokerStorage.ts"
import type { BrokerSettings } from "./BrokerConfig.ts"
import * as BrokerError from "./BrokerError.ts"
import { EventHub } from "./EventHub.ts"
import { HookRunner } from "./HookRunner.ts"
import { Hooks } from "./Hooks.ts"
import { JournalDriver } from "./JournalDriver.ts"
import { Listeners } from "./Listeners.ts"
import { LocalSubscriptions } from "./LocalSubscriptions.ts"
import { QuestionDriver } from "./QuestionDriver.ts"
import { QueueReader } from "./QueueReader.ts"
import { Turn } from "./Turn.ts"
import * as Wait from "./Wait.ts"

/** "MQTT protocol error": the nearest documented code for a bug of ours. */
const DEFECT = 600

/** Milliseconds that sockets get to report that they are destroyed. */
const DESTROY_MILLIS = 1_000

/** The parts of one running broker. */
export interface Parts {
  /** This run's own copy: what can be set while it runs is set in here, for all who look. */
  readonly settings: BrokerSettings
  readonly core: BrokerCore
  readonly turn: Turn
  readonly hub: EventHub
  readonly runner: HookRunner
  readonly journal: JournalDriver
  readonly queues: QueueReader
  readonly listeners: Listeners
  readonly local: LocalSubscriptions
}

const assemble = Effect.fnUntraced(function* (settings: BrokerSettings, former: Parts | undefined) {
  const storage = yield* BrokerStorage
  const hooks = yield* Hooks
  const runFork = Effect.runForkWith(yield* Effect.context<never>())
  const core = new BrokerCore({
    config: settings,
    journal: storage.keeps === "everything",
    pages: storage.queued !== undefined,
    // Not guessable: who knows a client id can take its session over.
    idSeed: randomBytes(12).toString("hex"),
    // Who listens to events across a reset never meets an id of before it again.
    lastIds: former?.core.lastIds,
    allocate: (bytes) => Buffer.allocUnsafeSlow(bytes)
  })
  const turn = new Turn(core)
  const hub = former?.hub ?? new EventHub(core.events, settings)
  if (former !== undefined) hub.follow(core.events, settings)
  const runner = new HookRunner(settings.hookTimeoutSeconds, runFork)
  const questions = new QuestionDriver(core, hooks, runner, hub, turn.schedule)
  const journal = new JournalDriver(core, storage, hub, runFork, turn.schedule)
  const queues = new QueueReader(core, storage, journal, runFork, turn.schedule)
  const listeners = new Listeners(settings, hooks, runner, turn, hub)
  const reportDefect = ({ connectionId, defect }: CaughtDefect): void => {
    const description =
      connectionId === ""
        ? `The broker failed on something that no connection waits for: ${String(defect)}`
        : `The broker failed on what it did for this client, and closed its connection: ${String(defect)}`
    hub.publish({ _tag: "Error", connectionId, errorCode: DEFECT, description })
    if (!hub.logs) runFork(Effect.logError(description, Cause.die(defect)))
  }
  turn.begin({ questions, runner, journal, queues, hub, reportDefect })
  const parts: Parts = {
    settings,
    core,
    turn,
    hub,
    runner,
    journal,
    queues,
    listeners,
    local: new LocalSubscriptions(core, settings.messagesBufferMax)
  }
  return parts
})

/**
 * Puts back what the store kept. Who was connected when the run before ended has been away since: expiry and will
 * delays count from then [MQTT-3.1.2-23].
 */
const restore = Effect.fnUntraced(function* ({ core, turn }: Parts) {
  const { lastAlive = Effect.succeed(0), load } = yield* BrokerStorage
  const now = Date.now()
  yield* load.pipe(
    Stream.runForEachArray((records) =>
      Effect.map(lastAlive, (aliveAt) => {
        const disconnectedAt = aliveAt === 0 ? now : Math.min(aliveAt, now)
        for (const record of records) {
          const wasConnected = record._tag === "PutSession" && record.disconnectedAt === 0
          core.restore(wasConnected ? { ...record, disconnectedAt } : record, now)
        }
      })
    ),
    Effect.mapError((error) => BrokerError.of(new BrokerError.StorageUnavailable({ detail: error.message })))
  )
  core.restored(now)
  turn.schedule()
})

/** Everything in its order; nothing in it waits longer than it may. */
const shutdown = (parts: Parts): Effect.Effect<void> => {
  const { core, journal, listeners, local, queues, runner, settings, turn } = parts
  return Effect.gen(function* () {
    const deadline = Date.now() + settings.shutdownTimeoutSeconds * 1_000
    listeners.closed = true
    listeners.stopAccepting()
    runner.stop()
    core.shutdown(Date.now())
    turn.schedule()
    yield* Wait.until((done) => turn.whenGone(undefined, done), deadline - Date.now())
    listeners.closeConnections()
    yield* Wait.until((done) => turn.whenGone(undefined, done), DESTROY_MILLIS)
    // Wills of those who were connected may have to be permitted yet.
    turn.run()
    yield* Wait.until((done) => runner.whenIdle(done), deadline - Date.now())
    // The last acknowledgements are out; what they stand on, and what the goodbyes changed, is kept too.
    yield* Wait.until((done) => journal.whenIdle(done), deadline - Date.now())
    turn.run()
    runner.stop() // a will's question that nobody has answered
    journal.stop()
    queues.stop()
    turn.stop()
    local.end()
  })
}

/** The run that there is now: a reset puts another in its place. */
export interface Running {
  parts: Parts
  /** Ends it, but for the streams of events; once, however often it is asked to. */
  stop: Effect.Effect<void>
  /** Ends it, and them. */
  close: Effect.Effect<void>
}

/**
 * Begins a run with these settings and what the store kept. It listens nowhere yet. Whoever listened to the events of
 * `former`, a run that has stopped, goes on with this one.
 */
export const begin = Effect.fnUntraced(function* (given: BrokerSettings, former?: Parts) {
  const parts = yield* assemble({ ...given }, former)
  // Uninterruptible, because a half-done shutdown would leave the other half running.
  const stop = yield* Effect.cached(Effect.uninterruptible(shutdown(parts)))
  const close = Effect.uninterruptible(Effect.tap(stop, () => Effect.sync(() => parts.hub.end())))
  yield* Effect.onError(restore(parts), () => close)
  const running: Running = { parts, stop, close }
  return running
})
