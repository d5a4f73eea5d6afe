/**
 * A client that publishes numbers, one after the other, on a topic for each QoS, and takes no acknowledgement for
 * granted: what is unacknowledged when the connection ends is sent again on the next, in order.
 */
import type { Packet } from "../../src/protocol/Packet.ts"
import { Client } from "./Client.ts"
import * as Payload from "./Payload.ts"

const WINDOW = 20

interface Underway {
  readonly packetId: number
  readonly topic: string
  readonly qos: 1 | 2
  readonly number: number
  readonly retain: boolean
  /** It takes back what is retained. */
  readonly clears: boolean
  /** PUBREC has come: from now on PUBREL is what is repeated. */
  released: boolean
}

export class Publisher extends Client {
  /** The highest acknowledged number of each topic, and how many. Acknowledgements come in order. */
  readonly acknowledged = new Map<string, Array<number>>()
  /** Topics whose retained message it has taken back for good, acknowledged. */
  readonly cleared: Array<string> = []
  /** The last number that it has sent, by topic. */
  readonly numbers = new Map<string, number>()
  /** How many more it may publish. */
  budget = 0
  /** The broker has accepted this connection, and what was underway has been sent again: only then come new ones. */
  private resumed = false
  private readonly underway = new Map<number, Underway>()
  private lastPacketId = 0
  private turn = 0

  constructor(clientId: string) {
    super(clientId, 4)
  }

  get idle(): boolean {
    return this.underway.size === 0 && this.budget === 0
  }

  override connect(port: number): void {
    this.resumed = false
    super.connect(port)
  }

  /** Publishes as far as its window and its budget go. */
  pump(): void {
    while (this.connected && this.resumed && this.underway.size < WINDOW && this.budget > 0) {
      this.budget--
      this.publish()
    }
  }

  private publish(): void {
    this.turn = (this.turn + 1) % 7
    if (this.turn === 6) {
      this.retainAndClear()
      return
    }
    const qos = this.turn % 2 === 0 ? 1 : 2
    const retain = this.turn === 4
    this.begin(retain ? `retained/${this.clientId}` : `t/${this.clientId}/${qos}`, qos, retain, false)
  }

  /** A topic of its own each time, so that what comes back stays there. The first of two clearings is at QoS 0. */
  private retainAndClear(): void {
    const topic = `cleared/${this.clientId}/${this.cleared.length + this.underway.size}-${this.lastPacketId}`
    this.begin(topic, 1, true, false)
    const payload = new Uint8Array(0)
    const dup = false
    this.send({ _tag: "Publish", topic, payload, qos: 0, retain: true, dup, properties: undefined })
    this.begin(topic, this.lastPacketId % 2 === 0 ? 1 : 2, true, true)
  }

  private begin(topic: string, qos: 1 | 2, retain: boolean, clears: boolean): void {
    const number = (this.numbers.get(topic) ?? 0) + 1
    this.numbers.set(topic, number)
    do this.lastPacketId = (this.lastPacketId % 65_535) + 1
    while (this.underway.has(this.lastPacketId))
    const message = { packetId: this.lastPacketId, topic, qos, number, retain, clears, released: false }
    this.underway.set(message.packetId, message)
    this.transmit(message, false)
  }

  private transmit({ clears, number, packetId, qos, released, retain, topic }: Underway, dup: boolean): void {
    const payload = clears ? new Uint8Array(0) : Payload.of(number)
    if (released) this.acknowledge("PubRel", packetId)
    else this.send({ _tag: "Publish", topic, payload, qos, retain, dup, packetId, properties: undefined })
  }

  protected accepted(): void {
    for (const message of this.underway.values()) this.transmit(message, true)
    this.resumed = true
    this.pump()
  }

  protected handle(packet: Packet): void {
    switch (packet._tag) {
      case "PubAck":
      case "PubComp":
        this.finish(packet.packetId)
        break
      case "PubRec": {
        const message = this.underway.get(packet.packetId)
        if (message !== undefined) message.released = true
        this.acknowledge("PubRel", packet.packetId)
        break
      }
      default:
        throw this.unexpected(packet)
    }
    this.pump()
  }

  private finish(packetId: number): void {
    const message = this.underway.get(packetId)
    if (message === undefined) return // of an exchange that was finished on the connection before
    this.underway.delete(packetId)
    if (message.topic.startsWith("cleared/")) {
      if (message.clears) this.cleared.push(message.topic)
      return
    }
    const numbers = this.acknowledged.get(message.topic)
    if (numbers === undefined) this.acknowledged.set(message.topic, [message.number])
    else numbers.push(message.number)
  }
}
