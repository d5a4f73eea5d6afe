/**
 * Whole packets on their way to a socket: where they may be cut, and what is left when an interrupt takes messages at
 * QoS 0 out.
 *
 * It reads the bytes of this broker's own encoder, so they are good and whole. Everything but a PUBLISH at QoS 0 stays,
 * byte for byte and in order.
 */
import type { ThrownAway } from "../core/Unhanded.ts"

const TOPIC_ALIAS = 0x23

export interface Rest {
  readonly chunks: ReadonlyArray<Uint8Array>
  readonly thrown: ReadonlyArray<ThrownAway>
}

interface Varint {
  readonly value: number
  readonly end: number
}

const readVarint = (bytes: Uint8Array, at: number): Varint => {
  let value = 0
  let end = at
  for (let shift = 0; ; shift += 7) {
    const byte = bytes[end++]!
    value |= (byte & 0x7f) << shift
    if (byte < 0x80) return { value, end }
  }
}

const isQos0Publish = (header: number): boolean => header >> 4 === 3 && (header & 0b110) === 0

/** A message that tells its alias is needed by those after it. The alias is the last of its properties. */
const maySetAlias = (bytes: Uint8Array, at: number): boolean => {
  const { end, value } = readVarint(bytes, at)
  return value >= 3 && bytes[end + value - 3] === TOPIC_ALIAS
}

/** Cuts behind packets, into parts of at least so many bytes; only the last may have less. */
export const parts = (
  chunks: ReadonlyArray<Uint8Array>,
  leastBytes: number
): ReadonlyArray<ReadonlyArray<Uint8Array>> => {
  const found: Array<ReadonlyArray<Uint8Array>> = []
  let part: Array<Uint8Array> = []
  let partBytes = 0
  /** How much of the packet that is being passed is still to come; undefined: in its length. */
  let left: number | undefined = 0
  let size = 0
  let shift = 0
  for (const chunk of chunks) {
    let from = 0
    let at = 0
    while (at < chunk.length) {
      if (left === undefined) {
        const byte = chunk[at++]!
        size |= (byte & 0x7f) << shift
        shift += 7
        if (byte < 0x80) left = size
      } else if (left > 0) {
        const passed = Math.min(left, chunk.length - at)
        at += passed
        left -= passed
      } else {
        at++ // the packet's type
        left = undefined
        size = 0
        shift = 0
        continue
      }
      if (left === 0 && partBytes + at - from >= leastBytes) {
        part.push(chunk.subarray(from, at))
        found.push(part)
        part = []
        partBytes = 0
        from = at
      }
    }
    if (from < at) part.push(chunk.subarray(from, at))
    partBytes += at - from
  }
  if (part.length > 0) found.push(part)
  return found
}

/** `aliases`: the receiver is sent topic aliases. Chunks together begin and end with a packet. */
export const withoutQos0 = (chunks: ReadonlyArray<Uint8Array>, aliases: boolean): Rest => {
  const bytes = Buffer.concat(chunks)
  const kept: Array<Uint8Array> = []
  const thrown: Array<ThrownAway> = []
  let from = 0
  let at = 0
  while (at < bytes.length) {
    const { end: bodyAt, value: length } = readVarint(bytes, at + 1)
    const end = bodyAt + length
    if (isQos0Publish(bytes[at]!)) {
      const topicEnd = bodyAt + 2 + bytes.readUInt16BE(bodyAt)
      const isNeeded = aliases && topicEnd > bodyAt + 2 && maySetAlias(bytes, topicEnd)
      if (!isNeeded) {
        if (from < at) kept.push(bytes.subarray(from, at))
        const topic = bytes.toString("utf8", bodyAt + 2, topicEnd)
        thrown.push({ topic, bytes: end - at, behind: bytes.length - end })
        from = end
      }
    }
    at = end
  }
  if (from < at) kept.push(bytes.subarray(from, at))
  return { chunks: kept, thrown }
}
