/**
 * `--paired-with DIR`: what a change costs. Ours of this checkout and ours of another are measured in turn, each round
 * gives one ratio, and the median of the ratios is the answer: what the machine does meanwhile meets both of a pair.
 */
import { existsSync, writeFileSync } from "node:fs"
import { join, resolve } from "node:path"
import { fileURLToPath } from "node:url"
import { startOurs } from "./brokers.ts"
import { compareRounds, type Round } from "./comparison.ts"
import type { Measurement } from "./job.ts"
import { describeMachine } from "./machine.ts"
import { measure } from "./measure.ts"
import type { Options } from "./options.ts"
import { roundsOf, type Scenario } from "./scenarios.ts"
import { machineText, pairTable } from "./table.ts"

const root = fileURLToPath(new URL("../../", import.meta.url))

const measureRound = async (other: string, scenario: Scenario, round: number, options: Options): Promise<Round> => {
  const sides = { here: root, there: other }
  const measured: { here?: Measurement; there?: Measurement } = {}
  const errors: Array<string> = []
  // Whoever is second meets a warmer machine, so they take turns at that too.
  for (const side of round % 2 === 1 ? (["here", "there"] as const) : (["there", "here"] as const)) {
    const found = await measure(() => startOurs(sides[side], scenario), scenario, options)
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
  console.log(`Here is ${root}, there is ${other}; ratios are here ÷ there, of alternating rounds.\n`)
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
