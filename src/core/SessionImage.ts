/**
 * A whole session as plain data: taken out of a running broker, or put into one.
 *
 * Owns what belongs to a session beyond its connection, and that a session is put in whole or not at all. How an image
 * is written down is `storage/SessionJson.ts`. Of the will only one that waits for its delay is the session's: the will
 * of a connected client belongs to its connection.
 */
import type { QoS } from "../protocol/Packet.ts"
import type { Properties } from "../protocol/Property.ts"
import type { CoreState } from "./CoreState.ts"
import { IncomingMessage } from "./IncomingMessage.ts"
import { Message } from "./Message.ts"
import type { IncomingState, OutgoingState } from "./MessageState.ts"
import { Outgoing } from "./Outgoing.ts"
import * as Paging from "./Paging.ts"
import { Session, type Subscription } from "./Session.ts"
import * as SessionJournal from "./SessionJournal.ts"
import * as Sessions from "./Sessions.ts"
import type { PutOutgoing } from "./StoreOperation.ts"
import * as Wills from "./Wills.ts"

export interface MessageImage {
  readonly messageId: number
  readonly topic: string
  readonly payload: Uint8Array
  readonly qos: QoS
  readonly retain: boolean
  /** Incoming: the client said so. Outgoing: it was sent more than once. */
  readonly dup: boolean
  /** 0: none yet. */
  readonly packetId: number
  readonly properties: Properties | undefined
  /** Milliseconds since the epoch. */
  readonly receivedAt: number
  /** Milliseconds since the epoch; 0: does not expire. */
  readonly expiresAt: number
}

export interface IncomingImage extends MessageImage {
  readonly state: Exclude<IncomingState, 6 | 10>
}

export interface OutgoingImage extends MessageImage {
  readonly state: Exclude<OutgoingState, 10>
  readonly subscriptionIdentifiers: ReadonlyArray<number> | undefined
  /** The shared subscription it came by: it may be given to another member when the session ends. */
  readonly sharedFilter: string | undefined
}

export interface WillImage {
  readonly topic: string
  readonly payload: Uint8Array
  readonly qos: QoS
  readonly retain: boolean
  readonly properties: Properties | undefined
  /** Seconds that are left of its delay. */
  readonly delaySeconds: number
}

export interface SessionImage {
  readonly clientId: string
  /** undefined: unknown, so that it is the first client's that comes with this client id. */
  readonly userName: string | undefined
  /** Seconds it is kept without a connection; 0: it ends with its connection; 0xFFFFFFFF: for ever. */
  readonly expirySeconds: number
  readonly subscriptions: ReadonlyArray<Subscription>
  readonly incoming: ReadonlyArray<IncomingImage>
  /** In the order of delivery. */
  readonly outgoing: ReadonlyArray<OutgoingImage>
  readonly will: WillImage | undefined
}

/** Why an image was not put in: its client is connected, the store takes nothing, or a limit of the configuration. */
export type Refusal = "connected" | "store" | Limit
export type Limit =
  | "sessionsMax"
  | "sessionExpirySecondsMax"
  | "subscriptionsPerSessionMax"
  | "receiveMaximum"
  | "queueMessagesMax"
  | "queueBytesMax"

/**
 * Payloads are views of the core's bytes: to be read, not changed. `stored` is the part of the queue that is only in
 * the store; undefined when it is not, or no longer, the whole of it.
 */
export const take = (session: Session, stored: ReadonlyArray<PutOutgoing>, now: number): SessionImage | undefined => {
  const waiting = waitingImages(session, stored)
  if (waiting === undefined) return undefined
  const { clientId, expirySeconds, unclaimed, userName, will, willDueAt } = session
  const incoming = session.incomingSize === 0 ? [] : [...session.incoming.values()]
  return {
    clientId,
    userName: unclaimed ? undefined : userName,
    expirySeconds,
    subscriptions: [...session.subscriptions.values()],
    incoming: incoming.map(({ dup, message, packetId, state }) => ({
      ...imageOf(message),
      dup,
      packetId,
      // A finished exchange is in no session, and one at QoS 1 is answered in the call that brought it.
      state: state as IncomingImage["state"]
    })),
    outgoing: [...session.inflight.inOrder().map((outgoing) => outgoingImage(session, outgoing)), ...waiting],
    will:
      will === undefined || willDueAt === Number.POSITIVE_INFINITY
        ? undefined
        : { ...imageOf(will.message), delaySeconds: Math.max(0, Math.ceil((willDueAt - now) / 1_000)) }
  }
}

const waitingImages = (
  session: Session,
  records: ReadonlyArray<PutOutgoing>
): ReadonlyArray<OutgoingImage> | undefined => {
  const { queue } = session
  const { stored } = queue
  const toImage = (outgoing: Outgoing): OutgoingImage => outgoingImage(session, outgoing)
  if (stored === undefined) return Array.from(queue, toImage)
  const { after, count, dropped, newest, through } = stored
  const there = records.filter(({ order, packetId }) => packetId === 0 && order > after && order <= through)
  if (there.length !== count) return undefined
  return [...Array.from(queue.head, toImage), ...there.slice(dropped).map(storedImage), ...Array.from(newest, toImage)]
}

/** A message that waits in the store has been sent to nobody. */
const storedImage = (record: PutOutgoing): OutgoingImage => {
  const { message, qos, retain, sharedFilter, subscriptionIdentifiers } = record
  return { ...message, qos, retain, dup: false, packetId: 0, state: 1, subscriptionIdentifiers, sharedFilter }
}

const imageOf = ({ expiresAt, messageId, payload, properties, qos, receivedAt, retain, topic }: Message) => ({
  messageId,
  topic,
  payload,
  qos,
  retain,
  properties,
  receivedAt,
  expiresAt
})

const outgoingImage = (session: Session, outgoing: Outgoing): OutgoingImage => {
  const { message, messageId, packetId, qos, retain, sharedFilter, state, subscriptionIdentifiers } = outgoing
  const dup = session.hasResent(outgoing)
  // A finished exchange is in no session.
  const underway = state as OutgoingImage["state"]
  const own = { messageId, qos, retain, dup, packetId, state: underway }
  return { ...imageOf(message), ...own, subscriptionIdentifiers, sharedFilter }
}

/** Replaces what there was under that client id; nothing has changed when it is refused. */
export const put = (core: CoreState, image: SessionImage, now: number): Refusal | undefined => {
  const former = core.sessions.get(image.clientId)
  const session = toSession(core, image, now)
  const refusal = refusalOf(core, former, session)
  if (refusal !== undefined) {
    session.forget()
    return refusal
  }
  if (former !== undefined) Sessions.discard(core, former)
  // Behind that: the will may be the former session's, and what is in the store besides goes with it.
  Wills.displace(core, image.clientId)
  core.sessions.set(session.clientId, session)
  SessionJournal.putSession(core, session)
  for (const subscription of session.subscriptions.values()) {
    core.router.subscribe(session, subscription)
    SessionJournal.putSubscription(core, session, subscription)
  }
  if (session.incomingSize > 0) {
    for (const { message, packetId, state } of session.incoming.values()) {
      SessionJournal.putIncoming(core, session, packetId, message, state)
    }
  }
  for (const outgoing of session.inflight.inOrder()) SessionJournal.putOutgoing(core, session, outgoing)
  for (const outgoing of session.queue) SessionJournal.putOutgoing(core, session, outgoing)
  Paging.bound(core, session)
  Sessions.schedule(core, session)
  return undefined
}

const toSession = (core: CoreState, image: SessionImage, now: number): Session => {
  const session = new Session(image.clientId, core.queueMemory)
  session.userName = image.userName ?? ""
  session.unclaimed = image.userName === undefined
  session.expirySeconds = Math.min(image.expirySeconds, core.config.sessionExpirySecondsMax)
  session.disconnectedAt = now
  for (const subscription of image.subscriptions) session.putSubscription(subscription)
  for (const one of image.incoming) {
    const incoming = new IncomingMessage(one.packetId, toMessage(core, one), 0, one.dup)
    incoming.message.publisher = session // No Local holds here too [MQTT-3.8.3-3]
    incoming.state = one.state
    session.incoming.set(one.packetId, incoming)
  }
  for (const one of image.outgoing) {
    const { packetId, qos, retain, sharedFilter, subscriptionIdentifiers } = one
    const message = toMessage(core, one)
    const outgoing = new Outgoing(message.messageId, session.nextOrder(), message, qos, retain, subscriptionIdentifiers)
    outgoing.sharedFilter = sharedFilter
    if (packetId === 0) {
      session.queue.push(outgoing)
      continue
    }
    outgoing.packetId = packetId
    outgoing.state = one.state
    session.inflight.restore(outgoing)
    if (one.dup) session.resentThrough = outgoing.order
  }
  if (image.will !== undefined) {
    const { delaySeconds } = image.will
    session.will = { delaySeconds, message: Message.fromParts(image.will, core.nextMessageId(), session, now) }
    session.willDueAt = now + delaySeconds * 1_000
  }
  return session
}

const toMessage = (core: CoreState, { messageId, ...image }: MessageImage): Message =>
  Message.fromStored({ ...image, messageId: core.adoptMessageId(messageId) })

const refusalOf = (core: CoreState, former: Session | undefined, session: Session): Refusal | undefined => {
  const { config } = core
  if (former?.owner !== undefined) return "connected"
  if (core.journal.refusing) return "store"
  if (former === undefined && core.sessions.size >= config.sessionsMax) return "sessionsMax"
  // It has no connection to live as long as.
  if (!session.durable) return "sessionExpirySecondsMax"
  if (session.subscriptions.size > config.subscriptionsPerSessionMax) return "subscriptionsPerSessionMax"
  if (session.incomingSize > config.receiveMaximum) return "receiveMaximum"
  if (session.queue.length > config.queueMessagesMax) return "queueMessagesMax"
  return session.queue.bytes > config.queueBytesMax ? "queueBytesMax" : undefined
}
