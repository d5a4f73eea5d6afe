/**
 * The last retained message of each topic: set, replaced, deleted, expired, limited, and who gets it when.
 */
import { assert, describe, it } from "@effect/vitest"
import { CoreHarness } from "./CoreHarness.ts"
import type { PublishOptions, TestClient } from "./TestClient.ts"
import { all, kept, only, ready, subscriber, versions } from "./support/Clients.ts"

const retain = (client: TestClient, topic: string, payload: string, options: PublishOptions = {}): void => {
  const packetId = client.publish(topic, payload, { ...options, retain: true })
  if (options.qos === 2) client.pubRel(packetId)
}

/** What a new subscriber to this filter is told. */
const told = (h: CoreHarness, ...filters: ReadonlyArray<string>): ReadonlyArray<string> => {
  const client = ready(h, "newcomer", { version: 5 })
  client.subscribe(...filters)
  const words = client.takeWords().slice(1)
  client.disconnect()
  return words.sort()
}

describe("a retained message", () => {
  for (const version of versions) {
    it(`is what later subscribers get, at the lower QoS, with RETAIN [MQTT-3.3.1-5, -8] (version ${version})`, () => {
      const h = new CoreHarness()
      const publisher = ready(h, "p", { version })
      for (const qos of [0, 1, 2] as const) {
        retain(publisher, "t", `at ${qos}`, { qos })
        for (const granted of [0, 1, 2] as const) {
          const client = ready(h, "a", { version })
          client.subscribe({ filter: "t", qos: granted })
          const [publish] = all(client, "Publish")
          assert.isTrue(publish!.retain && !publish!.dup)
          assert.strictEqual(publish!.qos, Math.min(qos, granted))
        }
      }
    })

    it(`replaces the one before, and an empty one deletes it [MQTT-3.3.1-6, -7] (version ${version})`, () => {
      const h = new CoreHarness()
      const live = subscriber(h, "live", { version }, "t")
      const publisher = ready(h, "p", { version })
      retain(publisher, "t", "one")
      retain(publisher, "t", "two")
      publisher.publish("t", "not retained") // touches nothing [MQTT-3.3.1-8]
      assert.deepStrictEqual(told(h, "t"), ['Publish t "two" q0 retain'])
      retain(publisher, "t", "", { qos: 1 })
      assert.deepStrictEqual(told(h, "t"), [])
      assert.strictEqual(h.core.retained.size, 0)
      retain(publisher, "t", "") // nothing there: nothing happens
      // Everything goes to who is there, also the empty ones, and live messages have no RETAIN.
      assert.deepStrictEqual(live.takeWords(), [
        'Publish t "one" q0',
        'Publish t "two" q0',
        'Publish t "not retained" q0',
        'Publish t "" q1 #1',
        'Publish t "" q0'
      ])
    })
  }

  it("outlives its publisher, is of one topic only, and keeps none of the others", () => {
    const h = new CoreHarness()
    const publisher = ready(h, "p")
    for (const topic of ["a", "a/b", "a/b/c", "/", "a/"]) retain(publisher, topic, topic)
    publisher.drop()
    for (const topic of ["a", "a/b", "a/b/c", "/", "a/"]) {
      assert.deepStrictEqual(told(h, topic), [`Publish ${topic} "${topic}" q0 retain`])
    }
    assert.deepStrictEqual(told(h, "b"), [])
    retain(ready(h, "p"), "a/b", "")
    assert.deepStrictEqual(told(h, "a/b"), [])
    assert.strictEqual(told(h, "a/#").length, 3)
  })

  it("is found by wildcards, but topics of $ only by filters of $ [MQTT-4.7.2-1]", () => {
    const h = new CoreHarness()
    const publisher = ready(h, "p")
    for (const topic of ["a", "a/b", "a/b/c", "b/b", "$foo/b", "/x"]) retain(publisher, topic, "x")
    const topics = (filter: string) => told(h, filter).map((word) => word.split(" ")[1])
    assert.deepStrictEqual(topics("#"), ["/x", "a", "a/b", "a/b/c", "b/b"])
    assert.deepStrictEqual(topics("+/b"), ["a/b", "b/b"])
    assert.deepStrictEqual(topics("a/#"), ["a", "a/b", "a/b/c"])
    assert.deepStrictEqual(topics("+/+"), ["/x", "a/b", "b/b"])
    assert.deepStrictEqual(topics("$foo/#"), ["$foo/b"])
    assert.deepStrictEqual(topics("+"), ["a"])
  })

  it("comes for each filter of a SUBSCRIBE that is granted", () => {
    const h = new CoreHarness()
    retain(ready(h, "p"), "t", "x")
    assert.deepStrictEqual(told(h, "t", "$share/g/t", "a/#/b"), ['Publish t "x" q0 retain'])
    assert.strictEqual(told(h, "t", "+").length, 2)
  })

  it("of QoS 2 is retained at PUBREL", () => {
    const h = new CoreHarness()
    const publisher = ready(h, "p")
    publisher.publish("t", "x", { qos: 2, packetId: 1, retain: true })
    assert.deepStrictEqual(told(h, "t"), [])
    publisher.pubRel(1)
    assert.deepStrictEqual(told(h, "t"), ['Publish t "x" q2 #1 retain'])
  })

  it("waits in line with what is in flight, and keeps RETAIN when it is sent again", () => {
    const h = new CoreHarness()
    const publisher = ready(h, "p")
    for (const topic of ["t/1", "t/2", "t/3"]) retain(publisher, topic, "x", { qos: 1 })
    const options = { ...kept(5), properties: { receiveMaximum: 2 } }
    const client = ready(h, "a", options)
    client.subscribe("t/#")
    assert.strictEqual(client.takeWords().length, 3)
    client.drop()
    const again = h.connect("a", options)
    const words = again.takeWords()
    assert.deepStrictEqual(words, [
      "ConnAck 0 present",
      'Publish t/1 "x" q1 #1 dup retain',
      'Publish t/2 "x" q1 #2 dup retain'
    ])
    again.pubAck(1)
    assert.deepStrictEqual(again.takeWords(), ['Publish t/3 "x" q1 #3 retain'])
  })

  it("survives set, delete and subscribe in any order (known failure 30)", () => {
    const h = new CoreHarness()
    const publisher = ready(h, "p")
    const client = ready(h, "a")
    h.together(() => {
      for (let round = 0; round < 200; round++) {
        retain(publisher, `t/${round % 3}`, round % 2 === 0 ? "x" : "")
        client.subscribe("t/#")
        if (round % 5 === 0) client.unsubscribe("t/#")
      }
    })
    for (let index = 0; index < 3; index++) retain(publisher, `t/${index}`, "")
    assert.strictEqual(h.core.retained.size, 0)
    assert.strictEqual(h.core.retained.nodeCount, 0)
    assert.deepStrictEqual(told(h, "#"), [])
  })
})

describe("expiry of retained messages", () => {
  const expiring = (seconds: number) => ({ properties: { messageExpiryInterval: seconds } })

  it("tells what is left of the interval [MQTT-3.3.2-6]", () => {
    const h = new CoreHarness()
    retain(ready(h, "p", { version: 5 }), "t", "x", expiring(60))
    h.advance(20_000)
    const client = ready(h, "a", { version: 5 })
    client.subscribe("t")
    const [publish] = all(client, "Publish")
    assert.strictEqual(publish!.properties?.messageExpiryInterval, 40)
  })

  it("takes them away in time, without anybody asking [MQTT-3.3.2-5]", () => {
    const h = new CoreHarness({ config: { retainedMessagesMax: 2 } })
    const publisher = ready(h, "p", { version: 5 })
    retain(publisher, "t/1", "x", expiring(10))
    retain(publisher, "t/2", "x", expiring(20))
    h.advance(9_999)
    assert.strictEqual(told(h, "t/+").length, 2)
    h.advance(101)
    assert.strictEqual(h.core.retained.size, 1)
    retain(publisher, "t/3", "x", { qos: 1 })
    assert.deepStrictEqual(publisher.takeWords(), ["PubAck 1 0x10"]) // there is room again
    h.advance(10_000)
    assert.deepStrictEqual(told(h, "t/+"), ['Publish t/3 "x" q1 #1 retain'])
  })

  it("is that of the last message", () => {
    const h = new CoreHarness()
    const publisher = ready(h, "p", { version: 5 })
    retain(publisher, "t", "short", expiring(10))
    retain(publisher, "t", "long", expiring(100))
    h.advance(50_000)
    assert.strictEqual(told(h, "t").length, 1)
    retain(publisher, "t", "ever")
    h.advance(1_000_000)
    assert.deepStrictEqual(told(h, "t"), ['Publish t "ever" q0 retain'])
  })

  it("goes on after a restart", () => {
    const h = new CoreHarness({ store: "on-time" })
    retain(ready(h, "p", { version: 5 }), "t", "x", expiring(10))
    h.advance(5_000)
    h.crash()
    assert.strictEqual(h.core.retained.size, 1)
    h.advance(5_101)
    assert.strictEqual(h.core.retained.size, 0)
    assert.strictEqual([...h.store.memory.records()].filter(({ _tag }) => _tag === "PutRetained").length, 0)
  })
})

describe("limits on retained messages", () => {
  it("are told to 5.0 with 0x97, and the message is delivered all the same", () => {
    for (const version of versions) {
      const h = new CoreHarness({ config: { retainedMessagesMax: 2 } })
      const live = subscriber(h, "live", {}, "#")
      const publisher = ready(h, "p", { version })
      for (const topic of ["t/1", "t/2", "t/3"]) retain(publisher, topic, "x", { qos: 1 })
      const refused = version === 5 ? "PubAck 3 0x97" : "PubAck 3"
      assert.deepStrictEqual(publisher.takeWords(), ["PubAck 1", "PubAck 2", refused])
      retain(publisher, "t/4", "x")
      retain(publisher, "t/5", "x", { qos: 2 })
      assert.strictEqual(live.takePayloads().length, 5)
      assert.strictEqual(h.core.retained.size, 2)
      publisher.take()
      retain(publisher, "t/1", "y", { qos: 1 }) // in place of another: no more than before
      retain(publisher, "t/2", "", { qos: 1 })
      retain(publisher, "t/3", "z", { qos: 1 })
      assert.deepStrictEqual(publisher.takeWords(), ["PubAck 5", "PubAck 6", "PubAck 7"])
      assert.deepStrictEqual(told(h, "#"), ['Publish t/1 "y" q1 #1 retain', 'Publish t/3 "z" q1 #2 retain'])
    }
  })

  it("count bytes too, and give back what is replaced or deleted", () => {
    const h = new CoreHarness({ config: { retainedBytesMax: 1_000 } })
    const publisher = subscriber(h, "p", { version: 5 }, "#")
    const stored = (topic: string, length: number): boolean => {
      retain(publisher, topic, "x".repeat(length), { qos: 1 })
      const code = all(publisher, "PubAck")[0]!.reasonCode
      return code === 0
    }
    assert.isTrue(stored("t/1", 900))
    assert.isFalse(stored("t/2", 900))
    assert.isTrue(stored("t/1", 100))
    assert.isTrue(stored("t/2", 800))
    assert.isFalse(stored("t/1", 300))
    assert.isTrue(stored("t/2", 0))
    assert.isTrue(stored("t/1", 300))
    assert.isFalse(stored("t/3", 2_000))
    assert.isTrue(stored("t/1", 0))
    for (let round = 0; round < 100; round++) assert.isTrue(stored("t/1", 900))
  })

  it("of 0 mean that nothing is retained", () => {
    const h = new CoreHarness({ config: { retainedMessagesMax: 0 } })
    const publisher = ready(h, "p", { version: 5 })
    retain(publisher, "t", "x", { qos: 1 })
    assert.strictEqual(only(publisher, "PubAck").reasonCode, 0x97)
    assert.deepStrictEqual(told(h, "t"), [])
  })
})

describe("a message that there is no room to retain", () => {
  it("is told and counted at every QoS, because no PUBREC or PUBCOMP can say it", () => {
    for (const version of versions) {
      const h = new CoreHarness({ config: { retainedMessagesMax: 0 }, events: ["MessageDropped"] })
      const reader = subscriber(h, "r", {}, "#")
      const client = ready(h, "a", { version })
      for (const qos of [0, 1, 2] as const) client.publish(`t/${qos}`, "x", { qos, packetId: 7, retain: true })
      client.pubRel(7)
      h.core.publish({ topic: "local", payload: new Uint8Array(1), qos: 2, retain: true }, h.now)
      h.settle()
      const lost = { _tag: "MessageDropped", clientId: "", reason: "not-retained" } as const
      assert.deepStrictEqual(h.takeEvents(), [
        { ...lost, topic: "t/0", qos: 0 },
        { ...lost, topic: "t/1", qos: 1 },
        { ...lost, topic: "t/2", qos: 2 },
        { ...lost, topic: "local", qos: 2 }
      ])
      assert.strictEqual(h.core.stats.messagesDropped, 4)
      assert.strictEqual(all(reader, "Publish").length, 4)
      assert.strictEqual(h.core.retained.size, 0)
    }
  })

  it("is not counted when this program is told: it asked for nothing else", () => {
    const h = new CoreHarness({ config: { retainedMessagesMax: 0 } })
    const parts = { topic: "t", payload: new Uint8Array(1), qos: 0, retain: true } as const
    assert.strictEqual(h.core.setRetained(parts, h.now), "retainedMessagesMax")
    assert.strictEqual(h.core.stats.messagesDropped, 0)
  })
})
