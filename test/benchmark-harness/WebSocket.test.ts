/** The load generator's WebSocket: its frames are what RFC 6455 says, and it finds packets however frames are cut. */
import { assert, describe, it } from "@effect/vitest"
import * as WebSocket from "../bench/web-socket.ts"
import * as Wire from "../bench/wire.ts"

const sizes = [0, 1, 3, 4, 125, 126, 127, 1_000, 65_535, 65_536, 100_001]

const payloadOf = (size: number): Buffer => Buffer.from(Array.from({ length: size }, (_, index) => index % 251))

/** A server's frame: not masked, with the shortest length there is. */
const serverFrame = (opcode: number, payload: Uint8Array): Buffer => {
  const size = payload.length
  const header = Buffer.alloc(size < 126 ? 2 : size < 65_536 ? 4 : 10)
  header[0] = 0x80 | opcode
  header[1] = size < 126 ? size : size < 65_536 ? 126 : 127
  if (header.length === 4) header.writeUInt16BE(size, 2)
  if (header.length === 10) header.writeBigUInt64BE(BigInt(size), 2)
  return Buffer.concat([header, payload])
}

/** What a reader reports of a stream that comes in chunks of a size. */
const read = (stream: Buffer, chunkBytes: number) => {
  const packets: Array<string> = []
  const controls: Array<string> = []
  const walker = new Wire.PacketWalker()
  const handler: Wire.PacketHandler = {
    packet: (bytes, start, end) => packets.push(Buffer.from(bytes.subarray(start, end)).toString("hex")),
    flush: () => {}
  }
  const reader = new WebSocket.FrameReader({
    data: (bytes, start, end) => walker.push(bytes, start, end, handler),
    control: (opcode, body) => controls.push(`${opcode} ${Buffer.from(body).toString()}`)
  })
  const chunk = new Uint8Array(chunkBytes + 7)
  for (let at = 0; at < stream.length; at += chunkBytes) {
    const part = stream.subarray(at, at + chunkBytes)
    // Chunks need not begin where their memory does.
    chunk.set(part, 7)
    reader.read(chunk, 7, 7 + part.length)
  }
  return { packets, controls }
}

/** A client's frame as RFC 6455, 5.2 and 5.3, lays it out: all fields, and the payload without its mask. */
const parse = (frame: Buffer) => {
  const short = frame[1]! & 127
  const keyAt = short < 126 ? 2 : short === 126 ? 4 : 10
  const length = short < 126 ? short : short === 126 ? frame.readUInt16BE(2) : Number(frame.readBigUInt64BE(2))
  const masked = frame.subarray(keyAt + 4)
  const payload = Buffer.from(masked.map((byte, index) => byte ^ frame[keyAt + (index % 4)]!))
  return { first: frame[0], isMasked: frame[1]! >= 128, length, payload }
}

describe("frames out", () => {
  for (const size of sizes) {
    it(`of ${size} bytes are whole, masked, and binary`, () => {
      const payload = payloadOf(size)
      const frame = parse(WebSocket.frame(WebSocket.BINARY, payload))
      assert.deepInclude(frame, { first: 0x82, isMasked: true, length: size })
      assert.isTrue(frame.payload.equals(payload))
    })
  }

  it("have keys of their own, and leave the payload as it was", () => {
    const payload = payloadOf(100)
    const keys = Array.from({ length: 10 }, () => WebSocket.frame(WebSocket.BINARY, payload).toString("hex", 2, 6))
    assert.isAbove(new Set(keys).size, 5)
    assert.isTrue(payload.equals(payloadOf(100)))
  })
})

describe("frames in", () => {
  const packets = [1, 20, 64, 200, 20_000, 70_000].map((size) => Wire.publish(4, "bench/topic", payloadOf(size), 0, 0))
  const bytes = Buffer.concat(packets)
  const expected = packets.map((packet) => packet.toString("hex"))
  const streams = {
    "one packet each": Buffer.concat(packets.map((packet) => serverFrame(WebSocket.BINARY, packet))),
    "all packets in one": serverFrame(WebSocket.BINARY, bytes),
    "that cut packets apart, with others between": Buffer.concat([
      serverFrame(WebSocket.BINARY, bytes.subarray(0, 7)),
      serverFrame(WebSocket.PING, Buffer.from("are you there")),
      serverFrame(WebSocket.BINARY, Buffer.alloc(0)),
      // A message in two frames: not the last, then the last.
      Buffer.from([WebSocket.BINARY, 3]),
      bytes.subarray(7, 10),
      serverFrame(0, bytes.subarray(10)),
      serverFrame(WebSocket.CLOSE, Buffer.alloc(0))
    ])
  }
  for (const [name, stream] of Object.entries(streams)) {
    it(`${name}: the same packets however the stream is cut`, () => {
      for (const chunkBytes of [1, 2, 3, 5, 64, 1_000, 200_000]) {
        assert.deepStrictEqual(read(stream, chunkBytes).packets, expected, `chunks of ${chunkBytes}`)
      }
    })
  }

  it("reports pings with their body, and closes", () => {
    const stream = streams["that cut packets apart, with others between"]
    for (const chunkBytes of [1, 4, 200_000]) {
      assert.deepStrictEqual(read(stream, chunkBytes).controls, ["9 are you there", "8 "])
    }
  })
})

describe("upgrade", () => {
  const answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"

  it("knows where the answer ends and the frames begin, however it is cut", () => {
    const bytes = Buffer.from(`${answer}frames`)
    assert.strictEqual(new WebSocket.UpgradeAnswer().read(bytes, bytes.length), answer.length)
    for (let cut = 1; cut < answer.length; cut++) {
      const upgrade = new WebSocket.UpgradeAnswer()
      assert.isUndefined(upgrade.read(bytes, cut))
      assert.strictEqual(upgrade.read(bytes.subarray(cut), bytes.length - cut), answer.length - cut)
    }
  })

  it("fails with the status that was answered instead", () => {
    const bytes = Buffer.from("HTTP/1.1 400 Bad Request\r\n\r\n")
    assert.throws(() => new WebSocket.UpgradeAnswer().read(bytes, bytes.length), /400 Bad Request/)
  })
})
