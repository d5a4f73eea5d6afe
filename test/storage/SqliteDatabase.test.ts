import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { copyFileSync, statSync } from "node:fs"
import { join } from "node:path"
import type { StoreOperation } from "../../src/core/StoreOperation.ts"
import * as SqliteBatch from "../../src/storage/SqliteBatch.ts"
import { SqliteCatalog } from "../../src/storage/SqliteCatalog.ts"
import { SqliteDatabase } from "../../src/storage/SqliteDatabase.ts"
import { message, session } from "../../src/storage/StorageContract.ts"
import { directory } from "./Directory.ts"

const MIB = 1024 * 1024

const opened = (file: string, logBytesMax: number) =>
  Effect.acquireRelease(
    Effect.sync(() => new SqliteDatabase({ file, durability: "none", fileBytesMax: 0, logBytesMax })),
    (database) => Effect.sync(() => database.close())
  )

const large = (order: number): StoreOperation => ({
  _tag: "PutRetained",
  message: { ...message(order, `topic/${order}`), payload: new Uint8Array(60_000).fill(order), retain: true }
})

const commit = (database: SqliteDatabase, sequence: number, operations: ReadonlyArray<StoreOperation>): void => {
  database.commit(SqliteBatch.encode(new SqliteCatalog(), operations, sequence).batch, 1)
  database.rest()
}

describe("SqliteDatabase", () => {
  it.live("empties its log when it is long, also one that a broker which was killed has left", () =>
    Effect.gen(function* () {
      const path = yield* directory
      const first = join(path, "first.db")
      const killed = join(path, "killed.db")
      const before = yield* opened(first, Number.MAX_SAFE_INTEGER)
      before.begin(1)
      commit(before, 1, [session("a")])
      for (let sequence = 2; sequence < 60; sequence++) commit(before, sequence, [large(sequence)])
      assert.isAbove(statSync(`${first}-wal`).size, 3 * MIB)
      assert.isBelow(statSync(first).size, MIB)
      // As the end of a process leaves them.
      for (const suffix of ["", "-wal"]) copyFileSync(`${first}${suffix}`, `${killed}${suffix}`)
      const after = yield* opened(killed, 2 * MIB)
      after.begin(2)
      commit(after, 1, [large(60)])
      assert.isAbove(statSync(killed).size, 3 * MIB)
    })
  )

  it.live("keeps the log about as short as it is to be", () =>
    Effect.gen(function* () {
      const file = join(yield* directory, "store.db")
      const database = yield* opened(file, MIB)
      database.begin(1)
      for (let sequence = 1; sequence < 200; sequence++) commit(database, sequence, [large(sequence % 10)])
      assert.isBelow(statSync(`${file}-wal`).size, 4 * MIB)
    })
  )
})
