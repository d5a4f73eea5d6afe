/**
 * Where the broker listens, as flags: one plain address, or any number of URLs with one certificate for those with TLS.
 */
import * as Flag from "effect/cli/Flag"
import * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import type { ListenerDefaults } from "../settings/ListenerDefaults.ts"
import type { ListenerOptions } from "../transport/ListenerConfig.ts"
import * as ListenerUrl from "../transport/ListenerUrl.ts"

const HOST = "127.0.0.1"
const PORT = 1883

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
    Flag.withDescription("Password of the certificate's file or of its key"),
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

/** The listeners that were asked for; undefined: none were; or a sentence that says what is wrong. */
export const listeners = (
  choice: ListenerChoice,
  { sslCertStore }: ListenerDefaults
): ReadonlyArray<ListenerOptions> | undefined | ListenerUrl.Fault => {
  const plain = Option.isSome(choice.host) || Option.isSome(choice.port)
  if (choice.listen.length === 0) {
    if (!plain) return undefined
    return [{ host: Option.getOrElse(choice.host, () => HOST), port: Option.getOrElse(choice.port, () => PORT) }]
  }
  if (plain) return "Give --listen, or --host and --port, but not both."
  const given = {
    cert: Option.getOrElse(choice.cert, () => (typeof sslCertStore === "string" ? sslCertStore : undefined)),
    key: Option.getOrUndefined(choice.key),
    password: Option.getOrUndefined(choice.certPassword),
    clientCa: Option.getOrUndefined(choice.clientCa)
  }
  const parsed = choice.listen.map((url) => ListenerUrl.parse(url, given))
  const fault = parsed.find((each) => typeof each === "string")
  return fault ?? parsed.filter((each) => typeof each !== "string")
}
