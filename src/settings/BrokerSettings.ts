/**
 * Every limit and choice of a broker, with its default and its range.
 *
 * Owns their validation. What each setting of the core means is said in `core/CoreConfig.ts`, of a listener in
 * `transport/ListenerConfig.ts`; the documented names are in `DocumentedSettings.ts`.
 */
import * as Schema from "effect/Schema"
import * as CoreConfig from "../core/CoreConfig.ts"
import * as Listener from "../transport/Listener.ts"
import { ListenerDefaults } from "./ListenerDefaults.ts"

/** The core's settings, and those of the shell around it. */
export interface BrokerSettings extends CoreConfig.CoreConfig {
  /** Listeners that start and stop with the broker. */
  readonly listeners: ReadonlyArray<Listener.ListenerOptions>
  /** What every listener has that does not say otherwise itself. */
  readonly listenerDefaults: ListenerDefaults
  /** Most connections, all listeners together. Beyond: closed before a byte is read. */
  readonly connectionsMax: number
  /** Most connections that are still being admitted. Beyond: closed. */
  readonly handshakesMax: number
  /** Seconds a hook may take to decide; beyond: refused. */
  readonly hookTimeoutSeconds: number
  /** Seconds for goodbyes, outboxes and the store when the broker closes; what is left is cut off. */
  readonly shutdownTimeoutSeconds: number
  /**
   * Longest session JSON that is written or read, in characters. A hundred and sixtieth of it, or 400,000, is how many
   * messages, subscriptions and user properties it may have: reading holds up the broker.
   */
  readonly sessionJsonCharactersMax: number
  /** Which Log events there are: 0 none, 1 informational, 2 those of sessions too, 3 every packet too. */
  readonly logLevel: number
  /** Whether Log events leave out payloads; passwords are never in them. */
  readonly maskSensitiveData: boolean
  /** Most events that wait for one slow subscriber of events; beyond: the oldest are dropped and counted. */
  readonly eventsBufferMax: number
  /** Most messages that wait for one slow in-process subscription; beyond: the oldest are dropped and counted. */
  readonly messagesBufferMax: number
}

export const defaults: BrokerSettings = {
  ...CoreConfig.defaults,
  listeners: [],
  listenerDefaults: {},
  connectionsMax: 100_000,
  handshakesMax: 1_000,
  hookTimeoutSeconds: 10,
  shutdownTimeoutSeconds: 5,
  sessionJsonCharactersMax: 64 * 1024 * 1024,
  logLevel: 1,
  maskSensitiveData: true,
  eventsBufferMax: 16_384,
  messagesBufferMax: 16_384
}

type NumberKey = {
  [K in keyof BrokerSettings]: BrokerSettings[K] extends number ? K : never
}[keyof BrokerSettings]

/** Every counting setting, with the smallest and the largest value that makes sense. */
const ranges: { readonly [K in NumberKey]: readonly [minimum: number, maximum: number] } = {
  // The largest packet that MQTT can say the length of.
  packetBytesMax: [64, 268_435_460],
  packetBytesBeforeConnectMax: [64, 268_435_460],
  topicLevelsMax: [1, 65_536],
  userPropertiesMax: [0, 1_000_000],
  connectTimeoutSeconds: [1, 86_400],
  keepAliveSecondsMax: [0, 65_535],
  idleTimeoutSeconds: [0, 31_536_000],
  sessionsMax: [1, 1_000_000_000],
  sessionExpirySecondsMax: [0, CoreConfig.NEVER_EXPIRES],
  subscriptionsPerSessionMax: [1, 1_000_000_000],
  receiveMaximum: [1, 65_535],
  inflightMax: [1, 65_535],
  queueMessagesMax: [1, 1_000_000_000],
  queueBytesMax: [1_024, Number.MAX_SAFE_INTEGER],
  queueMemoryBytesMax: [1_024, Number.MAX_SAFE_INTEGER],
  queuesMemoryBytesMax: [1_024, Number.MAX_SAFE_INTEGER],
  workPerTurnMax: [1, Number.MAX_SAFE_INTEGER],
  outboxBytesMax: [1_024, 4_294_967_296],
  drainTimeoutSeconds: [1, 86_400],
  bufferedBytesMax: [65_536, Number.MAX_SAFE_INTEGER],
  pauseMillisMax: [0, 600_000],
  retainedMessagesMax: [0, 1_000_000_000],
  retainedBytesMax: [0, Number.MAX_SAFE_INTEGER],
  topicAliasMaximum: [0, 65_535],
  journalBytesMax: [1_024, Number.MAX_SAFE_INTEGER],
  connectionsMax: [1, 10_000_000],
  handshakesMax: [1, 10_000_000],
  hookTimeoutSeconds: [1, 3_600],
  shutdownTimeoutSeconds: [0, 3_600],
  // A string of this runtime has 2^29 - 24 characters at most.
  sessionJsonCharactersMax: [1_024, 500_000_000],
  logLevel: [0, 3],
  eventsBufferMax: [1, 10_000_000],
  messagesBufferMax: [1, 10_000_000]
}

const numberKeys = Object.keys(ranges) as ReadonlyArray<NumberKey> // the record is written out above

const whole = (name: NumberKey): Schema.Codec<number> => {
  const [minimum, maximum] = ranges[name]
  const message = `${name} must be a whole number from ${minimum} to ${maximum}`
  const inRange = (value: number) => Number.isInteger(value) && value >= minimum && value <= maximum
  return Schema.Number.check(Schema.makeFilter(inRange, { message }))
}

const numbers = Object.fromEntries(numberKeys.map((name) => [name, whole(name)])) as {
  readonly [K in NumberKey]: Schema.Codec<number> // one entry a key, by construction
}

/** What is not a number. */
const choices = {
  queueOverflow: Schema.Literals(["drop-newest", "drop-oldest", "disconnect"]),
  refusedPublish: Schema.Literals(["acknowledge", "close"]),
  recheckSubscriptions: Schema.Boolean,
  recheckRetained: Schema.Boolean,
  queueQos0: Schema.Boolean,
  sessionsBoundToUserNames: Schema.Boolean,
  maskSensitiveData: Schema.Boolean
}

export const BrokerSettings = Schema.Struct({
  ...numbers,
  ...choices,
  listeners: Schema.Array(Schema.toEncoded(Listener.ListenerConfig)),
  listenerDefaults: ListenerDefaults
})
