/**
 * The first byte of a packet: its type and four flags, which of them each side may send, and what is wrong with others.
 */
import type { Packet, ProtocolVersion } from "./Packet.ts"
import { malformed, type ProtocolError, violation } from "./ProtocolError.ts"

/** The packet types by their number, the upper four bits of the first byte. */
export const types = {
  Connect: 1,
  ConnAck: 2,
  Publish: 3,
  PubAck: 4,
  PubRec: 5,
  PubRel: 6,
  PubComp: 7,
  Subscribe: 8,
  SubAck: 9,
  Unsubscribe: 10,
  UnsubAck: 11,
  PingReq: 12,
  PingResp: 13,
  Disconnect: 14,
  Auth: 15
} as const satisfies Record<Packet["_tag"], number>

type Side = "client" | "server"

/** The first version in which that side sends the type; 6 for never. */
const since: Readonly<Record<Side, ReadonlyArray<number>>> = {
  // CONNECT is accepted only before a version is known, so no version lists it.
  client: [6, 6, 6, 3, 3, 3, 3, 3, 3, 6, 3, 6, 3, 6, 3, 5],
  server: [6, 6, 3, 3, 3, 3, 3, 3, 6, 3, 6, 3, 6, 3, 5, 5]
}

/** The only flags that are not 0: those of PUBREL, SUBSCRIBE and UNSUBSCRIBE are 2 [MQTT-2.1.3-1]. */
export const flagsOf = (type: number): number =>
  type === types.PubRel || type === types.Subscribe || type === types.Unsubscribe ? 2 : 0

const isAllowed = (firstByte: number, sender: Side, version: ProtocolVersion | undefined): boolean => {
  const type = firstByte >> 4
  // Flags of a CONNECT depend on the version that it will turn out to be: see `connectFault`.
  if (version === undefined) return sender === "client" && type === types.Connect
  if (since[sender][type]! > version) return false
  const flags = firstByte & 0x0f
  if (type === types.Publish) {
    const qos = (flags >> 1) & 3
    const dup = (flags & 8) !== 0
    return qos !== 3 && !(dup && qos === 0 && version > 3)
  }
  // 3.1 gives these flags no fixed values, and its clients set DUP and a QoS on more packets than PUBLISH.
  return version === 3 || flags === flagsOf(type)
}

const tables = new Map<string, Uint8Array>()

/** A table of the 256 first bytes: 1 where a packet may start with it. Without a version only CONNECT may come. */
export const allowed = (sender: Side, version: ProtocolVersion | undefined): Uint8Array => {
  const key = `${sender} ${version}`
  const known = tables.get(key)
  if (known !== undefined) return known
  const table = Uint8Array.from({ length: 256 }, (_, firstByte) => (isAllowed(firstByte, sender, version) ? 1 : 0))
  tables.set(key, table)
  return table
}

/** Why a first byte is not allowed. */
export const faultOf = (firstByte: number, sender: Side, version: ProtocolVersion | undefined): ProtocolError => {
  const type = firstByte >> 4
  if (version === undefined) return violation("The first packet is CONNECT [MQTT-3.1.0-1].")
  if (type === 0 || (type === types.Auth && version < 5)) return malformed(`The packet type ${type} is reserved.`)
  if (sender === "client" && type === types.Connect) return violation("CONNECT is sent only once [MQTT-3.1.0-2].")
  if (since[sender][type]! > version) return violation(`A ${sender} does not send packets of type ${type}.`)
  if (type !== types.Publish)
    return malformed("The flags of the fixed header are not those of its type [MQTT-2.1.3-1].")
  return (firstByte & 6) === 6
    ? malformed("The QoS of PUBLISH is not 3 [MQTT-3.3.1-4].")
    : malformed("A PUBLISH at QoS 0 is never a duplicate [MQTT-3.3.1-2].")
}

/** What is wrong with the flags of a CONNECT, once its version is known. */
export const connectFault = (firstByte: number, version: ProtocolVersion): ProtocolError | undefined =>
  version > 3 && (firstByte & 0x0f) !== 0
    ? malformed("The flags of the fixed header are not those of its type [MQTT-2.1.3-1].")
    : undefined
