/** From the rounds of two checkouts to how they compare. */
import type { Measurement } from "./job.ts"
import type { Metric } from "./results.ts"
import { median, quantile } from "./statistics.ts"

/** What is compared, where a scenario measures it. */
const compared: ReadonlyArray<Metric> = [
  "deliveriesPerSecond",
  "cpuMicrosPerDelivery",
  "latencyP99Milliseconds",
  "handshakesPerSecond",
  "queuedPerSecond",
  "bytesPerConnection",
  "startMilliseconds"
]

export interface Round {
  readonly scenario: string
  readonly round: number
  readonly here?: Measurement
  readonly there?: Measurement
  readonly errors: ReadonlyArray<string>
}

/** One number of one scenario over all rounds. */
export interface Comparison {
  readonly scenario: string
  readonly metric: Metric
  readonly rounds: number
  /** Medians of either side. */
  readonly here: number
  readonly there: number
  /** Of the rounds' ratios, here ÷ there. */
  readonly ratio: number
  readonly lowerQuartile: number
  readonly upperQuartile: number
  readonly least: number
  readonly most: number
}

/** The comparisons that can be made of one scenario's rounds. */
export const compareRounds = (scenario: string, rounds: ReadonlyArray<Round>): ReadonlyArray<Comparison> =>
  compared.flatMap((metric) => {
    const pairs = rounds.flatMap(({ here, there }) => {
      const a = here?.[metric]
      const b = there?.[metric]
      return a === undefined || b === undefined || b === 0 ? [] : [{ a, b }]
    })
    const ratios = pairs.map(({ a, b }) => a / b)
    const ratio = median(ratios)
    if (ratio === undefined) return []
    return {
      scenario,
      metric,
      rounds: pairs.length,
      here: median(pairs.map(({ a }) => a))!,
      there: median(pairs.map(({ b }) => b))!,
      ratio,
      lowerQuartile: quantile(ratios, 0.25)!,
      upperQuartile: quantile(ratios, 0.75)!,
      least: Math.min(...ratios),
      most: Math.max(...ratios)
    }
  })
