/**
 * Every limit of `CoreConfig` at its edge and one beyond. Retained messages, slow readers and time limits have tests of
 * their own (`Retained`, `SlowConsumer`, `Supervision`); here they only appear together, at 0.
 */
import { assert, describe, it } from "@effect/vitest"
import { type CoreConfig, defaults, type QueueOverflow } from "../../src/core/CoreConfig.ts"
import * as Encoder from "../../src/protocol/Encoder.ts"
import { CoreHarness } from "./CoreHarness.ts"
import type { TestClient } from "./TestClient.ts"
import { all, asHeard, hex, kept, only, ready, subscriber, versions } from "./support/Clients.ts"

describe("packetBytesMax", () => {
  it("is the whole packet, in every version; beyond it 0x95 and close", () => {
    for (const version of versions) {
      const h = new CoreHarness({ config: { packetBytesMax: 1_000 } })
      const watcher = subscriber(h, "w", {}, "t")
      const client = ready(h, "a", { version })
      const overhead = Encoder.byteLength(client.publication("t", new Uint8Array(900)), version) - 900
      client.publish("t", new Uint8Array(1_000 - overhead))
      assert.strictEqual(all(watcher, "Publish").length, 1)
      client.publish("t", new Uint8Array(1_001 - overhead))
      assert.deepStrictEqual(client.takeWords(), version === 5 ? ["Disconnect 0x95"] : [])
      assert.isTrue(client.closed)
      assert.deepStrictEqual(watcher.take(), [])
    }
  })

  it("bounds CONNECT too when it is the smaller one", () => {
    const h = new CoreHarness({ config: { packetBytesMax: 100, packetBytesBeforeConnectMax: 1_000 } })
    const client = h.connect("x".repeat(200))
    assert.isTrue(client.closed)
    assert.deepStrictEqual(client.take(), [])
  })
})

describe("packetBytesBeforeConnectMax", () => {
  it("is the whole first packet, and holds only for that (known failure 1)", () => {
    const h = new CoreHarness({ config: { packetBytesBeforeConnectMax: 100 } })
    const overhead = 2 + 10 + 2
    ready(h, "x".repeat(100 - overhead))
    const larger = h.connect("x".repeat(101 - overhead))
    assert.isTrue(larger.closed)
    assert.deepStrictEqual(larger.take(), [])
    const client = h.clients[0]!
    client.subscribe("t")
    client.publish("t", new Uint8Array(5_000))
    assert.strictEqual(all(client, "Publish").length, 1)
  })
})

describe("topicLevelsMax", () => {
  it("is 0x90 for a name, and 0x8F for a filter", () => {
    const h = new CoreHarness({ config: { topicLevelsMax: 3 } })
    const client = ready(h, "a", { version: 5 })
    client.subscribe("a/b/c", "+/+/#", "$share/g/a/b/c", "a/b/c/d", "a/b/c/#", "$share/g/a/b/c/d")
    assert.deepStrictEqual(only(client, "SubAck").reasonCodes, [2, 2, 2, 0x8f, 0x8f, 0x8f])
    client.publish("a/b/c", "x")
    assert.isAbove(client.takePayloads().length, 0)
    client.publish("a/b/c/d", "x")
    assert.deepStrictEqual(client.takeWords(), ["Disconnect 0x90"])
  })
})

describe("userPropertiesMax", () => {
  it("is per packet, also in CONNECT and its will; beyond it 0x97 (known failure 4)", () => {
    const h = new CoreHarness({ config: { userPropertiesMax: 2 } })
    const pairs = (count: number) => ({ userProperties: Array.from({ length: count }, () => ["k", "v"] as const) })
    const client = subscriber(h, "a", { version: 5, properties: pairs(2) }, "t")
    client.publish("t", "x", { properties: pairs(2) })
    assert.strictEqual(only(client, "Publish").properties?.userProperties?.length, 2)
    client.publish("t", "x", { properties: pairs(3) })
    assert.deepStrictEqual(client.takeWords(), ["Disconnect 0x97"])
    const will = { topic: "w", payload: new Uint8Array(0), qos: 0, retain: false } as const
    for (const options of [{ properties: pairs(3) }, { will: { ...will, properties: pairs(3) } }]) {
      const refused = h.connect("b", { version: 5, ...options })
      assert.deepStrictEqual(refused.takeWords(), [`ConnAck ${0x97}`])
      assert.isTrue(refused.closed)
    }
  })
})

describe("sessionsMax", () => {
  it("counts sessions, connected or not; whoever has one may come back, and room is made by those who leave", () => {
    const h = new CoreHarness({ config: { sessionsMax: 2 } })
    ready(h, "kept", kept(5)).drop()
    const client = ready(h, "b", { version: 5 })
    assert.deepStrictEqual(h.connect("c", { version: 5 }).takeWords(), [`ConnAck ${0x97}`])
    assert.deepStrictEqual(h.connect("", { version: 5 }).takeWords(), [`ConnAck ${0x97}`])
    assert.deepStrictEqual(h.connect("kept", kept(5)).takeWords(), ["ConnAck 0 present"])
    assert.deepStrictEqual(h.connect("kept", { version: 5 }).takeWords(), ["ConnAck 0"])
    client.drop()
    assert.deepStrictEqual(h.connect("c", { version: 5 }).takeWords(), ["ConnAck 0"])
    assert.strictEqual(h.core.sessions.size, 2)
  })
})

describe("subscriptionsPerSessionMax", () => {
  it("is 0x97 for each filter beyond it; replacing and others' sessions are free", () => {
    for (const [version, refused] of [
      [4, 0x80],
      [5, 0x97]
    ] as const) {
      const h = new CoreHarness({ config: { subscriptionsPerSessionMax: 2 } })
      const client = ready(h, "a", { version })
      client.subscribe("one", "two", "three", "$share/g/four", "one")
      assert.deepStrictEqual(only(client, "SubAck").reasonCodes, [2, 2, refused, refused, 2])
      assert.isFalse(client.closed)
      client.unsubscribe("one")
      client.subscribe("three")
      assert.deepStrictEqual(all(client, "SubAck")[0]!.reasonCodes, [2])
      subscriber(h, "b", {}, "one", "two")
      assert.strictEqual(h.core.subscriptionCount, 4)
    }
  })
})

describe("topicAliasMaximum", () => {
  it("is told and kept to; 0 allows none [MQTT-3.3.2-9]", () => {
    for (const [topicAliasMaximum, alias, legal] of [
      [3, 3, true],
      [3, 4, false],
      [0, 1, false],
      [65_535, 65_535, true]
    ] as const) {
      const h = new CoreHarness({ config: { topicAliasMaximum } })
      const client = h.connect("a", { version: 5 })
      assert.strictEqual(only(client, "ConnAck").properties?.topicAliasMaximum ?? 0, topicAliasMaximum)
      client.publish("t", "x", { properties: { topicAlias: alias } })
      assert.deepStrictEqual(client.takeWords(), legal ? [] : ["Disconnect 0x94"])
    }
  })
})

describe("receiveMaximum", () => {
  it("is told to 5.0, and holds for QoS 1 that waits for the store", () => {
    const h = new CoreHarness({ config: { receiveMaximum: 2 }, store: "manual" })
    subscriber(h, "a", {}, { filter: "t", qos: 1 })
    ready(h, "kept", { version: 5, clean: true }) // not durable: its CONNACK does not wait
    const publisher = ready(h, "p", { version: 5 })
    const send = () => publisher.publish("t", "x", { qos: 1, retain: true }) // the store keeps what is retained
    send()
    send()
    assert.deepStrictEqual(publisher.take(), [])
    h.commit()
    assert.deepStrictEqual(publisher.takeWords(), ["PubAck 1", "PubAck 2"])
    send()
    send()
    send()
    assert.deepStrictEqual(publisher.takeWords(), ["Disconnect 0x93"])
  })
})

describe("inflightMax", () => {
  it("bounds what is unacknowledged where the client names no lower number", () => {
    for (const version of versions) {
      const h = new CoreHarness({ config: { inflightMax: 2 } })
      const client = subscriber(h, "a", { version }, "t")
      const publisher = ready(h, "p")
      for (let index = 0; index < 5; index++) publisher.publish("t", `${index}`, { qos: 1 })
      assert.deepStrictEqual(client.takePayloads(), ["0", "1"])
      client.pubAck(1)
      client.pubAck(2)
      assert.deepStrictEqual(client.takePayloads(), ["2", "3"])
    }
  })

  it("yields to the client's Receive Maximum, the lower of both", () => {
    for (const [receiveMaximum, expected] of [
      [1, 1],
      [2, 2],
      [65_535, 3]
    ] as const) {
      const h = new CoreHarness({ config: { inflightMax: 3 } })
      const client = subscriber(h, "a", { version: 5, properties: { receiveMaximum } }, "t")
      const publisher = ready(h, "p")
      for (let index = 0; index < 5; index++) publisher.publish("t", "x", { qos: 1 })
      assert.strictEqual(client.takePayloads().length, expected)
    }
  })
})

describe("the queue of a session", () => {
  const offline = (config: Partial<CoreConfig>) => {
    const h = new CoreHarness({ config, events: ["MessageDropped"] })
    subscriber(h, "a", kept(4), "t").drop()
    const publisher = ready(h, "p", { version: 5 })
    const send = (...payloads: ReadonlyArray<string>) => {
      for (const payload of payloads) publisher.publish("t", payload, { qos: 1 })
    }
    const received = () => h.connect("a", kept(4)).takePayloads()
    return { h, publisher, send, received }
  }
  const policies: ReadonlyArray<readonly [QueueOverflow, ReadonlyArray<string>]> = [
    ["drop-newest", ["1", "2", "3"]],
    ["drop-oldest", ["3", "4", "5"]],
    ["disconnect", ["1", "2", "3"]] // nobody there to disconnect: the newest go
  ]

  for (const [queueOverflow, expected] of policies) {
    it(`holds queueMessagesMax, and then ${queueOverflow}`, () => {
      const { h, publisher, send, received } = offline({ queueMessagesMax: 3, queueOverflow })
      send("1", "2", "3")
      assert.strictEqual(h.core.stats.messagesDropped, 0)
      send("4", "5")
      assert.strictEqual(h.core.stats.messagesDropped, 2)
      const dropped = h.takeEvents()
      assert.strictEqual(dropped.length, 2)
      for (const event of dropped) {
        assert.deepStrictEqual(event, {
          _tag: "MessageDropped",
          clientId: "a",
          topic: "t",
          qos: 1,
          reason: "queue-full"
        })
      }
      assert.strictEqual(all(publisher, "PubAck").length, 5) // the publisher has nothing to do with it
      assert.deepStrictEqual(received(), expected)
    })
  }

  it("holds queueBytesMax", () => {
    for (const [queueOverflow, expected] of policies.slice(0, 2)) {
      // Three messages of 300 bytes fit in 1,000, a fourth does not.
      const { h, send, received } = offline({ queueBytesMax: 1_000, queueOverflow })
      send(...["1", "2", "3", "4", "5"].map((digit) => digit.repeat(300)))
      assert.strictEqual(h.core.stats.messagesDropped, 2)
      assert.deepStrictEqual(
        received().map((payload) => payload.slice(0, 1)),
        [...expected]
      )
    }
  })

  it("is not emptied for a message that never fits", () => {
    for (const queueOverflow of ["drop-newest", "drop-oldest"] as const) {
      const { send, received } = offline({ queueBytesMax: 1_000, queueOverflow })
      send("1", "2", "x".repeat(2_000), "3")
      assert.deepStrictEqual(received(), ["1", "2", "3"])
    }
  })

  it("also bounds what waits for a client that is there and does not acknowledge", () => {
    for (const [queueOverflow, expected] of [
      ["drop-newest", ["2", "3"]],
      ["drop-oldest", ["4", "5"]]
    ] as const) {
      const h = new CoreHarness({ config: { inflightMax: 1, queueMessagesMax: 2, queueOverflow } })
      const client = subscriber(h, "a", {}, "t")
      const publisher = ready(h, "p")
      for (const payload of ["1", "2", "3", "4", "5"]) publisher.publish("t", payload, { qos: 1 })
      assert.deepStrictEqual(client.takePayloads(), ["1"])
      const rest: Array<string> = []
      for (let packetId = 1; packetId <= 3; packetId++) {
        client.pubAck(packetId)
        rest.push(...client.takePayloads())
      }
      assert.deepStrictEqual(rest, [...expected])
    }
  })

  it("disconnects the client that lets it overflow, where that is the policy, and keeps its messages", () => {
    for (const version of versions) {
      const h = new CoreHarness({ config: { inflightMax: 1, queueMessagesMax: 2, queueOverflow: "disconnect" } })
      const client = subscriber(h, "a", kept(version), "t")
      const other = subscriber(h, "b", {}, { filter: "t", qos: 0 })
      const publisher = ready(h, "p")
      for (const payload of ["1", "2", "3"]) publisher.publish("t", payload, { qos: 1 })
      assert.isFalse(client.closed)
      publisher.publish("t", "4", { qos: 1 })
      assert.isTrue(client.closed)
      assert.deepStrictEqual(client.takeWords().slice(1), version === 5 ? ["Disconnect 0x97"] : [])
      assert.strictEqual(all(publisher, "PubAck").length, 4)
      assert.deepStrictEqual(other.takePayloads(), ["1", "2", "3", "4"])
      const again = h.connect("a", kept(version))
      for (let packetId = 1; packetId <= 3; packetId++) again.pubAck(packetId)
      assert.deepStrictEqual(again.takePayloads(), ["1", "2", "3"])
    }
  })

  it("ends overflowing clients also when a will or the broker itself is the cause", () => {
    const config = { inflightMax: 1, queueMessagesMax: 0, queueOverflow: "disconnect" } as const
    const will = { topic: "t", payload: new Uint8Array(1), qos: 1, retain: false, properties: undefined } as const
    for (const cause of ["will", "local"] as const) {
      const h = new CoreHarness({ config })
      const client = subscriber(h, "a", {}, "t")
      const dying = ready(h, "b", { will })
      ready(h, "p").publish("t", "1", { qos: 1 })
      if (cause === "will") dying.drop()
      else h.core.publish({ ...will }, h.now)
      h.settle()
      assert.isTrue(client.closed, cause)
    }
  })

  it("of 0 messages holds none, and what can be sent at once is sent", () => {
    const h = new CoreHarness({ config: { queueMessagesMax: 0, inflightMax: 1 } })
    const client = subscriber(h, "a", kept(4), "t")
    const publisher = ready(h, "p")
    publisher.publish("t", "1", { qos: 1 })
    publisher.publish("t", "2", { qos: 1 })
    assert.deepStrictEqual(client.takePayloads(), ["1"])
    client.drop()
    publisher.publish("t", "3", { qos: 1 })
    assert.deepStrictEqual(h.connect("a", kept(4)).takePayloads(), ["1"])
  })

  it("takes QoS 0 only where queueQos0 says so, and only for sessions that are kept", () => {
    for (const queueQos0 of [false, true]) {
      const { publisher, received } = offline({ queueQos0 })
      for (const payload of ["1", "2"]) publisher.publish("t", payload)
      publisher.publish("t", "3", { qos: 1 })
      assert.deepStrictEqual(received(), queueQos0 ? ["1", "2", "3"] : ["3"])
    }
  })

  it("keeps QoS 0 in order behind what it still holds [MQTT-4.6.0-5]", () => {
    const { h, publisher } = offline({ queueQos0: true, inflightMax: 1 })
    publisher.publish("t", "1", { qos: 1 })
    publisher.publish("t", "2", { qos: 1 })
    publisher.publish("t", "zero 1")
    const again = h.connect("a", kept(4))
    publisher.publish("t", "zero 2")
    assert.deepStrictEqual(again.takePayloads(), ["1"])
    again.pubAck(1)
    again.pubAck(2)
    publisher.publish("t", "zero 3")
    assert.deepStrictEqual(again.takePayloads(), ["2", "zero 1", "zero 2", "zero 3"])
  })
})

describe("journalBytesMax", () => {
  it("stops reading those who wait for the store, until there is room", () => {
    const h = new CoreHarness({ config: { journalBytesMax: 5_000 }, store: "manual" })
    const bystander = ready(h, "b")
    const publisher = ready(h, "p")
    for (let index = 0; index < 20; index++) publisher.publish(`t/${index}`, "x".repeat(500), { qos: 1, retain: true })
    assert.isFalse(publisher.reading)
    assert.isTrue(bystander.reading)
    bystander.ping()
    only(bystander, "PingResp")
    const held = h.store.waiting
    assert.isBelow(held, 15)
    while (!publisher.reading || h.store.waiting > 0) h.commit()
    assert.strictEqual(all(publisher, "PubAck").length, 20)
    assert.strictEqual(h.core.retained.size, 20)
  })

  /** Publishes at QoS 1, a message a turn, until it is not read or has published a hundred; returns how many. */
  const flood = (publisher: TestClient, topic: string, published: () => void): number => {
    let count = 0
    while (publisher.reading && count < 100) {
      publisher.publish(topic, "x", { qos: 1 })
      published()
      count++
    }
    return count
  }

  it("bounds what waits for a commit that hangs, also when messages are acknowledged meanwhile", () => {
    const h = new CoreHarness({ config: { journalBytesMax: 5_000 }, store: "manual" })
    const receiver = h.connect("r", { clean: false })
    h.commit()
    receiver.subscribe("t")
    h.commit()
    receiver.take()
    const publisher = ready(h, "p")
    const answer = () => {
      for (const { packetId } of all(receiver, "Publish")) receiver.pubAck(packetId ?? 0)
    }
    assert.isBelow(flood(publisher, "t", answer), 50)
    while (!publisher.reading) h.commit()
    assert.strictEqual(h.core.journal.waitingBytes, 0)
  })

  it("bounds acknowledgements that wait behind one that the store holds up", () => {
    const h = new CoreHarness({ config: { journalBytesMax: 5_000 }, store: "manual" })
    const publisher = ready(h, "p")
    publisher.publish("kept", "x", { qos: 1, retain: true })
    assert.isBelow(
      flood(publisher, "nobody/has/this", () => {}),
      90
    )
    h.commit()
    assert.isTrue(publisher.reading)
    assert.strictEqual(h.core.journal.waitingBytes, 0)
  })

  it("counts nothing of a connection that has gone", () => {
    const h = new CoreHarness({ store: "manual" })
    const publisher = ready(h, "p")
    publisher.publish("kept", "x", { qos: 1, retain: true })
    publisher.publish("nobody/has/this", "x", { qos: 1 })
    publisher.drop()
    h.commit()
    assert.strictEqual(h.core.journal.waitingBytes, 0)
  })
})

describe("limits of 0", () => {
  // Receive Maximum has no 0 on the wire, and the shell's config takes none.
  const numbers = Object.entries(defaults).flatMap(([name, value]) =>
    typeof value === "number" && name !== "receiveMaximum" ? [name] : []
  )

  it("cover every number there is", () => {
    assert.isAbove(numbers.length, 18)
  })

  for (const name of numbers) {
    it(`do not break anything: ${name} (known failure 26)`, () => {
      const h = new CoreHarness({ config: { [name]: 0 } })
      for (const version of versions) {
        const client = h.connect("a", {
          version,
          clean: false,
          keepAliveSeconds: 10,
          expiry: version === 5 ? 5 : undefined
        })
        client.subscribe("t/#")
        for (const qos of [0, 1, 2] as const) client.publish("t/x", "x", { qos, packetId: 9, retain: true })
        client.pubRel(9)
        client.pubAck(1)
        client.pubRec(2)
        client.pubComp(2)
        h.advance(1_000)
        client.freeze()
        client.publish("t/y", "y".repeat(1_000))
        h.advance(60_000)
        client.accept()
        client.drop()
      }
      h.advance(1_000_000)
      assert.strictEqual(h.core.connections.size, 0)
    })
  }
})

describe("these tests", () => {
  it("send what they say", () => {
    const client = new CoreHarness().open(5)
    const packet = client.publication("t", "x", { qos: 1, packetId: 3, properties: { topicAlias: 2 } })
    const heard = asHeard(packet, 5)
    assert.strictEqual(heard?._tag, "Publish")
    assert.deepStrictEqual([...Encoder.encode(packet, 5)], [...hex("32 0a 00 01 74 00 03 03 23 00 02 78")])
  })
})
