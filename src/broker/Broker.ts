/**
 * The broker as an Effect service: its layer runs one, and closing the layer's scope ends it in good order.
 *
 * Composes the synchronous core with listeners, storage, hooks and events; each of those lives in a file of its own.
 */
import type { ConnectionId } from "../core/ConnectionId.ts"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import type * as Stream from "effect/Stream"
import type * as ReasonCode from "../protocol/ReasonCode.ts"
import type { BrokerStorage } from "../storage/BrokerStorage.ts"
import * as MemoryStorage from "../storage/MemoryStorage.ts"
import type { CertificatesOptions, ListenerOptions } from "../transport/Listener.ts"
import * as BrokerConfig from "./BrokerConfig.ts"
import type * as BrokerError from "./BrokerError.ts"
import type * as BrokerEvent from "./BrokerEvent.ts"
import * as BrokerMethods from "./BrokerMethods.ts"
import * as RunningBroker from "./RunningBroker.ts"
import type * as Snapshot from "./Snapshot.ts"

export type { BrokerStats, PublishOptions, RetainedOptions } from "./BrokerMethods.ts"

export class Broker extends Context.Service<
  Broker,
  {
    /** Listens until the scope closes. Succeeds when bound; port 0 comes back as the port that was taken. */
    readonly addListener: (
      options: ListenerOptions
    ) => Effect.Effect<Snapshot.ListenerSnapshot, BrokerError.BrokerError, Scope.Scope>
    /**
     * Loads the certificates of the listeners with TLS on that port again (of the one at that address, if it is given),
     * with those given in place of theirs: all of them, or none when one is not good, and then it fails. Connections
     * stay, new ones see the new ones.
     *
     * What is left out keeps its present value, authorities and revocation lists for clients too; "" or [] removes it.
     * But a certificate is replaced as a whole: a new `sslCertStore` comes with its own password, subject and key.
     */
    readonly replaceCertificates: (
      localPort: number,
      certificates?: CertificatesOptions,
      localHost?: string
    ) => Effect.Effect<void, BrokerError.BrokerError>
    /** Stops accepting on every listener; connections stay. */
    readonly stopListening: Effect.Effect<void>
    /** Listens again on every address where it was stopped. */
    readonly startListening: Effect.Effect<void, BrokerError.BrokerError>
    /** Whether any listener accepts connections. */
    readonly listening: Effect.Effect<boolean>
    readonly listeners: Effect.Effect<ReadonlyArray<Snapshot.ListenerSnapshot>>
    readonly connections: Effect.Effect<ReadonlyArray<Snapshot.ConnectionSnapshot>>
    readonly sessions: Effect.Effect<ReadonlyArray<Snapshot.SessionSnapshot>>
    /** One session with the messages in it; undefined: there is none. */
    readonly session: (clientId: string) => Effect.Effect<Snapshot.SessionDetail | undefined>
    readonly retainedMessages: Effect.Effect<ReadonlyArray<Snapshot.BrokerMessage>>
    /** The retained message of a topic; undefined: there is none. */
    readonly retainedMessage: (topic: string) => Effect.Effect<Snapshot.BrokerMessage | undefined>
    /** Adds a retained message or replaces that of its topic, for new subscriptions: nobody is sent it now. */
    readonly setRetainedMessage: (
      message: BrokerMethods.RetainedOptions
    ) => Effect.Effect<void, BrokerError.BrokerError>
    /** Whether there was one. */
    readonly removeRetainedMessage: (topic: string) => Effect.Effect<boolean, BrokerError.BrokerError>
    /**
     * Every event, from the moment the stream runs until the broker has closed. Message events cost speed: `eventsOf`
     * takes what one needs.
     */
    readonly events: Stream.Stream<BrokerEvent.BrokerEvent>
    /** The events of these kinds; a kind is only built while somebody listens to it. */
    readonly eventsOf: <const T extends BrokerEvent.Tag>(
      ...tags: ReadonlyArray<T>
    ) => Stream.Stream<BrokerEvent.OfTag<T>>
    /** Publishes as if a client had. With a store, succeeds when a QoS 1, QoS 2 or retained message is kept. */
    readonly publish: (message: BrokerMethods.PublishOptions) => Effect.Effect<void, BrokerError.BrokerError>
    /** Messages whose topic matches, from the moment the stream runs. A slow reader loses the oldest, counted. */
    readonly subscribe: (filter: string) => Stream.Stream<Snapshot.BrokerMessage, BrokerError.BrokerError>
    /** One session as the documented JSON, whether or not its client is connected: what `loadSession` takes. */
    readonly saveSession: (clientId: string) => Effect.Effect<string, BrokerError.BrokerError>
    /**
     * Puts a session in, in place of the one that its client id has; fails, with everything as it was, when its client
     * is connected or the document is not one. With a store, succeeds when it is kept.
     */
    readonly loadSession: (json: string) => Effect.Effect<void, BrokerError.BrokerError>
    /** Ends a connection; a 5.0 client is told the reason code (default 0x98, administrative action). */
    readonly disconnect: (
      connectionId: ConnectionId,
      reasonCode?: ReasonCode.DisconnectReasonCode
    ) => Effect.Effect<void, BrokerError.BrokerError>
    /**
     * Takes messages at QoS 0 out of what waits for a connection's socket, whole ones only; nothing else is lost, and
     * the connection goes on. What the socket has been given, 4 MiB at a time, is sent, and MessageSending has told of
     * it; of what is taken out MessageDropped tells. Succeeds with how many.
     */
    readonly interrupt: (connectionId: ConnectionId) => Effect.Effect<number, BrokerError.BrokerError>
    /**
     * Sets (`Name=Value`) or reads (`Name`, `Name[connectionId]`) a setting by its documented name or ours, in any
     * case, and succeeds with its value as text. Settings of listeners hold for those that are started from then on.
     */
    readonly config: (setting: string) => Effect.Effect<string, BrokerError.BrokerError>
    /** Stops listening, says goodbye to everybody, and ends. Closing the layer's scope does the same. */
    readonly shutdown: Effect.Effect<void>
    /**
     * Shuts down, then begins anew with every setting at its default, without listeners, with what the store kept.
     * Streams of events go on and tell of both; in-process subscriptions end, as clients' connections do.
     */
    readonly reset: Effect.Effect<void, BrokerError.BrokerError>
    readonly stats: Effect.Effect<BrokerMethods.BrokerStats>
  }
>()("effect-mqtt/broker/Broker") {}

/** A running broker, its configured listeners bound; it ends with the scope. */
export const make: Effect.Effect<
  Broker["Service"],
  BrokerError.BrokerError,
  BrokerConfig.BrokerConfig | BrokerStorage | Scope.Scope
> = Effect.gen(function* () {
  const running = yield* RunningBroker.begin(yield* BrokerConfig.BrokerConfig)
  // One after the other: a run that is begun while another reset stops the one before would be nobody's to end.
  const turns = yield* Semaphore.make(1)
  const close = turns.withPermit(Effect.suspend(() => running.close))
  // Twice: here for a start that fails half-way, and below so that it comes before the listeners' own ends.
  yield* Effect.addFinalizer(() => close)
  for (const options of running.parts.settings.listeners) yield* running.parts.listeners.start(options)
  yield* Effect.addFinalizer(() => close)
  const context = yield* Effect.context<BrokerStorage>()
  const reset = Effect.gen(function* () {
    yield* running.stop
    Object.assign(running, yield* RunningBroker.begin(BrokerConfig.defaults, running.parts))
  }).pipe(Effect.provide(context), turns.withPermit)
  return {
    ...BrokerMethods.listening(running),
    ...BrokerMethods.inspecting(running),
    ...BrokerMethods.messages(running),
    ...BrokerMethods.sessions(running),
    ...BrokerMethods.connections(running),
    ...BrokerMethods.configuring(running),
    shutdown: close,
    reset: Effect.uninterruptible(reset)
  }
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
