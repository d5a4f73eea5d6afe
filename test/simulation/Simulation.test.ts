/**
 * Thousands of seeds of the simulation, each a short run of its own kind; every one can be replayed.
 *
 * They are counted by number, not by time, so that every machine runs the same ones. Longer and other runs:
 * `node test/simulation/main.ts --seed N --count M`.
 */
import { assert, describe, it } from "@effect/vitest"
import { Random } from "./Random.ts"
import * as Simulation from "./Simulation.ts"

const GROUPS = 16
const SEEDS_PER_GROUP = 500
/** Many times what a group takes on a slow machine. */
const GROUP_MILLIS_MAX = 120_000

const complaint = ({ seed, steps, violation }: Simulation.Outcome): string =>
  `Seed ${seed} fails at step ${steps}: ${violation}\nReplay it: node test/simulation/main.ts --seed ${seed} --verbose`

describe("simulated clients find nothing wrong", () => {
  for (let group = 0; group < GROUPS; group++) {
    const first = group * SEEDS_PER_GROUP + 1
    const last = first + SEEDS_PER_GROUP - 1
    it(
      `in seeds ${first} to ${last}`,
      () => {
        for (let seed = first; seed <= last; seed++) {
          const outcome = Simulation.run({ seed })
          if (outcome.violation !== undefined) assert.fail(complaint(outcome))
        }
      },
      GROUP_MILLIS_MAX
    )
  }
})

describe("a run", () => {
  const trace = (seed: number): ReadonlyArray<string> => {
    const lines: Array<string> = []
    Simulation.run({ seed, log: (line) => lines.push(line) })
    return lines
  }

  it("is the same for the same seed, to the last line", () => {
    for (const seed of [3, 77, 1_234]) {
      const lines = trace(seed)
      assert.isAbove(lines.length, 100)
      assert.deepStrictEqual(trace(seed), lines)
    }
    assert.notDeepEqual(trace(3), trace(4))
  })

  it("is not a quiet one: across seeds, messages flow, brokers crash, and what was sent is seen", () => {
    let messages = 0
    let delivered = 0
    let crashed = 0
    for (let seed = 1; seed <= 200; seed++) {
      const outcome = Simulation.run({ seed })
      messages += outcome.messages
      delivered += outcome.delivered
      if (outcome.crashed) crashed++
    }
    assert.isAbove(messages, 2_000)
    assert.isAbove(delivered, 1_500)
    assert.isAbove(crashed, 20)
  })
})

describe("its dice", () => {
  it("fall the same for the same seed, and otherwise for another", () => {
    const throws = (seed: number) => {
      const random = new Random(seed)
      return Array.from({ length: 50 }, () => random.below(1_000))
    }
    assert.deepStrictEqual(throws(1), throws(1))
    assert.notDeepEqual(throws(1), throws(2))
  })

  it("show every side about as often", () => {
    const random = new Random(42)
    const counts = [0, 0, 0, 0, 0, 0]
    for (let index = 0; index < 6_000; index++) counts[random.below(6)]!++
    for (const count of counts) {
      assert.isAbove(count, 850)
      assert.isBelow(count, 1_150)
    }
  })
})
