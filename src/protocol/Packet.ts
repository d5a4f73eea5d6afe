/**
 * Every packet of MQTT 3.1, 3.1.1 and 5.0, declared once as a Schema tagged union.
 *
 * The TypeScript types, the guards (`Packet.guards.Publish`) and the JSON codec (`PacketJson`) come from it. A packet
 * speaks 5.0 whatever version it travels in: reason codes are those of 5.0, and what an older version cannot say is
 * `undefined` or at its default. Bytes are the business of `Decoder` and `Encoder`, which use only the types of this
 * module: no packet on the wire passes through Schema.
 */
import * as Schema from "effect/Schema"
import * as Property from "./Property.ts"
import * as ReasonCode from "./ReasonCode.ts"

/** 3 is MQTT 3.1, 4 is MQTT 3.1.1, 5 is MQTT 5.0. */
export const ProtocolVersion = Schema.Literals([3, 4, 5])
export type ProtocolVersion = typeof ProtocolVersion.Type

export const QoS = Schema.Literals([0, 1, 2])
export type QoS = typeof QoS.Type

const uint16 = Property.integer(0, 0xffff)

/** 1 to 65,535: 0 is no packet identifier [MQTT-2.2.1-3]. */
export const PacketId = Property.integer(1, 0xffff)

/** The message a server publishes for a client that goes away without saying so. */
export const Will = Schema.Struct({
  topic: Property.Text,
  payload: Property.Binary,
  qos: QoS,
  retain: Schema.Boolean,
  properties: Schema.optional(Property.schemaOf("Will"))
})
export interface Will extends Schema.Schema.Type<typeof Will> {}

export const Connect = Schema.TaggedStruct("Connect", {
  protocolVersion: ProtocolVersion,
  clientId: Property.Text,
  /** CleanSession in 3.1 and 3.1.1. */
  cleanStart: Schema.Boolean,
  /** 0 switches keep alive off. */
  keepAliveSeconds: uint16,
  userName: Schema.optional(Property.Text),
  password: Schema.optional(Property.Binary),
  will: Schema.optional(Will),
  properties: Schema.optional(Property.schemaOf("Connect"))
})
export interface Connect extends Schema.Schema.Type<typeof Connect> {}

export const ConnAck = Schema.TaggedStruct("ConnAck", {
  /** Always false in 3.1, which cannot say it. */
  sessionPresent: Schema.Boolean,
  reasonCode: Schema.Literals(ReasonCode.codes("ConnAck")),
  properties: Schema.optional(Property.schemaOf("ConnAck"))
})
export interface ConnAck extends Schema.Schema.Type<typeof ConnAck> {}

export const Publish = Schema.TaggedStruct("Publish", {
  /** Empty only in 5.0, beside a topic alias. */
  topic: Property.Text,
  payload: Schema.Uint8Array,
  qos: QoS,
  retain: Schema.Boolean,
  dup: Schema.Boolean,
  /** Present exactly when the QoS is above 0. */
  packetId: Schema.optional(PacketId),
  properties: Schema.optional(Property.schemaOf("Publish"))
})
export interface Publish extends Schema.Schema.Type<typeof Publish> {}

export const PubAck = Schema.TaggedStruct("PubAck", {
  packetId: PacketId,
  reasonCode: Schema.Literals(ReasonCode.codes("PubAck")),
  properties: Schema.optional(Property.schemaOf("PubAck"))
})
export interface PubAck extends Schema.Schema.Type<typeof PubAck> {}

export const PubRec = Schema.TaggedStruct("PubRec", {
  packetId: PacketId,
  reasonCode: Schema.Literals(ReasonCode.codes("PubRec")),
  properties: Schema.optional(Property.schemaOf("PubRec"))
})
export interface PubRec extends Schema.Schema.Type<typeof PubRec> {}

export const PubRel = Schema.TaggedStruct("PubRel", {
  packetId: PacketId,
  reasonCode: Schema.Literals(ReasonCode.codes("PubRel")),
  properties: Schema.optional(Property.schemaOf("PubRel"))
})
export interface PubRel extends Schema.Schema.Type<typeof PubRel> {}

export const PubComp = Schema.TaggedStruct("PubComp", {
  packetId: PacketId,
  reasonCode: Schema.Literals(ReasonCode.codes("PubComp")),
  properties: Schema.optional(Property.schemaOf("PubComp"))
})
export interface PubComp extends Schema.Schema.Type<typeof PubComp> {}

/** One filter of a SUBSCRIBE with its options; the last three are false, false and 0 before 5.0. */
export const Subscription = Schema.Struct({
  filter: Property.Text,
  qos: QoS,
  noLocal: Schema.Boolean,
  retainAsPublished: Schema.Boolean,
  /** 0 sends retained messages at every subscribe, 1 only for a new subscription, 2 never. */
  retainHandling: Schema.Literals([0, 1, 2])
})
export interface Subscription extends Schema.Schema.Type<typeof Subscription> {}

export const Subscribe = Schema.TaggedStruct("Subscribe", {
  packetId: PacketId,
  subscriptions: Schema.Array(Subscription).check(Schema.isMinLength(1)),
  properties: Schema.optional(Property.schemaOf("Subscribe"))
})
export interface Subscribe extends Schema.Schema.Type<typeof Subscribe> {}

export const SubAck = Schema.TaggedStruct("SubAck", {
  packetId: PacketId,
  /** One for each filter of the SUBSCRIBE, in its order. */
  reasonCodes: Schema.Array(Schema.Literals(ReasonCode.codes("SubAck"))),
  properties: Schema.optional(Property.schemaOf("SubAck"))
})
export interface SubAck extends Schema.Schema.Type<typeof SubAck> {}

export const Unsubscribe = Schema.TaggedStruct("Unsubscribe", {
  packetId: PacketId,
  filters: Schema.Array(Property.Text).check(Schema.isMinLength(1)),
  properties: Schema.optional(Property.schemaOf("Unsubscribe"))
})
export interface Unsubscribe extends Schema.Schema.Type<typeof Unsubscribe> {}

export const UnsubAck = Schema.TaggedStruct("UnsubAck", {
  packetId: PacketId,
  /** One for each filter of the UNSUBSCRIBE, in its order; empty before 5.0. */
  reasonCodes: Schema.Array(Schema.Literals(ReasonCode.codes("UnsubAck"))),
  properties: Schema.optional(Property.schemaOf("UnsubAck"))
})
export interface UnsubAck extends Schema.Schema.Type<typeof UnsubAck> {}

export const PingReq = Schema.TaggedStruct("PingReq", {})
export interface PingReq extends Schema.Schema.Type<typeof PingReq> {}

export const PingResp = Schema.TaggedStruct("PingResp", {})
export interface PingResp extends Schema.Schema.Type<typeof PingResp> {}

export const Disconnect = Schema.TaggedStruct("Disconnect", {
  reasonCode: Schema.Literals(ReasonCode.codes("Disconnect")),
  properties: Schema.optional(Property.schemaOf("Disconnect"))
})
export interface Disconnect extends Schema.Schema.Type<typeof Disconnect> {}

/** Only in 5.0. */
export const Auth = Schema.TaggedStruct("Auth", {
  reasonCode: Schema.Literals(ReasonCode.codes("Auth")),
  properties: Schema.optional(Property.schemaOf("Auth"))
})
export interface Auth extends Schema.Schema.Type<typeof Auth> {}

/** Any packet. `Packet.guards` has a guard per tag, `Packet.match` a case analysis. */
export const Packet = Schema.Union([
  Connect,
  ConnAck,
  Publish,
  PubAck,
  PubRec,
  PubRel,
  PubComp,
  Subscribe,
  SubAck,
  Unsubscribe,
  UnsubAck,
  PingReq,
  PingResp,
  Disconnect,
  Auth
]).pipe(Schema.toTaggedUnion("_tag"))

export type Packet =
  | Connect
  | ConnAck
  | Publish
  | PubAck
  | PubRec
  | PubRel
  | PubComp
  | Subscribe
  | SubAck
  | Unsubscribe
  | UnsubAck
  | PingReq
  | PingResp
  | Disconnect
  | Auth

/** Packets as JSON values; bytes are base64. */
export const PacketJson = Schema.toCodecJson(Packet)
