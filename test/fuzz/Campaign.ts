/**
 * A fuzz run: batches of hostile connections against one broker, and everything that must still hold after each.
 */
import { Attacker } from "./Attacker.ts"
import { BrokerProcess } from "./BrokerProcess.ts"
import type { Planted, Report } from "./Report.ts"
import * as Script from "./Script.ts"
import * as Witness from "./Witness.ts"

/** Connections at the same time. */
export const BATCH = 40

/** Connections before memory is first measured: until then caches fill and code is compiled. */
export const WARM_UP = 400

/**
 * Bytes that memory may grow by between two measurements, however many connections were between them: what the caches
 * of the broker (10,000 topic names, 64-KiB buffers) and of the engine may hold more.
 */
const GROWTH_BYTES_MAX = 3 * 1024 * 1024

/** What the process may have resident at most: many packets of 256 MiB are announced to it. */
const RESIDENT_BYTES_MAX = 512 * 1024 * 1024

/** After this long without a hostile client, what they left has expired. */
const SETTLES_MILLIS = 20_000

export interface Options {
  readonly seed: number
  /** Connections are numbered from here. */
  readonly from: number
  /** How many; `undefined`: until `until`. */
  readonly count: number | undefined
  /** In milliseconds since the epoch: no batch begins after it. */
  readonly until: number
  readonly keeps: "nothing" | "everything"
  readonly planted?: Planted | undefined
  readonly say?: ((line: string) => void) | undefined
}

export interface Outcome {
  /** What went wrong; `undefined`: nothing. */
  readonly problem: string | undefined
  /** The connections during which it did: one when it is known which. */
  readonly suspects: readonly [from: number, count: number] | undefined
  readonly connections: number
  readonly witnessed: number
  /** Heap and buffers after a collection: at the first measurement and at the last. */
  readonly memory: readonly [number, number]
  readonly last: Report | undefined
}

/** Small limits, so that they are reached; short times, so that nothing left behind stays long. */
const settings = {
  ...Script.limits,
  connectTimeoutSeconds: 2,
  sessionExpirySecondsMax: 1,
  sessionsMax: 1_000,
  subscriptionsPerSessionMax: 100,
  receiveMaximum: 100,
  inflightMax: 100,
  queueMessagesMax: 100,
  queueBytesMax: 262_144,
  outboxBytesMax: 262_144,
  drainTimeoutSeconds: 2,
  bufferedBytesMax: 16_777_216,
  pauseMillisMax: 200,
  retainedMessagesMax: 300,
  retainedBytesMax: 1_048_576,
  journalBytesMax: 1_048_576,
  shutdownTimeoutSeconds: 2
}

/** Choices that a run makes by its seed. */
const choicesOf = (seed: number) => ({
  queueOverflow: (["drop-newest", "drop-oldest", "disconnect"] as const)[seed % 3]!,
  queueQos0: seed % 2 === 1,
  topicAliasMaximum: seed % 5 === 0 ? 0 : 64
})

const delay = (millis: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, millis))

const memoryOf = ({ bufferBytes, heapBytes }: Report): number => bufferBytes + heapBytes

export class Campaign {
  private readonly options: Options
  private readonly broker: BrokerProcess
  private readonly witness: Witness.Witness
  private next: number
  private problem: string | undefined = undefined
  private suspects: readonly [number, number] | undefined = undefined
  private first: Report | undefined = undefined
  private last: Report | undefined = undefined

  private constructor(options: Options, broker: BrokerProcess, witness: Witness.Witness) {
    this.options = options
    this.broker = broker
    this.witness = witness
    this.next = options.from
  }

  /** One run against a broker of its own. Never rejects for what the broker does. */
  static async run(options: Options): Promise<Outcome> {
    const { keeps, planted, seed } = options
    const choices = choicesOf(seed)
    const broker = await BrokerProcess.start({ settings: { ...settings, ...choices }, keeps, planted })
    try {
      const witness = await Witness.Witness.begin(broker.port, choices.queueOverflow === "disconnect" ? 0 : 1)
      const campaign = new Campaign(options, broker, witness)
      return await campaign.run()
    } finally {
      await broker.kill()
    }
  }

  private async run(): Promise<Outcome> {
    try {
      await this.batches()
      if (this.problem === undefined) await this.measure()
      if (this.problem === undefined) await this.end()
    } catch (error) {
      this.problem ??= error instanceof Error ? error.message : String(error)
    }
    const { first, last, next, options, problem, suspects, witness } = this
    return {
      // What the process itself says explains more than that it does not answer.
      problem: problem === undefined ? undefined : (this.broker.fault ?? problem),
      suspects,
      connections: next - options.from,
      witnessed: witness.received,
      memory: [first === undefined ? 0 : memoryOf(first), last === undefined ? 0 : memoryOf(last)],
      last
    }
  }

  private async batches(): Promise<void> {
    const { count, from, until } = this.options
    const end = count === undefined ? Number.POSITIVE_INFINITY : from + count
    // Long runs look at memory every so often; short ones at the beginning and the end.
    let measureAt = from + WARM_UP
    while (this.next < end && Date.now() < until && this.problem === undefined) {
      const size = Math.min(BATCH, end - this.next)
      this.suspects = [this.next, size]
      await this.batch(this.next, size)
      this.next += size
      if (this.next < measureAt) continue
      await this.measure()
      measureAt = this.next + (this.options.count === undefined ? 20_000 : Number.POSITIVE_INFINITY)
    }
  }

  private async batch(from: number, size: number): Promise<void> {
    const attackers = Array.from(
      { length: size },
      (_, index) => new Attacker(this.broker.port, Script.make(this.options.seed, from + index))
    )
    const harmed = this.witness.round()
    await Promise.all(attackers.map((attacker) => attacker.play()))
    this.problem ??= await harmed
    await Promise.all(attackers.map((attacker) => attacker.leave()))
    this.problem ??= this.broker.fault
    const guilty = attackers.find(({ problem }) => problem !== undefined)
    if (guilty !== undefined) {
      this.suspects = [guilty.script.number, 1]
      this.problem ??= `connection ${guilty.script.number} (${guilty.script.kind}): ${guilty.problem}`
    }
    const { defects } = await this.broker.report(false)
    if (defects.length > 0) this.problem ??= defects.join("\n")
  }

  /** Everything the hostile connections left must be gone, memory too. */
  private async measure(): Promise<void> {
    await this.settle()
    if (this.problem !== undefined) return
    const report = await this.broker.report(true)
    this.last = report
    this.options.say?.(describe(this.next, report))
    if (report.rssBytesMax > RESIDENT_BYTES_MAX) {
      this.problem ??= `the broker's process had ${mebibytes(report.rssBytesMax)} MiB resident`
    }
    if (this.first === undefined) {
      this.first = report
      return
    }
    const growth = memoryOf(report) - memoryOf(this.first)
    if (growth > GROWTH_BYTES_MAX) {
      this.suspects = undefined
      this.problem ??= `memory grew by ${mebibytes(growth)} MiB in ${this.next - this.options.from} connections`
    }
  }

  /** Waits for what expires, then compares what is left with what must be. */
  private async settle(): Promise<void> {
    const deadline = Date.now() + SETTLES_MILLIS
    for (;;) {
      await this.broker.clearRetained(Witness.PREFIX)
      const left = leftBehind(await this.broker.report(false), this.options.keeps)
      if (left === undefined) return
      if (Date.now() > deadline) {
        this.problem ??= `left behind: ${left}`
        return
      }
      await delay(100)
    }
  }

  private async end(): Promise<void> {
    this.problem ??= await this.witness.retained(this.broker.port)
    await this.witness.end()
    this.problem ??= await this.broker.stop()
  }
}

/** The three healthy clients, their four subscriptions and one retained message are all there may be. */
const leftBehind = (report: Report, keeps: "nothing" | "everything"): string | undefined => {
  const expected: ReadonlyArray<readonly [string, number, number]> = [
    ["connections", report.connections, 3],
    ["sessions", report.sessions, 3],
    ["subscriptions", report.subscriptions, 4],
    ["retained messages", report.retained, 1],
    ["incoming messages", report.incomingMessages, 0],
    ["outgoing messages", report.outgoingMessages, 0],
    ["outbox bytes", report.outboxBytes, 0],
    ["stored sessions", report.store.sessions, 0],
    ["stored retained messages", report.store.retained, keeps === "everything" ? 1 : 0],
    ["bytes on their way to the store", report.store.pendingBytes, 0]
  ]
  const wrong = expected.filter(([, found, right]) => found !== right)
  if (wrong.length === 0) return undefined
  return wrong.map(([name, found, right]) => `${found} ${name} instead of ${right}`).join(", ")
}

const mebibytes = (bytes: number): string => (bytes / 1_048_576).toFixed(1)

const describe = (connections: number, report: Report): string => {
  const { messagesDropped, messagesReceived, messagesSent, protocolErrors } = report.stats
  return (
    `${connections} connections: heap ${mebibytes(report.heapBytes)} MiB, ` +
    `buffers ${mebibytes(report.bufferBytes)} MiB, ` +
    `resident ${mebibytes(report.rssBytes)} MiB (at most ${mebibytes(report.rssBytesMax)}); ` +
    `messages: ${messagesReceived} in, ${messagesSent} out, ${messagesDropped} dropped; ` +
    `${protocolErrors} protocol errors, held up for ${report.stallMillis} ms at most`
  )
}

/**
 * Plays the suspects again, each alone with a broker of its own: the connections that suffice to see it, or none when
 * it takes several of them.
 */
export const convict = async (options: Options, [from, count]: readonly [number, number]): Promise<Array<number>> => {
  const guilty: Array<number> = []
  for (let number = from; number < from + count; number++) {
    const { problem } = await Campaign.run({ ...options, from: number, count: 1, until: Number.POSITIVE_INFINITY })
    if (problem !== undefined) guilty.push(number)
  }
  return guilty
}
