/**
 * Messages from clients: topic alias, quota, permission, retained, routing, and the answer that promises they are kept.
 *
 * Owns the incoming half of the QoS flows. A QoS 2 message is kept from PUBLISH and routed once, at PUBREL.
 *
 * What happens when an acknowledgement is released is made in functions of their own: one that has a closure over its
 * parameters allocates a context with every call, also when the closure is not made.
 */
import type { DecodedPublish } from "../protocol/Decoder.ts"
import type { PubRel } from "../protocol/Packet.ts"
import { ProtocolError } from "../protocol/ProtocolError.ts"
import * as ReasonCode from "../protocol/ReasonCode.ts"
import * as Topic from "../protocol/Topic.ts"
import * as AckType from "./AckType.ts"
import type { CoreState } from "./CoreState.ts"
import * as Disconnection from "./Disconnection.ts"
import * as Holding from "./Holding.ts"
import { IncomingMessage } from "./IncomingMessage.ts"
import type { Message } from "./Message.ts"
import * as MessageEvents from "./MessageEvents.ts"
import { incomingAfter } from "./MessageState.ts"
import * as Output from "./Output.ts"
import * as PublishPermission from "./PublishPermission.ts"
import type { Answer } from "./Question.ts"
import type { Route } from "./Router.ts"
import * as Routing from "./Routing.ts"
import type { ServerConnection } from "./ServerConnection.ts"
import type { Session } from "./Session.ts"
import * as SessionJournal from "./SessionJournal.ts"

export const publish = (
  core: CoreState,
  connection: ServerConnection,
  session: Session,
  packet: DecodedPublish,
  now: number
): void => {
  core.stats.messagesReceived++
  const topic = packet.properties?.topicAlias === undefined ? packet.topic : resolveAlias(connection, packet, core)
  if (topic === undefined) {
    Disconnection.fail(core, connection, aliasError(core, packet), now)
    return
  }
  if (packet.qos > 0) {
    if (packet.qos === 2 && repeatPubRec(core, connection, session, packet)) return
    // Before 5.0 a client is told no maximum: QoS 1 that waits for the store is bounded by `journalBytesMax` instead.
    const waiting = core.journal.enabled && connection.version === 5 ? connection.unacknowledged : 0
    if (session.incomingSize + waiting >= core.config.receiveMaximum) {
      Disconnection.fail(core, connection, moreThanReceiveMaximum(), now)
      return
    }
    if (core.journal.refusing) {
      refuseForStorage(core, connection, session, packet, topic, now)
      return
    }
  }
  if (Topic.isReserved(topic)) {
    refuse(core, connection, packet, topic, { reasonCode: ReasonCode.NotAuthorized }, now)
    return
  }
  if (core.installed.publish) {
    askPermission(core, connection, session, packet, topic)
    return
  }
  accept(core, connection, session, packet, topic, now)
}

const moreThanReceiveMaximum = (): ProtocolError =>
  new ProtocolError(0x93, "More QoS 1 and 2 messages are unacknowledged than Receive Maximum [MQTT-3.3.4-9].")

const accept = (
  core: CoreState,
  connection: ServerConnection,
  session: Session,
  packet: DecodedPublish,
  topic: string,
  now: number
): void => {
  const message = core.passing
  message.pass(packet, topic, connection.version, core.nextMessageId(), session, now)
  if (core.events.messages) MessageEvents.receiving(core, connection, subjectOf(message, packet.packetId), packet.dup)
  if (packet.qos === 0) {
    Routing.routeAlong(core, message, routeOf(core, connection, message.topic), now)
    if (core.events.messages) MessageEvents.received(core, connection, subjectOf(message, 0))
  } else if (packet.qos === 1) acceptQos1(core, connection, message, packet.packetId ?? 0, packet.dup, now)
  else acceptQos2(core, connection, session, message, packet.packetId ?? 0, packet.dup)
}

const acceptQos1 = (
  core: CoreState,
  connection: ServerConnection,
  message: Message,
  packetId: number,
  dup: boolean,
  now: number
): void => {
  if (core.events.messages) MessageEvents.incomingStatus(core, connection, subjectOf(message, packetId), 6, dup)
  const before = core.journal.sequence
  const reasonCode = Routing.routeAlong(core, message, routeOf(core, connection, message.topic), now)
  const sequence = core.journal.enabled ? promisedSequence(core, message, before) : 0
  const released = core.events.messages
    ? pubAckReleased(core, connection, subjectOf(message, packetId), dup)
    : undefined
  Output.acknowledgeWhenDurable(core, connection, sequence, AckType.PUBACK, packetId, reasonCode, released)
}

const pubAckReleased =
  (core: CoreState, connection: ServerConnection, subject: MessageEvents.Subject, dup: boolean) => (): void => {
    MessageEvents.incomingStatus(core, connection, subject, incomingAfter.pubAck[6]!, dup)
    MessageEvents.received(core, connection, subject)
  }

const acceptQos2 = (
  core: CoreState,
  connection: ServerConnection,
  session: Session,
  message: Message,
  packetId: number,
  dup: boolean
): void => {
  const kept = message.keep(core.slab)
  const sequence = core.journal.enabled ? SessionJournal.putIncoming(core, session, packetId, kept, 7) : 0
  const incoming = new IncomingMessage(packetId, kept, sequence, dup)
  session.incoming.set(packetId, incoming)
  if (core.events.messages) MessageEvents.incomingStatus(core, connection, subjectOf(kept, packetId), 7, dup)
  sendPubRec(core, connection, incoming)
}

/** A duplicate before PUBREL is answered with PUBREC every time [MQTT-4.3.3-10]; the first copy is the message. */
const repeatPubRec = (
  core: CoreState,
  connection: ServerConnection,
  session: Session,
  packet: DecodedPublish
): boolean => {
  const incoming = session.incomingSize === 0 ? undefined : session.incoming.get(packet.packetId ?? 0)
  if (incoming === undefined) return false
  incoming.state = incomingAfter.publish[incoming.state] ?? incoming.state
  incoming.dup ||= packet.dup
  sendPubRec(core, connection, incoming)
  return true
}

const sendPubRec = (core: CoreState, connection: ServerConnection, incoming: IncomingMessage): void => {
  if (!core.events.messages && incoming.sequence <= core.journal.durable && !connection.gated) {
    incoming.state = incomingAfter.pubRec[incoming.state] ?? incoming.state
    Output.acknowledge(core, connection, AckType.PUBREC, incoming.packetId)
    return
  }
  const { packetId, sequence } = incoming
  const released = pubRecReleased(core, connection, incoming)
  Output.acknowledgeWhenDurable(core, connection, sequence, AckType.PUBREC, packetId, 0, released)
}

const pubRecReleased = (core: CoreState, connection: ServerConnection, incoming: IncomingMessage) => (): void => {
  const { dup, message, packetId, state } = incoming
  incoming.state = incomingAfter.pubRec[state] ?? state
  // A duplicate that is answered again changes nothing.
  if (core.events.messages && incoming.state !== state) {
    MessageEvents.incomingStatus(core, connection, subjectOf(message, packetId), incoming.state, dup)
  }
}

/** The client gives the message over: release and routing are one atomic batch of the journal. */
export const pubRel = (
  core: CoreState,
  connection: ServerConnection,
  session: Session,
  packet: PubRel,
  now: number
): void => {
  const { packetId } = packet
  const incoming = session.incomingSize === 0 ? undefined : session.incoming.get(packetId)
  if (incoming === undefined || incoming.state === 9) repeatPubComp(core, connection, packetId, incoming !== undefined)
  else if (core.installed.publish) askRelease(core, connection, session, incoming)
  else release(core, connection, session, incoming, true, now)
}

/** The message was given over before: the client must be able to finish its half [MQTT-4.3.3-11]. */
const repeatPubComp = (core: CoreState, connection: ServerConnection, packetId: number, isWaiting: boolean): void => {
  if (isWaiting) Output.acknowledgeWhenDurable(core, connection, core.journal.sequence, AckType.PUBCOMP, packetId, 0)
  else Output.acknowledge(core, connection, AckType.PUBCOMP, packetId, ReasonCode.PacketIdentifierNotFound)
}

const askRelease = (
  core: CoreState,
  connection: ServerConnection,
  session: Session,
  incoming: IncomingMessage
): void => {
  const { message } = incoming
  const answered = (answer: Answer, later: number): void => {
    const permitted = !ReasonCode.isFailure(answer.reasonCode)
    if (!permitted) {
      PublishPermission.refused(core, "release", connection.id, connection, message, answer.reasonCode)
    }
    // A PUBCOMP cannot say that it is refused, in no version.
    release(core, connection, session, incoming, permitted, later)
    if (!permitted) closes(core, connection, answer, later)
  }
  PublishPermission.ask(core, connection, "release", message, message.topic, answered)
}

/** Ends an incoming exchange at QoS 2; a message that is not permitted any more goes nowhere. */
const release = (
  core: CoreState,
  connection: ServerConnection,
  session: Session,
  incoming: IncomingMessage,
  permitted: boolean,
  now: number
): void => {
  const { packetId } = incoming
  incoming.state = incomingAfter.pubRel[incoming.state] ?? incoming.state
  if (core.events.messages) {
    MessageEvents.incomingStatus(core, connection, subjectOf(incoming.message, packetId), incoming.state, incoming.dup)
  }
  const before = core.journal.sequence
  if (permitted) Routing.routeAlong(core, incoming.message, core.router.route(incoming.message.topic), now)
  const sequence = core.journal.enabled ? journalRelease(core, session, incoming, before) : 0
  if (sequence === 0 && !core.events.messages) {
    session.incoming.delete(packetId)
    Output.acknowledge(core, connection, AckType.PUBCOMP, packetId)
    return
  }
  const released = pubCompReleased(core, connection, session, incoming, permitted)
  Output.acknowledgeWhenDurable(core, connection, sequence, AckType.PUBCOMP, packetId, 0, released)
}

const journalRelease = (core: CoreState, session: Session, incoming: IncomingMessage, before: number): number => {
  SessionJournal.removeIncoming(core, session, incoming)
  return promisedSequence(core, incoming.message, before)
}

/** It stays, in state 9, until PUBCOMP may be shown: a repeated PUBREL must not be told "not found" before that. */
const pubCompReleased =
  (core: CoreState, connection: ServerConnection, session: Session, incoming: IncomingMessage, permitted: boolean) =>
  (): void => {
    const { dup, message, packetId } = incoming
    session.incoming.delete(packetId)
    if (!core.events.messages) return
    const subject = subjectOf(message, packetId)
    MessageEvents.incomingStatus(core, connection, subject, incomingAfter.pubComp[9]!, dup)
    if (permitted) MessageEvents.received(core, connection, subject)
  }

/**
 * What must be durable before a message is acknowledged; 0: nothing. `before` is where the journal was when it came. To
 * clear a retained message that is not there adds nothing, and the clearing that took it may still be on its way.
 */
const promisedSequence = (core: CoreState, message: Message, before: number): number =>
  core.journal.sequence === before && !message.retain ? 0 : core.journal.sequence

/** Most publishers repeat their topic: the decoder returns the identical string, so this compare is of pointers. */
const routeOf = (core: CoreState, connection: ServerConnection, topic: string): Route => {
  const last = connection.lastRoute
  if (last !== undefined && connection.lastTopic === topic && last.current) return last
  const route = core.router.route(topic)
  connection.lastTopic = topic
  connection.lastRoute = route
  return route
}

const askPermission = (
  core: CoreState,
  connection: ServerConnection,
  session: Session,
  packet: DecodedPublish,
  topic: string
): void => {
  const answered = (answer: Answer, later: number): void => {
    if (!ReasonCode.isFailure(answer.reasonCode)) accept(core, connection, session, packet, topic, later)
    else refuse(core, connection, packet, topic, answer, later)
  }
  PublishPermission.ask(core, connection, "publish", packet, topic, answered)
}

/** A refused message goes nowhere. It is acknowledged, with the reason in 5.0, unless that closes the connection. */
const refuse = (
  core: CoreState,
  connection: ServerConnection,
  packet: DecodedPublish,
  topic: string,
  answer: Answer,
  now: number
): void => {
  const { qos, packetId, retain } = packet
  PublishPermission.refused(core, "publish", connection.id, connection, { topic, qos, retain }, answer.reasonCode)
  if (closes(core, connection, answer, now) || qos === 0 || packetId === undefined) return
  const _tag = qos === 1 ? "PubAck" : "PubRec"
  const { reasonCode: code, reasonString } = answer
  // A hook may refuse with any code; one that the packet does not have becomes "unspecified".
  const reasonCode = ReasonCode.isAllowed(_tag, "server", code) ? code : ReasonCode.UnspecifiedError
  const properties = connection.problemInformation && reasonString !== undefined ? { reasonString } : undefined
  Output.sendWhenDurable(core, connection, 0, { _tag, packetId, reasonCode, properties }, undefined, now)
}

/**
 * Whether a refusal has ended the connection: before 5.0 an acknowledgement cannot say it, so that a setting decides
 * between one that says nothing and a close.
 */
const closes = (core: CoreState, connection: ServerConnection, answer: Answer, now: number): boolean => {
  if (connection.version === 5 || core.config.refusedPublish === "acknowledge") return false
  const description = answer.reasonString ?? "The client may not publish this message."
  Disconnection.end(core, connection, ReasonCode.NotAuthorized, description, now)
  return true
}

/** While the store is full a 5.0 client is told so; an older one cannot be, and waits unread until there is room. */
const refuseForStorage = (
  core: CoreState,
  connection: ServerConnection,
  session: Session,
  packet: DecodedPublish,
  topic: string,
  now: number
): void => {
  if (connection.version === 5) {
    refuse(core, connection, packet, topic, { reasonCode: ReasonCode.QuotaExceeded }, now)
    return
  }
  Holding.holdForStorage(core, connection, (later) => publish(core, connection, session, packet, later), now)
}

/** [MQTT-3.3.2-8], [MQTT-3.3.2-9] */
const isAlias = (core: CoreState, alias: number): boolean => alias > 0 && alias <= core.config.topicAliasMaximum

const resolveAlias = (connection: ServerConnection, packet: DecodedPublish, core: CoreState): string | undefined => {
  const alias = packet.properties?.topicAlias ?? 0
  if (!isAlias(core, alias)) return undefined
  connection.aliases ??= []
  if (packet.topic !== "") connection.aliases[alias] = packet.topic
  return connection.aliases[alias]
}

const aliasError = (core: CoreState, packet: DecodedPublish): ProtocolError =>
  isAlias(core, packet.properties?.topicAlias ?? 0)
    ? new ProtocolError(0x82, "The topic alias was not set on this connection before it was used.")
    : new ProtocolError(0x94, "The topic alias is 0 or above the maximum this broker announced [MQTT-3.3.2-8].")

const subjectOf = (message: Message, packetId: number | undefined): MessageEvents.Subject => ({
  messageId: message.messageId,
  qos: message.qos,
  retain: message.retain,
  packetId: packetId ?? 0
})
