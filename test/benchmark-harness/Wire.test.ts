/** The load generator's own codec: a benchmark is only as good as its counting. */
import { assert, describe, it } from "@effect/vitest"
import { DecodedPublish, Decoder } from "../../src/protocol/Decoder.ts"
import * as Wire from "../bench/wire.ts"

/** Walk a byte stream in chunks of a size, and collect the packets as hexadecimal. */
const walked = (stream: Buffer, chunkBytes: number): ReadonlyArray<string> => {
  const packets: Array<string> = []
  const walker = new Wire.PacketWalker()
  const chunk = new Uint8Array(chunkBytes)
  const handler: Wire.PacketHandler = {
    packet: (bytes, start, end) => packets.push(Buffer.from(bytes.subarray(start, end)).toString("hex")),
    flush: () => {}
  }
  for (let at = 0; at < stream.length; at += chunkBytes) {
    const part = stream.subarray(at, at + chunkBytes)
    // As the sockets do: every chunk comes in the same buffer, whose end may be stale.
    chunk.set(part)
    walker.walk(chunk, part.length, handler)
  }
  return packets
}

describe("wire", () => {
  it("encodes what the specification says", () => {
    assert.strictEqual(Wire.connect(4, "a", false).toString("hex"), "100d00044d5154540402000000" + "0161")
    assert.strictEqual(Wire.connect(5, "a", false).toString("hex"), "100e00044d515454050200000000" + "0161")
    assert.strictEqual(
      Wire.connect(5, "a", true).toString("hex"),
      "101300044d51545405000000" + "051100000e10" + "000161"
    )
    assert.strictEqual(Wire.subscribe(4, 258, ["a", "b/#"], 1).toString("hex"), "820c010200016101" + "0003622f2301")
    assert.strictEqual(Wire.unsubscribe(5, 1, ["a"]).toString("hex"), "a206000100000161")
    assert.strictEqual(Wire.publish(4, "a/b", Buffer.from("x"), 0, 9).toString("hex"), "30060003612f6278")
    assert.strictEqual(Wire.publish(5, "a/b", Buffer.from("x"), 2, 9).toString("hex"), "34090003612f6200090078")
  })

  it("encodes properties that the broker's decoder understands", () => {
    const decoder = new Decoder({
      sender: "client",
      version: 5,
      packetBytesMax: 1_000,
      topicLevelsMax: 10,
      userPropertiesMax: 10
    })
    const payload = Buffer.from("payload")
    decoder.push(Wire.publish(5, "bench/topic", payload, 1, 7, Wire.messageProperties()))
    const packet = decoder.next()
    assert.isTrue(packet instanceof DecodedPublish)
    const { packetId, payload: decoded, properties } = packet as DecodedPublish // just checked
    assert.strictEqual(packetId, 7)
    assert.strictEqual(Buffer.from(decoded).toString(), "payload")
    assert.deepInclude(properties, {
      messageExpiryInterval: 3_600,
      contentType: "application/json",
      responseTopic: "bench/answers/0001",
      userProperties: [
        ["source", "sensor-0001"],
        ["unit", "degree Celsius"]
      ]
    })
    assert.strictEqual(properties?.correlationData?.length, 16)
    assert.strictEqual(Wire.messageProperties().length, 110)
  })

  it("finds the same packets however the stream is cut", () => {
    const packets = [
      Wire.publish(4, "bench/topic", Buffer.alloc(64, 1), 0, 0),
      Buffer.from([0x40, 2, 1, 2]),
      Buffer.from([0xd0, 0]),
      Wire.publish(5, "bench/topic", Buffer.alloc(20_000, 2), 1, 7),
      Wire.publish(5, "", Buffer.alloc(0), 1, 8),
      Buffer.from([0x62, 2, 0, 1])
    ]
    const expected = packets.map((packet) => packet.toString("hex"))
    for (const chunkBytes of [1, 2, 3, 5, 63, 64, 65, 1_000, 100_000]) {
      assert.deepStrictEqual(walked(Buffer.concat(packets), chunkBytes), expected, `chunks of ${chunkBytes}`)
    }
  })

  it("finds the packet id of a PUBLISH behind its topic, whatever the packet's length takes", () => {
    for (const payloadBytes of [0, 100, 200, 20_000]) {
      const packet = Wire.publish(4, "bench/topic", Buffer.alloc(payloadBytes), 1, 0x1234)
      const at = Wire.publishIdAt(packet, 0)
      assert.strictEqual(packet.readUInt16BE(at), 0x1234)
      assert.strictEqual(packet.length - at - 2, payloadBytes)
    }
  })
})
