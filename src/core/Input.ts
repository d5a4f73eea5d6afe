/**
 * What clients send, packet by packet: each to the module that handles it, in order, until the connection must wait.
 *
 * What is beyond the budget of a turn goes on in the next, one connection after the other.
 */
import type { DecodedPublish } from "../protocol/Decoder.ts"
import type { Packet } from "../protocol/Packet.ts"
import { ProtocolError } from "../protocol/ProtocolError.ts"
import * as Acknowledgement from "./Acknowledgement.ts"
import * as Authenticating from "./Authenticating.ts"
import * as Connecting from "./Connecting.ts"
import type { CoreState } from "./CoreState.ts"
import * as Defect from "./Defect.ts"
import * as Disconnection from "./Disconnection.ts"
import * as Frames from "./Frames.ts"
import * as Output from "./Output.ts"
import * as Publishing from "./Publishing.ts"
import { PAUSED_BY_WORK, type ServerConnection } from "./ServerConnection.ts"
import type { Session } from "./Session.ts"
import * as SlowConsumer from "./SlowConsumer.ts"
import * as Subscriptions from "./Subscriptions.ts"
import * as Workload from "./Workload.ts"

/** Handles every packet that is complete, in order, until the connection must wait or ends. */
export const proceed = (core: CoreState, connection: ServerConnection, now: number): void => {
  if (connection.hasEnded) return
  const before = core.journal.sequence
  core.current = connection
  try {
    handleAll(core, connection, now)
  } catch (defect) {
    // The core does not throw on any input. Should it ever, the bug must not become a way to end the process.
    Defect.caught(core, connection, defect, now)
  }
  core.current = undefined
  if (core.journal.sequence !== before) Output.waitForRoom(core, connection)
  SlowConsumer.boundAnswers(core, connection)
}

const handleAll = (core: CoreState, connection: ServerConnection, now: number): void => {
  const { decoder } = connection
  const framed = core.events.frames !== "none"
  while (!connection.holding && connection.waitsFor === 0) {
    if (Workload.isDone(core)) {
      // Whoever has nothing more to say would take a part of the next turn from who has.
      if (decoder.hasUnread) defer(core, connection)
      break
    }
    core.work++
    const packet = decoder.next()
    if (packet === undefined) {
      if (decoder.error !== undefined) Disconnection.fail(core, connection, decoder.error, now)
      break
    }
    if (framed) Frames.tell(core.events, connection, "received", packet)
    handle(core, connection, packet, now)
  }
}

const defer = (core: CoreState, connection: ServerConnection): void => {
  if (connection.hasEnded) return
  core.deferred.add(connection)
  core.pause(connection, PAUSED_BY_WORK)
}

/** A new turn: what the one before left to do goes on, each with its part of what may be done. */
export const proceedDeferred = (core: CoreState, now: number): void => {
  // Those who have more than their part to do come again behind the others, in the next turn.
  for (let left = core.deferred.size; left > 0 && !Workload.isDone(core); left--) {
    const [connection] = core.deferred
    if (connection === undefined) return
    core.deferred.delete(connection)
    core.unpause(connection, PAUSED_BY_WORK, now)
    Workload.share(core, left)
    proceed(core, connection, now)
    Workload.unshare(core)
  }
}

const handle = (core: CoreState, connection: ServerConnection, packet: Packet | DecodedPublish, now: number): void => {
  const { session } = connection
  if (session === undefined || connection.phase !== "connected") {
    handleUnconnected(core, connection, packet, now)
    return
  }
  switch (packet._tag) {
    case "Publish":
      // The decoder gives every PUBLISH as a DecodedPublish.
      Publishing.publish(core, connection, session, packet as DecodedPublish, now)
      return
    case "PubAck":
      Acknowledgement.pubAck(core, connection, session, packet, now)
      return
    case "PubRec":
      Acknowledgement.pubRec(core, connection, session, packet, now)
      return
    case "PubRel":
      Publishing.pubRel(core, connection, session, packet, now)
      return
    case "PubComp":
      Acknowledgement.pubComp(core, connection, session, packet, now)
      return
    default:
      handleOther(core, connection, session, packet, now)
  }
}

/** What is not of the flow of messages: apart, so that the compiler has room to inline those. */
const handleOther = (
  core: CoreState,
  connection: ServerConnection,
  session: Session,
  packet: Packet,
  now: number
): void => {
  switch (packet._tag) {
    case "PingReq":
      Output.send(core, connection, { _tag: "PingResp" })
      return
    case "Subscribe":
      Subscriptions.subscribe(core, connection, session, packet, now)
      return
    case "Unsubscribe":
      Subscriptions.unsubscribe(core, connection, session, packet, now)
      return
    case "Disconnect":
      Disconnection.byClient(core, connection, packet, now)
      return
    default:
      handleUnexpected(core, connection, packet, now)
  }
}

const handleUnconnected = (
  core: CoreState,
  connection: ServerConnection,
  packet: Packet | DecodedPublish,
  now: number
): void => {
  if (connection.hasEnded) return
  // During an authentication a client may also give up [MQTT-3.1.2-30].
  if (packet._tag === "Disconnect" && connection.phase === "connecting") {
    Disconnection.byClient(core, connection, packet, now)
  } else handleUnexpected(core, connection, packet, now)
}

/** CONNECT, first or not, a step of authentication, or a packet that only a server sends. */
const handleUnexpected = (
  core: CoreState,
  connection: ServerConnection,
  packet: Packet | DecodedPublish,
  now: number
): void => {
  if (packet._tag === "Connect") {
    Connecting.connect(core, connection, packet, now)
    return
  }
  if (packet._tag === "Auth") {
    Authenticating.auth(core, connection, packet, now)
    return
  }
  const error = new ProtocolError(0x82, `The broker does not expect ${packet._tag} here [MQTT-3.1.0-1].`)
  Disconnection.fail(core, connection, error, now)
}
