/**
 * The bounded version of `npm run test:crash`.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Campaigns from "./Campaigns.ts"

const KILLS = 200

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
    assert.isAbove(outcome.wills, 20)
    assert.isAbove(outcome.cleared, 20)
    assert.isAbove(outcome.unsubscribed, 5)
    assert.isAbove(outcome.received, outcome.acknowledged)
  })
})
