/**
 * A message as bytes, the way the store keeps it; the properties are in their form on the wire.
 *
 * Read back with care: a file can be damaged anywhere. `read` returns undefined for what is no message.
 */
import type { Origin, StoredMessage, StoredWill } from "../core/StoreOperation.ts"
import type { QoS } from "../protocol/Packet.ts"
import type { Properties } from "../protocol/Property.ts"
import * as PropertyDecoder from "../protocol/PropertyDecoder.ts"
import * as PropertyEncoder from "../protocol/PropertyEncoder.ts"
import { malformed } from "../protocol/ProtocolError.ts"
import { Reader } from "../protocol/Reader.ts"
import type { SqliteBytes } from "./SqliteBytes.ts"

const QOS = 0x03
const RETAIN = 0x04
const HAS_PROPERTIES = 0x08
const EXPIRES = 0x10
/** From version 2 of the file on: who published it stands behind the topic. */
const HAS_ORIGIN = 0x20

/** Flags, message id, received, expires, and the lengths of topic and payload. */
const FIXED_BYTES = 1 + 6 + 6 + 6 + 2 + 4

/** At most this many bytes, for `reserve`; not less than `write` takes. */
const roomFor = ({ origin, payload, properties, topic }: StoredMessage): number =>
  FIXED_BYTES +
  topic.length * 3 +
  (origin === undefined ? 0 : 4 + (origin.clientId.length + origin.userName.length) * 3) +
  payload.length +
  (properties === undefined ? 0 : PropertyEncoder.byteLength(properties, "Publish"))

export const write = (message: StoredMessage, target: SqliteBytes): void => {
  const { expiresAt, origin, payload, properties, qos, retain } = message
  target.reserve(roomFor(message))
  target.uint8(
    qos |
      (retain ? RETAIN : 0) |
      (properties === undefined ? 0 : HAS_PROPERTIES) |
      (expiresAt === 0 ? 0 : EXPIRES) |
      (origin === undefined ? 0 : HAS_ORIGIN)
  )
  target.uint48(message.messageId)
  target.uint48(message.receivedAt)
  if (expiresAt !== 0) target.uint48(expiresAt)
  target.text(message.topic)
  if (origin !== undefined) {
    target.text(origin.clientId)
    target.text(origin.userName)
  }
  if (properties !== undefined) target.at = PropertyEncoder.write(properties, "Publish", target.bytes, target.at)
  target.uint32(payload.length)
  target.copy(payload)
}

const uint48 = (reader: Reader): number => {
  const high = reader.uint16()
  return high * 0x1_0000_0000 + reader.uint32()
}

/** Reads messages one behind the other; topics that repeat are one string. */
export class MessageReader {
  readonly reader: Reader
  private topic = ""
  private topicStart = 0
  private topicEnd = 0

  constructor(source: Uint8Array, at = 0) {
    this.reader = new Reader(source, at, source.length)
  }

  /** Goes on with other bytes of the same source. */
  seek(start: number, end: number): void {
    const { reader } = this
    reader.at = start
    reader.end = end
    reader.error = undefined
  }

  /** Undefined when these bytes are no message; the payload is a view of them. */
  read(): StoredMessage | undefined {
    const { reader } = this
    const flags = reader.uint8()
    const qos = flags & QOS
    const messageId = uint48(reader)
    const receivedAt = uint48(reader)
    const expiresAt = (flags & EXPIRES) === 0 ? 0 : uint48(reader)
    const topic = this.readTopic()
    const origin = (flags & HAS_ORIGIN) === 0 ? undefined : readOrigin(reader)
    const properties = (flags & HAS_PROPERTIES) === 0 ? undefined : readProperties(reader)
    const length = reader.uint32()
    const end = reader.at + length
    if (reader.error !== undefined || end > reader.end || qos > 2) {
      reader.fail(malformed("The stored message is cut off."))
      return undefined
    }
    const payload = reader.source.subarray(reader.at, end)
    reader.at = end
    const message: StoredMessage = {
      messageId,
      topic,
      payload,
      qos: qos as QoS, // two bits that are not 3
      retain: (flags & RETAIN) !== 0,
      properties,
      receivedAt,
      expiresAt
    }
    return origin === undefined ? message : { ...message, origin }
  }

  private readTopic(): string {
    const { reader } = this
    const start = reader.at
    if (this.repeatsTopic(start)) {
      reader.at = start + this.topicEnd - this.topicStart
      return this.topic
    }
    const topic = reader.text()
    if (reader.error !== undefined) return topic
    this.topic = topic
    this.topicStart = start
    this.topicEnd = reader.at
    return topic
  }

  /** The same bytes as the last topic's, its length in front included. */
  private repeatsTopic(start: number): boolean {
    const { source, end } = this.reader
    const length = this.topicEnd - this.topicStart
    if (length === 0 || start + length > end) return false
    for (let index = 0; index < length; index++) {
      if (source[start + index] !== source[this.topicStart + index]) return false
    }
    return true
  }
}

const readOrigin = (reader: Reader): Origin => {
  const clientId = reader.text()
  return { clientId, userName: reader.text() }
}

/** Only the properties that are there: what comes back has the keys of what was put. */
const readProperties = (reader: Reader): Properties => {
  const decoded: Properties | undefined = PropertyDecoder.decode(reader, "Publish", Number.POSITIVE_INFINITY)
  if (decoded === undefined) return {}
  return Object.fromEntries(Object.entries(decoded).filter(([, value]) => value !== undefined))
}

export const read = (source: Uint8Array): StoredMessage | undefined => {
  const messages = new MessageReader(source)
  const message = messages.read()
  return messages.reader.at === source.length ? message : undefined
}

const DELAY_BYTES = 4

export const writeWill = (will: StoredWill, target: SqliteBytes): void => {
  target.reserve(DELAY_BYTES)
  target.uint32(will.delaySeconds)
  write(will.message, target)
}

export const readWill = (source: Uint8Array): StoredWill | undefined => {
  const messages = new MessageReader(source)
  const delaySeconds = messages.reader.uint32()
  const message = messages.read()
  return message === undefined ? undefined : { message, delaySeconds }
}
