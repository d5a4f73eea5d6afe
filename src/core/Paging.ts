/**
 * A queue far larger than memory: its middle waits in the store only, and is read back when its client takes it.
 *
 * Owns when messages are left to the store and when they are asked for. Only with a store that can be asked; what one
 * session has in memory is bounded by `queueMemoryBytesMax` and what all have by `queuesMemoryBytesMax`, each roughly:
 * a page that has been asked for comes on top. A message that comes back has a new message id, as after a restart. What
 * expires in the store takes its place in the queue until it is read. What becomes of it all when the session ends is
 * decided in `Orphans.ts`.
 */
import type { CoreState } from "./CoreState.ts"
import type { MessageDropped } from "./CoreEvent.ts"
import { Message } from "./Message.ts"
import type { Stored } from "./OutboundQueue.ts"
import { Outgoing } from "./Outgoing.ts"
import type { PageRequest } from "./PageRequest.ts"
import type { Session } from "./Session.ts"
import * as SessionJournal from "./SessionJournal.ts"
import type { PutOutgoing } from "./StoreOperation.ts"

/** A page has at least so many bytes, however little memory there is: below, reading would cost more than sending. */
const PAGE_BYTES_MIN = 64 * 1024

/**
 * At the start one part in so many of `queuesMemoryBytesMax` is filled, and the rest stays in the store until somebody
 * takes it: a million messages in memory took 3.5 s of CPU and 480 MB before the broker listened.
 */
const RESTORED_PART = 8

/**
 * Bytes that one session may have in memory now. Without room for all, one whose client is there still has two pages:
 * otherwise each message that waits for an acknowledgement would be left to the store and read back.
 */
const share = ({ config, queueMemory }: CoreState, session: Session): number => {
  const { queueMemoryBytesMax, queuesMemoryBytesMax } = config
  if (queueMemory.bytes <= queuesMemoryBytesMax) return queueMemoryBytesMax
  return session.connection === undefined ? 0 : Math.min(2 * PAGE_BYTES_MIN, queueMemoryBytesMax)
}

/** Called when a queue that the store knows has grown. */
export const bound = (core: CoreState, session: Session): void => {
  if (!core.pages) return
  const { queue } = session
  const bytesMax = share(core, session)
  if (queue.memoryBytes > bytesMax && session.kept) queue.spill(bytesMax / 2, core.journal.sequence)
}

/** At the start: whether a waiting message stays in the store, counted only. */
export const stays = (core: CoreState, session: Session, record: PutOutgoing): boolean => {
  const { queue } = session
  if (!core.pages) return false
  if (queue.stored === undefined && fits(core, session)) return false
  queue.leave(record, 0)
  return true
}

/** Whether there is room for one more message that was restored. */
const fits = ({ config, queueMemory }: CoreState, { queue }: Session): boolean =>
  queue.head.memoryBytes < config.queueMemoryBytesMax / 2 &&
  queueMemory.bytes < config.queuesMemoryBytesMax / RESTORED_PART

/** Asks for the next page when the head of the queue gets short and somebody takes it. */
export const refill = (core: CoreState, session: Session): void => {
  const { queue } = session
  const { stored } = queue
  if (stored === undefined || session.pageRequest !== undefined) return
  if (session.connection === undefined && stored.dropped === 0) return
  const least = Math.min(PAGE_BYTES_MIN, core.config.queueMemoryBytesMax / 2)
  const bytesMax = Math.max(least, share(core, session) / 2)
  if (queue.head.memoryBytes > bytesMax / 2) return
  const { after, sequence, through } = stored
  const request: PageRequest = { reader: session, clientId: session.clientId, after, through, bytesMax, sequence }
  session.pageRequest = request
  core.pageRequests.push(request)
}

/** A message that was read and is not delivered. */
export interface Unwanted {
  readonly record: PutOutgoing
  readonly reason: MessageDropped["reason"]
}

/**
 * A page has been read: the oldest messages of those that are in the store, in order; none: there are no more. Returns
 * those that are not in the queue now.
 */
export const pageRead = (
  core: CoreState,
  session: Session,
  records: ReadonlyArray<PutOutgoing>,
  now: number
): ReadonlyArray<Unwanted> => {
  const { queue } = session
  const { stored } = queue
  session.pageRequest = undefined
  if (stored === undefined) return []
  // Where subscriptions are asked about again when a client comes back, what waited because of a refused one alone is
  // dropped: of what was in the store then, now.
  const rechecks = core.installed.subscribe && core.config.recheckSubscriptions
  const unwanted: Array<Unwanted> = []
  for (const record of records) {
    const { expiresAt, topic } = record.message
    // It is underway, and its order is between those of waiting messages: so it is in a session that was put in.
    if (record.packetId !== 0) stored.after = record.order
    else if (!queue.read(stored, record)) unwanted.push({ record, reason: "queue-full" })
    else if (expiresAt !== 0 && now >= expiresAt) unwanted.push({ record, reason: "expired" })
    else if (rechecks && !session.covers(topic)) unwanted.push({ record, reason: "unsubscribed" })
    else queue.head.push(restored(core, record))
  }
  return unwanted
}

/**
 * A page has been dealt with. If it was the last the queue is whole in memory again. `emptyThrough` is how far the
 * store has nothing; 0: it had something. Returns how many messages it has lost; with a sound store none.
 */
export const finish = (core: CoreState, session: Session, emptyThrough: number): number => {
  const { queue } = session
  const { stored } = queue
  if (stored === undefined || (stored.count > 0 && emptyThrough === 0)) return 0
  if (stored.count > 0) {
    giveUp(core, session, stored, emptyThrough)
    // More has been left to the store since it was asked.
    if (emptyThrough < stored.through) return 0
  }
  queue.join(stored)
  session.forgetCoverage()
  // It was kept for what waited in the store only.
  if (!session.kept) SessionJournal.removeSession(core, session)
  const lost = stored.count - stored.dropped
  core.stats.messagesDropped += lost
  return lost
}

/** What the store was to have up to there, and does not give: a later start must not find it. */
const giveUp = (core: CoreState, session: Session, stored: Stored, through: number): void => {
  const underway = new Set(Array.from(session.inflight.inOrder(), ({ order }) => order))
  for (let order = stored.after + 1; order <= through; order++) {
    if (!underway.has(order)) SessionJournal.removeOrder(core, session, order)
  }
  stored.after = Math.max(stored.after, through)
}

/** A message of the store, as it is in a queue. */
export const restored = (core: CoreState, record: PutOutgoing): Outgoing => {
  const { order, qos, retain, sharedFilter, subscriptionIdentifiers } = record
  const message = Message.fromStored(record.message)
  core.sawMessageId(message.messageId)
  const outgoing = new Outgoing(core.nextMessageId(), order, message, qos, retain, subscriptionIdentifiers)
  outgoing.sharedFilter = sharedFilter
  return outgoing
}
