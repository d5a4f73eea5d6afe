import { assert, describe, it } from "@effect/vitest"
import * as Decoder from "../../src/protocol/Decoder.ts"
import type { Packet, ProtocolVersion } from "../../src/protocol/Packet.ts"
import { decodeAll, decoderFor, limits, plain, splits } from "../fixtures/decoding.ts"
import { invalid } from "../fixtures/faults.ts"
import { type Sender, valid } from "../fixtures/packets.ts"
import { bytes, concat, hex } from "../fixtures/wire.ts"

/** A CONNECT is decoded before there is a version, everything else after. */
const versionBefore = (packet: Packet, version: ProtocolVersion) => (packet._tag === "Connect" ? undefined : version)

const cases = valid.flatMap((fixture) =>
  fixture.versions.flatMap((version) => fixture.senders.map((sender) => ({ ...fixture, version, sender })))
)

const faults = invalid.flatMap((fixture) => fixture.versions.map((version) => ({ ...fixture, version })))

describe("Decoder, valid packets", () => {
  for (const { name, packet, sender, version, wire } of cases) {
    it(`${name} (version ${version}, from a ${sender})`, () => {
      const decoder = decoderFor(sender, versionBefore(packet, version))
      const result = decodeAll(decoder, [bytes(wire)])
      assert.isUndefined(result.error)
      assert.deepStrictEqual(result.packets, [plain(packet)])
      assert.strictEqual(decoder.version, version)
      assert.strictEqual(decoder.bufferedBytes, 0)
    })
  }

  it("is the same in every split of two, and byte by byte", () => {
    for (const { name, packet, sender, version, wire } of cases) {
      const whole = bytes(wire)
      for (let at = 1; at < whole.length; at++) {
        const decoder = decoderFor(sender, versionBefore(packet, version))
        const result = decodeAll(decoder, [whole.slice(0, at), whole.slice(at)])
        assert.deepStrictEqual(result, { packets: [plain(packet)], error: undefined }, `${name}, split at ${at}`)
      }
      const decoder = decoderFor(sender, versionBefore(packet, version))
      assert.deepStrictEqual(decodeAll(decoder, splits(whole, 1)).packets, [plain(packet)], name)
    }
  })

  const stream = (sender: Sender, version: ProtocolVersion) => {
    const own = cases.filter((one) => one.sender === sender && one.version === version && one.packet._tag !== "Connect")
    return { whole: concat(own.map((one) => bytes(one.wire))), packets: own.map((one) => plain(one.packet)) }
  }

  for (const sender of ["client", "server"] as const) {
    for (const version of [3, 4, 5] as const) {
      it(`decodes all packets of version ${version} from a ${sender} in one stream, in chunks of any size`, () => {
        const { packets, whole } = stream(sender, version)
        assert.isAbove(packets.length, 10)
        for (const size of [1, 2, 3, 5, 7, 13, 64, 100, 1_000, whole.length]) {
          const result = decodeAll(decoderFor(sender, version), splits(whole, size))
          assert.deepStrictEqual(result, { packets, error: undefined }, `chunks of ${size}`)
        }
      })

      it(`gives the same when version ${version} from a ${sender} is pushed ahead of decoding`, () => {
        const { packets, whole } = stream(sender, version)
        const decoder = decoderFor(sender, version)
        const chunks = splits(whole, 7)
        for (const chunk of chunks.slice(0, -1)) decoder.push(chunk)
        assert.strictEqual(decoder.bufferedBytes, whole.length - chunks.at(-1)!.length)
        assert.deepStrictEqual(decodeAll(decoder, chunks.slice(-1)).packets, packets)
        assert.strictEqual(decoder.bufferedBytes, 0)
      })
    }
  }
})

describe("Decoder, faults", () => {
  for (const { clause, code, name, reasonCode, sender, version, wire } of faults) {
    it(`${name} (version ${version}, from a ${sender})`, () => {
      const decoder = decoderFor(sender, version)
      const { error, packets } = decodeAll(decoder, [bytes(wire)])
      assert.deepStrictEqual(packets, [])
      assert.strictEqual(error?.reasonCode, reasonCode, error?.message)
      assert.strictEqual(error?.code, code)
      assert.match(error!.message, /^[A-Z0-9].*\.$/, "is a sentence")
      if (clause !== undefined) assert.include(error!.message, clause)
      assert.strictEqual(decoder.bufferedBytes, 0)
    })
  }

  it("are the same byte by byte, and packets before them are kept", () => {
    const before = bytes("32[ 'a' 0001 00 ] 40 02 00 09")
    for (const { name, sender, version, wire } of faults) {
      const whole = bytes(wire)
      const expected = decodeAll(decoderFor(sender, version), [whole]).error
      assert.deepStrictEqual(decodeAll(decoderFor(sender, version), splits(whole, 1)).error, expected, name)
      if (version === undefined) continue
      for (const size of [1, 3, 1_000]) {
        const result = decodeAll(decoderFor(sender, version), splits(concat([before, whole, before]), size))
        assert.deepStrictEqual(
          result.packets.map((packet) => packet._tag),
          ["Publish", "PubAck"],
          name
        )
        assert.deepStrictEqual(result.error, expected, name)
      }
    }
  })

  it("come from the fixed header, before the body has arrived", () => {
    const large = decoderFor("client", 4)
    large.push(bytes("30 ff ff 7f"))
    assert.isUndefined(large.next())
    assert.strictEqual(large.error?.reasonCode, 0x95)
    const second = decoderFor("client", 4)
    second.push(bytes("10 7f"))
    assert.isUndefined(second.next())
    assert.strictEqual(second.error?.reasonCode, 0x82)
  })

  it("leave the version known once the protocol level was read, so that the refusal can be in it", () => {
    const decoder = decoderFor("client", undefined)
    const { error } = decodeAll(decoder, [bytes("10[ 'MQTT' 05 03 003c 00 'c' ]")])
    assert.strictEqual(error?.reasonCode, 0x81)
    assert.strictEqual(decoder.version, 5)
  })

  it("stick: nothing is decoded or kept after one", () => {
    const decoder = decoderFor("client", 4)
    decodeAll(decoder, [bytes("30 00")])
    const first = decoder.error
    const after = decodeAll(decoder, [bytes("c0 00"), bytes("00 00")])
    assert.deepStrictEqual(after.packets, [])
    assert.strictEqual(decoder.error, first)
    assert.strictEqual(decoder.bufferedBytes, 0)
  })
})

describe("Decoder, limits", () => {
  it("counts the whole packet, and can be raised between packets", () => {
    const decoder = new Decoder.Decoder({ ...limits, sender: "client", packetBytesMax: 9, version: 4 })
    const exact = bytes("30[ 'a/b' =hi= ]")
    assert.strictEqual(exact.length, 9)
    assert.lengthOf(decodeAll(decoder, [exact]).packets, 1)
    decoder.packetBytesMax = 10
    assert.lengthOf(decodeAll(decoder, [bytes("30[ 'a/b' =hi!= ]")]).packets, 1)
    const { error, packets } = decodeAll(decoder, [bytes("30[ 'a/b' =hi!!= ]")])
    assert.deepStrictEqual(packets, [])
    assert.strictEqual(error?.reasonCode, 0x95)
  })

  it("answers a topic of 65,535 slashes with an error, not a stack overflow (known failures, 5)", () => {
    const decoder = decoderFor("client", 4)
    const { error } = decodeAll(decoder, [bytes(`30[ ffff ${"2f".repeat(65_535)} ]`)])
    assert.strictEqual(error?.code, 601)
    assert.strictEqual(error?.reasonCode, 0x90)
  })
})

describe("Decoder, cost", () => {
  const payloadBytes = 2 * 1_048_576
  const packet = concat([bytes("30 85 80 80 01"), bytes("'big'"), new Uint8Array(payloadBytes)])
  const count = (size: number) => {
    const decoder = new Decoder.Decoder({ ...limits, packetBytesMax: packet.length, sender: "client", version: 4 })
    const { error, packets } = decodeAll(decoder, splits(packet, size))
    assert.isUndefined(error)
    assert.lengthOf(packets, 1)
    assert.strictEqual(packets[0]?._tag === "Publish" && packets[0].payload.length, payloadBytes)
    return decoder.copiedBytes
  }

  // Counted, not timed: joining again at every chunk would copy thousands of times as much.
  for (const size of [1, 1_460, 4_095, 4_096, 65_536]) {
    it(`copies no byte more than twice when 2 MiB come in chunks of ${size}`, () => {
      assert.isAtMost(count(size), 2 * packet.length)
    })
  }

  it("copies nothing when the packet lies in one chunk", () => {
    assert.strictEqual(count(packet.length), 0)
  })

  it("copies only the packets that span chunks", () => {
    const decoder = decoderFor("client", 4)
    const one = bytes("30[ 'a/b' =hi= ]")
    const chunk = concat([...Array.from({ length: 100 }, () => one), one.slice(0, 3)])
    decodeAll(decoder, [chunk, one.slice(3)])
    assert.strictEqual(decoder.copiedBytes, one.length)
  })

  it("keeps the bytes that arrived, not the length that was claimed", () => {
    const decoder = new Decoder.Decoder({ ...limits, packetBytesMax: 0x0fff_ffff, sender: "client", version: 4 })
    decoder.push(bytes("30 f8 ff ff 7f 0001 61"))
    assert.isUndefined(decoder.next())
    assert.isUndefined(decoder.error)
    assert.strictEqual(decoder.bufferedBytes, 8)
  })
})

describe("DecodedPublish", () => {
  const publishOf = (decoder: Decoder.Decoder, chunk: Uint8Array): Decoder.DecodedPublish => {
    decoder.push(chunk)
    const packet = decoder.next()
    if (!(packet instanceof Decoder.DecodedPublish)) throw new Error("not a PUBLISH")
    return packet
  }

  it("says where its bytes are, in the chunk that was pushed", () => {
    const chunk = concat([bytes("c0 00"), bytes("32[ 'a/b' 0102 =hello= ]"), bytes("c0 00")])
    const decoder = decoderFor("client", 4)
    decoder.push(chunk)
    assert.strictEqual(decoder.next()?._tag, "PingReq")
    const packet = decoder.next() as Decoder.DecodedPublish
    assert.strictEqual(packet.source, chunk)
    assert.strictEqual(hex(chunk.slice(packet.frameStart, packet.frameEnd)), hex(bytes("32[ 'a/b' 0102 =hello= ]")))
    assert.strictEqual(hex(chunk.slice(packet.packetIdAt, packet.packetIdAt + 2)), "01 02")
    assert.strictEqual(new TextDecoder().decode(chunk.slice(packet.payloadStart, packet.payloadEnd)), "hello")
    assert.strictEqual(packet.payload.buffer, chunk.buffer, "a view, not a copy")
    assert.strictEqual(decoder.next()?._tag, "PingReq")
  })

  it("has no place for a packet identifier at QoS 0", () => {
    const packet = publishOf(decoderFor("client", 5), bytes("30[ 'a/b' 00 =hello= ]"))
    assert.strictEqual(packet.packetIdAt, -1)
    assert.isUndefined(packet.packetId)
    assert.strictEqual(new TextDecoder().decode(packet.payload), "hello")
  })

  it("remembers the last topic, however other topics resemble it", () => {
    const decoder = decoderFor("client", 4)
    const long = `a/b${"x".repeat(2_000)}`
    const topics = ["a/b", "a/b", "a/c", "b/b", "a/b", "a", "a/b/c", "a/b", "ä/b", "a/b", long, long, "a/b", `${long}y`]
    for (const topic of topics) assert.strictEqual(publishOf(decoder, bytes(`30[ '${topic}' =x= ]`)).topic, topic)
  })

  it("checks a topic that resembles the last valid one", () => {
    const decoder = decoderFor("client", 4)
    publishOf(decoder, bytes("30[ 'a/b' =x= ]"))
    assert.strictEqual(decodeAll(decoder, [bytes("30[ 'a/+' =x= ]")]).error?.code, 601)
  })
})
