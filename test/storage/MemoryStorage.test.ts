import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import { BrokerStorage } from "../../src/storage/BrokerStorage.ts"
import * as MemoryStorage from "../../src/storage/MemoryStorage.ts"
import { outgoing, retained, session, subscription } from "../../src/storage/StorageContract.ts"
import { contract } from "./contract.ts"

contract(
  "MemoryStorage.layerKeeping",
  Layer.suspend(() => MemoryStorage.layerKeeping(new MemoryStorage.MemoryStore()))
)

describe("MemoryStorage", () => {
  it.effect("layer keeps nothing and says so", () =>
    Effect.gen(function* () {
      const storage = yield* BrokerStorage
      assert.strictEqual(storage.keeps, "nothing")
      yield* storage.commit([session("a"), retained("r")], 1)
      assert.deepStrictEqual([...(yield* Stream.runCollect(storage.load))], [])
    }).pipe(Effect.provide(MemoryStorage.layer))
  )

  it.effect("a store can be looked into, and survives its layer", () =>
    Effect.gen(function* () {
      const store = new MemoryStorage.MemoryStore()
      const commit = Effect.flatMap(BrokerStorage, (storage) =>
        storage.commit([session("a"), subscription("a", "x"), outgoing("a", 1)], 3)
      )
      yield* commit.pipe(Effect.provide(MemoryStorage.layerKeeping(store)))
      assert.strictEqual(store.sequence, 3)
      assert.deepStrictEqual([...store.sessions.get("a")!.subscriptions.keys()], ["x"])
      const load = Effect.flatMap(BrokerStorage, (storage) => Stream.runCollect(storage.load))
      const found = yield* load.pipe(Effect.provide(MemoryStorage.layerKeeping(store)))
      assert.strictEqual(found.length, 3)
    })
  )
})
