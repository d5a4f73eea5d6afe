/** What the programs that search for faults say about their options; they are run, up to where they would begin. */
import { assert, describe, it } from "@effect/vitest"
import { execFile } from "node:child_process"
import { fileURLToPath } from "node:url"
import * as CommandLine from "./CommandLine.ts"

interface Said {
  readonly code: number | string | null | undefined
  readonly output: string
  readonly errors: string
}

const run = (program: string, ...args: ReadonlyArray<string>): Promise<Said> =>
  new Promise((resolve) => {
    const file = fileURLToPath(new URL(`../${program}/main.ts`, import.meta.url))
    execFile(process.execPath, [file, ...args], (error, output, errors) =>
      resolve({ code: error === null ? 0 : error.code, output, errors })
    )
  })

describe("CommandLine", () => {
  it("--help prints the usage", async () => {
    const { code, errors, output } = await run("simulation", "--help")
    assert.deepStrictEqual([code, errors], [0, ""])
    assert.match(output, /Usage: npm run simulate -- \[options\]\n\n {2}--seed/)
  })

  for (const program of ["simulation", "fuzz", "soak", "crash"]) {
    it(`${program} says in a line that it does not know an option`, async () => {
      const { code, errors, output } = await run(program, "--nonsense")
      assert.deepStrictEqual([code, output], [2, ""])
      assert.match(errors, /^.*--nonsense.*\n$/)
    })
  }

  it("takes whole numbers, and no others", () => {
    assert.strictEqual(CommandLine.whole("count", "0"), 0)
    assert.strictEqual(CommandLine.whole("count", "1000000"), 1_000_000)
    for (const wrong of ["", "-1", "1.5", "1e3", "many", "9".repeat(20)]) {
      assert.throws(() => CommandLine.whole("count", wrong), `--count must be a whole number, not ${wrong}`)
    }
  })

  it("takes numbers above 0, and no others", () => {
    assert.strictEqual(CommandLine.positive("minutes", "0.5"), 0.5)
    for (const wrong of ["", "0", "-1", "long"]) {
      assert.throws(() => CommandLine.positive("minutes", wrong), `--minutes must be a number above 0, not ${wrong}`)
    }
  })
})
