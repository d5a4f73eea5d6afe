/**
 * Connection ids as they come from outside: a command line, a request over HTTP.
 */
import * as Schema from "effect/Schema"
import type * as Core from "../core/ConnectionId.ts"

/** A decimal number as text. Whether there is such a connection is another question. */
export const ConnectionId = Schema.String.check(
  Schema.makeFilter((text: string) => /^[1-9]\d{0,15}$/.test(text), { expected: "a connection id: a decimal number" })
).pipe(Schema.brand("ConnectionId"))

export type ConnectionId = Core.ConnectionId
