/**
 * Replays one seed, or runs many: `node test/simulation/main.ts --seed N [--count M] [--steps S] [--verbose]`.
 *
 * With `--count` it runs that many seeds from N on. A seed that fails is run again with its trace.
 */
import { parseArgs } from "node:util"
import * as Simulation from "./Simulation.ts"

const { values } = parseArgs({
  options: {
    seed: { type: "string", default: "1" },
    count: { type: "string", default: "1" },
    steps: { type: "string" },
    verbose: { type: "boolean", default: false },
    /** Goes on after a failure, and only names them. */
    all: { type: "boolean", default: false }
  }
})

/** How much of the trace of a failure is shown without `--verbose`. */
const LAST_LINES = 60

const first = Number(values.seed)
const count = Number(values.count)
const steps = values.steps === undefined ? undefined : Number(values.steps)
const print = (line: string): void => {
  process.stdout.write(`${line}\n`)
}

const traceOf = (seed: number): Array<string> => {
  const lines: Array<string> = []
  Simulation.run({ seed, steps, log: (line) => lines.push(line) })
  return lines
}

let failures = 0
let messages = 0
let delivered = 0
const begun = performance.now()
for (let seed = first; seed < first + count; seed++) {
  const outcome = Simulation.run({ seed, steps, log: values.verbose ? print : undefined })
  messages += outcome.messages
  delivered += outcome.delivered
  if (outcome.violation === undefined) continue
  failures++
  print(`seed ${seed} fails at step ${outcome.steps}: ${outcome.violation}`)
  if (values.all) continue
  if (!values.verbose) for (const line of traceOf(seed).slice(-LAST_LINES)) print(line)
  print(outcome.stack ?? "")
  print(`Replay it with: node test/simulation/main.ts --seed ${seed} --verbose`)
  break
}
const seconds = ((performance.now() - begun) / 1_000).toFixed(1)
print(`${count} seeds from ${first}, ${messages} messages, ${delivered} deliveries, ${failures} failed, ${seconds} s`)
process.exitCode = failures === 0 ? 0 : 1
