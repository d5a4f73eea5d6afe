/**
 * A client that subscribes and unsubscribes: once an UNSUBACK is there, nothing that is published from then on comes.
 */
import type { Packet } from "../../src/protocol/Packet.ts"
import { Connection, SHUTTING_DOWN } from "./Connection.ts"
import * as Payload from "./Payload.ts"
import { ack, type Publisher } from "./Publisher.ts"

export class Fickle {
  readonly clientId = "fickle"
  readonly complaints: Array<string> = []
  /** How often it was told that it is not subscribed any more. */
  unsubscribed = 0
  private readonly publisher: Publisher
  private readonly filter: string
  /** The last numbers that may come, by topic; undefined: it is subscribed, or does not know. */
  private last: ReadonlyMap<string, number> | undefined = undefined
  private connections = 0
  private connection: Connection | undefined = undefined

  constructor(publisher: Publisher) {
    this.publisher = publisher
    this.filter = `t/${publisher.clientId}/#`
  }

  connect(port: number): void {
    this.connection?.end()
    this.connection = new Connection(port, this.clientId, 4, (packet) => this.receive(packet))
  }

  disconnect(): void {
    this.connection?.end()
  }

  private receive(packet: Packet): void {
    switch (packet._tag) {
      case "ConnAck":
        // Every other time it only listens, if it knows what may come.
        if (++this.connections % 2 === 0 && this.last !== undefined) return
        this.last = undefined
        this.subscribe()
        return
      case "SubAck":
        this.connection?.send({ _tag: "Unsubscribe", packetId: 2, filters: [this.filter], properties: undefined })
        return
      case "UnsubAck":
        this.unsubscribed++
        this.last = new Map(this.publisher.numbers)
        return
      case "Publish":
        this.note(packet.topic, Payload.numberIn(packet.payload))
        if (packet.packetId !== undefined) this.connection?.send(ack("PubAck", packet.packetId))
        return
      case "Disconnect":
        if (packet.reasonCode === SHUTTING_DOWN) return
        throw new Error(`${this.clientId} was disconnected: ${packet.reasonCode}`)
      default:
        throw new Error(`${this.clientId} did not expect ${packet._tag}`)
    }
  }

  private subscribe(): void {
    const { filter } = this
    const subscription = { filter, qos: 1, noLocal: false, retainAsPublished: false, retainHandling: 0 } as const
    this.connection?.send({ _tag: "Subscribe", packetId: 1, subscriptions: [subscription], properties: undefined })
  }

  private note(topic: string, number: number): void {
    const last = this.last?.get(topic) ?? (this.last === undefined ? Number.POSITIVE_INFINITY : 0)
    if (number > last) this.complaints.push(`${this.clientId} got ${topic} ${number}, published after its UNSUBACK`)
  }
}
