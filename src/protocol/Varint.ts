/**
 * Variable byte integers: seven bits a byte, least significant first, at most four bytes.
 */

/** The largest value that four bytes hold. */
export const max = 0x0fff_ffff

/** Bytes the value takes, 1 to 4. */
export const byteLength = (value: number): number => (value < 0x80 ? 1 : value < 0x4000 ? 2 : value < 0x20_0000 ? 3 : 4)

/** Writes the value in as few bytes as possible [MQTT-1.5.5-1] and returns where it ends. */
export const write = (value: number, target: Uint8Array, at: number): number => {
  while (value >= 0x80) {
    target[at++] = (value & 0x7f) | 0x80
    value >>>= 7
  }
  target[at++] = value
  return at
}

/** The fixed header's length is not all there yet: see `frameEnd`. */
export const incomplete = -1

/** The fixed header's length is longer than four bytes, or than it need be: see `frameEnd`. */
export const malformed = -2

/**
 * Where the packet that starts at `start` ends, from the remaining length in its fixed header.
 *
 * The answer can lie beyond `end`, which only says how much of `source` is filled. `incomplete` or `malformed` when
 * there is no answer.
 */
export const frameEnd = (source: Uint8Array, start: number, end: number): number => {
  let value = 0
  for (let index = 0; index < 4; index++) {
    const at = start + 1 + index
    if (at >= end) return incomplete
    const byte = source[at]!
    value |= (byte & 0x7f) << (7 * index)
    if (byte < 0x80) return byte === 0 && index > 0 ? malformed : at + 1 + value // [MQTT-1.5.5-1]
  }
  return malformed
}
