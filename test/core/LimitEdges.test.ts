/**
 * Limits in bytes and of what is granted, each exactly at its edge and one beyond; the others are in `Limits.test.ts`.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Encoder from "../../src/protocol/Encoder.ts"
import type { Packet } from "../../src/protocol/Packet.ts"
import { CoreHarness, type HarnessOptions } from "./CoreHarness.ts"
import type { PublishOptions } from "./TestClient.ts"
import { all, kept, only, ready, subscriber } from "./support/Clients.ts"

const PAYLOAD = "x".repeat(100)

/** Bytes of the PUBLISH that carries `PAYLOAD`. */
const frameBytes = (topic: string, options: PublishOptions): number =>
  Encoder.byteLength(new CoreHarness().open(4).publication(topic, PAYLOAD, options), 4)

describe("queueBytesMax", () => {
  it("is the bytes of the packets that wait: to the last byte, and no further", () => {
    const size = frameBytes("t", { qos: 1 })
    for (const [queueBytesMax, expected] of [
      [3 * size, 3],
      [3 * size - 1, 2],
      [size, 1],
      [size - 1, 0]
    ] as const) {
      const h = new CoreHarness({ config: { queueBytesMax } })
      subscriber(h, "a", kept(4), "t").drop()
      const publisher = ready(h, "p")
      for (let index = 0; index < 4; index++) publisher.publish("t", PAYLOAD, { qos: 1 })
      assert.strictEqual(h.session("a")?.queue.length, expected)
      assert.strictEqual(h.core.stats.messagesDropped, 4 - expected)
    }
  })
})

describe("retainedBytesMax", () => {
  it("is the bytes of the packets that are retained: to the last byte, and no further", () => {
    const size = frameBytes("t", { qos: 1, retain: true })
    for (const [retainedBytesMax, expected] of [
      [2 * size, 2],
      [2 * size - 1, 1],
      [size - 1, 0]
    ] as const) {
      const h = new CoreHarness({ config: { retainedBytesMax } })
      const publisher = ready(h, "p")
      for (const topic of ["1", "2", "3"]) publisher.publish(topic, PAYLOAD, { qos: 1, retain: true })
      assert.strictEqual(h.core.retained.size, expected)
      assert.strictEqual(h.state.retainedBytes, expected * size)
    }
  })
})

/** Readers whose sockets take nothing, and messages to one of them that nobody has to wait with. */
const frozen = (config: HarnessOptions["config"], ...ids: ReadonlyArray<string>) => {
  const h = new CoreHarness({ config })
  const readers = ids.map((id) => {
    const client = subscriber(h, id, {}, id)
    client.freeze()
    return client
  })
  const send = (topic: string, count: number): void => {
    for (let index = 0; index < count; index++) {
      h.core.publish({ topic, payload: new TextEncoder().encode(PAYLOAD), qos: 0, retain: false }, h.now)
      h.settle()
    }
  }
  const waiting = () => readers.map(({ connection }) => connection.waitingBytes)
  return { h, readers, send, waiting }
}

describe("outboxBytesMax", () => {
  it("is what may wait before one more packet is appended: to the last byte, and no further", () => {
    const size = frameBytes("a", {})
    for (const [outboxBytesMax, expected] of [
      [4 * size, 5],
      [4 * size - 1, 4],
      [0, 1]
    ] as const) {
      const { h, send, waiting } = frozen({ outboxBytesMax }, "a")
      send("a", expected)
      assert.strictEqual(h.core.stats.messagesDropped, 0)
      send("a", 3)
      assert.strictEqual(h.core.stats.messagesDropped, 3)
      assert.deepStrictEqual(waiting(), [expected * size])
    }
  })
})

describe("bufferedBytesMax", () => {
  it("is what all sockets may hold; beyond it only an empty one gets more", () => {
    const size = frameBytes("a", {})
    for (const [bufferedBytesMax, expected] of [
      [4 * size, 5],
      [4 * size - 1, 4]
    ] as const) {
      const { h, send, waiting } = frozen({ bufferedBytesMax }, "a", "b")
      send("a", 6)
      assert.strictEqual(h.core.stats.messagesDropped, 6 - expected)
      send("b", 1)
      assert.deepStrictEqual(waiting(), [expected * size, size])
      send("b", 1)
      assert.deepStrictEqual(waiting(), [expected * size, size])
    }
  })
})

describe("journalBytesMax", () => {
  const afterOne = (journalBytesMax: number) => {
    const h = new CoreHarness({ store: "manual", config: { journalBytesMax } })
    const publisher = ready(h, "p")
    publisher.publish("t", PAYLOAD, { qos: 1, retain: true })
    return { h, publisher }
  }

  it("is what may wait for the store before those that wait are not read: to the last byte, and no further", () => {
    const { waitingBytes: bytes } = afterOne(1_000_000).h.core.journal
    assert.isAbove(bytes, PAYLOAD.length)
    assert.isTrue(afterOne(bytes).publisher.reading)
    const { h, publisher } = afterOne(bytes - 1)
    assert.isFalse(publisher.reading)
    h.commit()
    assert.isTrue(publisher.reading)
    only(publisher, "PubAck")
  })
})

describe("what is granted", () => {
  it("session expiry up to sessionExpirySecondsMax is not mentioned, one more is cut and told", () => {
    const h = new CoreHarness({ config: { sessionExpirySecondsMax: 100 } })
    for (const [asked, told] of [
      [99, undefined],
      [100, undefined],
      [101, 100],
      [0xffff_ffff, 100]
    ] as const) {
      const client = h.connect("a", { version: 5, expiry: asked })
      assert.strictEqual(only(client, "ConnAck").properties?.sessionExpiryInterval, told)
    }
  })

  it("keep alive up to keepAliveSecondsMax is not mentioned, one more is cut and told", () => {
    const h = new CoreHarness({ config: { keepAliveSecondsMax: 60 } })
    for (const [asked, told] of [
      [1, undefined],
      [60, undefined],
      [61, 60],
      [0, 60]
    ] as const) {
      const client = h.connect("a", { version: 5, keepAliveSeconds: asked })
      assert.strictEqual(only(client, "ConnAck").properties?.serverKeepAlive, told)
    }
  })
})

describe("userPropertiesMax", () => {
  const pairs = (count: number) => ({ userProperties: Array.from({ length: count }, () => ["k", "v"] as const) })
  const subscription = { filter: "t", qos: 0, noLocal: false, retainAsPublished: false, retainHandling: 0 } as const
  const packets: ReadonlyArray<readonly [name: string, make: (count: number) => Packet]> = [
    [
      "SUBSCRIBE",
      (count) => ({ _tag: "Subscribe", packetId: 1, subscriptions: [subscription], properties: pairs(count) })
    ],
    ["UNSUBSCRIBE", (count) => ({ _tag: "Unsubscribe", packetId: 1, filters: ["t"], properties: pairs(count) })],
    ["PUBACK", (count) => ({ _tag: "PubAck", packetId: 1, reasonCode: 0, properties: pairs(count) })],
    ["PUBREL", (count) => ({ _tag: "PubRel", packetId: 1, reasonCode: 0, properties: pairs(count) })]
  ]
  for (const [name, make] of packets) {
    it(`is also that of ${name}; one beyond is 0x97`, () => {
      const h = new CoreHarness({ config: { userPropertiesMax: 3 } })
      const client = ready(h, "a", { version: 5 })
      client.send(make(3))
      assert.isFalse(client.closed)
      client.send(make(4))
      assert.deepStrictEqual(client.takeWords().slice(-1), ["Disconnect 0x97"])
      assert.isTrue(client.closed)
    })
  }
})

describe("topicLevelsMax", () => {
  it("is also that of wills and of what topic aliases stand for", () => {
    const h = new CoreHarness({ config: { topicLevelsMax: 3 } })
    const watcher = subscriber(h, "w", {}, "#")
    for (const [topic, legal] of [
      ["a/b/c", true],
      ["a/b/c/d", false]
    ] as const) {
      const will = { topic, payload: new Uint8Array(1), qos: 0, retain: false } as const
      const dying = h.connect("d", { version: 5, will })
      assert.strictEqual(only(dying, "ConnAck").reasonCode, legal ? 0 : 0x90)
      dying.drop()
      const client = ready(h, "a", { version: 5 })
      client.publish(topic, "x", { properties: { topicAlias: 1 } })
      assert.strictEqual(client.closed, !legal)
      assert.strictEqual(all(watcher, "Publish").length, legal ? 2 : 0)
    }
  })
})
