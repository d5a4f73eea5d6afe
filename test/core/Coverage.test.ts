import { assert, describe, it } from "@effect/vitest"
import { Session } from "../../src/core/Session.ts"
import { random } from "./Random.ts"
import * as NaiveTopic from "../protocol/NaiveTopic.ts"
import { subscription } from "./support/Subscription.ts"

describe("the topics that a session's subscriptions cover", () => {
  it("are those that one of them matches, whatever comes and goes", () => {
    const next = random(7)
    const filters = ["a", "a/b", "a/+", "+/b", "#", "a/#", "c/+/d", "$share/g/e/+"]
    const topics = ["a", "a/b", "a/c", "c/x/d", "e/f", "b/b", "z"]
    const session = new Session("s")
    const there = new Set<string>()
    for (let step = 0; step < 500; step++) {
      const filter = filters[next(filters.length)]!
      if (next(2) === 0) session.putSubscription(subscription(filter))
      else session.removeSubscription(filter)
      if (session.subscriptions.has(filter)) there.add(filter)
      else there.delete(filter)
      const plain = [...there].map((one) => one.replace("$share/g/", ""))
      for (const topic of topics) {
        const expected = plain.some((one) => NaiveTopic.matches(one, topic))
        assert.strictEqual(session.covers(topic), expected, `${topic} of ${plain}`)
      }
      if (next(5) === 0) session.forgetCoverage()
    }
  })

  it("are looked up in what was made of the filters once", () => {
    const session = new Session("s")
    for (let index = 0; index < 1_000; index++) session.putSubscription(subscription(`a/${index}/+`))
    let looked = 0
    const keys = session.subscriptions.keys.bind(session.subscriptions)
    session.subscriptions.keys = () => {
      looked++
      return keys()
    }
    for (let index = 0; index < 1_000; index++) assert.strictEqual(session.covers(`a/${index}/x`), true)
    assert.strictEqual(looked, 1)
    session.putSubscription(subscription("b"))
    assert.isTrue(session.covers("b"))
    assert.strictEqual(looked, 2)
  })
})
