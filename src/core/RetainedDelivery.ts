/**
 * Retained messages for new subscriptions: what matches goes out behind the SUBACK, as fast as its client takes it.
 *
 * Owns the walk of each session through what it is still to get: it stops while the client is behind and when the turn
 * has done enough, and goes on later. With a publish hook it is asked about each message again: may the client that
 * published it still do so? One question is open at a time. Nobody waits for any of this, the client's connection
 * included, and it goes on for a session that outlives it; a crash ends it. What this program has published itself, or
 * a store of an earlier version kept without its origin, is not asked about.
 */
import * as ReasonCode from "../protocol/ReasonCode.ts"
import type { CoreState } from "./CoreState.ts"
import * as Defect from "./Defect.ts"
import type { Message } from "./Message.ts"
import * as PublishPermission from "./PublishPermission.ts"
import * as RetainedMessages from "./RetainedMessages.ts"
import type { RetainedWalk } from "./RetainedWalk.ts"
import type { Matches } from "./RetainedTree.ts"
import type { Session, Subscription } from "./Session.ts"
import * as SlowConsumer from "./SlowConsumer.ts"
import type { Origin } from "./StoreOperation.ts"
import * as Workload from "./Workload.ts"

/** Places of the tree that are looked at for one message before the budget is. */
const STEPS = 100

/** Whether the hook is asked. */
const isAsked = (core: CoreState): boolean => core.installed.publish && core.config.recheckRetained

/**
 * Delivers what matches and is permitted, in time, with RETAIN set whatever Retain As Published says [MQTT-3.3.1-8]. A
 * subscription that is made again begins anew.
 */
export const deliverTo = (core: CoreState, session: Session, { filter }: Subscription, now: number): void => {
  if (core.retained.size === 0) return
  const underway = core.retainedWalks.get(session)
  if (underway === undefined) {
    const walk: RetainedWalk = { session, pending: new Set([filter]), current: undefined, asking: false }
    core.retainedWalks.set(session, walk)
    proceed(core, walk, now)
    return
  }
  if (underway.current?.filter === filter) underway.current = undefined
  underway.pending.add(filter)
}

/** The session has unsubscribed. */
export const forget = (core: CoreState, session: Session, filter: string): void => {
  const walk = core.retainedWalks.get(session)
  if (walk === undefined) return
  walk.pending.delete(filter)
  if (walk.current?.filter === filter) walk.current = undefined
}

/** A new turn: walks that stopped go on. */
export const proceedDue = (core: CoreState, now: number): void => {
  for (const walk of core.retainedDue) {
    if (Workload.isDone(core)) return
    core.retainedDue.delete(walk)
    try {
      proceed(core, walk, now)
    } catch (defect) {
      core.retainedWalks.delete(walk.session) // it would be met again in every turn
      Defect.caught(core, walk.session.connection, defect, now)
    }
  }
}

/** Until the next question, until the client is behind or the turn has done enough, or to the end. */
const proceed = (core: CoreState, walk: RetainedWalk, now: number): void => {
  const { session } = walk
  while (core.sessions.get(session.clientId) === session) {
    if (Workload.isDone(core)) {
      core.retainedDue.add(walk)
      return
    }
    if (isBehind(core, session)) return
    walk.current ??= begin(core, walk)
    if (walk.current === undefined) break
    const message = next(core, walk, walk.current.matches)
    if (message === undefined) continue
    if (message.isExpired(now))
      RetainedMessages.remove(core, message.topic) // [MQTT-3.3.2-5]
    else if (message.origin === undefined || !isAsked(core)) deliver(core, walk, message, now)
    else {
      ask(core, walk, message, message.origin)
      return
    }
  }
  core.retainedWalks.delete(session)
}

/**
 * Has enough to take for now: half of a queue is left to what is published meanwhile, also while its client is away.
 * `CoreState.resumeRetained` says when to go on.
 */
const isBehind = (core: CoreState, { connection, queue }: Session): boolean => {
  const { queueBytesMax, queueMessagesMax } = core.config
  const isLong = 2 * queue.length >= queueMessagesMax || 2 * queue.bytes >= queueBytesMax
  return (isLong && queue.length > 0) || (connection !== undefined && SlowConsumer.isBehind(core, connection))
}

const next = (core: CoreState, walk: RetainedWalk, matches: Matches<Message>): Message | undefined => {
  const before = matches.steps
  const message = matches.next(STEPS)
  core.work += matches.steps - before
  if (matches.ended) walk.current = undefined
  return message
}

const begin = (core: CoreState, { pending }: RetainedWalk): RetainedWalk["current"] => {
  for (const filter of pending) {
    pending.delete(filter)
    return { filter, matches: core.retained.matches(filter) }
  }
  return undefined
}

const ask = (core: CoreState, walk: RetainedWalk, message: Message, origin: Origin): void => {
  walk.asking = true
  PublishPermission.askForRetained(core, origin, message, ({ reasonCode }, now) => {
    walk.asking = false
    // Not if there is another message of the topic by now, or none: what came meanwhile came by itself.
    const isDue = core.retained.get(message.topic) === message && !message.isExpired(now)
    if (ReasonCode.isFailure(reasonCode)) PublishPermission.refused(core, "retained", "", origin, message, reasonCode)
    else if (isDue && core.sessions.get(walk.session.clientId) === walk.session) deliver(core, walk, message, now)
    proceed(core, walk, now)
  })
}

/** At the QoS that is granted now; not at all when the subscription has ended or begun anew meanwhile. */
const deliver = (core: CoreState, { current, session }: RetainedWalk, message: Message, now: number): void => {
  const subscription = current === undefined ? undefined : session.subscriptions.get(current.filter)
  if (subscription !== undefined) RetainedMessages.deliver(core, session, subscription, message, now)
}
