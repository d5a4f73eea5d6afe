/**
 * The bytes of the load generator: just enough MQTT to encode what it sends and to find packets in what it receives.
 *
 * It is deliberately a second, independent codec: a benchmark that shared the broker's own would hide its mistakes
 * and its costs. It does not validate; a broker under test is trusted to send well-formed packets.
 */

/** Protocol level of CONNECT: 4 is MQTT 3.1.1, 5 is MQTT 5.0. */
export type Protocol = 4 | 5

export type QoS = 0 | 1 | 2

/** Packet types, the high half of a packet's first byte. */
export const CONNECT = 1
export const CONNACK = 2
export const PUBLISH = 3
export const PUBACK = 4
export const PUBREC = 5
export const PUBREL = 6
export const PUBCOMP = 7
export const SUBSCRIBE = 8
export const SUBACK = 9
export const UNSUBACK = 11

export const disconnect = Buffer.from([0xe0, 0])

/** What payloads are made of. */
export const filler = 0x78

const remainingLength = (length: number): Buffer => {
  const bytes: Array<number> = []
  let rest = length
  do {
    const digit = rest % 128
    rest = Math.floor(rest / 128)
    bytes.push(rest > 0 ? digit + 128 : digit)
  } while (rest > 0)
  return Buffer.from(bytes)
}

const packet = (firstByte: number, ...parts: ReadonlyArray<Uint8Array>): Buffer => {
  const body = Buffer.concat(parts)
  return Buffer.concat([Buffer.from([firstByte]), remainingLength(body.length), body])
}

const uint16 = (value: number): Buffer => Buffer.from([value >> 8, value & 255])

const text = (value: string): Buffer => {
  const bytes = Buffer.from(value)
  return Buffer.concat([uint16(bytes.length), bytes])
}

/** An empty property list in MQTT 5.0, nothing in 3.1.1. */
const noProperties = (protocol: Protocol): Buffer => Buffer.alloc(protocol === 5 ? 1 : 0)

/**
 * The property list of a message that uses what MQTT 5.0 offers: content type, response topic, correlation data,
 * message expiry and two user properties, 110 bytes.
 */
export const messageProperties = (): Buffer => {
  const list = Buffer.concat([
    Buffer.from([0x02, 0, 0, 0x0e, 0x10]),
    Buffer.concat([Buffer.from([0x03]), text("application/json")]),
    Buffer.concat([Buffer.from([0x08]), text("bench/answers/0001")]),
    Buffer.concat([Buffer.from([0x09]), uint16(16), Buffer.alloc(16, filler)]),
    Buffer.concat([Buffer.from([0x26]), text("source"), text("sensor-0001")]),
    Buffer.concat([Buffer.from([0x26]), text("unit"), text("degree Celsius")])
  ])
  return Buffer.concat([remainingLength(list.length), list])
}

/** CONNECT without keep alive. A durable session outlives its connection (by an hour in MQTT 5.0). */
export const connect = (protocol: Protocol, clientId: string, durable: boolean): Buffer => {
  const sessionExpiry = Buffer.from([5, 0x11, 0, 0, 0x0e, 0x10])
  const properties = protocol === 5 && durable ? sessionExpiry : noProperties(protocol)
  const flags = Buffer.from([protocol, durable ? 0 : 2, 0, 0])
  return packet(0x10, text("MQTT"), flags, properties, text(clientId))
}

export const subscribe = (protocol: Protocol, packetId: number, filters: ReadonlyArray<string>, qos: QoS): Buffer =>
  packet(
    0x82,
    uint16(packetId),
    noProperties(protocol),
    ...filters.flatMap((filter) => [text(filter), Buffer.from([qos])])
  )

export const unsubscribe = (protocol: Protocol, packetId: number, filters: ReadonlyArray<string>): Buffer =>
  packet(0xa2, uint16(packetId), noProperties(protocol), ...filters.map(text))

/** PUBLISH; `packetId` is ignored at QoS 0. */
export const publish = (
  protocol: Protocol,
  topic: string,
  payload: Uint8Array,
  qos: QoS,
  packetId: number,
  properties = noProperties(protocol)
): Buffer => {
  const id = qos === 0 ? Buffer.alloc(0) : uint16(packetId)
  return packet(0x30 | (qos << 1), text(topic), id, properties, payload)
}

/** The size in bytes of the packet that begins at `start`, or 0 if its length is not among the bytes up to `end`. */
export const packetSize = (bytes: Uint8Array, start: number, end: number): number => {
  let length = 0
  let factor = 1
  for (let at = start + 1; at < end; at++) {
    const digit = bytes[at]!
    length += (digit & 127) * factor
    if (digit < 128) return at + 1 - start + length
    factor *= 128
  }
  return 0
}

/** Where the variable header of the packet that begins at `start` begins. */
export const bodyStart = (bytes: Uint8Array, start: number): number => {
  let at = start + 1
  while (bytes[at]! >= 128) at++
  return at + 1
}

/** Where the two bytes of the packet id of a QoS 1 or 2 PUBLISH are. */
export const publishIdAt = (bytes: Uint8Array, start: number): number => {
  const body = bodyStart(bytes, start)
  return body + 2 + ((bytes[body]! << 8) | bytes[body + 1]!)
}

/** What a `PacketWalker` reports to. */
export interface PacketHandler {
  /** One whole packet: `bytes[start]` up to, not including, `bytes[end]`. Valid as long as the chunk is. */
  packet(bytes: Uint8Array, start: number, end: number): void
  /** All the packets of a chunk were reported: the moment to send replies, in one write. */
  flush(): void
}

/**
 * Cuts a byte stream into packets by their remaining length, without looking further into them. A packet that
 * straddles two chunks is put together in a buffer of its own, all others are reported where they lie.
 */
export class PacketWalker {
  private carry: Uint8Array = new Uint8Array(0)
  private carried = 0

  /** Report the packets that are complete with the first `length` bytes of this chunk, then flush. */
  walk(bytes: Uint8Array, length: number, handler: PacketHandler): void {
    this.push(bytes, 0, length, handler)
    handler.flush()
  }

  /** The same for a part of a chunk, `bytes[start]` up to, not including, `bytes[end]`, without the flush. */
  push(bytes: Uint8Array, start: number, end: number, handler: PacketHandler): void {
    let at = this.carried > 0 ? this.finishCarried(bytes, start, end, handler) : start
    while (at < end) {
      const size = packetSize(bytes, at, end)
      if (size === 0 || at + size > end) {
        this.keep(bytes, at, end)
        break
      }
      handler.packet(bytes, at, at + size)
      at += size
    }
  }

  /** Move bytes to the carried packet until it is whole and reported; answers where the rest begins. */
  private finishCarried(bytes: Uint8Array, start: number, end: number, handler: PacketHandler): number {
    let at = start
    let size = packetSize(this.carry, 0, this.carried)
    while (size === 0 && at < end) {
      this.keep(bytes, at, ++at)
      size = packetSize(this.carry, 0, this.carried)
    }
    if (size === 0) return end
    const wholeAt = Math.min(end, at + size - this.carried)
    this.keep(bytes, at, wholeAt)
    if (this.carried < size) return end
    const whole = this.carry
    this.carry = new Uint8Array(0)
    this.carried = 0
    handler.packet(whole, 0, size)
    return wholeAt
  }

  private keep(bytes: Uint8Array, start: number, end: number): void {
    const needed = this.carried + end - start
    if (this.carry.length < needed) {
      const larger = new Uint8Array(Math.max(128, 2 * needed))
      larger.set(this.carry.subarray(0, this.carried))
      this.carry = larger
    }
    this.carry.set(bytes.subarray(start, end), this.carried)
    this.carried = needed
  }
}
