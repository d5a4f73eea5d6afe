/**
 * A client that publishes numbers, one after the other, on a topic for each QoS, and takes no acknowledgement for
 * granted: what is unacknowledged when the connection ends is sent again on the next, in order.
 */
import type { Packet } from "../../src/protocol/Packet.ts"
import { Connection, SHUTTING_DOWN } from "./Connection.ts"
import * as Payload from "./Payload.ts"

const WINDOW = 20

interface Underway {
  readonly packetId: number
  readonly topic: string
  readonly qos: 1 | 2
  readonly number: number
  readonly retain: boolean
  /** PUBREC has come: from now on PUBREL is what is repeated. */
  released: boolean
}

export class Publisher {
  readonly clientId: string
  /** The highest acknowledged number of each topic, and how many. Acknowledgements come in order. */
  readonly acknowledged = new Map<string, Array<number>>()
  /** How many more it may publish. */
  budget = 0
  /** How often the broker would not have it: a store without room takes no session. */
  refused = 0
  private connection: Connection | undefined = undefined
  /** The broker has acknowledged its session: from now on it must be there. */
  private established = false
  /** The broker has accepted this connection, and what was underway has been sent again: only then come new ones. */
  private resumed = false
  private readonly underway = new Map<number, Underway>()
  private readonly numbers = new Map<string, number>()
  private lastPacketId = 0
  private turn = 0

  constructor(clientId: string) {
    this.clientId = clientId
  }

  get idle(): boolean {
    return this.underway.size === 0 && this.budget === 0
  }

  get connected(): boolean {
    return this.connection?.open === true
  }

  connect(port: number): void {
    this.connection?.end()
    this.resumed = false
    this.connection = new Connection(port, this.clientId, 4, (packet) => this.receive(packet))
  }

  disconnect(): void {
    this.connection?.end()
  }

  /** Publishes as far as its window and its budget go. */
  pump(): void {
    while (this.connection?.open === true && this.resumed && this.underway.size < WINDOW && this.budget > 0) {
      this.budget--
      this.publish()
    }
  }

  private publish(): void {
    this.turn = (this.turn + 1) % 5
    const qos = this.turn % 2 === 0 ? 1 : 2
    const retain = this.turn === 4
    const topic = retain ? `retained/${this.clientId}` : `t/${this.clientId}/${qos}`
    const number = (this.numbers.get(topic) ?? 0) + 1
    this.numbers.set(topic, number)
    do this.lastPacketId = (this.lastPacketId % 65_535) + 1
    while (this.underway.has(this.lastPacketId))
    const message = { packetId: this.lastPacketId, topic, qos, number, retain, released: false } as const
    this.underway.set(message.packetId, { ...message })
    this.send(message, false)
  }

  private send({ number, packetId, qos, released, retain, topic }: Underway, dup: boolean): void {
    const payload = Payload.of(number)
    if (released) this.connection?.send(ack("PubRel", packetId))
    else this.connection?.send({ _tag: "Publish", topic, payload, qos, retain, dup, packetId, properties: undefined })
  }

  private receive(packet: Packet): void {
    switch (packet._tag) {
      case "ConnAck":
        if (packet.reasonCode !== 0) {
          this.refused++
          this.connection?.end()
          return
        }
        if (this.established && !packet.sessionPresent) throw new Error(`The session of ${this.clientId} is lost.`)
        this.established = true
        for (const message of this.underway.values()) this.send(message, true)
        this.resumed = true
        break
      case "PubAck":
      case "PubComp":
        this.finish(packet.packetId)
        break
      case "PubRec": {
        const message = this.underway.get(packet.packetId)
        if (message !== undefined) message.released = true
        this.connection?.send(ack("PubRel", packet.packetId))
        break
      }
      case "Disconnect":
        if (packet.reasonCode === SHUTTING_DOWN) return
        throw new Error(`${this.clientId} was disconnected: ${packet.reasonCode}`)
      default:
        throw new Error(`${this.clientId} did not expect ${packet._tag}`)
    }
    this.pump()
  }

  private finish(packetId: number): void {
    const message = this.underway.get(packetId)
    if (message === undefined) return // of an exchange that was finished on the connection before
    this.underway.delete(packetId)
    const numbers = this.acknowledged.get(message.topic)
    if (numbers === undefined) this.acknowledged.set(message.topic, [message.number])
    else numbers.push(message.number)
  }
}

export const ack = (_tag: "PubAck" | "PubRec" | "PubRel" | "PubComp", packetId: number): Packet => ({
  _tag,
  packetId,
  reasonCode: 0,
  properties: undefined
})
