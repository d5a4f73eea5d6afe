/**
 * The soak in seconds: that every role plays and every counter agrees, and that the verdict can be another one.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Soak from "./Soak.ts"
import * as Trend from "./Trend.ts"

const MILLIS = 120_000

/** Memory still grows after so short a time: code is compiled, caches fill. */
const RISE_BYTES_MAX = 8 * 1024 * 1024

/** How many rounds of each role make a test: those that do not keep up take seconds a round. */
const enough = {
  steady: 100,
  shared: 10,
  churn: 200,
  takeover: 30,
  durable: 15,
  retained: 3,
  "late reader": 1,
  "frozen reader": 1,
  "stuck reader": 2
}

const soak = (options: Partial<Soak.Options>) =>
  Soak.run({
    seconds: 60,
    enough,
    seed: 1,
    keeps: "nothing",
    riseBytesMax: RISE_BYTES_MAX,
    sampleSeconds: 0.2,
    lineSeconds: 3_600,
    say: () => {},
    ...options
  })

describe("a soak", () => {
  for (const keeps of ["nothing", "everything"] as const) {
    it(`finds every counter right, store of ${keeps}`, { timeout: MILLIS }, async () => {
      const { problems, rounds } = await soak({ keeps })
      assert.deepStrictEqual(problems, [])
      for (const [role, count] of Object.entries(enough)) assert.isAtLeast(rounds[role] ?? 0, count, role)
    })
  }

  it("finds memory that rises", { timeout: MILLIS }, async () => {
    const { problems, trend } = await soak({ planted: "leak" })
    assert.isAbove(trend.samples, 2)
    assert.strictEqual(problems.length, 1, problems.join("\n"))
    assert.include(problems[0], "memory is not level")
  })

  it("finds a broker that dies", { timeout: MILLIS }, async () => {
    const { problems } = await soak({ planted: "crash" })
    assert.include(problems.join("\n"), "planted")
  })
})

describe("the trend of a series", () => {
  const series = (count: number, value: (index: number) => number) =>
    Array.from({ length: count }, (_, index) => ({ seconds: index, value: value(index) }))

  it("is the rise of its second half", () => {
    const { mean, rise, samples } = Trend.ofSecondHalf(series(101, (index) => (index < 50 ? 10 * index : 500 + index)))
    assert.strictEqual(samples, 51)
    assert.closeTo(rise, 50, 1e-6)
    assert.closeTo(mean, 575, 1e-6)
  })

  it("is level for what goes up and down", () => {
    const { rise } = Trend.ofSecondHalf(series(101, (index) => 1_000 + 100 * (index % 2)))
    assert.isBelow(Math.abs(rise), 10)
  })

  it("is level for what was not measured twice", () => {
    assert.strictEqual(Trend.ofSecondHalf([]).rise, 0)
    assert.strictEqual(Trend.ofSecondHalf(series(1, () => 7)).mean, 7)
  })
})
