/**
 * A PUBLISH as it was decoded: its fields, and where its bytes are.
 *
 * The payload stays where it arrived. Whatever outlives the turn in which the packet was decoded copies the bytes:
 * a view would keep the whole chunk alive.
 */
import type { Publish, QoS } from "./Packet.ts"
import type * as Property from "./PropertyTable.ts"

export class DecodedPublish implements Publish {
  readonly _tag = "Publish"
  readonly topic: string
  readonly qos: QoS
  readonly retain: boolean
  readonly dup: boolean
  readonly packetId: number | undefined
  readonly properties: Property.Of<"Publish"> | undefined
  /** The whole packet as it travelled is `source[frameStart, frameEnd)`. */
  readonly source: Uint8Array
  readonly frameStart: number
  readonly frameEnd: number
  /** The payload is `source[payloadStart, frameEnd)`. */
  readonly payloadStart: number
  /** Index in `source` of the two bytes of the packet identifier; -1 at QoS 0. */
  readonly packetIdAt: number

  constructor(
    topic: string,
    qos: QoS,
    retain: boolean,
    dup: boolean,
    packetId: number | undefined,
    properties: Property.Of<"Publish"> | undefined,
    source: Uint8Array,
    frameStart: number,
    frameEnd: number,
    payloadStart: number,
    packetIdAt: number
  ) {
    this.topic = topic
    this.qos = qos
    this.retain = retain
    this.dup = dup
    this.packetId = packetId
    this.properties = properties
    this.source = source
    this.frameStart = frameStart
    this.frameEnd = frameEnd
    this.payloadStart = payloadStart
    this.packetIdAt = packetIdAt
  }

  /** The payload always fills the packet to its end. */
  get payloadEnd(): number {
    return this.frameEnd
  }

  /** A new view of the payload at every use, without a copy; the hot path reads `source` instead. */
  get payload(): Uint8Array {
    return this.source.subarray(this.payloadStart, this.frameEnd)
  }

  /** The packet as a plain object, without the wire's bytes around it; the payload is still a view of them. */
  toPublish(): Publish {
    return {
      _tag: "Publish",
      topic: this.topic,
      payload: this.payload,
      qos: this.qos,
      retain: this.retain,
      dup: this.dup,
      packetId: this.packetId,
      properties: this.properties
    }
  }
}
