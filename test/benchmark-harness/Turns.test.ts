/** Two sides that take turns: one runs, the other is stopped. The processes are stand-ins, and so is the clock. */
import { afterEach, assert, beforeEach, describe, it, vi } from "@effect/vitest"
import { takesTurns } from "../bench/paired.ts"
import { isDurable, scenarios, transportOf } from "../bench/scenarios.ts"
import { type Side, Turns } from "../bench/turns.ts"

/** Four processes that know whether they run. */
const make = () => {
  const running = [
    [true, true],
    [true, true]
  ]
  const turns = new Turns()
  const join = (side: Side, index: number) =>
    turns.join(side, (name) => {
      running[side]![index] = name === "SIGCONT"
    })
  return { turns, running, join }
}

describe("Turns", () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] })
  })
  afterEach(() => {
    vi.useRealTimers()
  })

  it("stops nobody before all four processes are there", () => {
    const { running, join } = make()
    join(0, 0)
    join(0, 1)
    join(1, 0)
    vi.advanceTimersByTime(1_000)
    assert.deepStrictEqual(running.flat(), [true, true, true, true])
  })

  it("runs one side at a time, both equally long", () => {
    const { turns, running, join } = make()
    for (const side of [0, 1] as const) for (const index of [0, 1]) join(side, index)
    const ran = [0, 0]
    for (let millisecond = 0; millisecond < 1_000; millisecond++) {
      const [first, second] = running
      assert.deepStrictEqual(first, [!second![0], !second![0]])
      assert.deepStrictEqual(second, [!first![0], !first![0]])
      ran[first![0] ? 0 : 1]!++
      vi.advanceTimersByTime(1)
    }
    assert.deepStrictEqual(ran, [500, 500])
    turns.end()
  })

  it("lets everybody go on at the end, and stops nobody any more", () => {
    const { turns, running, join } = make()
    for (const side of [0, 1] as const) for (const index of [0, 1]) join(side, index)
    turns.end()
    assert.deepStrictEqual(running.flat(), [true, true, true, true])
    vi.advanceTimersByTime(1_000)
    assert.deepStrictEqual(running.flat(), [true, true, true, true])
    assert.strictEqual(vi.getTimerCount(), 0)
  })

  it("is for what is saturated and has no disk", () => {
    const inTurns = scenarios.filter(takesTurns)
    assert.isTrue(inTurns.every((scenario) => scenario.kind === "messages" && !isDurable(scenario)))
    assert.includeMembers(
      inTurns.map(({ name }) => name),
      ["1-1-qos0", "10-10-qos1", "10-10-qos2", "kept-qos1", "kept-qos2"]
    )
    assert.isFalse(scenarios.filter(({ name }) => name.startsWith("rate")).some(takesTurns))
    assert.isTrue(inTurns.some((scenario) => transportOf(scenario) === "tls"))
  })
})
