/**
 * Runs one handshake scenario: connections that come, are accepted by the broker (CONNACK) and go, as fast as they can.
 * Every handshake is a whole one: no session is resumed.
 */
import { setTimeout as sleep } from "node:timers/promises"
import { Connection, lost } from "./connection.ts"
import type { Job, Measurement } from "./job.ts"
import { cpuShares, observe } from "./observation.ts"
import type { HandshakeScenario } from "./scenarios.ts"

export const runHandshakes = async (job: Job, scenario: HandshakeScenario): Promise<Measurement> => {
  let begun = 0
  let accepted = 0
  let running = true
  let agreed: string | undefined
  const comeAndGo = async (): Promise<void> => {
    while (running) {
      const clientId = `handshake-${begun++}`
      const connection = await Connection.open({ address: job.address, protocol: scenario.protocol, clientId })
      accepted++
      agreed ??= connection.agreed
      connection.leave()
    }
  }
  const all = Promise.all(Array.from({ length: scenario.parallel }, comeAndGo))
  const window = await Promise.race([
    sleep(job.warmUpSeconds * 1_000).then(() => observe(job, () => accepted)),
    // Ends early only by failing: then there is nothing to measure.
    all.then(() => Promise.reject(new Error("no connection was made")))
  ])
  running = false
  await all
  return {
    handshakesPerSecond: window.counted / window.seconds,
    ...(window.counted === 0 ? {} : { cpuMicrosPerHandshake: window.brokerCpuMicros / window.counted }),
    ...cpuShares(window),
    messagesLost: begun - accepted,
    notes: [
      ...(agreed === undefined ? [] : [agreed]),
      ...(lost.count === 0 ? [] : [`${lost.count} connections lost: ${lost.reason}`])
    ]
  }
}
