/**
 * A broker that is killed again and again under clients that count: what was acknowledged must arrive.
 *
 * Owns the cycles and the verdict. In each cycle the broker starts on what the last one left, everybody connects and
 * goes on where they were, and after a random time (perhaps before the broker is up) it is killed.
 */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { random } from "../core/Random.ts"
import { BrokerProcess } from "./BrokerProcess.ts"
import { Publisher } from "./Publisher.ts"
import { Subscriber } from "./Subscriber.ts"
import * as Verdict from "./Verdict.ts"

export interface Options {
  readonly cycles: number
  /** No new cycle begins after this time. */
  readonly secondsMax: number
  readonly seed: number
  /** Further arguments of the broker. */
  readonly args?: ReadonlyArray<string>
  readonly report?: (line: string) => void
}

export interface Outcome {
  readonly cycles: number
  /** Messages that the broker acknowledged. */
  readonly acknowledged: number
  /** What subscribers got of them, repetitions included. */
  readonly received: number
  /** What is wrong; empty: all that was promised was kept. */
  readonly complaints: ReadonlyArray<string>
}

const MESSAGES_PER_CYCLE = 150
const KILL_MILLIS = 120
/** Every so many cycles it comes to fetch what has gathered. */
const OFFLINE_CYCLES = 10
const PATIENCE_MILLIS = 60_000

const waitUntil = async (what: string, done: () => boolean): Promise<void> => {
  const deadline = Date.now() + PATIENCE_MILLIS
  while (!done()) {
    if (Date.now() > deadline) throw new Error(`Gave up waiting until ${what}.`)
    await sleep(5)
  }
}

export const run = async (options: Options): Promise<Outcome> => {
  const directory = mkdtempSync(join(tmpdir(), "effect-mqtt-crash-"))
  try {
    return await new Campaign(options, directory).run()
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

class Campaign {
  private readonly options: Options
  private readonly dataDir: string
  private readonly publishers = [1, 2, 3].map((index) => new Publisher(`p${index}`))
  private readonly online = [
    new Subscriber("online-2", 4, 2, "t/#"),
    new Subscriber("online-1", 5, 1, "t/#"),
    new Subscriber("online-5", 5, 2, "t/#")
  ]
  private readonly offline = new Subscriber("offline", 4, 2, "t/#")
  private broker: BrokerProcess | undefined = undefined

  constructor(options: Options, dataDir: string) {
    this.options = options
    this.dataDir = dataDir
  }

  private get subscribers(): ReadonlyArray<Subscriber> {
    return [...this.online, this.offline]
  }

  async run(): Promise<Outcome> {
    try {
      await this.begin()
      const cycles = await this.crash()
      const retained = await this.settle()
      const acknowledged = this.publishers.flatMap((publisher) => [...publisher.acknowledged.values()])
      return {
        cycles,
        acknowledged: acknowledged.reduce((sum, numbers) => sum + numbers.length, 0),
        received: this.subscribers.reduce((sum, { count }) => sum + count, 0),
        complaints: [
          ...[...this.publishers, ...this.subscribers]
            .filter(({ refused }) => refused > 0)
            .map(({ clientId, refused }) => `${clientId} was refused ${refused} times`),
          ...this.subscribers.flatMap((subscriber) => Verdict.judge(this.publishers, subscriber)),
          ...Verdict.judgeRetained(this.publishers, retained)
        ]
      }
    } finally {
      for (const client of [...this.publishers, ...this.subscribers]) client.disconnect()
      await this.broker?.end("SIGKILL")
    }
  }

  private start(): BrokerProcess {
    this.broker = new BrokerProcess(this.dataDir, this.options.args)
    return this.broker
  }

  /** Everybody is subscribed before the first message. */
  private async begin(): Promise<void> {
    const broker = this.start()
    const port = await broker.port()
    for (const subscriber of this.subscribers) subscriber.connect(port)
    await waitUntil("everybody is subscribed", () => this.subscribers.every(({ subscribed }) => subscribed))
    this.offline.disconnect()
    await broker.end("SIGKILL")
  }

  /** Returns how often the broker was killed. */
  private async crash(): Promise<number> {
    const { cycles, report, secondsMax, seed } = this.options
    const next = random(seed)
    const deadline = Date.now() + secondsMax * 1_000
    for (let cycle = 1; cycle <= cycles; cycle++) {
      if (Date.now() > deadline) return cycle - 1
      const broker = this.start()
      // Every tenth is killed while it starts, perhaps while it reads what it has.
      if (next(10) === 0) await sleep(next(400))
      else {
        const port = await broker.port()
        for (const publisher of this.publishers) publisher.budget = MESSAGES_PER_CYCLE
        if (cycle % OFFLINE_CYCLES === 0) this.offline.connect(port)
        for (const client of [...this.online, ...this.publishers]) client.connect(port)
        await sleep(next(KILL_MILLIS))
      }
      await broker.end("SIGKILL")
      for (const client of [...this.publishers, ...this.subscribers]) client.disconnect()
      if (cycle % 20 === 0)
        report?.(`${cycle} cycles, ${this.offline.count} messages fetched by the offline subscriber`)
    }
    return cycles
  }

  /** A last start: everything that is on its way arrives. Returns what is retained. */
  private async settle(): Promise<ReadonlyMap<string, ReadonlyArray<number>>> {
    const broker = this.start()
    const port = await broker.port()
    for (const publisher of this.publishers) publisher.budget = 0
    for (const client of [...this.subscribers, ...this.publishers]) client.connect(port)
    await waitUntil("all is acknowledged", () => this.publishers.every(({ idle }) => idle))
    // The last message of each topic comes last.
    for (const publisher of this.publishers) publisher.budget = 10
    for (const publisher of this.publishers) publisher.pump()
    await waitUntil("the last is acknowledged", () => this.publishers.every(({ idle }) => idle))
    await waitUntil("the last has arrived", () =>
      this.subscribers.every((subscriber) => Verdict.isComplete(this.publishers, subscriber))
    )
    const fresh = new Subscriber("fresh", 4, 1, "retained/#")
    fresh.connect(port)
    await waitUntil("what is retained has come", () => fresh.received.size === this.publishers.length)
    fresh.disconnect()
    const code = await broker.end("SIGTERM")
    if (code !== 0) throw new Error(`The broker ended with ${code} when it was asked to stop.`)
    return fresh.received
  }
}
