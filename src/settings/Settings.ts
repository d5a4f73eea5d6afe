/**
 * Settings by name and as text: `Name=Value`, `Name`, `Name[connectionId]`, as the manual's Config method has them.
 *
 * The names are the documented ones (`DocumentedSettings.ts`) and our own, those of `BrokerSettings` and of listeners;
 * case does not matter. Owns what a text means; who keeps the values is the broker's business.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { BrokerSettings } from "./BrokerSettings.ts"
import * as DocumentedSettings from "./DocumentedSettings.ts"
import * as ListenerDefaults from "./ListenerDefaults.ts"
import * as SettingError from "./SettingError.ts"

export interface Setting {
  /** As documented, or as it is called here. */
  readonly name: string
  readonly place: DocumentedSettings.Place
}

/** What an assignment changes. */
export type Change =
  | { readonly scope: "broker"; readonly setting: Setting; readonly values: Partial<BrokerSettings> }
  | {
      readonly scope: "listener"
      readonly setting: Setting
      readonly values: ListenerDefaults.ListenerDefaults
    }

/** Of these the running broker has made something already. */
const setBeforeStart: ReadonlySet<string> = new Set<DocumentedSettings.BrokerKey>([
  "hookTimeoutSeconds",
  "eventsBufferMax",
  "messagesBufferMax",
  // Clients have been told them.
  "receiveMaximum",
  "topicAliasMaximum"
])

/** Values that are no text. */
const STRUCTURED: ReadonlySet<string> = new Set<ListenerDefaults.ListenerKey>(["sniCertificates"])
/** Values that are shown to nobody. */
const SECRET: ReadonlySet<string> = new Set<ListenerDefaults.ListenerKey>(["sslCertStorePassword", "sslCertKey"])

const brokerKeys = Object.keys(BrokerSettings.fields).filter(
  (key): key is DocumentedSettings.BrokerKey => key !== "listeners" && key !== "listenerDefaults"
)

/** By lower-case name. */
const settings: ReadonlyMap<string, Setting> = new Map(
  [
    ...brokerKeys.map((key): Setting => ({ name: key, place: { scope: "broker", key } })),
    ...ListenerDefaults.keys
      .filter((key) => !STRUCTURED.has(key))
      .map((key): Setting => ({ name: key, place: { scope: "listener", key } })),
    ...Object.entries(DocumentedSettings.places).map(([name, place]): Setting => ({ name, place }))
  ].map((setting) => [setting.name.toLowerCase(), setting])
)

/** Every name there is, the documented ones as they are documented. */
export const names: ReadonlyArray<string> = Array.from(settings.values(), ({ name }) => name)

/** How many characters are to be changed, added or taken away to make one of the other (Levenshtein). */
const distance = (a: string, b: string): number => {
  let row = Array.from({ length: b.length + 1 }, (_, at) => at)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1
      next.push(Math.min(row[j - 1]! + same, row[j]! + 1, next[j - 1]! + 1))
    }
    row = next
  }
  return row[b.length]!
}

const NEAREST = 3
/** Longer ones are nobody's slip of the finger, and cost the product of the lengths. */
const NAME_LENGTH_MAX = 100

const nearest = (name: string): ReadonlyArray<string> => {
  const wanted = name.slice(0, NAME_LENGTH_MAX).toLowerCase()
  const ranked = names.map((known) => ({ known, far: distance(wanted, known.toLowerCase()) }))
  return ranked
    .sort((a, b) => a.far - b.far)
    .slice(0, NEAREST)
    .map(({ known }) => known)
}

/** The setting of that name, in any case. */
export const find = (name: string): Effect.Effect<Setting, SettingError.UnknownSetting> =>
  Effect.suspend(() => {
    const setting = settings.get(name.trim().toLowerCase())
    return setting === undefined
      ? Effect.fail(new SettingError.UnknownSetting({ name, nearest: nearest(name) }))
      : Effect.succeed(setting)
  })

const TRUE = /^(?:true|1|yes)$/i
const FALSE = /^(?:false|0|no)$/i

/** A value as text: the documented True and False, lists with commas. */
export const format = (value: unknown): string => {
  if (typeof value === "boolean") return value ? "True" : "False"
  if (Array.isArray(value)) return value.join(",")
  return value === undefined ? "" : String(value)
}

/** The text as the type that `like` has; a text that does not fit is left for the Schema to refuse. */
const parse = (text: string, like: unknown): unknown => {
  if (typeof like === "boolean") return TRUE.test(text) ? true : FALSE.test(text) ? false : text
  if (typeof like === "number") return /^(?:-?\d+(?:\.\d+)?|0x[\da-f]+)$/i.test(text) ? Number(text) : text
  if (Array.isArray(like)) return text === "" ? [] : text.split(",").map((item) => item.trim())
  return text
}

const invalid = (name: string, text: string, error: Schema.SchemaError | undefined): SettingError.InvalidSetting => {
  const shown = SECRET.has(name) ? "the value that was given" : JSON.stringify(text)
  const booleans = "must be True or False (or 1, 0, Yes, No)"
  return new SettingError.InvalidSetting({
    detail: `${name}: ${shown} ${error === undefined ? booleans : error.message}`
  })
}

/** Settings whose value may be absent, so that there is none to tell their type. */
const ABSENT: Readonly<Record<string, unknown>> = { useIPv6: 0, port: 0 }

const listenerValue = (setting: Setting, key: ListenerDefaults.ListenerKey, text: string, separator?: string) => {
  const like = ListenerDefaults.builtIn(key) ?? ABSENT[key] ?? ""
  const value = parse(separator === undefined ? text : text.replaceAll(separator, ";"), like)
  if (typeof like === "boolean" && typeof value !== "boolean")
    return Effect.fail(invalid(setting.name, text, undefined))
  return Schema.decodeUnknownEffect(ListenerDefaults.ListenerDefaults)({ [key]: value }).pipe(
    Effect.mapError((error) => invalid(setting.name, text, error))
  )
}

const brokerValue = (setting: Setting, key: DocumentedSettings.BrokerKey, text: string, like: unknown) => {
  const value = parse(text, like)
  if (typeof like === "boolean" && typeof value !== "boolean")
    return Effect.fail(invalid(setting.name, text, undefined))
  const schema: Schema.Codec<unknown, unknown> = BrokerSettings.fields[key]
  return Schema.decodeUnknownEffect(schema)(value).pipe(
    Effect.mapError((error) => invalid(setting.name, text, error)),
    // Decoded by the Schema of that key.
    Effect.map((decoded) => ({ [key]: decoded }) as Partial<BrokerSettings>)
  )
}

/**
 * What `Name=Value` changes.
 *
 * @param current the settings as they are: they tell the types
 * @param running whether the broker runs already, so that some settings are too late
 */
export const assign: (
  assignment: string,
  current: BrokerSettings,
  running: boolean
) => Effect.Effect<Change, SettingError.SettingError> = Effect.fnUntraced(function* (assignment, current, running) {
  const at = assignment.indexOf("=")
  if (at === -1) {
    const detail = `${JSON.stringify(assignment)} must be Name=Value`
    return yield* new SettingError.InvalidSetting({ detail })
  }
  const text = assignment.slice(at + 1)
  const setting = yield* find(assignment.slice(0, at))
  const { name, place } = setting
  switch (place.scope) {
    case "broker": {
      if (running && setBeforeStart.has(place.key)) {
        return yield* new SettingError.InvalidSetting({ detail: `${name} can only be set before the broker starts` })
      }
      return { scope: "broker", setting, values: yield* brokerValue(setting, place.key, text, current[place.key]) }
    }
    case "listener":
      return {
        scope: "listener",
        setting,
        values: yield* listenerValue(setting, place.key, text, place.separator)
      }
    case "none":
      return yield* new SettingError.SettingNotApplicable({ name, reason: place.reason })
    default:
      return yield* new SettingError.InvalidSetting({ detail: `${name} can only be read` })
  }
})

/** The settings with what a change changes. */
export const change = (settings: BrokerSettings, { scope, values }: Change): BrokerSettings =>
  scope === "broker"
    ? { ...settings, ...values }
    : { ...settings, listenerDefaults: { ...settings.listenerDefaults, ...values } }

/** `Name` or `Name[connectionId]`. */
const QUERY = /^([^[\]]*)(?:\[([^[\]]*)\])?$/

/**
 * The value of a setting as text.
 *
 * @param ofConnection looks up what a connection has; undefined: there is no such connection
 */
export const read = <E>(
  query: string,
  current: BrokerSettings,
  ofConnection: (connectionId: string, key: DocumentedSettings.ConnectionKey) => Effect.Effect<string | number, E>
): Effect.Effect<string, E | SettingError.SettingError> =>
  Effect.gen(function* () {
    const [, name = query, connectionId] = QUERY.exec(query.trim()) ?? []
    const { name: known, place } = yield* find(name)
    switch (place.scope) {
      case "broker":
        return format(current[place.key])
      case "listener": {
        if (SECRET.has(place.key)) return ""
        const value = format(current.listenerDefaults[place.key] ?? ListenerDefaults.builtIn(place.key))
        return place.separator === undefined ? value : value.replaceAll(";", place.separator)
      }
      case "connection":
        if (connectionId === undefined) {
          return yield* new SettingError.InvalidSetting({ detail: `${known} is read as ${known}[connectionId]` })
        }
        return format(yield* ofConnection(connectionId, place.key))
      case "constant":
        return place.value
      case "none":
        return yield* new SettingError.SettingNotApplicable({ name: known, reason: place.reason })
    }
  })
