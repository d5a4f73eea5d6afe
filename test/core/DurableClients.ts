/**
 * Clients that do what the standard asks of them, and outlive crashes of the broker: they remember what they have not
 * been told is safe, and send it again on the next connection. What they were told is what tests hold the broker to.
 *
 * Each `step` does one thing: handle one packet, connect, subscribe, or begin the next message.
 */
import type { Packet } from "../../src/protocol/Packet.ts"
import type { CoreHarness } from "./CoreHarness.ts"
import { type TestClient, text } from "./TestClient.ts"

abstract class DurableClient {
  protected readonly harness: CoreHarness
  readonly clientId: string
  readonly version: 4 | 5
  /** Receive Maximum of the next connection, 5.0 only; undefined: as much as the broker likes. */
  receiveMaximum: number | undefined = undefined
  protected client: TestClient | undefined = undefined
  /** Whether CONNACK arrived on this connection. */
  protected ready = false
  /** Whether a CONNACK ever said that the session is kept. */
  private promised = false
  private inbox: Array<Packet> = []

  constructor(harness: CoreHarness, clientId: string, version: 4 | 5) {
    this.harness = harness
    this.clientId = clientId
    this.version = version
  }

  /** Whether it did anything. */
  step(): boolean {
    if (this.client === undefined || this.client.closed) {
      this.reconnect()
      return true
    }
    this.inbox.push(...this.client.take())
    const packet = this.inbox.shift()
    if (packet === undefined) return this.ready && this.next(this.client)
    if (packet._tag === "ConnAck") {
      if (packet.reasonCode !== 0) throw new Error(`${this.clientId} was refused with ${packet.reasonCode}.`)
      if (this.promised && !packet.sessionPresent) throw new Error(`The session of ${this.clientId} was lost.`)
      this.promised = true
      this.ready = true
      this.resume(this.client)
    } else this.handle(this.client, packet)
    return true
  }

  /** A new connection: in place of one that still stands, a takeover. */
  reconnect(): void {
    this.inbox = []
    this.ready = false
    this.client = this.harness.connect(this.clientId, {
      version: this.version,
      clean: false,
      ...(this.version === 5 ? { expiry: 3_600 } : {}),
      ...(this.receiveMaximum === undefined ? {} : { properties: { receiveMaximum: this.receiveMaximum } })
    })
  }

  /** The network fails. */
  drop(): void {
    this.client?.drop()
  }

  /** Everything was lost that was on its way; called when the broker crashed. */
  crashed(): void {
    this.client = undefined
    this.ready = false
    this.inbox = []
  }

  protected abstract resume(client: TestClient): void
  protected abstract handle(client: TestClient, packet: Packet): void
  protected abstract next(client: TestClient): boolean
}

interface Underway {
  readonly payload: string
  readonly packetId: number
  /** QoS 2: PUBREC came, the message itself is forgotten. */
  received: boolean
}

/** Publishes "1", "2", … to one topic. */
export class DurablePublisher extends DurableClient {
  private readonly qos: 1 | 2
  private readonly count: number
  private readonly window: number
  private begun = 0
  private readonly underway: Array<Underway> = []
  /** What the broker has taken over: PUBACK, or PUBREC, came. */
  readonly taken = new Set<string>()
  /** What the broker said is done: PUBACK, or PUBCOMP, came. */
  readonly done = new Set<string>()
  /** It begins nothing before. */
  mayBegin: () => boolean = () => true

  constructor(harness: CoreHarness, version: 4 | 5, qos: 1 | 2, count: number, window: number) {
    super(harness, "publisher", version)
    this.qos = qos
    this.count = count
    this.window = window
  }

  protected resume(client: TestClient): void {
    for (const { packetId, payload, received } of this.underway) {
      if (received) client.pubRel(packetId)
      else client.publish("t", payload, { qos: this.qos, packetId, dup: true })
    }
  }

  protected handle(client: TestClient, packet: Packet): void {
    if (packet._tag !== "PubAck" && packet._tag !== "PubRec" && packet._tag !== "PubComp") {
      throw new Error(`A publisher got ${packet._tag}.`)
    }
    const at = this.underway.findIndex(({ packetId }) => packetId === packet.packetId)
    const message = this.underway[at]
    if (message === undefined) throw new Error(`${packet._tag} for ${packet.packetId}, which is not underway.`)
    this.taken.add(message.payload)
    if (packet._tag === "PubRec") {
      message.received = true
      client.pubRel(packet.packetId)
      return
    }
    this.done.add(message.payload)
    this.underway.splice(at, 1)
  }

  protected next(client: TestClient): boolean {
    if (this.begun === this.count || this.underway.length >= this.window || !this.mayBegin()) return false
    this.begun++
    const payload = String(this.begun)
    // Ids are used again soon, so that a broker that mixes up exchanges is found out.
    let packetId = 1
    while (this.underway.some((other) => other.packetId === packetId)) packetId++
    this.underway.push({ payload, packetId, received: false })
    client.publish("t", payload, { qos: this.qos, packetId })
    return true
  }
}

/** Subscribes to that topic, and keeps what it got. */
export class DurableSubscriber extends DurableClient {
  private readonly qos: 1 | 2
  private asked = false
  /** SUBACK came. */
  subscribed = false
  /** Every message handed to the application, in order. */
  readonly received: Array<string> = []
  /** Packet ids of QoS 2 messages that were handed over and not released. */
  private readonly unreleased = new Set<number>()
  /** PUBLISH packets of this connection that were not answered to the end: Receive Maximum counts them. */
  private readonly unfinished = new Set<number>()
  private mostUnfinished = Number.POSITIVE_INFINITY

  constructor(harness: CoreHarness, version: 4 | 5, qos: 1 | 2) {
    super(harness, "subscriber", version)
    this.qos = qos
  }

  protected resume(): void {
    this.asked = this.subscribed
    this.unfinished.clear()
  }

  override reconnect(): void {
    this.mostUnfinished = this.receiveMaximum ?? Number.POSITIVE_INFINITY
    super.reconnect()
  }

  private sawPublish(packetId: number): void {
    this.unfinished.add(packetId)
    if (this.unfinished.size > this.mostUnfinished) {
      throw new Error(`${this.unfinished.size} messages are unanswered, more than ${this.mostUnfinished}.`)
    }
  }

  protected handle(client: TestClient, packet: Packet): void {
    switch (packet._tag) {
      case "SubAck":
        this.subscribed = true
        return
      case "Publish": {
        const { packetId = 0, payload, qos } = packet
        this.sawPublish(packetId)
        if (qos === 1) {
          this.received.push(text(payload))
          client.pubAck(packetId)
          this.unfinished.delete(packetId)
          return
        }
        if (!this.unreleased.has(packetId)) this.received.push(text(payload))
        this.unreleased.add(packetId)
        client.pubRec(packetId)
        return
      }
      case "PubRel":
        this.unreleased.delete(packet.packetId)
        client.pubComp(packet.packetId)
        this.unfinished.delete(packet.packetId)
        return
      default:
        throw new Error(`A subscriber got ${packet._tag}.`)
    }
  }

  protected next(client: TestClient): boolean {
    if (this.asked) return false
    this.asked = true
    client.subscribe({ filter: "t", qos: this.qos })
    return true
  }
}
