/**
 * `npm run test:crash -- --cycles 1000`: kills brokers as often as you like. Exits with 1 when a promise was broken.
 */
import { parseArgs } from "node:util"
import * as Campaigns from "./Campaigns.ts"

const durabilities = ["fsync", "os", "none"] as const

const { values } = parseArgs({
  options: {
    cycles: { type: "string", default: "200" },
    seed: { type: "string", default: String(Date.now() % 1_000_000) },
    durability: { type: "string", default: "fsync" }
  }
})

const durability = durabilities.find((known) => known === values.durability)
if (durability === undefined) throw new Error(`--durability is one of ${durabilities.join(", ")}`)
console.log(`${values.cycles} cycles, seed ${values.seed}`)
const startedAt = performance.now()
const outcome = await Campaigns.runAll({
  cycles: Number(values.cycles),
  seed: Number(values.seed),
  durability,
  report: (line) => console.log(line)
})
const broken = outcome.complaints.length
for (const complaint of outcome.complaints) console.log(complaint)
console.log(`${((performance.now() - startedAt) / 1_000).toFixed(1)} s: ${Campaigns.describe(outcome)}`)
console.log(broken === 0 ? "nothing lost, nothing twice, all in order" : `${broken} promises broken`)
process.exitCode = broken === 0 ? 0 : 1
