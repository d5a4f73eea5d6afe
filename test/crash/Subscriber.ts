/**
 * A client that writes down what it gets, as a correct one does: a QoS 2 message counts once a packet id, until PUBREL.
 */
import type { Packet } from "../../src/protocol/Packet.ts"
import { Connection, SHUTTING_DOWN, type Version } from "./Connection.ts"
import * as Payload from "./Payload.ts"
import { ack } from "./Publisher.ts"

export class Subscriber {
  readonly clientId: string
  readonly qos: 1 | 2
  /** What came on each topic, in order, repetitions included. */
  readonly received = new Map<string, Array<number>>()
  count = 0
  subscribed = false
  private readonly version: Version
  private readonly filters: ReadonlyArray<string>
  /** How often the broker would not have it: a store without room takes no session. */
  refused = 0
  private connection: Connection | undefined = undefined
  /** QoS 2 packet ids between PUBLISH and PUBREL. */
  private readonly pending = new Set<number>()

  constructor(clientId: string, version: Version, qos: 1 | 2, ...filters: ReadonlyArray<string>) {
    this.clientId = clientId
    this.version = version
    this.qos = qos
    this.filters = filters
  }

  get connected(): boolean {
    return this.connection?.open === true
  }

  connect(port: number): void {
    this.connection?.end()
    this.connection = new Connection(port, this.clientId, this.version, (packet) => this.receive(packet))
  }

  disconnect(): void {
    this.connection?.end()
  }

  private receive(packet: Packet): void {
    switch (packet._tag) {
      case "ConnAck":
        if (packet.reasonCode !== 0) {
          this.refused++
          this.connection?.end()
          return
        }
        if (this.subscribed && !packet.sessionPresent) throw new Error(`The session of ${this.clientId} is lost.`)
        if (!this.subscribed) this.subscribe()
        return
      case "SubAck":
        this.subscribed = true
        return
      case "Publish":
        this.take(packet)
        return
      case "PubRel":
        this.pending.delete(packet.packetId)
        this.connection?.send(ack("PubComp", packet.packetId))
        return
      case "Disconnect":
        if (packet.reasonCode === SHUTTING_DOWN) return
        throw new Error(`${this.clientId} was disconnected: ${packet.reasonCode}`)
      default:
        throw new Error(`${this.clientId} did not expect ${packet._tag}`)
    }
  }

  private subscribe(): void {
    const { filters, qos } = this
    const options = { qos, noLocal: false, retainAsPublished: false, retainHandling: 0 } as const
    const subscriptions = filters.map((filter) => ({ filter, ...options }))
    this.connection?.send({ _tag: "Subscribe", packetId: 1, subscriptions, properties: undefined })
  }

  private take({ packetId = 0, payload, qos, topic }: Extract<Packet, { readonly _tag: "Publish" }>): void {
    if (qos === 2) {
      if (!this.pending.has(packetId)) this.note(topic, payload)
      this.pending.add(packetId)
      this.connection?.send(ack("PubRec", packetId))
      return
    }
    this.note(topic, payload)
    if (qos === 1) this.connection?.send(ack("PubAck", packetId))
  }

  private note(topic: string, payload: Uint8Array): void {
    const number = Payload.numberIn(payload)
    this.count++
    const numbers = this.received.get(topic)
    if (numbers === undefined) this.received.set(topic, [number])
    else numbers.push(number)
  }
}
