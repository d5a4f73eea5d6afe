/**
 * The bounded version of `npm run test:crash`: as many crashes, up to 200, as fit into a minute.
 */
import { assert, describe, it } from "@effect/vitest"
import { run } from "./Campaign.ts"

describe("a broker that is killed again and again", () => {
  it("keeps every promise it has made", { timeout: 240_000 }, async () => {
    const { acknowledged, complaints, cycles, received } = await run({ cycles: 200, secondsMax: 60, seed: 1 })
    console.log(`${cycles} crashes; ${acknowledged} messages acknowledged, ${received} received by four subscribers`)
    assert.deepStrictEqual(complaints, [])
    assert.isAtLeast(cycles, 10)
    assert.isAbove(acknowledged, cycles * 10)
  })
})
