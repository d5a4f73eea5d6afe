/**
 * What clients must not send, byte for byte: the reason a 5.0 client is told, the plain close before, and that it costs
 * nobody else anything. Then bytes that nobody meant at all.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Encoder from "../../src/protocol/Encoder.ts"
import type { Packet } from "../../src/protocol/Packet.ts"
import { CoreHarness, type HarnessOptions } from "./CoreHarness.ts"
import type { TestClient } from "./TestClient.ts"
import { hex, only, ready, subscriber, versions } from "./support/Clients.ts"
import { RawPeer } from "./support/RawPeer.ts"

/** A broker with a pair of clients that has nothing to do with what happens, and must not notice it. */
const withBystanders = (options: HarnessOptions = {}) => {
  const h = new CoreHarness(options)
  const bystander = subscriber(h, "bystander", {}, "by/#")
  const publisher = ready(h, "publisher")
  const check = (): void => {
    publisher.publish("by/x", "still here", { qos: 1 })
    only(publisher, "PubAck")
    const { packetId } = only(bystander, "Publish")
    bystander.pubAck(packetId!)
    const { connections, sessions, subscriptionCount } = h.core
    assert.deepStrictEqual([connections.size, sessions.size, subscriptionCount], [2, 2, 1])
  }
  return { h, check }
}

/** One byte string of spaced hex, with a length in front where `??` stands (one byte). */
const frame = (text: string): Uint8Array => {
  const [first, ...body] = text.trim().split(/\s+/)
  return hex([first, body.length.toString(16).padStart(2, "0"), ...body].join(" "))
}

type Case = readonly [title: string, bytes: Uint8Array, reasonCode: number]

/** Sends the bytes on a connection that is in, and checks how it ends. */
const expectEnd = (version: 3 | 4 | 5, bytes: Uint8Array, reasonCode: number): void => {
  const { h, check } = withBystanders({ events: ["ProtocolFailure"] })
  const client = ready(h, "culprit", { version, clean: true })
  client.sendBytes(bytes)
  const expected = version === 5 ? [`Disconnect 0x${reasonCode.toString(16)}`] : []
  assert.deepStrictEqual(client.takeWords(), expected)
  assert.isTrue(client.closed)
  const [failure, ...more] = h.takeEvents()
  assert.deepStrictEqual(more, [])
  assert.deepInclude(failure, { _tag: "ProtocolFailure", clientId: "culprit", reasonCode })
  assert.strictEqual(h.core.stats.protocolErrors, 1)
  check()
}

describe("faults in 5.0", () => {
  const cases: ReadonlyArray<Case> = [
    ["reserved packet type 0 [MQTT-2.1.2]", hex("00 00"), 0x81],
    ["flags of PUBACK [MQTT-2.1.3-1]", hex("41 02 00 01"), 0x81],
    ["flags of PUBREL [MQTT-3.6.1-1]", hex("60 02 00 01"), 0x81],
    ["flags of SUBSCRIBE [MQTT-3.8.1-1]", frame("80 00 01 00 00 01 74 00"), 0x81],
    ["flags of UNSUBSCRIBE [MQTT-3.10.1-1]", frame("a0 00 01 00 00 01 74"), 0x81],
    ["flags of PINGREQ", hex("c1 00"), 0x81],
    ["flags of DISCONNECT [MQTT-3.14.1-1]", hex("e1 00"), 0x81],
    ["flags of AUTH [MQTT-3.15.1-1]", hex("f1 00"), 0x81],
    ["a topic of ill-formed UTF-8 [MQTT-1.5.4-1]", frame("30 00 02 c3 28 00"), 0x81],
    ["a topic with a surrogate [MQTT-1.5.4-1]", frame("30 00 03 ed a0 80 00"), 0x81],
    ["a topic with an overlong form [MQTT-1.5.4-1]", frame("30 00 02 c0 80 00"), 0x81],
    ["a topic with NUL [MQTT-1.5.4-2]", frame("30 00 02 74 00 00"), 0x81],
    ["a filter with NUL [MQTT-1.5.4-2]", frame("82 00 01 00 00 02 74 00 00"), 0x81],
    ["a user property of ill-formed UTF-8", frame("30 00 01 74 06 26 00 01 ff 00 00"), 0x81],
    ["a length of five bytes (known failure 10)", hex("30 80 80 80 80 01"), 0x81],
    ["a length that is not the shortest [MQTT-1.5.5-1]", hex("c0 80 00"), 0x81],
    ["a property length that is not the shortest [MQTT-1.5.5-1]", frame("30 00 01 74 80 00 78"), 0x81],
    ["a property length beyond the packet", frame("30 00 01 74 09 26"), 0x81],
    ["packet id 0 in PUBLISH [MQTT-2.2.1-3]", frame("32 00 01 74 00 00 00"), 0x82],
    ["packet id 0 in SUBSCRIBE [MQTT-2.2.1-3]", frame("82 00 00 00 00 01 74 00"), 0x82],
    ["packet id 0 in UNSUBSCRIBE [MQTT-2.2.1-3]", frame("a2 00 00 00 00 01 74"), 0x82],
    ["packet id 0 in PUBACK", hex("40 02 00 00"), 0x82],
    ["PUBLISH at QoS 3 [MQTT-3.3.1-4]", frame("36 00 01 74 00 01 00"), 0x81],
    ["DUP at QoS 0 [MQTT-3.3.1-2]", frame("38 00 01 74 00"), 0x81],
    ["# in a topic name [MQTT-3.3.2-2] (known failure 13)", frame("30 00 03 74 2f 23 00"), 0x90],
    ["+ in a topic name [MQTT-3.3.2-2]", frame("30 00 01 2b 00"), 0x90],
    ["no topic and no alias (known failure 9)", frame("30 00 00 00"), 0x82],
    ["topic alias 0 [MQTT-3.3.2-8]", frame("30 00 01 74 03 23 00 00"), 0x94],
    ["a topic alias above the maximum [MQTT-3.3.2-9]", frame("30 00 01 74 03 23 00 41"), 0x94],
    ["no topic and an alias above the maximum [MQTT-3.3.2-9]", frame("30 00 00 03 23 00 41"), 0x94],
    ["no topic and an alias that was not set", frame("30 00 00 03 23 00 40"), 0x82],
    ["a response topic with a wildcard [MQTT-3.3.2-14]", frame("30 00 01 74 06 08 00 03 72 2f 23"), 0x82],
    ["a subscription identifier in PUBLISH [MQTT-3.3.4-6]", frame("30 00 01 74 02 0b 01"), 0x82],
    ["subscription identifier 0", frame("82 00 01 02 0b 00 00 01 74 00"), 0x82],
    ["two subscription identifiers", frame("82 00 01 04 0b 01 0b 02 00 01 74 00"), 0x82],
    ["SUBSCRIBE without a filter [MQTT-3.8.3-2]", frame("82 00 01 00"), 0x82],
    ["UNSUBSCRIBE without a filter [MQTT-3.10.3-2]", frame("a2 00 01 00"), 0x82],
    ["reserved option bit 6 [MQTT-3.8.3-5]", frame("82 00 01 00 00 01 74 40"), 0x81],
    ["reserved option bit 7 [MQTT-3.8.3-5]", frame("82 00 01 00 00 01 74 80"), 0x81],
    ["QoS 3 in SUBSCRIBE", frame("82 00 01 00 00 01 74 03"), 0x82],
    ["retain handling 3 in SUBSCRIBE", frame("82 00 01 00 00 01 74 30"), 0x82],
    [
      "No Local for a shared subscription [MQTT-3.8.3-4]",
      frame("82 00 01 00 00 0a 24 73 68 61 72 65 2f 67 2f 74 04"),
      0x82
    ],
    ["SUBSCRIBE that ends before the options (known failure 11)", frame("82 00 01 00 00 01 74"), 0x81],
    ["SUBSCRIBE that ends in a filter (known failure 11)", frame("82 00 01 00 00 05 74"), 0x81],
    ["PUBLISH that ends before the packet id (known failure 11)", frame("32 00 01 74"), 0x81],
    ["PUBLISH that ends in the packet id (known failure 11)", frame("32 00 01 74 00"), 0x81],
    ["PUBLISH that ends before the properties", frame("30 00 01 74"), 0x81],
    ["PUBLISH that ends in its topic", frame("30 00 09 74"), 0x81],
    ["PUBLISH without even a topic length", hex("30 00"), 0x81],
    ["bytes behind PINGREQ", frame("c0 01"), 0x81],
    ["bytes behind PUBACK", frame("40 00 01 00 00 01"), 0x81],
    ["a property of another packet", frame("30 00 01 74 03 21 00 05"), 0x81],
    ["a property that does not exist", frame("30 00 01 74 02 7f 00"), 0x81],
    ["a property twice", frame("30 00 01 74 04 01 00 01 00"), 0x82],
    ["a payload format of 2", frame("30 00 01 74 02 01 02"), 0x82],
    ["a reason code that PUBACK does not have", frame("40 00 01 55"), 0x82],
    ["a reason code that only a server sends", frame("e0 8e"), 0x82],
    ["AUTH without a method", frame("f0 19 00"), 0x82],
    ["AUTH with a method where CONNECT had none [MQTT-4.12.0-7]", frame("f0 18 04 15 00 01 6d"), 0x82]
  ]
  for (const [title, bytes, reasonCode] of cases) it(title, () => expectEnd(5, bytes, reasonCode))
})

describe("faults before 5.0 close without a word", () => {
  const cases: ReadonlyArray<Case> = [
    ["reserved packet type 0", hex("00 00"), 0x81],
    ["reserved packet type 15", hex("f0 00"), 0x81],
    ["a topic of ill-formed UTF-8 [MQTT-1.5.3-1]", frame("30 00 02 c3 28"), 0x81],
    ["a topic with NUL [MQTT-1.5.3-2]", frame("30 00 02 74 00"), 0x81],
    ["a length of five bytes (known failure 10)", hex("30 80 80 80 80 01"), 0x81],
    ["packet id 0 in PUBLISH [MQTT-2.3.1-1]", frame("32 00 01 74 00 00"), 0x82],
    ["packet id 0 in SUBSCRIBE [MQTT-2.3.1-1]", frame("82 00 00 00 01 74 00"), 0x82],
    ["PUBLISH at QoS 3 [MQTT-3.3.1-4]", frame("36 00 01 74 00 01"), 0x81],
    ["# in a topic name [MQTT-3.3.2-2]", frame("30 00 01 23"), 0x90],
    ["an empty topic name [MQTT-4.7.3-1] (known failure 9)", frame("30 00 00"), 0x82],
    ["SUBSCRIBE without a filter [MQTT-3.8.3-3]", frame("82 00 01"), 0x82],
    ["UNSUBSCRIBE without a filter [MQTT-3.10.3-2]", frame("a2 00 01"), 0x82],
    ["QoS 3 in SUBSCRIBE [MQTT-3.8.3-4]", frame("82 00 01 00 01 74 03"), 0x82],
    ["SUBSCRIBE that ends before the options (known failure 11)", frame("82 00 01 00 01 74"), 0x81],
    ["PUBLISH that ends before the packet id (known failure 11)", frame("32 00 01 74"), 0x81],
    ["PUBLISH that ends in its topic", frame("30 00 09 74"), 0x81],
    ["a reason code behind PUBACK", frame("40 00 01 00"), 0x81],
    ["bytes behind PINGREQ", frame("c0 01"), 0x81],
    ["a second CONNECT [MQTT-3.1.0-2]", frame("10 00 04 4d 51 54 54 04 02 00 00 00 01 61"), 0x82]
  ]
  for (const version of [3, 4] as const) {
    for (const [title, bytes, reasonCode] of cases) {
      it(`${title} (version ${version})`, () => expectEnd(version, bytes.slice(), reasonCode))
    }
  }
  const strict: ReadonlyArray<Case> = [
    ["flags of PUBREL [MQTT-3.6.1-1]", hex("60 02 00 01"), 0x81],
    ["flags of SUBSCRIBE [MQTT-3.8.1-1]", frame("80 00 01 00 01 74 00"), 0x81],
    ["flags of UNSUBSCRIBE [MQTT-3.10.1-1]", frame("a0 00 01 00 01 74"), 0x81],
    ["flags of DISCONNECT [MQTT-3.14.1-1]", hex("e1 00"), 0x81],
    ["DUP at QoS 0 [MQTT-3.3.1-2]", frame("38 00 01 74"), 0x81],
    ["reserved option bits in SUBSCRIBE [MQTT-3-8.3-4]", frame("82 00 01 00 01 74 04"), 0x81]
  ]
  for (const [title, bytes, reasonCode] of strict) it(`${title} (3.1.1)`, () => expectEnd(4, bytes, reasonCode))
})

describe("what is odd and legal", () => {
  it("3.1 clients may set flags that later versions fix, and leave out what CONNECT announces", () => {
    const h = new CoreHarness()
    const client = h.open(3)
    client.sendBytes(frame("10 00 06 4d 51 49 73 64 70 03 c2 00 00 00 01 61")) // user name and password: neither there
    only(client, "ConnAck")
    client.sendBytes(frame("8a 00 01 00 01 74 00")) // DUP
    only(client, "SubAck")
    client.sendBytes(frame("38 00 01 74 78"))
    assert.deepStrictEqual(client.takeWords(), ['Publish t "x" q0'])
  })

  it("a byte order mark is a character like others [MQTT-1.5.4-3]", () => {
    const h = new CoreHarness()
    const client = subscriber(h, "a", { version: 5 }, "\uFEFFt", "t")
    client.sendBytes(frame("30 00 04 ef bb bf 74 00 78"))
    assert.deepStrictEqual(client.takeWords(), ['Publish \uFEFFt "x" q0'])
  })

  it("5.0 allows a password without a user name, 3.1.1 does not [MQTT-3.1.2-22]", () => {
    const password = new Uint8Array([1])
    const h = new CoreHarness()
    ready(h, "a", { version: 5, password })
    const four = h.connect("b", { version: 4, password })
    assert.deepStrictEqual(four.take(), [])
    assert.isTrue(four.closed)
  })
})

describe("faults in CONNECT", () => {
  const five = (flags: string, properties: string, rest: string): Uint8Array =>
    frame(`10 00 04 4d 51 54 54 05 ${flags} 00 00 ${properties} ${rest}`)
  const id = "00 01 61"
  const will = "00 00 01 77 00 01 78" // no properties, topic w, payload x
  const cases: ReadonlyArray<Case> = [
    ["the reserved flag [MQTT-3.1.2-3]", five("03", "00", id), 0x81],
    ["will QoS 3 [MQTT-3.1.2-12]", five("1e", "00", `${id} ${will}`), 0x81],
    ["will QoS without a will [MQTT-3.1.2-11]", five("0a", "00", id), 0x81],
    ["will retain without a will [MQTT-3.1.2-13]", five("22", "00", id), 0x81],
    ["a will topic with a wildcard", five("06", "00", `${id} 00 00 01 23 00 01 78`), 0x90],
    ["an empty will topic", five("06", "00", `${id} 00 00 00 00 01 78`), 0x90],
    ["a will without its payload (known failure 7)", five("06", "00", `${id} 00 00 01 77`), 0x81],
    ["a bad property in the will (known failure 7)", five("06", "00", `${id} 03 21 00 01 00 01 77 00 01 78`), 0x81],
    ["a client identifier of ill-formed UTF-8", five("02", "00", "00 01 ff"), 0x81],
    ["a user name that is announced and not there", five("82", "00", id), 0x81],
    ["bytes behind the last field", five("02", "00", `${id} 00`), 0x81],
    ["Receive Maximum 0", five("02", "03 21 00 00", id), 0x82],
    ["Maximum Packet Size 0", five("02", "05 27 00 00 00 00", id), 0x82],
    ["Request Problem Information 2", five("02", "02 17 02", id), 0x82],
    ["Request Response Information 2", five("02", "02 19 02", id), 0x82],
    ["a property twice", five("02", "0a 11 00 00 00 01 11 00 00 00 01", id), 0x82],
    ["a property of another packet (known failure 7)", five("02", "03 23 00 01", id), 0x81],
    ["authentication data without a method", five("02", "04 16 00 01 6d", id), 0x82]
  ]
  for (const [title, bytes, reasonCode] of cases) {
    it(`are told to 5.0 in CONNACK: ${title}`, () => {
      const { h, check } = withBystanders()
      const client = h.open(5)
      client.sendBytes(bytes)
      assert.deepStrictEqual(client.takeWords(), [`ConnAck ${reasonCode}`])
      assert.isTrue(client.closed)
      check()
    })
  }

  it("close without a word in 3.1.1, which has no code for them", () => {
    for (const text of [
      "10 00 04 4d 51 54 54 04 03 00 00 00 01 61",
      "10 00 04 4d 51 54 54 04 0a 00 00 00 01 61",
      "10 00 04 4d 51 54 54 04 22 00 00 00 01 61",
      "10 00 04 4d 51 54 54 04 42 00 00 00 01 61 00 01 70", // password only [MQTT-3.1.2-22]
      "10 00 04 4d 51 54 54 04 1e 00 00 00 01 61 00 01 77 00 01 78",
      "10 00 04 4d 51 54 54 04 06 00 00 00 01 61 00 01 2b 00 01 78",
      "10 00 04 4d 51 54 54 04 02 00 00 00 01 ff",
      "11 00 04 4d 51 54 54 04 02 00 00 00 01 61",
      "10 00 04 4d 51 54 54",
      "10 00 ff 4d"
    ]) {
      const { h, check } = withBystanders()
      const client = h.open(4)
      client.sendBytes(frame(text))
      assert.deepStrictEqual(client.take(), [], text)
      assert.isTrue(client.closed, text)
      check()
    }
  })
})

describe("sizes", () => {
  it("a length that is too large is refused before any byte of it is there (known failures 1, 3)", () => {
    const { h, check } = withBystanders()
    const early = h.open()
    early.sendBytes(hex("10 ff ff ff 7f"))
    assert.isTrue(early.closed)
    const client = ready(h, "a", { version: 5 })
    client.sendBytes(hex("30 ff ff ff 7f"))
    assert.deepStrictEqual(client.takeWords(), ["Disconnect 0x95"])
    check()
  })

  it("a first packet that is not CONNECT is refused by its first two bytes (known failure 2)", () => {
    const { h, check } = withBystanders()
    const client = h.open()
    client.sendBytes(hex("30 ff"))
    client.sendBytes(hex("ff 03"))
    assert.isTrue(client.closed)
    check()
  })

  it("thousands of pieces, properties or levels cost no more than their bytes (known failures 3, 4, 5)", () => {
    const { h, check } = withBystanders()
    const client = ready(h, "a", { version: 5 })
    const userProperties = Array.from({ length: 257 }, (_, index) => [`k${index}`, ""] as const)
    client.publish("t", "x", { properties: { userProperties } })
    assert.deepStrictEqual(client.takeWords(), ["Disconnect 0x97"])
    const deep = ready(h, "a", { version: 5 })
    deep.publish("/".repeat(65_535), "x")
    assert.deepStrictEqual(deep.takeWords(), ["Disconnect 0x90"])
    const slow = subscriber(h, "a", {}, "t")
    const bytes = Encoder.encode(slow.publication("t", new Uint8Array(20_000).fill(65)), 4)
    for (let at = 0; at < bytes.length; at++) slow.sendBytes(bytes.subarray(at, at + 1))
    assert.strictEqual(only(slow, "Publish").payload.length, 20_000)
    slow.drop()
    check()
  })

  it("what precedes a bad packet in the same bytes counts", () => {
    const { h } = withBystanders()
    const client = ready(h, "a", { version: 5 })
    const good = Encoder.encode(client.publication("t", "x", { qos: 1, packetId: 5 }), 5)
    client.sendBytes(new Uint8Array([...good, 0x00, 0x00, ...good]))
    assert.deepStrictEqual(client.takeWords(), ["PubAck 5 0x10", "Disconnect 0x81"])
  })
})

/** A small generator of numbers, the same for the same seed. */
const generator = (seed: number) => {
  let state = seed >>> 0
  return (below: number): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 0x1_0000_0000) * below)
  }
}

/** A conversation as a client of this version would send it. */
const conversation = (version: 3 | 4 | 5, client: TestClient): Array<Uint8Array> => {
  const properties =
    version === 5 ? { topicAlias: 1, messageExpiryInterval: 5, userProperties: [["a", "b"]] as const } : undefined
  const will = { topic: "w", payload: new Uint8Array(3), qos: 1, retain: true, properties: undefined } as const
  const ack = (tag: "PubAck" | "PubRec" | "PubRel" | "PubComp", packetId: number): Packet => ({
    _tag: tag,
    packetId,
    reasonCode: 0,
    properties: undefined
  })
  const packets: ReadonlyArray<Packet> = [
    {
      _tag: "Connect",
      protocolVersion: version,
      clientId: "fuzz",
      cleanStart: true,
      keepAliveSeconds: 60,
      userName: "u",
      password: new Uint8Array(4),
      will,
      properties: version === 5 ? { receiveMaximum: 5, maximumPacketSize: 1_000 } : undefined
    },
    {
      _tag: "Subscribe",
      packetId: 1,
      subscriptions: ["t/#", "+/x", "w"].map((filter, qos) => ({
        filter,
        qos: qos as 0 | 1 | 2, // three filters
        noLocal: false,
        retainAsPublished: false,
        retainHandling: 0
      })),
      properties: version === 5 ? { subscriptionIdentifiers: [3] } : undefined
    },
    client.publication("t/x", "zero", { properties }),
    client.publication("t/x", "one", { qos: 1, packetId: 2, retain: true }),
    client.publication("t/x", "two", { qos: 2, packetId: 3, properties }),
    ack("PubRel", 3),
    ack("PubAck", 1),
    ack("PubRec", 2),
    ack("PubComp", 2),
    { _tag: "PingReq" },
    { _tag: "Unsubscribe", packetId: 4, filters: ["t/#"], properties: undefined },
    { _tag: "Disconnect", reasonCode: 0, properties: undefined }
  ]
  return packets.map((packet) => Encoder.encode(packet, version))
}

const joined = (parts: ReadonlyArray<Uint8Array>): Uint8Array => Uint8Array.from(parts.flatMap((part) => [...part]))

describe("bytes that nobody meant (known failures 12, 13)", () => {
  const rounds = 1_500

  /** Sends them in random chunks, closes, and says whether anything is left behind. */
  const throwIn = (h: CoreHarness, bytes: Uint8Array, random: (below: number) => number): void => {
    const peer = new RawPeer(h)
    for (let at = 0; at < bytes.length; ) {
      const size = 1 + random(random(4) === 0 ? 3 : 200)
      peer.send(bytes.slice(at, at + size))
      at += size
    }
    peer.close()
  }

  /** Mutations can make a session that is to be kept, or retain something: they are legal, and cleared away here. */
  const clearUp = (h: CoreHarness): void => {
    for (const id of h.core.sessions.keys()) {
      if (id !== "bystander" && id !== "publisher") ready(h, id, { version: 4, clean: true }).disconnect()
    }
  }

  it("never throw, disturb nobody, and leave nothing: random bytes", () => {
    const { h, check } = withBystanders()
    const random = generator(1)
    for (let round = 0; round < rounds; round++) {
      throwIn(
        h,
        Uint8Array.from({ length: random(300) }, () => random(256)),
        random
      )
    }
    clearUp(h)
    check()
  })

  for (const version of versions) {
    it(`never throw, disturb nobody, and leave nothing: random bytes behind CONNECT (version ${version})`, () => {
      const { h, check } = withBystanders()
      const random = generator(version)
      const [connect] = conversation(version, h.clients[0]!)
      for (let round = 0; round < rounds; round++) {
        const noise = Uint8Array.from({ length: random(200) }, () => random(256))
        // Mostly packets that might be: a known type, a plausible length.
        if (noise.length > 2) noise[1] = random(noise.length)
        throwIn(h, joined([connect!, noise]), random)
      }
      check()
    })

    it(`never throw, disturb nobody, and leave nothing: mutated conversations (version ${version})`, () => {
      const { h, check } = withBystanders()
      const random = generator(100 + version)
      const parts = conversation(version, h.clients[0]!)
      for (let round = 0; round < rounds; round++) {
        // CONNECT is spared in half of the rounds, so that the rest is looked at.
        const bytes = joined(parts)
        const from = round % 2 === 0 ? parts[0]!.length : 0
        for (let count = 1 + random(4); count > 0; count--) bytes[from + random(bytes.length - from)] = random(256)
        throwIn(h, random(3) === 0 ? bytes.slice(0, random(bytes.length)) : bytes, random)
      }
      clearUp(h)
      h.advance(10_000)
      check()
    })
  }
})
