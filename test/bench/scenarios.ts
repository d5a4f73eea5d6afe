/**
 * What is measured: one declaration a row of the table. To add a row, add an entry here.
 */
import type { Protocol, QoS } from "./wire.ts"

/**
 * Who publishes where, and who receives it:
 * - `shared`: one topic, everybody on it, so each message has as many deliveries as there are subscribers;
 * - `pairwise`: publisher i and subscriber i share topic i, so each message has one delivery;
 * - `wildcard`: pairwise, through filters with `+` and `#`, of which each subscriber has four;
 * - `tree`: 10,000 subscriptions spread over the subscribers, and the publishers visit all 10,000 topics in turn, so
 *   each message has one delivery;
 * - `group`: one topic, everybody in one shared subscription on it, so each message has one delivery;
 * - `one-off`: every message has a topic name that was never used before, received through one wildcard filter.
 */
export type Topology = "shared" | "pairwise" | "wildcard" | "tree" | "group" | "one-off"

/** What is under MQTT: TCP, TLS, WebSocket or secure WebSocket. */
export type Transport = "tcp" | "tls" | "ws" | "wss"

/** Messages from publishers to subscribers, counted in a window. */
export interface MessageScenario {
  readonly kind: "messages"
  /** What `--rows` calls it; words of it, between its hyphens, select all rows that have them. */
  readonly name: string
  /** What the table calls it. */
  readonly title: string
  readonly protocol: Protocol
  /** Absent means TCP. */
  readonly transport?: Transport
  readonly qos: QoS
  readonly payloadBytes: number
  readonly publishers: number
  readonly subscribers: number
  readonly topology: Topology
  /** All publishers together; absent means as fast as the broker goes. Latency is measured at a fixed rate only. */
  readonly messagesPerSecond?: number
  /** QoS 1 and 2 at saturation: messages a publisher may have unacknowledged (less if the broker says so). */
  readonly window?: number
  /** Ten more connections subscribe to, and unsubscribe from, this many filters a second beside the messages. */
  readonly churnPerSecond?: number
  /** MQTT 5.0: messages have a content type, response topic, correlation data, expiry and two user properties. */
  readonly properties?: boolean
  /** Measured twice: without, and then with, one more subscriber that never reads. Not counted itself. */
  readonly frozenSubscriber?: boolean
  /**
   * All sessions outlive their connections (clean session off): ours has them in memory, or on disk (fsync). Absent
   * means that they end with their connections.
   */
  readonly sessions?: "kept" | "on-disk"
  /** One of those `--quick` runs; the others are measured for half of the time. */
  readonly main?: boolean
}

/** Connections that do nothing, for the memory they take. */
export interface IdleScenario {
  readonly kind: "idle"
  readonly name: string
  readonly title: string
  readonly protocol: Protocol
  readonly connections: number
  readonly main?: boolean
}

/** Messages for a durable session whose client is away, and then comes to fetch them; ours has them on disk (fsync). */
export interface OfflineScenario {
  readonly kind: "offline"
  readonly name: string
  readonly title: string
  readonly protocol: Protocol
  readonly payloadBytes: number
  readonly messages: number
  readonly main?: boolean
}

/** A start on a store with sessions whose clients are away, and messages that wait in them: until it listens. */
export interface StoredScenario {
  readonly kind: "stored"
  readonly name: string
  readonly title: string
  readonly protocol: Protocol
  readonly sessions: number
  /** In all sessions together, the same number in each, or as near as that goes. */
  readonly messages: number
  readonly payloadBytes: number
  readonly main?: boolean
}

/** Connections that come, are accepted, and go. */
export interface HandshakeScenario {
  readonly kind: "handshakes"
  readonly name: string
  readonly title: string
  readonly protocol: Protocol
  readonly transport: Transport
  /** Handshakes under way at once. */
  readonly parallel: number
  readonly main?: boolean
}

export type Scenario = MessageScenario | IdleScenario | OfflineScenario | StoredScenario | HandshakeScenario

export const transportOf = (scenario: Scenario): Transport =>
  "transport" in scenario ? (scenario.transport ?? "tcp") : "tcp"

/** How often a scenario is measured, when everything is measured so many times: a million messages take a while. */
export const roundsOf = ({ kind }: Scenario, rounds: number): number =>
  kind === "offline" || kind === "stored" ? 1 : rounds

/** Whether a broker that can keep things on disk does so. */
export const isDurable = (scenario: Scenario): boolean =>
  scenario.kind === "offline" ||
  scenario.kind === "stored" ||
  (scenario.kind === "messages" && scenario.sessions === "on-disk")

/** Topics of the `tree` topology. */
export const treeTopics = 10_000

const oneToOne: MessageScenario = {
  kind: "messages",
  name: "1-1-qos0",
  title: "1→1 QoS 0",
  protocol: 4,
  qos: 0,
  payloadBytes: 64,
  publishers: 1,
  subscribers: 1,
  topology: "shared"
}

const tenToTen: MessageScenario = {
  ...oneToOne,
  name: "10-10-qos1",
  title: "10→10 QoS 1",
  qos: 1,
  publishers: 10,
  subscribers: 10,
  topology: "pairwise",
  window: 100
}

const fixedRate: MessageScenario = {
  ...oneToOne,
  name: "rate-qos0",
  title: "200→200 at 10,000/s, QoS 0",
  publishers: 200,
  subscribers: 200,
  topology: "pairwise",
  messagesPerSecond: 10_000
}

export const scenarios: ReadonlyArray<Scenario> = [
  { ...oneToOne, main: true },
  { ...oneToOne, name: "10-1-qos0", title: "10→1 QoS 0", publishers: 10 },
  { ...oneToOne, name: "1-50-qos0", title: "1→50 QoS 0", subscribers: 50, main: true },
  { ...tenToTen, main: true },
  { ...tenToTen, name: "10-10-qos2", title: "10→10 QoS 2", qos: 2, main: true },
  { ...oneToOne, name: "1-1-qos0-v5", title: "1→1 QoS 0, MQTT 5.0", protocol: 5 },
  { ...oneToOne, name: "10-1-qos0-v5", title: "10→1 QoS 0, MQTT 5.0", protocol: 5, publishers: 10 },
  { ...oneToOne, name: "1-50-qos0-v5", title: "1→50 QoS 0, MQTT 5.0", protocol: 5, subscribers: 50 },
  { ...tenToTen, name: "10-10-qos1-v5", title: "10→10 QoS 1, MQTT 5.0", protocol: 5 },
  { ...tenToTen, name: "10-10-qos2-v5", title: "10→10 QoS 2, MQTT 5.0", qos: 2, protocol: 5 },
  {
    ...tenToTen,
    name: "10-10-qos1-properties",
    title: "10→10 QoS 1, MQTT 5.0 with properties",
    protocol: 5,
    properties: true
  },
  { ...tenToTen, name: "group-qos1", title: "10→group of 10, QoS 1, MQTT 5.0", protocol: 5, topology: "group" },
  { ...fixedRate, main: true },
  { ...fixedRate, name: "rate-qos1", title: "200→200 at 10,000/s, QoS 1", qos: 1, main: true },
  {
    ...oneToOne,
    name: "wildcard",
    title: "10→10 QoS 0, wildcard filters",
    publishers: 10,
    subscribers: 10,
    topology: "wildcard"
  },
  { ...oneToOne, name: "tree", title: "1→10 QoS 0, 10,000 subscriptions", subscribers: 10, topology: "tree" },
  { ...oneToOne, name: "churn", title: "1→1 QoS 0, 1,000 (un)subscriptions/s", churnPerSecond: 1_000 },
  { ...oneToOne, name: "one-off", title: "1→1 QoS 0, one-off topics", topology: "one-off" },
  { ...oneToOne, name: "1-1-qos0-16k", title: "1→1 QoS 0, 16 KiB", payloadBytes: 16_384 },
  { ...tenToTen, name: "10-10-qos1-16k", title: "10→10 QoS 1, 16 KiB", payloadBytes: 16_384, window: 20 },
  {
    ...oneToOne,
    name: "frozen",
    title: "1→10 QoS 0, beside a frozen reader",
    subscribers: 10,
    frozenSubscriber: true,
    main: true
  },
  { ...oneToOne, name: "tls-1-1-qos0", title: "1→1 QoS 0, TLS", transport: "tls" },
  { ...tenToTen, name: "tls-10-10-qos1", title: "10→10 QoS 1, TLS", transport: "tls" },
  {
    kind: "handshakes",
    name: "tls-handshakes",
    title: "new connections, TLS",
    protocol: 4,
    transport: "tls",
    parallel: 50
  },
  { ...oneToOne, name: "ws-1-1-qos0", title: "1→1 QoS 0, WebSocket", transport: "ws" },
  { ...tenToTen, name: "ws-10-10-qos1", title: "10→10 QoS 1, WebSocket", transport: "ws" },
  { ...oneToOne, name: "wss-1-1-qos0", title: "1→1 QoS 0, secure WebSocket", transport: "wss" },
  { ...tenToTen, name: "wss-10-10-qos1", title: "10→10 QoS 1, secure WebSocket", transport: "wss" },
  { ...tenToTen, name: "kept-qos1", title: "10→10 QoS 1, sessions kept in memory", sessions: "kept" },
  { ...tenToTen, name: "kept-qos2", title: "10→10 QoS 2, sessions kept in memory", sessions: "kept", qos: 2 },
  { ...tenToTen, name: "durable-qos1", title: "10→10 QoS 1, durable sessions", sessions: "on-disk", main: true },
  { ...tenToTen, name: "durable-qos2", title: "10→10 QoS 2, durable sessions", sessions: "on-disk", qos: 2 },
  {
    ...fixedRate,
    name: "durable-rate-qos1",
    title: "200→200 at 10,000/s, QoS 1, durable sessions",
    sessions: "on-disk",
    qos: 1,
    main: true
  },
  {
    kind: "offline",
    name: "offline",
    title: "1,000,000 messages for an absent client, fetched",
    protocol: 4,
    payloadBytes: 64,
    messages: 1_000_000
  },
  {
    kind: "stored",
    name: "start-stored",
    title: "start with 100,000 stored sessions, 1,000,000 messages",
    protocol: 4,
    sessions: 100_000,
    messages: 1_000_000,
    payloadBytes: 64
  },
  { kind: "idle", name: "idle", title: "8,000 idle connections", protocol: 4, connections: 8_000, main: true }
]
