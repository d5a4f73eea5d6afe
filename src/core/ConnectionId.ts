/**
 * What tells connections of one broker process apart: a decimal number as text, never used twice.
 *
 * A type of its own, so that a client id is not taken for it.
 */
import type * as Brand from "effect/Brand"

export type ConnectionId = string & Brand.Brand<"ConnectionId">

/** What went through somebody who does not know the type. A text that is none names no connection: that is no harm. */
export const fromText = (text: string): ConnectionId => text as ConnectionId

/** The cast: here is where they are made. */
export const fromNumber = (number: number): ConnectionId => String(number) as ConnectionId
