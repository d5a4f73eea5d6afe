/**
 * From a route to sessions: who gets a message, and whether it is sent now (`Transmission.ts`) or queued
 * (`Queueing.ts`).
 *
 * Owns which member of a shared group it is, and what each receiver's subscriptions make of the message.
 */
import type { QoS } from "../protocol/Packet.ts"
import type { CoreState } from "./CoreState.ts"
import * as Dropping from "./Dropping.ts"
import type { Message } from "./Message.ts"
import { Outgoing } from "./Outgoing.ts"
import * as Queueing from "./Queueing.ts"
import { merge, type Receiver, type Route } from "./Router.ts"
import type { Session } from "./Session.ts"
import type { Member, SharedGroup } from "./SharedGroup.ts"
import * as SlowConsumer from "./SlowConsumer.ts"
import * as Transmission from "./Transmission.ts"

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
  // Not `for of`: its code is longer than the rest, and the compiler would not inline what a message goes through.
  for (let index = 0; index < groups.length; index++) deliverShared(core, groups[index]!, message, now)
  return count
}

/** One member gets it [MQTT-4.8.2-3]; a message of QoS 1 or 2 that nobody can have is dropped and counted. */
export const deliverShared = (core: CoreState, group: SharedGroup, message: Message, now: number): void => {
  const member = group.pick((session) => isReady(core, session, message.qos)) ?? fallback(core, group, message.qos)
  if (member === undefined) {
    // At QoS 0 nobody who is away loses anything that was promised.
    if (message.qos > 0) Dropping.drop(core, "", message.topic, message.qos, "offline")
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
 * underway [MQTT-4.8.2-5], and except its queue when somebody is to have a part of it that is only in the store: that
 * is for `Orphans.ts`, and true is returned. It counts as work, but is not spread over turns: with the removal of the
 * session it is one batch of the journal, or a crash in between would lose what nobody has yet.
 */
export const reassign = (core: CoreState, { inflight, queue }: Session, now: number): boolean => {
  const isLeft = Array.from(queue.storedShared).some((filter) => core.router.group(filter) !== undefined)
  const given = [...inflight.inOrder().filter(({ qos }) => qos === 1), ...(isLeft ? [] : queue)]
  core.work += given.length
  for (const { sharedFilter, message } of given) {
    const group = sharedFilter === undefined ? undefined : core.router.group(sharedFilter)
    if (group !== undefined && !message.isExpired(now)) deliverShared(core, group, message, now)
  }
  return isLeft
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
      Transmission.sendQos0(core, connection, message, retain, identifiers, now)
    } else if (connection !== undefined || (core.config.queueQos0 && session.durable)) {
      queue(core, session, message, 0, retain, identifiers, sharedFilter, now)
    }
    return
  }
  if (connection === undefined) {
    // A session that ends with its connection has nobody left to deliver to, unless its CONNACK waits for the store.
    if (!session.durable && session.owner === undefined) return
    queue(core, session, message, qos, retain, identifiers, sharedFilter, now)
    return
  }
  const next = outgoing(core, session, message.keep(core.slab), qos, retain, identifiers, sharedFilter)
  if (session.queue.length === 0 && Transmission.mayTransmit(core, session, connection, now)) {
    Transmission.transmit(core, session, connection, next, true, now)
  } else Queueing.enqueue(core, session, next, now)
}

const queue = (
  core: CoreState,
  session: Session,
  message: Message,
  qos: QoS,
  retain: boolean,
  identifiers: ReadonlyArray<number> | undefined,
  sharedFilter: string | undefined,
  now: number
): void => {
  const next = outgoing(core, session, message.keep(core.slab).own(), qos, retain, identifiers, sharedFilter)
  Queueing.enqueue(core, session, next, now)
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
