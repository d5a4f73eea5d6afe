/**
 * A bug of this broker, met at work: it costs the connection that the work was for, never the others or the process.
 *
 * Owns that a throw ends there and is told. The shell takes `CoreState.defects` after each call. Guards stand where a
 * connection is known, once for each chunk of input, answer or report of the store: not in what is done for a packet.
 */
import type { CoreState } from "./CoreState.ts"
import * as Disconnection from "./Disconnection.ts"
import type { ServerConnection } from "./ServerConnection.ts"

/** Does what is to be done for a connection, or for nobody who is connected. */
export const guard = (
  core: CoreState,
  connection: ServerConnection | undefined,
  now: number,
  work: () => void
): void => {
  try {
    work()
  } catch (defect) {
    caught(core, connection, defect, now)
  }
}

/** For who has a `catch` of its own. */
export const caught = (
  core: CoreState,
  connection: ServerConnection | undefined,
  defect: unknown,
  now: number
): void => {
  core.current = undefined
  core.defects.push({ connectionId: connection?.id ?? "", defect })
  if (connection === undefined) return
  try {
    Disconnection.cutOff(core, connection, `The broker failed on what it did for this client: ${String(defect)}`, now)
  } catch (another) {
    // The transport is closed all the same, and that is the next look at it.
    core.defects.push({ connectionId: connection.id, defect: another })
  }
}
