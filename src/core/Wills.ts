/**
 * Wills that are due: published at once, or put to the publish hook first.
 *
 * Owns that no will is lost while the hook decides. The will of a session in the store stays there until the answer,
 * which takes it out in the batch that routes it: after a crash it is asked about again. The store has one will a
 * client, so whoever connects with that client id meanwhile waits for the answer.
 */
import * as ReasonCode from "../protocol/ReasonCode.ts"
import type { CoreState } from "./CoreState.ts"
import { Message } from "./Message.ts"
import * as PublishPermission from "./PublishPermission.ts"
import * as Routing from "./Routing.ts"
import type { Session, Will } from "./Session.ts"
import * as SessionJournal from "./SessionJournal.ts"

/** The caller tells the store, unless the will is being asked about. */
export const publish = (core: CoreState, session: Session, now: number): void => {
  const { will } = session
  session.willDueAt = Number.POSITIVE_INFINITY
  if (will === undefined || isAsked(core, session)) return
  if (!core.installed.publish) {
    session.will = undefined
    route(core, session, will, now)
    return
  }
  if (session.inStore) keep(core, session)
  else session.will = undefined
  ask(core, session, will)
}

/** After a restart: all that is left of a session that had ended. It is for the first look at the deadlines. */
export const restore = (core: CoreState, session: Session, now: number): void => {
  keep(core, session)
  core.deadlines.schedule(session, now)
}

/** Such a will's time has come. */
export const publishRestored = (core: CoreState, session: Session, now: number): void => {
  const { will } = session
  if (will === undefined) return
  if (core.installed.publish) ask(core, session, will)
  else {
    route(core, session, will, now)
    decided(core, session, now)
  }
}

/** Whether its will is, or is about to be, put to the hook, and in the store until that has answered. */
export const isAsked = (core: CoreState, session: Session): boolean =>
  core.askedWills.get(session.clientId)?.session === session

/** Another session takes the place in the store: a will that is being asked about is not kept any longer. */
export const displace = (core: CoreState, clientId: string): void => {
  const asked = core.askedWills.get(clientId)
  if (asked !== undefined) asked.session.inStore = false
}

/** Who waits for the answer about one will that was displaced waits for that about the next. */
const keep = (core: CoreState, session: Session): void => {
  const waiting = core.askedWills.get(session.clientId)?.waiting ?? []
  core.askedWills.set(session.clientId, { session, waiting })
}

const ask = (core: CoreState, session: Session, will: Will): void =>
  PublishPermission.askForWill(core, session, will.message, ({ reasonCode }, now) => {
    try {
      if (!ReasonCode.isFailure(reasonCode)) route(core, session, will, now)
      else PublishPermission.refused(core, "will", "", session, will.message, reasonCode)
    } finally {
      // Whatever goes wrong: nobody waits for ever.
      decided(core, session, now)
    }
  })

const route = (core: CoreState, session: Session, { message }: Will, now: number): void => {
  const { topic, payload, qos, retain, properties } = message
  const parts = { topic, payload, qos, retain, properties }
  Routing.route(core, Message.fromParts(parts, core.nextMessageId(), session, now), now)
}

const decided = (core: CoreState, session: Session, now: number): void => {
  const asked = core.askedWills.get(session.clientId)
  if (asked?.session !== session) return
  core.askedWills.delete(session.clientId)
  session.will = undefined
  if (core.sessions.get(session.clientId) === session) SessionJournal.putSession(core, session)
  else SessionJournal.removeSession(core, session)
  for (const proceed of asked.waiting) proceed(now)
}
