/**
 * One message to one client that is connected: its PUBLISH goes into the outbox, or waits at the gate for the store.
 *
 * Owns the outgoing half of the QoS flows up to the PUBLISH; what clients answer is in `Acknowledgement.ts`.
 */
import type { CoreState } from "./CoreState.ts"
import * as Dropping from "./Dropping.ts"
import type { Message } from "./Message.ts"
import * as MessageEvents from "./MessageEvents.ts"
import { outgoingAfter } from "./MessageState.ts"
import type { Outgoing } from "./Outgoing.ts"
import * as Output from "./Output.ts"
import * as Sending from "./Sending.ts"
import type { ServerConnection } from "./ServerConnection.ts"
import type { Session } from "./Session.ts"
import * as SessionJournal from "./SessionJournal.ts"
import * as SlowConsumer from "./SlowConsumer.ts"

export const sendQos0 = (
  core: CoreState,
  connection: ServerConnection,
  message: Message,
  retain: boolean,
  identifiers: ReadonlyArray<number> | undefined,
  now: number
): void => {
  if (!SlowConsumer.admits(core, connection, now)) {
    Dropping.drop(core, connection.clientId, message.topic, 0, "outbox-full")
    return
  }
  const { version, outbox } = connection
  // [MQTT-3.1.2-24], [MQTT-3.1.2-25]: too large for this client is dropped for it, and no reason to close.
  if (
    connection.sendBytesMax !== Number.POSITIVE_INFINITY &&
    message.wireBytes(version, 0, identifiers, now) > connection.sendBytesMax
  ) {
    Dropping.drop(core, connection.clientId, message.topic, 0, "too-large")
    return
  }
  if (connection.outgoingAliases === undefined) message.write(outbox, version, 0, retain, false, 0, identifiers, now)
  else message.writeAliased(outbox, connection.outgoingAliases, 0, retain, false, 0, identifiers, now)
  if (!outbox.dirty) core.touch(connection)
  core.stats.messagesSent++
  if (core.events.messages) {
    const messageId = core.nextMessageId()
    MessageEvents.outgoingStatus(core, connection, { messageId, qos: 0, retain, packetId: 0 }, 1, false)
    Sending.writtenQos0(core, connection, messageId, retain)
  }
}

export const mayTransmit = (core: CoreState, session: Session, connection: ServerConnection, now: number): boolean =>
  connection.unsent === undefined &&
  session.inflight.size < connection.sendMaximum &&
  (!core.journal.enabled || hasRoomBehindGate(core, connection)) &&
  SlowConsumer.admits(core, connection, now)

/** What waits at the gate for the store will be in the outbox. */
const hasRoomBehindGate = ({ config }: CoreState, { gatedBytes, waitingBytes }: ServerConnection): boolean =>
  gatedBytes === 0 || gatedBytes + waitingBytes <= config.outboxBytesMax

/** Gives a message its packet id and sends it; `isNew` when the store does not know it yet. */
export const transmit = (
  core: CoreState,
  session: Session,
  connection: ServerConnection,
  next: Outgoing,
  isNew: boolean,
  now: number
): void => {
  const { message, qos } = next
  if (qos === 0) {
    sendQos0(core, connection, message, next.retain, next.subscriptionIdentifiers, now)
    if (!isNew) SessionJournal.removeOutgoing(core, session, next)
    return
  }
  if (isTooLarge(connection, next, now)) {
    Dropping.drop(core, session.clientId, message.topic, qos, "too-large")
    if (!isNew) SessionJournal.removeOutgoing(core, session, next)
    return
  }
  if (!session.inflight.allocate(next)) return
  if (isNew && core.events.messages) MessageEvents.waiting(core, session, next)
  next.state = (qos === 1 ? outgoingAfter.sendQos1 : outgoingAfter.sendQos2)[next.state]!
  if (core.journal.enabled && waitsForStore(core, session, connection, next, isNew)) return
  writePublish(core, connection, next, false, now)
}

/** Journals the packet id. A PUBLISH of QoS 2 is sent only when that is durable; QoS 1 does not wait. */
const waitsForStore = (
  core: CoreState,
  session: Session,
  connection: ServerConnection,
  next: Outgoing,
  isNew: boolean
): boolean => {
  const sequence = isNew
    ? SessionJournal.putOutgoing(core, session, next)
    : SessionJournal.setOutgoing(core, session, next)
  if (next.qos === 1 || !connection.gate.holdsDelivery(sequence, core.journal.durable)) return false
  connection.gate.pushDelivery(sequence, next)
  Output.waitForStore(core, connection)
  return true
}

/** Puts the PUBLISH of an exchange that has its packet id into the outbox. */
export const writePublish = (
  core: CoreState,
  connection: ServerConnection,
  next: Outgoing,
  dup: boolean,
  now: number
): void => {
  const { message, qos, retain, packetId, subscriptionIdentifiers } = next
  const { outbox, outgoingAliases, version } = connection
  if (outgoingAliases === undefined) {
    message.write(outbox, version, qos, retain, dup, packetId, subscriptionIdentifiers, now)
  } else message.writeAliased(outbox, outgoingAliases, qos, retain, dup, packetId, subscriptionIdentifiers, now)
  core.touch(connection)
  core.stats.messagesSent++
  if (core.events.messages) Sending.writtenExchange(core, connection, next, dup)
}

export const isTooLarge = (connection: ServerConnection, next: Outgoing, now: number): boolean =>
  connection.sendBytesMax !== Number.POSITIVE_INFINITY &&
  next.message.wireBytes(connection.version, next.qos, next.subscriptionIdentifiers, now) > connection.sendBytesMax
