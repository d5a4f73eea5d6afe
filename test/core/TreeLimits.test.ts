/**
 * What deep topics cost is bounded too: a level costs memory and time, however small the message or the packet.
 */
import { assert, describe, it } from "@effect/vitest"
import { CoreHarness } from "./CoreHarness.ts"
import { ready, subscriber } from "./support/Clients.ts"

const deep = (first: number) => `${first}${"/a".repeat(198)}`

describe("deep topics", () => {
  it("do not let retained messages grow the tree beyond two levels a message (known failure 3)", () => {
    const harness = new CoreHarness({ config: { retainedMessagesMax: 1_000 } })
    const publisher = ready(harness, "p", { version: 5 })
    for (let topic = 0; topic < 100; topic++) publisher.publish(deep(topic), "x", { retain: true })
    assert.isBelow(harness.core.retained.nodeCount, 2 * 1_000 + 2 * 200 + 1)
    assert.isAbove(harness.core.retained.size, 5)
  })

  it("do not let a session's subscriptions grow the tree beyond five levels each (known failure 3)", () => {
    const harness = new CoreHarness({ config: { subscriptionsPerSessionMax: 100 } })
    subscriber(harness, "s", { version: 5 }, ...Array.from({ length: 50 }, (_, index) => deep(index)))
    assert.strictEqual(harness.session("s")?.subscriptions.size, 4)
  })
})
