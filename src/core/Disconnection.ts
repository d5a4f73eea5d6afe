/**
 * How connections end: by the client's wish, by its fault, by the broker's, or because the transport is gone.
 *
 * Owns the order of it: tell the client, let the session go, ask the shell for the close. Never throws, never leaves
 * a session attached to a dead connection.
 */
import type { Disconnect } from "../protocol/Packet.ts"
import { ProtocolError } from "../protocol/ProtocolError.ts"
import * as ReasonCode from "../protocol/ReasonCode.ts"
import * as Asking from "./Asking.ts"
import type { CoreState } from "./CoreState.ts"
import * as Holding from "./Holding.ts"
import * as Output from "./Output.ts"
import type { ServerConnection } from "./ServerConnection.ts"
import * as Sessions from "./Sessions.ts"
import * as SlowConsumer from "./SlowConsumer.ts"

/** The broker ends a connection: a connected 5.0 client is told why [MQTT-4.13.1-1]. */
export const end = (
  core: CoreState,
  connection: ServerConnection,
  reasonCode: number,
  description: string,
  now: number,
  statusCode = 0
): void => {
  if (connection.hasEnded) return
  // No DISCONNECT before CONNACK [MQTT-3.14.0-1].
  if (connection.phase === "connected" && connection.version === 5) {
    const reasonString = connection.problemInformation && description !== "" ? description : undefined
    const properties = reasonString === undefined ? undefined : { reasonString }
    // The cast: callers pass a code that a server may send.
    Output.send(core, connection, { _tag: "Disconnect", reasonCode, properties } as Disconnect)
  }
  close(core, connection, true, now, { statusCode, description })
}

/** The client broke a rule: the reason code for that, then the close [MQTT-4.13.1-1]. */
export const fail = (core: CoreState, connection: ServerConnection, error: ProtocolError, now: number): void => {
  if (connection.hasEnded) return
  core.stats.protocolErrors++
  if (core.events.wants.ProtocolFailure) {
    core.events.push({
      _tag: "ProtocolFailure",
      connectionId: connection.id,
      clientId: connection.clientId,
      errorCode: error.code,
      reasonCode: error.reasonCode,
      description: error.message
    })
  }
  if (connection.phase === "awaiting-connect" || connection.phase === "connecting") refuse(core, connection, error)
  const { code: statusCode, message: description, reasonCode } = error
  if (connection.phase === "connected") end(core, connection, reasonCode, description, now, statusCode)
  else close(core, connection, true, now, { statusCode, description })
}

/**
 * A fault inside CONNECT, or in the authentication that it began: 5.0 is told in CONNACK; older versions only have
 * words for a wrong version.
 */
const refuse = (core: CoreState, connection: ServerConnection, error: ProtocolError): void => {
  const { version } = connection.decoder
  if (version === 5) connection.version = 5
  else if (error.reasonCode !== ReasonCode.UnsupportedProtocolVersion) return
  // A packet that had no place before CONNACK may be at fault in ways that CONNACK has no code for.
  const reasonCode = ReasonCode.isAllowed("ConnAck", "server", error.reasonCode)
    ? error.reasonCode
    : ReasonCode.ProtocolError
  Output.send(core, connection, { _tag: "ConnAck", sessionPresent: false, reasonCode, properties: undefined })
}

/** The client's DISCONNECT [MQTT-3.14.4]. */
export const byClient = (core: CoreState, connection: ServerConnection, packet: Disconnect, now: number): void => {
  const { session } = connection
  const expiry = packet.properties?.sessionExpiryInterval
  if (session !== undefined && expiry !== undefined) {
    if (connection.requestedExpirySeconds === 0 && expiry !== 0) {
      const error = new ProtocolError(
        0x82,
        "A session that ends with its connection cannot be prolonged in DISCONNECT [MQTT-3.14.2-2]."
      )
      fail(core, connection, error, now)
      return
    }
    Sessions.setExpiry(core, session, expiry)
  }
  // Only a normal disconnection takes the will back [MQTT-3.1.2-10]; 0x04 asks for it, 0x80 and above are failures.
  close(core, connection, packet.reasonCode !== ReasonCode.NormalDisconnection, now, {
    statusCode: 0,
    description: "OK"
  })
}

/** Detaches the session and asks the shell to close after what is written is flushed. */
export const close = (
  core: CoreState,
  connection: ServerConnection,
  withWill: boolean,
  now: number,
  reason: { readonly statusCode: number; readonly description: string }
): void => {
  if (connection.hasEnded) return
  connection.phase = "ending"
  core.closes.push({ connection, drain: true })
  detach(core, connection, withWill, now)
  tellDisconnected(core, connection, reason)
}

/** A reader that accepts nothing would not take a DISCONNECT either: the transport is closed at once. */
export const abandon = (core: CoreState, connection: ServerConnection, description: string, now: number): void => {
  if (connection.hasEnded) return
  connection.phase = "ending"
  core.closes.push({ connection, drain: false })
  detach(core, connection, true, now)
  tellDisconnected(core, connection, { statusCode: 0, description })
}

/** Something went wrong that should not be possible: in whatever state it is, its transport is closed at once. */
export const cutOff = (core: CoreState, connection: ServerConnection, description: string, now: number): void => {
  const { phase } = connection
  if (phase === "closed") return
  connection.phase = "ending"
  core.closes.push({ connection, drain: false })
  try {
    detach(core, connection, true, now)
  } finally {
    if (phase !== "ending") tellDisconnected(core, connection, { statusCode: 0, description })
  }
}

/** The transport is gone: by us, by the client, by the network. */
export const gone = (
  core: CoreState,
  connection: ServerConnection,
  reason: { readonly statusCode: number; readonly description: string },
  now: number
): void => {
  const { phase } = connection
  if (phase === "closed") return
  try {
    detach(core, connection, true, now)
  } finally {
    // Whatever is wrong with its session: this is the last that is heard of it.
    connection.phase = "closed"
    connection.unhanded = undefined
    core.connections.delete(connection.id)
    core.bufferedBytes -= connection.bufferedBytes
    connection.bufferedBytes = 0
    if (phase !== "ending") tellDisconnected(core, connection, reason)
  }
}

/** As soon as it has ended here, before another takes its session over: its transport may take seconds to close. */
const tellDisconnected = (
  core: CoreState,
  { clientId, id: connectionId }: ServerConnection,
  { description, statusCode }: { readonly statusCode: number; readonly description: string }
): void => {
  if (!core.events.wants.Disconnected) return
  core.events.push({ _tag: "Disconnected", connectionId, clientId, statusCode, description })
}

const detach = (core: CoreState, connection: ServerConnection, withWill: boolean, now: number): void => {
  core.deadlines.cancel(connection)
  core.deferred.delete(connection)
  Asking.forget(core, connection)
  Holding.forget(core, connection)
  core.journal.gated -= connection.dropGate()
  core.gated.delete(connection)
  SlowConsumer.release(core, connection, now)
  const { session } = connection
  connection.session = undefined
  if (session === undefined || session.owner !== connection) return
  Sessions.leave(core, session, withWill, now)
  core.resumeRetained(session)
}
