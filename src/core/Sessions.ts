/**
 * The life of sessions: made, resumed, left by their connection, expired, restored from the store.
 *
 * Owns when wills are due too, because that is bound to the session's end [MQTT-3.1.3-9].
 */
import { NEVER_EXPIRES } from "./CoreConfig.ts"
import type { CoreState } from "./CoreState.ts"
import * as Delivery from "./Delivery.ts"
import { IncomingMessage } from "./IncomingMessage.ts"
import { Message } from "./Message.ts"
import * as Orphan from "./Orphan.ts"
import * as Orphans from "./Orphans.ts"
import * as Paging from "./Paging.ts"
import * as RetainedMessages from "./RetainedMessages.ts"
import { Session } from "./Session.ts"
import * as SessionJournal from "./SessionJournal.ts"
import type { PutSession, StoreRecord } from "./StoreOperation.ts"
import * as Wills from "./Wills.ts"

export const create = (core: CoreState, clientId: string): Session => {
  const session = new Session(clientId, core.queueMemory)
  core.sessions.set(clientId, session)
  return session
}

/** Ends a session and everything in it [MQTT-4.1.0-2]. Returns the journal sequence of that; 0: none. */
export const remove = (core: CoreState, session: Session, now: number): number => {
  Wills.publish(core, session, now) // a will that waited does not wait beyond its session
  tellRemoved(core, session)
  for (const filter of session.subscriptions.keys()) core.router.unsubscribe(session, filter)
  const isLeft = Delivery.reassign(core, session, now)
  // Then nothing of it is in the store under its own name any more.
  const left = isLeft ? Orphans.leave(core, session) : 0
  const sequence = Math.max(left, forget(core, session))
  return Wills.isAsked(core, session) ? SessionJournal.putWill(core, session) : sequence
}

/** Another session takes its place that has what was in it: nothing is published and nothing is given to others. */
export const discard = (core: CoreState, session: Session): void => {
  tellRemoved(core, session)
  for (const filter of session.subscriptions.keys()) core.router.unsubscribe(session, filter)
  forget(core, session)
}

const tellRemoved = (core: CoreState, session: Session): void => {
  if (!core.events.wants.SessionRemoved) return
  core.events.push({ _tag: "SessionRemoved", clientId: session.clientId, session })
  core.departing.add(session)
}

const forget = (core: CoreState, session: Session): number => {
  session.pageRequest = undefined // an answer would be about the next session of that name
  core.forgetRetained(session)
  core.pumpsDue.delete(session)
  core.deadlines.cancel(session)
  if (core.sessions.get(session.clientId) === session) core.sessions.delete(session.clientId)
  if (!core.departing.has(session)) session.forget()
  return SessionJournal.removeSession(core, session)
}

/**
 * Its connection ended. `withWill` is false after a DISCONNECT that asked for no will [MQTT-3.14.4-3].
 */
export const leave = (core: CoreState, session: Session, withWill: boolean, now: number): void => {
  session.setConnection(undefined)
  session.owner = undefined
  session.disconnectedAt = now
  if (!withWill) session.will = undefined
  if (session.will !== undefined) {
    if (session.will.delaySeconds === 0) Wills.publish(core, session, now)
    else session.willDueAt = now + session.will.delaySeconds * 1_000
  }
  if (!session.durable) {
    remove(core, session, now)
    return
  }
  SessionJournal.putSession(core, session)
  schedule(core, session)
}

/**
 * DISCONNECT may change how long the session is kept [MQTT-3.14.2-2]; a cap of the broker still holds. The store is
 * told when the connection ends, which is next.
 */
export const setExpiry = (core: CoreState, session: Session, expirySeconds: number): void => {
  session.expirySeconds = Math.min(expirySeconds, core.config.sessionExpirySecondsMax)
}

const expiresAt = (session: Session): number =>
  session.expirySeconds === NEVER_EXPIRES
    ? Number.POSITIVE_INFINITY
    : session.disconnectedAt + session.expirySeconds * 1_000

/** Looks at its expiry and its will when they are due. */
export const schedule = (core: CoreState, session: Session): void => {
  const at = Math.min(session.willDueAt, expiresAt(session))
  if (at === Number.POSITIVE_INFINITY) core.deadlines.cancel(session)
  else core.deadlines.schedule(session, at)
}

/**
 * A client comes back, perhaps after a restart and before the first look at the deadlines: what has come due meanwhile
 * happens first. Whether the session has ended.
 */
export const settle = (core: CoreState, session: Session, now: number): boolean => {
  const isOver = now >= expiresAt(session)
  if (isOver) remove(core, session, now)
  else if (now >= session.willDueAt) Wills.publish(core, session, now)
  return isOver
}

/** A client came back: no will, no expiry [MQTT-3.1.3-9]. */
export const resumed = (core: CoreState, session: Session): void => {
  session.disconnectedAt = 0
  session.willDueAt = Number.POSITIVE_INFINITY
  core.deadlines.cancel(session)
}

/** Called when a deadline of the session may have come. */
export const check = (core: CoreState, session: Session, now: number): void => {
  if (session.owner !== undefined) return
  if (core.sessions.get(session.clientId) !== session) {
    Wills.publishRestored(core, session, now)
    return
  }
  if (now >= expiresAt(session)) {
    remove(core, session, now)
    return
  }
  if (now >= session.willDueAt) {
    Wills.publish(core, session, now)
    if (!Wills.isAsked(core, session)) SessionJournal.putSession(core, session)
  }
  schedule(core, session)
}

/** At the start, before the first connection: one record of the store. */
export const restore = (core: CoreState, record: StoreRecord, now: number): void => {
  switch (record._tag) {
    case "PutSession": {
      const orphan = Orphan.numberOf(record.clientId)
      if (orphan === undefined) restoreSession(core, record, now)
      else Orphans.restore(core, record.clientId, orphan)
      return
    }
    case "PutRetained": {
      const message = Message.fromStored(record.message)
      core.sawMessageId(message.messageId)
      RetainedMessages.restore(core, message)
      return
    }
    default: {
      const session = core.sessions.get(record.clientId)
      if (session !== undefined) restoreInto(core, session, record)
      else {
        const orphan = core.orphans.get(record.clientId)
        if (orphan !== undefined) Orphans.restoreInto(core, orphan, record)
      }
    }
  }
}

const restoreSession = (core: CoreState, record: PutSession, now: number): void => {
  const session = new Session(record.clientId, core.queueMemory)
  session.inStore = true
  session.userName = record.userName
  session.unclaimed = record.unclaimed === true
  session.expirySeconds = record.expirySeconds
  // A session that was connected when the broker stopped lost its connection at the latest now.
  session.disconnectedAt = record.disconnectedAt === 0 ? now : record.disconnectedAt
  if (record.will !== undefined) {
    session.will = { message: Message.fromStored(record.will.message), delaySeconds: record.will.delaySeconds }
    session.willDueAt = session.disconnectedAt + record.will.delaySeconds * 1_000
  }
  if (session.durable) {
    core.sessions.set(session.clientId, session)
    schedule(core, session)
  } else if (session.will !== undefined) Wills.restore(core, session, now)
  // It was kept for what waited only in the store, and ended with its connection.
  else SessionJournal.removeSession(core, session)
}

const restoreInto = (
  core: CoreState,
  session: Session,
  record: Exclude<StoreRecord, { readonly _tag: "PutSession" | "PutRetained" }>
): void => {
  switch (record._tag) {
    case "PutSubscription": {
      const { filter, noLocal, qos, retainAsPublished, retainHandling, subscriptionIdentifier } = record
      const subscription = { filter, qos, noLocal, retainAsPublished, retainHandling, subscriptionIdentifier }
      session.putSubscription(subscription)
      core.router.subscribe(session, subscription)
      return
    }
    case "PutIncoming": {
      const incoming = new IncomingMessage(record.packetId, Message.fromStored(record.message), 0, false)
      incoming.message.publisher = session // No Local holds after a restart too [MQTT-3.8.3-3]
      incoming.state = record.state
      core.sawMessageId(record.message.messageId)
      session.incoming.set(record.packetId, incoming)
      return
    }
    case "PutOutgoing": {
      session.sawOrder(record.order)
      core.sawMessageId(record.message.messageId)
      if (record.packetId === 0 && Paging.stays(core, session, record)) return
      const outgoing = Paging.restored(core, record)
      if (record.packetId === 0) {
        session.queue.push(outgoing)
        return
      }
      outgoing.packetId = record.packetId
      outgoing.state = record.state
      session.inflight.restore(outgoing)
    }
  }
}
