/**
 * What the core tells: one tagged record for each documented event it can know of, with the documented fields.
 *
 * An event is built only while somebody listens to its kind: `CoreEvents.wants` is one flag a kind, written by the
 * shell. Events that only a listener or the shell can know of (Error, Log, SSLStatus) are the shell's.
 */
import type { ConnectionId } from "./ConnectionId.ts"
import type { QoS } from "../protocol/Packet.ts"
import type { IncomingState, OutgoingState } from "./MessageState.ts"
import type { PublishStage } from "./Question.ts"
import type { Session } from "./Session.ts"

export interface MessageMetadata {
  /** "" for a message that waits for a client that is not connected. */
  readonly connectionId: ConnectionId | ""
  readonly clientId: string
  /** Unique among the messages of one broker process. */
  readonly messageId: number
  readonly dup: boolean
  readonly qos: QoS
  readonly retain: boolean
  /** -1 at QoS 0, and before an id is allocated. */
  readonly packetId: number
}

/** The transport is up: `statusCode` is 0, or the documented code of a failed handshake. */
export interface Connected {
  readonly _tag: "Connected"
  readonly connectionId: ConnectionId
  readonly statusCode: number
  readonly description: string
}

/**
 * The connection has ended for the broker. What was sent before may still wait for its socket: then MessageSending, and
 * what follows it, come after this.
 */
export interface Disconnected {
  readonly _tag: "Disconnected"
  readonly connectionId: ConnectionId
  /** "" when the client never got as far as a session. */
  readonly clientId: string
  readonly statusCode: number
  readonly description: string
}

/** A CONNECT was accepted and its CONNACK released. */
export interface SessionStarted {
  readonly _tag: "SessionStarted"
  readonly connectionId: ConnectionId
  readonly clientId: string
  readonly userName: string
  readonly sessionPresent: boolean
  readonly protocolVersion: 3 | 4 | 5
}

export interface SessionRemoved {
  readonly _tag: "SessionRemoved"
  readonly clientId: string
  /** As it was: another of that client id may be in its place. */
  readonly session: Session
}

export interface Subscribed {
  readonly _tag: "Subscribed"
  readonly connectionId: ConnectionId
  readonly clientId: string
  readonly topicFilter: string
  readonly requestedQos: QoS
  /** The granted QoS, or the reason code (0x80 and above) of the refusal. */
  readonly returnCode: number
}

export interface Unsubscribed {
  readonly _tag: "Unsubscribed"
  readonly connectionId: ConnectionId
  readonly clientId: string
  readonly topicFilter: string
}

export interface MessageReceiving extends MessageMetadata {
  readonly _tag: "MessageReceiving"
}

export interface IncomingMessageStatus extends MessageMetadata {
  readonly _tag: "IncomingMessageStatus"
  readonly state: IncomingState
}

export interface MessageReceived {
  readonly _tag: "MessageReceived"
  readonly connectionId: ConnectionId
  readonly clientId: string
  readonly messageId: number
}

/**
 * The client's socket was given the whole packet. While that is busy the packet waits, and nothing is told: nor later,
 * when the connection is lost before, or the client acknowledges the message before it has this packet, or `interrupt`
 * takes it out, which is MessageDropped with the reason "interrupted".
 */
export interface MessageSending extends MessageMetadata {
  readonly _tag: "MessageSending"
}

/** States 2 and 3, and 10 at QoS 0, follow MessageSending. */
export interface OutgoingMessageStatus extends MessageMetadata {
  readonly _tag: "OutgoingMessageStatus"
  readonly state: OutgoingState
}

/** At QoS 0 the client's socket was given it (see MessageSending); above that the client has acknowledged it. */
export interface MessageSent {
  readonly _tag: "MessageSent"
  readonly connectionId: ConnectionId
  readonly clientId: string
  readonly messageId: number
}

/**
 * A message was not delivered to one client: its outbox or queue was full, the message is too large for it, the client
 * acknowledged it with a failure ("refused"), and the like. Or it was not retained, because there is no room for one
 * more: then new subscriptions do without it.
 */
export interface MessageDropped {
  readonly _tag: "MessageDropped"
  /** "": no single client's; of a shared subscription that nobody could be sent it for, or not retained. */
  readonly clientId: string
  readonly topic: string
  readonly qos: QoS
  readonly reason:
    | "outbox-full"
    | "queue-full"
    | "too-large"
    | "expired"
    | "offline"
    | "unsubscribed"
    | "interrupted"
    | "refused"
    | "not-retained"
}

/**
 * A client's message goes nowhere, because the hook or the broker refuses it; at stage "retained", one that it
 * published earlier does not go to a new subscription.
 */
export interface PublishRefused {
  readonly _tag: "PublishRefused"
  /** "" for a will that is due and a retained message. */
  readonly connectionId: ConnectionId | ""
  /** Who published it. */
  readonly clientId: string
  readonly userName: string
  readonly stage: PublishStage
  readonly topic: string
  readonly qos: QoS
  readonly retain: boolean
  /** 0x80 and above, as the hook gave it: the client may have been told another, or none. */
  readonly reasonCode: number
}

/** A client broke the protocol; `errorCode` is the documented 600 or 601. */
export interface ProtocolFailure {
  readonly _tag: "ProtocolFailure"
  readonly connectionId: ConnectionId
  readonly clientId: string
  readonly errorCode: 600 | 601
  readonly reasonCode: number
  readonly description: string
}

export type CoreEvent =
  | Connected
  | Disconnected
  | SessionStarted
  | SessionRemoved
  | Subscribed
  | Unsubscribed
  | MessageReceiving
  | IncomingMessageStatus
  | MessageReceived
  | MessageSending
  | OutgoingMessageStatus
  | MessageSent
  | MessageDropped
  | PublishRefused
  | ProtocolFailure

export type CoreEventTag = CoreEvent["_tag"]

/** A packet in words. Not an event: it only becomes a line of the log. */
export interface Frame {
  readonly _tag: "Frame"
  readonly connectionId: ConnectionId
  readonly clientId: string
  readonly text: string
}

export const tags: ReadonlyArray<CoreEventTag> = [
  "Connected",
  "Disconnected",
  "SessionStarted",
  "SessionRemoved",
  "Subscribed",
  "Unsubscribed",
  "MessageReceiving",
  "IncomingMessageStatus",
  "MessageReceived",
  "MessageSending",
  "OutgoingMessageStatus",
  "MessageSent",
  "MessageDropped",
  "PublishRefused",
  "ProtocolFailure"
]

/** The flags say which kinds are built; the list is what was built and not yet taken. */
export class CoreEvents {
  readonly wants: Record<CoreEventTag, boolean> = Object.fromEntries(tags.map((tag) => [tag, false])) as Record<
    CoreEventTag,
    boolean // one key a tag, by construction
  >
  /** True while any of the per-message kinds is wanted: the one branch the packet path pays. */
  messages = false
  /** Whether packets are told in words, and with their payloads. */
  frames: "none" | "masked" | "whole" = "none"
  private pending: Array<CoreEvent | Frame> = []

  want(tag: CoreEventTag, wanted: boolean): void {
    this.wants[tag] = wanted
    const { wants } = this
    this.messages =
      wants.MessageReceiving ||
      wants.IncomingMessageStatus ||
      wants.MessageReceived ||
      wants.MessageSending ||
      wants.OutgoingMessageStatus ||
      wants.MessageSent
  }

  push(event: CoreEvent | Frame): void {
    this.pending.push(event)
  }

  get isEmpty(): boolean {
    return this.pending.length === 0
  }

  take(): ReadonlyArray<CoreEvent | Frame> {
    const events = this.pending
    this.pending = []
    return events
  }
}
