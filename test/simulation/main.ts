/** `npm run simulate`: replays one seed, or runs many. `--help` tells the rest. */
import { parseArgs } from "node:util"
import * as CommandLine from "../command-line/CommandLine.ts"
import * as Simulation from "./Simulation.ts"

const usage = `Runs many clients against a broker in virtual time, in an order that only the seed decides, and checks
what MQTT promises. A seed that fails is run again with its trace. Usage: npm run simulate -- [options]

  --seed S         the first seed (default 1)
  --count N        how many seeds from there on (default 1)
  --steps N        how many steps of each (default: as the seed says)
  --verbose        print everything that happens
  --all            go on after a failure, and only name them
  --help           this text
`

interface Options {
  readonly first: number
  readonly count: number
  readonly steps: number | undefined
  readonly verbose: boolean
  readonly all: boolean
}

const parse = (): Options | undefined => {
  const { values } = parseArgs({
    options: {
      seed: { type: "string", default: "1" },
      count: { type: "string", default: "1" },
      steps: { type: "string" },
      verbose: { type: "boolean", default: false },
      all: { type: "boolean", default: false },
      help: { type: "boolean", default: false }
    }
  })
  if (values.help) return undefined
  return {
    first: CommandLine.whole("seed", values.seed),
    count: CommandLine.count("count", values.count),
    steps: values.steps === undefined ? undefined : CommandLine.whole("steps", values.steps),
    verbose: values.verbose,
    all: values.all
  }
}

/** How much of the trace of a failure is shown without `--verbose`. */
const LAST_LINES = 60

const print = (line: string): void => {
  process.stdout.write(`${line}\n`)
}

const traceOf = (seed: number, steps: number | undefined): Array<string> => {
  const lines: Array<string> = []
  Simulation.run({ seed, steps, log: (line) => lines.push(line) })
  return lines
}

const main = ({ all, count, first, steps, verbose }: Options): number => {
  let failures = 0
  let messages = 0
  let delivered = 0
  const begun = performance.now()
  for (let seed = first; seed < first + count; seed++) {
    const outcome = Simulation.run({ seed, steps, log: verbose ? print : undefined })
    messages += outcome.messages
    delivered += outcome.delivered
    if (outcome.violation === undefined) continue
    failures++
    print(`seed ${seed} fails at step ${outcome.steps}: ${outcome.violation}`)
    if (all) continue
    if (!verbose) for (const line of traceOf(seed, steps).slice(-LAST_LINES)) print(line)
    print(outcome.stack ?? "")
    print(`Replay it with: node test/simulation/main.ts --seed ${seed} --verbose`)
    break
  }
  const seconds = ((performance.now() - begun) / 1_000).toFixed(1)
  print(`${count} seeds from ${first}, ${messages} messages, ${delivered} deliveries, ${failures} failed, ${seconds} s`)
  return failures === 0 ? 0 : 1
}

await CommandLine.run(usage, parse, main)
