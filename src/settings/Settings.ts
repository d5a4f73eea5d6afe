/**
 * Settings by name and as text: `Name=Value`, `Name`, `Name[connectionId]`, as the manual's Config method has them.
 *
 * The names are the documented ones (`DocumentedSettings.ts`) and our own, those of `BrokerSettings` and of listeners;
 * case does not matter. Owns what a text means, what has none, and what is set too late; who keeps the values is the
 * broker's business.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"
import { BrokerSettings } from "./BrokerSettings.ts"
import * as DocumentedSettings from "./DocumentedSettings.ts"
import * as ListenerDefaults from "./ListenerDefaults.ts"
import * as ListenerList from "./ListenerList.ts"
import * as SettingError from "./SettingError.ts"

type Place =
  | DocumentedSettings.Place
  /** The listeners that the broker starts with, as URLs. */
  | { readonly scope: "listeners" }
  /** Has no form as text; `where` is a sentence that says how it is set. */
  | { readonly scope: "structured"; readonly where: string }

export interface Setting {
  /** As documented, or as it is called here. */
  readonly name: string
  readonly place: Place
}

/** What an assignment changes. */
export type Change =
  | { readonly scope: "broker"; readonly setting: Setting; readonly values: Partial<BrokerSettings> }
  | {
      readonly scope: "listener"
      readonly setting: Setting
      readonly values: ListenerDefaults.ListenerDefaults
    }

/** Give it in time, that is. */
const IN_TIME = "give it to the layer, on the command line (--set) or in the environment."

/** What the running broker has made something of already, or has told clients; and what can be done instead. */
export const setBeforeStart: ReadonlyMap<string, string> = new Map<keyof BrokerSettings, string>([
  ["hookTimeoutSeconds", IN_TIME],
  ["eventsBufferMax", IN_TIME],
  ["messagesBufferMax", IN_TIME],
  ["receiveMaximum", IN_TIME],
  ["topicAliasMaximum", IN_TIME],
  ["listeners", "add another listener with addListener."]
])

/** Settings that are no text. */
const structured: Readonly<Record<string, string>> = {
  listenerDefaults: "Each of them is set by its own name, for example TcpNoDelay=False.",
  sniCertificates: "It is a list: give it in the options of a listener, or to replaceCertificates."
}

/** Values that are shown to nobody. */
const SECRET: ReadonlySet<string> = new Set<ListenerDefaults.ListenerKey>(["sslCertStorePassword", "sslCertKey"])

const brokerKeys = Object.keys(BrokerSettings.fields).filter(
  (key): key is DocumentedSettings.BrokerKey => key !== "listeners" && !Object.hasOwn(structured, key)
)

/** By lower-case name. */
const settings: ReadonlyMap<string, Setting> = new Map(
  [
    ...brokerKeys.map((key): Setting => ({ name: key, place: { scope: "broker", key } })),
    ...ListenerDefaults.keys
      .filter((key) => !Object.hasOwn(structured, key))
      .map((key): Setting => ({ name: key, place: { scope: "listener", key } })),
    ...Object.entries(structured).map(([name, where]): Setting => ({ name, place: { scope: "structured", where } })),
    { name: "listeners", place: { scope: "listeners" } } satisfies Setting,
    ...Object.entries(DocumentedSettings.places).map(([name, place]): Setting => ({ name, place }))
  ].map((setting) => [setting.name.toLowerCase(), setting])
)

export const all: ReadonlyArray<Setting> = [...settings.values()]

/** Every name there is, the documented ones as they are documented. */
export const names: ReadonlyArray<string> = all.map(({ name }) => name)

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
  const ranked = names.map((known) => {
    const name = known.toLowerCase()
    // What was begun is nearer than what happens to be as short.
    return { known, begun: name.startsWith(wanted) ? 0 : 1, far: distance(wanted, name) }
  })
  return ranked
    .sort((a, b) => a.begun - b.begun || a.far - b.far)
    .slice(0, NEAREST)
    .map(({ known }) => known)
}

/** The setting of that name, in any case. */
export const find = (name: string): Effect.Effect<Setting, SettingError.UnknownSetting> =>
  Effect.suspend(() => {
    const setting = settings.get(name.trim().toLowerCase())
    return setting === undefined
      ? Effect.fail(new SettingError.UnknownSetting({ name: name.slice(0, NAME_LENGTH_MAX), nearest: nearest(name) }))
      : Effect.succeed(setting)
  })

const TRUE = /^(?:true|1|yes)$/i
const FALSE = /^(?:false|0|no)$/i

/** A value as text: the documented True and False, lists with commas. */
export const format = (value: unknown): string => {
  if (typeof value === "boolean") return value ? "True" : "False"
  if (Array.isArray(value)) return value.join(",")
  // Neither bytes nor the text of a private key are for reading.
  if (value === undefined || value instanceof Uint8Array) return ""
  const text = String(value)
  return text.includes("PRIVATE KEY-----") ? "" : text
}

/** The text as the type that `like` has; what does not fit is left for the Schema to refuse. */
const parse = (text: string, like: unknown): unknown => {
  const word = text.trim()
  if (typeof like === "boolean") return TRUE.test(word) ? true : FALSE.test(word) ? false : text
  if (typeof like === "number") return /^(?:-?\d+(?:\.\d+)?|0x[\da-f]+)$/i.test(word) ? Number(word) : Number.NaN
  if (Array.isArray(like)) return text === "" ? [] : text.split(",").map((item) => item.trim())
  return text
}

const issuesOf = SchemaIssue.makeFormatterStandardSchemaV1()

/** What a value must be, in the words of its Schema; a boolean has none. */
const wanted = (error: Schema.SchemaError | undefined): string => {
  if (error === undefined) return "must be True or False (or 1, 0, Yes, No)"
  const message = issuesOf(error.issue).issues[0]?.message ?? "must be another value"
  // It says its own name of the setting, and we say the one that was asked for.
  return message.replace(/^\w+ must/, "must").replace(/^Expected/, "must be")
}

const invalid = (name: string, text: string, error: Schema.SchemaError | undefined): SettingError.InvalidSetting => {
  const shown = SECRET.has(name) ? "the value that was given" : SettingError.quote(text)
  return new SettingError.InvalidSetting({ detail: `${name} ${wanted(error)}, and not ${shown}` })
}

/** Settings whose value may be absent, so that there is none to tell their type. */
const ABSENT: Readonly<Record<string, unknown>> = { useIPv6: 0, port: 0 }

/** A time of TCP's keep alive turns it on, as documented. */
const IMPLIED: Readonly<Record<string, ListenerDefaults.ListenerDefaults>> = {
  tcpKeepAliveMillis: { tcpKeepAlive: true },
  tcpKeepAliveIntervalMillis: { tcpKeepAlive: true }
}

const listenerValue = (setting: Setting, key: ListenerDefaults.ListenerKey, text: string, separator?: string) => {
  const like = ListenerDefaults.builtIn(key) ?? ABSENT[key] ?? ""
  const value = parse(separator === undefined ? text : text.replaceAll(separator, ";"), like)
  if (typeof like === "boolean" && typeof value !== "boolean")
    return Effect.fail(invalid(setting.name, text, undefined))
  const implied = typeof value === "number" && value > 0 ? IMPLIED[key] : undefined
  return Schema.decodeUnknownEffect(ListenerDefaults.ListenerDefaults)({ [key]: value, ...implied }).pipe(
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

const noText = (name: string, where: string): SettingError.InvalidSetting =>
  new SettingError.InvalidSetting({ detail: `${name} has no form as text. ${where}` })

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
    const detail = `${SettingError.quote(assignment)} must be Name=Value`
    return yield* new SettingError.InvalidSetting({ detail })
  }
  const text = assignment.slice(at + 1)
  const setting = yield* find(assignment.slice(0, at))
  const { name, place } = setting
  const key = place.scope === "broker" ? place.key : place.scope
  const instead = running ? setBeforeStart.get(key) : undefined
  if (instead !== undefined) return yield* new SettingError.SettingFixed({ name, instead })
  switch (place.scope) {
    case "broker":
      return { scope: "broker", setting, values: yield* brokerValue(setting, place.key, text, current[place.key]) }
    case "listeners": {
      const listeners = ListenerList.parse(text, current.listenerDefaults)
      if (typeof listeners === "string") {
        const detail = `${name} must be URLs with commas between them, and ${listeners}`
        return yield* new SettingError.InvalidSetting({ detail })
      }
      return { scope: "broker", setting, values: { listeners } }
    }
    case "structured":
      return yield* noText(name, place.where)
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
    if (connectionId !== undefined && place.scope !== "connection" && place.scope !== "none") {
      return yield* new SettingError.InvalidSetting({ detail: `${known} is not of a connection: read it by its name` })
    }
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
      case "listeners":
        return ListenerList.format(current.listeners, current.listenerDefaults)
      case "structured":
        return yield* noText(known, place.where)
      case "constant":
        return place.value
      case "none":
        return yield* new SettingError.SettingNotApplicable({ name: known, reason: place.reason })
    }
  })
