/**
 * From a route to sessions: sent now, queued, or dropped and counted.
 *
 * Owns the outgoing half of the QoS flows up to the PUBLISH; acknowledgements are `Acknowledgement.ts`.
 */
import type { QoS } from "../protocol/Packet.ts"
import * as AckType from "./AckType.ts"
import type { MessageDropped } from "./CoreEvent.ts"
import type { CoreState } from "./CoreState.ts"
import type { Message } from "./Message.ts"
import * as MessageEvents from "./MessageEvents.ts"
import { outgoingAfter } from "./MessageState.ts"
import { Outgoing } from "./Outgoing.ts"
import * as Output from "./Output.ts"
import * as Paging from "./Paging.ts"
import type { PageRequest } from "./PageRequest.ts"
import { merge, type Receiver, type Route } from "./Router.ts"
import * as Sending from "./Sending.ts"
import type { ServerConnection } from "./ServerConnection.ts"
import type { Session } from "./Session.ts"
import * as SessionJournal from "./SessionJournal.ts"
import type { Member, SharedGroup } from "./SharedGroup.ts"
import * as SlowConsumer from "./SlowConsumer.ts"
import type { PutOutgoing } from "./StoreOperation.ts"
import * as Workload from "./Workload.ts"

/** From this payload on a message to several receivers is kept, so that their outboxes can share it. */
const SHARED_BYTES = 8 * 1024

/** Delivers to every receiver of a route; returns how many there were. */
export const deliverAll = (core: CoreState, passing: Message, route: Route, now: number): number => {
  const { receivers, groups } = route
  const count = receivers.length + groups.length
  if (count === 0) return 0
  core.work += count
  const message = count > 1 && passing.bytes >= SHARED_BYTES ? passing.keep(core.slab) : passing
  for (let index = 0; index < receivers.length; index++) {
    const receiver = receivers[index]!
    if (receiver.noLocal && receiver.session === message.publisher) deliverOwn(core, receiver, message, now)
    else deliverTo(core, receiver, message, now)
  }
  for (const group of groups) deliverShared(core, group, message, now)
  return count
}

/** One member gets it [MQTT-4.8.2-3]; a message of QoS 1 or 2 that nobody can have is dropped and counted. */
const deliverShared = (core: CoreState, group: SharedGroup, message: Message, now: number): void => {
  const member = group.pick((session) => isReady(core, session, message.qos)) ?? fallback(core, group, message.qos)
  if (member === undefined) {
    // At QoS 0 nobody who is away loses anything that was promised.
    if (message.qos > 0) drop(core, "", message.topic, message.qos, "offline")
    return
  }
  const { session, subscription } = member
  const qos = subscription.qos < message.qos ? subscription.qos : message.qos // the granted QoS is each member's own
  const retain = subscription.retainAsPublished && message.retain
  const identifiers = subscription.subscriptionIdentifier > 0 ? [subscription.subscriptionIdentifier] : undefined
  deliver(core, session, message, qos, retain, identifiers, now, subscription.filter)
}

/** Whether a member could be sent a message now, without a queue and without waiting for a slow reader. */
const isReady = (core: CoreState, session: Session, qos: QoS): boolean => {
  const { connection } = session
  if (connection === undefined || session.queue.length > 0) return false
  if (qos > 0 && session.inflight.size >= connection.sendMaximum) return false
  return SlowConsumer.hasRoom(core, connection)
}

/** The member that keeps a message while nobody is ready; at QoS 0 one that may at least be sent it. */
const fallback = (core: CoreState, group: SharedGroup, qos: QoS): Member | undefined => {
  const waits = qos > 0 || core.config.queueQos0
  return (waits ? group.keeper((member) => keeps(core, member, qos)) : undefined) ?? group.firstConnected
}

/** Whether a message for a member that cannot be sent it now has a queue to wait in. */
const keeps = (core: CoreState, { session, subscription }: Member, qos: QoS): boolean =>
  // A session whose CONNACK waits for the store is about to be there, also one that ends with its connection.
  (session.durable || session.owner !== undefined) && (Math.min(qos, subscription.qos) > 0 || core.config.queueQos0)

/**
 * A session has ended: what a shared subscription gave it goes to another member, except QoS 2 messages that are
 * underway [MQTT-4.8.2-5]. It counts as work, but is not spread over turns: with the removal of the session it is one
 * batch of the journal, or a crash in between would lose what nobody has yet.
 */
export const reassign = (core: CoreState, session: Session, now: number): void => {
  const orphans = [...session.inflight.inOrder().filter(({ qos }) => qos === 1), ...session.queue.shared]
  core.work += orphans.length
  for (const { sharedFilter, message } of orphans) {
    const group = sharedFilter === undefined ? undefined : core.router.group(sharedFilter)
    if (group !== undefined && !message.isExpired(now)) deliverShared(core, group, message, now)
  }
}

const deliverTo = (core: CoreState, receiver: Receiver, message: Message, now: number): void => {
  const qos = receiver.qos < message.qos ? receiver.qos : message.qos // [MQTT-3.8.4-8]
  const retain = receiver.retainAsPublished && message.retain // [MQTT-3.3.1-12, MQTT-3.3.1-13]
  deliver(core, receiver.session, message, qos, retain, receiver.identifiers, now)
}

/** No Local takes away only the subscriptions that have it [MQTT-3.8.3-3]. */
const deliverOwn = (core: CoreState, receiver: Receiver, message: Message, now: number): void => {
  const others = receiver.subscriptions.filter((subscription) => !subscription.noLocal)
  if (others.length > 0) deliverTo(core, merge(receiver.session, others), message, now)
}

export const deliver = (
  core: CoreState,
  session: Session,
  message: Message,
  qos: QoS,
  retain: boolean,
  identifiers: ReadonlyArray<number> | undefined,
  now: number,
  sharedFilter?: string
): void => {
  if (session.sink !== undefined) {
    session.sink(message.keep(core.slab).own())
    return
  }
  const { connection } = session
  if (qos === 0) {
    // Behind messages of its own QoS that still wait from before the client came back [MQTT-4.6.0-5].
    if (connection !== undefined && session.queue.atQos0 === 0) {
      sendQos0(core, connection, message, retain, identifiers, now)
    } else if (connection !== undefined || (core.config.queueQos0 && session.durable)) {
      enqueue(
        core,
        session,
        outgoing(core, session, message.keep(core.slab).own(), 0, retain, identifiers, sharedFilter),
        now
      )
    }
    return
  }
  if (connection === undefined) {
    // A session that ends with its connection has nobody left to deliver to, unless its CONNACK waits for the store.
    if (!session.durable && session.owner === undefined) return
    enqueue(
      core,
      session,
      outgoing(core, session, message.keep(core.slab).own(), qos, retain, identifiers, sharedFilter),
      now
    )
    return
  }
  const next = outgoing(core, session, message.keep(core.slab), qos, retain, identifiers, sharedFilter)
  if (session.queue.length === 0 && mayTransmit(core, session, connection, now)) {
    transmit(core, session, connection, next, true, now)
  } else enqueue(core, session, next, now)
}

const outgoing = (
  core: CoreState,
  session: Session,
  message: Message,
  qos: QoS,
  retain: boolean,
  identifiers: ReadonlyArray<number> | undefined,
  sharedFilter: string | undefined
): Outgoing => {
  const next = new Outgoing(core.nextMessageId(), session.nextOrder(), message, qos, retain, identifiers)
  next.sharedFilter = sharedFilter
  return next
}

const sendQos0 = (
  core: CoreState,
  connection: ServerConnection,
  message: Message,
  retain: boolean,
  identifiers: ReadonlyArray<number> | undefined,
  now: number
): void => {
  if (!SlowConsumer.admits(core, connection, now)) {
    drop(core, connection.clientId, message.topic, 0, "outbox-full")
    return
  }
  const { version, outbox } = connection
  // [MQTT-3.1.2-24], [MQTT-3.1.2-25]: too large for this client is dropped for it, and no reason to close.
  if (
    connection.sendBytesMax !== Number.POSITIVE_INFINITY &&
    message.wireBytes(version, 0, identifiers, now) > connection.sendBytesMax
  ) {
    drop(core, connection.clientId, message.topic, 0, "too-large")
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

const mayTransmit = (core: CoreState, session: Session, connection: ServerConnection, now: number): boolean =>
  connection.unsent === undefined &&
  session.inflight.size < connection.sendMaximum &&
  (connection.gatedBytes === 0 || connection.gatedBytes + connection.waitingBytes <= core.config.outboxBytesMax) &&
  SlowConsumer.admits(core, connection, now)

/** Gives a message its packet id and sends it; `isNew` when the store does not know it yet. */
const transmit = (
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
    drop(core, session.clientId, message.topic, qos, "too-large")
    if (!isNew) SessionJournal.removeOutgoing(core, session, next)
    return
  }
  if (!session.inflight.allocate(next)) return
  if (isNew && core.events.messages) MessageEvents.waiting(core, session, next)
  next.state = (qos === 1 ? outgoingAfter.sendQos1 : outgoingAfter.sendQos2)[next.state]!
  const sequence = isNew
    ? SessionJournal.putOutgoing(core, session, next)
    : SessionJournal.setOutgoing(core, session, next)
  // An outgoing QoS 2 PUBLISH is sent only when its packet id is durable; QoS 1 does not wait.
  if (
    qos === 2 &&
    (sequence > core.journal.durable || connection.gated) &&
    connection.gate.holdsDelivery(sequence, core.journal.durable)
  ) {
    connection.gate.pushDelivery(sequence, next)
    Output.waitForStore(core, connection)
    return
  }
  writePublish(core, connection, next, false, now)
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

const enqueue = (core: CoreState, session: Session, next: Outgoing, now: number): void => {
  const { queue } = session
  const { queueBytesMax, queueOverflow } = core.config
  if (!hasRoom(core, session, next)) dropExpired(core, session, now)
  // A message larger than the whole queue would push out all the others, and then itself.
  const makesRoom = queueOverflow === "drop-oldest" && next.message.bytes <= queueBytesMax
  while (!hasRoom(core, session, next)) {
    const oldest = makesRoom ? queue.dropOldest() : undefined
    if (oldest === true) {
      Paging.refill(core, session)
      continue
    }
    if (oldest === undefined) {
      drop(core, session.clientId, next.message.topic, next.qos, "queue-full")
      if (queueOverflow === "disconnect" && session.connection !== undefined) {
        core.overflowing.push(session.connection)
      }
      return
    }
    SessionJournal.removeOutgoing(core, session, oldest)
    drop(core, session.clientId, oldest.message.topic, oldest.qos, "queue-full")
  }
  queue.push(next)
  SessionJournal.putOutgoing(core, session, next)
  Paging.bound(core, session)
  // At QoS 0 all is told when it is sent.
  if (core.events.messages && next.qos > 0) MessageEvents.waiting(core, session, next)
}

const hasRoom = (core: CoreState, { queue }: Session, next: Outgoing): boolean =>
  queue.length < core.config.queueMessagesMax && queue.bytes + next.message.bytes <= core.config.queueBytesMax

/** What has expired takes nobody else's place [MQTT-3.3.2-5]. */
const dropExpired = (core: CoreState, session: Session, now: number): void => {
  for (const expired of session.queue.takeExpired(now)) {
    SessionJournal.removeOutgoing(core, session, expired)
    drop(core, session.clientId, expired.message.topic, expired.qos, "expired")
  }
}

/** Whether the turn has done enough: the session goes on in the next (`Redelivery.ts`). Or one more is counted. */
const isDeferred = (core: CoreState, session: Session): boolean => {
  if (Workload.isDone(core)) {
    core.pumpsDue.add(session)
    return true
  }
  core.work++
  return false
}

/** Sends what is due again, then from the queue, while the window and the outbox have room. */
export const pump = (core: CoreState, session: Session, now: number): void => {
  const { connection, queue } = session
  if (connection === undefined) return
  if (connection.unsent !== undefined) resendUnsent(core, session, connection, connection.unsent, now)
  while (queue.head.length > 0 && mayTransmit(core, session, connection, now)) {
    if (isDeferred(core, session)) break
    const next = queue.shift()!
    if (next.message.isExpired(now)) {
      SessionJournal.removeOutgoing(core, session, next)
      drop(core, session.clientId, next.message.topic, next.qos, "expired") // [MQTT-3.3.2-5]
      continue
    }
    transmit(core, session, connection, next, false, now)
  }
  if (queue.stored !== undefined) Paging.refill(core, session)
  if (core.retainedWalks.size > 0) core.resumeRetained(session)
}

/** Waiting messages were read from the store. Returns how many it turns out to have lost. */
export const pageRead = (
  core: CoreState,
  { session, through }: PageRequest,
  records: ReadonlyArray<PutOutgoing>,
  now: number
): number => {
  for (const { reason, record } of Paging.pageRead(core, session, records, now)) {
    SessionJournal.removeOrder(core, session, record.order)
    drop(core, session.clientId, record.message.topic, record.qos, reason)
  }
  // With the page the newest may be too much in memory. Before the page may be joined to them: it would go with them,
  // and come again, and never be sent.
  Paging.bound(core, session)
  const lost = Paging.finish(core, session, records.length === 0 ? through : 0)
  if (session.connection === undefined) Paging.refill(core, session)
  else pump(core, session, now)
  return lost
}

/**
 * After CONNACK of a resumed session: what was underway is sent again with its id, in order [MQTT-4.4.0-1].
 *
 * The PUBLISHes are left to `pump`: this connection may have a lower Receive Maximum than the one they were first
 * sent on [MQTT-3.3.4-9].
 */
export const resend = (core: CoreState, session: Session, connection: ServerConnection): void => {
  const unsent = new Set<Outgoing>()
  for (const next of session.inflight.inOrder()) {
    if (next.state === 2 || next.state === 3) unsent.add(next)
    else {
      next.state = outgoingAfter.pubRel[next.state] ?? next.state
      Output.acknowledge(core, connection, AckType.PUBREL, next.packetId)
      if (core.events.messages) {
        MessageEvents.outgoingStatus(core, connection, next, next.state, session.hasResent(next))
      }
    }
  }
  connection.unsent = unsent.size === 0 ? undefined : unsent
}

const resendUnsent = (
  core: CoreState,
  session: Session,
  connection: ServerConnection,
  unsent: Set<Outgoing>,
  now: number
): void => {
  for (const next of unsent) {
    const underway = session.inflight.size - unsent.size
    if (underway >= connection.sendMaximum || !SlowConsumer.admits(core, connection, now)) return
    if (isDeferred(core, session)) return
    unsent.delete(next)
    // The client may have answered what it got on its former connection.
    if (next.state !== 2 && next.state !== 3) continue
    if (isTooLarge(connection, next, now)) {
      // Discarded as if it had been delivered [MQTT-3.1.2-25].
      session.inflight.delete(next.packetId)
      SessionJournal.removeOutgoing(core, session, next)
      drop(core, session.clientId, next.message.topic, next.qos, "too-large")
    } else {
      session.resentThrough = next.order
      writePublish(core, connection, next, true, now)
    }
  }
  connection.unsent = undefined
}

const isTooLarge = (connection: ServerConnection, next: Outgoing, now: number): boolean =>
  connection.sendBytesMax !== Number.POSITIVE_INFINITY &&
  next.message.wireBytes(connection.version, next.qos, next.subscriptionIdentifiers, now) > connection.sendBytesMax

export const drop = (
  core: CoreState,
  clientId: string,
  topic: string,
  qos: QoS,
  reason: MessageDropped["reason"]
): void => {
  core.stats.messagesDropped++
  if (core.events.wants.MessageDropped) core.events.push({ _tag: "MessageDropped", clientId, topic, qos, reason })
}
