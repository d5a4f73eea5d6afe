/**
 * The packets off the hot path, from bytes to objects: one function each, over a `Reader`.
 *
 * CONNECT is in `ConnectDecoder`, PUBLISH and the short acknowledgements in `Decoder`, which also has checked the
 * fixed header. Each function returns `undefined` with `reader.error` set when the packet is invalid.
 */
import type * as Packet from "./Packet.ts"
import type * as Property from "./PropertyTable.ts"
import * as PropertyDecoder from "./PropertyDecoder.ts"
import { malformed, violation } from "./ProtocolError.ts"
import type { Reader } from "./Reader.ts"
import * as ReasonCode from "./ReasonCode.ts"

/** What decoding depends on besides the bytes. */
export interface Context {
  readonly version: Packet.ProtocolVersion
  /** Which side the bytes come from. */
  readonly sender: "client" | "server"
  readonly userPropertiesMax: number
}

const decodeProperties = <C extends Property.Carrier>(
  reader: Reader,
  carrier: C,
  context: Context
): Property.Of<C> | undefined =>
  context.version === 5 ? PropertyDecoder.decode(reader, carrier, context.userPropertiesMax) : undefined

/** As `decodeProperties`, where the property length may be left out: then the packet has ended. */
const decodeOmittableProperties = <C extends Property.Carrier>(
  reader: Reader,
  carrier: C,
  context: Context
): Property.Of<C> | undefined => (reader.at === reader.end ? undefined : decodeProperties(reader, carrier, context))

/** A reason code that this packet may carry from this side; success with `reader.error` set for any other. */
const decodeReasonCode = <C extends ReasonCode.Carrier>(
  reader: Reader,
  carrier: C,
  context: Context
): ReasonCode.Of<C> | undefined => {
  const code = reader.uint8()
  if (ReasonCode.isAllowed(carrier, context.sender, code)) return code
  reader.fail(violation(`The reason of ${carrier} from a ${context.sender} cannot be ${ReasonCode.describe(code)}.`))
  return undefined
}

const refuseDataWithoutMethod = (reader: Reader, properties: Property.Properties | undefined): void => {
  if (properties?.authenticationData !== undefined && properties.authenticationMethod === undefined) {
    reader.fail(violation("Authentication data comes with an authentication method."))
  }
}

/** Whether the packet was read to its end without a fault. */
const ended = (reader: Reader): boolean => {
  reader.finish()
  return reader.error === undefined
}

export const decodeConnAck = (reader: Reader, context: Context): Packet.ConnAck | undefined => {
  const flags = reader.uint8()
  if (flags > 1 && context.version > 3) {
    reader.fail(malformed("The flags of CONNACK other than session present are 0 [MQTT-3.2.2-1]."))
  }
  const sessionPresent = context.version > 3 && flags === 1
  // A server that only knows older versions refuses a 5.0 CONNECT in its own form: return code 1 and no properties.
  const older = context.version < 5 || (reader.at + 1 === reader.end && reader.source[reader.at] === 1)
  const reasonCode = older ? decodeReturnCode(reader) : decodeReasonCode(reader, "ConnAck", context)
  const properties = older ? undefined : decodeProperties(reader, "ConnAck", context)
  refuseDataWithoutMethod(reader, properties)
  if (sessionPresent && reasonCode !== ReasonCode.Success) {
    reader.fail(violation("A refused connection has no session present [MQTT-3.2.2-6]."))
  }
  if (!ended(reader) || reasonCode === undefined) return undefined
  return { _tag: "ConnAck", sessionPresent, reasonCode, properties }
}

const decodeReturnCode = (reader: Reader): ReasonCode.ConnAckReasonCode | undefined => {
  const returnCode = reader.uint8()
  const code = ReasonCode.fromConnAckReturnCode(returnCode)
  if (code === undefined) reader.fail(violation(`The return code of CONNACK cannot be ${returnCode}.`))
  return code
}

type AcknowledgementTag = "PubAck" | "PubRec" | "PubRel" | "PubComp"

interface Acknowledgement<T extends AcknowledgementTag> {
  readonly _tag: T
  readonly packetId: number
  readonly reasonCode: ReasonCode.Of<T>
  readonly properties: Property.Of<T> | undefined
}

/** An acknowledgement in the long form of 5.0: a reason code behind the packet identifier, then properties or none. */
export const decodeAcknowledgement = <T extends AcknowledgementTag>(
  reader: Reader,
  tag: T,
  context: Context
): Acknowledgement<T> | undefined => {
  const packetId = reader.packetId()
  if (context.version < 5) {
    reader.fail(malformed("An acknowledgement is two bytes long before 5.0."))
    return undefined
  }
  const reasonCode = decodeReasonCode(reader, tag, context)
  const properties = decodeOmittableProperties(reader, tag, context)
  if (!ended(reader) || reasonCode === undefined) return undefined
  return { _tag: tag, packetId, reasonCode, properties }
}

export const decodeSubscribe = (reader: Reader, context: Context): Packet.Subscribe | undefined => {
  const packetId = reader.packetId()
  const properties = decodeProperties(reader, "Subscribe", context)
  const subscriptions: Array<Packet.Subscription> = []
  while (reader.at < reader.end) {
    const subscription = decodeSubscription(reader, context.version)
    if (subscription !== undefined) subscriptions.push(subscription)
  }
  if (subscriptions.length === 0) reader.fail(violation("SUBSCRIBE has at least one filter [MQTT-3.8.3-2]."))
  return reader.error === undefined ? { _tag: "Subscribe", packetId, subscriptions, properties } : undefined
}

const decodeSubscription = (reader: Reader, version: Packet.ProtocolVersion): Packet.Subscription | undefined => {
  const filter = reader.text()
  const byte = reader.uint8()
  const options = version === 3 ? byte & 0x03 : byte // 3.1 does not use the other bits
  const reserved = version === 5 ? 0xc0 : 0xfc
  if ((options & reserved) !== 0) {
    reader.fail(malformed("The reserved bits of the subscription options are 0 [MQTT-3.8.3-5]."))
  }
  const qos = options & 0x03
  const noLocal = (options & 0x04) !== 0
  const retainAsPublished = (options & 0x08) !== 0
  const retainHandling = (options >> 4) & 0x03
  if (qos === 3) reader.fail(violation("The QoS of a subscription is not 3."))
  else if (retainHandling === 3) reader.fail(violation("The retain handling of a subscription is not 3."))
  else if (noLocal && filter.startsWith("$share/")) {
    reader.fail(violation("A shared subscription does not set No Local [MQTT-3.8.3-4]."))
  } else if (reader.error === undefined) {
    // Two bits that are not 3.
    const handling = retainHandling as Packet.Subscription["retainHandling"]
    return { filter, qos: qos as Packet.QoS, noLocal, retainAsPublished, retainHandling: handling }
  }
  return undefined
}

export const decodeSubAck = (reader: Reader, context: Context): Packet.SubAck | undefined => {
  const packetId = reader.packetId()
  const properties = decodeProperties(reader, "SubAck", context)
  const reasonCodes: Array<ReasonCode.SubAckReasonCode> = []
  while (reader.at < reader.end) {
    const code = decodeReasonCode(reader, "SubAck", context)
    if (code === undefined) break
    if (context.version < 5 && ReasonCode.toSubAckReturnCode(code) !== code) {
      reader.fail(violation(`The return code of SUBACK cannot be ${code} before 5.0 [MQTT-3.9.3-2].`))
    }
    reasonCodes.push(code)
  }
  if (reasonCodes.length === 0) reader.fail(violation("SUBACK has a reason code for every filter [MQTT-3.8.4-6]."))
  return reader.error === undefined ? { _tag: "SubAck", packetId, reasonCodes, properties } : undefined
}

export const decodeUnsubscribe = (reader: Reader, context: Context): Packet.Unsubscribe | undefined => {
  const packetId = reader.packetId()
  const properties = decodeProperties(reader, "Unsubscribe", context)
  const filters: Array<string> = []
  while (reader.at < reader.end) filters.push(reader.text())
  if (filters.length === 0) reader.fail(violation("UNSUBSCRIBE has at least one filter [MQTT-3.10.3-2]."))
  return reader.error === undefined ? { _tag: "Unsubscribe", packetId, filters, properties } : undefined
}

export const decodeUnsubAck = (reader: Reader, context: Context): Packet.UnsubAck | undefined => {
  const packetId = reader.packetId()
  const properties = decodeProperties(reader, "UnsubAck", context)
  const reasonCodes: Array<ReasonCode.UnsubAckReasonCode> = []
  if (context.version === 5) {
    while (reader.at < reader.end) {
      const code = decodeReasonCode(reader, "UnsubAck", context)
      if (code !== undefined) reasonCodes.push(code)
    }
    if (reasonCodes.length === 0) reader.fail(violation("UNSUBACK has a reason code for every filter [MQTT-3.11.3-1]."))
  }
  return ended(reader) ? { _tag: "UnsubAck", packetId, reasonCodes, properties } : undefined
}

export const decodePing = <T extends "PingReq" | "PingResp">(reader: Reader, tag: T): { _tag: T } | undefined =>
  ended(reader) ? { _tag: tag } : undefined

export const decodeDisconnect = (reader: Reader, context: Context): Packet.Disconnect | undefined => {
  const bare = context.version < 5 || reader.at === reader.end
  const reasonCode = bare ? ReasonCode.NormalDisconnection : decodeReasonCode(reader, "Disconnect", context)
  const properties = bare ? undefined : decodeOmittableProperties(reader, "Disconnect", context)
  if (context.sender === "server" && properties?.sessionExpiryInterval !== undefined) {
    reader.fail(violation("A server does not send a session expiry interval in DISCONNECT [MQTT-3.14.2-2]."))
  }
  return ended(reader) && reasonCode !== undefined ? { _tag: "Disconnect", reasonCode, properties } : undefined
}

/**
 * AUTH of 5.0.
 *
 * The standard requires an authentication method and also lets a success without properties leave everything out, so
 * an empty AUTH is accepted; any longer one has a method.
 */
export const decodeAuth = (reader: Reader, context: Context): Packet.Auth | undefined => {
  const bare = reader.at === reader.end && context.sender === "server" // a client never sends success
  const reasonCode = bare ? ReasonCode.Success : decodeReasonCode(reader, "Auth", context)
  const properties = bare ? undefined : decodeProperties(reader, "Auth", context)
  if (!bare && properties?.authenticationMethod === undefined) {
    reader.fail(violation("AUTH has an authentication method."))
  }
  return ended(reader) && reasonCode !== undefined ? { _tag: "Auth", reasonCode, properties } : undefined
}
