/** From the measurements of all rounds to one result for each scenario and broker. */
import type { BrokerName } from "./brokers.ts"
import type { Measurement } from "./job.ts"
import { median } from "./statistics.ts"

/** One run, or why there is none. */
export interface Run {
  readonly scenario: string
  readonly broker: BrokerName
  readonly round: number
  readonly measurement?: Measurement
  readonly error?: string
}

/** The names of what is measured as a number. */
export type Metric = Exclude<keyof Measurement, "notes">

export interface Result {
  readonly scenario: string
  readonly broker: BrokerName
  readonly rounds: number
  /** Medians; of lost messages, and of nothing else, the worst round. */
  readonly metrics: Readonly<Partial<Record<Metric, number>>>
  /** Deliveries (or handshakes) a second of ours, divided by this broker's; absent for ours. */
  readonly oursToThis?: number
  /** CPU time a delivery (or handshake) costs this broker, divided by ours; absent for ours. */
  readonly cpuToOurs?: number
  readonly notes: ReadonlyArray<string>
}

const metrics: ReadonlyArray<Metric> = [
  "deliveriesPerSecond",
  "cpuMicrosPerDelivery",
  "brokerCpuShare",
  "generatorCpuShare",
  "otherCpuShare",
  "latencyP50Milliseconds",
  "latencyP99Milliseconds",
  "messagesLost",
  "residentBytes",
  "bytesPerConnection",
  "connections",
  "connectionsPerSecond",
  "handshakesPerSecond",
  "cpuMicrosPerHandshake",
  "besideFrozenShare",
  "churnPerSecond",
  "startMilliseconds",
  "queuedPerSecond",
  "bytesPerQueuedMessage"
]

const summarize = (runs: ReadonlyArray<Run>): Result["metrics"] => {
  const summary: Partial<Record<Metric, number>> = {}
  for (const metric of metrics) {
    const values = runs.flatMap((run) => run.measurement?.[metric] ?? [])
    const value = metric === "messagesLost" && values.length > 0 ? Math.max(...values) : median(values)
    if (value !== undefined) summary[metric] = value
  }
  return summary
}

const quotient = (a: number | undefined, b: number | undefined): number | undefined =>
  a === undefined || b === undefined || b === 0 ? undefined : a / b

const rateOf = (summary: Result["metrics"] | undefined) => summary?.deliveriesPerSecond ?? summary?.handshakesPerSecond

const costOf = (summary: Result["metrics"] | undefined) =>
  summary?.cpuMicrosPerDelivery ?? summary?.cpuMicrosPerHandshake

/** The results, in the order in which their first runs came. */
export const resultsOf = (runs: ReadonlyArray<Run>): ReadonlyArray<Result> => {
  const groups = Map.groupBy(runs, (run) => `${run.scenario} ${run.broker}`)
  const summaries = new Map([...groups].map(([key, group]) => [key, summarize(group)]))
  return [...groups].flatMap(([key, group]) => {
    const { scenario, broker } = group[0]!
    const own = summaries.get(key)!
    const ours = broker === "ours" ? undefined : summaries.get(`${scenario} ours`)
    const oursToThis = quotient(rateOf(ours), rateOf(own))
    const cpuToOurs = quotient(costOf(own), costOf(ours))
    return {
      scenario,
      broker,
      rounds: group.filter((run) => run.measurement !== undefined).length,
      metrics: own,
      ...(oursToThis === undefined ? {} : { oursToThis }),
      ...(cpuToOurs === undefined ? {} : { cpuToOurs }),
      notes: [...new Set(group.flatMap((run) => run.measurement?.notes ?? [`failed: ${run.error}`]))]
    }
  })
}
