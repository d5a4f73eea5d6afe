/**
 * Enhanced authentication: the AUTH exchange at CONNECT, and of a connected client that authenticates again
 * [MQTT-4.12].
 *
 * Owns whose turn it is. What a method means is the hook's business; without one every method is refused with 0x8C
 * (`Connecting.ts`).
 */
import type { Auth } from "../protocol/Packet.ts"
import { ProtocolError } from "../protocol/ProtocolError.ts"
import * as ReasonCode from "../protocol/ReasonCode.ts"
import * as Asking from "./Asking.ts"
import type { CoreState } from "./CoreState.ts"
import * as Disconnection from "./Disconnection.ts"
import * as Output from "./Output.ts"
import type { Answer } from "./Question.ts"
import type { Authentication, AuthenticationOutcome, ServerConnection } from "./ServerConnection.ts"
import * as Supervision from "./Supervision.ts"

/** The first step of a CONNECT that names a method. */
export const begin = (
  core: CoreState,
  connection: ServerConnection,
  method: string,
  data: Uint8Array | undefined,
  outcome: AuthenticationOutcome
): void => {
  connection.authentication = { method, step: 0, underway: false, outcome }
  ask(core, connection, connection.authentication, data)
}

/** An AUTH packet: the next step, or the first of a new exchange. */
export const auth = (core: CoreState, connection: ServerConnection, packet: Auth, now: number): void => {
  const { authentication } = connection
  const again = packet.reasonCode === ReasonCode.ReAuthenticate
  const method = packet.properties?.authenticationMethod
  const expected = again
    ? connection.phase === "connected" && authentication?.underway === false
    : packet.reasonCode === ReasonCode.ContinueAuthentication && authentication?.underway === true
  // [MQTT-4.12.0-5]: the method stays the same; [MQTT-4.12.0-7]: without one in CONNECT there is no AUTH.
  if (authentication === undefined || !expected || method !== authentication.method) {
    const error = new ProtocolError(0x82, "This AUTH fits no exchange that this connection began [MQTT-4.12.0-5].")
    Disconnection.fail(core, connection, error, now)
    return
  }
  if (again) authentication.step = 0
  authentication.underway = false
  ask(core, connection, authentication, packet.properties?.authenticationData)
}

/** A connected client that cannot authenticate again is disconnected [MQTT-4.12.1-2]. */
const end = (core: CoreState, connection: ServerConnection, answer: Answer, now: number): void => {
  const { reasonCode, reasonString } = answer
  const code = ReasonCode.isAllowed("Disconnect", "server", reasonCode) ? reasonCode : ReasonCode.NotAuthorized
  Disconnection.end(core, connection, code, reasonString ?? ReasonCode.describe(code), now)
}

const ask = (
  core: CoreState,
  connection: ServerConnection,
  authentication: Authentication,
  data: Uint8Array | undefined
): void => {
  const { method, step } = authentication
  const { clientId, userName, id: connectionId } = connection
  const again = connection.phase === "connected"
  const make = (questionId: number) =>
    ({ _tag: "Authenticate", questionId, connectionId, clientId, userName, method, data, step, again }) as const
  const answered = (answer: Answer, later: number): void => {
    authentication.step++
    if (answer.reasonCode === ReasonCode.ContinueAuthentication) {
      authentication.underway = true
      send(core, connection, ReasonCode.ContinueAuthentication, method, answer.authenticationData)
      // The connect timeout stood still for the hook; now it is the client that is waited for.
      Supervision.watch(core, connection, later)
      return
    }
    // Let go: it holds the CONNECT with its password, and this connection may live for years.
    const { outcome } = authentication
    authentication.outcome = undefined
    if (ReasonCode.isFailure(answer.reasonCode)) {
      if (outcome === undefined) end(core, connection, answer, later)
      else outcome.refused(answer, later)
    } else if (outcome === undefined) send(core, connection, ReasonCode.Success, method, answer.authenticationData)
    else outcome.succeeded(answer.authenticationData, later)
  }
  Asking.ask(core, connection, make, answered)
}

const send = (
  core: CoreState,
  connection: ServerConnection,
  reasonCode: Auth["reasonCode"],
  authenticationMethod: string,
  authenticationData: Uint8Array | undefined
): void => {
  Output.send(core, connection, { _tag: "Auth", reasonCode, properties: { authenticationMethod, authenticationData } })
}
