/**
 * Runs one offline scenario: fills the queue of a session whose client is away, as fast as the broker acknowledges, and
 * then lets the client come and fetch it all.
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
const stallMilliseconds = 5_000

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

/** Waits until a counter has come to its end, or stands still. Returns the seconds until it last moved. */
const follow = async (count: () => number, end: () => number): Promise<number> => {
  const startedAt = performance.now()
  let movedAt = startedAt
  let last = count()
  while (last < end() && performance.now() - movedAt < stallMilliseconds) {
    await sleep(1)
    const now = count()
    if (now !== last) movedAt = performance.now()
    last = now
  }
  return (movedAt - startedAt) / 1_000
}

export const runOffline = async (job: Job, scenario: OfflineScenario): Promise<Measurement> => {
  const traffic = new Traffic(frameBytes(trafficOf(scenario)))
  const messages = trafficOf(scenario)
  const { port } = job
  const { protocol } = scenario
  const away = await Connection.open({ port, protocol, clientId: "away", durable: true })
  await away.subscribe(filtersOf(messages, 0), 1)
  away.close()
  await sleep(200)

  const before = residentBytes(job.brokerPid)
  const publishers: Array<Window> = []
  for (let index = 0; index < publishersCount; index++) {
    const connection = await Connection.open({ port, protocol, clientId: `publisher-${index}` })
    publishers.push(new Window(connection, messages, index, traffic))
  }
  const acknowledged = (): number =>
    publishers.reduce((total, { unacknowledged }) => total - unacknowledged, traffic.due)
  for (const publisher of publishers) publisher.start()
  const watch = setInterval(() => {
    if (traffic.due >= scenario.messages) for (const publisher of publishers) publisher.stop()
  }, 1)
  const queueSeconds = await follow(acknowledged, () => Math.max(scenario.messages, traffic.due))
  clearInterval(watch)
  const queued = acknowledged()
  const resident = residentBytes(job.brokerPid)

  const handler = (connection: Connection) => new Subscriber(connection, messages, traffic, undefined)
  await Connection.open({ port, protocol, clientId: "away", durable: true, handler })
  const drainSeconds = await follow(
    () => traffic.delivered,
    () => queued
  )
  return {
    deliveriesPerSecond: traffic.delivered / drainSeconds,
    queuedPerSecond: queued / queueSeconds,
    bytesPerQueuedMessage: (resident - before) / queued,
    residentBytes: resident,
    messagesLost: queued - traffic.delivered,
    notes: lost.count === 0 ? [] : [`${lost.count} connections lost: ${lost.reason}`]
  }
}
