/**
 * Bytes of one connection in, packets out; whatever the chunks they arrive in.
 *
 * It owns the framing (fixed header, maximum packet size, packets that span chunks), the two packets that must cost
 * nanoseconds (PUBLISH and the short acknowledgements) and the protocol version, which the CONNECT sets. It never
 * throws, keeps no packet, and decides nothing about what a valid packet is allowed to do: topic aliases, packet
 * identifiers in use, sessions and rights are not its business.
 *
 * On the hot path there is no closure, view, array or exception; a topic that repeats costs a comparison of bytes.
 */
import * as ConnectDecoder from "./ConnectDecoder.ts"
import { DecodedPublish } from "./DecodedPublish.ts"
import * as FixedHeader from "./FixedHeader.ts"
import type { Packet, ProtocolVersion, QoS } from "./Packet.ts"
import * as PacketDecoder from "./PacketDecoder.ts"
import { PartialFrame } from "./PartialFrame.ts"
import type * as Property from "./PropertyTable.ts"
import * as PropertyDecoder from "./PropertyDecoder.ts"
import { malformed, ProtocolError, violation } from "./ProtocolError.ts"
import { Reader } from "./Reader.ts"
import * as Topic from "./Topic.ts"
import * as Utf8 from "./Utf8.ts"
import * as Varint from "./Varint.ts"

export { DecodedPublish } from "./DecodedPublish.ts"

export interface Options {
  /** Which side the bytes come from: a packet that only the other side sends is refused. */
  readonly sender: "client" | "server"
  /** Left out, the first packet must be a CONNECT, which sets it; given, there has been one: a CONNECT is refused. */
  readonly version?: ProtocolVersion | undefined
  /** The longest packet accepted, fixed header included. */
  readonly packetBytesMax: number
  /** The most levels a topic name may have. */
  readonly topicLevelsMax: number
  /** The most user properties one packet may have. */
  readonly userPropertiesMax: number
}

const nothing = new Uint8Array(0)

/** Topics up to this many bytes are remembered. */
const rememberedTopicBytesMax = 1024

export class Decoder {
  /** The longest packet accepted, fixed header included; raised once a client has proved who it is. */
  packetBytesMax: number
  /** The first fault found. Nothing is decoded after it. */
  error: ProtocolError | undefined = undefined

  private readonly options: Options
  private versionSeen: ProtocolVersion | undefined
  /** By first byte: 1 where a packet may start with it. */
  private firstBytes: Uint8Array

  /** The chunk being decoded, from `at` to `end`. */
  private chunk: Uint8Array = nothing
  private at = 0
  private end = 0
  /** Chunks that were pushed before the ones ahead of them were decoded. */
  private waiting: Array<Uint8Array> = []
  private waitingAt = 0
  private waitingBytes = 0
  /** The packet that the last chunk ended in the middle of; its bytes precede those of `chunk`. */
  private partial: PartialFrame | undefined = undefined
  private copied = 0

  private topic = ""
  private topicBytes: Uint8Array = nothing
  /** Length of the remembered topic in bytes; -1 while there is none. */
  private topicLength = -1

  constructor(options: Options) {
    this.options = options
    this.packetBytesMax = options.packetBytesMax
    this.versionSeen = options.version
    this.firstBytes = FixedHeader.allowed(options.sender, options.version)
  }

  /** The version of the connection; known from the protocol level of the CONNECT on, even if the rest is invalid. */
  get version(): ProtocolVersion | undefined {
    return this.versionSeen
  }

  /** Bytes pushed and not yet decoded. */
  get bufferedBytes(): number {
    return this.end - this.at + this.waitingBytes + (this.partial === undefined ? 0 : this.partial.bytes)
  }

  /** Whether there are bytes that `next` has not looked at: there may be a packet. */
  get hasUnread(): boolean {
    return this.at < this.end || this.waitingBytes > 0
  }

  /** Bytes copied so far to put packets together that spanned chunks: at most twice the bytes pushed. */
  get copiedBytes(): number {
    return this.copied + (this.partial === undefined ? 0 : this.partial.copiedBytes)
  }

  /** Hands bytes over. They are not copied, and must not change while any of them is undecoded: see `bufferedBytes`. */
  push(chunk: Uint8Array): void {
    if (chunk.length === 0 || this.error !== undefined) return
    if (this.at === this.end && this.waitingBytes === 0) {
      this.chunk = chunk
      this.at = 0
      this.end = chunk.length
    } else {
      this.waiting.push(chunk)
      this.waitingBytes += chunk.length
    }
  }

  /** The next packet; `undefined` when it needs more bytes, or when `error` is set. */
  next(): Packet | DecodedPublish | undefined {
    while (this.error === undefined) {
      const start = this.at
      const end = this.end
      if (start === end) {
        if (!this.advance()) return undefined
      } else if (this.partial !== undefined) {
        const partial = this.partial
        if (this.fill(partial)) {
          const frame = partial.join()
          this.copied += partial.copiedBytes
          this.partial = undefined
          return this.decode(frame, 0, partial.frameBytes)
        }
      } else {
        const chunk = this.chunk
        const oneByte = start + 1 < end && chunk[start + 1]! < 0x80
        const frameEnd = oneByte ? start + 2 + chunk[start + 1]! : Varint.frameEnd(chunk, start, end)
        if (frameEnd >= 0 && !this.admits(chunk[start]!, frameEnd - start)) return undefined
        if (frameEnd >= 0 && frameEnd <= end) {
          this.at = frameEnd
          return this.decode(chunk, start, frameEnd)
        }
        if (frameEnd === Varint.malformed) return this.fail(badLength)
        this.partial = new PartialFrame()
        this.partial.append(chunk, start, end)
        if (frameEnd >= 0) this.partial.frameBytes = frameEnd - start
        this.at = end
      }
    }
    return undefined
  }

  /** Goes on to the next chunk that waits; without one, lets go of the last. */
  private advance(): boolean {
    if (this.waitingBytes === 0) {
      this.chunk = nothing
      this.at = 0
      this.end = 0
      return false
    }
    const chunk = this.waiting[this.waitingAt++]!
    this.waitingBytes -= chunk.length
    if (this.waitingBytes === 0) {
      this.waiting = []
      this.waitingAt = 0
    }
    this.chunk = chunk
    this.at = 0
    this.end = chunk.length
    return true
  }

  /** Moves what belongs to the packet from the chunk to `partial`; whether the packet is complete now. */
  private fill(partial: PartialFrame): boolean {
    while (partial.frameBytes === 0) {
      if (this.at === this.end) return false
      partial.append(this.chunk, this.at, this.at + 1)
      this.at++
      const head = partial.head()
      const frameBytes = Varint.frameEnd(head, 0, head.length)
      if (frameBytes === Varint.malformed) {
        this.fail(badLength)
        return false
      }
      if (frameBytes >= 0) {
        if (!this.admits(head[0]!, frameBytes)) return false
        partial.frameBytes = frameBytes
      }
    }
    const end = Math.min(this.end, this.at + partial.frameBytes - partial.bytes)
    if (end > this.at) partial.append(this.chunk, this.at, end)
    this.at = end
    return partial.bytes === partial.frameBytes
  }

  /** Whether the fixed header may be followed up: before the body has arrived, and before memory is spent on it. */
  private admits(firstByte: number, frameBytes: number): boolean {
    if (this.firstBytes[firstByte] === 0) {
      this.fail(FixedHeader.faultOf(firstByte, this.options.sender, this.versionSeen))
      return false
    }
    if (frameBytes > this.packetBytesMax) {
      const max = this.packetBytesMax
      this.fail(new ProtocolError(0x95, `The packet has ${frameBytes} bytes, more than ${max} [MQTT-3.1.2-24].`))
      return false
    }
    return true
  }

  /** Remembers the first fault and lets go of every byte. */
  private fail(error: ProtocolError): undefined {
    this.error = error
    this.chunk = nothing
    this.at = 0
    this.end = 0
    this.waiting = []
    this.waitingBytes = 0
    this.partial = undefined
    return undefined
  }

  private decode(source: Uint8Array, start: number, end: number): Packet | DecodedPublish | undefined {
    let body = start + 1
    while (source[body]! >= 0x80) body++
    body++
    const type = source[start]! >> 4
    if (type === FixedHeader.types.Publish) return this.decodePublish(source, start, body, end)
    if (type >= FixedHeader.types.PubAck && type <= FixedHeader.types.PubComp && end - body === 2) {
      return this.decodeShortAcknowledgement(type, (source[body]! << 8) | source[body + 1]!)
    }
    const reader = new Reader(source, body, end)
    const packet =
      type === FixedHeader.types.Connect ? this.decodeConnect(reader, source[start]!) : this.read(type, reader)
    return reader.error === undefined ? packet : this.fail(reader.error)
  }

  private decodePublish(source: Uint8Array, start: number, body: number, end: number): DecodedPublish | undefined {
    const flags = source[start]!
    const qos = ((flags >> 1) & 3) as QoS // 3 was refused with the fixed header
    const topicStart = body + 2
    if (topicStart > end) return this.fail(truncated)
    const topicEnd = topicStart + ((source[body]! << 8) | source[body + 1]!)
    const packetIdAt = qos === 0 ? -1 : topicEnd
    let payloadStart = qos === 0 ? topicEnd : topicEnd + 2
    if (payloadStart > end) return this.fail(truncated)
    const topic = this.isRemembered(source, topicStart, topicEnd)
      ? this.topic
      : this.decodeTopic(source, topicStart, topicEnd)
    if (topic === undefined) return undefined
    let packetId: number | undefined
    if (qos !== 0) {
      packetId = (source[packetIdAt]! << 8) | source[packetIdAt + 1]!
      if (packetId === 0) return this.fail(noPacketId)
    }
    let properties: Property.Of<"Publish"> | undefined
    if (this.versionSeen === 5) {
      if (payloadStart >= end) return this.fail(truncated)
      if (source[payloadStart] === 0) payloadStart++
      else {
        const reader = new Reader(source, payloadStart, end)
        properties = this.decodeProperties(reader)
        if (reader.error !== undefined) return this.fail(reader.error)
        payloadStart = reader.at
      }
    }
    if (topic === "" && properties?.topicAlias === undefined) return this.fail(noTopic)
    return new DecodedPublish(
      topic,
      qos,
      (flags & 1) !== 0,
      (flags & 8) !== 0,
      packetId,
      properties,
      source,
      start,
      end,
      payloadStart,
      packetIdAt
    )
  }

  private isRemembered(source: Uint8Array, start: number, end: number): boolean {
    const length = end - start
    if (length !== this.topicLength) return false
    const remembered = this.topicBytes
    for (let at = 0; at < length; at++) if (remembered[at] !== source[start + at]) return false
    return true
  }

  /** Decodes, checks and remembers a topic other than the last one; an empty one is judged with the properties. */
  private decodeTopic(source: Uint8Array, start: number, end: number): string | undefined {
    if (start === end) return ""
    const topic = Utf8.decode(source, start, end)
    if (topic === undefined) return this.fail(badTopic)
    const fault = Topic.validateName(topic, this.options.topicLevelsMax) // [MQTT-3.3.2-2]
    if (fault !== undefined) return this.fail(fault)
    const length = end - start
    if (length <= rememberedTopicBytesMax) {
      if (this.topicBytes.length < length) this.topicBytes = new Uint8Array(Math.max(64, length))
      this.topicBytes.set(source.subarray(start, end))
      this.topicLength = length
      this.topic = topic
    }
    return topic
  }

  private decodeProperties(reader: Reader): Property.Of<"Publish"> | undefined {
    const properties = PropertyDecoder.decode(reader, "Publish", this.options.userPropertiesMax)
    if (this.options.sender === "client" && properties?.subscriptionIdentifiers !== undefined) {
      reader.fail(violation("A client does not send a subscription identifier in PUBLISH [MQTT-3.3.4-6]."))
    }
    return properties
  }

  /** The four-byte form, which is most of them. One literal each: they share a shape, and the types are checked. */
  private decodeShortAcknowledgement(type: number, packetId: number): Packet | undefined {
    if (packetId === 0) return this.fail(noPacketId)
    switch (type) {
      case FixedHeader.types.PubAck:
        return { _tag: "PubAck", packetId, reasonCode: 0, properties: undefined }
      case FixedHeader.types.PubRec:
        return { _tag: "PubRec", packetId, reasonCode: 0, properties: undefined }
      case FixedHeader.types.PubRel:
        return { _tag: "PubRel", packetId, reasonCode: 0, properties: undefined }
      default:
        return { _tag: "PubComp", packetId, reasonCode: 0, properties: undefined }
    }
  }

  private decodeConnect(reader: Reader, firstByte: number): Packet | undefined {
    const version = ConnectDecoder.decodeVersion(reader)
    if (version === undefined) return undefined
    this.versionSeen = version
    this.firstBytes = FixedHeader.allowed(this.options.sender, version)
    const fault = FixedHeader.connectFault(firstByte, version)
    if (fault !== undefined) return this.fail(fault)
    return ConnectDecoder.decode(reader, version, this.options.topicLevelsMax, this.options.userPropertiesMax)
  }

  private read(type: number, reader: Reader): Packet | undefined {
    const { sender, userPropertiesMax } = this.options
    const context = { version: this.versionSeen!, sender, userPropertiesMax } // only CONNECT comes without a version
    switch (type) {
      case FixedHeader.types.ConnAck:
        return PacketDecoder.decodeConnAck(reader, context)
      case FixedHeader.types.PubAck:
        return PacketDecoder.decodeAcknowledgement(reader, "PubAck", context)
      case FixedHeader.types.PubRec:
        return PacketDecoder.decodeAcknowledgement(reader, "PubRec", context)
      case FixedHeader.types.PubRel:
        return PacketDecoder.decodeAcknowledgement(reader, "PubRel", context)
      case FixedHeader.types.PubComp:
        return PacketDecoder.decodeAcknowledgement(reader, "PubComp", context)
      case FixedHeader.types.Subscribe:
        return PacketDecoder.decodeSubscribe(reader, context)
      case FixedHeader.types.SubAck:
        return PacketDecoder.decodeSubAck(reader, context)
      case FixedHeader.types.Unsubscribe:
        return PacketDecoder.decodeUnsubscribe(reader, context)
      case FixedHeader.types.UnsubAck:
        return PacketDecoder.decodeUnsubAck(reader, context)
      case FixedHeader.types.PingReq:
        return PacketDecoder.decodePing(reader, "PingReq")
      case FixedHeader.types.PingResp:
        return PacketDecoder.decodePing(reader, "PingResp")
      case FixedHeader.types.Disconnect:
        return PacketDecoder.decodeDisconnect(reader, context)
      default:
        return PacketDecoder.decodeAuth(reader, context)
    }
  }
}

const badLength = malformed("The remaining length is a variable byte integer in its shortest form [MQTT-1.5.5-1].")
const truncated = malformed("The packet ends in the middle of a field.")
const noPacketId = violation("A packet identifier is not 0 [MQTT-2.2.1-3].")
const noTopic = violation("A PUBLISH has a topic name, or in 5.0 a topic alias [MQTT-4.7.3-1].")
const badTopic = malformed("A topic is well-formed UTF-8 without the null character [MQTT-1.5.4-1] [MQTT-1.5.4-2].")
