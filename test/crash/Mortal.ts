/**
 * A client with a will that never says goodbye: each of its connections is cut, by itself or by the end of the broker,
 * and each that was accepted owes the subscribers its will.
 */
import type { Packet } from "../../src/protocol/Packet.ts"
import { Connection, connectPacket, SHUTTING_DOWN } from "./Connection.ts"
import * as Payload from "./Payload.ts"

export class Mortal {
  readonly clientId: string
  /** The number of the will of each accepted connection. */
  readonly acknowledged = new Map<string, Array<number>>()
  /** How often the broker would not have it: a store without room takes no session. */
  refused = 0
  private readonly topic: string
  private connection: Connection | undefined = undefined
  private established = false
  private number = 0
  private port = 0
  /** How often it is still to come again. */
  private budget = 0

  constructor(clientId: string) {
    this.clientId = clientId
    this.topic = `t/${clientId}/2`
  }

  get idle(): boolean {
    return this.budget === 0
  }

  /** Its last connection has been accepted, and it is not to come again. */
  get settled(): boolean {
    return this.idle && this.accepted
  }

  private get accepted(): boolean {
    return this.acknowledged.get(this.topic)?.at(-1) === this.number
  }

  get connected(): boolean {
    return this.connection?.open === true
  }

  /** So many times it comes again, each time as soon as it is accepted: now, if it is. */
  renew(times: number): void {
    this.budget = times
    if (this.accepted && this.connected) this.again()
  }

  connect(port: number): void {
    this.port = port
    const former = this.connection
    const number = ++this.number
    const will = {
      topic: this.topic,
      payload: Payload.of(number),
      qos: 2,
      retain: false,
      properties: undefined
    } as const
    const connect = { ...connectPacket(this.clientId, 4), will }
    const connection = new Connection(port, this.clientId, 4, (packet) => this.receive(packet, number), connect)
    this.connection = connection
    // Every other time the broker ends it: the new connection takes over.
    if (number % 2 === 0) former?.end()
  }

  disconnect(): void {
    this.connection?.end()
  }

  private receive(packet: Packet, number: number): void {
    if (packet._tag === "Disconnect" && packet.reasonCode === SHUTTING_DOWN) return
    if (packet._tag !== "ConnAck") throw new Error(`${this.clientId} did not expect ${packet._tag}`)
    if (packet.reasonCode !== 0) {
      this.refused++
      this.disconnect()
      return
    }
    if (this.established && !packet.sessionPresent) throw new Error(`The session of ${this.clientId} is lost.`)
    this.established = true
    const numbers = this.acknowledged.get(this.topic)
    if (numbers === undefined) this.acknowledged.set(this.topic, [number])
    else numbers.push(number)
    this.again()
  }

  private again(): void {
    if (this.budget === 0) return
    this.budget--
    this.connect(this.port)
  }
}
