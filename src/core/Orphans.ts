/**
 * Sessions that have ended, and whose messages of shared subscriptions are given to other members page by page.
 *
 * Owns that nothing of them is lost or given twice: in the batch that ends the session it gets another name in the
 * store, and what a page gives away is taken out in the same batch; after a crash the rest goes on. One page is read at
 * a time, of the oldest orphan, and the next when what came of it is durable: however many sessions end at once, they
 * take the memory of one page, and clients' queues are read beside them. Who gets a message is decided in
 * `Delivery.ts`. What came by other subscriptions ends with the session.
 */
import type { CoreState } from "./CoreState.ts"
import * as Delivery from "./Delivery.ts"
import { Message } from "./Message.ts"
import { Orphan } from "./Orphan.ts"
import type { PageRequest } from "./PageRequest.ts"
import type { Session } from "./Session.ts"
import type { SharedGroup } from "./SharedGroup.ts"
import * as SessionJournal from "./SessionJournal.ts"
import type { PutOutgoing, StoreRecord } from "./StoreOperation.ts"

/** Some hundreds of small messages: with each page somebody waits for a commit. */
const PAGE_BYTES = 256 * 1024

/**
 * A session has ended: the queue that it has in the store stays there under another name. Returns the sequence of that.
 * What it has in memory besides may be forgotten.
 */
export const leave = (core: CoreState, session: Session): number => {
  const { lastOrder, queue } = session
  const orphan = new Orphan(core.nextOrphan(), lastOrder, queue.stored?.dropped ?? 0, core.router.groupsMade)
  const sequence = SessionJournal.renameSession(core, session, orphan.clientId)
  core.orphans.set(orphan.clientId, orphan)
  proceed(core)
  return sequence
}

/** Asks for the next page, unless one is on its way. */
export const proceed = (core: CoreState): void => {
  const [orphan] = core.orphans.values()
  if (orphan === undefined || orphan.pageRequest !== undefined) return
  const { after, clientId, through } = orphan
  const bytesMax = Math.min(PAGE_BYTES, core.config.queueMemoryBytesMax)
  const request: PageRequest = { reader: orphan, clientId, after, through, bytesMax, sequence: core.journal.sequence }
  orphan.pageRequest = request
  core.pageRequests.push(request)
}

/** A page has been read; an empty one is behind the last. */
export const pageRead = (core: CoreState, orphan: Orphan, records: ReadonlyArray<PutOutgoing>, now: number): void => {
  orphan.pageRequest = undefined
  let waits = false
  try {
    if (records.length === 0) end(core, orphan)
    else waits = !give(core, orphan, records, now)
  } finally {
    // Whatever goes wrong with one message: the others are not kept from whom they are for.
    if (!waits) proceed(core)
  }
}

/** At the start: a session of the store that has ended. */
export const restore = (core: CoreState, clientId: string, number: number): void => {
  core.sawOrphan(number)
  core.orphans.set(clientId, new Orphan(clientId, 0, 0, 0))
}

/** At the start: something that was in it. Only what waited is of interest. */
export const restoreInto = (core: CoreState, orphan: Orphan, record: StoreRecord): void => {
  if (record._tag !== "PutOutgoing") return
  core.sawMessageId(record.message.messageId)
  orphan.through = Math.max(orphan.through, record.order)
  if (!core.pages) orphan.records.push(record)
}

/** Everything has been restored, also who may get their messages. */
export const restored = (core: CoreState, now: number): void => {
  for (const orphan of core.orphans.values()) {
    orphan.groups = core.router.groupsMade
    if (core.pages) continue
    give(core, orphan, orphan.records, now)
    end(core, orphan)
  }
  proceed(core)
}

/**
 * Deals with messages in their order. False: the rest is somebody's, and is read again when the store could keep it for
 * them. What is nobody's is taken out also then: it may be what fills the store.
 */
const give = (core: CoreState, orphan: Orphan, records: ReadonlyArray<PutOutgoing>, now: number): boolean => {
  core.work += records.length
  for (const record of records) {
    const { message, order, packetId, sharedFilter } = record
    const isDropped = packetId === 0 && orphan.dropped > 0
    const group = isDropped ? undefined : groupFor(core, orphan, record, now)
    if (group !== undefined && core.journal.refusing) return false
    orphan.after = order
    if (isDropped) orphan.dropped--
    if (group !== undefined) Delivery.deliverShared(core, group, Message.fromStored(message), now)
    const wasShared = packetId === 0 && sharedFilter !== undefined
    if (isDropped || wasShared) SessionJournal.removeOrphaned(core, orphan.clientId, order)
  }
  return true
}

/**
 * Whose the message is; undefined: nobody's. What was underway was given to others, as far as it may be, when the
 * session ended; whoever begins a group anew when nobody was left of it has not subscribed to what was before.
 */
const groupFor = (
  core: CoreState,
  orphan: Orphan,
  { message, packetId, sharedFilter }: PutOutgoing,
  now: number
): SharedGroup | undefined => {
  if (packetId !== 0 || sharedFilter === undefined) return undefined
  if (message.expiresAt !== 0 && now >= message.expiresAt) return undefined
  const group = core.router.group(sharedFilter)
  return group !== undefined && group.number <= orphan.groups ? group : undefined
}

const end = (core: CoreState, { clientId }: Orphan): void => {
  core.orphans.delete(clientId)
  SessionJournal.removeOrphan(core, clientId)
}
