/**
 * Runs one idle scenario: opens connections that say nothing after CONNECT, and weighs the broker before and after.
 */
import { setTimeout as sleep } from "node:timers/promises"
import { Connection, lost } from "./connection.ts"
import type { Job, Measurement } from "./job.ts"
import { openFilesMax, residentBytes } from "./process-stats.ts"
import type { IdleScenario } from "./scenarios.ts"

/** CONNECTs under way at once. */
const parallel = 100

/** One source address has some 28,000 ports by default; the loopback network has as many addresses as wanted. */
const connectionsPerAddress = 20_000

const sourceAddress = (index: number): string | undefined =>
  index < connectionsPerAddress ? undefined : `127.0.0.${1 + Math.floor(index / connectionsPerAddress)}`

export const runIdle = async (job: Job, scenario: IdleScenario): Promise<Measurement> => {
  const connections = Math.min(scenario.connections, openFilesMax() - 100)
  const open = (index: number) =>
    Connection.open({
      address: job.address,
      protocol: scenario.protocol,
      clientId: `idle-${index}`,
      localAddress: sourceAddress(index)
    })
  // What a broker sets up for its first clients is not part of a connection's price.
  const first = await Promise.all(Array.from({ length: parallel }, (_, index) => open(connections + index)))
  for (const connection of first) connection.close()
  await sleep(500)

  const before = residentBytes(job.brokerPid)
  const startedAt = performance.now()
  let next = 0
  const openSome = async (): Promise<void> => {
    while (next < connections) await open(next++)
  }
  await Promise.all(Array.from({ length: parallel }, openSome))
  const connectSeconds = (performance.now() - startedAt) / 1_000
  await sleep(1_500)

  const notes = connections < scenario.connections ? [`${connections} connections only: raise ulimit -n`] : []
  return {
    bytesPerConnection: (residentBytes(job.brokerPid) - before) / connections,
    connections: connections - lost.count,
    connectionsPerSecond: connections / connectSeconds,
    notes: lost.count === 0 ? notes : [...notes, `${lost.count} connections lost: ${lost.reason}`]
  }
}
