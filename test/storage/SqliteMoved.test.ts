/**
 * Files that go away under a running broker: what could not be found again is not acknowledged.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { copyFileSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import type { StoreOperation } from "../../src/core/StoreOperation.ts"
import * as SqliteBatch from "../../src/storage/SqliteBatch.ts"
import { SqliteCatalog } from "../../src/storage/SqliteCatalog.ts"
import { SqliteDatabase } from "../../src/storage/SqliteDatabase.ts"
import * as SqliteStorage from "../../src/storage/SqliteStorage.ts"
import { message, retained, session } from "../../src/storage/StorageContract.ts"
import { directory } from "./Directory.ts"

const opened = Effect.fnUntraced(function* () {
  const file = join(yield* directory, "store.db")
  const store = yield* SqliteStorage.open({ file, durability: "none" })
  yield* Stream.runDrain(store.load)
  yield* store.commit([session("a")], 1)
  const refused = (sequence: number) =>
    Effect.map(Effect.flip(store.commit([retained("r")], sequence)), ({ reason }) => {
      assert.strictEqual(reason._tag, "StorageFailed")
      return reason.message
    })
  return { file, store, refused }
})

describe("SqliteStorage", () => {
  for (const suffix of ["", "-wal", "-shm"]) {
    it.live(`keeps nothing in a store whose file${suffix} is gone, until it is back`, () =>
      Effect.gen(function* () {
        const { file, refused, store } = yield* opened()
        const name = `${file}${suffix}`
        renameSync(name, `${name}.elsewhere`)
        assert.match(yield* refused(2), /removed or replaced.*Put it back, or restart the broker\.$/)
        if (suffix === "") {
          copyFileSync(`${name}.elsewhere`, name)
          assert.match(yield* refused(2), /removed or replaced/)
        }
        renameSync(`${name}.elsewhere`, name)
        yield* store.commit([retained("r")], 2)
        assert.sameDeepMembers([...(yield* Stream.runCollect(store.load))], [session("a"), retained("r")])
      })
    )
  }

  it.live("does not go on with another file when its thread has died", () =>
    Effect.gen(function* () {
      const { file, refused, store } = yield* opened()
      const before = `${file}.before`
      // The same run, and less of it than is promised.
      for (const suffix of ["", "-wal"]) copyFileSync(`${file}${suffix}`, `${before}${suffix}`)
      yield* store.commit([session("b")], 2)
      yield* Effect.promise(() => store.thread.kill())
      for (const suffix of ["", "-wal", "-shm"]) rmSync(`${file}${suffix}`, { force: true })
      for (const suffix of ["", "-wal"]) renameSync(`${before}${suffix}`, `${file}${suffix}`)
      assert.match(yield* refused(3), /not as this broker has left it.*Restart the broker/)
      // None at all.
      yield* Effect.promise(() => store.thread.kill())
      for (const suffix of ["", "-wal", "-shm", "-reserve"]) rmSync(`${file}${suffix}`, { force: true })
      assert.match(yield* refused(3), /removed or replaced.*Put it back, or restart the broker\.$/)
      assert.isFalse(existsSync(file))
    })
  )

  it.live("makes no new file when the directory was removed and made again, and its thread has died", () =>
    Effect.gen(function* () {
      const { file, refused, store } = yield* opened()
      yield* Effect.promise(() => store.thread.kill())
      rmSync(dirname(file), { recursive: true })
      assert.match(yield* refused(2), /removed or replaced/)
      mkdirSync(dirname(file))
      assert.match(yield* refused(2), /removed or replaced/)
      assert.deepStrictEqual(readdirSync(dirname(file)), [])
    })
  )
})

/** A database of its own in a directory. */
const openedIn = (path: string, fileBytesMax = 0) =>
  Effect.acquireRelease(
    Effect.sync(
      () => new SqliteDatabase({ file: join(path, "store.db"), durability: "none", fileBytesMax, logBytesMax: 1e6 })
    ),
    (database) => Effect.sync(() => database.close())
  )

describe("SqliteDatabase", () => {
  it.live("goes on when it is to note that it lives where its directory was removed, and made again", () =>
    Effect.gen(function* () {
      const path = yield* directory
      const database = yield* openedIn(path)
      rmSync(path, { recursive: true })
      database.beat(Date.now())
      mkdirSync(path)
      database.beat(Date.now())
      assert.deepStrictEqual(readdirSync(path), [])
    })
  )

  it.live("that was full takes no room beside another's file in the place of its own", () =>
    Effect.gen(function* () {
      const path = yield* directory
      const database = yield* openedIn(path, 500_000)
      const large: StoreOperation = {
        _tag: "PutRetained",
        message: { ...message(1, "large"), payload: new Uint8Array(600_000), retain: true }
      }
      const { batch } = SqliteBatch.encode(new SqliteCatalog(), [large], 1)
      assert.throws(() => database.commit(batch, 1), /full/)
      rmSync(path, { recursive: true })
      mkdirSync(path)
      writeFileSync(join(path, "store.db"), "another's")
      assert.isFalse(database.hasRoom())
      assert.deepStrictEqual(readdirSync(path), ["store.db"])
    })
  )
})
