/**
 * A broker that is killed again and again under clients that count: what was acknowledged must arrive.
 *
 * Owns the cycles and the verdict. In each cycle the broker starts on what the last one left, everybody connects and
 * goes on where they were, and at a random instant it is killed: perhaps before it is up, or while its store is copied.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { random } from "../core/Random.ts"
import { databaseIn } from "../../src/cli/StorageFlags.ts"
import * as SqliteBackup from "../../src/storage/SqliteBackup.ts"
import type { Durability } from "../../src/storage/SqliteFile.ts"
import { BrokerProcess, type Kind } from "./BrokerProcess.ts"
import { Fickle } from "./Fickle.ts"
import { Mortal } from "./Mortal.ts"
import { Publisher } from "./Publisher.ts"
import { Subscriber } from "./Subscriber.ts"
import * as Verdict from "./Verdict.ts"

export interface Options {
  readonly cycles: number
  readonly seed: number
  readonly kind: Kind
  /** Default "fsync". */
  readonly durability?: Durability
  readonly report?: (line: string) => void
}

export interface Outcome {
  /** How often the broker was killed, */
  readonly kills: number
  /** and how many of these were before it listened, */
  readonly killsAtStart: number
  /** or while its store was being copied. */
  readonly killsInBackup: number
  /** Messages that the broker acknowledged. */
  readonly acknowledged: number
  /** Connections that it accepted and that were cut: each has a will. */
  readonly wills: number
  /** Retained messages whose end it acknowledged. */
  readonly cleared: number
  /** Subscriptions whose end it acknowledged. */
  readonly unsubscribed: number
  /** What subscribers got of them, repetitions included. */
  readonly received: number
  /** What is wrong; empty: all that was promised was kept. */
  readonly complaints: ReadonlyArray<string>
}

const MESSAGES_PER_CYCLE = 5_000
const CUTS_PER_CYCLE = 3
const KILL_MILLIS = 120
const BACKUP_MILLIS = 10
/** Every so many cycles it comes to fetch what has gathered. */
const OFFLINE_CYCLES = 10
/** Of so many kills one is before the broker listens, */
const START_SHARE = 4
/** and of so many others one is while its store is copied. */
const BACKUP_SHARE = 5
/** Only to say what it hangs on. */
const PATIENCE_MILLIS = 300_000

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
  private readonly mortal = new Mortal("mortal")
  private readonly fickle = new Fickle(this.publishers[0]!)
  private broker: BrokerProcess | undefined = undefined
  private readonly kills = { all: 0, atStart: 0, inBackup: 0 }
  /** How long the last start took. */
  private startMillis = 0
  private readonly next: (below: number) => number

  constructor(options: Options, dataDir: string) {
    this.options = options
    this.dataDir = dataDir
    this.next = random(options.seed)
  }

  private get subscribers(): ReadonlyArray<Subscriber> {
    return [...this.online, this.offline]
  }

  private get everybody() {
    return [...this.publishers, ...this.subscribers, this.mortal, this.fickle]
  }

  /** Whoever was promised something that subscribers get. */
  private get sources(): ReadonlyArray<Verdict.Source> {
    return [...this.publishers, this.mortal]
  }

  async run(): Promise<Outcome> {
    try {
      await this.begin()
      await this.crash()
      const retained = await this.settle()
      return this.outcome(retained)
    } finally {
      for (const client of this.everybody) client.disconnect()
      await this.broker?.end("SIGKILL")
    }
  }

  private outcome(retained: ReadonlyMap<string, ReadonlyArray<number>>): Outcome {
    const { fickle, mortal, publishers, sources, subscribers } = this
    const count = (all: ReadonlyArray<Verdict.Source>): number =>
      all.flatMap(({ acknowledged }) => [...acknowledged.values()]).reduce((sum, { length }) => sum + length, 0)
    return {
      kills: this.kills.all,
      killsAtStart: this.kills.atStart,
      killsInBackup: this.kills.inBackup,
      acknowledged: count(publishers),
      wills: count([mortal]),
      cleared: publishers.reduce((sum, { cleared }) => sum + cleared.length, 0),
      unsubscribed: fickle.unsubscribed,
      received: subscribers.reduce((sum, one) => sum + one.count, 0),
      complaints: [
        ...[...publishers, ...subscribers, mortal]
          .filter(({ refused }) => refused > 0)
          .map(({ clientId, refused }) => `${clientId} was refused ${refused} times`),
        ...subscribers.flatMap((subscriber) => Verdict.judge(sources, subscriber)),
        ...Verdict.judgeRetained(publishers, retained),
        ...fickle.complaints
      ]
    }
  }

  private start(): BrokerProcess {
    const { durability = "fsync", kind } = this.options
    this.broker = new BrokerProcess({ kind, dataDir: this.dataDir, durability })
    return this.broker
  }

  /** Everybody is subscribed before the first message. The end is a clean one: what it has compiled is kept. */
  private async begin(): Promise<void> {
    const broker = this.start()
    const port = await broker.port()
    for (const subscriber of this.subscribers) subscriber.connect(port)
    await waitUntil("everybody is subscribed", () => this.subscribers.every(({ subscribed }) => subscribed))
    for (const subscriber of this.subscribers) subscriber.disconnect()
    await this.stop(broker)
  }

  private async stop(broker: BrokerProcess): Promise<void> {
    const code = await broker.end("SIGTERM")
    if (code !== 0) throw new Error(`The broker ended with ${code} when it was asked to stop.`)
  }

  private async crash(): Promise<void> {
    const { cycles, kind, report } = this.options
    for (let cycle = 1; cycle <= cycles; cycle++) {
      const startedAt = performance.now()
      const broker = this.start()
      if (this.next(START_SHARE) === 0) await this.killAtStart(broker)
      else {
        const port = await broker.port()
        this.startMillis = performance.now() - startedAt
        this.publishAndSubscribe(port, cycle % OFFLINE_CYCLES === 0)
        if (this.next(BACKUP_SHARE) === 0) await this.killInBackup(broker)
        else await this.kill(broker, this.killMillis)
      }
      for (const client of this.everybody) client.disconnect()
      if (cycle % 20 === 0) report?.(`${kind}: ${cycle} kills, ${this.offline.count} messages for whoever is away`)
    }
  }

  /** On a machine that is slow, or busy with other things, clients too take longer to get going. */
  private get killMillis(): number {
    return Math.max(KILL_MILLIS, Math.ceil(this.startMillis / 3))
  }

  /** Perhaps while it reads what it has, or writes down that it runs. */
  private async killAtStart(broker: BrokerProcess): Promise<void> {
    this.kills.atStart++
    await this.kill(broker, this.startMillis)
  }

  private async killInBackup(broker: BrokerProcess): Promise<void> {
    this.kills.inBackup++
    const copy = join(this.dataDir, "copy.db")
    await sleep(this.next(this.killMillis))
    const copying = Effect.runPromiseExit(SqliteBackup.backup(databaseIn(this.dataDir), copy))
    await this.kill(broker, BACKUP_MILLIS)
    const exit = await copying
    // A copy is whole, or there is none.
    if (Exit.isSuccess(exit)) Verdict.checkCopy(copy)
    rmSync(copy, { force: true })
  }

  private async kill(broker: BrokerProcess, withinMillis: number): Promise<void> {
    await sleep(this.next(Math.ceil(withinMillis) + 1))
    await broker.kill()
    this.kills.all++
  }

  private publishAndSubscribe(port: number, everybody: boolean): void {
    for (const publisher of this.publishers) publisher.budget = MESSAGES_PER_CYCLE
    if (everybody) this.offline.connect(port)
    this.mortal.renew(CUTS_PER_CYCLE)
    for (const client of [...this.online, ...this.publishers, this.mortal, this.fickle]) client.connect(port)
  }

  /** A last start: everything that is on its way arrives. Returns what is retained. */
  private async settle(): Promise<ReadonlyMap<string, ReadonlyArray<number>>> {
    const broker = this.start()
    const port = await broker.port()
    for (const publisher of this.publishers) publisher.budget = 0
    this.mortal.renew(1)
    for (const client of this.everybody) client.connect(port)
    await waitUntil("all is acknowledged", () => [...this.publishers, this.mortal].every(({ idle }) => idle))
    await waitUntil("the last will is there to be published", () => this.mortal.settled)
    this.mortal.disconnect()
    // The last message of each topic comes last.
    for (const publisher of this.publishers) publisher.budget = 10
    for (const publisher of this.publishers) publisher.pump()
    await waitUntil("the last is acknowledged", () => this.publishers.every(({ idle }) => idle))
    await waitUntil("the last has arrived", () =>
      this.subscribers.every((subscriber) => Verdict.isComplete(this.sources, subscriber))
    )
    // In this order: when the last of the second has come, so has all of the first.
    const fresh = new Subscriber("fresh", 4, 1, "cleared/#", "retained/#")
    fresh.connect(port)
    await waitUntil("what is retained has come", () =>
      this.publishers.every(({ clientId }) => fresh.received.has(`retained/${clientId}`))
    )
    fresh.disconnect()
    await this.stop(broker)
    return fresh.received
  }
}
