/**
 * How many bytes a packet takes on the wire, without writing it.
 */
import type { Connect, Packet, ProtocolVersion } from "./Packet.ts"
import type * as Property from "./PropertyTable.ts"
import * as PropertyEncoder from "./PropertyEncoder.ts"
import * as ReasonCode from "./ReasonCode.ts"
import * as Utf8 from "./Utf8.ts"
import * as Varint from "./Varint.ts"

/** Bytes of the whole packet on the wire. A CONNECT is in its own version, whatever `version` says. */
export const byteLength = (packet: Packet, version: ProtocolVersion): number => {
  const remaining = remainingLength(packet, version)
  return 1 + Varint.byteLength(remaining) + remaining
}

const textLength = (text: string): number => 2 + Utf8.byteLength(text)

const propertiesLength = (
  properties: Property.Properties | undefined,
  carrier: Property.Carrier,
  version: ProtocolVersion
): number => (version === 5 ? PropertyEncoder.byteLength(properties, carrier) : 0)

/** Bytes behind the fixed header. */
export const remainingLength = (packet: Packet, version: ProtocolVersion): number => {
  switch (packet._tag) {
    case "Connect":
      return connectLength(packet)
    case "ConnAck":
      return 2 + propertiesLength(packet.properties, "ConnAck", version)
    case "Publish": {
      const head = textLength(packet.topic) + (packet.qos === 0 ? 0 : 2)
      return head + propertiesLength(packet.properties, "Publish", version) + packet.payload.length
    }
    case "PubAck":
    case "PubRec":
    case "PubRel":
    case "PubComp":
      return 2 + reasonLength(packet, version)
    case "Subscribe": {
      let length = 2 + propertiesLength(packet.properties, "Subscribe", version)
      for (const subscription of packet.subscriptions) length += textLength(subscription.filter) + 1
      return length
    }
    case "SubAck":
      return 2 + propertiesLength(packet.properties, "SubAck", version) + packet.reasonCodes.length
    case "Unsubscribe": {
      let length = 2 + propertiesLength(packet.properties, "Unsubscribe", version)
      for (const filter of packet.filters) length += textLength(filter)
      return length
    }
    case "UnsubAck":
      return version === 5
        ? 2 + PropertyEncoder.byteLength(packet.properties, "UnsubAck") + packet.reasonCodes.length
        : 2
    case "PingReq":
    case "PingResp":
      return 0
    case "Disconnect":
    case "Auth":
      return reasonLength(packet, version)
  }
}

const connectLength = (packet: Connect): number => {
  const version = packet.protocolVersion
  let length = version === 3 ? 12 : 10 // protocol name, level, flags, keep alive
  length += propertiesLength(packet.properties, "Connect", version) + textLength(packet.clientId)
  const will = packet.will
  if (will !== undefined) {
    length += propertiesLength(will.properties, "Will", version) + textLength(will.topic) + 2 + will.payload.length
  }
  if (packet.userName !== undefined) length += textLength(packet.userName)
  if (packet.password !== undefined) length += 2 + packet.password.length
  return length
}

/** The packets that end in a reason code and properties, both of which can be left out. */
export type WithReason = Extract<
  Packet,
  { readonly _tag: "PubAck" | "PubRec" | "PubRel" | "PubComp" | "Disconnect" | "Auth" }
>

/**
 * Bytes of a reason code and properties at the end of a packet: none for a plain success.
 *
 * AUTH is the one packet that cannot leave out an empty property list behind a reason code.
 */
export const reasonLength = (packet: WithReason, version: ProtocolVersion): number => {
  if (version < 5) return 0
  const content = PropertyEncoder.contentLength(packet.properties, packet._tag)
  if (content > 0) return 1 + Varint.byteLength(content) + content
  if (packet.reasonCode === ReasonCode.Success) return 0
  return packet._tag === "Auth" ? 2 : 1
}
