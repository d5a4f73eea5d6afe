/** What the speed of this broker is held to, beside its peers in the same run. */
import type { Metric, Result } from "./results.ts"
import { scenarios, transportOf } from "./scenarios.ts"

/** Look up a number: of a scenario, by broker; undefined if it was not measured. */
type Lookup = (scenario: string, broker: string, metric: Metric) => number | undefined

interface Target {
  readonly title: string
  /** What was reached, in the unit of `limit`. */
  readonly reached: (of: Lookup) => number | undefined
  readonly limit: number
  /** Whether `reached` must not be below, or not above, the limit. */
  readonly bound: "least" | "most"
}

export interface Verdict {
  readonly title: string
  readonly reached: number | undefined
  readonly limit: number
  readonly met: boolean | undefined
}

const quotient = (a: number | undefined, b: number | undefined): number | undefined =>
  a === undefined || b === undefined ? undefined : a / b

/** Ours divided by a peer's. */
const ratio =
  (scenario: string, peer: string, metric: Metric) =>
  (of: Lookup): number | undefined =>
    quotient(of(scenario, "ours", metric), of(scenario, peer, metric))

const ours =
  (scenario: string, metric: Metric, unit = 1) =>
  (of: Lookup): number | undefined =>
    quotient(of(scenario, "ours", metric), unit)

const saturated: ReadonlyArray<Target> = ["1-1-qos0", "10-10-qos1", "10-10-qos2"].flatMap(
  (name): Array<Target> => [
    {
      title: `${name}: deliveries/s ÷ mosquitto's`,
      reached: ratio(name, "mosquitto", "deliveriesPerSecond"),
      limit: 10,
      bound: "least"
    },
    { title: `${name}: messages lost`, reached: ours(name, "messagesLost"), limit: 0, bound: "most" }
  ]
)

const fixedRate: ReadonlyArray<Target> = ["rate-qos0", "rate-qos1"].flatMap((name): Array<Target> => {
  const cpu = "cpuMicrosPerDelivery"
  return [
    { title: `${name}: CPU per delivery ÷ aedes'`, reached: ratio(name, "aedes", cpu), limit: 1, bound: "most" },
    {
      title: `${name}: CPU per delivery ÷ mosquitto's`,
      reached: ratio(name, "mosquitto", cpu),
      limit: 1.6,
      bound: "most"
    },
    {
      title: `${name}: latency p99 ÷ aedes'`,
      reached: ratio(name, "aedes", "latencyP99Milliseconds"),
      limit: 1,
      bound: "most"
    }
  ]
})

const others: ReadonlyArray<Target> = [
  {
    title: "idle: KiB per connection",
    reached: ours("idle", "bytesPerConnection", 1_024),
    limit: 12,
    bound: "most"
  },
  {
    title: "idle: memory per connection ÷ aedes'",
    reached: ratio("idle", "aedes", "bytesPerConnection"),
    limit: 1,
    bound: "most"
  },
  {
    title: "frozen: deliveries to the others ÷ without a frozen reader",
    reached: ours("frozen", "besideFrozenShare"),
    limit: 0.9,
    bound: "least"
  },
  { title: "start: ms to listening", reached: ours("start", "startMilliseconds"), limit: 500, bound: "most" }
]

const durable: ReadonlyArray<Target> = [
  {
    title: "start-stored: seconds to listening",
    reached: ours("start-stored", "startMilliseconds", 1_000),
    limit: 10,
    bound: "most"
  },
  {
    title: "durable-qos1: deliveries/s ÷ mosquitto's without persistence",
    reached: ratio("durable-qos1", "mosquitto", "deliveriesPerSecond"),
    limit: 4,
    bound: "least"
  },
  ...["durable-qos1", "durable-qos2", "durable-rate-qos1", "offline"].map(
    (name): Target => ({
      title: `${name}: messages lost`,
      reached: ours(name, "messagesLost"),
      limit: 0,
      bound: "most"
    })
  )
]

const transports: ReadonlyArray<Target> = scenarios
  .filter((scenario) => transportOf(scenario) !== "tcp")
  .map(({ name }) => ({
    title: `${name}: messages lost`,
    reached: ours(name, "messagesLost"),
    limit: 0,
    bound: "most"
  }))

/** How each target fared; `met` is undefined where something it needs was not measured. */
export const judge = (results: ReadonlyArray<Result>): ReadonlyArray<Verdict> => {
  const of: Lookup = (scenario, broker, metric) =>
    results.find((result) => result.scenario === scenario && result.broker === broker)?.metrics[metric]
  return [...saturated, ...fixedRate, ...durable, ...transports, ...others].map(({ title, reached, limit, bound }) => {
    const value = reached(of)
    const met = value === undefined ? undefined : bound === "least" ? value >= limit : value <= limit
    return { title, reached: value, limit, met }
  })
}
