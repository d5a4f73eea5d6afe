/**
 * Topic aliases towards clients: which topics get one, and that every frame still says what was published.
 */
import { assert, describe, it } from "@effect/vitest"
import { OutgoingAliases } from "../../src/core/OutgoingAliases.ts"
import type { Publish } from "../../src/protocol/Packet.ts"
import { CoreHarness } from "./CoreHarness.ts"
import { random as generator } from "./Random.ts"
import { type ConnectOptions, type TestClient, text } from "./TestClient.ts"
import { all, kept, present, ready, subscriber } from "./support/Clients.ts"

/** A 5.0 client that allows so many aliases. */
const allowing = (topicAliasMaximum: number): ConnectOptions => ({ version: 5, properties: { topicAliasMaximum } })

/** Reads what a client got as the standard says: an alias with a topic is set, one without a topic is looked up. */
class AliasReader {
  private readonly table = new Map<number, string>()
  private readonly client: TestClient
  private readonly maximum: number

  constructor(client: TestClient, maximum: number) {
    this.client = client
    this.maximum = maximum
  }

  /** The messages since the last call, with their real topics and without aliases. */
  messages(): ReadonlyArray<Publish> {
    return all(this.client, "Publish").map((packet) => {
      const { topicAlias, ...properties } = packet.properties ?? {}
      return { ...packet, topic: this.topicOf(packet.topic, topicAlias), properties }
    })
  }

  /** The same as short texts: `topic payload`. */
  words(): ReadonlyArray<string> {
    return this.messages().map(({ payload, topic }) => `${topic} ${text(payload)}`)
  }

  get size(): number {
    return this.table.size
  }

  private topicOf(topic: string, alias: number | undefined): string {
    if (alias === undefined) {
      assert.notStrictEqual(topic, "")
      return topic
    }
    assert.isAtLeast(alias, 1)
    assert.isAtMost(alias, this.maximum)
    if (topic !== "") this.table.set(alias, topic)
    const known = this.table.get(alias)
    assert.isDefined(known, `alias ${alias} was never set`)
    return known!
  }
}

/** Topic and alias of each message as they are on the wire. */
const wire = (client: TestClient): ReadonlyArray<readonly [string, number | undefined]> =>
  all(client, "Publish").map(({ properties, topic }) => [topic, properties?.topicAlias])

describe("OutgoingAliases", () => {
  it("gives each topic the next number, until there are no more", () => {
    const aliases = new OutgoingAliases(2)
    assert.strictEqual(aliases.get("a"), 0)
    assert.strictEqual(aliases.assign("a"), 1)
    assert.strictEqual(aliases.assign("b"), 2)
    assert.strictEqual(aliases.assign("c"), 0)
    assert.deepStrictEqual(
      ["a", "b", "c"].map((topic) => aliases.get(topic)),
      [1, 2, 0]
    )
    assert.strictEqual(new OutgoingAliases(65_535).assign("__proto__"), 1)
  })
})

describe("a topic alias towards a client", () => {
  for (const qos of [0, 1, 2] as const) {
    it(`is set by the first message of a topic and used by all others (QoS ${qos}) [MQTT-3.3.2-10]`, () => {
      const h = new CoreHarness()
      const client = subscriber(h, "a", allowing(10), { filter: "#", qos })
      const publisher = ready(h, "p", { version: 5 })
      for (const [index, topic] of ["t/a", "t/b", "t/a", "t/b", "t/a"].entries()) {
        publisher.publish(topic, "x", { qos, packetId: index + 1 })
        if (qos === 2) publisher.pubRel(index + 1)
      }
      assert.deepStrictEqual(wire(client), [
        ["t/a", 1],
        ["t/b", 2],
        ["", 1],
        ["", 2],
        ["", 1]
      ])
    })
  }

  it("is kept for the first topics; those beyond the maximum are sent in full, every time", () => {
    const h = new CoreHarness()
    const client = subscriber(h, "a", allowing(2), "#")
    const publisher = ready(h, "p")
    for (const topic of ["a", "b", "c", "c", "a", "d", "b"]) publisher.publish(topic, "x")
    assert.deepStrictEqual(wire(client), [
      ["a", 1],
      ["b", 2],
      ["c", undefined],
      ["c", undefined],
      ["", 1],
      ["d", undefined],
      ["", 2]
    ])
  })

  for (const [ofClient, ofBroker, expected] of [
    [undefined, 64, 0],
    [0, 64, 0],
    [5, 0, 0],
    [1, 64, 1],
    [3, 2, 2],
    [2, 3, 2],
    [65_535, 64, 64],
    [65_535, 65_535, 200]
  ] as const) {
    it(`is at most the client's maximum (${ofClient}) and the broker's (${ofBroker}) [MQTT-3.1.2-26, -27]`, () => {
      const h = new CoreHarness({ config: { topicAliasMaximum: ofBroker } })
      const options = ofClient === undefined ? ({ version: 5 } as const) : allowing(ofClient)
      const client = subscriber(h, "a", options, "#")
      const reader = new AliasReader(client, ofClient ?? 0)
      const publisher = ready(h, "p")
      const expectedWords: Array<string> = []
      for (let round = 0; round < 2; round++) {
        for (let index = 0; index < 200; index++) {
          publisher.publish(`t/${index}`, `${round}`)
          expectedWords.push(`t/${index} ${round}`)
        }
      }
      assert.deepStrictEqual(reader.words(), expectedWords)
      assert.strictEqual(reader.size, expected)
    })
  }

  it("is not for clients that name a Maximum Packet Size: the first message could outgrow it", () => {
    const h = new CoreHarness()
    const properties = { topicAliasMaximum: 10, maximumPacketSize: 1_000 }
    const client = subscriber(h, "a", { version: 5, properties }, "t")
    const publisher = ready(h, "p")
    for (let index = 0; index < 2; index++) publisher.publish("t", "x")
    assert.deepStrictEqual(wire(client), [
      ["t", undefined],
      ["t", undefined]
    ])
  })

  it("is of one connection only, and has nothing to do with the publisher's", () => {
    const h = new CoreHarness()
    const a = subscriber(h, "a", allowing(10), "#")
    const publisher = ready(h, "p", { version: 5 })
    publisher.publish("x", "1", { properties: { topicAlias: 7 } })
    const b = subscriber(h, "b", allowing(10), "#")
    const none = subscriber(h, "none", { version: 5 }, "#")
    const old = subscriber(h, "old", {}, "#")
    publisher.publish("y", "2", { properties: { topicAlias: 1 } })
    publisher.publish("", "3", { properties: { topicAlias: 7 } })
    publisher.publish("z", "4", { properties: { topicAlias: 7 } }) // 7 is another topic now
    publisher.publish("", "5", { properties: { topicAlias: 7 } })
    assert.deepStrictEqual(wire(a), [
      ["x", 1],
      ["y", 2],
      ["", 1],
      ["z", 3],
      ["", 3]
    ])
    assert.deepStrictEqual(wire(b), [
      ["y", 1],
      ["x", 2],
      ["z", 3],
      ["", 3]
    ])
    for (const client of [none, old]) {
      assert.deepStrictEqual(
        wire(client),
        ["y", "x", "z", "z"].map((topic) => [topic, undefined])
      )
    }
  })

  it("is not remembered from a former connection: what is sent again has its topic", () => {
    const h = new CoreHarness()
    const first = subscriber(h, "a", { ...kept(5), ...allowing(10), expiry: 1_000 }, "#")
    const publisher = ready(h, "p", { version: 5 })
    for (const [topic, qos] of [
      ["t", 1],
      ["t", 1],
      ["u", 2],
      ["t", 2]
    ] as const) {
      const packetId = publisher.publish(topic, `q${qos}`, { qos })
      if (qos === 2) publisher.pubRel(packetId)
    }
    assert.deepStrictEqual(wire(first), [
      ["t", 1],
      ["", 1],
      ["u", 2],
      ["", 1]
    ])
    first.drop()
    publisher.publish("w", "queued", { qos: 1 })
    for (const maximum of [10, 1, 0]) {
      const again = h.connect("a", { ...allowing(maximum), clean: false, expiry: 1_000 })
      const reader = new AliasReader(again, maximum)
      const messages = reader.messages()
      assert.deepStrictEqual(
        messages.slice(0, 4).map(({ dup, packetId, topic }) => [topic, packetId, dup]),
        [
          ["t", 1, true],
          ["t", 2, true],
          ["u", 3, true],
          ["t", 4, true]
        ]
      )
      assert.deepInclude(messages[4], { topic: "w", packetId: 5 })
      assert.strictEqual(messages.length, 5)
      assert.strictEqual(reader.size, Math.min(maximum, 3))
      again.drop()
    }
  })

  it("is set by the message that goes first, not by the one that waits for the store", () => {
    const h = new CoreHarness({ store: "manual" })
    const client = h.connect("a", { ...allowing(10), clean: false, expiry: 1_000 })
    h.commit()
    client.subscribe("#")
    h.commit()
    client.take()
    const publisher = ready(h, "p", { version: 5 })
    publisher.publish("t", "two", { qos: 2, packetId: 1 })
    publisher.pubRel(1) // the delivery waits until its packet id is stored
    publisher.publish("t", "zero")
    assert.deepStrictEqual(wire(client), [["t", 1]])
    h.commit()
    assert.deepStrictEqual(wire(client), [["", 1]])
  })

  it("is not used up by messages that are dropped", () => {
    const h = new CoreHarness({ config: { outboxBytesMax: 10_000 } })
    const client = subscriber(h, "a", allowing(1_000), { filter: "#", qos: 0 })
    const reader = new AliasReader(client, 1_000)
    client.freeze()
    for (let index = 0; index < 100; index++) {
      // In process: a client would not be read until there is room.
      h.core.publish({ topic: `t/${index % 50}`, payload: new Uint8Array(300), qos: 0, retain: false }, h.now)
      h.settle()
    }
    assert.isAbove(h.core.stats.messagesDropped, 0)
    client.accept()
    const before = reader.messages().length
    assert.isBelow(before, 100)
    const publisher = ready(h, "p")
    for (let index = 0; index < 50; index++) publisher.publish(`t/${index}`, `${index}`)
    assert.deepStrictEqual(
      reader.words(),
      Array.from({ length: 50 }, (_, index) => `t/${index} ${index}`)
    )
  })
})

describe("a message with an alias", () => {
  const properties = {
    payloadFormatIndicator: 1,
    contentType: "text/plain",
    responseTopic: "answers/here",
    correlationData: new Uint8Array([0, 255, 1]),
    userProperties: [
      ["k", "v"],
      ["k", ""]
    ]
  } as const

  it("has all its properties, at every QoS, on its first and on later frames", () => {
    for (const qos of [0, 1, 2] as const) {
      const h = new CoreHarness()
      const client = subscriber(h, "a", allowing(5), { filter: "t", qos })
      const reader = new AliasReader(client, 5)
      const publisher = ready(h, "p", { version: 5 })
      for (let packetId = 1; packetId <= 3; packetId++) {
        publisher.publish("t", "hello", { qos: 2, packetId, properties })
        publisher.pubRel(packetId)
      }
      const messages = reader.messages()
      assert.strictEqual(messages.length, 3)
      for (const message of messages) {
        assert.strictEqual(message.topic, "t")
        assert.strictEqual(message.qos, qos)
        assert.strictEqual(text(message.payload), "hello")
        assert.deepStrictEqual(present(message.properties), properties)
      }
    }
  })

  it("has its subscription identifiers", () => {
    const h = new CoreHarness()
    const client = ready(h, "a", allowing(5))
    for (const [filter, identifier] of [
      ["t", 1],
      ["#", 268_435_455]
    ] as const) {
      const subscription = { filter, qos: 1, noLocal: false, retainAsPublished: false, retainHandling: 0 } as const
      const identified = { subscriptionIdentifiers: [identifier] }
      client.send({ _tag: "Subscribe", packetId: 1, subscriptions: [subscription], properties: identified })
    }
    client.take()
    const reader = new AliasReader(client, 5)
    const publisher = ready(h, "p", { version: 5 })
    publisher.publish("t", "1", { qos: 1, properties })
    publisher.publish("t", "2", { qos: 0 })
    const messages = reader.messages()
    assert.deepStrictEqual(
      messages.map(({ topic }) => topic),
      ["t", "t"]
    )
    const [first, second] = messages.map((message) => present(message.properties))
    const { subscriptionIdentifiers, ...rest } = first!
    assert.sameMembers([...(subscriptionIdentifiers as ReadonlyArray<number>)], [1, 268_435_455]) // just destructured
    assert.deepStrictEqual(rest, properties)
    assert.sameMembers([...(second!.subscriptionIdentifiers as ReadonlyArray<number>)], [1, 268_435_455])
  })

  it("has what is left of its expiry", () => {
    const h = new CoreHarness({ config: { inflightMax: 1 } })
    const client = subscriber(h, "a", allowing(5), "t")
    const reader = new AliasReader(client, 5)
    const publisher = ready(h, "p", { version: 5 })
    const send = () => publisher.publish("t", "x", { qos: 1, properties: { messageExpiryInterval: 10 } })
    send()
    send()
    assert.strictEqual(reader.messages()[0]?.properties?.messageExpiryInterval, 10)
    h.advance(4_000)
    client.pubAck(1)
    const [late] = reader.messages()
    assert.deepInclude(late, { topic: "t", packetId: 2 })
    assert.strictEqual(late?.properties?.messageExpiryInterval, 6)
  })

  it("is the same whoever published it: 3.1.1, a lower QoS, the retained store, a will, the broker", () => {
    const h = new CoreHarness()
    const old = ready(h, "old")
    const payload = new TextEncoder().encode("x")
    old.publish("retained/a", "x", { retain: true })
    old.publish("retained/b", "x", { retain: true, qos: 1 })
    const client = ready(h, "a", allowing(10))
    client.subscribe("#")
    const reader = new AliasReader(client, 10)
    for (const qos of [0, 1] as const) for (const topic of ["t", "t", "retained/a"]) old.publish(topic, "x", { qos })
    ready(h, "w", { will: { topic: "t", payload, qos: 1, retain: false } }).drop()
    h.core.publish({ topic: "t", payload, qos: 2, retain: false, properties: { contentType: "c" } }, h.now)
    h.settle()
    const expected = ["t", "t", "retained/a", "t", "t", "retained/a", "t", "t"].map((topic) => `${topic} x`)
    assert.sameMembers([...reader.words()], ["retained/a x", "retained/b x", ...expected])
    assert.strictEqual(reader.size, 3)
  })

  it("may have any length: every step of the lengths in its header", () => {
    const h = new CoreHarness({ config: { packetBytesMax: 4_000_000 } })
    const client = subscriber(h, "a", allowing(10_000), "#")
    const reader = new AliasReader(client, 10_000)
    const publisher = ready(h, "p", { version: 5 })
    const around = (middle: number) => Array.from({ length: 24 }, (_, index) => middle - 14 + index)
    // Property lengths of 127 and 16,383 with and without the alias; then packet lengths of these and 2,097,151.
    const contentTypes = [...around(124), ...around(16_380)]
    const sizes = [0, 1, ...around(122), ...around(16_375), ...around(2_097_140)]
    const sent = [
      ...contentTypes.map((length) => ({ payload: "x", properties: { contentType: "c".repeat(length) } })),
      ...sizes.map((length) => ({ payload: "y".repeat(length), properties: {} }))
    ]
    for (const { payload, properties: extra } of sent) {
      for (const topic of ["t", "ü/long/topic/name"]) {
        publisher.publish(topic, payload, { properties: extra })
        const messages = reader.messages()
        assert.strictEqual(messages.length, 1)
        assert.strictEqual(messages[0]!.topic, topic)
        assert.strictEqual(text(messages[0]!.payload), payload)
        assert.deepStrictEqual(present(messages[0]!.properties), extra)
      }
    }
    assert.strictEqual(reader.size, 2)
  })
})

describe("a large message with an alias", () => {
  const pattern = (bytes: number) => Uint8Array.from({ length: bytes }, (_, index) => (index * 31) & 0xff)

  it("arrives whole, in its place, whatever its size, QoS and receivers", () => {
    for (const bytes of [8_100, 8_192, 16_384, 65_535, 300_000]) {
      const h = new CoreHarness()
      const readers = [10, 10, 1].map((maximum, index) => {
        const qos = index === 0 ? 0 : 1
        return new AliasReader(subscriber(h, `m${index}`, allowing(maximum), { filter: "#", qos }), maximum)
      })
      const publisher = ready(h, "p", { version: 5 })
      const payload = pattern(bytes)
      for (const [index, topic] of ["t", "u", "t", "u"].entries()) {
        publisher.publish(topic, payload.slice(), { qos: (index % 2) as 0 | 1, properties: { contentType: "c" } })
        publisher.publish(topic, `small ${index}`)
      }
      for (const reader of readers) {
        const messages = reader.messages()
        assert.deepStrictEqual(
          messages.map(({ topic }) => topic),
          ["t", "t", "u", "u", "t", "t", "u", "u"]
        )
        for (const [index, message] of messages.entries()) {
          if (index % 2 === 0) assert.deepStrictEqual(message.payload, payload)
          else assert.strictEqual(text(message.payload), `small ${(index - 1) / 2}`)
        }
      }
    }
  })

  it("is not copied for each receiver", () => {
    const h = new CoreHarness()
    const clients = ["a", "b"].map((id) => subscriber(h, id, allowing(10), { filter: "t", qos: 0 }))
    const publisher = ready(h, "p", { version: 5 })
    const payload = pattern(100_000)
    publisher.publish("t", payload.slice())
    h.together(() => {
      publisher.publish("t", payload.slice())
      const chunks = clients.map(({ connection }) => connection.outbox.take())
      assert.deepStrictEqual(
        chunks.map((list) => list.map(({ length }) => length)),
        // Type, length, empty topic, property length, alias: eleven or fewer bytes, then the one payload.
        [
          [10, 100_000],
          [10, 100_000]
        ]
      )
      assert.strictEqual(chunks[0]![1]!.buffer, chunks[1]![1]!.buffer)
      assert.strictEqual(chunks[0]![1]!.byteOffset, chunks[1]![1]!.byteOffset)
      assert.deepStrictEqual(chunks[0]![1]!.slice(), payload)
    })
  })
})

describe("aliases through everything at once", () => {
  for (let seed = 1; seed <= 10; seed++) {
    it(`every message has its topic (seed ${seed})`, () => {
      const random = generator(seed)
      const h = new CoreHarness({ config: { topicAliasMaximum: 1 + random(20), inflightMax: 1 + random(5) } })
      const readers = Array.from({ length: 4 }, (_, index) => {
        const maximum = random(30)
        const client = subscriber(h, `m${index}`, allowing(maximum), { filter: "#", qos: random(3) as 0 | 1 | 2 })
        return { client, reader: new AliasReader(client, maximum), words: [] as Array<string> }
      })
      const publishers = [3, 4, 5].map((version) => ready(h, `p${version}`, { version: version as 3 | 4 | 5 }))
      const sent: Array<string> = []
      for (let step = 0; step < 300; step++) {
        const publisher = publishers[random(3)]!
        const topic = `t/${random(25)}`
        const payload = `${step} `.padEnd(random(10) === 0 ? random(20_000) : random(50), "x")
        const qos = random(2) as 0 | 1
        const extra = publisher.version === 5 && random(2) === 0 ? { contentType: "c".repeat(random(200)) } : undefined
        publisher.publish(topic, payload, { qos, properties: extra })
        sent.push(`${topic} ${payload}`)
        for (const { client, reader, words } of readers) {
          for (const { packetId, payload: bytes, qos: level, topic: name } of reader.messages()) {
            words.push(`${name} ${text(bytes)}`)
            if (level === 1) client.pubAck(packetId!)
          }
        }
      }
      for (const { words } of readers) assert.sameMembers(words, sent)
    })
  }
})
