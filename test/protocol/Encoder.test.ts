import { assert, describe, it } from "@effect/vitest"
import { DecodedPublish, Decoder } from "../../src/protocol/Decoder.ts"
import { encodable } from "../../src/protocol/Encodable.ts"
import * as Encoder from "../../src/protocol/Encoder.ts"
import type { Packet, ProtocolVersion, Publish } from "../../src/protocol/Packet.ts"
import { decodeAll, decoderFor, limits, plain } from "../fixtures/decoding.ts"
import { encodableAs, packets, senderOf } from "../fixtures/generated.ts"
import { valid } from "../fixtures/packets.ts"
import { bytes, hex } from "../fixtures/wire.ts"

const versions: ReadonlyArray<ProtocolVersion> = [3, 4, 5]

describe("Encoder", () => {
  for (const { decodeOnly, name, packet, versions, wire } of valid) {
    for (const version of versions) {
      it(`${name} (version ${version})`, () => {
        const expected = bytes(wire)
        const encoded = Encoder.encode(packet, version)
        assert.strictEqual(Encoder.byteLength(packet, version), encoded.length)
        if (decodeOnly === undefined) assert.strictEqual(hex(encoded), hex(expected))
        else assert.notStrictEqual(hex(encoded), hex(expected), "the reason in the table is out of date")
      })
    }
  }

  it("writes at an offset, into exactly the bytes it announces", () => {
    for (const { packet, versions } of valid) {
      for (const version of versions) {
        const length = Encoder.byteLength(packet, version)
        const target = new Uint8Array(length + 20).fill(0xaa)
        assert.strictEqual(Encoder.encodeInto(packet, version, target, 10), 10 + length)
        assert.strictEqual(hex(target.slice(10, 10 + length)), hex(Encoder.encode(packet, version)))
        assert.isTrue([...target.slice(0, 10), ...target.slice(10 + length)].every((byte) => byte === 0xaa))
        assert.strictEqual(hex(Encoder.encode(packet, version)), hex(target.slice(10, 10 + length)))
      }
    }
  })

  it("tells older clients the nearest return code", () => {
    const refused = (reasonCode: 0x8a | 0x97 | 0x8c) =>
      ({ _tag: "ConnAck", sessionPresent: false, reasonCode }) as const
    assert.strictEqual(hex(Encoder.encode(refused(0x8a), 4)), "20 02 00 05")
    assert.strictEqual(hex(Encoder.encode(refused(0x97), 4)), "20 02 00 03")
    assert.strictEqual(hex(Encoder.encode(refused(0x8c), 3)), "20 02 00 04")
    const subAck: Packet = { _tag: "SubAck", packetId: 1, reasonCodes: [1, 0x87, 0x8f] }
    assert.strictEqual(hex(Encoder.encode(subAck, 4)), "90 05 00 01 01 80 80")
  })

  it("leaves out what older versions cannot say", () => {
    const disconnect: Packet = { _tag: "Disconnect", reasonCode: 0x8b, properties: { reasonString: "bye" } }
    assert.strictEqual(hex(Encoder.encode(disconnect, 4)), "e0 00")
    const pubRec: Packet = { _tag: "PubRec", packetId: 1, reasonCode: 0x97, properties: { reasonString: "full" } }
    assert.strictEqual(hex(Encoder.encode(pubRec, 4)), "50 02 00 01")
  })

  it("leaves out properties that the packet cannot carry", () => {
    const properties: object = { topicAlias: 1, reasonString: "r" }
    const pubAck: Packet = { _tag: "PubAck", packetId: 1, reasonCode: 0, properties }
    assert.strictEqual(hex(Encoder.encode(pubAck, 5)), hex(bytes("40[ 0001 00 [ 1f 'r' ] ]")))
  })
})

describe("Encoder and Decoder", () => {
  const roundTrip = (packet: Packet, version: ProtocolVersion): void => {
    const fitted = encodableAs(packet, version)
    if (fitted === undefined) return
    const encoded = Encoder.encode(fitted, version)
    assert.strictEqual(Encoder.byteLength(fitted, version), encoded.length)
    assert.isUndefined(encodable(fitted, version))
    const sender = fitted._tag === "Disconnect" && version < 5 ? "client" : senderOf(fitted)
    const versionBefore = fitted._tag === "Connect" ? undefined : version
    const decoder = new Decoder({ ...limits, userPropertiesMax: 1_000, sender, version: versionBefore })
    const { error, packets } = decodeAll(decoder, [encoded])
    assert.isUndefined(error, hex(encoded))
    assert.deepStrictEqual(packets, [plain(fitted)])
  }

  for (const version of versions) {
    it.prop(
      `decode after encode is the identity in version ${version}`,
      [packets],
      ([packet]) => roundTrip(packet, version),
      {
        arbitrary: { runs: 1_000, seed: `round trip ${version}` }
      }
    )
  }
})

describe("writeAck", () => {
  it("writes what the encoder writes", () => {
    const tags = { 4: "PubAck", 5: "PubRec", 6: "PubRel", 7: "PubComp" } as const
    for (const type of [4, 5, 6, 7] as const) {
      const target = new Uint8Array(6)
      assert.strictEqual(Encoder.writeAck(target, 1, type, 0x1234), 5)
      const expected = Encoder.encode({ _tag: tags[type], packetId: 0x1234, reasonCode: 0 }, 4)
      assert.strictEqual(hex(target), `00 ${hex(expected)} 00`)
    }
  })
})

describe("preparePublish and stampPublish", () => {
  const isPublish = (packet: Packet): packet is Publish => packet._tag === "Publish"
  const publishes = valid.flatMap(({ packet, versions }) =>
    isPublish(packet) ? versions.map((version) => ({ packet, version })) : []
  )

  it("give the bytes of the encoder, for every receiver's packet identifier", () => {
    for (const { packet, version } of publishes) {
      const prepared = Encoder.preparePublish(packet, version)
      for (const packetId of [1, 0x1234, 0xffff]) {
        const target = new Uint8Array(prepared.end - prepared.start + 2)
        const { bytes, end, packetIdAt, start } = prepared
        assert.strictEqual(Encoder.stampPublish(bytes, start, end, packetIdAt, target, 1, packetId), target.length - 1)
        const expected = Encoder.encode(packet.qos === 0 ? packet : { ...packet, packetId }, version)
        assert.strictEqual(hex(target), `00 ${hex(expected)} 00`)
      }
    }
  })

  it("take the payload from the chunk it arrived in, and change QoS and flags on the way", () => {
    const decoder = decoderFor("client", 5)
    decoder.push(bytes("c0 00 3b[ 'a/b' 0102 [ 26 'k' 'v' ] =hello= ] c0 00"))
    decoder.next()
    const received = decoder.next()
    assert.instanceOf(received, DecodedPublish)
    const { payloadEnd, payloadStart, properties, source, topic } = received as DecodedPublish
    const content = { topic, qos: 0, retain: false, dup: false, properties, source, payloadStart, payloadEnd } as const
    const inFive = Encoder.preparePublish(content, 5)
    assert.strictEqual(inFive.packetIdAt, -1)
    assert.strictEqual(hex(inFive.bytes), hex(bytes("30[ 'a/b' [ 26 'k' 'v' ] =hello= ]")))
    assert.strictEqual(
      hex(Encoder.preparePublish({ ...content, qos: 2 }, 4).bytes),
      hex(bytes("34[ 'a/b' 0000 =hello= ]"))
    )
  })

  it("stamp a frame straight out of the chunk it arrived in, at any length", () => {
    for (const size of [0, 10, 40, 300, 5_000]) {
      const frame = Encoder.encode(
        { ...publishes[0]!.packet, qos: 1, packetId: 1, payload: new Uint8Array(size).fill(7) },
        4
      )
      const chunk = new Uint8Array(frame.length + 9)
      chunk.set(frame, 4)
      const received = decoderFor("client", 4)
      received.push(chunk.subarray(4, 4 + frame.length))
      const packet = received.next() as DecodedPublish
      const target = new Uint8Array(frame.length)
      Encoder.stampPublish(chunk, 4, 4 + frame.length, packet.packetIdAt - packet.frameStart, target, 0, 0xabcd)
      frame[packet.packetIdAt] = 0xab
      frame[packet.packetIdAt + 1] = 0xcd
      assert.strictEqual(hex(target), hex(frame))
    }
  })
})

describe("encodable", () => {
  const publish: Publish = {
    _tag: "Publish",
    topic: "t",
    payload: new Uint8Array(0),
    qos: 0,
    retain: false,
    dup: false
  }
  const connect = { _tag: "Connect", clientId: "c", cleanStart: true, keepAliveSeconds: 0 } as const
  const will = { topic: "w", payload: new Uint8Array(0), qos: 0, retain: false } as const

  it("accepts every packet of the table, in its versions", () => {
    for (const { packet, versions } of valid) {
      for (const version of versions) assert.isUndefined(encodable(packet, version), JSON.stringify(packet))
    }
  })

  it("accepts a decoded PUBLISH", () => {
    const decoder = decoderFor("client", 4)
    decoder.push(bytes("32[ 'a/b' 0102 =hello= ]"))
    assert.isUndefined(encodable(decoder.next()!, 4))
  })

  const refused: ReadonlyArray<readonly [string, object, ProtocolVersion]> = [
    ["a topic over 65,535 bytes", { ...publish, topic: "ä".repeat(32_768) }, 4],
    ["a lone surrogate", { ...publish, topic: "\ud800" }, 4],
    ["NUL in a topic", { ...publish, topic: "a\0b" }, 4],
    ["a wildcard in a topic", { ...publish, topic: "a/#" }, 4],
    ["an empty topic", { ...publish, topic: "" }, 4],
    ["an empty topic with an alias before 5.0", { ...publish, topic: "", properties: { topicAlias: 1 } }, 4],
    ["QoS 1 without a packet identifier", { ...publish, qos: 1 }, 4],
    ["packet identifier 0", { ...publish, qos: 1, packetId: 0 }, 4],
    ["QoS 3", { ...publish, qos: 3, packetId: 1 }, 4],
    ["a duplicate at QoS 0", { ...publish, dup: true }, 4],
    // mqtt-packet #83: a will QoS of 4 ran into the neighbouring flags.
    ["will QoS 4", { ...connect, protocolVersion: 4, will: { ...will, qos: 4 } }, 4],
    ["a wildcard in a will topic", { ...connect, protocolVersion: 4, will: { ...will, topic: "+" } }, 4],
    [
      "a will over 65,535 bytes",
      { ...connect, protocolVersion: 4, will: { ...will, payload: new Uint8Array(65_536) } },
      4
    ],
    ["a password without a user name", { ...connect, protocolVersion: 4, password: new Uint8Array(1) }, 4],
    ["a long user property", { ...publish, properties: { userProperties: [["k", "v".repeat(65_536)]] } }, 5],
    ["a wildcard in a response topic", { ...publish, properties: { responseTopic: "reply/#" } }, 5],
    ["an empty response topic", { ...publish, properties: { responseTopic: "" } }, 5],
    ["topic alias 0", { ...publish, properties: { topicAlias: 0 } }, 5],
    ["subscription identifier 268,435,456", { ...publish, properties: { subscriptionIdentifiers: [268_435_456] } }, 5],
    ["a reason code of another packet", { _tag: "PubAck", packetId: 1, reasonCode: 0x92 }, 5],
    ["SUBSCRIBE without a filter", { _tag: "Subscribe", packetId: 1, subscriptions: [] }, 5],
    ["AUTH without a method", { _tag: "Auth", reasonCode: 0x18 }, 5],
    ["AUTH before 5.0", { _tag: "Auth", reasonCode: 0x18, properties: { authenticationMethod: "M" } }, 4]
  ]

  for (const [name, packet, version] of refused) {
    it(`refuses ${name}`, () => {
      const error = encodable(packet as Packet, version) // deliberately not one
      assert.strictEqual(error?._tag, "ProtocolError")
      assert.match(error!.message, /\.$/)
    })
  }
})
