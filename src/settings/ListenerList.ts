/**
 * The listeners that a broker starts with, as text: `mqtt://127.0.0.1:1883,wss://0.0.0.0/mqtt`.
 *
 * What a URL means is said in `transport/ListenerUrl.ts`. Certificates are written in them but not read from them: the
 * text is shown to people.
 */
import type { ListenerOptions } from "../transport/ListenerConfig.ts"
import * as ListenerUrl from "../transport/ListenerUrl.ts"
import type { ListenerDefaults } from "./ListenerDefaults.ts"

/** The listeners that the text means, or a sentence that says what is wrong. "": none. */
export const parse = (
  text: string,
  { sslCertStore }: ListenerDefaults
): ReadonlyArray<ListenerOptions> | ListenerUrl.Fault =>
  text.trim() === ""
    ? []
    : ListenerUrl.parseAll(text, { cert: typeof sslCertStore === "string" ? sslCertStore : undefined })

const schemes = ["mqtt", "mqtts", "ws", "wss"] as const

/** A port that the protocol decides is left out. */
const urlOf = (options: ListenerOptions, defaults: ListenerDefaults): string => {
  const { host = defaults.host ?? "127.0.0.1", port = defaults.port, protocol = 0 } = options
  const shown = host.includes(":") ? `[${host}]` : host
  const path = "path" in options ? (options.path ?? "") : ""
  return `${schemes[protocol]}://${shown}${port === undefined ? "" : `:${port}`}${path}`
}

/** As they can be given again, but for their certificates. */
export const format = (listeners: ReadonlyArray<ListenerOptions>, defaults: ListenerDefaults): string =>
  listeners.map((options) => urlOf(options, defaults)).join(",")
