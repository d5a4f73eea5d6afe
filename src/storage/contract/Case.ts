/**
 * What the cases of the contract are, and what they have in common: loading, and comparing records.
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import assert from "node:assert/strict"
import { inspect, isDeepStrictEqual } from "node:util"
import { BrokerStorage } from "../BrokerStorage.ts"

/** A title, and what must succeed. */
export type Case = readonly [title: string, body: Effect.Effect<void, unknown, BrokerStorage>]

/** The same records in the same order. (A difference of hundreds, drawn up by `node:assert`, takes minutes.) */
export const same = (found: ReadonlyArray<unknown>, expected: ReadonlyArray<unknown>): void => {
  const at = expected.findIndex((record, index) => !isDeepStrictEqual(record, found[index]))
  const index = at < 0 && found.length > expected.length ? expected.length : at
  const words = `record ${index} is ${inspect(found[index])}, and should be ${inspect(expected[index])}`
  assert.ok(index < 0, words)
}

/** The same ones, in any order. */
export const sameRecords = (found: ReadonlyArray<unknown>, expected: ReadonlyArray<unknown>): void => {
  const missing = [...expected]
  for (const record of found) {
    const at = missing.findIndex((other) => isDeepStrictEqual(other, record))
    assert.ok(at >= 0, `${inspect(record)} should not be there`)
    missing.splice(at, 1)
  }
  assert.ok(missing.length === 0, `${inspect(missing[0])} is missing`)
}

export const range = (first: number, last: number): Array<number> =>
  Array.from({ length: last - first + 1 }, (_, index) => first + index)

/** What a store would give a broker that starts. */
export const load = Effect.flatMap(BrokerStorage, (storage) => Stream.runCollect(storage.load)).pipe(
  Effect.map((records) => [...records])
)
