/**
 * Shared subscriptions that come and go while publishers hold a route: who joins or leaves is seen by the next message.
 */
import { assert, describe, it } from "@effect/vitest"
import { Router } from "../../src/core/Router.ts"
import { Session } from "../../src/core/Session.ts"
import { CoreHarness } from "./CoreHarness.ts"
import { only, subscriber } from "./support/Clients.ts"
import { payloads, source } from "./support/Sharing.ts"
import { subscription } from "./support/Subscription.ts"

describe("a shared subscription and the route of a topic", () => {
  const filters = ["$share/g/t/x", "$share/g/t/+", "$share/g/+/x", "$share/g/#"]

  for (const filter of filters) {
    it(`${filter} is seen by a publisher that repeats itself when it begins and when it ends`, () => {
      for (const uses of [0, 1, 2, 3]) {
        const h = new CoreHarness()
        const { send } = source(h, "t/x")
        send(uses)
        const first = subscriber(h, "a", {}, filter)
        send(2)
        assert.strictEqual(payloads(first).length, 2, `${uses}`)
        const second = subscriber(h, "b", {}, filter)
        send(4)
        assert.deepStrictEqual([payloads(first).length, payloads(second).length], [2, 2], `${uses}`)
        first.drop()
        send(2)
        assert.strictEqual(payloads(second).length, 2, `${uses}`)
        second.unsubscribe(filter)
        only(second, "UnsubAck")
        send(2)
        assert.deepStrictEqual(second.take(), [], `${uses}`)
        const third = subscriber(h, "c", {}, filter)
        send(2)
        assert.strictEqual(payloads(third).length, 2, `${uses}`)
      }
    })

    it(`${filter} outdates routes with its first member and its last, and with no other`, () => {
      const router = new Router()
      const sessions = ["a", "b", "c"].map((clientId) => new Session(clientId))
      const [a, b, c] = sessions as [Session, Session, Session]
      const cached = () => {
        router.route("t/x")
        return router.route("t/x")
      }
      const before = cached()
      router.subscribe(a, subscription(filter))
      assert.isFalse(before.current)
      const during = cached()
      assert.strictEqual(during.groups[0]?.size, 1)
      router.subscribe(b, subscription(filter))
      router.subscribe(b, subscription(filter, { qos: 0 }))
      router.unsubscribe(a, filter)
      router.subscribe(c, subscription(filter))
      router.unsubscribe(c, filter)
      router.unsubscribe(c, filter)
      assert.isTrue(during.current)
      assert.strictEqual(router.route("t/x"), during)
      assert.strictEqual(router.size, 1)
      router.unsubscribe(b, filter)
      assert.isFalse(during.current)
      assert.deepStrictEqual(cached().groups, [])
      assert.strictEqual(router.size, 0)
    })
  }
})
