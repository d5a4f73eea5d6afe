/**
 * `npm run test:crash -- --cycles 1000`: kills brokers as often as you like. Exits with 1 when a promise was broken.
 * `npm run test:crash -- --start`: how long a start on a large store takes instead.
 */
import { parseArgs } from "node:util"
import * as Campaigns from "./Campaigns.ts"
import * as Start from "./Start.ts"

const durabilities = ["fsync", "os", "none"] as const

const { values } = parseArgs({
  options: {
    cycles: { type: "string", default: "200" },
    seed: { type: "string", default: String(Date.now() % 1_000_000) },
    durability: { type: "string", default: "fsync" },
    start: { type: "boolean", default: false },
    sessions: { type: "string", default: "100000" },
    messages: { type: "string", default: "1000000" },
    "payload-bytes": { type: "string", default: "64" }
  }
})

const crash = async (): Promise<void> => {
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
}

const mib = (bytes: number | undefined): string => (bytes === undefined ? "?" : `${Math.round(bytes / 1_048_576)} MiB`)

const start = async (): Promise<void> => {
  const options = {
    sessions: Number(values.sessions),
    messages: Number(values.messages),
    payloadBytes: Number(values["payload-bytes"])
  }
  const { memoryBytes, memoryBytesMax, startMillis, storeBytes } = await Start.measure(options)
  console.log(
    `${options.sessions} sessions with ${options.messages} messages in ${mib(storeBytes)}: ` +
      `listening after ${(startMillis / 1_000).toFixed(2)} s with ${mib(memoryBytes)} (at most ${mib(memoryBytesMax)})`
  )
}

await (values.start ? start() : crash())
