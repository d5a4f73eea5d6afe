/**
 * SUBSCRIBE and UNSUBSCRIBE: one answer a filter, and who then gets what, with which options.
 */
import { assert, describe, it } from "@effect/vitest"
import type { Subscription } from "../../src/protocol/Packet.ts"
import { CoreHarness } from "./CoreHarness.ts"
import type { TestClient } from "./TestClient.ts"
import { all, kept, only, present, ready, subscriber, versions } from "./support/Clients.ts"

/** SUBSCRIBE with a subscription identifier; returns the reason codes. */
const subscribeWith = (
  client: TestClient,
  identifier: number | undefined,
  ...filters: ReadonlyArray<Partial<Subscription> & { readonly filter: string }>
): ReadonlyArray<number> => {
  const defaults = { qos: 2, noLocal: false, retainAsPublished: false, retainHandling: 0 } as const
  client.send({
    _tag: "Subscribe",
    packetId: 77,
    subscriptions: filters.map((filter) => ({ ...defaults, ...filter })),
    properties: identifier === undefined ? undefined : { subscriptionIdentifiers: [identifier] }
  })
  return all(client, "SubAck")[0]!.reasonCodes
}

const identifiers = (client: TestClient): ReadonlyArray<ReadonlyArray<number>> =>
  all(client, "Publish").map(({ properties }) => [...(properties?.subscriptionIdentifiers ?? [])].sort())

describe("SUBSCRIBE", () => {
  for (const version of versions) {
    it(`of version ${version} grants each filter its QoS, in order, under its packet id [MQTT-3.8.4-2, -6]`, () => {
      const h = new CoreHarness()
      const client = ready(h, "a", { version })
      client.send({
        _tag: "Subscribe",
        packetId: 65_535,
        subscriptions: ([2, 0, 1] as const).map((qos) => ({
          filter: `t/${qos}`,
          qos,
          noLocal: false,
          retainAsPublished: false,
          retainHandling: 0
        })),
        properties: undefined
      })
      assert.deepStrictEqual(client.takeWords(), ["SubAck 65535 [2,0,1]"])
      const publisher = ready(h, "p")
      for (const filter of ["t/0", "t/1", "t/2", "t/3"]) publisher.publish(filter, "x")
      assert.strictEqual(client.takePayloads().length, 3)
    })
  }

  const cases: ReadonlyArray<readonly [filter: string, matching: ReadonlyArray<string>, other: ReadonlyArray<string>]> =
    [
      ["a/b", ["a/b"], ["a", "a/b/c", "/a/b", "a/b/", "A/b"]],
      ["a/#", ["a", "a/b", "a/b/c", "a/"], ["b", "ab", "/a"]],
      ["#", ["a", "a/b", "/", "/a"], ["$foo", "$foo/a"]],
      ["+", ["a"], ["/", "a/b", "/a", "$foo"]],
      ["+/+", ["a/b", "/", "a/", "/b"], ["a", "a/b/c", "$foo/a"]],
      ["/+", ["/a", "/"], ["a", "a/b"]],
      ["a/+/c", ["a/b/c", "a//c"], ["a/c", "a/b/b/c", "a/b/d"]],
      ["a/+/#", ["a/b", "a/b/c", "a/"], ["a", "b/b"]],
      ["+/b/#", ["a/b", "/b/c", "a/b/c/d"], ["$foo/b", "a/c"]],
      ["$foo/#", ["$foo", "$foo/a"], ["foo/a", "$foobar"]],
      ["$foo/+", ["$foo/a"], ["$foo", "$foo/a/b"]],
      ["/", ["/"], ["a", "//"]],
      ["ü/漢/😀", ["ü/漢/😀"], ["u/漢/😀"]],
      ["__proto__/+", ["__proto__/x"], ["x/x"]]
    ]
  for (const [filter, matching, other] of cases) {
    it(`with ${filter} matches what it should [MQTT-4.7.1, MQTT-4.7.2-1] (known failure 14)`, () => {
      const h = new CoreHarness()
      const client = subscriber(h, "a", {}, filter)
      const publisher = ready(h, "p")
      for (let round = 0; round < 3; round++) {
        for (const topic of [...matching, ...other]) publisher.publish(topic, topic)
        assert.deepStrictEqual(client.takePayloads(), matching)
      }
    })
  }

  it("works for a topic that was published to before, once or often", () => {
    for (const times of [1, 2, 3, 10]) {
      for (const filter of ["t/x", "t/+", "#"]) {
        const h = new CoreHarness()
        const publisher = ready(h, "p")
        for (let index = 0; index < times; index++) publisher.publish("t/x", "before")
        const client = subscriber(h, "a", {}, filter)
        publisher.publish("t/x", "after")
        assert.deepStrictEqual(client.takePayloads(), ["after"], `${times} ${filter}`)
        client.unsubscribe(filter)
        publisher.publish("t/x", "much later")
        assert.deepStrictEqual(client.takePayloads(), [])
        client.subscribe(filter)
        publisher.publish("t/x", "again")
        assert.deepStrictEqual(client.takePayloads(), ["again"])
      }
    }
  })

  it("replaces the subscription of an equal filter [MQTT-3.8.4-3]", () => {
    for (const version of versions) {
      const h = new CoreHarness()
      const client = subscriber(h, "a", { version }, { filter: "t", qos: 2 })
      client.subscribe({ filter: "t", qos: 0 })
      client.take()
      ready(h, "p").publish("t", "x", { qos: 1 })
      assert.deepStrictEqual(client.takeWords(), ['Publish t "x" q0'])
      assert.strictEqual(h.core.subscriptionCount, 1)
    }
  })

  it("refuses filter by filter, in the words of each version (known failures 5, 20)", () => {
    const filters = ["ok/1", "a/#/b", "a+", "$share/g/t", "$share//t", "", "x/".repeat(200), "ok/2"]
    for (const [version, codes] of [
      [4, [2, 128, 128, 2, 128, 128, 128, 2]],
      [5, [2, 0x8f, 0x8f, 2, 0x8f, 0x8f, 0x8f, 2]]
    ] as const) {
      const h = new CoreHarness()
      const client = ready(h, "a", { version })
      client.subscribe(...filters)
      assert.deepStrictEqual(only(client, "SubAck").reasonCodes, codes)
      assert.strictEqual(h.core.subscriptionCount, 3)
      assert.isFalse(client.closed)
    }
  })

  it("takes 200 levels and a topic of 65,535 bytes; deeper is an answer, not a crash (known failures 3, 5)", () => {
    const h = new CoreHarness()
    const client = ready(h, "a", { version: 5 })
    client.subscribe(`${"x/".repeat(199)}x`, `${"+/".repeat(199)}+`, "y".repeat(65_535))
    assert.deepStrictEqual(only(client, "SubAck").reasonCodes, [2, 2, 2])
    client.subscribe("/".repeat(65_535), "+/".repeat(32_767), `${"x/".repeat(200)}x`)
    assert.deepStrictEqual(only(client, "SubAck").reasonCodes, [0x8f, 0x8f, 0x8f])
    client.publish(`${"x/".repeat(199)}x`, "deep")
    client.publish("y".repeat(65_535), "long")
    assert.deepStrictEqual(client.takePayloads(), ["deep", "long"])
  })
})

describe("UNSUBSCRIBE", () => {
  it("answers every filter: 0x11 where there was nothing [MQTT-3.10.4-4]", () => {
    const h = new CoreHarness()
    const client = subscriber(h, "a", { version: 5 }, "t/1", "t/#")
    client.unsubscribe("t/1", "t/+", "t/1")
    assert.deepStrictEqual(only(client, "UnsubAck").reasonCodes, [0, 0x11, 0x11])
    ready(h, "p").publish("t/1", "x")
    assert.deepStrictEqual(client.takePayloads(), ["x"])
    client.unsubscribe("t/#")
    assert.strictEqual(h.core.subscriptionCount, 0)
  })

  it("is acknowledged before 5.0 too, also when nothing matches [MQTT-3.10.4-5]", () => {
    for (const version of [3, 4] as const) {
      const client = subscriber(new CoreHarness(), "a", { version }, "t")
      client.unsubscribe("t", "nothing")
      assert.deepStrictEqual(client.takeWords(), ["UnsubAck 2 []"])
    }
  })

  it("needs exactly the filter, and takes from nobody else", () => {
    const h = new CoreHarness()
    const client = subscriber(h, "a", { version: 5 }, "t")
    const other = subscriber(h, "b", { version: 5 }, "t", "$share")
    client.unsubscribe("#", "T", "$share/g/t")
    assert.deepStrictEqual(only(client, "UnsubAck").reasonCodes, [0x11, 0x11, 0x11])
    client.unsubscribe("t")
    client.take()
    ready(h, "p").publish("t", "x")
    assert.deepStrictEqual(client.takePayloads(), [])
    assert.deepStrictEqual(other.takePayloads(), ["x"])
  })

  it("does not stop what is underway [MQTT-3.10.4-3]", () => {
    const h = new CoreHarness()
    const client = subscriber(h, "a", { version: 5, properties: { receiveMaximum: 1 } }, "t")
    const publisher = ready(h, "p")
    publisher.publish("t", "one", { qos: 1 })
    publisher.publish("t", "two", { qos: 1 })
    assert.deepStrictEqual(client.takeWords(), ['Publish t "one" q1 #1'])
    client.unsubscribe("t")
    only(client, "UnsubAck")
    client.pubAck(1)
    assert.deepStrictEqual(client.takeWords(), ['Publish t "two" q1 #2'])
    client.pubAck(2)
    assert.strictEqual(h.session("a")?.inflight.size, 0)
  })
})

describe("No Local", () => {
  it("keeps a client's own messages from it, and nobody else's [MQTT-3.8.3-3]", () => {
    const h = new CoreHarness()
    const client = subscriber(h, "a", { version: 5 }, { filter: "t", noLocal: true })
    const other = subscriber(h, "b", { version: 5 }, { filter: "t", noLocal: true })
    for (const qos of [0, 1, 2] as const) {
      const packetId = client.publish("t", `own ${qos}`, { qos })
      if (qos === 2) client.pubRel(packetId)
    }
    assert.deepStrictEqual(client.takePayloads(), [])
    assert.deepStrictEqual(other.takePayloads(), ["own 0", "own 1", "own 2"])
    other.publish("t", "foreign")
    assert.deepStrictEqual(client.takePayloads(), ["foreign"])
    assert.deepStrictEqual(other.takePayloads(), [])
  })

  it("of one subscription leaves the others of the client alone", () => {
    const h = new CoreHarness()
    const client = subscriber(h, "a", { version: 5 }, { filter: "t/#", noLocal: true }, { filter: "t/+", qos: 0 })
    client.publish("t/x", "own", { qos: 1 })
    assert.deepStrictEqual(client.takeWords(), ['Publish t/x "own" q0', "PubAck 2"])
    ready(h, "p").publish("t/x", "foreign", { qos: 1 })
    assert.deepStrictEqual(client.takeWords(), ['Publish t/x "foreign" q1 #1'])
  })

  it("holds on the connection after the one that subscribed", () => {
    const h = new CoreHarness()
    subscriber(h, "a", kept(5), { filter: "t", noLocal: true }).drop()
    const again = ready(h, "a", kept(5))
    again.publish("t", "own")
    assert.deepStrictEqual(again.take(), [])
  })
})

describe("Retain As Published", () => {
  it("forwards the flag live where it is set, and 0 elsewhere [MQTT-3.3.1-12, MQTT-3.3.1-13]", () => {
    const h = new CoreHarness()
    const as = subscriber(h, "as", { version: 5 }, { filter: "t", retainAsPublished: true })
    const not = subscriber(h, "not", { version: 5 }, { filter: "t" })
    const four = subscriber(h, "four", { version: 4 }, "t")
    const publisher = ready(h, "p")
    for (const qos of [0, 1] as const) {
      publisher.publish("t", "kept", { retain: true, qos })
      publisher.publish("t", "live", { retain: false, qos })
      const flags = (client: TestClient) => all(client, "Publish").map(({ retain }) => retain)
      assert.deepStrictEqual(flags(as), [true, false])
      assert.deepStrictEqual(flags(not), [false, false])
      assert.deepStrictEqual(flags(four), [false, false])
    }
  })

  it("outlives the wait in a queue", () => {
    const h = new CoreHarness()
    const filters = [{ filter: "t", retainAsPublished: true }, { filter: "u" }]
    subscriber(h, "a", kept(5), ...filters).drop()
    const publisher = ready(h, "p")
    for (const topic of ["t", "u"]) publisher.publish(topic, "x", { qos: 1, retain: true })
    const again = ready(h, "b")
    again.drop()
    const resumed = h.connect("a", kept(5))
    assert.deepStrictEqual(resumed.takeWords(), [
      "ConnAck 0 present",
      'Publish t "x" q1 #1 retain',
      'Publish u "x" q1 #2'
    ])
  })
})

describe("Retain Handling", () => {
  const received = (client: TestClient) => client.takePayloads().length
  const retaining = () => {
    const h = new CoreHarness()
    ready(h, "p").publish("t", "kept", { retain: true })
    return { h, client: ready(h, "a", { version: 5 }) }
  }

  it("0 sends retained messages at every SUBSCRIBE [MQTT-3.3.1-9, MQTT-3.8.4-4]", () => {
    const { client } = retaining()
    for (let round = 0; round < 3; round++) {
      client.subscribe({ filter: "t", retainHandling: 0 })
      assert.strictEqual(received(client), 1)
    }
  })

  it("1 sends them only for a new subscription [MQTT-3.3.1-10]", () => {
    const { client } = retaining()
    client.subscribe({ filter: "t", retainHandling: 1 })
    assert.strictEqual(received(client), 1)
    client.subscribe({ filter: "t", retainHandling: 1, qos: 0 })
    assert.strictEqual(received(client), 0)
    client.unsubscribe("t")
    client.subscribe({ filter: "t", retainHandling: 1 })
    assert.strictEqual(received(client), 1)
  })

  it("1 knows the subscriptions of a session that was resumed", () => {
    const { h } = retaining()
    const options = { filter: "t", retainHandling: 1 } as const
    subscriber(h, "b", kept(5), { ...options, retainHandling: 2 }).drop()
    const again = ready(h, "b", kept(5))
    again.subscribe(options)
    assert.strictEqual(received(again), 0)
  })

  it("2 never sends them [MQTT-3.3.1-11]", () => {
    const { client } = retaining()
    client.subscribe({ filter: "t", retainHandling: 2 })
    client.subscribe({ filter: "t", retainHandling: 2 })
    assert.strictEqual(received(client), 0)
  })

  it("sends them after the SUBACK, with RETAIN whatever Retain As Published says [MQTT-3.3.1-8]", () => {
    for (const version of versions) {
      const { h } = retaining()
      const client = ready(h, "b", { version })
      client.subscribe({ filter: "t", retainAsPublished: false })
      assert.deepStrictEqual(client.takeWords(), ["SubAck 1 [2]", 'Publish t "kept" q0 retain'])
    }
  })
})

describe("subscription identifiers", () => {
  it("come with every message that matches, live and retained [MQTT-3.3.4-3]", () => {
    const h = new CoreHarness()
    const publisher = ready(h, "p")
    publisher.publish("t", "kept", { retain: true })
    const client = ready(h, "a", { version: 5 })
    for (const identifier of [1, 127, 128, 268_435_455]) {
      client.send({
        _tag: "Subscribe",
        packetId: 1,
        subscriptions: [{ filter: "t", qos: 2, noLocal: false, retainAsPublished: false, retainHandling: 0 }],
        properties: { subscriptionIdentifiers: [identifier] }
      })
      publisher.publish("t", "live", { qos: 1 })
      assert.deepStrictEqual(identifiers(client), [[identifier], [identifier]])
    }
  })

  it("go with the subscription: a SUBSCRIBE without one takes it away", () => {
    const h = new CoreHarness()
    const client = ready(h, "a", { version: 5 })
    subscribeWith(client, 5, { filter: "t" })
    subscribeWith(client, undefined, { filter: "t" })
    ready(h, "p").publish("t", "x")
    const publish = only(client, "Publish")
    assert.deepStrictEqual(present(publish.properties), {})
  })

  it("are not told to clients of 3.1.1, and survive the wait in a queue", () => {
    const h = new CoreHarness()
    const client = ready(h, "a", kept(5))
    subscribeWith(client, 9, { filter: "t" })
    client.drop()
    const publisher = ready(h, "p")
    publisher.publish("t", "x", { qos: 1 })
    const four = h.connect("a", kept(4))
    assert.deepStrictEqual(four.takeWords(), ["ConnAck 0 present", 'Publish t "x" q1 #1'])
    four.drop()
    const five = h.connect("a", kept(5))
    assert.deepStrictEqual(identifiers(five), [[9]])
  })
})

describe("overlapping subscriptions", () => {
  it("give one copy, at the highest QoS, with all identifiers [MQTT-3.3.4-2, MQTT-3.3.4-3]", () => {
    const h = new CoreHarness()
    const client = ready(h, "a", { version: 5 })
    subscribeWith(client, 1, { filter: "t/#", qos: 0 })
    subscribeWith(client, 2, { filter: "t/+", qos: 2 })
    subscribeWith(client, undefined, { filter: "#", qos: 0 })
    subscribeWith(client, 3, { filter: "t/x", qos: 1 })
    const publisher = ready(h, "p")
    for (const [qos, expected] of [
      [0, 0],
      [1, 1],
      [2, 2]
    ] as const) {
      const packetId = publisher.publish("t/x", "x", { qos })
      if (qos === 2) publisher.pubRel(packetId)
      const publish = only(client, "Publish")
      assert.strictEqual(publish.qos, expected)
      assert.deepStrictEqual([...(publish.properties?.subscriptionIdentifiers ?? [])].sort(), [1, 2, 3])
    }
  })

  it("give one copy in 3.1.1 too", () => {
    const h = new CoreHarness()
    const client = subscriber(
      h,
      "a",
      {},
      { filter: "t/#", qos: 0 },
      { filter: "t/x", qos: 1 },
      { filter: "+/x", qos: 0 }
    )
    ready(h, "p").publish("t/x", "x", { qos: 2 })
    h.clients[1]!.pubRel(1)
    assert.deepStrictEqual(client.takeWords(), ['Publish t/x "x" q1 #1'])
  })

  it("may carry the same identifier twice", () => {
    const h = new CoreHarness()
    const client = ready(h, "a", { version: 5 })
    subscribeWith(client, 4, { filter: "t/#" }, { filter: "t/x" })
    ready(h, "p").publish("t/x", "x")
    const [ids] = identifiers(client)
    assert.isTrue(ids!.length >= 1 && ids!.every((id) => id === 4))
  })
})

describe("topics of the server", () => {
  it("are not published to by clients, as messages or wills (known failure 27)", () => {
    for (const version of versions) {
      const h = new CoreHarness()
      const watcher = subscriber(h, "w", {}, "$SYS/#", "$SYSTEM/#")
      const client = ready(h, "a", { version })
      client.publish("$SYS/broker/uptime", "0", { retain: true })
      client.publish("$SYS", "1", { qos: 1 })
      const packetId = client.publish("$SYS/x", "2", { qos: 2 })
      client.pubRel(packetId)
      const refused = version === 5
      assert.deepStrictEqual(client.takeWords(), [
        refused ? "PubAck 1 0x87" : "PubAck 1",
        refused ? "PubRec 2 0x87" : "PubRec 2",
        refused ? "PubComp 2 0x92" : "PubComp 2"
      ])
      client.publish("$SYSTEM/x", "other")
      assert.deepStrictEqual(watcher.takePayloads(), ["other"])
      assert.strictEqual(h.core.retained.size, 0)
      const will = {
        topic: "$SYS/x",
        payload: new Uint8Array(0),
        qos: 0,
        retain: false,
        properties: undefined
      } as const
      const liar = h.connect("b", { version, will })
      assert.strictEqual(only(liar, "ConnAck").reasonCode, 0x87)
      assert.isTrue(liar.closed)
    }
  })

  it("are published to by the broker", () => {
    const h = new CoreHarness()
    const watcher = subscriber(h, "w", {}, "$SYS/#")
    h.core.publish({ topic: "$SYS/x", payload: new Uint8Array([65]), qos: 0, retain: false }, h.now)
    h.settle()
    assert.deepStrictEqual(watcher.takePayloads(), ["A"])
  })
})
