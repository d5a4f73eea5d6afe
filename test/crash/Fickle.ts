/**
 * A client that subscribes and unsubscribes: once an UNSUBACK is there, nothing that is published from then on comes.
 */
import type { Packet } from "../../src/protocol/Packet.ts"
import { Client } from "./Client.ts"
import * as Payload from "./Payload.ts"
import type { Publisher } from "./Publisher.ts"

export class Fickle extends Client {
  readonly complaints: Array<string> = []
  /** How often it was told that it is not subscribed any more. */
  unsubscribed = 0
  private readonly publisher: Publisher
  private readonly filter: string
  /** The last numbers that may come, by topic; undefined: it is subscribed, or does not know. */
  private last: ReadonlyMap<string, number> | undefined = undefined
  private connections = 0

  constructor(publisher: Publisher) {
    super("fickle", 4)
    this.publisher = publisher
    this.filter = `t/${publisher.clientId}/#`
  }

  protected accepted(): void {
    // Every other time it only listens, if it knows what may come.
    if (++this.connections % 2 === 0 && this.last !== undefined) return
    this.last = undefined
    this.subscribe(1, [this.filter])
  }

  protected handle(packet: Packet): void {
    switch (packet._tag) {
      case "SubAck":
        this.send({ _tag: "Unsubscribe", packetId: 2, filters: [this.filter], properties: undefined })
        return
      case "UnsubAck":
        this.unsubscribed++
        this.last = new Map(this.publisher.numbers)
        return
      case "Publish":
        this.note(packet.topic, Payload.numberIn(packet.payload))
        if (packet.packetId !== undefined) this.acknowledge("PubAck", packet.packetId)
        return
      default:
        throw this.unexpected(packet)
    }
  }

  private note(topic: string, number: number): void {
    const last = this.last?.get(topic) ?? (this.last === undefined ? Number.POSITIVE_INFINITY : 0)
    if (number > last) this.complaints.push(`${this.clientId} got ${topic} ${number}, published after its UNSUBACK`)
  }
}
