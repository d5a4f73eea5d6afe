/**
 * What the core asks the store to keep: plain records, in the one order in which they happened.
 *
 * Types only. How they are written down is the storage layers' work (`storage/StorageOperation.ts` has the Schema).
 * Every record names its session by client id and a queued message by its `order`, a number that only grows within a
 * session, so that a store can delete by range.
 */
import type { Properties } from "../protocol/Property.ts"
import type { QoS } from "../protocol/Packet.ts"
import type { IncomingState, OutgoingState } from "./MessageState.ts"

/** The client that published a message. */
export interface Origin {
  readonly clientId: string
  readonly userName: string
}

export interface StoredMessage {
  readonly messageId: number
  readonly topic: string
  readonly payload: Uint8Array
  readonly qos: QoS
  readonly retain: boolean
  readonly properties: Properties | undefined
  /** Milliseconds since the epoch. */
  readonly receivedAt: number
  /** Milliseconds since the epoch; 0: does not expire. */
  readonly expiresAt: number
  /** Of a retained message that a client published: may it still, when somebody new is to have the message? */
  readonly origin?: Origin | undefined
}

export interface StoredWill {
  readonly message: StoredMessage
  readonly delaySeconds: number
}

export interface PutSession {
  readonly _tag: "PutSession"
  readonly clientId: string
  readonly userName: string
  /** Loaded without a user name: it is the first client's that comes with its client id. */
  readonly unclaimed?: true | undefined
  readonly expirySeconds: number
  /** When its connection ended, in milliseconds since the epoch; 0 while it is connected. */
  readonly disconnectedAt: number
  readonly will: StoredWill | undefined
}

/** Removes the session and everything below it. */
export interface RemoveSession {
  readonly _tag: "RemoveSession"
  readonly clientId: string
}

/**
 * The session, and everything in it, has another name from now on: one that no session has. There may be U+0000 in it,
 * which is in no client id. What is put under the former name later is another session's.
 */
export interface RenameSession {
  readonly _tag: "RenameSession"
  readonly clientId: string
  readonly to: string
}

export interface PutSubscription {
  readonly _tag: "PutSubscription"
  readonly clientId: string
  readonly filter: string
  readonly qos: QoS
  readonly noLocal: boolean
  readonly retainAsPublished: boolean
  readonly retainHandling: 0 | 1 | 2
  /** 0: none. */
  readonly subscriptionIdentifier: number
}

export interface RemoveSubscription {
  readonly _tag: "RemoveSubscription"
  readonly clientId: string
  readonly filter: string
}

/** A message for a session: waiting (packetId 0) or already with its packet id. */
export interface PutOutgoing {
  readonly _tag: "PutOutgoing"
  readonly clientId: string
  readonly order: number
  readonly message: StoredMessage
  readonly qos: QoS
  readonly retain: boolean
  readonly packetId: number
  readonly state: OutgoingState
  readonly subscriptionIdentifiers: ReadonlyArray<number> | undefined
  /** The shared subscription that it came by, if it was one. */
  readonly sharedFilter?: string | undefined
}

/** A waiting message gets its packet id, or an exchange its next state. */
export interface SetOutgoing {
  readonly _tag: "SetOutgoing"
  readonly clientId: string
  readonly order: number
  readonly packetId: number
  readonly state: OutgoingState
}

export interface RemoveOutgoing {
  readonly _tag: "RemoveOutgoing"
  readonly clientId: string
  readonly order: number
}

export interface PutIncoming {
  readonly _tag: "PutIncoming"
  readonly clientId: string
  readonly packetId: number
  readonly message: StoredMessage
  readonly state: IncomingState
}

export interface RemoveIncoming {
  readonly _tag: "RemoveIncoming"
  readonly clientId: string
  readonly packetId: number
}

export interface PutRetained {
  readonly _tag: "PutRetained"
  readonly message: StoredMessage
}

export interface RemoveRetained {
  readonly _tag: "RemoveRetained"
  readonly topic: string
}

export type StoreOperation =
  | PutSession
  | RemoveSession
  | RenameSession
  | PutSubscription
  | RemoveSubscription
  | PutOutgoing
  | SetOutgoing
  | RemoveOutgoing
  | PutIncoming
  | RemoveIncoming
  | PutRetained
  | RemoveRetained

/** What a store gives back at the start: the same records, those that still stand, sessions before what is in them. */
export type StoreRecord = PutSession | PutSubscription | PutOutgoing | PutIncoming | PutRetained
