/**
 * Records for tests of stores: one of each kind, with something in every field that a store might lose.
 */
import type {
  PutIncoming,
  PutOutgoing,
  PutRetained,
  PutSession,
  PutSubscription,
  StoredMessage
} from "../core/StoreOperation.ts"

export const message = (messageId: number, topic = `topic/${messageId}`): StoredMessage => ({
  messageId,
  topic,
  payload: Uint8Array.from([messageId & 0xff, 0, 255]),
  qos: 1,
  retain: false,
  properties: { contentType: "text/plain", correlationData: Uint8Array.from([1, 2]), userProperties: [["a", "b"]] },
  receivedAt: 1_700_000_000_000,
  expiresAt: 0
})

export const session = (clientId: string, options: Partial<PutSession> = {}): PutSession => ({
  _tag: "PutSession",
  clientId,
  userName: "user",
  expirySeconds: 3_600,
  disconnectedAt: 0,
  will: undefined,
  ...options
})

export const subscription = (clientId: string, filter: string): PutSubscription => ({
  _tag: "PutSubscription",
  clientId,
  filter,
  qos: 2,
  noLocal: true,
  retainAsPublished: false,
  retainHandling: 1,
  subscriptionIdentifier: 7
})

export const outgoing = (clientId: string, order: number): PutOutgoing => ({
  _tag: "PutOutgoing",
  clientId,
  order,
  message: message(order),
  qos: 1,
  retain: false,
  packetId: 0,
  state: 1,
  subscriptionIdentifiers: [7, 9]
})

export const incoming = (clientId: string, packetId: number): PutIncoming => ({
  _tag: "PutIncoming",
  clientId,
  packetId,
  message: message(packetId),
  state: 7
})

export const retained = (topic: string, messageId = 1): PutRetained => ({
  _tag: "PutRetained",
  message: { ...message(messageId, topic), retain: true, origin: { clientId: "publisher", userName: "Jürgen" } }
})
