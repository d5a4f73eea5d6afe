/**
 * The fields that packets and properties are made of, written to a target that has room for them.
 *
 * Every function returns where what it wrote ends.
 */
import * as Utf8 from "./Utf8.ts"
import * as Varint from "./Varint.ts"

/** Writes an integer of 1, 2 or 4 bytes, most significant first. */
export const writeNumber = (value: number, bytes: 1 | 2 | 4, target: Uint8Array, at: number): number => {
  for (let shift = (bytes - 1) * 8; shift >= 0; shift -= 8) target[at++] = (value >>> shift) & 0xff
  return at
}

/** Writes a string behind its two-byte length. */
export const writeText = (text: string, target: Uint8Array, at: number): number => {
  const end = Utf8.write(text, target, at + 2)
  const length = end - at - 2
  target[at] = length >>> 8
  target[at + 1] = length & 0xff
  return end
}

/** Writes bytes behind their two-byte length. */
export const writeBinary = (bytes: Uint8Array, target: Uint8Array, at: number): number => {
  target[at] = bytes.length >>> 8
  target[at + 1] = bytes.length & 0xff
  target.set(bytes, at + 2)
  return at + 2 + bytes.length
}

/**
 * Writes the length of what was written from `lengthAt + 1` to `end` at `lengthAt`, and returns the new end.
 *
 * One byte was kept free for it; when it takes more, what was written moves up. So a length is never computed ahead,
 * and only lists of 128 bytes or more pay for it.
 */
export const insertLength = (target: Uint8Array, lengthAt: number, end: number): number => {
  const length = end - lengthAt - 1
  const extra = Varint.byteLength(length) - 1
  if (extra > 0) target.copyWithin(lengthAt + 1 + extra, lengthAt + 1, end)
  Varint.write(length, target, lengthAt)
  return end + extra
}
