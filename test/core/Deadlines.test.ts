import { assert, describe, it } from "@effect/vitest"
import * as Arbitrary from "effect/Arbitrary"
import * as Schema from "effect/Schema"
import { Deadlines } from "../../src/core/Deadlines.ts"

interface Item {
  readonly name: string
}

const item = (name: string): Item => ({ name })

const expired = (deadlines: Deadlines<Item>, now: number): Array<string> => {
  const names: Array<string> = []
  deadlines.expire(now, ({ name }) => names.push(name))
  return names
}

describe("Deadlines", () => {
  it("is never early, and exact when asked", () => {
    const deadlines = new Deadlines<Item>(100)
    deadlines.schedule(item("a"), 1_050)
    assert.deepStrictEqual(expired(deadlines, 1_049), [])
    assert.deepStrictEqual(expired(deadlines, 1_050), ["a"])
    assert.strictEqual(deadlines.size, 0)
    assert.deepStrictEqual(expired(deadlines, 9_999), [])
  })

  it("names the end of the first bucket as the next time", () => {
    const deadlines = new Deadlines<Item>(100)
    assert.strictEqual(deadlines.next(), Infinity)
    deadlines.schedule(item("c"), 5_000)
    assert.strictEqual(deadlines.next(), 5_000)
    deadlines.schedule(item("b"), 1_199)
    deadlines.schedule(item("a"), 1_101)
    assert.strictEqual(deadlines.next(), 1_200)
    assert.deepStrictEqual(expired(deadlines, 1_150), ["a"])
    assert.strictEqual(deadlines.next(), 1_200)
    assert.deepStrictEqual(expired(deadlines, 1_200), ["b"])
    assert.strictEqual(deadlines.next(), 5_000)
    assert.deepStrictEqual(expired(deadlines, 5_000), ["c"])
    assert.strictEqual(deadlines.next(), Infinity)
  })

  it("expires bucket by bucket in order of time", () => {
    const deadlines = new Deadlines<Item>(10)
    for (const at of [70, 20, 50, 90, 10, 30, 80, 60, 40]) deadlines.schedule(item(`${at}`), at)
    assert.deepStrictEqual(expired(deadlines, 85), ["10", "20", "30", "40", "50", "60", "70", "80"])
  })

  it("keeps one deadline per item: the last one", () => {
    const deadlines = new Deadlines<Item>(10)
    const a = item("a")
    deadlines.schedule(a, 100)
    deadlines.schedule(a, 500)
    assert.strictEqual(deadlines.size, 1)
    assert.strictEqual(deadlines.next(), 500)
    assert.deepStrictEqual(expired(deadlines, 499), [])
    deadlines.schedule(a, 45)
    deadlines.schedule(a, 42) // earlier in the same bucket
    assert.deepStrictEqual(expired(deadlines, 42), ["a"])
    deadlines.schedule(a, 42)
    deadlines.schedule(a, 45) // later in the same bucket
    assert.deepStrictEqual(expired(deadlines, 42), [])
    assert.deepStrictEqual(expired(deadlines, 45), ["a"])
  })

  it("forgets what is cancelled", () => {
    const deadlines = new Deadlines<Item>(10)
    const a = item("a")
    const b = item("b")
    deadlines.schedule(a, 100)
    deadlines.schedule(b, 200)
    deadlines.cancel(a)
    deadlines.cancel(a)
    deadlines.cancel(item("never scheduled"))
    assert.strictEqual(deadlines.size, 1)
    assert.strictEqual(deadlines.next(), 200)
    assert.deepStrictEqual(expired(deadlines, 300), ["b"])
  })

  it("keeps the order when a deadline in the middle is cancelled", () => {
    // A heap with everything late on its left: some of these cancellations move an early deadline there, and up.
    const times = [10, 1000, 20, 1010, 1020, 30, 40, 1030, 1040, 1050, 1060, 50, 60, 70, 80]
    for (const gone of times) {
      const deadlines = new Deadlines<Item>(10)
      const items = times.map((at) => item(`${at}`))
      for (const [i, at] of times.entries()) deadlines.schedule(items[i]!, at)
      deadlines.cancel(items[times.indexOf(gone)]!)
      const left = times.filter((at) => at !== gone).sort((a, b) => a - b)
      assert.deepStrictEqual(expired(deadlines, 9_999), left.map(String))
    }
  })

  it("lets the visitor schedule the visited item again, and cancel or move the others", () => {
    const deadlines = new Deadlines<Item>(10)
    const [a, b, c, d] = [item("a"), item("b"), item("c"), item("d")]
    for (const each of [a, b, c, d]) deadlines.schedule(each, 100)
    const seen: Array<string> = []
    deadlines.expire(100, (each) => {
      seen.push(each.name)
      if (each === a) {
        deadlines.schedule(a, 100) // already past: comes with the next call, not in this one
        deadlines.cancel(b)
        deadlines.schedule(c, 900)
      }
      if (each === d) {
        deadlines.schedule(b, 100)
        deadlines.cancel(d)
      }
    })
    assert.deepStrictEqual(seen, ["a", "d"])
    assert.strictEqual(deadlines.size, 3)
    assert.isAtMost(deadlines.next(), 100)
    assert.deepStrictEqual(expired(deadlines, 100), ["a", "b"])
    assert.deepStrictEqual(expired(deadlines, 900), ["c"])
    assert.strictEqual(deadlines.size, 0)
  })

  it("lets the visitor cancel an item and schedule it anew before its turn", () => {
    const deadlines = new Deadlines<Item>(10)
    const [a, b] = [item("a"), item("b")]
    deadlines.schedule(a, 100)
    deadlines.schedule(b, 100)
    const seen: Array<string> = []
    deadlines.expire(100, (each) => {
      seen.push(each.name)
      deadlines.cancel(b)
      deadlines.schedule(b, 700)
    })
    assert.deepStrictEqual(seen, ["a"])
    assert.deepStrictEqual(expired(deadlines, 699), [])
    assert.deepStrictEqual(expired(deadlines, 700), ["b"])
  })

  it("never reaches Infinity, and takes times of the past", () => {
    const deadlines = new Deadlines<Item>(10)
    deadlines.schedule(item("never"), Infinity)
    assert.strictEqual(deadlines.next(), Infinity)
    deadlines.schedule(item("past"), -5_000)
    assert.isAtMost(deadlines.next(), 0)
    assert.deepStrictEqual(expired(deadlines, Number.MAX_SAFE_INTEGER), ["past"])
    assert.strictEqual(deadlines.size, 1)
  })

  const names = Schema.Literals([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
  const step = Arbitrary.all({
    kind: Arbitrary.schema(Schema.Literals(["schedule", "schedule", "schedule", "cancel", "expire", "wait"])),
    name: Arbitrary.schema(names),
    ahead: Arbitrary.map(Arbitrary.all({ tens: Arbitrary.schema(names), ones: Arbitrary.schema(names) }), (digits) => {
      return digits.tens * 10 + digits.ones - 5
    })
  })

  it.prop(
    "agrees with a plain map of times after any steps",
    { steps: Arbitrary.array(step, { maxLength: 60 }) },
    ({ steps }) => {
      const granularity = 7
      const items = Array.from({ length: 10 }, (_, i) => item(`${i}`))
      const deadlines = new Deadlines<Item>(granularity)
      const times = new Map<string, number>()
      let now = 1_000
      for (const { kind, name, ahead } of steps) {
        const next = deadlines.next()
        const first = Math.min(...times.values())
        if (first === Infinity) assert.strictEqual(next, Infinity)
        else assert.isTrue(next >= first && next < first + granularity, `next ${next}, first ${first}`)
        if (kind === "schedule") {
          deadlines.schedule(items[name]!, now + ahead)
          times.set(`${name}`, now + ahead)
        } else if (kind === "cancel") {
          deadlines.cancel(items[name]!)
          times.delete(`${name}`)
        } else {
          now = kind === "wait" && next !== Infinity ? Math.max(now, next) : now + Math.max(0, ahead)
          const due = [...times].filter(([, at]) => at <= now).map(([each]) => each)
          const seen = expired(deadlines, now)
          const buckets = seen.map((each) => Math.ceil(times.get(each)! / granularity))
          assert.deepStrictEqual(
            buckets,
            [...buckets].sort((a, b) => a - b)
          )
          assert.deepStrictEqual(seen.sort(), due.sort())
          for (const each of due) times.delete(each)
        }
        assert.strictEqual(deadlines.size, times.size)
      }
    },
    { arbitrary: { runs: 500, seed: 5 } }
  )
})
