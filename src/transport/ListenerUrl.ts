/**
 * Listeners as URLs, for command lines and environments: `mqtts://0.0.0.0:8883?cert=server.pfx`.
 *
 * A port that is left out is the one that a client would take. What a URL cannot say is left to its default.
 */
import * as Redacted from "effect/Redacted"
import type { ListenerOptions, Protocol } from "./ListenerConfig.ts"

/** What `mqtts://` and `wss://` need besides their URL, each a path or `undefined`. */
export interface TlsOptions {
  /** A PFX or PEM file. */
  readonly cert?: string | undefined
  /** A PEM file with the private key, when `cert` does not hold it. */
  readonly key?: string | undefined
  readonly password?: Redacted.Redacted<string> | undefined
  /** PEM file of authorities: clients must have a certificate that one of them issued. */
  readonly clientCa?: string | undefined
}

const protocols: Readonly<Record<string, Protocol | undefined>> = { "mqtt:": 0, "mqtts:": 1, "ws:": 2, "wss:": 3 }

const portsByProtocol: Readonly<Record<Protocol, number>> = { 0: 1883, 1: 8883, 2: 80, 3: 443 }

const parameters: ReadonlySet<string> = new Set(["cert", "key", "password", "client-ca"])

/** What is in the URL comes before what was given besides it. */
const tlsOptions = (query: URLSearchParams, given: TlsOptions): TlsOptions => {
  const password = query.get("password")
  return {
    cert: query.get("cert") ?? given.cert,
    key: query.get("key") ?? given.key,
    password: password === null ? given.password : Redacted.make(password),
    clientCa: query.get("client-ca") ?? given.clientCa
  }
}

/** A sentence that says what is wrong. */
export type Fault = string

/** The listener that a URL means; `given` holds for URLs with TLS that do not say otherwise. */
export const parse = (text: string, given: TlsOptions = {}): ListenerOptions | Fault => {
  const url = URL.parse(text.trim())
  const protocol = url === null ? undefined : protocols[url.protocol]
  if (url === null || protocol === undefined || url.hostname === "") {
    // Its query may hold a password.
    const shown = JSON.stringify(text.trim().split("?")[0])
    return `${shown} is no listener: write a URL like mqtt://127.0.0.1:1883, mqtts://…, ws://… or wss://…`
  }
  const shown = `${url.protocol}//${url.host}`
  const path = ["", "/"].includes(url.pathname) ? "" : url.pathname
  const secure = protocol === 1 || protocol === 3
  const unknown = [...url.searchParams.keys()].find((name) => !secure || !parameters.has(name))
  if (unknown !== undefined) return `${shown} has an unknown parameter ${JSON.stringify(unknown)}`
  if (path !== "" && protocol < 2) return `${shown} has a path, which only WebSocket listeners have`
  if (url.username !== "" || url.password !== "") return `${shown} has a user name, which no listener has`
  const host = url.hostname.replace(/^\[|\]$/g, "")
  const port = url.port === "" ? portsByProtocol[protocol] : Number(url.port)
  if (protocol === 0) return { protocol, host, port }
  if (protocol === 2) return { protocol, host, port, path }
  const { cert, clientCa, key, password } = tlsOptions(url.searchParams, given)
  if (cert === undefined) return `${shown} needs a certificate: add --cert, or ?cert= and the path of a PFX or PEM file`
  const tls = {
    sslCertStore: cert,
    ...(key === undefined ? {} : { sslCertKey: key }),
    ...(password === undefined ? {} : { sslCertStorePassword: password }),
    ...(clientCa === undefined ? {} : { sslAuthenticateClients: true, sslClientCACerts: clientCa })
  }
  return protocol === 1 ? { protocol, host, port, ...tls } : { protocol, host, port, path, ...tls }
}

/** Several, with commas between them. */
export const parseAll = (text: string, given: TlsOptions = {}): ReadonlyArray<ListenerOptions> | Fault => {
  const listeners: Array<ListenerOptions> = []
  for (const item of text.split(",")) {
    const listener = parse(item, given)
    if (typeof listener === "string") return listener
    listeners.push(listener)
  }
  return listeners
}
