/**
 * Roles whose state is kept by the broker: durable sessions with queues that fill while they are away, and retained
 * messages that are set and taken back.
 */
import type { Publish } from "../../src/protocol/Packet.ts"
import type { Peer } from "../fuzz/Peer.ts"
import { discard } from "./Churn.ts"
import { limits, type Role, type Stage } from "./Stage.ts"

const SLEEPERS = 10
/** Of the messages that come while nothing is acknowledged: fewer than may be under way. */
const UNACKNOWLEDGED_MAX = 50
/** A session is discarded, and begins anew, after so many rounds. */
const ROUNDS_A_SESSION = 15

/** One durable client, its life long, and the one who feeds it. */
class Sleeper {
  private readonly stage: Stage
  private readonly clientId: string
  private readonly topic: string
  private readonly protocolVersion: 4 | 5
  private readonly qos: 1 | 2
  private readonly number: number
  private readonly unreleased = new Set<number>()
  private feeder!: Peer
  private peer!: Peer
  private sent = 0
  /** The numbers that must still come, in order. */
  private expected: Array<number> = []
  private last = -1
  private gone = 0
  private known = false

  constructor(stage: Stage, number: number) {
    this.stage = stage
    this.number = number
    this.clientId = `durable-${number}`
    this.topic = `durable/${number}/x`
    this.protocolVersion = number % 2 === 0 ? 4 : 5
    this.qos = number % 4 < 2 ? 1 : 2
  }

  async live(): Promise<void> {
    const { stage, number } = this
    const chance = stage.chance(this.clientId)
    const onMessage = () => this.gone++
    this.feeder = await stage.open({ protocolVersion: 5, clientId: `durable-feeder-${number}`, onMessage })
    await this.feeder.subscribe([`durable-will/${number}`], 1)
    await this.come()
    for (let round = 1; !stage.over; round++) {
      await this.feed(chance.below(100))
      await this.caughtUp()
      if (chance.below(3) === 0) await this.freeze(1 + chance.below(UNACKNOWLEDGED_MAX))
      else await this.leave(chance.below(2) === 0)
      const away = chance.below(6) === 0 ? limits.queueMessagesMax + chance.below(100) : chance.below(150)
      await this.feedAway(away)
      if (round % ROUNDS_A_SESSION === 0) await this.forget()
      await this.come()
      await this.caughtUp()
      stage.round("durable")
      await stage.pause(200 + chance.below(800))
    }
    await this.feeder.disconnect()
    await discard(stage, this.peer, this.clientId)
  }

  private async come(): Promise<void> {
    const { clientId, number, protocolVersion, stage, topic, unreleased } = this
    this.peer = await stage.open({
      protocolVersion,
      clientId,
      cleanStart: false,
      properties: protocolVersion === 5 ? { sessionExpiryInterval: 3_600 } : undefined,
      will: { topic: `durable-will/${number}`, payload: Buffer.from("gone"), qos: 1, retain: false },
      unreleased,
      onMessage: (message) => this.receive(message)
    })
    const present = this.peer.connAck?.sessionPresent === true
    if (present !== this.known) stage.fail(`${clientId}: session present is ${present}`)
    if (!this.known) await this.peer.subscribe([`durable/${number}/#`, topic], this.qos)
    this.known = true
  }

  private receive(message: Publish): void {
    const number = Number(Buffer.from(message.payload).toString())
    // What was not acknowledged comes again; at QoS 2 the packet id has told, at QoS 1 it may.
    if (this.qos === 1 && message.dup && number <= this.last) return
    const expected = this.expected.shift()
    if (number !== expected) this.stage.fail(`${this.clientId}: message ${number} came and not ${expected}`)
    this.last = number
  }

  private async feed(count: number): Promise<void> {
    const { feeder, qos, stage, topic } = this
    const answers: Array<Promise<void>> = []
    for (let index = 0; index < count; index++) {
      this.expected.push(this.sent)
      answers.push(stage.publish(feeder, topic, String(this.sent++), qos))
      // A healthy client with a window of one hundred: no more than that at once.
      if (answers.length === 50) await Promise.all(answers.splice(0))
    }
    await Promise.all(answers)
  }

  /** To the queue, and beyond: the newest are dropped. */
  private async feedAway(count: number): Promise<void> {
    await this.feed(count)
    const beyond = count - limits.queueMessagesMax
    if (beyond <= 0) return
    this.expected.splice(this.expected.length - beyond)
    this.stage.expectDropped("durable", "queue-full", beyond)
  }

  private caughtUp(): Promise<void> {
    return this.stage.eventually(`${this.clientId}: all of ${this.sent} messages`, () => this.expected.length === 0)
  }

  private async leave(orderly: boolean): Promise<void> {
    if (orderly) await this.peer.disconnect()
    else await this.vanish()
  }

  /** Takes messages without acknowledging them, then is gone: they come again, before those of the queue. */
  private async freeze(count: number): Promise<void> {
    this.peer.acknowledges = false
    await this.feed(count)
    await this.caughtUp()
    if (this.qos === 1) {
      for (let number = this.sent - count; number < this.sent; number++) this.expected.push(number)
      this.last = this.sent - count - 1
    }
    await this.vanish()
  }

  /** The will says that the broker has noticed: from then on messages go to the queue. */
  private async vanish(): Promise<void> {
    const before = this.gone
    this.peer.abort()
    await this.stage.eventually(`${this.clientId}: its will`, () => this.gone > before)
  }

  private async forget(): Promise<void> {
    const last = await this.stage.open({ protocolVersion: 4, clientId: this.clientId, cleanStart: true })
    await last.disconnect()
    this.known = false
    this.expected = []
    this.unreleased.clear()
  }
}

export const durable: Role = async (stage) => {
  await Promise.all(Array.from({ length: SLEEPERS }, (_, number) => new Sleeper(stage, number).live()))
}

const RETAINED_TOPICS = 150

/** Who subscribes gets exactly what is retained at that moment. */
export const retained: Role = async (stage) => {
  const chance = stage.chance("retained")
  const kept = new Map<string, string>()
  const publisher = await stage.open({ clientId: "retained-publisher" })
  const set = async (topic: string, value: string): Promise<void> => {
    if (value === "") kept.delete(topic)
    else kept.set(topic, value)
    await stage.publish(publisher, topic, value, chance.below(2) === 0 ? 1 : 0, true)
  }
  const look = async (): Promise<void> => {
    const found = new Map<string, string>()
    const onMessage = ({ payload, retain, topic }: Publish) => {
      if (!retain) stage.fail(`retained: ${topic} came without the flag`)
      found.set(topic, Buffer.from(payload).toString())
    }
    await publisher.ping()
    const reader = await stage.open({ clientId: "retained-reader", onMessage })
    await reader.subscribe([chance.below(2) === 0 ? "retained/#" : "retained/+/x"], 1)
    await stage.eventually(`retained: ${kept.size} messages, not ${found.size}`, () => found.size >= kept.size)
    await reader.ping()
    for (const [topic, value] of kept) if (found.get(topic) !== value) stage.fail(`retained: ${topic} is not ${value}`)
    if (found.size !== kept.size) stage.fail(`retained: ${found.size} messages came, and not ${kept.size}`)
    await reader.disconnect()
  }
  for (let round = 0; !stage.over; round++) {
    for (let count = 0; count < 60; count++) {
      const value = chance.below(3) === 0 ? "" : `${round} ${"v".repeat(chance.below(300))}`
      await set(`retained/${chance.below(RETAINED_TOPICS)}/x`, value)
    }
    await look()
    stage.round("retained")
    await stage.pause(150)
  }
  for (const topic of [...kept.keys()]) await set(topic, "")
  await look()
  await publisher.disconnect()
}
