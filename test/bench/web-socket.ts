/**
 * WebSocket as the load generator speaks it: the upgrade, masked binary frames out, whatever frames come in.
 *
 * Written by hand for the same reasons as the MQTT in `wire.ts`, and because a general library would be slower than
 * some of the brokers. Packets need not align with frames in either direction; what is written at once is one frame.
 */
import { randomBytes } from "node:crypto"

export const BINARY = 2
export const CLOSE = 8
export const PING = 9
export const PONG = 10

/** The path that brokers take for MQTT; those that know no paths ignore it. */
export const path = "/mqtt"

export const upgradeRequest = (port: number): string =>
  [
    `GET ${path} HTTP/1.1`,
    `Host: 127.0.0.1:${port}`,
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    `Sec-WebSocket-Key: ${randomBytes(16).toString("base64")}`,
    "Sec-WebSocket-Protocol: mqtt",
    "",
    ""
  ].join("\r\n")

/** Collects the answer to the upgrade: undefined until its end has come, then where the frames begin. */
export class UpgradeAnswer {
  /** The lines that came so far. */
  text = ""

  /** Throws an Error when the answer is not "101 Switching Protocols". */
  read(bytes: Buffer, length: number): number | undefined {
    const before = this.text.length
    this.text += bytes.toString("latin1", 0, length)
    const end = this.text.indexOf("\r\n\r\n")
    if (end < 0) return undefined
    const [status = ""] = this.text.split("\r\n", 1)
    if (!status.startsWith("HTTP/1.1 101")) throw new Error(`WebSocket upgrade answered with ${status}`)
    return end + 4 - before
  }
}

/** Where the payload lies in what `frame` builds: behind the longest header, and aligned for words. */
const payloadAt = 16
const key = new Int32Array(1)
const keyBytes = new Uint8Array(key.buffer)

/** Length bytes and first byte of a header, put right before the masking key that ends at `payloadAt`. */
const writeHeader = (bytes: Buffer, opcode: number, size: number): number => {
  const lengthBytes = size < 126 ? 1 : size < 65_536 ? 3 : 9
  const start = payloadAt - 4 - lengthBytes - 1
  bytes[start] = 0x80 | opcode
  bytes[start + 1] = 0x80 | (lengthBytes === 1 ? size : lengthBytes === 3 ? 126 : 127)
  if (lengthBytes === 3) bytes.writeUInt16BE(size, start + 2)
  if (lengthBytes === 9) bytes.writeBigUInt64BE(BigInt(size), start + 2)
  return start
}

/** A whole client frame around a copy of a payload, masked with a key of its own [RFC 6455, 5.3]. */
export const frame = (opcode: number, payload: Uint8Array): Buffer => {
  const words = Math.ceil(payload.length / 4)
  // Of the pool or not, memory of a Buffer begins at a multiple of eight.
  const bytes = Buffer.allocUnsafe(payloadAt + words * 4)
  const start = writeHeader(bytes, opcode, payload.length)
  key[0] = Math.floor(Math.random() * 2 ** 32)
  bytes.set(keyBytes, payloadAt - 4)
  bytes.set(payload, payloadAt)
  const body = new Int32Array(bytes.buffer, bytes.byteOffset + payloadAt, words)
  const mask = key[0]!
  for (let word = 0; word < words; word++) body[word] = body[word]! ^ mask
  return bytes.subarray(start, payloadAt + payload.length)
}

/** What a `FrameReader` reports to. */
export interface FrameHandler {
  /** A part of a data frame: `bytes[start]` up to, not including, `bytes[end]`. Valid as long as the chunk is. */
  data(bytes: Uint8Array, start: number, end: number): void
  /** A whole close, ping or pong. */
  control(opcode: number, body: Uint8Array): void
}

/** Takes the frames of a server, which are not masked, out of a byte stream however it is cut. */
export class FrameReader {
  private readonly header = Buffer.alloc(10)
  private headerBytes = 0
  private inBody = false
  private rest = 0
  private control: Array<number> = []
  private readonly handler: FrameHandler

  constructor(handler: FrameHandler) {
    this.handler = handler
  }

  read(bytes: Uint8Array, start: number, end: number): void {
    for (let at = start; at < end; ) {
      if (!this.inBody) {
        this.header[this.headerBytes++] = bytes[at++]!
        if (this.headerBytes < 2 || this.headerBytes < this.headerSize()) continue
        this.inBody = true
        this.rest = this.payloadSize()
      }
      const bodyEnd = Math.min(end, at + this.rest)
      if (bodyEnd > at) this.take(bytes, at, bodyEnd)
      this.rest -= bodyEnd - at
      at = bodyEnd
      if (this.rest === 0) this.finish()
    }
  }

  private opcode(): number {
    return this.header[0]! & 15
  }

  private headerSize(): number {
    const length = this.header[1]!
    return length < 126 ? 2 : length === 126 ? 4 : 10
  }

  private payloadSize(): number {
    const length = this.header[1]!
    if (length < 126) return length
    return length === 126 ? this.header.readUInt16BE(2) : Number(this.header.readBigUInt64BE(2))
  }

  private take(bytes: Uint8Array, start: number, end: number): void {
    if (this.opcode() < 8) this.handler.data(bytes, start, end)
    else this.control.push(...bytes.subarray(start, end))
  }

  private finish(): void {
    this.inBody = false
    this.headerBytes = 0
    if (this.opcode() < 8) return
    const body = Uint8Array.from(this.control)
    this.control = []
    this.handler.control(this.opcode(), body)
  }
}
