/**
 * The limits and choices the synchronous core obeys, each with its default.
 *
 * Owns the names and defaults only. Their ranges are in `settings/BrokerSettings.ts`; reading them is the shell's work
 * (`broker/BrokerConfig.ts`), and so are the limits that only a listener can keep (connections, handshakes).
 */

/** What happens to a message for a session whose queue is full. */
export type QueueOverflow = "drop-newest" | "drop-oldest" | "disconnect"

/** Session expiry interval that means "never" [MQTT-3.1.2.11.2]. */
export const NEVER_EXPIRES = 0xffff_ffff

/** What a client before 5.0, which cannot be told, gets for a message that it may not publish. */
export type RefusedPublish = "acknowledge" | "close"

export interface CoreConfig {
  /** Largest packet accepted from a client, and told to it as Maximum Packet Size. Bytes; beyond: 0x95, close. */
  readonly packetBytesMax: number
  /** Largest first packet, before CONNECT is accepted. Bytes. */
  readonly packetBytesBeforeConnectMax: number
  /** Most levels in a topic name or filter. Beyond: 0x90 for a name, 0x8F for a filter. */
  readonly topicLevelsMax: number
  /** Most user properties in one packet. Beyond: 0x97. */
  readonly userPropertiesMax: number
  /** Seconds from the transport being up to a complete CONNECT; beyond: close. */
  readonly connectTimeoutSeconds: number
  /** Longest keep alive granted, in seconds; 5.0 clients are told the lower value. 0: as the client wishes. */
  readonly keepAliveSecondsMax: number
  /** Seconds without any byte in or out after which a client is disconnected; 0: never (`DefaultIdleTimeout`). */
  readonly idleTimeoutSeconds: number
  /** Most sessions, connected or not. Beyond: CONNACK 0x97. */
  readonly sessionsMax: number
  /** Whether a session is only resumed by the user name that made it; for another it ends, and a new one begins. */
  readonly sessionsBoundToUserNames: boolean
  /** Longest session expiry granted, in seconds (3.1.1's CleanSession=0 too); 0xFFFFFFFF: no cap. */
  readonly sessionExpirySecondsMax: number
  /** Most subscriptions of one session, of five levels on average. Beyond: 0x97 for that filter. */
  readonly subscriptionsPerSessionMax: number
  /** Most incoming QoS 1 and 2 messages a client may have unacknowledged, 1 to 65,535. Beyond: 0x93, close. */
  readonly receiveMaximum: number
  /** Most outgoing QoS 1 and 2 messages unacknowledged; a client's lower Receive Maximum wins. Beyond: queued. */
  readonly inflightMax: number
  /** Most messages waiting in one session's queue. */
  readonly queueMessagesMax: number
  /** Most payload and topic bytes waiting in one session's queue. */
  readonly queueBytesMax: number
  /** About so many bytes of one session's queue are in memory; the rest waits in the store, if there is one. */
  readonly queueMemoryBytesMax: number
  /** About so many bytes of all queues together are in memory; beyond, a store keeps even short ones. */
  readonly queuesMemoryBytesMax: number
  /** What happens to a message that finds the queue full. */
  readonly queueOverflow: QueueOverflow
  /** Whether a 3.1 or 3.1.1 client's refused message is acknowledged and dropped, or closes its connection. */
  readonly refusedPublish: RefusedPublish
  /** Whether the subscriptions of a session are put to the subscribe hook again when its client comes back. */
  readonly recheckSubscriptions: boolean
  /**
   * Whether each retained message of a client is put to the publish hook again, one after the other, before a new
   * subscription gets it.
   */
  readonly recheckRetained: boolean
  /** Whether QoS 0 messages are kept for sessions that are offline. */
  readonly queueQos0: boolean
  /** Most bytes waiting for one connection's socket. Beyond: QoS 0 is dropped and counted, QoS 1 and 2 queue. */
  readonly outboxBytesMax: number
  /** Seconds a reader may accept nothing while bytes wait for it; beyond: disconnect. */
  readonly drainTimeoutSeconds: number
  /** Most bytes waiting for all sockets together; beyond: as one full outbox. */
  readonly bufferedBytesMax: number
  /** Longest time, in milliseconds, that a publisher is not read because a healthy consumer is behind. */
  readonly pauseMillisMax: number
  /** About so many packets and deliveries are handled before other connections are heard; the rest follows. */
  readonly workPerTurnMax: number
  /** Most retained messages, with two levels of its own each on average. Beyond: 0x97. */
  readonly retainedMessagesMax: number
  readonly retainedBytesMax: number
  /** Largest topic alias accepted from a client, and told to it. 0: no aliases. */
  readonly topicAliasMaximum: number
  /** Most bytes of journal, and of packets that wait for it; beyond: connections with gated work are not read. */
  readonly journalBytesMax: number
}

export const defaults: CoreConfig = {
  packetBytesMax: 2 * 1024 * 1024,
  packetBytesBeforeConnectMax: 256 * 1024,
  topicLevelsMax: 200,
  userPropertiesMax: 256,
  connectTimeoutSeconds: 10,
  keepAliveSecondsMax: 0,
  idleTimeoutSeconds: 0,
  sessionsMax: 100_000,
  sessionsBoundToUserNames: true,
  sessionExpirySecondsMax: NEVER_EXPIRES,
  subscriptionsPerSessionMax: 10_000,
  receiveMaximum: 1_000,
  inflightMax: 1_000,
  queueMessagesMax: 1_000,
  queueBytesMax: 16 * 1024 * 1024,
  queueMemoryBytesMax: 1024 * 1024,
  queuesMemoryBytesMax: 256 * 1024 * 1024,
  queueOverflow: "drop-newest",
  refusedPublish: "acknowledge",
  recheckSubscriptions: true,
  recheckRetained: true,
  queueQos0: false,
  outboxBytesMax: 8 * 1024 * 1024,
  drainTimeoutSeconds: 30,
  bufferedBytesMax: 256 * 1024 * 1024,
  pauseMillisMax: 1_000,
  workPerTurnMax: 100_000,
  retainedMessagesMax: 1_000_000,
  retainedBytesMax: 256 * 1024 * 1024,
  topicAliasMaximum: 64,
  journalBytesMax: 64 * 1024 * 1024
}
