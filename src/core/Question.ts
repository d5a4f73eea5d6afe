/**
 * A connection that must wait for an answer: of a hook, or of the store.
 *
 * Owns the waiting: its input stays undecoded and unread, no other connection is concerned. An answer for a connection
 * that ended meanwhile finds no question and does nothing.
 */
import type { Answer, Ask } from "./Ask.ts"
import type { CoreState } from "./CoreState.ts"
import { PAUSED_BY_QUESTION, type ServerConnection } from "./ServerConnection.ts"

/** Puts a question to the shell; the connection's input waits until `answered` has run. */
export const ask = (
  core: CoreState,
  connection: ServerConnection,
  make: (askId: number) => Ask,
  answered: (answer: Answer, now: number) => void
): void => {
  const askId = core.nextAskId()
  connection.askId = askId
  hold(core, connection)
  core.questions.set(askId, { connection, answered })
  core.asks.push(make(askId))
}

/** A question that no connection waits for. */
export const askUnattended = (
  core: CoreState,
  make: (askId: number) => Ask,
  answered: (answer: Answer, now: number) => void
): void => {
  const askId = core.nextAskId()
  core.questions.set(askId, { connection: undefined, answered })
  core.asks.push(make(askId))
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

export const hold = (core: CoreState, connection: ServerConnection): void => {
  connection.holding = true
  core.pause(connection, PAUSED_BY_QUESTION)
}

export const letGo = (core: CoreState, connection: ServerConnection, now: number): void => {
  connection.holding = false
  core.unpause(connection, PAUSED_BY_QUESTION, now)
}

/** The connection ended: nobody waits for the answer any more. */
export const forget = (core: CoreState, connection: ServerConnection): void => {
  if (connection.askId !== 0) {
    core.questions.delete(connection.askId)
    core.forgotten.push(connection.askId)
  }
  connection.askId = 0
  connection.resume = undefined
  core.refused.delete(connection)
}
