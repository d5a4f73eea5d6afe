/**
 * `npm run bench`: measures this broker beside its peers on this machine. `--help` tells the rest.
 *
 * Each run has a broker and a load generator of its own, both fresh processes. Rounds alternate between the brokers,
 * so that whatever else the machine does meets all of them.
 */
import { writeFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { belongs, type BrokerName, startBroker, supports, unavailable, versionOf } from "./brokers.ts"
import { ask, killAllAtExit } from "./children.ts"
import type { Answer, Job } from "./job.ts"
import { describeMachine } from "./machine.ts"
import { type Options, parseOptions, usage } from "./options.ts"
import { resultsOf, type Run } from "./results.ts"
import type { Scenario } from "./scenarios.ts"
import { machineText, resultTable, targetTable } from "./table.ts"
import { judge } from "./targets.ts"

const generator = fileURLToPath(new URL("./generator.ts", import.meta.url))

/** Connecting, warming up and draining, beside the windows themselves. */
const spareSeconds = 30
/** A million messages in and out, of a broker that takes its time. */
const offlineSecondsMax = 180

const say = (line: string): void => {
  process.stderr.write(`${line}\n`)
}

/** One broker, one scenario, once: the scenario's run, and how long the broker took to start. */
const measure = async (
  scenario: Scenario,
  broker: BrokerName,
  round: number,
  options: Options
): Promise<ReadonlyArray<Run>> => {
  const of = { scenario: scenario.name, broker, round }
  try {
    const running = await startBroker(broker, scenario)
    const start: Run = {
      ...of,
      scenario: "start",
      measurement: { startMilliseconds: running.startMilliseconds, notes: [] }
    }
    try {
      const { warmUpSeconds } = options
      const seconds = scenario.main ? options.seconds : (options.seconds * 2) / 3
      const job: Job = { scenario, port: running.port, brokerPid: running.pid, seconds, warmUpSeconds }
      const limit = scenario.kind === "offline" ? offlineSecondsMax : 2 * (seconds + warmUpSeconds) + spareSeconds
      const answer = await ask<Job, Answer>(generator, job, limit)
      return [start, "error" in answer ? { ...of, error: answer.error } : { ...of, measurement: answer.measurement }]
    } catch (cause) {
      return [start, { ...of, error: messageOf(cause) }]
    } finally {
      await running.stop()
    }
  } catch (cause) {
    return [{ ...of, error: messageOf(cause) }]
  }
}

const messageOf = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause))

const progress = (run: Run): string => {
  const { measurement } = run
  if (measurement === undefined) return `failed: ${run.error}`
  if (measurement.bytesPerConnection !== undefined) return `${Math.round(measurement.bytesPerConnection)} B/connection`
  return `${Math.round(measurement.deliveriesPerSecond ?? 0).toLocaleString("en-US")} deliveries/s`
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
    for (let round = 1; round <= options.rounds; round++) {
      for (const broker of able) {
        const found = await measure(scenario, broker, round, options)
        runs.push(...found)
        say(`${scenario.title} · ${broker} · round ${round} of ${options.rounds}: ${progress(found.at(-1)!)}`)
      }
    }
  }
  return runs
}

const main = async (options: Options): Promise<number> => {
  killAllAtExit()
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
  else process.exit(await main(options))
} catch (cause) {
  say(messageOf(cause))
  process.exit(2)
}
