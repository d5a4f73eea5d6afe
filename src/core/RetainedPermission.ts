/**
 * Retained messages for a new subscription, where the publish hook is asked about each of them again: may the client
 * that published it still do so?
 *
 * Owns the questions of each session: one is open at a time, and what is permitted follows the SUBACK as the answers
 * come. Nobody waits for them, the client's connection included, and they go on for a session that outlives it; a crash
 * ends them. What this program has published itself, or a store of an earlier version kept without its origin, is not
 * asked about.
 */
import * as ReasonCode from "../protocol/ReasonCode.ts"
import type { CoreState } from "./CoreState.ts"
import type { Message } from "./Message.ts"
import * as PublishPermission from "./PublishPermission.ts"
import type { RetainedCheck } from "./RetainedCheck.ts"
import * as RetainedMessages from "./RetainedMessages.ts"
import type { Session, Subscription } from "./Session.ts"
import type { Origin } from "./StoreOperation.ts"

/** Whether there is anything to ask. */
export const isWanted = (core: CoreState): boolean => core.installed.publish && core.config.recheckRetained

/** Delivers what matches and is permitted, in time. A subscription that is made again begins anew. */
export const deliverTo = (core: CoreState, session: Session, { filter }: Subscription, now: number): void => {
  const underway = core.retainedChecks.get(session)
  if (underway === undefined) {
    const check: RetainedCheck = { session, pending: new Set([filter]), current: undefined }
    core.retainedChecks.set(session, check)
    proceed(core, check, now)
    return
  }
  if (underway.current?.filter === filter) underway.current = undefined
  underway.pending.add(filter)
}

/** The session has unsubscribed. */
export const forget = (core: CoreState, session: Session, filter: string): void => {
  const check = core.retainedChecks.get(session)
  if (check === undefined) return
  check.pending.delete(filter)
  if (check.current?.filter === filter) check.current = undefined
}

/** Until the next question, or to the end. */
const proceed = (core: CoreState, check: RetainedCheck, now: number): void => {
  const { session } = check
  while (core.sessions.get(session.clientId) === session) {
    check.current ??= begin(core, check)
    if (check.current === undefined) break
    const message = check.current.next()
    if (message === undefined) check.current = undefined
    else if (message.isExpired(now))
      RetainedMessages.remove(core, message.topic) // [MQTT-3.3.2-5]
    else if (message.origin === undefined) deliver(core, check, message, now)
    else {
      ask(core, check, message, message.origin)
      return
    }
  }
  core.retainedChecks.delete(session)
}

const begin = (core: CoreState, { pending }: RetainedCheck): RetainedCheck["current"] => {
  for (const filter of pending) {
    pending.delete(filter)
    return { filter, next: core.retained.matches(filter) }
  }
  return undefined
}

const ask = (core: CoreState, check: RetainedCheck, message: Message, origin: Origin): void => {
  PublishPermission.askForRetained(core, origin, message, ({ reasonCode }, now) => {
    // Not if there is another message of the topic by now, or none: what came meanwhile came by itself.
    const isDue = core.retained.get(message.topic) === message && !message.isExpired(now)
    if (ReasonCode.isFailure(reasonCode)) PublishPermission.refused(core, "retained", "", origin, message, reasonCode)
    else if (isDue && core.sessions.get(check.session.clientId) === check.session) deliver(core, check, message, now)
    proceed(core, check, now)
  })
}

/** At the QoS that is granted now; not at all when the subscription has ended or begun anew meanwhile. */
const deliver = (core: CoreState, { current, session }: RetainedCheck, message: Message, now: number): void => {
  const subscription = current === undefined ? undefined : session.subscriptions.get(current.filter)
  if (subscription !== undefined) RetainedMessages.deliver(core, session, subscription, message, now)
}
