/**
 * What can be asked of a broker, by subject: the implementation of the `Broker` service.
 *
 * Each looks at the run that there is when it is used, because a reset begins another. How a run begins and ends is in
 * `RunningBroker.ts`.
 */
import * as ConnectionId from "../core/ConnectionId.ts"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { Stats } from "../core/CoreState.ts"
import type { ServerConnection } from "../core/ServerConnection.ts"
import * as Encodable from "../protocol/Encodable.ts"
import type { QoS } from "../protocol/Packet.ts"
import type * as Property from "../protocol/Property.ts"
import { ProtocolError, violation } from "../protocol/ProtocolError.ts"
import * as ReasonCode from "../protocol/ReasonCode.ts"
import * as Topic from "../protocol/Topic.ts"
import type { ConnectionKey } from "../settings/DocumentedSettings.ts"
import * as Settings from "../settings/Settings.ts"
import type { CertificatesOptions, ListenerOptions } from "../transport/Listener.ts"
import * as ListenerConfig from "../transport/ListenerConfig.ts"
import * as BrokerError from "./BrokerError.ts"
import * as BrokerEvent from "./BrokerEvent.ts"
import type { Parts, Running } from "./RunningBroker.ts"
import * as SessionTransfer from "./SessionTransfer.ts"
import * as Snapshot from "./Snapshot.ts"

/** Those that belong to a message; the others of a PUBLISH belong to the connection that it travels on. */
export type MessageProperties = Omit<Property.Of<"Publish">, "topicAlias" | "subscriptionIdentifiers">

export interface PublishOptions {
  readonly topic: string
  /** A string is sent as UTF-8. */
  readonly payload: Uint8Array | string
  /** Default 0. */
  readonly qos?: QoS | undefined
  /** Default false. An empty payload with retain removes the retained message. */
  readonly retain?: boolean | undefined
  /** Of MQTT 5.0. */
  readonly properties?: MessageProperties | undefined
}

export interface RetainedOptions extends Omit<PublishOptions, "retain"> {}

export interface BrokerStats extends Readonly<Stats> {
  /** Connections closed before a byte of them was read. */
  readonly connectionsRefused: number
  /** Events that slow subscribers of events lost. */
  readonly eventsDropped: number
  /** Messages that slow in-process subscriptions lost. */
  readonly localMessagesDropped: number
  /** About how many bytes wait to be kept by the store. Above `journalBytesMax` what would add to them is not read. */
  readonly journalBytes: number
}

/** Fails once the broker has been shut down. */
const open = (running: Running): Effect.Effect<Parts, BrokerError.BrokerError> =>
  Effect.suspend(() => {
    const { parts } = running
    return parts.listeners.closed ? Effect.fail(BrokerError.of(new BrokerError.ShutDown())) : Effect.succeed(parts)
  })

/**
 * Why a message cannot be sent: looked at only where there is something that could be wrong, because the Schema costs
 * more than all the rest of a message.
 */
const faultOf = ({ payload, properties, qos = 0, topic }: PublishOptions): BrokerError.BrokerError | undefined => {
  const bytes = bytesOf(payload)
  const isPlain = properties === undefined && bytes instanceof Uint8Array && bytes.length <= LARGE_BYTES
  if (isPlain && typeof topic === "string" && (qos === 0 || qos === 1 || qos === 2)) return undefined
  const packetId = qos === 0 ? undefined : 1
  const packet = {
    _tag: "Publish",
    topic,
    payload: bytes,
    qos,
    retain: false,
    dup: false,
    packetId,
    properties
  } as const
  const error = Encodable.encodable(packet, 5) ?? foreignProperty(properties ?? {})
  if (error === undefined) return undefined
  const isOfTopic = error.code === 600 || Topic.validateName(topic, Topic.bytesMax) !== undefined
  return BrokerError.fromProtocol(error, isOfTopic ? topic : (properties?.responseTopic ?? topic))
}

/** An alias would reach clients that allow none, and identifiers are those of subscriptions. */
const foreignProperty = (properties: Property.Properties): ProtocolError | undefined => {
  if (properties.topicAlias !== undefined)
    return violation("The broker gives topic aliases itself: leave topicAlias out.")
  if (properties.subscriptionIdentifiers === undefined) return undefined
  return violation("Subscription identifiers are given by subscribers: leave subscriptionIdentifiers out.")
}

/** Below this a payload fits into a packet, whatever comes with it. */
const LARGE_BYTES = 200_000_000

const bytesOf = (payload: Uint8Array | string): Uint8Array =>
  typeof payload === "string" ? Buffer.from(payload) : payload

const checked = (certificates: object = {}) =>
  Effect.mapError(ListenerConfig.checkReplacement(certificates), (error) =>
    BrokerError.of(new BrokerError.InvalidSetting({ detail: `new certificates: ${error.message}` }))
  )

export const listening = (running: Running) => ({
  addListener: (options: ListenerOptions) =>
    open(running).pipe(
      Effect.flatMap(({ listeners }) => listeners.start(options)),
      Effect.map(Snapshot.ofListener)
    ),
  replaceCertificates: (localPort: number, certificates: CertificatesOptions = {}, localHost?: string) =>
    checked(certificates).pipe(
      Effect.andThen(
        Effect.suspend(() => running.parts.listeners.replaceCertificates(localPort, certificates, localHost))
      )
    ),
  stopListening: Effect.sync(() => running.parts.listeners.stopAccepting()),
  startListening: Effect.flatMap(open(running), ({ listeners }) => listeners.resume()),
  listening: Effect.sync(() => Array.from(running.parts.listeners.all).some((listener) => listener.listening)),
  listeners: Effect.sync(() => Array.from(running.parts.listeners.all, Snapshot.ofListener))
})

export const inspecting = (running: Running) => ({
  connections: Effect.sync(() => Array.from(running.parts.core.connections.values(), Snapshot.ofConnection)),
  sessions: Effect.sync(() => {
    const { departing, sessions } = running.parts.core
    const gone = [...departing].filter(({ clientId }) => !sessions.has(clientId))
    return [...sessions.values(), ...gone].map(Snapshot.ofSession)
  }),
  session: (clientId: string) =>
    Effect.sync(() => {
      const session = running.parts.core.sessionOf(clientId)
      return session === undefined ? undefined : Snapshot.detailOf(session)
    }),
  events: Stream.unwrap(Effect.sync(() => running.parts.hub.stream(BrokerEvent.tags))),
  eventsOf: <const T extends BrokerEvent.Tag>(...tags: ReadonlyArray<T>) =>
    Stream.unwrap(Effect.sync(() => running.parts.hub.stream(tags))),
  stats: Effect.sync((): BrokerStats => {
    const { core, hub, listeners, local } = running.parts
    return {
      ...core.stats,
      connectionsRefused: listeners.refused,
      eventsDropped: hub.dropped,
      localMessagesDropped: local.dropped,
      journalBytes: core.journal.waitingBytes
    }
  })
})

const RETAINED_LIMITS = {
  retainedMessagesMax: "There are as many retained messages, or levels of their topics, as are allowed.",
  retainedBytesMax: "There are as many bytes of retained messages as are allowed."
}

export const messages = (running: Running) => ({
  publish: ({ payload, properties, qos = 0, retain = false, topic }: PublishOptions) =>
    Effect.flatMap(open(running), ({ core, journal, turn }) => {
      const fault = faultOf({ topic, payload, qos, properties })
      if (fault !== undefined) return Effect.fail(fault)
      const error = core.publish({ topic, payload: bytesOf(payload), qos, retain, properties }, Date.now())
      turn.schedule()
      if (error !== undefined) return Effect.fail(BrokerError.fromProtocol(error, topic))
      return qos > 0 || retain ? journal.whenDurable(core.publishedSequence()) : Effect.void
    }),
  subscribe: (filter: string) => Stream.unwrap(Effect.map(open(running), ({ local }) => local.stream(filter))),
  retainedMessages: Effect.sync(() =>
    Array.from(running.parts.core.retained.entries(), ([, message]) => Snapshot.ofKept(message))
  ),
  retainedMessage: (topic: string) =>
    Effect.sync(() => {
      const message = running.parts.core.retained.get(topic)
      return message === undefined ? undefined : Snapshot.ofKept(message)
    }),
  setRetainedMessage: ({ payload, properties, qos = 0, topic }: RetainedOptions) =>
    Effect.flatMap(open(running), ({ core, journal, turn }) => {
      const fault = faultOf({ topic, payload, qos, properties })
      if (fault !== undefined) return Effect.fail(fault)
      const outcome = core.setRetained({ topic, payload: bytesOf(payload), qos, retain: true, properties }, Date.now())
      turn.schedule()
      if (outcome instanceof ProtocolError) return Effect.fail(BrokerError.fromProtocol(outcome, topic))
      if (outcome === "store") {
        const detail = "The retained message could not be kept."
        return Effect.fail(BrokerError.of(new BrokerError.StorageRefuses({ detail })))
      }
      if (outcome !== undefined) {
        const detail = RETAINED_LIMITS[outcome]
        return Effect.fail(BrokerError.of(new BrokerError.LimitReached({ limit: outcome, detail })))
      }
      return journal.whenDurable(core.publishedSequence())
    }),
  removeRetainedMessage: (topic: string) =>
    Effect.flatMap(open(running), ({ core, journal, turn }) => {
      const found = core.removeRetained(topic)
      turn.schedule()
      return Effect.as(journal.whenDurable(core.publishedSequence()), found)
    })
})

export const sessions = (running: Running) => ({
  saveSession: (clientId: string) => Effect.suspend(() => SessionTransfer.save(running.parts, clientId)),
  loadSession: (json: string) => Effect.flatMap(open(running), (parts) => SessionTransfer.load(parts, json))
})

const connectionOf = (
  running: Running,
  connectionId: ConnectionId.ConnectionId
): Effect.Effect<ServerConnection, BrokerError.BrokerError> =>
  Effect.suspend(() => {
    const connection = running.parts.core.connections.get(connectionId)
    return connection === undefined
      ? Effect.fail(BrokerError.of(new BrokerError.NotConnected({ connectionId })))
      : Effect.succeed(connection)
  })

export const connections = (running: Running) => ({
  disconnect: (
    connectionId: ConnectionId.ConnectionId,
    reasonCode: ReasonCode.DisconnectReasonCode = ReasonCode.AdministrativeAction
  ) =>
    Effect.flatMap(connectionOf(running, connectionId), (connection) => {
      if (!ReasonCode.isAllowed("Disconnect", "server", reasonCode)) {
        const error = violation(`A server does not send the reason code ${String(reasonCode)} in DISCONNECT.`)
        return Effect.fail(BrokerError.fromProtocol(error, ""))
      }
      const { core, turn } = running.parts
      core.disconnect(connection, reasonCode, Date.now())
      turn.schedule()
      return Effect.void
    }),
  interrupt: (connectionId: ConnectionId.ConnectionId) =>
    Effect.map(connectionOf(running, connectionId), (connection) => running.parts.turn.interrupt(connection))
})

/** Of one connection, what its handshake agreed on. */
const negotiated = (running: Running, connectionId: ConnectionId.ConnectionId, key: ConnectionKey) =>
  Effect.map(connectionOf(running, connectionId), (connection) => Snapshot.ofConnection(connection)[key])

/** A program without types may give anything. */
const notText = Effect.suspend(() =>
  Effect.fail(
    BrokerError.of(new BrokerError.InvalidSetting({ detail: "what is given must be text: Name=Value or Name" }))
  )
)

export const configuring = (running: Running) => ({
  config: (setting: string): Effect.Effect<string, BrokerError.BrokerError> => {
    const read = (query: string) =>
      Effect.suspend(() =>
        Settings.read(query, running.parts.settings, (connectionId, key) =>
          negotiated(running, ConnectionId.fromText(connectionId), key)
        )
      )
    const write = (assignment: string) =>
      Effect.flatMap(open(running), ({ hub, settings }) =>
        Effect.flatMap(Settings.assign(assignment, settings, true), (change) => {
          // This run's own copy: whoever looks at it sees the change, and nobody else's settings are touched.
          Object.assign(settings, Settings.change(settings, change))
          hub.settle()
          return read(change.setting.name)
        })
      )
    if (typeof setting !== "string") return notText
    return (setting.includes("=") ? write(setting) : read(setting)).pipe(
      Effect.mapError((error) => (error._tag === "BrokerError" ? error : BrokerError.of(error)))
    )
  }
})
