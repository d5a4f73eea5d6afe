/**
 * A client that writes down what it gets, as a correct one does: a QoS 2 message counts once a packet id, until PUBREL.
 */
import type { Packet } from "../../src/protocol/Packet.ts"
import { Client } from "./Client.ts"
import type { Version } from "./Connection.ts"
import * as Payload from "./Payload.ts"

export class Subscriber extends Client {
  readonly qos: 1 | 2
  /** What came on each topic, in order, repetitions included. */
  readonly received = new Map<string, Array<number>>()
  count = 0
  subscribed = false
  private readonly filters: ReadonlyArray<string>
  /** QoS 2 packet ids between PUBLISH and PUBREL. */
  private readonly pending = new Set<number>()

  constructor(clientId: string, version: Version, qos: 1 | 2, ...filters: ReadonlyArray<string>) {
    super(clientId, version)
    this.qos = qos
    this.filters = filters
  }

  protected accepted(): void {
    if (!this.subscribed) this.subscribe(this.qos, this.filters)
  }

  protected handle(packet: Packet): void {
    switch (packet._tag) {
      case "SubAck":
        this.subscribed = true
        return
      case "Publish":
        this.take(packet)
        return
      case "PubRel":
        this.pending.delete(packet.packetId)
        this.acknowledge("PubComp", packet.packetId)
        return
      default:
        throw this.unexpected(packet)
    }
  }

  private take({ packetId = 0, payload, qos, topic }: Extract<Packet, { readonly _tag: "Publish" }>): void {
    if (qos === 2) {
      if (!this.pending.has(packetId)) this.note(topic, payload)
      this.pending.add(packetId)
      this.acknowledge("PubRec", packetId)
      return
    }
    this.note(topic, payload)
    if (qos === 1) this.acknowledge("PubAck", packetId)
  }

  private note(topic: string, payload: Uint8Array): void {
    const number = Payload.numberIn(payload)
    this.count++
    const numbers = this.received.get(topic)
    if (numbers === undefined) this.received.set(topic, [number])
    else numbers.push(number)
  }
}
