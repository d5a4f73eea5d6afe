/**
 * SUBSCRIBE and UNSUBSCRIBE: one reason code a filter, the tree, the store, the retained messages.
 */
import type { QoS, Subscribe, Unsubscribe } from "../protocol/Packet.ts"
import * as ReasonCode from "../protocol/ReasonCode.ts"
import * as Topic from "../protocol/Topic.ts"
import type { CoreState } from "./CoreState.ts"
import * as Output from "./Output.ts"
import type { Answer } from "./Question.ts"
import * as RetainedDelivery from "./RetainedDelivery.ts"
import type { ServerConnection } from "./ServerConnection.ts"
import type { Session, Subscription } from "./Session.ts"
import * as SessionJournal from "./SessionJournal.ts"
import * as SubscribePermission from "./SubscribePermission.ts"

type Request = Subscribe["subscriptions"][number]

/**
 * Levels that a session's filters may have on average. Without it ten thousand filters of 199 levels, 4 MB of packets,
 * took 0.5 GB, and a message that many of their wildcards match 0.26 s.
 */
const LEVELS_PER_SUBSCRIPTION = 5

/** A SUBSCRIBE underway: the hook may be asked about each filter in turn. */
interface Progress {
  readonly core: CoreState
  readonly connection: ServerConnection
  readonly session: Session
  readonly packet: Subscribe
  readonly codes: Array<ReasonCode.SubAckReasonCode>
  /** Subscribed now, and new: their retained messages follow the SUBACK. */
  readonly granted: Array<{ readonly subscription: Subscription; readonly isNew: boolean }>
  /** What the hook said of its last refusal. */
  reasonString: string | undefined
  /** Highest journal sequence of the filters so far; 0: none. */
  sequence: number
}

export const subscribe = (
  core: CoreState,
  connection: ServerConnection,
  session: Session,
  packet: Subscribe,
  now: number
): void => {
  if (core.journal.refusing && session.durable) {
    const code = connection.version === 5 ? ReasonCode.QuotaExceeded : ReasonCode.UnspecifiedError
    const codes = packet.subscriptions.map(() => code)
    answer(core, connection, packet, codes, undefined, 0, now)
    return
  }
  proceed({ core, connection, session, packet, codes: [], granted: [], reasonString: undefined, sequence: 0 }, now)
}

const proceed = (progress: Progress, now: number): void => {
  const { core, packet, codes } = progress
  while (codes.length < packet.subscriptions.length) {
    const request = packet.subscriptions[codes.length]!
    const refusal = refusalOf(progress, request)
    if (refusal !== undefined) {
      codes.push(refusal)
      told(progress, request, refusal)
    } else if (core.installed.subscribe) {
      ask(progress, request)
      return
    } else grant(progress, request, request.qos)
  }
  finish(progress, now)
}

const ask = (progress: Progress, request: Request): void => {
  const { core, connection, codes } = progress
  const answered = ({ reasonCode, reasonString }: Answer, later: number): void => {
    if (ReasonCode.isFailure(reasonCode)) {
      const refusal = refusalCode(reasonCode)
      codes.push(refusal)
      progress.reasonString = reasonString ?? progress.reasonString
      told(progress, request, refusal)
    } else grant(progress, request, Math.min(reasonCode, request.qos) as QoS) // the smaller of two, one of them a QoS
    proceed(progress, later)
  }
  SubscribePermission.ask(core, connection, "subscribe", request.filter, request.qos, answered)
}

/** A hook may refuse with any code; one that SUBACK does not have becomes "unspecified". */
const refusalCode = (code: number): ReasonCode.SubAckReasonCode =>
  ReasonCode.isAllowed("SubAck", "server", code) ? code : ReasonCode.UnspecifiedError

const refusalOf = (progress: Progress, request: Request): ReasonCode.SubAckReasonCode | undefined => {
  const { core, session } = progress
  const { filter } = request
  if (Topic.validateFilter(filter, core.config.topicLevelsMax) !== undefined) return ReasonCode.TopicFilterInvalid
  const { subscriptions } = session
  if (subscriptions.size >= core.config.subscriptionsPerSessionMax && !subscriptions.has(filter)) {
    return ReasonCode.QuotaExceeded
  }
  const levelsMax = LEVELS_PER_SUBSCRIPTION * core.config.subscriptionsPerSessionMax + core.config.topicLevelsMax
  if (session.filterLevels > levelsMax && !subscriptions.has(filter)) return ReasonCode.QuotaExceeded
  return undefined
}

const grant = (progress: Progress, request: Request, qos: 0 | 1 | 2): void => {
  const { core, session, packet, codes, granted } = progress
  const { filter, noLocal, retainAsPublished, retainHandling } = request
  const subscriptionIdentifier = packet.properties?.subscriptionIdentifiers?.[0] ?? 0
  const subscription = { filter, qos, noLocal, retainAsPublished, retainHandling, subscriptionIdentifier }
  const isNew = !session.subscriptions.has(filter)
  session.putSubscription(subscription)
  core.router.subscribe(session, subscription)
  progress.sequence = Math.max(progress.sequence, SessionJournal.putSubscription(core, session, subscription))
  codes.push(qos)
  granted.push({ subscription, isNew })
  told(progress, request, qos)
}

const finish = (progress: Progress, now: number): void => {
  const { core, connection, session, packet, codes, granted, reasonString, sequence } = progress
  answer(core, connection, packet, codes, reasonString, sequence, now)
  // A filter that stands in the packet a thousand times is one subscription, and its retained messages come once.
  const last = new Map(granted.map((grant) => [grant.subscription.filter, grant]))
  for (const { subscription, isNew } of last.values()) {
    const { retainHandling } = subscription
    // [MQTT-3.3.1-9] … [MQTT-3.3.1-11]
    if (Topic.parseShared(subscription.filter) !== undefined) continue // never for a shared subscription
    if (retainHandling === 0 || (retainHandling === 1 && isNew)) {
      RetainedDelivery.deliverTo(core, session, subscription, now)
    }
  }
}

const answer = (
  core: CoreState,
  connection: ServerConnection,
  packet: Subscribe,
  reasonCodes: ReadonlyArray<ReasonCode.SubAckReasonCode>,
  reasonString: string | undefined,
  sequence: number,
  now: number
): void => {
  const properties = connection.problemInformation && reasonString !== undefined ? { reasonString } : undefined
  const subAck = { _tag: "SubAck", packetId: packet.packetId, reasonCodes, properties } as const
  Output.sendWhenDurable(core, connection, sequence, subAck, undefined, now)
}

const told = (progress: Progress, request: Request, returnCode: number): void => {
  const { core, connection } = progress
  if (!core.events.wants.Subscribed) return
  core.events.push({
    _tag: "Subscribed",
    connectionId: connection.id,
    clientId: connection.clientId,
    topicFilter: request.filter,
    requestedQos: request.qos,
    returnCode
  })
}

export const unsubscribe = (
  core: CoreState,
  connection: ServerConnection,
  session: Session,
  packet: Unsubscribe,
  now: number
): void => {
  let sequence = 0
  const reasonCodes = packet.filters.map((filter): ReasonCode.UnsubAckReasonCode => {
    if (!session.subscriptions.has(filter)) return ReasonCode.NoSubscriptionExisted
    sequence = Math.max(sequence, remove(core, connection, session, filter))
    return ReasonCode.Success
  })
  const unsubAck = { _tag: "UnsubAck", packetId: packet.packetId, reasonCodes, properties: undefined } as const
  Output.sendWhenDurable(core, connection, sequence, unsubAck, undefined, now)
}

/** Takes one subscription out of a session. Returns the journal sequence of that; 0: none. */
export const remove = (core: CoreState, connection: ServerConnection, session: Session, filter: string): number => {
  session.removeSubscription(filter)
  core.router.unsubscribe(session, filter)
  RetainedDelivery.forget(core, session, filter)
  if (core.events.wants.Unsubscribed) {
    const { clientId, id: connectionId } = connection
    core.events.push({ _tag: "Unsubscribed", connectionId, clientId, topicFilter: filter })
  }
  return SessionJournal.removeSubscription(core, session, filter)
}
