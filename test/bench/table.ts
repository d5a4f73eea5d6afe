/** The results as text: tables that are also Markdown. */
import { tmpdir } from "node:os"
import type { BrokerName } from "./brokers.ts"
import type { Comparison } from "./comparison.ts"
import type { Machine } from "./machine.ts"
import type { Metric, Result } from "./results.ts"
import { type Scenario, scenarios } from "./scenarios.ts"
import type { Verdict } from "./targets.ts"

const none = "–"

const decimal = (value: number | undefined, digits: number): string =>
  value === undefined
    ? none
    : value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits })

const times = (value: number | undefined): string => (value === undefined ? none : `${decimal(value, 2)} ×`)

/** What only some scenarios measure. */
const also = ({ metrics, notes }: Result): string => {
  const parts: Array<string> = []
  if (metrics.bytesPerConnection !== undefined) {
    parts.push(`${decimal(metrics.bytesPerConnection / 1_024, 1)} KiB a connection`)
  }
  if (metrics.connectionsPerSecond !== undefined) {
    parts.push(`${decimal(metrics.connectionsPerSecond, 0)} connections/s`)
  }
  if (metrics.handshakesPerSecond !== undefined) {
    const cost = decimal(metrics.cpuMicrosPerHandshake, 0)
    parts.push(`${decimal(metrics.handshakesPerSecond, 0)} handshakes/s, ${cost} µs of CPU each`)
  }
  if (metrics.besideFrozenShare !== undefined) {
    parts.push(`${decimal(metrics.besideFrozenShare * 100, 0)} % of without it`)
  }
  if (metrics.churnPerSecond !== undefined) parts.push(`${decimal(metrics.churnPerSecond, 0)} filters/s`)
  if (metrics.queuedPerSecond !== undefined) parts.push(`queued at ${decimal(metrics.queuedPerSecond, 0)}/s`)
  if (metrics.bytesPerQueuedMessage !== undefined) {
    parts.push(`${decimal(metrics.bytesPerQueuedMessage, 0)} B of memory a message`)
  }
  if (metrics.startMilliseconds !== undefined) {
    parts.push(`${decimal(metrics.startMilliseconds, 0)} ms`)
    if (metrics.residentBytes !== undefined) parts.push(`${decimal(metrics.residentBytes / 1_048_576, 0)} MiB`)
  }
  if ((metrics.otherCpuShare ?? 0) > 0.1) {
    parts.push(`disturbed: others took ${decimal(metrics.otherCpuShare! * 100, 0)} % of a core`)
  }
  if (isSaturated(metrics) && (metrics.generatorCpuShare ?? 0) > 0.9) parts.push(generatorText(metrics))
  return [...parts, ...notes].join("; ")
}

/** At a fixed rate the generator never sleeps, for the sake of its clock: there its CPU time says nothing. */
const isSaturated = (metrics: Result["metrics"]): boolean => metrics.latencyP50Milliseconds === undefined

const generatorText = ({ brokerCpuShare = 1, generatorCpuShare = 0 }: Result["metrics"]): string => {
  const percent = (share: number): string => `${decimal(share * 100, 0)} %`
  const limit = generatorCpuShare > 0.95 && brokerCpuShare < 0.9 ? "the generator is the limit: it" : "the generator"
  return `${limit} took ${percent(generatorCpuShare)} of a core, the broker ${percent(brokerCpuShare)}`
}

const titleOf = (name: string): string =>
  scenarios.find((scenario: Scenario) => scenario.name === name)?.title ?? "process start to listening"

const header = [
  "scenario",
  "broker",
  "deliveries/s",
  "ours ÷ it",
  "CPU µs",
  "its CPU ÷ ours",
  "p50 ms",
  "p99 ms",
  "lost",
  "also"
]

const row = (result: Result): ReadonlyArray<string> => {
  const { metrics } = result
  return [
    titleOf(result.scenario),
    result.broker,
    decimal(metrics.deliveriesPerSecond, 0),
    times(result.oursToThis),
    decimal(metrics.cpuMicrosPerDelivery, 2),
    times(result.cpuToOurs),
    decimal(metrics.latencyP50Milliseconds, 2),
    decimal(metrics.latencyP99Milliseconds, 2),
    decimal(metrics.messagesLost, 0),
    also(result)
  ]
}

/** Rows of cells as an aligned table, the first row being the header; numbers to the right. */
const align = (rows: ReadonlyArray<ReadonlyArray<string>>, leftColumns: ReadonlySet<number>): string => {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((cells) => cells[column]!.length)))
  const line = (cells: ReadonlyArray<string>): string =>
    `| ${cells
      .map((cell, column) => (leftColumns.has(column) ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!)))
      .join(" | ")} |`
  const rule = `|${widths
    .map((width, column) => (leftColumns.has(column) ? "-".repeat(width + 2) : `${"-".repeat(width + 1)}:`))
    .join("|")}|`
  return [line(rows[0]!), rule, ...rows.slice(1).map(line)].join("\n")
}

/** The table of medians; a scenario's title is printed once. */
export const resultTable = (results: ReadonlyArray<Result>): string => {
  const rows = results.map((result, index) => {
    const cells = row(result)
    return results[index - 1]?.scenario === result.scenario ? ["", ...cells.slice(1)] : cells
  })
  return align([header, ...rows], new Set([0, 1, 9]))
}

export const targetTable = (verdicts: ReadonlyArray<Verdict>): string =>
  align(
    [
      ["target", "reached", "limit", "met"],
      ...verdicts.map(({ title, reached, limit, met }) => [
        title,
        decimal(reached, 2),
        decimal(limit, 2),
        met === undefined ? "not measured" : met ? "yes" : "NO"
      ])
    ],
    new Set([0, 3])
  )

const metricTitles: Readonly<Partial<Record<Metric, string>>> = {
  deliveriesPerSecond: "deliveries/s",
  cpuMicrosPerDelivery: "CPU µs",
  latencyP99Milliseconds: "p99 ms",
  handshakesPerSecond: "handshakes/s",
  queuedPerSecond: "queued/s",
  bytesPerConnection: "B a connection",
  startMilliseconds: "ms to listening"
}

/** Two checkouts beside each other. */
export const pairTable = (comparisons: ReadonlyArray<Comparison>): string => {
  const rows = comparisons.map((each) => [
    titleOf(each.scenario),
    metricTitles[each.metric] ?? each.metric,
    decimal(each.rounds, 0),
    decimal(each.here, 2),
    decimal(each.there, 2),
    decimal(each.ratio, 3),
    `${decimal(each.lowerQuartile, 3)} to ${decimal(each.upperQuartile, 3)}`,
    `${decimal(each.least, 3)} to ${decimal(each.most, 3)}`
  ])
  const titles = ["row", "what", "rounds", "here", "there", "median ratio", "half of them", "all of them"]
  return align([titles, ...rows], new Set([0, 1]))
}

export const machineText = (machine: Machine, versions: ReadonlyArray<readonly [BrokerName, string]>): string =>
  [
    `${machine.cpu}, ${machine.cores} cores, ${machine.memoryGiB} GiB; ${machine.kernel}; Node ${machine.node}`,
    [...versions.map(([name, version]) => `${name} ${version}`), machine.date].join(", "),
    machine.pinned
      ? "The generator has one core to itself, the broker has all others."
      : "Generator and broker may share a core (no taskset, or no second core): expect worse and wilder numbers.",
    `Durable rows write to ${tmpdir()} on ${machine.fileSystem}, where an fsync takes ` +
      `${decimal(machine.fsyncMilliseconds, 2)} ms.`,
    ...(machine.loadAverage > 0.5
      ? [`The machine was busy before the benchmark began (load ${machine.loadAverage}): expect worse numbers.`]
      : [])
  ].join("\n")
