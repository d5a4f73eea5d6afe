/**
 * A connection that must wait, for an answer of a hook or for the store: its input stays undecoded and unread, no other
 * connection is concerned. How it goes on is in `Continuing.ts`.
 */
import type { CoreState } from "./CoreState.ts"
import { PAUSED_BY_HOLDING, type ServerConnection } from "./ServerConnection.ts"

export const hold = (core: CoreState, connection: ServerConnection): void => {
  connection.holding = true
  core.pause(connection, PAUSED_BY_HOLDING)
}

export const letGo = (core: CoreState, connection: ServerConnection, now: number): void => {
  connection.holding = false
  core.unpause(connection, PAUSED_BY_HOLDING, now)
}

/** The packet is handled again when the store accepts work; `Supervision` ends the connection if that takes long. */
export const holdForStorage = (
  core: CoreState,
  connection: ServerConnection,
  again: (now: number) => void,
  now: number
): void => {
  hold(core, connection)
  connection.resume = again
  connection.heldSince = now
  core.refused.add(connection)
  core.checkBy(connection, now + core.config.drainTimeoutSeconds * 1_000)
}

/** The connection ended: there is nothing left to go on with. It stays unread. */
export const forget = (core: CoreState, connection: ServerConnection): void => {
  connection.holding = false
  connection.resume = undefined
  core.refused.delete(connection)
}
