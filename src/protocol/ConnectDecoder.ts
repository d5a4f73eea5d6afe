/**
 * The CONNECT packet, from bytes to an object: the one packet that says which version it is in.
 *
 * Whether a well-formed CONNECT is accepted (client identifier, credentials, limits) is the broker's decision.
 */
import type { Connect, ProtocolVersion, QoS, Will } from "./Packet.ts"
import * as PropertyDecoder from "./PropertyDecoder.ts"
import { malformed, ProtocolError, violation } from "./ProtocolError.ts"
import type { Reader } from "./Reader.ts"
import * as Topic from "./Topic.ts"

const unsupported = (message: string): ProtocolError => new ProtocolError(0x84, message)

/**
 * Reads the protocol name and level: the version of the packet and of its connection; `undefined` with `reader.error`
 * set when they name no version known here.
 */
export const decodeVersion = (reader: Reader): ProtocolVersion | undefined => {
  const name = reader.text()
  const level = reader.uint8()
  if (reader.error !== undefined) return undefined
  if (name === "MQTT" && (level === 4 || level === 5)) return level
  if (name === "MQIsdp" && level === 3) return level
  const known = name === "MQTT" || name === "MQIsdp"
  reader.fail(
    known
      ? unsupported(`The protocol level ${level} is not one that ${name} has here [MQTT-3.1.2-2].`)
      : unsupported("The protocol name is MQTT, or MQIsdp in version 3.1 [MQTT-3.1.2-1].")
  )
  return undefined
}

const flagBits = { cleanStart: 0x02, will: 0x04, willRetain: 0x20, password: 0x40, userName: 0x80 } as const

/** Reads what follows the protocol level; `undefined` with `reader.error` set when it is not a valid CONNECT. */
export const decode = (
  reader: Reader,
  version: ProtocolVersion,
  topicLevelsMax: number,
  userPropertiesMax: number
): Connect | undefined => {
  const flags = reader.uint8()
  if (version > 3) checkFlags(reader, flags, version)
  const keepAliveSeconds = reader.uint16()
  const properties = version === 5 ? PropertyDecoder.decode(reader, "Connect", userPropertiesMax) : undefined
  if (properties?.authenticationData !== undefined && properties.authenticationMethod === undefined) {
    reader.fail(violation("Authentication data comes with an authentication method."))
  }
  const clientId = reader.text()
  const will =
    (flags & flagBits.will) === 0 ? undefined : decodeWill(reader, flags, version, topicLevelsMax, userPropertiesMax)
  // MQTT 3.1 lets the remaining length overrule these two flags: a client may set them and leave the strings out.
  const optional = version === 3
  const hasUserName = (flags & flagBits.userName) !== 0 && !(optional && reader.at === reader.end)
  const userName = hasUserName ? reader.text() : undefined
  const hasPassword = (flags & flagBits.password) !== 0 && !(optional && reader.at === reader.end)
  const password = hasPassword ? reader.binary() : undefined
  reader.finish()
  if (reader.error !== undefined) return undefined
  return {
    _tag: "Connect",
    protocolVersion: version,
    clientId,
    cleanStart: (flags & flagBits.cleanStart) !== 0,
    keepAliveSeconds,
    userName,
    password,
    will,
    properties
  }
}

const willQoS = (flags: number): number => (flags >> 3) & 3

/** The rules of 3.1.1 and 5.0 for the connect flags; 3.1 has none. */
const checkFlags = (reader: Reader, flags: number, version: ProtocolVersion): void => {
  if ((flags & 0x01) !== 0) reader.fail(malformed("The reserved connect flag is 0 [MQTT-3.1.2-3]."))
  if ((flags & flagBits.will) === 0) {
    if (willQoS(flags) !== 0) reader.fail(malformed("Without a will, its QoS is 0 [MQTT-3.1.2-11]."))
    if ((flags & flagBits.willRetain) !== 0) {
      reader.fail(malformed("Without a will, its retain flag is 0 [MQTT-3.1.2-13]."))
    }
  }
  if (version === 4 && (flags & flagBits.password) !== 0 && (flags & flagBits.userName) === 0) {
    reader.fail(malformed("Before 5.0 a password comes with a user name [MQTT-3.1.2-22]."))
  }
}

const decodeWill = (
  reader: Reader,
  flags: number,
  version: ProtocolVersion,
  topicLevelsMax: number,
  userPropertiesMax: number
): Will => {
  const qos = willQoS(flags)
  if (qos === 3) reader.fail(malformed("The QoS of a will is not 3 [MQTT-3.1.2-12]."))
  const properties = version === 5 ? PropertyDecoder.decode(reader, "Will", userPropertiesMax) : undefined
  const topic = reader.text()
  if (reader.error === undefined) {
    const fault = Topic.validateName(topic, topicLevelsMax)
    if (fault !== undefined) reader.fail(fault)
  }
  const payload = reader.binary()
  // 3 was refused above; the value is then never handed on.
  return { topic, payload, qos: qos as QoS, retain: (flags & flagBits.willRetain) !== 0, properties }
}
