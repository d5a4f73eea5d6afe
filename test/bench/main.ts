/**
 * `npm run bench`: measures this broker beside its peers on this machine. `--help` tells the rest.
 *
 * Each run has a broker and a load generator of its own, both fresh processes. Rounds alternate between the brokers,
 * so that whatever else the machine does meets all of them.
 */
import { writeFileSync } from "node:fs"
import { belongs, type BrokerName, startBroker, supports, unavailable, versionOf } from "./brokers.ts"
import { killAllAtExit } from "./children.ts"
import { describeMachine } from "./machine.ts"
import { measure, messageOf } from "./measure.ts"
import { type Options, parseOptions, usage } from "./options.ts"
import { pair } from "./paired.ts"
import { resultsOf, type Run } from "./results.ts"
import { roundsOf, type Scenario, transportOf } from "./scenarios.ts"
import { machineText, resultTable, targetTable } from "./table.ts"
import { judge } from "./targets.ts"

const say = (line: string): void => {
  process.stderr.write(`${line}\n`)
}

/** One broker, one scenario, once: the scenario's run, and how long the broker took to start. */
const run = async (
  scenario: Scenario,
  broker: BrokerName,
  round: number,
  options: Options
): Promise<ReadonlyArray<Run>> => {
  const of = { scenario: scenario.name, broker, round }
  const { startMilliseconds, ...found } = await measure(() => startBroker(broker, scenario), scenario, options)
  const measured: Run = "error" in found ? { ...of, error: found.error } : { ...of, measurement: found.measurement }
  // With TLS or WebSocket more is loaded than it takes to listen.
  if (startMilliseconds === undefined || transportOf(scenario) !== "tcp") return [measured]
  return [{ ...of, scenario: "start", measurement: { startMilliseconds, notes: [] } }, measured]
}

const rounded = (value: number | undefined): string => Math.round(value ?? 0).toLocaleString("en-US")

const progress = ({ error, measurement }: Run): string => {
  if (measurement === undefined) return `failed: ${error}`
  const { bytesPerConnection, deliveriesPerSecond, handshakesPerSecond, startMilliseconds } = measurement
  if (startMilliseconds !== undefined) return `${rounded(startMilliseconds)} ms`
  if (bytesPerConnection !== undefined) return `${rounded(bytesPerConnection)} B/connection`
  if (handshakesPerSecond !== undefined) return `${rounded(handshakesPerSecond)} handshakes/s`
  return `${rounded(deliveriesPerSecond)} deliveries/s`
}

const measureAll = async (options: Options, brokers: ReadonlyArray<BrokerName>): Promise<ReadonlyArray<Run>> => {
  const runs: Array<Run> = []
  for (const scenario of options.scenarios) {
    const concerned = brokers.filter((broker) => belongs(broker, scenario))
    const able = concerned.filter((broker) => supports(broker, scenario))
    for (const broker of concerned.filter((one) => !able.includes(one))) {
      runs.push({ scenario: scenario.name, broker, round: 1, measurement: { notes: ["not supported"] } })
      say(`${scenario.title} · ${broker}: not supported`)
    }
    const rounds = roundsOf(scenario, options.rounds)
    for (let round = 1; round <= rounds; round++) {
      for (const broker of able) {
        const found = await run(scenario, broker, round, options)
        runs.push(...found)
        say(`${scenario.title} · ${broker} · round ${round} of ${rounds}: ${progress(found.at(-1)!)}`)
      }
    }
  }
  return runs
}

const compare = async (options: Options): Promise<number> => {
  const machine = describeMachine()
  const brokers = options.brokers.filter((broker) => {
    const reason = unavailable(broker)
    if (reason !== undefined) say(`without ${broker}: ${reason}`)
    return reason === undefined
  })
  const versions = brokers.map((broker) => [broker, versionOf(broker)] as const)
  const startedAt = performance.now()
  const runs = await measureAll(options, brokers)
  const results = resultsOf(runs.filter((run) => run.scenario !== "start"))
  const starts = resultsOf(runs.filter((run) => run.scenario === "start"))
  const verdicts = judge([...results, ...starts])

  const minutes = (performance.now() - startedAt) / 60_000
  console.log(`\n${machineText(machine, versions)}`)
  console.log(
    `Medians of ${options.rounds} alternating rounds of ${options.seconds} s, after ${options.warmUpSeconds} s of ` +
      `warm-up; ${minutes.toFixed(1)} minutes in all.\n`
  )
  console.log(resultTable([...results, ...starts]))
  if (brokers.includes("ours")) console.log(`\n${targetTable(verdicts)}`)
  if (options.json !== undefined) {
    const { rounds, seconds, warmUpSeconds } = options
    const everything = {
      machine,
      brokers: Object.fromEntries(versions),
      rounds,
      seconds,
      warmUpSeconds,
      scenarios: options.scenarios,
      results: [...results, ...starts],
      targets: verdicts,
      runs
    }
    const text = `${JSON.stringify(everything, null, 2)}\n`
    if (options.json === "-") console.log(text)
    else writeFileSync(options.json, text)
  }
  return runs.some((run) => run.error !== undefined) ? 1 : 0
}

try {
  const options = parseOptions(process.argv.slice(2))
  if (options === undefined) console.log(usage)
  else {
    killAllAtExit()
    const { pairedWith } = options
    process.exit(await (pairedWith === undefined ? compare(options) : pair(pairedWith, options, say)))
  }
} catch (cause) {
  say(messageOf(cause))
  process.exit(2)
}
