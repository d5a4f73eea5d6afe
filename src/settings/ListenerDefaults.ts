/**
 * Settings of listeners that hold for each of them that does not say otherwise itself.
 *
 * Owns which of them a listener can have: a TCP listener has no certificate.
 */
import * as Schema from "effect/Schema"
import * as ListenerConfig from "../transport/ListenerConfig.ts"

/** A listener on secure WebSocket has every setting that there is. */
const { protocol: _, ...fields } = ListenerConfig.SecureWebSocketListenerConfig.fields

export type ListenerKey = keyof typeof fields

export const keys = Object.keys(fields) as ReadonlyArray<ListenerKey> // the object is written out there

export const ListenerDefaults = Schema.toEncoded(
  Schema.Struct({ ...fields, sslCertStore: Schema.optionalKey(fields.sslCertStore) })
)
export type ListenerDefaults = typeof ListenerDefaults.Type

const fieldsOf: Readonly<Record<ListenerConfig.Protocol, object>> = {
  0: ListenerConfig.TcpListenerConfig.fields,
  1: ListenerConfig.TlsListenerConfig.fields,
  2: ListenerConfig.WebSocketListenerConfig.fields,
  3: ListenerConfig.SecureWebSocketListenerConfig.fields
}

/** The options of a listener, with what they leave out. */
export const apply = (
  defaults: ListenerDefaults,
  options: ListenerConfig.ListenerOptions
): ListenerConfig.ListenerOptions => {
  // A number that is no protocol has none: it is refused when the options are decoded.
  const fields: object = fieldsOf[options.protocol ?? 0] ?? {}
  const fitting = Object.entries(defaults).filter(([key]) => Object.hasOwn(fields, key))
  // What is left are fields of that protocol.
  return { ...Object.fromEntries(fitting), ...options } as ListenerConfig.ListenerOptions
}

const decodeAll = Schema.decodeUnknownSync(ListenerConfig.SecureWebSocketListenerConfig)

/** What a listener has that nobody said anything of; the port depends on its protocol. */
export const builtIn = (key: ListenerKey): unknown => {
  const { port: _port, sslCertStore: _store, ...rest } = decodeAll({ protocol: 3, sslCertStore: "-" })
  return Object.hasOwn(rest, key) ? rest[key as keyof typeof rest] : undefined // it has just been looked up
}
