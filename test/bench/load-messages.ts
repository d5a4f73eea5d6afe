/**
 * Runs one message scenario: connects everybody, publishes through the warm-up and the window, and waits until
 * everything that was published has arrived.
 */
import { setTimeout as sleep } from "node:timers/promises"
import { Churn } from "./churn.ts"
import { Connection, lost } from "./connection.ts"
import type { Job, Measurement } from "./job.ts"
import { cpuShares, type Observation, observe } from "./observation.ts"
import { residentBytes } from "./process-stats.ts"
import { Flood, frameBytes, type Publisher, Single, Window } from "./publisher.ts"
import type { MessageScenario } from "./scenarios.ts"
import { quantile } from "./statistics.ts"
import { Latencies, Subscriber } from "./subscriber.ts"
import { filtersOf } from "./topics.ts"
import { Traffic } from "./traffic.ts"

/** A broker that delivered nothing for so long has lost what is missing; one that waits for a disk may need longer. */
const stallSecondsOf = (scenario: MessageScenario): number => (scenario.sessions === "on-disk" ? 3 : 1)
const drainSecondsMax = 8

interface Load {
  readonly traffic: Traffic
  readonly publishers: ReadonlyArray<Publisher>
  readonly subscribers: ReadonlyArray<Subscriber>
  readonly latencies: Latencies | undefined
  /** What TLS agreed on. */
  readonly agreed: string | undefined
}

const sum = <A>(values: ReadonlyArray<A>, of: (value: A) => number): number =>
  values.reduce((total, value) => total + of(value), 0)

const connectLoad = async (job: Job, scenario: MessageScenario): Promise<Load> => {
  const traffic = new Traffic(frameBytes(scenario))
  const latencies = scenario.messagesPerSecond === undefined ? undefined : new Latencies()
  const { address } = job
  const { protocol } = scenario
  const durable = scenario.sessions !== undefined
  const open = (clientId: string) => Connection.open({ address, protocol, clientId, durable })
  let agreed: string | undefined
  const subscribers: Array<Subscriber> = []
  for (let index = 0; index < scenario.subscribers; index++) {
    const connection = await open(`subscriber-${index}`)
    await connection.subscribe(filtersOf(scenario, index), scenario.qos)
    agreed = connection.agreed
    subscribers.push(new Subscriber(connection, scenario, traffic, latencies))
  }
  const publishers: Array<Publisher> = []
  for (let index = 0; index < scenario.publishers; index++) {
    const connection = await open(`publisher-${index}`)
    if (scenario.messagesPerSecond !== undefined) publishers.push(new Single(connection, scenario, index, traffic))
    else if (scenario.qos === 0) publishers.push(new Flood(connection, scenario, index, traffic))
    else publishers.push(new Window(connection, scenario, index, traffic))
  }
  return { traffic, publishers, subscribers, latencies, agreed }
}

/**
 * Publish evenly, one message at a time, each from the next publisher. The loop never sleeps: a timer would send ten
 * messages a millisecond in a burst, and give the broker something to batch.
 */
const pace = (publishers: ReadonlyArray<Publisher>, messagesPerSecond: number): (() => void) => {
  const singles = publishers.filter((publisher) => publisher instanceof Single)
  const startedAt = performance.now()
  let sent = 0
  let running = true
  const turn = (): void => {
    if (!running) return
    const due = ((performance.now() - startedAt) / 1_000) * messagesPerSecond
    while (sent < due) singles[sent++ % singles.length]!.publish()
    setImmediate(turn)
  }
  turn()
  return () => {
    running = false
  }
}

/** The window: deliveries are counted, and latencies kept. */
const observeLoad = async (job: Job, load: Load): Promise<Observation> => {
  if (load.latencies !== undefined) load.latencies.recording = true
  const window = await observe(job, () => load.traffic.delivered)
  if (load.latencies !== undefined) load.latencies.recording = false
  return window
}

/** Wait until all that was published arrived and was acknowledged, or nothing more comes. */
const drain = async (load: Load, stallSeconds: number): Promise<string | undefined> => {
  const state = (): number => load.traffic.delivered - sum(load.publishers, (publisher) => publisher.unacknowledged)
  let last = state()
  let progressAt = performance.now()
  for (const endAt = progressAt + drainSecondsMax * 1_000; performance.now() < endAt; ) {
    if (last >= load.traffic.due) return undefined
    await sleep(20)
    const now = state()
    if (now !== last) progressAt = performance.now()
    last = now
    if (performance.now() - progressAt > stallSeconds * 1_000) return undefined
  }
  return `still delivering ${drainSecondsMax} s after the last message was published`
}

/** One more subscriber to everything that is published, whose socket is never read again. */
const freezeSubscriber = async (job: Job, scenario: MessageScenario): Promise<void> => {
  const { address } = job
  const connection = await Connection.open({ address, protocol: scenario.protocol, clientId: "frozen" })
  // The broker may be too busy with messages, or their backlog, to answer at once; they flow until it is subscribed.
  await connection.subscribe(filtersOf(scenario, 0), scenario.qos)
  connection.socket.pause()
}

const notesOf = (load: Load, drained: string | undefined): ReadonlyArray<string> => {
  const notes = [load.agreed, drained].filter((note) => note !== undefined)
  const errors = sum(load.publishers, (each) => each.errors) + sum(load.subscribers, (each) => each.errors)
  if (errors > 0) notes.push(`${errors} unexpected packets, refusals or wrong messages`)
  const unacknowledged = sum(load.publishers, (publisher) => publisher.unacknowledged)
  if (unacknowledged > 0) notes.push(`${unacknowledged} messages never acknowledged`)
  if (lost.count > 0) notes.push(`${lost.count} connections lost: ${lost.reason}`)
  return notes
}

export const runMessages = async (job: Job, scenario: MessageScenario): Promise<Measurement> => {
  const load = await connectLoad(job, scenario)
  const churn =
    scenario.churnPerSecond === undefined
      ? undefined
      : await Churn.open({ address: job.address, protocol: scenario.protocol }, scenario.churnPerSecond)
  for (const publisher of load.publishers) publisher.start()
  churn?.start()
  const stopPacing =
    scenario.messagesPerSecond === undefined ? undefined : pace(load.publishers, scenario.messagesPerSecond)

  await sleep(job.warmUpSeconds * 1_000)
  let alone: Observation | undefined
  if (scenario.frozenSubscriber) {
    alone = await observeLoad(job, load)
    await freezeSubscriber(job, scenario)
    await sleep(job.warmUpSeconds * 1_000)
  }
  const churnedBefore = churn?.answered ?? 0
  const window = await observeLoad(job, load)
  const churned = ((churn?.answered ?? 0) - churnedBefore) / 2
  const resident = residentBytes(job.brokerPid)

  churn?.stop()
  stopPacing?.()
  for (const publisher of load.publishers) publisher.stop()
  const drained = await drain(load, stallSecondsOf(scenario))

  const rate = window.counted / window.seconds
  const p50 = quantile(load.latencies?.samples ?? [], 0.5)
  const p99 = quantile(load.latencies?.samples ?? [], 0.99)
  return {
    deliveriesPerSecond: rate,
    ...(window.counted === 0 ? {} : { cpuMicrosPerDelivery: window.brokerCpuMicros / window.counted }),
    ...cpuShares(window),
    ...(p50 === undefined || p99 === undefined ? {} : { latencyP50Milliseconds: p50, latencyP99Milliseconds: p99 }),
    messagesLost: load.traffic.due - load.traffic.delivered,
    residentBytes: resident,
    ...(alone === undefined ? {} : { besideFrozenShare: rate / (alone.counted / alone.seconds) }),
    ...(churn === undefined ? {} : { churnPerSecond: churned / window.seconds }),
    notes: notesOf(load, drained)
  }
}
