/**
 * Whether a packet can be sent: asked about packets that were put together by a program rather than decoded.
 *
 * It goes through Schema, so it is for packets that a user's call creates, not for packets that pass through.
 */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { DecodedPublish } from "./DecodedPublish.ts"
import { Packet, type ProtocolVersion, type Publish } from "./Packet.ts"
import { byteLength } from "./PacketLength.ts"
import { malformed, ProtocolError, violation } from "./ProtocolError.ts"
import * as Topic from "./Topic.ts"
import * as Varint from "./Varint.ts"

const check = Schema.decodeUnknownResult(Schema.toType(Packet))

/**
 * Why the packet cannot be encoded in that version without lying on the wire; `undefined` when it can.
 *
 * A string over 65,535 bytes, a lone surrogate, a QoS of 4 or a missing packet identifier is reported here; the encoder
 * would wrap it, replace it, or write other bits over.
 */
export const encodable = (packet: Packet, version: ProtocolVersion): ProtocolError | undefined => {
  const plain = packet instanceof DecodedPublish ? packet.toPublish() : packet
  const checked = check(plain)
  if (Result.isFailure(checked)) return malformed(`${plain._tag} cannot be sent: ${checked.failure.message}.`)
  if (byteLength(plain, version) > 5 + Varint.max) {
    return new ProtocolError(0x95, "A packet has at most 268,435,455 bytes behind its fixed header.")
  }
  switch (plain._tag) {
    case "Publish":
      return publishFault(plain, version)
    case "Connect": {
      const lonelyPassword = plain.password !== undefined && plain.userName === undefined
      if (lonelyPassword && plain.protocolVersion === 4) {
        return violation("Before 5.0 a password comes with a user name [MQTT-3.1.2-22].")
      }
      return plain.will === undefined ? undefined : Topic.validateName(plain.will.topic, Topic.bytesMax)
    }
    case "Auth":
      if (version < 5) return violation("AUTH exists only in 5.0.")
      return plain.properties?.authenticationMethod === undefined && byteLength(plain, version) > 2
        ? violation("AUTH has an authentication method.")
        : undefined
    default:
      return undefined
  }
}

const publishFault = (packet: Publish, version: ProtocolVersion): ProtocolError | undefined => {
  if (packet.qos > 0 && packet.packetId === undefined) {
    return violation("A PUBLISH above QoS 0 has a packet identifier [MQTT-2.2.1-3].")
  }
  if (packet.qos === 0 && packet.dup && version > 3)
    return violation("A PUBLISH at QoS 0 is never a duplicate [MQTT-3.3.1-2].")
  const { responseTopic, topicAlias } = packet.properties ?? {}
  const aliased = version === 5 && topicAlias !== undefined
  if (version === 5 && responseTopic !== undefined && Topic.validateName(responseTopic, Topic.bytesMax) !== undefined) {
    return new ProtocolError(0x90, "A response topic is a topic name without wildcards [MQTT-3.3.2-14].", 601)
  }
  return packet.topic === "" && aliased ? undefined : Topic.validateName(packet.topic, Topic.bytesMax)
}
