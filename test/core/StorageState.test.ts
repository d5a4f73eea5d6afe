import { assert, describe, it } from "@effect/vitest"
import { CoreHarness } from "./CoreHarness.ts"
import type { ConnectOptions, TestClient } from "./TestClient.ts"

const durable: ConnectOptions = { clean: false }

/** Tags of what is journalled from here on. */
const tagsSince = (harness: CoreHarness, from: number): Array<string> =>
  harness.operations.slice(from).map(({ _tag }) => _tag)

describe("a store that is full or failed", () => {
  for (const state of ["full", "failed"] as const) {
    it(`${state}: refuses what would have to be stored, in 5.0 with 0x97, and changes nothing`, () => {
      const harness = new CoreHarness({ store: "on-time" })
      const client = harness.connect("c", { version: 5, clean: false, expiry: 60 })
      client.take()
      const before = harness.operations.length
      harness.storageState(state)
      client.publish("t", "", { qos: 1, packetId: 1, retain: true })
      client.publish("t", "", { qos: 2, packetId: 2 })
      client.subscribe("a", "b") // packet id 1 of its own counter
      assert.deepStrictEqual(client.takeWords(), ["PubAck 1 0x97", "PubRec 2 0x97", "SubAck 1 [151,151]"])
      const durableConnect = harness.connect("other", { version: 5, clean: false, expiry: 60 })
      assert.deepStrictEqual(durableConnect.takeWords(), ["ConnAck 151"])
      assert.isTrue(durableConnect.closed)
      const takeover = harness.connect("c", { version: 5, clean: false, expiry: 60 })
      assert.deepStrictEqual(takeover.takeWords(), ["ConnAck 151"])
      assert.isFalse(client.closed)
      assert.deepStrictEqual(tagsSince(harness, before), [])
      assert.strictEqual(harness.session("c")?.subscriptions.size, 0)
      assert.strictEqual(harness.session("c")?.incomingSize, 0)
      assert.strictEqual(harness.core.retained.size, 0)
      assert.isUndefined(harness.session("other"))
      harness.storageState("ok")
      client.publish("t", "", { qos: 1, packetId: 3 })
      assert.deepStrictEqual(client.takeWords(), ["PubAck 3 0x10"])
    })
  }

  it("lets QoS 0, sessions that end with their connection, and what is underway go on", () => {
    const harness = new CoreHarness({ store: "on-time" })
    const durableReader = harness.connect("d", durable)
    durableReader.subscribe("t")
    harness.connect("p").publish("t", "before", { qos: 2 })
    const publisher = harness.connect("q", durable)
    publisher.publish("t", "begun", { qos: 2, packetId: 1 })
    publisher.take()
    durableReader.take()
    harness.storageState("full")
    const reader = harness.connect("r")
    reader.subscribe("t")
    publisher.publish("t", "zero")
    assert.deepStrictEqual(reader.takeWords(), ["ConnAck 0", "SubAck 1 [2]", 'Publish t "zero" q0'])
    assert.deepStrictEqual(durableReader.takePayloads(), ["zero"])
    publisher.publish("t", "begun", { qos: 2, packetId: 1, dup: true })
    publisher.pubRel(1)
    assert.deepStrictEqual(publisher.takeWords(), ["PubRec 1", "PubComp 1"])
    assert.deepStrictEqual(reader.takeWords(), ['Publish t "begun" q2 #1'])
    assert.deepStrictEqual(durableReader.takeWords(), ['Publish t "begun" q2 #1'])
    durableReader.unsubscribe("t")
    assert.deepStrictEqual(durableReader.takeWords(), ["UnsubAck 2 []"])
  })

  it("keeps no retained message of QoS 0 that it could not store: the journal would grow without end", () => {
    const harness = new CoreHarness({ store: "manual" })
    const reader = harness.connect("r")
    reader.subscribe("t/#")
    const publisher = harness.connect("p")
    harness.storageState("full")
    for (let count = 0; count < 100; count++) publisher.publish(`t/${count}`, "live", { retain: true })
    assert.strictEqual(reader.takePayloads().length, 100)
    assert.strictEqual(harness.core.journal.bytes, 0)
    assert.strictEqual(harness.core.retained.size, 0)
  })

  it("does not read a 3.1.1 publisher until the store recovers, and then handles what it sent", () => {
    const harness = new CoreHarness({ store: "on-time" })
    const reader = harness.connect("r")
    reader.subscribe("t")
    const publisher = harness.connect("p", { keepAliveSeconds: 5 })
    reader.take()
    publisher.take()
    harness.storageState("full")
    publisher.send(
      publisher.publication("t", "1", { qos: 1, packetId: 1 }),
      publisher.publication("t", "2", { qos: 2, packetId: 2 }),
      publisher.publication("t", "3")
    )
    assert.isFalse(publisher.reading)
    harness.advance(29_000)
    assert.deepStrictEqual(publisher.take(), [])
    assert.deepStrictEqual(reader.take(), [])
    assert.isFalse(publisher.closed)
    harness.storageState("ok")
    assert.isTrue(publisher.reading)
    assert.deepStrictEqual(publisher.takeWords(), ["PubAck 1", "PubRec 2"])
    assert.deepStrictEqual(reader.takePayloads(), ["1", "3"])
    harness.advance(7_000)
    assert.isFalse(publisher.closed)
    harness.advance(1_000)
    assert.isTrue(publisher.closed)
  })

  it("closes a 3.1.1 publisher unacknowledged when the store does not recover within the drain timeout", () => {
    const harness = new CoreHarness({ store: "on-time", events: ["Disconnected"] })
    const publisher = harness.connect("p")
    publisher.take()
    harness.storageState("full")
    publisher.publish("t", "1", { qos: 1, packetId: 1 })
    harness.advance(30_200)
    assert.isTrue(publisher.closed)
    assert.deepStrictEqual(publisher.take(), [])
    const [event] = harness.takeEvents()
    assert.strictEqual(event?._tag === "Disconnected" && event.description, "The store was full for too long.")
    harness.storageState("ok")
    assert.deepStrictEqual(publisher.take(), [])
    assert.strictEqual(harness.core.connections.size, 0)
  })

  it("gives a 3.1.1 publisher a new drain timeout each time", () => {
    const harness = new CoreHarness({ store: "on-time" })
    const publisher = harness.connect("p")
    for (let round = 1; round <= 3; round++) {
      harness.storageState("failed")
      publisher.publish("t", "", { qos: 1, packetId: round })
      harness.advance(20_000)
      harness.storageState("ok")
    }
    assert.deepStrictEqual(publisher.takeWords(), ["ConnAck 0", "PubAck 1", "PubAck 2", "PubAck 3"])
  })

  it("says 0x80 to a 3.1.1 SUBSCRIBE and 3 to a 3.1.1 CONNECT", () => {
    const harness = new CoreHarness({ store: "on-time" })
    const client = harness.connect("c", durable)
    harness.storageState("full")
    client.subscribe("a", "b")
    assert.deepStrictEqual(client.takeWords(), ["ConnAck 0", "SubAck 1 [128,128]"])
    const other = harness.connect("d", durable)
    const [connAck] = other.take()
    assert.strictEqual(connAck?._tag === "ConnAck" && connAck.reasonCode, 0x88) // return code 3, server unavailable
    assert.isTrue(other.closed)
  })
})

describe("messages that wait for a slow store", () => {
  const publishes = (client: TestClient, qos: 1 | 2, count: number): void =>
    client.send(...Array.from({ length: count }, () => client.publication("t", "", { qos })))

  for (const version of [3, 4] as const) {
    it(`may be any number of QoS 1 from a client of version ${version}, which knows no maximum`, () => {
      const harness = new CoreHarness({ store: "manual", config: { receiveMaximum: 10 } })
      harness.connectDurable("s", "t")
      const publisher = harness.connect("p", { version })
      publishes(publisher, 1, 500)
      assert.isFalse(publisher.closed)
      harness.commit()
      assert.strictEqual(publisher.take().length, 501)
      publishes(publisher, 2, 10)
      assert.isFalse(publisher.closed)
      publishes(publisher, 2, 1)
      assert.isTrue(publisher.closed) // a QoS 2 message is kept until PUBREL comes: that is bounded for everybody
    })
  }

  it("may be as many as the Receive Maximum that a 5.0 client was told", () => {
    const harness = new CoreHarness({ store: "manual", config: { receiveMaximum: 10 } })
    harness.connectDurable("s", "t")
    const publisher = harness.connect("p", { version: 5, clean: false, expiry: 9 })
    harness.commit()
    publishes(publisher, 1, 5)
    publishes(publisher, 2, 5)
    harness.commit()
    assert.strictEqual(publisher.take().length, 11)
    publishes(publisher, 1, 5) // five QoS 2 are not released
    assert.isFalse(publisher.closed)
    publishes(publisher, 1, 1)
    assert.deepStrictEqual(publisher.takeWords(), ["Disconnect 0x93"])
  })
})

describe("a journal that grows too long", () => {
  it("stops reading connections whose work waits, and reads them when the store has caught up", () => {
    const harness = new CoreHarness({ store: "manual", config: { journalBytesMax: 10_000 } })
    harness.connectDurable("s", "t").drop()
    harness.commit()
    const publisher = harness.connect("p")
    const bystander = harness.connect("b")
    publisher.take()
    const payload = new Uint8Array(1_000)
    let sent = 0
    for (; publisher.reading && sent < 50; sent++) publisher.publish("t", payload, { qos: 1 })
    assert.isBelow(sent, 12)
    assert.isAtMost(harness.core.journal.bytes, 12_000)
    for (let more = 0; more < 5; more++) publisher.publish("t", payload, { qos: 1 })
    assert.isAtMost(harness.core.journal.bytes, 12_000)
    assert.isTrue(bystander.reading)
    bystander.ping()
    assert.deepStrictEqual(bystander.takeWords(), ["ConnAck 0", "PingResp"])
    harness.commit()
    assert.isTrue(publisher.reading)
    assert.strictEqual(publisher.take().length, sent + 5)
    assert.strictEqual(harness.core.journal.bytes, 0)
  })

  it("reads them only when it is short enough, not when something was stored", () => {
    const harness = new CoreHarness({ store: "manual", config: { journalBytesMax: 10_000 } })
    harness.connectDurable("s", "t").drop()
    harness.commit()
    const publishers = ["a", "b", "c"].map((id) => harness.connect(id))
    const payload = new Uint8Array(1_000)
    for (const publisher of publishers) {
      publisher.send(...[1, 2, 3, 4, 5, 6, 7, 8].map(() => publisher.publication("t", payload, { qos: 1 })))
      publisher.take()
    }
    const [, second, third] = publishers
    const reading = () => publishers.map((publisher) => publisher.reading)
    assert.deepStrictEqual(reading(), [true, false, false])
    harness.commit(1)
    assert.deepStrictEqual(reading(), [true, false, false])
    harness.commit(1)
    assert.deepStrictEqual(reading(), [true, true, true])
    assert.strictEqual(second!.take().length, 8)
    assert.strictEqual(third!.take().length, 0)
  })

  it("also holds for what nobody waits to be told: retained messages of QoS 0", () => {
    const harness = new CoreHarness({ store: "manual", config: { journalBytesMax: 10_000 } })
    const publisher = harness.connect("p")
    for (let count = 0; count < 1_000; count++) publisher.publish(`t/${count}`, new Uint8Array(100), { retain: true })
    assert.isFalse(publisher.reading)
    assert.isAtMost(harness.core.journal.bytes, 12_000)
    harness.commit()
    assert.isTrue(publisher.reading)
    assert.strictEqual(harness.core.retained.size, 1_000)
  })
})
