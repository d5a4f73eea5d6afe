/**
 * `npm run test:crash -- --cycles 1000`: kills the broker as often as you like. Exits with 1 when a promise was broken.
 */
import { parseArgs } from "node:util"
import { run } from "./Campaign.ts"

const { values } = parseArgs({
  options: {
    cycles: { type: "string", default: "200" },
    seconds: { type: "string", default: "100000" },
    seed: { type: "string", default: String(Date.now() % 1_000_000) },
    durability: { type: "string", default: "fsync" }
  }
})

console.log(`${values.cycles} cycles, seed ${values.seed}`)
const startedAt = performance.now()
const { acknowledged, complaints, cycles, received } = await run({
  cycles: Number(values.cycles),
  secondsMax: Number(values.seconds),
  seed: Number(values.seed),
  args: ["--durability", values.durability],
  report: (line) => console.log(line)
})
for (const complaint of complaints) console.log(complaint)
const seconds = ((performance.now() - startedAt) / 1_000).toFixed(1)
console.log(
  `${cycles} crashes in ${seconds} s; ${acknowledged} messages acknowledged, ` +
    `${received} received by four subscribers; ` +
    `${complaints.length === 0 ? "nothing lost, nothing twice, all in order" : `${complaints.length} promises broken`}`
)
process.exitCode = complaints.length === 0 ? 0 : 1
