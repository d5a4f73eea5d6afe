/** `npm run soak`: the broker under changing load for as long as one likes, and a verdict. `--help` tells the rest. */
import { parseArgs } from "node:util"
import * as CommandLine from "../command-line/CommandLine.ts"
import * as Soak from "./Soak.ts"

const usage = `Puts a broker in a process of its own under every kind of load at once: clients that come and go, durable
sessions whose queues fill and drain, retained messages, all versions and QoS, slow and frozen readers, takeovers.
Prints a line a minute; the exit code is 1 when memory rises, a message is lost, or a counter is wrong.
Usage: npm run soak -- [options]

  --minutes N      how long (default 5)
  --seed S         which choices the clients make (default 1)
  --store          with a store that keeps everything, so that acknowledgements wait
  --help           this text
`

interface Options {
  readonly minutes: number
  readonly seed: number
  readonly store: boolean
}

const parse = (): Options | undefined => {
  const { values } = parseArgs({
    options: {
      minutes: { type: "string", default: "5" },
      seed: { type: "string", default: "1" },
      store: { type: "boolean", default: false },
      help: { type: "boolean", default: false }
    }
  })
  if (values.help) return undefined
  return {
    minutes: CommandLine.positive("minutes", values.minutes),
    seed: CommandLine.whole("seed", values.seed),
    store: values.store
  }
}

const main = async ({ minutes, seed, store }: Options): Promise<number> => {
  const seconds = minutes * 60
  const verdict = await Soak.run({
    seconds,
    seed,
    keeps: store ? "everything" : "nothing",
    riseBytesMax: Soak.RISE_BYTES_MAX,
    // At least a hundred measurements, but not so many that collecting garbage is the load.
    sampleSeconds: Math.min(30, Math.max(1, seconds / 100)),
    lineSeconds: Math.min(60, Math.max(10, seconds / 10)),
    say: (line) => console.log(line)
  })
  const { mean, rise, samples } = verdict.trend
  const kibibytes = (bytes: number) => `${Math.round(bytes / 1_024)} KiB`
  console.log(
    `second half: ${kibibytes(mean)} on average, ${rise < 0 ? "falling" : "rising"} by ${kibibytes(Math.abs(rise))} ` +
      `(${samples} measurements)`
  )
  const rounds = Object.entries(verdict.rounds).map(([role, count]) => `${role} ${count}`)
  console.log(`rounds: ${rounds.join(", ")}; ${verdict.published} messages published`)
  for (const problem of verdict.problems) console.log(`FAILED: ${problem}`)
  if (verdict.problems.length === 0) console.log("passed: memory is level, every counter is right")
  return verdict.problems.length === 0 ? 0 : 1
}

await CommandLine.run(usage, parse, main)
