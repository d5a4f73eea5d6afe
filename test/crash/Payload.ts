/**
 * Payloads that say which message they are of, in many lengths, and show when a byte of them is wrong.
 */

const lengthOf = (number: number): number => {
  if (number % 97 === 0) return 20_000
  return number % 13 === 0 ? 1_500 : number % 50
}

export const of = (number: number): Buffer =>
  Buffer.concat([Buffer.from(`${number}.`), Buffer.alloc(lengthOf(number), number & 0xff)])

/** Throws when it is not what was sent. */
export const numberIn = (payload: Uint8Array): number => {
  const number = Number.parseInt(Buffer.from(payload.subarray(0, 16)).toString("latin1"), 10)
  if (!of(number).equals(payload)) throw new Error(`The payload of ${number} is not what was sent.`)
  return number
}
