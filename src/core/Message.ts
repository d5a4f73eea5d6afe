/**
 * One application message inside the broker: what it says, and its encoded PUBLISH ready to be copied to receivers.
 *
 * A message arrives as wire bytes and leaves as nearly the same wire bytes: for a receiver of the same protocol
 * generation the frame is copied and only its first byte and packet id are changed, so a message to a thousand
 * subscribers is encoded zero times. Other variants (5.0 to 3.1.1, QoS 0 to QoS 1) are encoded once, on demand.
 *
 * A message is *passing* while it refers to the bytes it arrived in; `keep` copies it for whatever outlives the turn.
 * It does not know who receives it.
 */
import type { DecodedPublish } from "../protocol/Decoder.ts"
import * as Encoder from "../protocol/Encoder.ts"
import type { ProtocolVersion, QoS } from "../protocol/Packet.ts"
import type { Properties } from "../protocol/Property.ts"
import * as AliasedPublish from "./AliasedPublish.ts"
import type { Outbox } from "./Outbox.ts"
import type { OutgoingAliases } from "./OutgoingAliases.ts"
import type { Slab } from "./Slab.ts"
import type { Origin, StoredMessage } from "./StoreOperation.ts"

/** Kept frames from this size on are shared by outboxes instead of copied to each: a copy of 8 KiB costs about as much
 * as the extra buffer in a gathered write. */
const SHARED_BYTES = 8 * 1024
/** Frames from this size on are not copied out of the chunk they arrived in: 64 KiB are at most four times as large. */
const REFERRED_BYTES = 16 * 1024
const EMPTY = new Uint8Array(0)
const DUP = 0x08
const RETAIN = 0x01
const PUBLISH = 0x30

/** The parts of a message that does not come from the wire. */
export interface Parts {
  readonly topic: string
  readonly payload: Uint8Array
  readonly qos: QoS
  readonly retain: boolean
  readonly properties?: Properties | undefined
}

export class Message {
  /** Unique in this broker process. */
  messageId = 0
  topic = ""
  qos: QoS = 0
  retain = false
  /** As received, topic alias and subscription identifiers removed. */
  properties: Properties | undefined = undefined
  /** The session it came from, for No Local [MQTT-3.8.3-3]. */
  publisher: object | undefined = undefined
  /** Of a retained message: the client it came from, which outlives the session and a restart. */
  origin: Origin | undefined = undefined
  /** Milliseconds since the epoch. */
  receivedAt = 0
  /** Milliseconds since the epoch; 0: does not expire. */
  expiresAt = 0
  private source: Uint8Array = EMPTY
  private frameStart = 0
  private frameEnd = 0
  private payloadStart = 0
  private payloadEnd = 0
  /** Relative to frameStart; -1 when the frame has none. */
  private packetIdAt = -1
  /** Whether the frame has the property list of 5.0. */
  private five = false
  private alternates: Array<Encoder.PreparedPublish | undefined> | undefined = undefined
  private kept: Message | undefined = undefined
  private payloadView: Uint8Array | undefined = undefined

  /** Makes this the message of a frame that has just been decoded; valid while that frame's bytes are. */
  pass(
    packet: DecodedPublish,
    topic: string,
    version: ProtocolVersion,
    messageId: number,
    publisher: object,
    now: number
  ): void {
    const properties = packet.properties
    this.messageId = messageId
    this.publisher = publisher
    this.receivedAt = now
    this.alternates = undefined
    this.kept = undefined
    this.payloadView = undefined
    this.topic = topic
    this.qos = packet.qos
    this.retain = packet.retain
    if (properties !== undefined && properties.topicAlias !== undefined) {
      this.encodeFrame({
        topic,
        payload: packet.payload,
        qos: packet.qos,
        retain: packet.retain,
        properties: withoutAlias(properties)
      })
    } else {
      this.properties = properties
      this.source = packet.source
      this.frameStart = packet.frameStart
      this.frameEnd = packet.frameEnd
      this.payloadStart = packet.payloadStart
      this.payloadEnd = packet.payloadEnd
      this.packetIdAt = packet.packetIdAt < 0 ? -1 : packet.packetIdAt - packet.frameStart
      this.five = version === 5
    }
    this.expiresAt = expiry(this.properties, now)
  }

  /** A message that was not decoded: a will, a restored or an in-process one. */
  static fromParts(parts: Parts, messageId: number, publisher: object | undefined, now: number): Message {
    const message = new Message()
    message.messageId = messageId
    message.publisher = publisher
    message.receivedAt = now
    message.encodeFrame(parts)
    message.expiresAt = expiry(message.properties, now)
    message.kept = message
    return message
  }

  static fromStored(stored: StoredMessage): Message {
    const message = Message.fromParts(stored, stored.messageId, undefined, stored.receivedAt)
    message.expiresAt = stored.expiresAt
    message.origin = stored.origin
    return message
  }

  get payload(): Uint8Array {
    this.payloadView ??= this.source.subarray(this.payloadStart, this.payloadEnd)
    return this.payloadView
  }

  get payloadBytes(): number {
    return this.payloadEnd - this.payloadStart
  }

  /** What it weighs in a queue. */
  get bytes(): number {
    return this.frameEnd - this.frameStart
  }

  isExpired(now: number): boolean {
    return this.expiresAt !== 0 && now >= this.expiresAt
  }

  toStored(): StoredMessage {
    const { messageId, topic, payload, qos, retain, properties, receivedAt, expiresAt } = this
    return { messageId, topic, payload, qos, retain, properties, receivedAt, expiresAt }
  }

  /** This message, safe to hold after the turn: copied once however many sessions hold it. */
  keep(slab: Slab): Message {
    if (this.kept !== undefined) return this.kept
    const copy = new Message()
    if (this.bytes >= REFERRED_BYTES) copy.adopt(this, this.source, this.frameStart)
    else {
      const at = slab.copy(this.source, this.frameStart, this.frameEnd)
      copy.adopt(this, slab.block, at)
    }
    copy.kept = copy
    this.kept = copy
    return copy
  }

  /** Moves a kept message into bytes of its own: for retained messages and offline queues. Returns itself. */
  own(): Message {
    if (this.source.length > this.frameEnd - this.frameStart) {
      const exact = this.source.slice(this.frameStart, this.frameEnd)
      this.adopt(this, exact, 0)
    }
    return this
  }

  /** Bytes on the wire towards a receiver. */
  wireBytes(version: ProtocolVersion, qos: QoS, identifiers: ReadonlyArray<number> | undefined, now: number): number {
    if (this.isFrameFor(version, qos, identifiers, now)) return this.frameEnd - this.frameStart
    const prepared = this.variant(version, qos, identifiers, now)
    return prepared.end - prepared.start
  }

  /** Appends the PUBLISH to an outbox. `packetId` is ignored at QoS 0. */
  write(
    outbox: Outbox,
    version: ProtocolVersion,
    qos: QoS,
    retain: boolean,
    dup: boolean,
    packetId: number,
    identifiers: ReadonlyArray<number> | undefined,
    now: number
  ): void {
    const header = PUBLISH | (dup ? DUP : 0) | (qos << 1) | (retain ? RETAIN : 0)
    if (this.isFrameFor(version, qos, identifiers, now)) {
      if (this.isShared) {
        this.writeShared(outbox, header, packetId)
        return
      }
      const size = this.frameEnd - this.frameStart
      const at = outbox.reserve(size)
      Encoder.stampPublish(this.source, this.frameStart, this.frameEnd, this.packetIdAt, outbox.buffer, at, packetId)
      outbox.buffer[at] = header
      return
    }
    const prepared = this.variant(version, qos, identifiers, now)
    const at = outbox.reserve(prepared.end - prepared.start)
    Encoder.stampPublish(prepared.bytes, prepared.start, prepared.end, prepared.packetIdAt, outbox.buffer, at, packetId)
    outbox.buffer[at] = header
  }

  /** Appends the PUBLISH with a topic alias, as far as this 5.0 client allows one for the topic. */
  writeAliased(
    outbox: Outbox,
    aliases: OutgoingAliases,
    qos: QoS,
    retain: boolean,
    dup: boolean,
    packetId: number,
    identifiers: ReadonlyArray<number> | undefined,
    now: number
  ): void {
    const known = aliases.get(this.topic)
    const alias = known > 0 ? known : aliases.assign(this.topic)
    if (alias === 0) {
      this.write(outbox, 5, qos, retain, dup, packetId, identifiers, now)
      return
    }
    const header = PUBLISH | (dup ? DUP : 0) | (qos << 1) | (retain ? RETAIN : 0)
    const { source, frameStart, frameEnd } = this
    if (this.isFrameFor(5, qos, identifiers, now)) {
      const shared = this.isShared ? this.payload : undefined
      AliasedPublish.write(outbox, source, frameStart, frameEnd, header, qos > 0, packetId, alias, known > 0, shared)
      return
    }
    const { bytes, start, end } = this.variant(5, qos, identifiers, now)
    AliasedPublish.write(outbox, bytes, start, end, header, qos > 0, packetId, alias, known > 0, undefined)
  }

  /** Whether outboxes point to the payload instead of copying it: it is large, and its bytes stay as they are. */
  private get isShared(): boolean {
    const size = this.frameEnd - this.frameStart
    return size >= SHARED_BYTES && (size >= REFERRED_BYTES || this.kept === this)
  }

  /** The header is copied, the payload is one segment that all receivers' outboxes point to. */
  private writeShared(outbox: Outbox, header: number, packetId: number): void {
    const at = outbox.reserve(this.payloadStart - this.frameStart)
    Encoder.stampPublish(this.source, this.frameStart, this.payloadStart, this.packetIdAt, outbox.buffer, at, packetId)
    outbox.buffer[at] = header
    outbox.appendShared(this.payload)
  }

  private isFrameFor(
    version: ProtocolVersion,
    qos: QoS,
    identifiers: ReadonlyArray<number> | undefined,
    now: number
  ): boolean {
    return (
      identifiers === undefined &&
      (version === 5) === this.five &&
      qos > 0 === this.packetIdAt >= 0 &&
      // [MQTT-3.3.2-6] the interval sent on is what remains: from one second of waiting on, another frame.
      (this.expiresAt === 0 || now - this.receivedAt < 1_000 || version !== 5)
    )
  }

  private variant(
    version: ProtocolVersion,
    qos: QoS,
    identifiers: ReadonlyArray<number> | undefined,
    now: number
  ): Encoder.PreparedPublish {
    const waited = Math.floor((now - this.receivedAt) / 1_000)
    if (identifiers !== undefined || (this.expiresAt !== 0 && waited > 0)) {
      const remaining = this.expiresAt === 0 ? undefined : Math.max(1, Math.ceil((this.expiresAt - now) / 1_000))
      return this.prepare(version, qos, {
        ...this.properties,
        messageExpiryInterval: remaining,
        subscriptionIdentifiers: identifiers
      })
    }
    const index = (version === 5 ? 2 : 0) + (qos > 0 ? 1 : 0)
    this.alternates ??= [undefined, undefined, undefined, undefined]
    const prepared = this.alternates[index] ?? this.prepare(version, qos, this.properties)
    this.alternates[index] = prepared
    return prepared
  }

  private prepare(version: ProtocolVersion, qos: QoS, properties: Properties | undefined): Encoder.PreparedPublish {
    const { topic, payload, retain } = this
    const prepared = Encoder.preparePublish({ topic, payload, qos, retain, dup: false, properties }, version)
    return prepared
  }

  private encodeFrame(parts: Parts): void {
    this.topic = parts.topic
    this.qos = parts.qos
    this.retain = parts.retain
    this.properties = parts.properties
    this.five = parts.properties !== undefined
    const { topic, payload, qos, retain, properties } = parts
    const prepared = Encoder.preparePublish({ topic, payload, qos, retain, dup: false, properties }, this.five ? 5 : 4)
    this.source = prepared.bytes
    this.frameStart = prepared.start
    this.frameEnd = prepared.end
    this.payloadEnd = prepared.end
    this.payloadStart = prepared.end - payload.length
    this.packetIdAt = prepared.packetIdAt
  }

  private adopt(from: Message, source: Uint8Array, at: number): void {
    const shift = at - from.frameStart
    this.messageId = from.messageId
    this.topic = from.topic
    this.qos = from.qos
    this.retain = from.retain
    this.properties = from.properties
    this.publisher = from.publisher
    this.receivedAt = from.receivedAt
    this.expiresAt = from.expiresAt
    this.source = source
    this.packetIdAt = from.packetIdAt
    this.five = from.five
    this.payloadStart = from.payloadStart + shift
    this.payloadEnd = from.payloadEnd + shift
    this.frameEnd = from.frameEnd + shift
    this.frameStart = at
    this.payloadView = undefined
  }
}

const expiry = (properties: Properties | undefined, now: number): number =>
  properties?.messageExpiryInterval === undefined ? 0 : now + properties.messageExpiryInterval * 1_000

/** An alias is between one client and this broker, never passed on [MQTT-3.3.2-7]. */
const withoutAlias = (properties: Properties): Properties | undefined => {
  const { topicAlias: _, ...rest } = properties
  return Object.values(rest).some((value) => value !== undefined) ? rest : undefined
}
