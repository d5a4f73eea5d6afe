/**
 * `--paired-with DIR`: what a change costs. Each round measures ours of this checkout and ours of another and gives one
 * ratio; the median of the ratios is the answer. Where both can share the machine they are measured at once, in turns
 * of a few milliseconds; else one after the other.
 */
import { existsSync, writeFileSync } from "node:fs"
import { join, resolve } from "node:path"
import { fileURLToPath } from "node:url"
import { startOurs } from "./brokers.ts"
import { compareRounds, type Round } from "./comparison.ts"
import type { Measurement } from "./job.ts"
import { describeMachine } from "./machine.ts"
import { type Found, measure, messageOf } from "./measure.ts"
import type { Options } from "./options.ts"
import { isDurable, roundsOf, type Scenario } from "./scenarios.ts"
import { machineText, pairTable } from "./table.ts"
import { type Side, Turns } from "./turns.ts"

const root = fileURLToPath(new URL("../../", import.meta.url))

interface Checkout {
  readonly side: "here" | "there"
  readonly directory: string
}

/** Latencies would be those of the turns, and a disk works on while its process is stopped. */
export const takesTurns = (scenario: Scenario): boolean =>
  scenario.kind === "messages" &&
  !isDurable(scenario) &&
  !scenario.frozenSubscriber &&
  scenario.messagesPerSecond === undefined &&
  scenario.churnPerSecond === undefined

/** Everything lasts twice as long, because each runs for half of the time. */
const measureInTurns = async (
  checkouts: readonly [Checkout, Checkout],
  scenario: Scenario,
  { seconds, warmUpSeconds }: Options
): Promise<ReadonlyArray<Found>> => {
  const started = await Promise.allSettled(checkouts.map(({ directory }) => startOurs(directory, scenario)))
  const running = started.flatMap((one) => (one.status === "fulfilled" ? [one.value] : []))
  if (running.length < started.length) {
    await Promise.all(running.map((broker) => broker.stop()))
    return started.map((one) => ({ error: one.status === "fulfilled" ? "not measured alone" : messageOf(one.reason) }))
  }
  const turns = new Turns()
  const wall = { seconds: 2 * seconds, warmUpSeconds: 2 * warmUpSeconds }
  const run = (side: Side): Promise<Found> =>
    measure(
      () => Promise.resolve(running[side]!),
      scenario,
      wall,
      (process) => turns.join(side, process)
    )
  const found = await Promise.all([run(0), run(1)])
  turns.end()
  return found.map(inItsTime)
}

/** What was done in a window of which it had half. */
const inItsTime = (found: Found): Found => {
  if ("error" in found) return found
  const { deliveriesPerSecond = 0, ...rest } = found.measurement
  return { ...found, measurement: { ...rest, deliveriesPerSecond: 2 * deliveriesPerSecond } }
}

const measureInSuccession = async (
  checkouts: readonly [Checkout, Checkout],
  scenario: Scenario,
  options: Options
): Promise<ReadonlyArray<Found>> => {
  const found: Array<Found> = []
  for (const { directory } of checkouts) {
    found.push(await measure(() => startOurs(directory, scenario), scenario, options))
  }
  return found
}

const measureRound = async (other: string, scenario: Scenario, round: number, options: Options): Promise<Round> => {
  const here: Checkout = { side: "here", directory: root }
  const there: Checkout = { side: "there", directory: other }
  // Whoever is second meets a warmer machine, so they take turns at that too.
  const checkouts = round % 2 === 1 ? ([here, there] as const) : ([there, here] as const)
  const measureBoth = takesTurns(scenario) ? measureInTurns : measureInSuccession
  const measured: { here?: Measurement; there?: Measurement } = {}
  const errors: Array<string> = []
  for (const [index, found] of (await measureBoth(checkouts, scenario, options)).entries()) {
    const { side } = checkouts[index === 0 ? 0 : 1]
    if ("error" in found) errors.push(`${side}: ${found.error}`)
    else measured[side] = found.measurement
  }
  return { scenario: scenario.name, round, ...measured, errors }
}

const progress = ({ errors, here, there }: Round): string => {
  const [one] = compareRounds("", [
    { scenario: "", round: 0, ...(here && { here }), ...(there && { there }), errors: [] }
  ])
  const lost = (here?.messagesLost ?? 0) + (there?.messagesLost ?? 0)
  return [
    one === undefined ? "not measured" : `ratio ${one.ratio.toFixed(3)}`,
    ...errors,
    ...(lost > 0 ? [`${lost} lost`] : [])
  ].join("; ")
}

/** Measure and print; the exit status. */
export const pair = async (directory: string, options: Options, say: (line: string) => void): Promise<number> => {
  const other = resolve(directory)
  if (!existsSync(join(other, "src/cli/main.ts"))) throw new Error(`${other} is no checkout: it has no src/cli/main.ts`)
  const machine = describeMachine()
  const rounds: Array<Round> = []
  for (const scenario of options.scenarios) {
    for (let round = 1; round <= roundsOf(scenario, options.rounds); round++) {
      const found = await measureRound(other, scenario, round, options)
      rounds.push(found)
      say(`${scenario.title} · round ${round} of ${options.rounds}: ${progress(found)}`)
    }
  }
  const comparisons = options.scenarios.flatMap(({ name }) =>
    compareRounds(
      name,
      rounds.filter(({ scenario }) => scenario === name)
    )
  )
  console.log(`\n${machineText(machine, [])}`)
  console.log(`Here is ${root}, there is ${other}; ratios are here ÷ there, one a round.\n`)
  console.log(pairTable(comparisons))
  const lost = rounds.reduce((sum, { here, there }) => sum + (here?.messagesLost ?? 0) + (there?.messagesLost ?? 0), 0)
  const errors = rounds.flatMap((round) => round.errors)
  console.log(`\n${lost} messages lost${errors.map((error) => `\n${error}`).join("")}`)
  if (options.json !== undefined) {
    const text = `${JSON.stringify({ machine, here: root, there: other, comparisons, rounds }, null, 2)}\n`
    if (options.json === "-") console.log(text)
    else writeFileSync(options.json, text)
  }
  return errors.length > 0 ? 1 : 0
}
