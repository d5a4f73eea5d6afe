/**
 * Messages that a session cannot be sent yet: put into its queue, or dropped where that has no room.
 *
 * Owns what makes room, and who is dropped when nothing does. How a queue is kept is in `OutboundQueue.ts`, what of it
 * only the store keeps in `Paging.ts`, how it is emptied in `Redelivery.ts`.
 */
import type { CoreState } from "./CoreState.ts"
import * as Dropping from "./Dropping.ts"
import * as MessageEvents from "./MessageEvents.ts"
import type { Outgoing } from "./Outgoing.ts"
import * as Paging from "./Paging.ts"
import type { Session } from "./Session.ts"
import * as SessionJournal from "./SessionJournal.ts"

export const enqueue = (core: CoreState, session: Session, next: Outgoing, now: number): void => {
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
      Dropping.drop(core, session.clientId, next.message.topic, next.qos, "queue-full")
      if (queueOverflow === "disconnect" && session.connection !== undefined) {
        core.overflowing.push(session.connection)
      }
      return
    }
    SessionJournal.removeOutgoing(core, session, oldest)
    Dropping.drop(core, session.clientId, oldest.message.topic, oldest.qos, "queue-full")
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
    Dropping.drop(core, session.clientId, expired.message.topic, expired.qos, "expired")
  }
}
