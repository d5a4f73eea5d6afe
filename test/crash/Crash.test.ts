/**
 * The bounded version of `npm run test:crash`.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Campaign from "./Campaign.ts"
import * as Campaigns from "./Campaigns.ts"

const KILLS = 200

const faults = [
  ["loses messages", /never got/],
  ["forgets states", /more than once/]
] as const

describe("a broker that is killed again and again", () => {
  // About a minute on an idle machine of two cores; the limit is for one that is neither.
  it(`keeps every promise it has made, ${KILLS} times`, { timeout: 1_800_000 }, async () => {
    const outcome = await Campaigns.runAll({ cycles: KILLS, seed: 1 })
    console.log(Campaigns.describe(outcome))
    assert.deepStrictEqual(outcome.complaints, [])
    assert.isAtLeast(outcome.kills, KILLS)
    assert.isAtLeast(outcome.killsAtStart, 20)
    assert.isAtLeast(outcome.killsInBackup, 20)
    assert.isAbove(outcome.acknowledged, KILLS * 10)
    assert.isAbove(outcome.received, outcome.acknowledged)
  })

  for (const [planted, words] of faults) {
    it(`is found out when it ${planted}`, { timeout: 600_000 }, async () => {
      const { complaints } = await Campaign.run({ kind: "embedded", cycles: 12, seed: 2, planted })
      assert.match(complaints.join("\n"), words)
    })
  }
})
