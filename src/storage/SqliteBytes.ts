/**
 * A buffer that grows while it is written to, most significant byte first: what the store's records are made of.
 *
 * The protocol's `Reader` reads it back. The buffer is given away with every batch and comes back with the answer, so
 * that a busy store allocates nothing.
 */
import * as Utf8 from "../protocol/Utf8.ts"

const FIRST_BYTES = 64 * 1024
/** From here on the engine's copy is faster than a loop: it costs about 40 ns to call. */
const LOOP_BYTES = 48

export class SqliteBytes {
  bytes: Uint8Array<ArrayBuffer>
  /** Where the next byte goes. */
  at = 0

  constructor(buffer: ArrayBuffer = new ArrayBuffer(FIRST_BYTES)) {
    this.bytes = new Uint8Array(buffer)
  }

  /** Makes room for that many more bytes. */
  reserve(count: number): void {
    const needed = this.at + count
    if (needed <= this.bytes.length) return
    const larger = new Uint8Array(new ArrayBuffer(Math.max(needed, this.bytes.length * 2)))
    larger.set(this.bytes.subarray(0, this.at))
    this.bytes = larger
  }

  // Each of these needs room that `reserve` has made.

  uint8(value: number): void {
    this.bytes[this.at++] = value
  }

  uint16(value: number): void {
    const { bytes } = this
    bytes[this.at++] = value >>> 8
    bytes[this.at++] = value
  }

  uint32(value: number): void {
    const { bytes } = this
    bytes[this.at++] = value >>> 24
    bytes[this.at++] = value >>> 16
    bytes[this.at++] = value >>> 8
    bytes[this.at++] = value
  }

  /** Whole numbers up to 2 ** 48: ids, and milliseconds since the epoch for 8,900 years. */
  uint48(value: number): void {
    this.uint16(Math.floor(value / 0x1_0000_0000))
    this.uint32(value >>> 0)
  }

  /** At most 65,535 bytes of UTF-8, behind their length. */
  text(text: string): void {
    const start = this.at
    const end = Utf8.write(text, this.bytes, start + 2)
    this.uint16(end - start - 2)
    this.at = end
  }

  copy(source: Uint8Array): void {
    const { bytes } = this
    const { length } = source
    if (length >= LOOP_BYTES) bytes.set(source, this.at)
    else for (let from = 0, to = this.at; from < length; from++, to++) bytes[to] = source[from]!
    this.at += length
  }
}
