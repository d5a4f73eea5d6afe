import { assert, describe, it } from "@effect/vitest"
import { CoreHarness } from "./CoreHarness.ts"
import { ready, subscriber } from "./support/Clients.ts"

describe("workPerTurnMax", () => {
  it("lets nobody wait for what one client sends at once", () => {
    const h = new CoreHarness({ config: { workPerTurnMax: 10 } })
    const watcher = subscriber(h, "w", {}, "t")
    const [flood, other] = [ready(h, "a"), ready(h, "b")]
    const received: Array<string> = []
    h.together(() => {
      flood.send(...Array.from({ length: 200 }, (_, index) => flood.publication("t", `${index}`)))
      other.publish("t", "other")
      other.ping()
      assert.isFalse(flood.connection.reading)
      for (let turns = 0; turns < 3; turns++) {
        h.turn()
        received.push(...watcher.takePayloads())
      }
      assert.include(received, "other")
      assert.deepStrictEqual(other.takeWords(), ["PingResp"])
      assert.isBelow(received.length, 30)
    })
    received.push(...watcher.takePayloads())
    const expected = Array.from({ length: 200 }, (_, index) => `${index}`)
    assert.deepStrictEqual(
      received.filter((text) => text !== "other"),
      expected
    )
    assert.isTrue(flood.connection.reading)
    assert.strictEqual(h.state.deferred.size, 0)
  })

  it("counts deliveries, and takes turns between those who have more to say", () => {
    const h = new CoreHarness({ config: { workPerTurnMax: 20 } })
    for (let index = 0; index < 10; index++) subscriber(h, `w${index}`, {}, "t")
    const watcher = subscriber(h, "w", {}, "t")
    const clients = ["a", "b", "c"].map((name) => ready(h, name))
    const received: Array<string> = []
    h.together(() => {
      for (const [at, client] of clients.entries()) {
        client.send(...Array.from({ length: 8 }, (_, index) => client.publication("t", `${at}${index}`)))
      }
      for (let turns = 0; turns < 4; turns++) {
        h.turn()
        received.push(...watcher.takePayloads())
      }
      // About two messages a turn, of each of them in turn.
      assert.sameMembers([...new Set(received.map((text) => text[0]))], ["0", "1", "2"])
      assert.isBelow(received.length, 12)
    })
    received.push(...watcher.takePayloads())
    assert.lengthOf(received, 24)
  })

  it("forgets who is gone before its turn", () => {
    const h = new CoreHarness({ config: { workPerTurnMax: 10 } })
    const watcher = subscriber(h, "w", {}, "t")
    const flood = ready(h, "a")
    h.together(() => {
      flood.send(...Array.from({ length: 200 }, (_, index) => flood.publication("t", `${index}`)))
      flood.drop()
      assert.strictEqual(h.state.deferred.size, 0)
    })
    assert.isBelow(watcher.takePayloads().length, 20)
  })
})
