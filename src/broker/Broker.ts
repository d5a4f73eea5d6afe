/**
 * The broker as an Effect service: its layer runs one, and closing the layer's scope ends it in good order.
 *
 * Composes the synchronous core with listeners, storage, hooks and events; each of those lives in a file of its own.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { randomBytes } from "node:crypto"
import { BrokerCore } from "../core/BrokerCore.ts"
import type { Stats } from "../core/CoreState.ts"
import type { QoS } from "../protocol/Packet.ts"
import type { Properties } from "../protocol/Property.ts"
import { ProtocolError } from "../protocol/ProtocolError.ts"
import * as ReasonCode from "../protocol/ReasonCode.ts"
import { BrokerStorage } from "../storage/BrokerStorage.ts"
import * as MemoryStorage from "../storage/MemoryStorage.ts"
import type { ListenerOptions } from "../transport/Listener.ts"
import * as BrokerConfig from "./BrokerConfig.ts"
import * as BrokerError from "./BrokerError.ts"
import * as BrokerEvent from "./BrokerEvent.ts"
import { EventHub } from "./EventHub.ts"
import { HookRunner } from "./HookRunner.ts"
import { Hooks } from "./Hooks.ts"
import { JournalDriver } from "./JournalDriver.ts"
import { Listeners } from "./Listeners.ts"
import { Questions } from "./Questions.ts"
import * as Snapshot from "./Snapshot.ts"
import { Turn } from "./Turn.ts"
import * as Wait from "./Wait.ts"

/** "MQTT protocol error": the nearest documented code for a bug of ours. */
const DEFECT = 600

/** Milliseconds that sockets get to report that they are destroyed. */
const DESTROY_MILLIS = 1_000

export interface PublishOptions {
  readonly topic: string
  /** A string is sent as UTF-8. */
  readonly payload: Uint8Array | string
  /** Default 0. */
  readonly qos?: QoS | undefined
  /** Default false. An empty payload with retain removes the retained message. */
  readonly retain?: boolean | undefined
  /** Of MQTT 5.0. */
  readonly properties?: Properties | undefined
}

export interface BrokerStats extends Readonly<Stats> {
  /** Connections closed before a byte of them was read. */
  readonly connectionsRefused: number
  /** Events that slow subscribers of events lost. */
  readonly eventsDropped: number
  /** Messages that slow in-process subscriptions lost. */
  readonly localMessagesDropped: number
}

export class Broker extends Context.Service<
  Broker,
  {
    /** Listens until the scope closes. Succeeds when bound; port 0 comes back as the port that was taken. */
    readonly addListener: (
      options: ListenerOptions
    ) => Effect.Effect<Snapshot.ListenerSnapshot, BrokerError.BrokerError, Scope.Scope>
    /** Stops accepting on every listener; connections stay. */
    readonly stopListening: Effect.Effect<void>
    readonly listeners: Effect.Effect<ReadonlyArray<Snapshot.ListenerSnapshot>>
    readonly connections: Effect.Effect<ReadonlyArray<Snapshot.ConnectionSnapshot>>
    readonly sessions: Effect.Effect<ReadonlyArray<Snapshot.SessionSnapshot>>
    /** One session with the messages in it; undefined: there is none. */
    readonly session: (clientId: string) => Effect.Effect<Snapshot.SessionDetail | undefined>
    readonly retainedMessages: Effect.Effect<ReadonlyArray<Snapshot.BrokerMessage>>
    /** Every event, from the moment the stream runs. Message events cost speed: `eventsOf` takes what one needs. */
    readonly events: Stream.Stream<BrokerEvent.BrokerEvent>
    /** The events of these kinds; a kind is only built while somebody listens to it. */
    readonly eventsOf: <const T extends BrokerEvent.Tag>(
      ...tags: ReadonlyArray<T>
    ) => Stream.Stream<BrokerEvent.OfTag<T>>
    /** Publishes as if a client had. With a store, succeeds when a QoS 1, QoS 2 or retained message is kept. */
    readonly publish: (message: PublishOptions) => Effect.Effect<void, BrokerError.BrokerError>
    /** Messages whose topic matches, from the moment the stream runs. A slow reader loses the oldest, counted. */
    readonly subscribe: (filter: string) => Stream.Stream<Snapshot.BrokerMessage, BrokerError.BrokerError>
    /** Ends a connection; a 5.0 client is told the reason code (default 0x98, administrative action). */
    readonly disconnect: (
      connectionId: string,
      reasonCode?: ReasonCode.DisconnectReasonCode
    ) => Effect.Effect<void, BrokerError.BrokerError>
    /** Stops listening, says goodbye to everybody, and ends. Closing the layer's scope does the same. */
    readonly shutdown: Effect.Effect<void>
    readonly stats: Effect.Effect<BrokerStats>
  }
>()("effect-mqtt/broker/Broker") {}

/** The parts of one running broker. */
interface Parts {
  readonly settings: BrokerConfig.BrokerSettings
  readonly core: BrokerCore
  readonly turn: Turn
  readonly hub: EventHub
  readonly runner: HookRunner
  readonly journal: JournalDriver
  readonly listeners: Listeners
  readonly local: LocalSubscriptions
}

const assemble = Effect.gen(function* () {
  const settings = yield* BrokerConfig.BrokerConfig
  const storage = yield* BrokerStorage
  const hooks = yield* Hooks
  const runFork = Effect.runForkWith(yield* Effect.context<never>())
  const core = new BrokerCore({
    config: settings,
    journal: storage.keeps === "everything",
    // Not guessable: who knows a client id can take its session over.
    idSeed: randomBytes(12).toString("hex"),
    allocate: (bytes) => Buffer.allocUnsafeSlow(bytes)
  })
  const turn = new Turn(core)
  const hub = new EventHub(core.events, settings.eventsBufferMax)
  const runner = new HookRunner(settings.hookTimeoutSeconds, runFork)
  const questions = new Questions(core, hooks, runner, hub, turn.schedule)
  const journal = new JournalDriver(core, storage, hub, runFork, turn.schedule)
  const listeners = new Listeners(settings, hooks, runner, turn, hub)
  const reportDefect = (connectionId: string, defect: unknown): void => {
    const description = `The broker failed on what this client sent, and closed its connection: ${String(defect)}`
    hub.publish({ _tag: "Error", connectionId, errorCode: DEFECT, description })
    runFork(Effect.logError(description, Cause.die(defect)))
  }
  turn.begin({ questions, runner, journal, hub, reportDefect })
  const parts: Parts = {
    settings,
    core,
    turn,
    hub,
    runner,
    journal,
    listeners,
    local: new LocalSubscriptions(core, settings.messagesBufferMax)
  }
  return parts
})

/** Puts back what the store kept. */
const restore = Effect.fnUntraced(function* ({ core, turn }: Parts) {
  const storage = yield* BrokerStorage
  const now = Date.now()
  yield* storage.load.pipe(
    Stream.runForEachArray((records) =>
      Effect.sync(() => {
        for (const record of records) core.restore(record, now)
      })
    ),
    Effect.mapError((error) => BrokerError.of(new BrokerError.StorageUnavailable({ detail: error.message })))
  )
  turn.schedule()
})

/** In-process subscriptions, each with a bounded buffer. */
class LocalSubscriptions {
  dropped = 0
  private readonly core: BrokerCore
  private readonly bufferMax: number
  private readonly queues = new Set<Queue.Queue<Snapshot.BrokerMessage, Cause.Done>>()

  constructor(core: BrokerCore, bufferMax: number) {
    this.core = core
    this.bufferMax = bufferMax
  }

  stream(filter: string): Stream.Stream<Snapshot.BrokerMessage, BrokerError.BrokerError> {
    const subscribe = Effect.gen({ self: this }, function* () {
      const queue = yield* Queue.sliding<Snapshot.BrokerMessage, Cause.Done>(this.bufferMax)
      const subscription = this.core.subscribeLocal(filter, (message) => {
        if (Queue.isFullUnsafe(queue)) this.dropped++
        Queue.offerUnsafe(queue, Snapshot.ofPassing(message))
      })
      if (subscription instanceof ProtocolError) return yield* BrokerError.fromProtocol(subscription, filter)
      this.queues.add(queue)
      yield* Effect.addFinalizer(() =>
        Effect.sync(() => {
          this.queues.delete(queue)
          subscription.unsubscribe()
        })
      )
      return Stream.fromQueue(queue)
    })
    return Stream.unwrap(subscribe)
  }

  end(): void {
    for (const queue of this.queues) Queue.endUnsafe(queue)
  }
}

/** Everything in its order; nothing in it waits longer than it may. */
const shutdown = (parts: Parts): Effect.Effect<void> => {
  const { core, hub, journal, listeners, local, runner, settings, turn } = parts
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
    // The last acknowledgements are out; what they stand on, and what the goodbyes changed, is kept too.
    yield* Wait.until((done) => journal.whenIdle(done), deadline - Date.now())
    turn.run()
    journal.stop()
    turn.stop()
    hub.end()
    local.end()
  })
}

const service = (parts: Parts, close: Effect.Effect<void>): Broker["Service"] => {
  const { core, hub, journal, listeners, local, turn } = parts
  const open = Effect.suspend(() =>
    listeners.closed ? Effect.fail(BrokerError.of(new BrokerError.ShutDown())) : Effect.void
  )
  return {
    addListener: (options) => open.pipe(Effect.andThen(listeners.start(options)), Effect.map(Snapshot.ofListener)),
    stopListening: Effect.sync(() => listeners.stopAccepting()),
    listeners: Effect.sync(() => Array.from(listeners.all, Snapshot.ofListener)),
    connections: Effect.sync(() => Array.from(core.connections.values(), Snapshot.ofConnection)),
    sessions: Effect.sync(() => Array.from(core.sessions.values(), Snapshot.ofSession)),
    session: (clientId) =>
      Effect.sync(() => {
        const session = core.sessions.get(clientId)
        return session === undefined ? undefined : Snapshot.detailOf(session)
      }),
    retainedMessages: Effect.sync(() => Array.from(core.retained.entries(), ([, message]) => Snapshot.ofKept(message))),
    events: hub.stream(BrokerEvent.tags),
    eventsOf: (...tags) => hub.stream(tags),
    publish: ({ payload, properties, qos = 0, retain = false, topic }) =>
      open.pipe(
        Effect.andThen(() => {
          const bytes = typeof payload === "string" ? Buffer.from(payload) : payload
          const error = core.publish({ topic, payload: bytes, qos, retain, properties }, Date.now())
          turn.schedule()
          if (error !== undefined) return Effect.fail(BrokerError.fromProtocol(error, topic))
          return qos > 0 || retain ? journal.whenDurable(core.publishedSequence()) : Effect.void
        })
      ),
    subscribe: (filter) => Stream.unwrap(Effect.map(open, () => local.stream(filter))),
    disconnect: (connectionId, reasonCode = ReasonCode.AdministrativeAction) =>
      Effect.suspend(() => {
        const connection = core.connections.get(connectionId)
        if (connection === undefined) return Effect.fail(BrokerError.of(new BrokerError.NotConnected({ connectionId })))
        core.disconnect(connection, reasonCode, Date.now())
        turn.schedule()
        return Effect.void
      }),
    shutdown: close,
    stats: Effect.sync(() => ({
      ...core.stats,
      connectionsRefused: listeners.refused,
      eventsDropped: hub.dropped,
      localMessagesDropped: local.dropped
    }))
  }
}

/** A running broker, its configured listeners bound; it ends with the scope. */
export const make: Effect.Effect<
  Broker["Service"],
  BrokerError.BrokerError,
  BrokerConfig.BrokerConfig | BrokerStorage | Scope.Scope
> = Effect.gen(function* () {
  const parts = yield* assemble
  // Uninterruptible, because a half-done shutdown would leave the other half running.
  const close = yield* Effect.cached(Effect.uninterruptible(shutdown(parts)))
  // Twice: here for a start that fails half-way, and below so that it comes before the listeners' own ends.
  yield* Effect.addFinalizer(() => close)
  yield* restore(parts)
  for (const options of parts.settings.listeners) yield* parts.listeners.start(options)
  yield* Effect.addFinalizer(() => close)
  return service(parts, close)
})

/**
 * A broker with the settings and the store that other layers give it. As with every layer, all who use this one share
 * one broker; `Layer.fresh` makes another.
 */
export const layer: Layer.Layer<Broker, BrokerError.BrokerError, BrokerConfig.BrokerConfig | BrokerStorage> =
  Layer.effect(Broker)(make)

/** A broker of its own with these settings, the others at their defaults, that keeps nothing beyond its process. */
export const layerMemory = (
  options?: Partial<BrokerConfig.BrokerSettings>
): Layer.Layer<Broker, BrokerError.BrokerError> =>
  Layer.fresh(layer).pipe(Layer.provide([BrokerConfig.layer(options), MemoryStorage.layer]))
