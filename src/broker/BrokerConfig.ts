/**
 * The broker's settings as a service: given in code, or taken from the environment.
 *
 * What there is, with defaults and ranges, is in `settings/BrokerSettings.ts`. A setting that is unknown or out of
 * range stops the broker from starting: a mistyped limit must not silently be no limit.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { BrokerSettings, defaults } from "../settings/BrokerSettings.ts"
import * as Settings from "../settings/Settings.ts"
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

/** The prefix of the settings' names in the environment: `EFFECT_MQTT_QUEUE_MESSAGES_MAX=5000`. */
export const ENVIRONMENT_PREFIX = "EFFECT_MQTT"

/** Variables with the same prefix that the program reads itself. */
export const PROGRAM_VARIABLES = ["EFFECT_MQTT_DATA_DIR", "EFFECT_MQTT_CERT_PASSWORD"] as const

const programVariables: ReadonlySet<string> = new Set(PROGRAM_VARIABLES)

/** Every other variable with our prefix is a setting by its name; one that is not is somebody's slip of the finger. */
const assignments = (env: NodeJS.ProcessEnv) =>
  Object.entries(env)
    .filter(([variable]) => variable.startsWith(`${ENVIRONMENT_PREFIX}_`) && !programVariables.has(variable))
    .map(([variable, value]) => {
      const name = variable.slice(ENVIRONMENT_PREFIX.length + 1).replaceAll("_", "")
      return { variable, name, assignment: `${name}=${value}` }
    })
    // What listeners have in common is known before their URLs are read.
    .sort((a, b) => Number(a.name === "LISTENERS") - Number(b.name === "LISTENERS"))

/** The settings from environment variables, the documented ones included; what `options` says wins. */
export const fromEnv = (
  options?: Partial<BrokerSettings>,
  env: NodeJS.ProcessEnv = process.env
): Effect.Effect<BrokerSettings, BrokerError.BrokerError> =>
  Effect.gen(function* () {
    let settings = defaults
    for (const { assignment, variable } of assignments(env)) {
      const change = yield* Settings.assign(assignment, settings, false).pipe(
        Effect.catchTags({
          UnknownSetting: ({ nearest }) => Effect.fail(new BrokerError.UnknownSetting({ name: variable, nearest })),
          InvalidSetting: ({ detail }) =>
            Effect.fail(new BrokerError.InvalidSetting({ detail: `${detail} (${variable} in the environment)` }))
        }),
        Effect.mapError(BrokerError.of)
      )
      settings = Settings.change(settings, change)
    }
    return yield* make({ ...settings, ...options })
  })

export const layerFromEnv = (options?: Partial<BrokerSettings>): Layer.Layer<BrokerConfig, BrokerError.BrokerError> =>
  Layer.effect(BrokerConfig)(fromEnv(options))
