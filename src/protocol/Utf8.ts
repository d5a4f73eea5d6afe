/**
 * UTF-8 strings of the protocol: strict on the way in, measured and written without a view for ASCII on the way out.
 *
 * Ill-formed text and NUL are refused in every version. MQTT 3.1 asks for less, but what a 3.1 client publishes is
 * forwarded to clients of later versions, which must disconnect when they see either.
 */

/** A string travels behind a two-byte length. */
const bytesMax = 0xffff

// `fatal` refuses overlong forms and surrogates; `ignoreBOM` keeps U+FEFF as a character [MQTT-1.5.4-3].
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })
const encoder = new TextEncoder()

/** The text in `source[start, end)`; `undefined` when it is ill-formed [MQTT-1.5.4-1] or has a NUL [MQTT-1.5.4-2]. */
export const decode = (source: Uint8Array, start: number, end: number): string | undefined => {
  if (end - start <= shortBytes) {
    const text = decodeShort(source, start, end)
    if (text !== undefined) return text
  }
  try {
    const text = decoder.decode(source.subarray(start, end))
    return text.includes("\0") ? undefined : text
  } catch {
    return undefined // the only thing a fatal decoder throws is that the bytes are ill-formed
  }
}

/** Up to this many bytes of ASCII are decoded here: a call of the decoder costs 130 ns whatever the length. */
const shortBytes = 12

const decodeShort = (source: Uint8Array, start: number, end: number): string | undefined => {
  let text = ""
  for (let at = start; at < end; at++) {
    const byte = source[at]!
    if (byte === 0 || byte >= 0x80) return undefined
    text += String.fromCharCode(byte)
  }
  return text
}

/** Bytes of the text in UTF-8; a lone surrogate counts as the three bytes of the replacement character. */
export const byteLength = (text: string): number => {
  const length = text.length
  let bytes = length
  for (let at = 0; at < length; at++) {
    const unit = text.charCodeAt(at)
    if (unit < 0x80) continue
    if (unit < 0x800) bytes += 1
    else {
      bytes += 2
      if (unit >= 0xd800 && unit < 0xdc00 && at + 1 < length) {
        const low = text.charCodeAt(at + 1)
        if (low >= 0xdc00 && low < 0xe000) at++ // two units are four bytes
      }
    }
  }
  return bytes
}

/** Writes the text without its length and returns where it ends; the target has `byteLength(text)` bytes of room. */
export const write = (text: string, target: Uint8Array, at: number): number => {
  const length = text.length
  for (let index = 0; index < length; index++) {
    const unit = text.charCodeAt(index)
    if (unit >= 0x80) return at + index + encoder.encodeInto(text.slice(index), target.subarray(at + index)).written
    target[at + index] = unit
  }
  return at + length
}

/** Whether the text may travel: well-formed, no NUL, at most 65,535 bytes. */
export const isEncodable = (text: string): boolean =>
  text.length <= bytesMax && byteLength(text) <= bytesMax && text.isWellFormed() && !text.includes("\0")
