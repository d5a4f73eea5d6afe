/**
 * What waits for a client that is there: sent again what was underway, then its queue, as far as its window, its outbox
 * and the turn allow.
 *
 * Owns when that stops and how it goes on: by an acknowledgement, by room in the socket, by a page of the store, or in
 * the next turn.
 */
import * as AckType from "./AckType.ts"
import type { CoreState } from "./CoreState.ts"
import * as Defect from "./Defect.ts"
import * as Dropping from "./Dropping.ts"
import * as MessageEvents from "./MessageEvents.ts"
import { outgoingAfter } from "./MessageState.ts"
import type { Outgoing } from "./Outgoing.ts"
import * as Output from "./Output.ts"
import * as Paging from "./Paging.ts"
import type { ServerConnection } from "./ServerConnection.ts"
import type { Session } from "./Session.ts"
import * as SessionJournal from "./SessionJournal.ts"
import * as SlowConsumer from "./SlowConsumer.ts"
import type { PutOutgoing } from "./StoreOperation.ts"
import * as Transmission from "./Transmission.ts"
import * as Workload from "./Workload.ts"

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

/** Sends what is due again, then from the queue, while the window and the outbox have room. */
export const pump = (core: CoreState, session: Session, now: number): void => {
  const { connection, queue } = session
  if (connection === undefined) return
  if (connection.unsent !== undefined) resendUnsent(core, session, connection, connection.unsent, now)
  while (queue.head.length > 0 && Transmission.mayTransmit(core, session, connection, now)) {
    if (isDeferred(core, session)) break
    const next = queue.shift()!
    if (next.message.isExpired(now)) {
      SessionJournal.removeOutgoing(core, session, next)
      Dropping.drop(core, session.clientId, next.message.topic, next.qos, "expired") // [MQTT-3.3.2-5]
      continue
    }
    Transmission.transmit(core, session, connection, next, false, now)
  }
  if (queue.stored !== undefined) Paging.refill(core, session)
  if (core.retainedWalks.size > 0) core.resumeRetained(session)
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
    if (Transmission.isTooLarge(connection, next, now)) {
      // Discarded as if it had been delivered [MQTT-3.1.2-25].
      session.inflight.delete(next.packetId)
      SessionJournal.removeOutgoing(core, session, next)
      Dropping.drop(core, session.clientId, next.message.topic, next.qos, "too-large")
    } else {
      session.resentThrough = next.order
      Transmission.writePublish(core, connection, next, true, now)
    }
  }
  connection.unsent = undefined
}

/** Whether the turn has done enough: the session goes on in the next. Or one more is counted. */
const isDeferred = (core: CoreState, session: Session): boolean => {
  if (Workload.isDone(core)) {
    core.pumpsDue.add(session)
    return true
  }
  core.work++
  return false
}

/** Queues that had more to send than the turn before allowed. */
export const proceedDue = (core: CoreState, now: number): void => {
  // Those that have more than their part to send come again behind the others, in the next turn.
  for (let left = core.pumpsDue.size; left > 0 && !Workload.isDone(core); left--) {
    const [session] = core.pumpsDue
    if (session === undefined) return
    core.pumpsDue.delete(session)
    Workload.share(core, left)
    Defect.guard(core, session.connection, now, () => pump(core, session, now))
    Workload.unshare(core)
  }
}

/** Waiting messages, of those up to `through`, were read from the store. Returns how many it turns out to have lost. */
export const pageRead = (
  core: CoreState,
  session: Session,
  through: number,
  records: ReadonlyArray<PutOutgoing>,
  now: number
): number => {
  for (const { reason, record } of Paging.pageRead(core, session, records, now)) {
    SessionJournal.removeOrder(core, session, record.order)
    Dropping.drop(core, session.clientId, record.message.topic, record.qos, reason)
  }
  // With the page the newest may be too much in memory. Before the page may be joined to them: it would go with them,
  // and come again, and never be sent.
  Paging.bound(core, session)
  const lost = Paging.finish(core, session, records.length === 0 ? through : 0)
  if (session.connection === undefined) Paging.refill(core, session)
  else pump(core, session, now)
  return lost
}
