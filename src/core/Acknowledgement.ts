/**
 * What clients answer to the messages sent to them: PUBACK, PUBREC and PUBCOMP.
 *
 * Owns the outgoing exchanges after the PUBLISH. An answer that fits no exchange is ignored or answered with
 * "packet identifier not found", never fatal.
 */
import type { PubAck, PubComp, PubRec } from "../protocol/Packet.ts"
import * as ReasonCode from "../protocol/ReasonCode.ts"
import * as AckType from "./AckType.ts"
import type { CoreState } from "./CoreState.ts"
import * as Dropping from "./Dropping.ts"
import * as MessageEvents from "./MessageEvents.ts"
import { outgoingAfter } from "./MessageState.ts"
import type { Outgoing } from "./Outgoing.ts"
import * as Output from "./Output.ts"
import * as Redelivery from "./Redelivery.ts"
import type { ServerConnection } from "./ServerConnection.ts"
import type { Session } from "./Session.ts"
import * as SessionJournal from "./SessionJournal.ts"

export const pubAck = (
  core: CoreState,
  connection: ServerConnection,
  session: Session,
  packet: PubAck,
  now: number
): void => {
  const outgoing = session.inflight.get(packet.packetId)
  if (outgoing === undefined || outgoingAfter.pubAck[outgoing.state] === undefined) return
  finish(core, connection, session, outgoing, ReasonCode.isFailure(packet.reasonCode), now)
}

export const pubRec = (
  core: CoreState,
  connection: ServerConnection,
  session: Session,
  packet: PubRec,
  now: number
): void => {
  const outgoing = session.inflight.get(packet.packetId)
  if (ReasonCode.isFailure(packet.reasonCode)) {
    // The exchange is over on both sides: there is no PUBREL, known or not [MQTT-4.3.3-4].
    if (outgoing !== undefined && outgoingAfter.pubRecFailure[outgoing.state] !== undefined) {
      finish(core, connection, session, outgoing, true, now)
    }
    return
  }
  const next = outgoing === undefined ? undefined : outgoingAfter.pubRec[outgoing.state]
  if (outgoing === undefined || next === undefined) {
    // [MQTT-4.3.3-7] does not say what to do; the client must be able to finish its half.
    Output.acknowledge(core, connection, AckType.PUBREL, packet.packetId, ReasonCode.PacketIdentifierNotFound)
    return
  }
  const repeated = outgoing.state === next
  outgoing.state = next
  if (core.events.messages) MessageEvents.outgoingStatus(core, connection, outgoing, next, session.hasResent(outgoing))
  // PUBREL only when state 4 is durable; a repeated PUBREC in state 4 waits behind the first in the same lane.
  const sequence = repeated || !core.journal.enabled ? 0 : SessionJournal.setOutgoing(core, session, outgoing)
  if (sequence === 0 && !connection.gated && !core.events.messages) {
    outgoing.state = outgoingAfter.pubRel[next]!
    Output.acknowledge(core, connection, AckType.PUBREL, packet.packetId)
    return
  }
  const released = pubRelReleased(core, connection, session, outgoing)
  Output.acknowledgeWhenDurable(core, connection, sequence, AckType.PUBREL, packet.packetId, 0, released)
}

const pubRelReleased =
  (core: CoreState, connection: ServerConnection, session: Session, outgoing: Outgoing) => (): void => {
    outgoing.state = outgoingAfter.pubRel[outgoing.state] ?? outgoing.state
    if (!core.events.messages) return
    MessageEvents.outgoingStatus(core, connection, outgoing, outgoing.state, session.hasResent(outgoing))
  }

export const pubComp = (
  core: CoreState,
  connection: ServerConnection,
  session: Session,
  packet: PubComp,
  now: number
): void => {
  const outgoing = session.inflight.get(packet.packetId)
  if (outgoing === undefined || outgoingAfter.pubComp[outgoing.state] === undefined) return
  finish(core, connection, session, outgoing, false, now)
}

/** The exchange is over: its packet id and its place in the window are free. `refused`: the client did not take it. */
const finish = (
  core: CoreState,
  connection: ServerConnection,
  session: Session,
  outgoing: Outgoing,
  refused: boolean,
  now: number
): void => {
  outgoing.state = 10
  session.inflight.delete(outgoing.packetId)
  if (connection.unsent !== undefined) connection.unsent.delete(outgoing)
  if (core.journal.enabled) SessionJournal.removeOutgoing(core, session, outgoing)
  if (refused) Dropping.drop(core, session.clientId, outgoing.message.topic, outgoing.qos, "refused")
  else if (core.events.messages) tellSent(core, connection, session, outgoing)
  if (session.queue.length > 0 || connection.unsent !== undefined) Redelivery.pump(core, session, now)
}

const tellSent = (core: CoreState, connection: ServerConnection, session: Session, outgoing: Outgoing): void => {
  MessageEvents.outgoingStatus(core, connection, outgoing, 10, session.hasResent(outgoing))
  MessageEvents.sent(core, connection, outgoing)
}
