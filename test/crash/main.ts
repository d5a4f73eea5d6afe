/** `npm run test:crash`: kills brokers as often as you like. `--help` tells the rest. */
import { parseArgs } from "node:util"
import * as CommandLine from "../command-line/CommandLine.ts"
import * as Campaigns from "./Campaigns.ts"

const durabilities = ["fsync", "os", "none"] as const

const usage = `Kills brokers while clients publish and subscribe, starts them again, and checks that what they had
acknowledged is kept. The exit code is 1 when a promise was broken. Usage: npm run test:crash -- [options]

  --cycles N       how many kills and starts (default 200)
  --seed S         when, and what the clients do (default: of the clock, and printed)
  --durability D   of the store: ${durabilities.join(", ")} (default fsync)
  --help           this text
`

type Options = Required<Omit<Campaigns.Options, "report">>

const parse = (): Options | undefined => {
  const { values } = parseArgs({
    options: {
      cycles: { type: "string", default: "200" },
      seed: { type: "string", default: String(Date.now() % 1_000_000) },
      durability: { type: "string", default: "fsync" },
      help: { type: "boolean", default: false }
    }
  })
  if (values.help) return undefined
  const durability = durabilities.find((known) => known === values.durability)
  if (durability === undefined) {
    throw new Error(`--durability must be one of ${durabilities.join(", ")}, not ${values.durability}`)
  }
  return {
    cycles: CommandLine.count("cycles", values.cycles),
    seed: CommandLine.whole("seed", values.seed),
    durability
  }
}

const main = async (options: Options): Promise<number> => {
  console.log(`${options.cycles} cycles, seed ${options.seed}`)
  const startedAt = performance.now()
  const outcome = await Campaigns.runAll({ ...options, report: (line) => console.log(line) })
  const broken = outcome.complaints.length
  for (const complaint of outcome.complaints) console.log(complaint)
  console.log(`${((performance.now() - startedAt) / 1_000).toFixed(1)} s: ${Campaigns.describe(outcome)}`)
  console.log(broken === 0 ? "nothing lost, nothing twice, all in order" : `${broken} promises broken`)
  return broken === 0 ? 0 : 1
}

await CommandLine.run(usage, parse, main)
