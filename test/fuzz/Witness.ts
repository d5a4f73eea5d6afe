/**
 * Healthy clients beside the hostile ones: a publisher, a subscriber who must get every message of it in order, and
 * one who subscribes to everything, for whom all that the others get through must be MQTT.
 */
import type { QoS } from "../../src/protocol/Packet.ts"
import { Peer } from "./Peer.ts"

/** Topics of the healthy clients: nobody else publishes here. */
export const PREFIX = "witness-7c1f/"

/** Messages a batch at each QoS. */
const MESSAGES = 10

const levels: ReadonlyArray<QoS> = [0, 1, 2]

export class Witness {
  /** How many messages reached it. */
  received = 0
  private readonly publisher: Peer
  private readonly subscriber: Peer
  private readonly everything: Peer
  /** The next number expected at each QoS. */
  private readonly next: [number, number, number] = [0, 0, 0]
  private sent = 0
  private fault: string | undefined = undefined
  private changed: () => void = () => {}

  private constructor(publisher: Peer, subscriber: Peer, everything: Peer) {
    this.publisher = publisher
    this.subscriber = subscriber
    this.everything = everything
    subscriber.onMessage = ({ payload, qos }) => this.receive(qos, Number(Buffer.from(payload).toString()))
  }

  /** `qosOfEverything`: above 0, a burst may be more than its queue takes. */
  static async begin(port: number, qosOfEverything: QoS): Promise<Witness> {
    const publisher = await Peer.open({ port, protocolVersion: 4, clientId: "witness-7c1f-publisher" })
    const subscriber = await Peer.open({ port, clientId: "witness-7c1f-subscriber" })
    const everything = await Peer.open({ port, clientId: "witness-7c1f-everything" })
    const witness = new Witness(publisher, subscriber, everything)
    await subscriber.subscribe(
      levels.map((qos) => `${PREFIX}${qos}`),
      2
    )
    await everything.subscribe(["#"], qosOfEverything)
    await publisher.publish(`${PREFIX}retained`, "kept", 1, true)
    return witness
  }

  /** Publishes a round of messages; resolves when all of them have arrived, or with what went wrong. */
  async round(): Promise<string | undefined> {
    try {
      const from = this.sent
      this.sent += MESSAGES
      const answers: Array<Promise<void>> = []
      for (let number = from; number < this.sent; number++) {
        for (const qos of levels) answers.push(this.publisher.publish(`${PREFIX}${qos}`, String(number), qos))
      }
      await Promise.all(answers)
      await this.arrived()
      await this.everything.ping()
    } catch (error) {
      this.fault ??= error instanceof Error ? error.message : String(error)
    }
    return this.fault === undefined ? undefined : `a healthy client was harmed: ${this.fault}`
  }

  /** Who joins now gets the retained message that was there from the beginning. */
  async retained(port: number): Promise<string | undefined> {
    const payloads: Array<string> = []
    const onMessage = ({ payload }: { readonly payload: Uint8Array }) => payloads.push(Buffer.from(payload).toString())
    const peer = await Peer.open({ port, clientId: "witness-7c1f-late", onMessage })
    await peer.subscribe([`${PREFIX}retained`], 0)
    await peer.ping()
    await peer.disconnect()
    return payloads.join() === "kept" ? undefined : `the retained message is not what it was: ${payloads.join()}`
  }

  async end(): Promise<void> {
    await Promise.all([this.publisher.disconnect(), this.subscriber.disconnect(), this.everything.disconnect()])
  }

  /** What was sent before this answer came back has been handed to the subscriber's socket. */
  private async arrived(): Promise<void> {
    await this.subscriber.ping()
    const late = levels.filter((qos) => this.next[qos] < this.sent)
    if (late.length === 0 || this.fault !== undefined) return
    // The exchanges of QoS 2 take more than one turn.
    const lost = this.subscriber.ended.then(() => {
      this.fault ??= this.subscriber.problem ?? "its connection ended"
    })
    let timer: NodeJS.Timeout | undefined
    const all = new Promise<void>((resolve) => {
      this.changed = () => {
        if (levels.every((qos) => this.next[qos] >= this.sent) || this.fault !== undefined) resolve()
      }
      timer = setTimeout(() => {
        this.fault ??= `of ${this.sent} messages at each QoS only ${this.next.join(", ")} arrived`
        resolve()
      }, 20_000)
      this.changed()
    })
    await Promise.race([all, lost])
    clearTimeout(timer)
  }

  private receive(qos: QoS, number: number): void {
    const expected = this.next[qos]
    if (number !== expected) this.fault ??= `at QoS ${qos}, message ${number} came and not ${expected}`
    this.next[qos] = number + 1
    this.received++
    this.changed()
  }
}
