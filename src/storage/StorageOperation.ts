/**
 * The Schema of what the core asks a store to keep, for stores that write it down and read it back.
 *
 * The types are the core's (`core/StoreOperation.ts`); at the end of this file the compiler checks that both say the
 * same. `StoreOperationJson` is the JSON form, with bytes as base64.
 */
import * as Schema from "effect/Schema"
import type * as Core from "../core/StoreOperation.ts"
import * as Packet from "../protocol/Packet.ts"
import * as Property from "../protocol/Property.ts"

const Count = Schema.Int.check(Schema.isGreaterThanOrEqualTo(0))
/** 0: none yet. */
const PacketId = Property.integer(0, 0xffff)
const Seconds = Property.integer(0, 0xffff_ffff)

export const OutgoingState = Schema.Literals([1, 2, 3, 4, 5, 10])
export const IncomingState = Schema.Literals([6, 7, 8, 9, 10])

export const Origin = Schema.Struct({ clientId: Schema.String, userName: Schema.String })

export const StoredMessage = Schema.Struct({
  messageId: Count,
  topic: Schema.String,
  payload: Schema.Uint8Array,
  qos: Packet.QoS,
  retain: Schema.Boolean,
  properties: Schema.UndefinedOr(Property.schemaOf("Publish")),
  receivedAt: Count,
  expiresAt: Count,
  origin: Schema.optional(Origin)
})

export const StoredWill = Schema.Struct({ message: StoredMessage, delaySeconds: Seconds })

export const PutSession = Schema.TaggedStruct("PutSession", {
  clientId: Schema.String,
  userName: Schema.String,
  unclaimed: Schema.optional(Schema.Literal(true)),
  expirySeconds: Seconds,
  disconnectedAt: Count,
  will: Schema.UndefinedOr(StoredWill)
})

export const RemoveSession = Schema.TaggedStruct("RemoveSession", { clientId: Schema.String })

export const RenameSession = Schema.TaggedStruct("RenameSession", { clientId: Schema.String, to: Schema.String })

export const PutSubscription = Schema.TaggedStruct("PutSubscription", {
  clientId: Schema.String,
  filter: Schema.String,
  qos: Packet.QoS,
  noLocal: Schema.Boolean,
  retainAsPublished: Schema.Boolean,
  retainHandling: Schema.Literals([0, 1, 2]),
  subscriptionIdentifier: Property.integer(0, Property.varintMax)
})

export const RemoveSubscription = Schema.TaggedStruct("RemoveSubscription", {
  clientId: Schema.String,
  filter: Schema.String
})

export const PutOutgoing = Schema.TaggedStruct("PutOutgoing", {
  clientId: Schema.String,
  order: Count,
  message: StoredMessage,
  qos: Packet.QoS,
  retain: Schema.Boolean,
  packetId: PacketId,
  state: OutgoingState,
  subscriptionIdentifiers: Schema.UndefinedOr(Schema.Array(Property.integer(1, Property.varintMax))),
  sharedFilter: Schema.optional(Schema.String)
})

export const SetOutgoing = Schema.TaggedStruct("SetOutgoing", {
  clientId: Schema.String,
  order: Count,
  packetId: PacketId,
  state: OutgoingState
})

export const RemoveOutgoing = Schema.TaggedStruct("RemoveOutgoing", { clientId: Schema.String, order: Count })

export const PutIncoming = Schema.TaggedStruct("PutIncoming", {
  clientId: Schema.String,
  packetId: Packet.PacketId,
  message: StoredMessage,
  state: IncomingState
})

export const RemoveIncoming = Schema.TaggedStruct("RemoveIncoming", {
  clientId: Schema.String,
  packetId: Packet.PacketId
})

export const PutRetained = Schema.TaggedStruct("PutRetained", { message: StoredMessage })

export const RemoveRetained = Schema.TaggedStruct("RemoveRetained", { topic: Schema.String })

export const StoreOperation = Schema.Union([
  PutSession,
  RemoveSession,
  RenameSession,
  PutSubscription,
  RemoveSubscription,
  PutOutgoing,
  SetOutgoing,
  RemoveOutgoing,
  PutIncoming,
  RemoveIncoming,
  PutRetained,
  RemoveRetained
])

export const StoreRecord = Schema.Union([PutSession, PutSubscription, PutOutgoing, PutIncoming, PutRetained])

export const StoreOperationJson = Schema.toCodecJson(StoreOperation)

/** Compiles only where each of two types is assignable to the other. */
type Same<A extends B, B extends C, C = A> = [A, B, C]

export type Agreement = [
  Same<typeof StoreOperation.Type, Core.StoreOperation>,
  Same<typeof StoreRecord.Type, Core.StoreRecord>
]
