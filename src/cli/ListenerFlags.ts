/**
 * Where the broker listens, as flags: one plain address, or any number of URLs with one certificate for those with TLS.
 */
import * as Config from "effect/Config"
import * as Flag from "effect/cli/Flag"
import * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import type { ListenerDefaults } from "../settings/ListenerDefaults.ts"
import type { ListenerOptions } from "../transport/ListenerConfig.ts"
import * as ListenerUrl from "../transport/ListenerUrl.ts"

const HOST = "127.0.0.1"
const PORT = 1883
/** Unlike a flag, no list of processes shows it. */
const PASSWORD_VARIABLE = "EFFECT_MQTT_CERT_PASSWORD"

/** Where a broker listens that nobody told anything. */
export const DEFAULT: ListenerOptions = { host: HOST, port: PORT }

export const flags = {
  host: Flag.String("host").pipe(
    Flag.withDescription(`Address to listen on (default ${HOST}; 0.0.0.0 lets other machines in)`),
    Flag.optional
  ),
  port: Flag.Int("port").pipe(
    Flag.withDescription(`Port to listen on (default ${PORT}; 0 takes any free one and says which)`),
    Flag.optional
  ),
  listen: Flag.String("listen").pipe(
    Flag.withDescription(
      "Instead, a URL: mqtt://host:port, mqtts://, ws://host:port/path or wss://; any number of them"
    ),
    Flag.atLeast(0)
  ),
  cert: Flag.String("cert").pipe(
    Flag.withDescription("Certificate for mqtts:// and wss://, a PFX or PEM file"),
    Flag.optional
  ),
  key: Flag.String("key").pipe(
    Flag.withDescription("Its private key, a PEM file, when the file above does not hold it"),
    Flag.optional
  ),
  certPassword: Flag.Redacted("cert-password").pipe(
    Flag.withDescription(`Password of the certificate's file or of its key; better in ${PASSWORD_VARIABLE}`),
    Flag.withFallbackConfig(Config.Redacted(PASSWORD_VARIABLE)),
    Flag.optional
  ),
  clientCa: Flag.String("client-ca").pipe(
    Flag.withDescription("Clients with TLS must have a certificate that an authority in this PEM file issued"),
    Flag.optional
  )
}

export interface ListenerChoice {
  readonly host: Option.Option<string>
  readonly port: Option.Option<number>
  readonly listen: ReadonlyArray<string>
  readonly cert: Option.Option<string>
  readonly key: Option.Option<string>
  readonly certPassword: Option.Option<Redacted.Redacted<string>>
  readonly clientCa: Option.Option<string>
}

const tlsOf = (choice: ListenerChoice, sslCertStore: ListenerDefaults["sslCertStore"]): ListenerUrl.TlsOptions => ({
  cert: Option.getOrElse(choice.cert, () => (typeof sslCertStore === "string" ? sslCertStore : undefined)),
  key: Option.getOrUndefined(choice.key),
  password: Option.getOrUndefined(choice.certPassword),
  clientCa: Option.getOrUndefined(choice.clientCa)
})

/** A certificate that no listener would use is a listener that was forgotten. */
const uselessFlag = (choice: ListenerChoice, given: ReadonlyArray<ListenerOptions>): string | undefined => {
  if (given.some(({ protocol }) => protocol === 1 || protocol === 3)) return undefined
  const flag = (["cert", "key", "clientCa"] as const).find((name) => Option.isSome(choice[name]))
  return flag === undefined ? undefined : `--${flag === "clientCa" ? "client-ca" : flag}`
}

/** The listeners that were asked for; undefined: none were; or a sentence that says what is wrong. */
export const listeners = (
  choice: ListenerChoice,
  { sslCertStore }: ListenerDefaults
): ReadonlyArray<ListenerOptions> | undefined | ListenerUrl.Fault => {
  const plain = Option.isSome(choice.host) || Option.isSome(choice.port)
  const parsed = choice.listen.map((url) => ListenerUrl.parse(url, tlsOf(choice, sslCertStore)))
  const fault = parsed.find((each) => typeof each === "string")
  if (fault !== undefined) return fault
  const urls = parsed.filter((each) => typeof each !== "string")
  const useless = uselessFlag(choice, urls)
  if (useless !== undefined) return `${useless} is for listeners with TLS: name them with --listen mqtts://… or wss://…`
  if (choice.listen.length === 0) {
    if (!plain) return undefined
    return [{ host: Option.getOrElse(choice.host, () => HOST), port: Option.getOrElse(choice.port, () => PORT) }]
  }
  if (plain) return "Give --listen, or --host and --port, but not both."
  return urls
}
