/**
 * The broker's settings as a service: given in code, or taken from the environment.
 *
 * What there is, with defaults and ranges, is in `settings/BrokerSettings.ts`. A setting that is unknown or out of
 * range stops the broker from starting: a mistyped limit must not silently be no limit.
 */
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { BrokerSettings, choices, defaults, type NumberKey, numberKeys, numbers } from "../settings/BrokerSettings.ts"
import type { ListenerOptions } from "../transport/ListenerConfig.ts"
import * as Settings from "../settings/Settings.ts"
import * as ListenerUrl from "../transport/ListenerUrl.ts"
import * as BrokerError from "./BrokerError.ts"

export { BrokerSettings, defaults }

/** The settings of this process' broker. */
export class BrokerConfig extends Context.Service<BrokerConfig, BrokerSettings>()("effect-mqtt/broker/BrokerConfig") {}

/** The settings with their defaults. Fails on an unknown name, a wrong type or a value out of range, and says which. */
export const make = (options: Partial<BrokerSettings> = {}): Effect.Effect<BrokerSettings, BrokerError.BrokerError> =>
  Schema.decodeUnknownEffect(BrokerSettings)(
    { ...defaults, ...options },
    { onExcessProperty: "error", errors: "all" }
  ).pipe(Effect.mapError((error) => BrokerError.of(new BrokerError.InvalidSetting({ detail: error.message }))))

export const layer = (options?: Partial<BrokerSettings>): Layer.Layer<BrokerConfig, BrokerError.BrokerError> =>
  Layer.effect(BrokerConfig)(make(options))

/** `mqtt://127.0.0.1:1883`; several with commas between them. */
const ListenerUrls = Schema.String.check(
  Schema.makeFilter((text: string) => {
    const parsed = ListenerUrl.parseAll(text)
    return typeof parsed === "string" ? `listeners must be URLs with commas between them, and ${parsed}` : undefined
  })
)

const parseListeners = (text: string): ReadonlyArray<ListenerOptions> => {
  const parsed = ListenerUrl.parseAll(text)
  return typeof parsed === "string" ? [] : parsed // the schema has refused it before
}

const withDefault = <K extends NumberKey | keyof typeof choices>(
  name: K,
  schema: Schema.Codec<BrokerSettings[K], unknown>
): Config.Config<BrokerSettings[K]> => Config.schema(schema, name).pipe(Config.withDefault(defaults[name]))

type FlagKey = { [K in keyof BrokerSettings]: BrokerSettings[K] extends boolean ? K : never }[keyof BrokerSettings]

const flag = (name: FlagKey): Config.Config<boolean> => Config.Boolean(name).pipe(Config.withDefault(defaults[name]))

const numberConfigs = Object.fromEntries(numberKeys.map((name) => [name, withDefault(name, numbers[name])])) as {
  readonly [K in NumberKey]: Config.Config<number> // one entry a key, by construction
}

/** Each setting under its own name; what is not there has its default. */
export const config: Config.Config<BrokerSettings> = Config.all({
  ...numberConfigs,
  queueOverflow: withDefault("queueOverflow", choices.queueOverflow),
  refusedPublish: withDefault("refusedPublish", choices.refusedPublish),
  queueQos0: flag("queueQos0"),
  recheckSubscriptions: flag("recheckSubscriptions"),
  recheckRetained: flag("recheckRetained"),
  sessionsBoundToUserNames: flag("sessionsBoundToUserNames"),
  maskSensitiveData: flag("maskSensitiveData"),
  listenerDefaults: Config.succeed(defaults.listenerDefaults),
  listeners: Config.schema(ListenerUrls, "listeners").pipe(
    Config.map(parseListeners),
    Config.withDefault(defaults.listeners)
  )
})

/** The prefix of the settings' names in the environment: `EFFECT_MQTT_QUEUE_MESSAGES_MAX=5000`. */
export const ENVIRONMENT_PREFIX = "EFFECT_MQTT"

/** Variables with the same prefix that the program reads itself. */
export const PROGRAM_VARIABLES = ["EFFECT_MQTT_DATA_DIR", "EFFECT_MQTT_CERT_PASSWORD"] as const

/** `QUEUE_QOS0` for `queueQos0`. */
const constantCase = (name: string): string => name.replace(/([a-z\d])([A-Z])/g, "$1_$2").toUpperCase()

/** Those that `config` has read. */
const configVariables = Object.keys(BrokerSettings.fields)
  .filter((name) => name !== "listenerDefaults")
  .map((name) => `${ENVIRONMENT_PREFIX}_${constantCase(name)}`)

const handled: ReadonlySet<string> = new Set<string>([...PROGRAM_VARIABLES, ...configVariables])

/** All other variables with our prefix are settings by name too; one that is not is somebody's slip of the finger. */
const assignRest = (settings: BrokerSettings, env: NodeJS.ProcessEnv) =>
  Effect.gen(function* () {
    let changed = settings
    for (const [variable, value] of Object.entries(env)) {
      if (!variable.startsWith(`${ENVIRONMENT_PREFIX}_`) || handled.has(variable)) continue
      const name = variable.slice(ENVIRONMENT_PREFIX.length + 1).replaceAll("_", "")
      const change = yield* Settings.assign(`${name}=${value}`, changed, false).pipe(
        Effect.catchTag("UnknownSetting", ({ nearest }) =>
          Effect.fail(new BrokerError.UnknownSetting({ name: variable, nearest }))
        )
      )
      changed = Settings.change(changed, change)
    }
    return changed
  }).pipe(Effect.mapError(BrokerError.of))

/** The settings from environment variables, the documented ones included; what `options` says wins. */
export const fromEnv = (options?: Partial<BrokerSettings>): Effect.Effect<BrokerSettings, BrokerError.BrokerError> =>
  Effect.suspend(() =>
    config.parse(ConfigProvider.fromEnv().pipe(ConfigProvider.constantCase, ConfigProvider.nested(ENVIRONMENT_PREFIX)))
  ).pipe(
    Effect.mapError((error) =>
      BrokerError.of(new BrokerError.InvalidSetting({ detail: `${error.cause.message} (from the environment)` }))
    ),
    Effect.flatMap((settings) => assignRest(settings, process.env)),
    Effect.flatMap((settings) => make({ ...settings, ...options }))
  )

export const layerFromEnv = (options?: Partial<BrokerSettings>): Layer.Layer<BrokerConfig, BrokerError.BrokerError> =>
  Layer.effect(BrokerConfig)(fromEnv(options))
