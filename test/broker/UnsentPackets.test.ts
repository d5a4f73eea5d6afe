/**
 * Taking messages at QoS 0 out of bytes that wait, and nothing else.
 */
import { assert, describe, it } from "@effect/vitest"
import * as UnsentPackets from "../../src/broker/UnsentPackets.ts"
import * as Encoder from "../../src/protocol/Encoder.ts"
import type { Packet } from "../../src/protocol/Packet.ts"
import { publish } from "./RawClient.ts"

const ping: Packet = { _tag: "PingResp" }
const ack: Packet = { _tag: "PubAck", packetId: 7, reasonCode: 0, properties: undefined }

const encode = (packets: ReadonlyArray<Packet>, version: 4 | 5): Buffer =>
  Buffer.concat(packets.map((packet) => Encoder.encode(packet, version)))

/** In pieces that do not care where packets begin. */
const pieces = (bytes: Buffer, size: number): ReadonlyArray<Uint8Array> =>
  Array.from({ length: Math.ceil(bytes.length / size) }, (_, at) => bytes.subarray(at * size, (at + 1) * size))

const rest = (chunks: ReadonlyArray<Uint8Array>, aliases = false) => {
  const { chunks: kept, thrown } = UnsentPackets.withoutQos0(chunks, aliases)
  return { bytes: Buffer.concat(kept), topics: thrown.map(({ topic }) => topic) }
}

describe("withoutQos0", () => {
  it("leaves everything that is no message at QoS 0, byte for byte, however it is cut", () => {
    for (const version of [4, 5] as const) {
      const stays = [publish("a", "1", 1), ack, publish("b", "2", 2), ping]
      const goes = [publish("x", "3"), publish("y/z", "4".repeat(300), 0, true)]
      const mixed = [goes[0]!, stays[0]!, stays[1]!, goes[1]!, goes[0]!, stays[2]!, stays[3]!, goes[0]!]
      for (const size of [1, 7, 100, 10_000]) {
        const { bytes, topics } = rest(pieces(encode(mixed, version), size))
        assert.isTrue(bytes.equals(encode(stays, version)))
        assert.deepStrictEqual(topics, ["x", "y/z", "x", "x"])
      }
    }
  })

  it("leaves nothing of messages alone, and takes nothing from nothing", () => {
    assert.deepStrictEqual(rest([encode([publish("x", "3")], 4)]), { bytes: Buffer.alloc(0), topics: ["x"] })
    assert.deepStrictEqual(rest([]), { bytes: Buffer.alloc(0), topics: [] })
  })

  it("leaves a message that tells its topic alias: those after it need that", () => {
    const message = (topic: string, topicAlias: number | undefined): Packet =>
      ({ ...publish(topic, "x"), properties: { contentType: "c", topicAlias } }) as Packet
    const packets = [message("t", 1), message("", 1), message("other", undefined)]
    const { bytes, topics } = rest([encode(packets, 5)], true)
    assert.isTrue(bytes.equals(encode([packets[0]!], 5)))
    assert.deepStrictEqual(topics, ["", "other"])
  })
})

describe("parts", () => {
  const packets = Array.from({ length: 40 }, (_, index) =>
    publish("t", "x".repeat((index % 7) * 50), index % 3 === 0 ? 0 : 1)
  )
  const bytes = encode(packets, 4)
  let end = 0
  const ends = packets.map((packet) => {
    end += Encoder.encode(packet, 4).length
    return end
  })

  it("cuts behind packets, as early as is allowed, however they come", () => {
    for (const size of [1, 7, 100, 10_000]) {
      for (const least of [1, 100, 300, 1_000, 100_000]) {
        const found = UnsentPackets.parts(pieces(bytes, size), least).map((part) => Buffer.concat(part))
        assert.isTrue(Buffer.concat(found).equals(bytes))
        let at = 0
        for (const [index, { length }] of found.entries()) {
          const earliest = ends.find((end) => end >= at + least) ?? bytes.length
          at += length
          assert.strictEqual(at, earliest, `part ${index}, at least ${least} bytes, pieces of ${size}`)
        }
      }
    }
  })

  it("makes nothing of nothing", () => {
    assert.deepStrictEqual(UnsentPackets.parts([], 1), [])
  })
})
