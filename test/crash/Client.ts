/**
 * A client that outlives its connections, and the broker: what those that publish and subscribe here have in common.
 *
 * Owns the connection that it has now, and what CONNACK and DISCONNECT mean to it. What else comes is handled by who
 * extends it.
 */
import type { ConnAck, Packet } from "../../src/protocol/Packet.ts"
import { Connection, SHUTTING_DOWN, type Version } from "./Connection.ts"

type Ack = "PubAck" | "PubRec" | "PubRel" | "PubComp"

export abstract class Client {
  readonly clientId: string
  /** How often the broker would not have it: a store without room takes no session. */
  refused = 0
  private readonly version: Version
  private connection: Connection | undefined = undefined
  /** The broker has acknowledged its session: from now on it must be there. */
  private established = false

  constructor(clientId: string, version: Version) {
    this.clientId = clientId
    this.version = version
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

  /** The broker has accepted a connection. */
  protected abstract accepted(): void

  protected abstract handle(packet: Packet): void

  protected send(packet: Packet): void {
    this.connection?.send(packet)
  }

  protected acknowledge(_tag: Ack, packetId: number): void {
    this.send({ _tag, packetId, reasonCode: 0, properties: undefined })
  }

  protected subscribe(qos: 1 | 2, filters: ReadonlyArray<string>): void {
    const options = { qos, noLocal: false, retainAsPublished: false, retainHandling: 0 } as const
    const subscriptions = filters.map((filter) => ({ filter, ...options }))
    this.send({ _tag: "Subscribe", packetId: 1, subscriptions, properties: undefined })
  }

  protected unexpected({ _tag }: Packet): Error {
    return new Error(`${this.clientId} did not expect ${_tag}`)
  }

  private receive(packet: Packet): void {
    if (packet._tag === "ConnAck") this.answered(packet)
    else if (packet._tag !== "Disconnect") this.handle(packet)
    else if (packet.reasonCode !== SHUTTING_DOWN) {
      throw new Error(`${this.clientId} was disconnected: ${packet.reasonCode}`)
    }
  }

  private answered({ reasonCode, sessionPresent }: ConnAck): void {
    if (reasonCode !== 0) {
      this.refused++
      this.disconnect()
      return
    }
    if (this.established && !sessionPresent) throw new Error(`The session of ${this.clientId} is lost.`)
    this.established = true
    this.accepted()
  }
}
