/**
 * A cursor over the bytes of one packet, for everything but the hottest packets.
 *
 * The first fault sticks and moves the cursor to the end, so that loops over it stop; from then on numbers read as 0,
 * strings and bytes as empty. Whoever uses it looks at `error` once, before it hands anything on.
 */
import { malformed, type ProtocolError, violation } from "./ProtocolError.ts"
import * as Utf8 from "./Utf8.ts"

const nothing = new Uint8Array(0)

export class Reader {
  readonly source: Uint8Array
  at: number
  /** The cursor stops here; narrowed while a list of properties is read. */
  end: number
  error: ProtocolError | undefined = undefined

  constructor(source: Uint8Array, at: number, end: number) {
    this.source = source
    this.at = at
    this.end = end
  }

  fail(error: ProtocolError): void {
    this.error ??= error
    this.at = this.end
  }

  /** Whether that many bytes are left; otherwise the packet is malformed. */
  private has(bytes: number): boolean {
    if (this.at + bytes <= this.end && this.error === undefined) return true
    this.fail(malformed("The packet ends in the middle of a field."))
    return false
  }

  uint8(): number {
    return this.has(1) ? this.source[this.at++]! : 0
  }

  uint16(): number {
    if (!this.has(2)) return 0
    const at = this.at
    this.at = at + 2
    return (this.source[at]! << 8) | this.source[at + 1]!
  }

  uint32(): number {
    const high = this.uint16()
    return high * 0x1_0000 + this.uint16()
  }

  varint(): number {
    let value = 0
    for (let index = 0; index < 4; index++) {
      const byte = this.uint8()
      value |= (byte & 0x7f) << (7 * index)
      if (byte >= 0x80) continue
      if (byte === 0 && index > 0 && this.error === undefined) {
        this.fail(malformed("A variable byte integer is in the shortest form [MQTT-1.5.5-1]."))
        return 0
      }
      return value
    }
    this.fail(malformed("A variable byte integer has at most four bytes."))
    return 0
  }

  packetId(): number {
    const packetId = this.uint16()
    if (packetId === 0) this.fail(violation("A packet identifier is not 0 [MQTT-2.2.1-3]."))
    return packetId
  }

  text(): string {
    const length = this.uint16()
    if (!this.has(length)) return ""
    const start = this.at
    this.at = start + length
    const text = Utf8.decode(this.source, start, this.at)
    if (text !== undefined) return text
    this.fail(malformed("A string is well-formed UTF-8 without the null character [MQTT-1.5.4-1] [MQTT-1.5.4-2]."))
    return ""
  }

  /** A copy: these bytes outlive the packet (a will, a password), and a view would keep the whole chunk alive. */
  binary(): Uint8Array {
    const length = this.uint16()
    if (!this.has(length)) return nothing
    const start = this.at
    this.at = start + length
    return this.source.slice(start, this.at)
  }

  /** A packet has no bytes behind its last field. */
  finish(): void {
    if (this.at !== this.end) this.fail(malformed("The packet is longer than its fields."))
  }
}
