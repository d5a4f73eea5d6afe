/**
 * Routes: a cache that must never be seen. Every answer is compared with one made from all subscriptions by hand.
 */
import { assert, describe, it } from "@effect/vitest"
import { merge, Router } from "../../src/core/Router.ts"
import { Session } from "../../src/core/Session.ts"
import * as Topic from "../../src/protocol/Topic.ts"
import { subscription } from "./support/Subscription.ts"

/** The same numbers for the same seed, below a bound. */
const generator = (seed: number) => {
  let state = seed >>> 0
  return (below: number): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 0x1_0000_0000) * below)
  }
}

const receivers = (router: Router, topic: string): ReadonlyArray<string> =>
  router
    .route(topic)
    .receivers.map(({ session }) => session.clientId)
    .sort()

describe("Router", () => {
  it("answers like a list of all subscriptions, whatever changes in between", () => {
    const random = generator(7)
    const levels = ["a", "b", "", "$x", "ü"]
    const name = () => Array.from({ length: 1 + random(3) }, () => levels[random(levels.length)]).join("/") || "a"
    const filter = () => {
      const parts = name().split("/")
      for (let at = 0; at < parts.length; at++) if (random(3) === 0) parts[at] = "+"
      if (random(4) === 0) parts[parts.length - 1] = "#"
      return parts.join("/")
    }
    const router = new Router()
    const sessions = Array.from({ length: 5 }, (_, index) => new Session(`s${index}`))
    const topics = Array.from({ length: 20 }, name)
    for (let step = 0; step < 5_000; step++) {
      const session = sessions[random(5)]!
      const at = filter()
      if (random(3) === 0) {
        session.removeSubscription(at)
        router.unsubscribe(session, at)
      } else if (session.subscriptions.size < 6) {
        const one = subscription(at)
        session.putSubscription(one)
        router.subscribe(session, one)
      } else {
        const [first] = session.subscriptions.keys()
        session.removeSubscription(first!)
        router.unsubscribe(session, first!)
      }
      const topic = topics[random(topics.length)]!
      const expected = sessions
        .filter(({ subscriptions }) => [...subscriptions.keys()].some((key) => Topic.matches(key, topic)))
        .map(({ clientId }) => clientId)
      assert.deepStrictEqual(receivers(router, topic), expected, `${step} ${topic}`)
    }
    assert.strictEqual(
      router.size,
      sessions.reduce((sum, { subscriptions }) => sum + subscriptions.size, 0)
    )
  })

  it("gives out no route that goes on after a change that concerns it, from the first use on", () => {
    for (const uses of [1, 2, 3]) {
      for (const filter of ["t/x", "t/+", "+/x", "#"]) {
        const router = new Router()
        const session = new Session("a")
        let route = router.route("t/x")
        for (let use = 1; use < uses; use++) route = router.route("t/x")
        router.subscribe(session, subscription(filter))
        assert.isFalse(route.current, `${uses} ${filter}`)
        assert.deepStrictEqual(receivers(router, "t/x"), ["a"])
        router.route("t/x")
        const later = router.route("t/x")
        assert.isTrue(later.current)
        router.unsubscribe(session, filter)
        assert.isFalse(later.current)
        assert.deepStrictEqual(receivers(router, "t/x"), [])
      }
    }
  })

  it("keeps a route through changes that do not concern it", () => {
    const router = new Router()
    const session = new Session("a")
    router.subscribe(session, subscription("t/x"))
    router.route("t/x")
    const route = router.route("t/x")
    for (const filter of ["t/y", "u/+", "t", "$share/g/u/#"]) router.subscribe(session, subscription(filter))
    assert.isTrue(route.current)
    assert.strictEqual(router.route("t/x"), route)
  })

  it("stays right beyond the size of its cache, and drops what it lets go", () => {
    const router = new Router()
    const session = new Session("a")
    router.subscribe(session, subscription("t/0"))
    router.route("t/0")
    const first = router.route("t/0")
    for (let index = 1; index < 10_100; index++) {
      router.route(`t/${index}`)
      router.route(`t/${index}`)
    }
    assert.isFalse(first.current)
    router.subscribe(session, subscription("t/5"))
    for (const [topic, expected] of [
      ["t/0", ["a"]],
      ["t/5", ["a"]],
      ["t/10099", []]
    ] as const) {
      assert.deepStrictEqual(receivers(router, topic), expected)
    }
  })

  it("stays right when there are more first levels than it counts", () => {
    const router = new Router()
    const session = new Session("a")
    router.route("first/x")
    const route = router.route("first/x")
    for (let index = 0; index < 10_100; index++) router.route(`${index}/x`)
    router.subscribe(session, subscription("first/+"))
    assert.isFalse(route.current)
    assert.deepStrictEqual(receivers(router, "first/x"), ["a"])
  })

  it("takes levels that objects have for ordinary ones", () => {
    const router = new Router()
    const session = new Session("a")
    for (const level of ["__proto__", "constructor", "hasOwnProperty"]) {
      assert.deepStrictEqual(receivers(router, `${level}/x`), [])
      router.subscribe(session, subscription(`${level}/+`))
      assert.deepStrictEqual(receivers(router, `${level}/x`), ["a"])
    }
  })
})

describe("merge", () => {
  it("takes the highest QoS, any RETAIN AS PUBLISHED and NO LOCAL, and every identifier [MQTT-3.3.4-2, -3]", () => {
    const session = new Session("a")
    const merged = merge(session, [
      subscription("#", { qos: 0, subscriptionIdentifier: 3 }),
      subscription("t", { qos: 2, retainAsPublished: true }),
      subscription("+", { qos: 1, noLocal: true, subscriptionIdentifier: 4 })
    ])
    assert.deepInclude(merged, { session, qos: 2, retainAsPublished: true, noLocal: true, identifiers: [3, 4] })
    assert.deepInclude(merge(session, [subscription("t", { qos: 0 })]), {
      qos: 0,
      retainAsPublished: false,
      noLocal: false,
      identifiers: undefined
    })
  })
})
