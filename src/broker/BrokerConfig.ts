/**
 * The broker's settings: every limit and choice with its default, its range, and its name in the environment.
 *
 * Owns their validation. A setting that is unknown or out of range stops the broker from starting: a mistyped limit
 * must not silently be no limit. What each setting of the core means is said in `core/CoreConfig.ts`.
 */
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as CoreConfig from "../core/CoreConfig.ts"
import * as Listener from "../transport/Listener.ts"
import * as BrokerError from "./BrokerError.ts"

/** What the shell keeps besides the core's settings. */
export interface BrokerSettings extends CoreConfig.CoreConfig {
  /** Listeners that start and stop with the broker. */
  readonly listeners: ReadonlyArray<Listener.ListenerOptions>
  /** Most connections, all listeners together. Beyond: closed before a byte is read. */
  readonly connectionsMax: number
  /** Most connections that are still being admitted. Beyond: closed. */
  readonly handshakesMax: number
  /** Seconds a hook may take to decide; beyond: refused. */
  readonly hookTimeoutSeconds: number
  /** Seconds for goodbyes, outboxes and the store when the broker closes; what is left is cut off. */
  readonly shutdownTimeoutSeconds: number
  /** Most events that wait for one slow subscriber of events; beyond: the oldest are dropped and counted. */
  readonly eventsBufferMax: number
  /** Most messages that wait for one slow in-process subscription; beyond: the oldest are dropped and counted. */
  readonly messagesBufferMax: number
}

/** The settings of this process' broker. */
export class BrokerConfig extends Context.Service<BrokerConfig, BrokerSettings>()("effect-mqtt/broker/BrokerConfig") {}

export const defaults: BrokerSettings = {
  ...CoreConfig.defaults,
  listeners: [],
  connectionsMax: 100_000,
  handshakesMax: 1_000,
  hookTimeoutSeconds: 10,
  shutdownTimeoutSeconds: 5,
  eventsBufferMax: 16_384,
  messagesBufferMax: 16_384
}

type NumberKey = { [K in keyof BrokerSettings]: BrokerSettings[K] extends number ? K : never }[keyof BrokerSettings]

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
  queueQos0: Schema.Boolean
}

export const BrokerSettings = Schema.Struct({
  ...numbers,
  ...choices,
  listeners: Schema.Array(Schema.toEncoded(Listener.ListenerConfig))
})

/** The settings with their defaults. Fails on an unknown name, a wrong type or a value out of range, and says which. */
export const make = (options: Partial<BrokerSettings> = {}): Effect.Effect<BrokerSettings, BrokerError.BrokerError> =>
  Schema.decodeUnknownEffect(BrokerSettings)(
    { ...defaults, ...options },
    { onExcessProperty: "error", errors: "all" }
  ).pipe(Effect.mapError((error) => BrokerError.of(new BrokerError.InvalidSetting({ detail: error.message }))))

export const layer = (options?: Partial<BrokerSettings>): Layer.Layer<BrokerConfig, BrokerError.BrokerError> =>
  Layer.effect(BrokerConfig)(make(options))

const PROTOCOLS: Readonly<Record<string, Listener.Protocol | undefined>> = { "mqtt:": 0 }

/** `mqtt://127.0.0.1:1883`; several with commas between them. The port may be left out. */
const parseListeners = (text: string): ReadonlyArray<Listener.ListenerOptions> | undefined => {
  const listeners: Array<Listener.ListenerOptions> = []
  for (const item of text.split(",")) {
    const url = URL.parse(item.trim())
    const protocol = url === null ? undefined : PROTOCOLS[url.protocol]
    if (url === null || protocol !== 0 || url.hostname === "" || !["", "/"].includes(url.pathname)) return undefined
    const host = url.hostname.replace(/^\[|\]$/g, "")
    listeners.push({ protocol, host, port: url.port === "" ? 1883 : Number(url.port) })
  }
  return listeners
}

const ListenerUrls = Schema.String.check(
  Schema.makeFilter((text: string) => parseListeners(text) !== undefined, {
    message: "listeners must be URLs like mqtt://127.0.0.1:1883, with commas between them"
  })
)

const withDefault = <K extends NumberKey | keyof typeof choices>(
  name: K,
  schema: Schema.Codec<BrokerSettings[K], unknown>
): Config.Config<BrokerSettings[K]> => Config.schema(schema, name).pipe(Config.withDefault(defaults[name]))

const numberConfigs = Object.fromEntries(numberKeys.map((name) => [name, withDefault(name, numbers[name])])) as {
  readonly [K in NumberKey]: Config.Config<number> // one entry a key, by construction
}

/** Each setting under its own name; what is not there has its default. */
export const config: Config.Config<BrokerSettings> = Config.all({
  ...numberConfigs,
  queueOverflow: withDefault("queueOverflow", choices.queueOverflow),
  queueQos0: Config.Boolean("queueQos0").pipe(Config.withDefault(defaults.queueQos0)),
  listeners: Config.schema(ListenerUrls, "listeners").pipe(
    Config.map((text) => parseListeners(text) ?? []),
    Config.withDefault(defaults.listeners)
  )
})

/** The prefix of the settings' names in the environment: `EFFECT_MQTT_QUEUE_MESSAGES_MAX=5000`. */
export const ENVIRONMENT_PREFIX = "EFFECT_MQTT"

/** The settings from environment variables; what `options` says wins. */
export const fromEnv = (options?: Partial<BrokerSettings>): Effect.Effect<BrokerSettings, BrokerError.BrokerError> =>
  Effect.suspend(() =>
    config.parse(ConfigProvider.fromEnv().pipe(ConfigProvider.constantCase, ConfigProvider.nested(ENVIRONMENT_PREFIX)))
  ).pipe(
    Effect.mapError((error) =>
      BrokerError.of(new BrokerError.InvalidSetting({ detail: `${error.cause.message} (from the environment)` }))
    ),
    Effect.flatMap((settings) => make({ ...settings, ...options }))
  )

export const layerFromEnv = (options?: Partial<BrokerSettings>): Layer.Layer<BrokerConfig, BrokerError.BrokerError> =>
  Layer.effect(BrokerConfig)(fromEnv(options))
