/**
 * What a message is when it arrives: its properties, its order, its age, its size, in the version of each receiver.
 */
import { assert, describe, it } from "@effect/vitest"
import type { Publish } from "../../src/protocol/Packet.ts"
import { CoreHarness } from "./CoreHarness.ts"
import { text } from "./TestClient.ts"
import { all, kept, only, present, ready, subscriber, versions } from "./support/Clients.ts"

const forwarded = {
  payloadFormatIndicator: 1,
  messageExpiryInterval: 100,
  contentType: "text/plain",
  responseTopic: "reply/to",
  correlationData: new Uint8Array([0, 1, 255]),
  userProperties: [
    ["b", "1"],
    ["a", ""],
    ["b", "1"]
  ]
} as const

/** Bytes that tell every position. */
const pattern = (length: number): Uint8Array => Uint8Array.from({ length }, (_, index) => (index * 31 + 7) & 0xff)

describe("a message", () => {
  it("keeps all its properties from 5.0 to 5.0, in their order [MQTT-3.3.2-17, -18, -20, -4]", () => {
    for (const qos of [0, 1, 2] as const) {
      const h = new CoreHarness()
      const client = subscriber(h, "a", { version: 5 }, "t")
      const publisher = ready(h, "p", { version: 5 })
      const packetId = publisher.publish("t", "x", { qos, properties: forwarded })
      if (qos === 2) publisher.pubRel(packetId)
      assert.deepStrictEqual(present(only(client, "Publish").properties), forwarded)
    }
  })

  it("keeps them beside identifiers, aliases, queues and the retained store", () => {
    const h = new CoreHarness()
    const client = ready(h, "a", kept(5))
    client.send({
      _tag: "Subscribe",
      packetId: 1,
      subscriptions: [{ filter: "t", qos: 1, noLocal: false, retainAsPublished: false, retainHandling: 0 }],
      properties: { subscriptionIdentifiers: [7], userProperties: [["not", "forwarded"]] }
    })
    client.take()
    const publisher = ready(h, "p", { version: 5 })
    publisher.publish("t", "x", { qos: 1, retain: true, properties: { ...forwarded, topicAlias: 3 } })
    assert.deepStrictEqual(present(only(client, "Publish").properties), { ...forwarded, subscriptionIdentifiers: [7] })
    const late = ready(h, "b", { version: 5 })
    late.subscribe("t")
    assert.deepStrictEqual(present(all(late, "Publish")[0]!.properties), forwarded)
    client.pubAck(1)
    client.drop()
    publisher.publish("t", "y", { qos: 1, properties: forwarded })
    const again = h.connect("a", kept(5))
    const [publish] = all(again, "Publish")
    assert.deepStrictEqual(present(publish!.properties), { ...forwarded, subscriptionIdentifiers: [7] })
  })

  it("has no properties before 5.0, and none that it did not have", () => {
    for (const from of versions) {
      for (const to of versions) {
        for (const qos of [0, 1, 2] as const) {
          const h = new CoreHarness()
          const client = subscriber(h, "a", { version: to }, "t")
          const publisher = ready(h, "p", { version: from })
          const packetId = publisher.publish("t", "payload", { qos, properties: forwarded })
          if (qos === 2) publisher.pubRel(packetId)
          const publish = only(client, "Publish")
          assert.strictEqual(text(publish.payload), "payload")
          assert.strictEqual(publish.qos, qos)
          assert.isFalse(publish.dup)
          assert.deepStrictEqual(present(publish.properties), from === 5 && to === 5 ? forwarded : {})
        }
      }
    }
  })

  it("may be empty, binary, or larger than any buffer, for several receivers at once", () => {
    const h = new CoreHarness()
    const receivers = versions.flatMap((version) =>
      ([0, 1, 2] as const).map((qos) => subscriber(h, `a${version}${qos}`, { version }, { filter: "t/#", qos }))
    )
    for (const from of [4, 5] as const) {
      const publisher = ready(h, "p", { version: from })
      for (const length of [0, 1, 127, 128, 2_047, 2_048, 8_191, 8_192, 65_536, 300_000, 2_000_000]) {
        const payload = pattern(length)
        publisher.publish(`t/${length}`, payload.slice(), { qos: 1 })
        publisher.publish("t/after", "after")
        for (const client of receivers) {
          const [first, second] = all(client, "Publish")
          assert.strictEqual(first!.topic, `t/${length}`)
          assert.isTrue(first!.payload.length === length && first!.payload.every((byte, at) => byte === payload[at]))
          assert.strictEqual(text(second!.payload), "after")
          if (first!.qos === 1) client.pubAck(first!.packetId!)
        }
      }
    }
  })

  it("is what it was when the buffer it came in is used again", () => {
    const h = new CoreHarness()
    subscriber(h, "a", kept(4), "t").drop()
    const publisher = ready(h, "p")
    const bytes = Uint8Array.from([0x33, 9, 0, 1, 0x74, 0, 1, 0x66, 0x69, 0x72, 0x73]) // retained, QoS 1
    publisher.sendBytes(bytes)
    bytes.fill(0)
    const again = h.connect("a", kept(4))
    assert.deepStrictEqual(again.takePayloads(), ["firs"])
    again.subscribe("t")
    assert.deepStrictEqual(again.takePayloads(), ["firs"])
  })

  it("goes to every subscriber once, and not to its publisher unless it subscribed", () => {
    const h = new CoreHarness()
    const receivers = Array.from({ length: 50 }, (_, index) => subscriber(h, `a${index}`, {}, "t"))
    const publisher = ready(h, "p")
    publisher.publish("t", "x")
    assert.isTrue(receivers.every((client) => client.takePayloads().length === 1))
    assert.deepStrictEqual(publisher.take(), [])
    const own = subscriber(h, "own", {}, "t")
    own.publish("t", "mine")
    assert.deepStrictEqual(own.takePayloads(), ["mine"])
  })
})

describe("order", () => {
  it("per topic is that of arrival at every QoS, whatever the packets that came between [MQTT-4.6.0-5]", () => {
    for (const qos of [0, 1, 2] as const) {
      const h = new CoreHarness()
      const client = subscriber(h, "a", { properties: { receiveMaximum: 3 }, version: 5 }, { filter: "t/#", qos })
      const publisher = ready(h, "p", { version: 5 })
      const sent: Array<string> = []
      const received: Array<string> = []
      for (let index = 0; index < 50; index++) {
        sent.push(String(index))
        const packetId = publisher.publish(`t/${index % 3}`, String(index), { qos })
        if (qos === 2) publisher.pubRel(packetId)
      }
      for (let packets = client.take(); packets.length > 0; packets = client.take()) {
        for (const packet of packets) {
          if (packet._tag === "Publish") {
            received.push(text(packet.payload))
            if (packet.qos === 1) client.pubAck(packet.packetId!)
            if (packet.qos === 2) client.pubRec(packet.packetId!)
          } else if (packet._tag === "PubRel") client.pubComp(packet.packetId)
        }
      }
      assert.deepStrictEqual(received, sent)
    }
  })

  it("of QoS 2 messages is that of their PUBREL", () => {
    const h = new CoreHarness()
    const client = subscriber(h, "a", {}, "t")
    const publisher = ready(h, "p")
    for (const name of ["one", "two", "three"]) publisher.publish("t", name, { qos: 2 })
    for (const packetId of [2, 3, 1]) publisher.pubRel(packetId)
    assert.deepStrictEqual(client.takePayloads(), ["two", "three", "one"])
  })
})

describe("topic alias", () => {
  const alias = (topicAlias: number) => ({ properties: { topicAlias } })

  it("sets, uses and changes a topic, and is never passed on [MQTT-3.3.2-7]", () => {
    const h = new CoreHarness()
    const five = subscriber(h, "five", { version: 5 }, "#")
    const four = subscriber(h, "four", {}, "#")
    const publisher = ready(h, "p", { version: 5 })
    publisher.publish("t/1", "set 1", alias(1))
    publisher.publish("t/64", "set 64", alias(64))
    publisher.publish("", "use 1", alias(1))
    publisher.publish("", "use 64", alias(64))
    publisher.publish("u/1", "change 1", alias(1))
    publisher.publish("", "use 1 again", { qos: 1, ...alias(1) })
    publisher.take()
    const packets = all(five, "Publish")
    const expected = ["t/1 set 1", "t/64 set 64", "t/1 use 1", "t/64 use 64", "u/1 change 1", "u/1 use 1 again"]
    const said = ({ payload, topic }: Publish) => `${topic} ${text(payload)}`
    assert.deepStrictEqual(packets.map(said), expected)
    assert.isTrue(packets.every(({ properties }) => properties?.topicAlias === undefined))
    assert.deepStrictEqual(all(four, "Publish").map(said), expected)
  })

  it("works for retained, QoS 2 and queued messages", () => {
    const h = new CoreHarness()
    subscriber(h, "a", kept(5), "t").drop()
    const publisher = ready(h, "p", { version: 5 })
    publisher.publish("t", "one", { qos: 1, ...alias(1) })
    publisher.publish("", "two", { qos: 2, retain: true, ...alias(1) })
    publisher.pubRel(2)
    const again = h.connect("a", kept(5))
    assert.deepStrictEqual(again.takePayloads(), ["one", "two"])
    const late = ready(h, "b")
    late.subscribe("t")
    assert.deepStrictEqual(late.takePayloads(), ["two"])
  })

  it("belongs to one connection [MQTT-3.3.2-10]", () => {
    const h = new CoreHarness()
    const first = ready(h, "p", kept(5))
    first.publish("t", "x", alias(1))
    const other = ready(h, "q", { version: 5 })
    other.publish("", "x", alias(1))
    assert.deepStrictEqual(other.takeWords(), ["Disconnect 0x82"])
    const again = ready(h, "p", kept(5))
    again.publish("", "x", alias(1))
    assert.deepStrictEqual(again.takeWords(), ["Disconnect 0x82"])
  })

  it("is resolved before the hook is asked (known failure 19)", () => {
    const h = new CoreHarness()
    h.install("publish")
    const publisher = ready(h, "p", { version: 5 })
    publisher.publish("secret", "x", alias(1))
    h.answer({ reasonCode: 0x87 })
    publisher.publish("", "x", alias(1))
    const [ask] = h.questions
    assert.strictEqual(ask?._tag === "Publish" ? ask.topic : undefined, "secret")
  })
})

describe("message expiry", () => {
  const expiring = (seconds: number) => ({ qos: 1, properties: { messageExpiryInterval: seconds } }) as const

  it("drops what waited too long, and tells how long the rest has left [MQTT-3.3.2-5, MQTT-3.3.2-6]", () => {
    const h = new CoreHarness({ events: ["MessageDropped"] })
    subscriber(h, "a", kept(5), "t").drop()
    const publisher = ready(h, "p", { version: 5 })
    publisher.publish("t", "short", expiring(10))
    publisher.publish("t", "long", expiring(60))
    publisher.publish("t", "ever", { qos: 1 })
    h.advance(10_000)
    const again = h.connect("a", kept(5))
    const packets = all(again, "Publish")
    assert.deepStrictEqual(
      packets.map(({ payload, properties }) => [text(payload), properties?.messageExpiryInterval]),
      [
        ["long", 50],
        ["ever", undefined]
      ]
    )
    const [dropped] = h.takeEvents()
    assert.deepInclude(dropped, { _tag: "MessageDropped", clientId: "a", topic: "t", reason: "expired" })
    assert.strictEqual(h.core.stats.messagesDropped, 1)
  })

  it("lives to its last moment", () => {
    const h = new CoreHarness()
    subscriber(h, "a", kept(5), "t").drop()
    ready(h, "p", { version: 5 }).publish("t", "x", expiring(10))
    h.advance(9_999)
    const again = h.connect("a", kept(5))
    const [publish] = all(again, "Publish")
    assert.strictEqual(publish?.properties?.messageExpiryInterval, 1)
  })

  it("passes what is on its way at once unchanged, and drops it for 3.1.1 receivers just the same", () => {
    const h = new CoreHarness()
    const live = subscriber(h, "live", { version: 5 }, "t")
    subscriber(h, "a", kept(4), "t").drop()
    const publisher = ready(h, "p", { version: 5 })
    publisher.publish("t", "x", expiring(10))
    assert.strictEqual(only(live, "Publish").properties?.messageExpiryInterval, 10)
    h.advance(10_000)
    assert.deepStrictEqual(h.connect("a", kept(4)).takePayloads(), [])
  })

  it("frees the places in a queue that is full", () => {
    const h = new CoreHarness({ config: { queueMessagesMax: 2 } })
    subscriber(h, "a", kept(5), "t").drop()
    const publisher = ready(h, "p", { version: 5 })
    publisher.publish("t", "one", expiring(10))
    publisher.publish("t", "two", expiring(20))
    publisher.publish("t", "lost", expiring(20))
    h.advance(10_000)
    publisher.publish("t", "three", expiring(20))
    assert.deepStrictEqual(h.connect("a", kept(5)).takePayloads(), ["two", "three"])
  })
})

describe("the client's Maximum Packet Size", () => {
  // PUBLISH of topic "t" in 5.0: 2 + 3 + 1 bytes and the payload, 2 more above QoS 0.
  const limited = (h: CoreHarness, maximumPacketSize: number) =>
    subscriber(h, "a", { version: 5, expiry: 60, properties: { maximumPacketSize } }, "t")

  it("drops what is larger, and does not close [MQTT-3.1.2-24, MQTT-3.1.2-25] (known failure 32)", () => {
    for (const qos of [0, 1, 2] as const) {
      const h = new CoreHarness({ events: ["MessageDropped"] })
      const client = limited(h, 28)
      const other = subscriber(h, "b", { version: 5 }, "t")
      const publisher = ready(h, "p", { version: 5 })
      const fits = 28 - 6 - (qos === 0 ? 0 : 2)
      for (const length of [fits, fits + 1, 5_000]) {
        const packetId = publisher.publish("t", "x".repeat(length), { qos })
        if (qos === 2) publisher.pubRel(packetId)
      }
      assert.deepStrictEqual(
        all(client, "Publish").map(({ payload }) => payload.length),
        [fits]
      )
      assert.strictEqual(all(other, "Publish").length, 3)
      assert.isFalse(client.closed)
      assert.strictEqual(h.session("a")!.inflight.size, qos === 0 ? 0 : 1)
      const dropped = h.takeEvents()
      assert.strictEqual(dropped.length, 2)
      assert.deepInclude(dropped[0], { clientId: "a", topic: "t", qos, reason: "too-large" })
    }
  })

  it("counts the properties and identifiers that this client gets", () => {
    const h = new CoreHarness()
    const client = ready(h, "a", { version: 5, properties: { maximumPacketSize: 28 } })
    client.send({
      _tag: "Subscribe",
      packetId: 1,
      subscriptions: [{ filter: "t", qos: 0, noLocal: false, retainAsPublished: false, retainHandling: 0 }],
      properties: { subscriptionIdentifiers: [200] } // three bytes
    })
    client.take()
    const publisher = ready(h, "p", { version: 4 })
    publisher.publish("t", "x".repeat(28 - 6 - 3))
    publisher.publish("t", "x".repeat(28 - 6 - 2))
    assert.strictEqual(all(client, "Publish").length, 1)
  })

  it("is that of the connection at hand when a session is resumed", () => {
    const h = new CoreHarness()
    const first = limited(h, 10_000)
    const publisher = ready(h, "p", { version: 5 })
    publisher.publish("t", "x".repeat(100), { qos: 1 })
    publisher.publish("t", "x", { qos: 1 })
    publisher.publish("t", "y".repeat(100), { qos: 2 })
    publisher.pubRel(3)
    assert.strictEqual(all(first, "Publish").length, 3)
    first.drop()
    publisher.publish("t", "z".repeat(100), { qos: 1 })
    publisher.publish("t", "z", { qos: 1 })
    const properties = { maximumPacketSize: 50 }
    const again = h.connect("a", { version: 5, clean: false, expiry: 60, properties })
    assert.deepStrictEqual(again.takeWords(), [
      "ConnAck 0 present",
      'Publish t "x" q1 #2 dup',
      'Publish t "z" q1 #4' // dropped messages used no other id
    ])
    assert.strictEqual(h.session("a")!.inflight.size, 2)
    assert.isFalse(again.closed)
  })

  it("lets reason strings go before it lets a packet go", () => {
    const h = new CoreHarness()
    const client = ready(h, "a", { version: 5, properties: { maximumPacketSize: 20 } })
    client.connect("a")
    const disconnect = only(client, "Disconnect")
    assert.strictEqual(disconnect.reasonCode, 0x82)
    assert.isUndefined(disconnect.properties?.reasonString)
  })
})

describe("reason strings", () => {
  it("are not for clients that declined problem information [MQTT-3.1.2-29]", () => {
    for (const [requestProblemInformation, heard] of [
      [true, "not yours"],
      [false, undefined]
    ] as const) {
      const h = new CoreHarness()
      h.install("publish", "subscribe")
      const client = ready(h, "a", { version: 5, properties: { requestProblemInformation } })
      client.publish("t", "x", { qos: 1 })
      h.answer({ reasonCode: 0x87, reasonString: "not yours" })
      assert.strictEqual(only(client, "PubAck").properties?.reasonString, heard)
      client.publish("t", "x", { qos: 2 })
      h.answer({ reasonCode: 0x87, reasonString: "not yours" })
      assert.strictEqual(only(client, "PubRec").properties?.reasonString, heard)
      client.subscribe("t")
      h.answer({ reasonCode: 0x87, reasonString: "not yours" })
      assert.strictEqual(only(client, "SubAck").properties?.reasonString, heard)
    }
  })
})
