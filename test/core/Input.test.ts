import { assert, describe, it } from "@effect/vitest"
import { CoreHarness } from "./CoreHarness.ts"
import { all, kept, ready, subscriber } from "./support/Clients.ts"

const retained = (topic: string, payload: string) =>
  ({ topic, payload: new TextEncoder().encode(payload), qos: 1, retain: true, properties: undefined }) as const

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

  it("gives each of many a part of every turn: who says little is not behind all who say much", () => {
    const h = new CoreHarness({ config: { workPerTurnMax: 100 } })
    const floods = Array.from({ length: 10 }, (_, index) => ready(h, `f${index}`))
    const other = ready(h, "o")
    h.together(() => {
      for (const flood of floods) {
        flood.send(...Array.from({ length: 300 }, (_, index) => flood.publication("t", `${index}`)))
      }
      h.turn()
      other.ping()
      assert.deepStrictEqual(other.takeWords(), [])
      for (let turns = 0; turns < 2; turns++) h.turn()
      assert.deepStrictEqual(other.takeWords(), ["PingResp"])
      assert.strictEqual(h.state.deferred.size, 10)
    })
    assert.strictEqual(h.state.deferred.size, 0)
    assert.strictEqual(h.core.stats.messagesReceived, 3_000)
  })

  it("is not shared with who has nothing more to say", () => {
    const h = new CoreHarness({ config: { workPerTurnMax: 10 } })
    const [flood, quiet] = [ready(h, "a"), ready(h, "b")]
    h.together(() => {
      quiet.send(...Array.from({ length: 10 }, () => quiet.publication("t", "x")))
      assert.strictEqual(h.core.stats.messagesReceived, 10)
      assert.isTrue(quiet.connection.reading)
      flood.send(...Array.from({ length: 10 }, () => flood.publication("t", "x")))
      assert.deepStrictEqual([...h.state.deferred], [flood.connection])
    })
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

  it("spreads what waited for a client that comes back over the turns that it takes, in order", () => {
    const h = new CoreHarness({ config: { workPerTurnMax: 50, queueQos0: true } })
    const texts = Array.from({ length: 400 }, (_, index) => `${index}`)
    subscriber(h, "a", kept(4), "t").drop()
    const publisher = ready(h, "p")
    const other = subscriber(h, "o", {}, "o")
    for (const text of texts) publisher.publish("t", text, { qos: 1 })
    h.together(() => {
      const client = h.connect("a", kept(4))
      assert.isAtLeast(h.session("a")!.queue.length, 350)
      const seen: Array<string> = []
      for (let turns = 0; turns < 5; turns++) {
        publisher.publish("o", `${turns}`)
        h.turn()
        seen.push(...other.takePayloads())
      }
      assert.deepStrictEqual(seen.slice(0, 3), ["0", "1", "2"])
      assert.isAbove(h.session("a")!.queue.length, 100)
      publisher.publish("t", "last", { qos: 1 })
      for (let turns = 0; turns < 30; turns++) h.turn()
      assert.deepStrictEqual(client.takePayloads(), [...texts, "last"])
      // Nothing was acknowledged: what is sent again has its part too.
      client.drop()
      const again = h.connect("a", kept(4))
      assert.isAbove(again.connection.unsent?.size ?? 0, 300)
      for (let turns = 0; turns < 30; turns++) h.turn()
      assert.deepStrictEqual(again.takePayloads(), [...texts, "last"])
    })
    assert.strictEqual(h.state.pumpsDue.size, 0)
  })

  it("spreads the retained messages of a SUBSCRIBE over the turns that they take", () => {
    const h = new CoreHarness({ config: { workPerTurnMax: 50 } })
    for (let index = 0; index < 100; index++) h.core.setRetained(retained(`r/${index}`, "x"), h.now)
    const [greedy, other] = [ready(h, "a"), ready(h, "b")]
    other.subscribe("t")
    other.take()
    const [received, seen]: [Array<string>, Array<string>] = [[], []]
    h.together(() => {
      greedy.subscribe(
        ...Array.from({ length: 20 }, (_, index) => `${"+/".repeat(index % 2)}${index < 10 ? "#" : "+"}`)
      )
      for (let turns = 0; turns < 4; turns++) {
        other.publish("t", `${turns}`)
        h.turn()
        received.push(...greedy.takePayloads())
        seen.push(...other.takePayloads())
      }
      // The other's message is in the first turn or the second.
      assert.deepStrictEqual(seen.slice(0, 3), ["0", "1", "2"])
      assert.isBelow(received.length, 250)
    })
    received.push(...greedy.takePayloads())
    received.splice(0, received.length, ...received.filter((text) => text === "x"))
    // "#" and "+/#" match all of them, "+/+" too, and "+" none.
    assert.lengthOf(received, 300)
    assert.strictEqual(h.state.retainedWalks.size, 0)
    assert.strictEqual(h.state.retainedDue.size, 0)
  })

  it("gives retained messages as fast as they are taken: none is dropped for a slow reader", () => {
    const h = new CoreHarness({ config: { outboxBytesMax: 4_000 } })
    for (let index = 0; index < 500; index++) h.core.setRetained(retained(`r/${index}`, "x".repeat(100)), h.now)
    const client = ready(h, "a")
    client.freeze()
    client.subscribe({ filter: "#", qos: 0 })
    assert.isBelow(client.bufferedBytes, 4_000)
    client.accept()
    assert.lengthOf(client.takePayloads(), 500)
    assert.strictEqual(h.core.stats.messagesDropped, 0)
  })

  it("gives retained messages as fast as they are taken also when all sockets together hold too much", () => {
    const h = new CoreHarness({ config: { bufferedBytesMax: 5_000 } })
    for (let index = 0; index < 500; index++) h.core.setRetained(retained(`r/${index}`, "x".repeat(100)), h.now)
    const clients = ["a", "b"].map((name) => ready(h, name))
    for (const client of clients) {
      client.freeze()
      client.subscribe({ filter: "r/#", qos: 0 })
    }
    // The turn that began it went on: what comes now would be dropped.
    for (const client of clients) client.subscribe({ filter: "#", qos: 0 })
    const dropped = h.core.stats.messagesDropped
    for (const client of clients) client.accept()
    for (const client of clients) assert.isAtLeast(client.takePayloads().length, 500)
    assert.strictEqual(h.core.stats.messagesDropped, dropped)
    assert.strictEqual(h.state.retainedWalks.size, 0)
  })

  it("gives retained messages as fast as they are acknowledged: none is dropped for a short queue", () => {
    for (const queueOverflow of ["drop-newest", "drop-oldest", "disconnect"] as const) {
      const h = new CoreHarness({ config: { queueMessagesMax: 10, inflightMax: 5, queueOverflow } })
      for (let index = 0; index < 300; index++) h.core.setRetained(retained(`r/${index}`, `${index}`), h.now)
      const client = ready(h, "a")
      client.subscribe({ filter: "#", qos: 1 })
      assert.strictEqual(h.session("a")?.queue.length, 5)
      const received: Array<string> = []
      for (;;) {
        const packets = all(client, "Publish")
        if (packets.length === 0) break
        for (const { packetId, payload } of packets) {
          received.push(new TextDecoder().decode(payload))
          client.pubAck(packetId!)
        }
      }
      assert.strictEqual(new Set(received).size, 300)
      assert.lengthOf(received, 300)
      assert.strictEqual(h.core.stats.messagesDropped, 0)
      assert.strictEqual(h.state.retainedWalks.size, 0)
    }
  })

  it("goes on with retained messages when what waited before them has expired or was too large", () => {
    const h = new CoreHarness({ config: { queueMessagesMax: 4, inflightMax: 1 } })
    const publisher = ready(h, "p", { version: 5 })
    const client = subscriber(h, "a", { version: 5 }, { filter: "t", qos: 1 })
    publisher.publish("t", "first", { qos: 1 })
    for (const text of ["2", "3"]) publisher.publish("t", text, { qos: 1, properties: { messageExpiryInterval: 1 } })
    for (let index = 0; index < 5; index++) h.core.setRetained(retained(`r/${index}`, "x"), h.now)
    client.subscribe({ filter: "r/#", qos: 0 })
    const first = all(client, "Publish")
    assert.lengthOf(first, 1)
    assert.strictEqual(h.state.retainedWalks.size, 1)
    h.advance(2_000)
    client.pubAck(first[0]!.packetId!)
    assert.deepStrictEqual(client.takePayloads(), ["x", "x", "x", "x", "x"])
    assert.strictEqual(h.state.retainedWalks.size, 0)
  })

  it("leaves half a queue to what is published while the client of retained messages is away", () => {
    for (const queueOverflow of ["drop-newest", "drop-oldest"] as const) {
      const h = new CoreHarness({ config: { queueMessagesMax: 20, inflightMax: 5, queueOverflow } })
      for (let index = 0; index < 100; index++) h.core.setRetained(retained(`r/${index}`, "old"), h.now)
      const publisher = ready(h, "p")
      const options = { version: 5, clean: false, expiry: 60 } as const
      const client = ready(h, "a", options)
      client.freeze()
      client.subscribe({ filter: "#", qos: 1 })
      client.drop()
      for (let index = 0; index < 10; index++) publisher.publish("t", `${index}`, { qos: 1 })
      assert.strictEqual(h.core.stats.messagesDropped, 0)
      const again = h.connect("a", options)
      const received: Array<string> = []
      for (let packets = all(again, "Publish"); packets.length > 0; packets = all(again, "Publish")) {
        for (const { packetId, payload } of packets) {
          received.push(new TextDecoder().decode(payload))
          again.pubAck(packetId!)
        }
      }
      assert.lengthOf(received, 110)
      assert.strictEqual(h.state.retainedWalks.size, 0)
    }
  })

  it("forgets the retained messages that a session was still to get when it ends", () => {
    const h = new CoreHarness({ config: { queueMessagesMax: 20, inflightMax: 5 } })
    for (let index = 0; index < 100; index++) h.core.setRetained(retained(`r/${index}`, "old"), h.now)
    const client = ready(h, "a", { version: 5, clean: false, expiry: 60 })
    client.subscribe({ filter: "#", qos: 1 })
    client.drop()
    assert.strictEqual(h.state.retainedWalks.size, 1)
    h.advance(61_000)
    assert.isUndefined(h.session("a"))
    assert.strictEqual(h.state.retainedWalks.size, 0)
    assert.strictEqual(h.state.retainedDue.size, 0)
  })

  it("goes on with the retained messages of a session whose client went away", () => {
    const h = new CoreHarness({ config: { outboxBytesMax: 4_000 } })
    for (let index = 0; index < 300; index++) h.core.setRetained(retained(`r/${index}`, "x".repeat(100)), h.now)
    for (const durable of [true, false]) {
      const options = durable ? kept(4) : {}
      const client = ready(h, "a", options)
      client.freeze()
      client.subscribe("#")
      client.drop()
      assert.strictEqual(h.state.retainedWalks.size, 0)
      if (durable) assert.strictEqual(h.session("a")?.queue.length, 300 - (h.session("a")?.inflight.size ?? 0))
      else assert.isUndefined(h.session("a"))
      h.connect("a").drop()
    }
  })
})
