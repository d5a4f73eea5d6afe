/**
 * Packets to bytes, in any version, into a caller's buffer in one pass.
 *
 * A packet speaks 5.0; what an older version cannot say is mapped (reason codes of CONNACK and SUBACK) or left out
 * (properties, other reason codes). Nothing is checked here: `Encodable` says beforehand whether a packet that does not
 * come from this codec can be sent at all.
 */
import * as Field from "./Field.ts"
import * as FixedHeader from "./FixedHeader.ts"
import { byteLength, reasonLength, remainingLength, type WithReason } from "./PacketLength.ts"
import type { Connect, Packet, ProtocolVersion, Subscription } from "./Packet.ts"
import { firstByte } from "./PreparedPublish.ts"
import type * as Property from "./PropertyTable.ts"
import * as PropertyEncoder from "./PropertyEncoder.ts"
import * as ReasonCode from "./ReasonCode.ts"
import * as Varint from "./Varint.ts"

export { byteLength } from "./PacketLength.ts"
export { type Content, PreparedPublish, preparePublish, stampPublish } from "./PreparedPublish.ts"

/** The packet in an array of its own. */
export const encode = (packet: Packet, version: ProtocolVersion): Uint8Array => {
  const bytes = new Uint8Array(byteLength(packet, version))
  encodeInto(packet, version, bytes, 0)
  return bytes
}

/**
 * Writes the packet and returns where it ends; the target has `byteLength` bytes of room from `at` on.
 *
 * The body is written first and its length put in front of it, so no length is computed ahead. PUBLISH is the
 * exception: its body can be long, and is not worth moving.
 */
export const encodeInto = (packet: Packet, version: ProtocolVersion, target: Uint8Array, at: number): number => {
  if (packet._tag === "Publish") {
    target[at] = firstByte(packet.qos, packet.retain, packet.dup)
    return writeBody(packet, version, target, Varint.write(remainingLength(packet, version), target, at + 1))
  }
  const type = FixedHeader.types[packet._tag]
  target[at] = (type << 4) | FixedHeader.flagsOf(type)
  return Field.insertLength(target, at + 1, writeBody(packet, version, target, at + 2))
}

/**
 * Writes an acknowledgement that says success, in its four bytes, and returns where it ends.
 *
 * @param packetType 4 PUBACK, 5 PUBREC, 6 PUBREL, 7 PUBCOMP
 */
export const writeAck = (target: Uint8Array, at: number, packetType: 4 | 5 | 6 | 7, packetId: number): number => {
  target[at] = packetType === 6 ? 0x62 : packetType << 4 // [MQTT-3.6.1-1]
  target[at + 1] = 2
  target[at + 2] = packetId >>> 8
  target[at + 3] = packetId & 0xff
  return at + 4
}

const writeBody = (packet: Packet, version: ProtocolVersion, target: Uint8Array, start: number): number => {
  let at = start
  switch (packet._tag) {
    case "Connect":
      return writeConnect(packet, target, at)
    case "ConnAck":
      target[at++] = packet.sessionPresent && version > 3 ? 1 : 0
      target[at++] = version === 5 ? packet.reasonCode : ReasonCode.toConnAckReturnCode(packet.reasonCode)
      return writeProperties(packet.properties, "ConnAck", version, target, at)
    case "Publish":
      at = Field.writeText(packet.topic, target, at)
      if (packet.qos !== 0) at = Field.writeNumber(packet.packetId ?? 0, 2, target, at)
      at = writeProperties(packet.properties, "Publish", version, target, at)
      target.set(packet.payload, at)
      return at + packet.payload.length
    case "PubAck":
    case "PubRec":
    case "PubRel":
    case "PubComp":
      return writeReason(packet, version, target, Field.writeNumber(packet.packetId, 2, target, at))
    case "Subscribe":
      at = Field.writeNumber(packet.packetId, 2, target, at)
      at = writeProperties(packet.properties, "Subscribe", version, target, at)
      for (const subscription of packet.subscriptions) {
        at = Field.writeText(subscription.filter, target, at)
        target[at++] = version === 5 ? optionsByte(subscription) : subscription.qos
      }
      return at
    case "SubAck":
      at = Field.writeNumber(packet.packetId, 2, target, at)
      at = writeProperties(packet.properties, "SubAck", version, target, at)
      for (const code of packet.reasonCodes) {
        target[at++] = version === 5 ? code : ReasonCode.toSubAckReturnCode(code)
      }
      return at
    case "Unsubscribe":
      at = Field.writeNumber(packet.packetId, 2, target, at)
      at = writeProperties(packet.properties, "Unsubscribe", version, target, at)
      for (const filter of packet.filters) at = Field.writeText(filter, target, at)
      return at
    case "UnsubAck":
      at = Field.writeNumber(packet.packetId, 2, target, at)
      if (version < 5) return at
      at = PropertyEncoder.write(packet.properties, "UnsubAck", target, at)
      for (const code of packet.reasonCodes) target[at++] = code
      return at
    case "PingReq":
    case "PingResp":
      return at
    case "Disconnect":
    case "Auth":
      return writeReason(packet, version, target, at)
  }
}

const writeProperties = (
  properties: Property.Properties | undefined,
  carrier: Property.Carrier,
  version: ProtocolVersion,
  target: Uint8Array,
  at: number
): number => (version === 5 ? PropertyEncoder.write(properties, carrier, target, at) : at)

const optionsByte = (subscription: Subscription): number =>
  subscription.qos |
  (subscription.noLocal ? 0x04 : 0) |
  (subscription.retainAsPublished ? 0x08 : 0) |
  (subscription.retainHandling << 4)

/** As `reasonLength` counts it. */
const writeReason = (packet: WithReason, version: ProtocolVersion, target: Uint8Array, at: number): number => {
  const length = reasonLength(packet, version)
  if (length === 0) return at
  target[at] = packet.reasonCode
  return length === 1 ? at + 1 : PropertyEncoder.write(packet.properties, packet._tag, target, at + 1)
}

const writeConnect = (packet: Connect, target: Uint8Array, start: number): number => {
  const version = packet.protocolVersion
  const will = packet.will
  let at = Field.writeText(version === 3 ? "MQIsdp" : "MQTT", target, start)
  target[at++] = version
  target[at++] =
    (packet.cleanStart ? 0x02 : 0) |
    (will === undefined ? 0 : 0x04 | (will.qos << 3) | (will.retain ? 0x20 : 0)) |
    (packet.password === undefined ? 0 : 0x40) |
    (packet.userName === undefined ? 0 : 0x80)
  at = Field.writeNumber(packet.keepAliveSeconds, 2, target, at)
  at = writeProperties(packet.properties, "Connect", version, target, at)
  at = Field.writeText(packet.clientId, target, at)
  if (will !== undefined) {
    at = writeProperties(will.properties, "Will", version, target, at)
    at = Field.writeBinary(will.payload, target, Field.writeText(will.topic, target, at))
  }
  if (packet.userName !== undefined) at = Field.writeText(packet.userName, target, at)
  if (packet.password !== undefined) at = Field.writeBinary(packet.password, target, at)
  return at
}
