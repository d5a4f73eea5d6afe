import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import { existsSync, readdirSync, statSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import * as SqliteBackup from "../../src/storage/SqliteBackup.ts"
import * as SqliteStorage from "../../src/storage/SqliteStorage.ts"
import { outgoing, session } from "../../src/storage/StorageContract.ts"
import { directory } from "./Directory.ts"

describe("SqliteBackup", () => {
  it.live("copies a store that is being written to, as it was at one instant", () =>
    Effect.gen(function* () {
      const path = yield* directory
      const file = join(path, "store.db")
      const copy = join(path, "copy.db")
      const store = yield* SqliteStorage.open({ file, durability: "none", logBytesMax: 100_000 })
      yield* Stream.runDrain(store.load)
      yield* store.commit([session("a")], 1)
      let sequence = 1
      const writing = Effect.gen(function* () {
        for (;;) {
          const first = sequence * 10
          // Ten at a time: a copy that is of one instant has them whole.
          yield* store.commit(
            Array.from({ length: 10 }, (_, index) => outgoing("a", first + index)),
            ++sequence
          )
        }
      })
      const writer = yield* Effect.forkChild(writing, { startImmediately: true })
      while (sequence < 100) yield* Effect.sleep(1)
      const { bytes } = yield* SqliteBackup.backup(file, copy)
      const atLeast = 99
      yield* Fiber.interrupt(writer)
      assert.strictEqual(bytes, statSync(copy).size)
      assert.strictEqual(statSync(copy).mode & 0o777, 0o600)
      const restored = yield* SqliteStorage.open({ file: copy })
      const records = yield* Stream.runCollect(restored.load)
      const orders = records.flatMap((record) => (record._tag === "PutOutgoing" ? [record.order] : []))
      assert.strictEqual(orders.length % 10, 0)
      assert.isAtLeast(orders.length, atLeast * 10)
      assert.deepStrictEqual(
        orders,
        Array.from({ length: orders.length }, (_, index) => index + 10)
      )
    })
  )

  it.live("refuses a damaged store, and leaves no copy of it", () =>
    Effect.gen(function* () {
      const path = yield* directory
      const file = join(path, "store.db")
      const copy = join(path, "copy.db")
      yield* Effect.gen(function* () {
        const store = yield* SqliteStorage.open({ file, durability: "none" })
        yield* Stream.runDrain(store.load)
        yield* store.commit([session("a"), ...Array.from({ length: 99 }, (_, index) => outgoing("a", index + 1))], 1)
      }).pipe(Effect.scoped)
      const database = new DatabaseSync(file)
      database.exec("UPDATE chunk SET entries = x'0102' WHERE first = 1")
      database.close()
      const { message } = yield* Effect.flip(SqliteBackup.backup(file, copy))
      assert.match(message, /store\.db: It is damaged, and so was the copy, which was removed: .*a message for a/)
      assert.match(message, /--recover/)
      assert.deepStrictEqual(
        readdirSync(path).filter((name) => name.startsWith("copy")),
        []
      )
    })
  )

  it.live("names the copy when that cannot be written", () =>
    Effect.gen(function* () {
      const path = yield* directory
      const file = join(path, "store.db")
      yield* Effect.scoped(SqliteStorage.open({ file }))
      const nowhere = join(path, "nowhere", "copy.db")
      assert.include((yield* Effect.flip(SqliteBackup.backup(file, nowhere))).message, `${nowhere}: ENOENT`)
    })
  )

  it.live("does not write over a file, copies nothing that is not a store, and says so", () =>
    Effect.gen(function* () {
      const path = yield* directory
      const file = join(path, "store.db")
      const copy = join(path, "copy.db")
      const failing = (from: string, to: string) =>
        Effect.map(Effect.flip(SqliteBackup.backup(from, to)), ({ reason }) => reason)
      assert.match((yield* failing(file, copy)).message, /no such file/)
      writeFileSync(file, "just some notes, and more of them, line by line")
      assert.strictEqual((yield* failing(file, copy))._tag, "StorageForeign")
      assert.isFalse(existsSync(copy))
      const other = join(path, "other.db")
      yield* Effect.scoped(SqliteStorage.open({ file: other }))
      assert.match((yield* failing(other, file)).message, /exists already/)
    })
  )
})
