/**
 * Runs one offline scenario: fills the queue of a session whose client is away, as fast as the broker acknowledges, and
 * then lets the client come and fetch it all. Either takes as long as it takes, up to a limit; a broker that needs
 * longer is measured on what it did until then.
 */
import { setTimeout as sleep } from "node:timers/promises"
import { Connection, lost } from "./connection.ts"
import type { Job, Measurement } from "./job.ts"
import { residentBytes } from "./process-stats.ts"
import { frameBytes, Window } from "./publisher.ts"
import type { MessageScenario, OfflineScenario } from "./scenarios.ts"
import { Subscriber } from "./subscriber.ts"
import { filtersOf } from "./topics.ts"
import { Traffic } from "./traffic.ts"

const publishersCount = 10
/** A broker that does nothing for so long has lost what is missing. */
const stallMilliseconds = 8_000
const phaseSecondsMax = 15

/** The same as messages that flow. */
const trafficOf = ({ messages: _, kind: __, ...scenario }: OfflineScenario): MessageScenario => ({
  ...scenario,
  kind: "messages",
  qos: 1,
  publishers: publishersCount,
  subscribers: 1,
  topology: "shared",
  window: 200
})

interface Followed {
  /** Until the counter last moved. */
  readonly seconds: number
  /** Whether the limit ended it, and not the counter. */
  readonly cut: boolean
}

/** Waits until a counter has come to its end, stands still, or took too long. */
const follow = async (count: () => number, end: () => number): Promise<Followed> => {
  const startedAt = performance.now()
  let movedAt = startedAt
  let last = count()
  while (last < end() && performance.now() - movedAt < stallMilliseconds) {
    if (performance.now() - startedAt > phaseSecondsMax * 1_000) return { seconds: phaseSecondsMax, cut: true }
    await sleep(1)
    const now = count()
    if (now !== last) movedAt = performance.now()
    last = now
  }
  return { seconds: (movedAt - startedAt) / 1_000, cut: false }
}

interface Filled {
  readonly queued: number
  readonly fill: Followed
}

/** Publishes until there are enough messages, and everything that was published is acknowledged. */
const fillQueue = async (job: Job, scenario: OfflineScenario, traffic: Traffic): Promise<Filled> => {
  const { address } = job
  const { protocol } = scenario
  const publishers: Array<Window> = []
  for (let index = 0; index < publishersCount; index++) {
    const connection = await Connection.open({ address, protocol, clientId: `publisher-${index}`, durable: true })
    publishers.push(new Window(connection, trafficOf(scenario), index, traffic))
  }
  const acknowledged = (): number =>
    publishers.reduce((total, { unacknowledged }) => total - unacknowledged, traffic.due)
  const stop = (): void => {
    for (const publisher of publishers) publisher.stop()
  }
  for (const publisher of publishers) publisher.start()
  const watch = setInterval(() => {
    if (traffic.due >= scenario.messages) stop()
  }, 1)
  const fill = await follow(acknowledged, () => Math.max(scenario.messages, traffic.due))
  clearInterval(watch)
  const queued = acknowledged()
  stop()
  // What was under way at the limit is acknowledged, or lost.
  await follow(acknowledged, () => traffic.due)
  return { queued, fill }
}

export const runOffline = async (job: Job, scenario: OfflineScenario): Promise<Measurement> => {
  const messages = trafficOf(scenario)
  const traffic = new Traffic(frameBytes(messages))
  const options = { address: job.address, protocol: scenario.protocol, clientId: "away", durable: true }
  const away = await Connection.open(options)
  await away.subscribe(filtersOf(messages, 0), 1)
  away.close()
  await sleep(200)

  const before = residentBytes(job.brokerPid)
  const { fill, queued } = await fillQueue(job, scenario, traffic)
  const resident = residentBytes(job.brokerPid)

  const handler = (connection: Connection) => new Subscriber(connection, messages, traffic, undefined)
  await Connection.open({ ...options, handler })
  const fetch = await follow(
    () => traffic.delivered,
    () => traffic.due
  )
  const fetched = traffic.delivered
  return {
    deliveriesPerSecond: fetched / fetch.seconds,
    queuedPerSecond: queued / fill.seconds,
    bytesPerQueuedMessage: (resident - before) / queued,
    residentBytes: resident,
    // Of what is still being delivered nobody knows.
    ...(fetch.cut ? {} : { messagesLost: traffic.due - fetched }),
    notes: [
      ...(fill.cut ? [`queued ${queued} in ${phaseSecondsMax} s`] : []),
      ...(fetch.cut ? [`fetched ${fetched} of ${traffic.due} in ${phaseSecondsMax} s`] : []),
      ...(lost.count === 0 ? [] : [`${lost.count} connections lost: ${lost.reason}`])
    ]
  }
}
