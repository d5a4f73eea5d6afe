/**
 * A client comes back to its session: may it still have the subscriptions in it?
 *
 * Rights may have been taken away while it was gone, and a subscription made under the old ones would keep delivering.
 * Each is put to the subscribe hook before the CONNACK, one after the other. What is refused is unsubscribed, and what
 * waits for the client because of it alone is dropped.
 */
import type { QoS } from "../protocol/Packet.ts"
import * as ReasonCode from "../protocol/ReasonCode.ts"
import type { CoreState } from "./CoreState.ts"
import * as Dropping from "./Dropping.ts"
import type { Answer } from "./Question.ts"
import type { ServerConnection } from "./ServerConnection.ts"
import type { Session } from "./Session.ts"
import * as SessionJournal from "./SessionJournal.ts"
import * as SubscribePermission from "./SubscribePermission.ts"
import * as Subscriptions from "./Subscriptions.ts"

/** What the hook said, by topic filter. */
export type Grants = ReadonlyMap<string, Answer>

/** Asks about every subscription, then calls `done`. False: there is nothing to ask. */
export const recheck = (
  core: CoreState,
  connection: ServerConnection,
  session: Session,
  done: (grants: Grants, now: number) => void,
  now: number
): boolean => {
  if (!core.installed.subscribe || !core.config.recheckSubscriptions || session.subscriptions.size === 0) return false
  const open = [...session.subscriptions.values()]
  const grants = new Map<string, Answer>()
  const next = (at: number): void => {
    const subscription = open.pop()
    if (subscription === undefined) {
      done(grants, at)
      return
    }
    const answered = (answer: Answer, later: number): void => {
      grants.set(subscription.filter, answer)
      next(later)
    }
    SubscribePermission.ask(core, connection, "resume", subscription.filter, subscription.qos, answered)
  }
  next(now)
  return true
}

/** Carries out what was decided. A subscription that nobody was asked about is gone too: it came in between. */
export const apply = (core: CoreState, connection: ServerConnection, session: Session, grants: Grants): void => {
  let refused = false
  for (const subscription of [...session.subscriptions.values()]) {
    const { filter, qos } = subscription
    const reasonCode = grants.get(filter)?.reasonCode ?? ReasonCode.NotAuthorized
    if (ReasonCode.isFailure(reasonCode)) {
      refused = true
      Subscriptions.remove(core, connection, session, filter)
    } else if (reasonCode < qos) {
      const lowered = { ...subscription, qos: reasonCode as QoS } // below one, and not below 0
      session.putSubscription(lowered)
      core.router.subscribe(session, lowered)
      SessionJournal.putSubscription(core, session, lowered)
    }
  }
  if (refused) dropUnwanted(core, session)
}

const dropUnwanted = (core: CoreState, session: Session): void => {
  for (const unwanted of session.queue.takeOut(({ message }) => session.covers(message.topic))) {
    SessionJournal.removeOutgoing(core, session, unwanted)
    Dropping.drop(core, session.clientId, unwanted.message.topic, unwanted.qos, "unsubscribed")
  }
  if (session.queue.stored === undefined) session.forgetCoverage()
}
