/**
 * The contract of `BrokerStorage` as tests. One line an adapter: `contract("SqliteStorage", layer)`; the layer is built
 * anew for each test.
 */
import { describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type { BrokerStorage } from "../../src/storage/BrokerStorage.ts"
import * as StorageContract from "../../src/storage/StorageContract.ts"

export const contract = <E>(name: string, layer: Layer.Layer<BrokerStorage, E>): void => {
  describe(`${name}: the contract of BrokerStorage`, () => {
    for (const [title, body] of StorageContract.cases) it.live(title, () => body.pipe(Effect.provide(layer)))
  })
}
