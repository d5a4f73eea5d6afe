/** `npm run fuzz`: hostile connections against a broker for as long as one likes. `--help` tells the rest. */
import { parseArgs } from "node:util"
import * as CommandLine from "../command-line/CommandLine.ts"
import { Campaign, convict, type Options } from "./Campaign.ts"
import * as Script from "./Script.ts"

const usage = `Sends damaged, hostile and endless streams to a broker in a process of its own, and checks that it lives,
serves others, and forgets them. Usage: npm run fuzz -- [options]

  --minutes N      how long (default 1)
  --seed S         which connections; the same seed makes the same ones (default: of the clock, and printed)
  --from N         the number of the first connection (default 0)
  --connections N  how many instead of --minutes; 1 plays one connection again, and prints its bytes
  --store          with a store that keeps everything, so that acknowledgements wait
  --help           this text
`

const parse = (): Options | undefined => {
  const { values } = parseArgs({
    options: {
      minutes: { type: "string", default: "1" },
      seed: { type: "string", default: String(Date.now() % 1_000_000) },
      from: { type: "string", default: "0" },
      connections: { type: "string" },
      store: { type: "boolean", default: false },
      help: { type: "boolean", default: false }
    }
  })
  if (values.help) return undefined
  const minutes = CommandLine.positive("minutes", values.minutes)
  const count = values.connections === undefined ? undefined : CommandLine.whole("connections", values.connections)
  return {
    seed: CommandLine.whole("seed", values.seed),
    from: CommandLine.whole("from", values.from),
    count,
    until: count === undefined ? Date.now() + minutes * 60_000 : Number.POSITIVE_INFINITY,
    keeps: values.store ? "everything" : "nothing",
    say: (line) => console.log(line)
  }
}

const printScript = ({ seed, from }: Options): void => {
  const { answers, chunks, end, expected, kind, reads } = Script.make(seed, from)
  console.log(`${kind}; ends: ${end}; answers: ${answers}; reads: ${reads}; expected: ${JSON.stringify(expected)}`)
  console.log(chunks.map((chunk) => Buffer.from(chunk).toString("hex")).join(" "))
}

const explain = async (options: Options, suspects: readonly [number, number]): Promise<void> => {
  const store = options.keeps === "everything" ? " --store" : ""
  const again = (from: number, count: number) =>
    `npm run fuzz -- --seed ${options.seed} --from ${from} --connections ${count}${store}`
  console.log("Looking for the connections that suffice ...")
  const { say: _, ...quietly } = options
  const guilty = await convict(quietly, suspects)
  if (guilty.length === 0) console.log(`It takes several connections. Again: ${again(...suspects)}`)
  for (const number of guilty) console.log(`Again: ${again(number, 1)}`)
}

const main = async (options: Options): Promise<number> => {
  console.log(`seed ${options.seed}`)
  if (options.count === 1) printScript(options)
  const outcome = await Campaign.run(options)
  const counts = `${outcome.connections} connections, ${outcome.witnessed} messages witnessed`
  if (outcome.problem === undefined) {
    console.log(`passed: ${counts}`)
    return 0
  }
  console.log(`FAILED with seed ${options.seed} after ${counts}: ${outcome.problem}`)
  if (outcome.suspects !== undefined && outcome.suspects[1] > 1) await explain(options, outcome.suspects)
  return 1
}

await CommandLine.run(usage, parse, main)
