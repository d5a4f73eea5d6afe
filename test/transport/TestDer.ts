/** Taking DER apart and putting it together byte by byte, for tests that need it in forms that no library writes. */

export const OCTET_STRING = 0x04
export const SEQUENCE = 0x30
/** `[0]`, `[1]` … of a structure, with values inside. */
export const context = (number: number): number => 0xa0 | number

export interface Value {
  readonly tag: number
  readonly content: Buffer
  /** With its tag and length. */
  readonly raw: Buffer
}

const fault = (why: string): Error => new Error(`The encoding is not DER: ${why}`)

/** Where the content begins and ends. */
const extent = (bytes: Buffer, at: number): readonly [start: number, end: number] => {
  const first = bytes[at + 1]
  if (first === undefined) throw fault("it is cut short")
  const lengthBytes = first < 0x80 ? 0 : first & 0x7f
  const start = at + 2 + lengthBytes
  if (first === 0x80 || lengthBytes > 4 || start > bytes.length) throw fault("a length is malformed")
  const end = start + (lengthBytes === 0 ? first : bytes.readUIntBE(at + 2, lengthBytes))
  if (end > bytes.length) throw fault("it is cut short")
  return [start, end]
}

/** The values that follow each other. Throws when they do not end where the bytes do. */
export const readAll = (bytes: Buffer): ReadonlyArray<Value> => {
  const values: Array<Value> = []
  for (let at = 0; at < bytes.length; ) {
    const tag = bytes[at]!
    if ((tag & 0x1f) === 0x1f) throw fault("a tag is of a kind that is not known here")
    const [start, end] = extent(bytes, at)
    values.push({ tag, content: bytes.subarray(start, end), raw: bytes.subarray(at, end) })
    at = end
  }
  return values
}

/** The values inside of one that must be there. Throws when it is not, or not made of values. */
export const inside = (value: Value | undefined): ReadonlyArray<Value> => {
  if (value === undefined || (value.tag & 0x20) === 0) throw fault("a structure is missing")
  return readAll(value.content)
}

const lengthOf = (bytes: number): Buffer => {
  if (bytes < 0x80) return Buffer.from([bytes])
  const digits = bytes.toString(16)
  const big = Buffer.from(digits.length % 2 === 0 ? digits : `0${digits}`, "hex")
  return Buffer.concat([Buffer.from([0x80 | big.length]), big])
}

export const write = (tag: number, ...contents: ReadonlyArray<Uint8Array>): Buffer => {
  const bytes = contents.reduce((sum, { length }) => sum + length, 0)
  return Buffer.concat([Buffer.from([tag]), lengthOf(bytes), ...contents])
}
