/**
 * The last retained message of each topic: stored, counted, limited, sent to new subscriptions.
 */
import * as ReasonCode from "../protocol/ReasonCode.ts"
import type { CoreState } from "./CoreState.ts"
import * as Delivery from "./Delivery.ts"
import type { Message } from "./Message.ts"
import { Session, type Subscription } from "./Session.ts"
import * as SessionJournal from "./SessionJournal.ts"
import type { Origin } from "./StoreOperation.ts"

/** Levels of its own that a retained message may have on average; most share theirs with others. */
const LEVELS_PER_MESSAGE = 2

/**
 * Stores, replaces or removes [MQTT-3.3.1-5] … [MQTT-3.3.1-8]. Returns the reason code: 0, or 0x97 when a limit does
 * not admit one more.
 */
export const set = (core: CoreState, message: Message): number => {
  if (message.payloadBytes === 0) {
    remove(core, message.topic)
    return ReasonCode.Success
  }
  if (message.qos === 0 && core.journal.refusing) {
    remove(core, message.topic) // the former one is out of date (3.1.1 [MQTT-3.3.1-7])
    return ReasonCode.QuotaExceeded
  }
  const kept = message.keep(core.slab).own()
  kept.origin = originOf(core, message)
  const former = core.retained.get(message.topic)
  const bytes = core.retainedBytes + weightOf(kept) - (former === undefined ? 0 : weightOf(former))
  const count = core.retained.size + (former === undefined ? 1 : 0)
  const { retainedBytesMax, retainedMessagesMax, topicLevelsMax } = core.config
  if (count > retainedMessagesMax || bytes > retainedBytesMax) return ReasonCode.QuotaExceeded
  // A level of a topic costs some 260 bytes, whatever the message: 41 MB of one-byte messages, 200 levels deep, would
  // otherwise take 5 GB.
  if (core.retained.nodeCount > LEVELS_PER_MESSAGE * retainedMessagesMax + topicLevelsMax) {
    return ReasonCode.QuotaExceeded
  }
  core.retained.set(message.topic, kept)
  core.retainedBytes = bytes
  if (former !== undefined) core.deadlines.cancel(former)
  if (kept.expiresAt !== 0) core.deadlines.schedule(kept, kept.expiresAt)
  SessionJournal.putRetained(core, kept)
  return ReasonCode.Success
}

/** One that the store kept. */
export const restore = (core: CoreState, message: Message): void => {
  core.retained.set(message.topic, message)
  core.retainedBytes += weightOf(message)
  if (message.expiresAt !== 0) core.deadlines.schedule(message, message.expiresAt)
}

/** Who published it, for who asks later (`RetainedDelivery.ts`); undefined: this program, or nobody will ask. */
const originOf = (core: CoreState, { publisher }: Message): Origin | undefined => {
  const isAskedFor = core.installed.publish || core.journal.enabled
  if (!isAskedFor || !(publisher instanceof Session)) return undefined
  const { clientId, userName } = publisher
  return { clientId, userName }
}

/** What it counts against `retainedBytesMax`. */
export const weightOf = ({ bytes, origin }: Message): number =>
  origin === undefined ? bytes : bytes + origin.clientId.length + origin.userName.length

export const remove = (core: CoreState, topic: string): void => {
  const former = core.retained.delete(topic)
  if (former === undefined) return
  core.retainedBytes -= weightOf(former)
  core.deadlines.cancel(former)
  SessionJournal.removeRetained(core, topic)
}

/** Its deadline has come: nobody needs to ask for it to make it go [MQTT-3.3.2-5]. */
export const expire = (core: CoreState, message: Message): void => {
  if (core.retained.get(message.topic) === message) remove(core, message.topic)
}

/** Gives one to a new subscription. */
export const deliver = (
  core: CoreState,
  session: Session,
  subscription: Subscription,
  message: Message,
  now: number
): void => {
  const { subscriptionIdentifier } = subscription
  const qos = subscription.qos < message.qos ? subscription.qos : message.qos
  const identifiers = subscriptionIdentifier > 0 ? [subscriptionIdentifier] : undefined
  Delivery.deliver(core, session, message, qos, true, identifiers, now)
}
