import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { DatabaseSync } from "node:sqlite"
import { join } from "node:path"
import type { StoreOperation } from "../../src/core/StoreOperation.ts"
import { MemoryStore } from "../../src/storage/MemoryStorage.ts"
import * as SqliteStorage from "../../src/storage/SqliteStorage.ts"
import { random } from "../core/Random.ts"
import { incoming, message, outgoing, retained, session } from "../../src/storage/StorageContract.ts"
import { contract } from "./contract.ts"
import { directory, sqliteLayer } from "./Directory.ts"
import { canonical, Operations } from "./Operations.ts"

contract("SqliteStorage.layer", sqliteLayer())

const loaded = (store: SqliteStorage.SqliteStore) =>
  Effect.map(Stream.runCollect(store.load), (records) => [...records])

const openIn = (path: string, options: Omit<SqliteStorage.SqliteOptions, "file"> = {}) =>
  SqliteStorage.open({ ...options, file: join(path, "store.db") })

/** How many rows each table has, seen from outside. */
const rowsIn = (path: string) => {
  const database = new DatabaseSync(join(path, "store.db"), { readOnly: true })
  const count = (table: string) => Number(database.prepare(`SELECT count(*) AS n FROM ${table}`).get()?.n)
  const rows = { chunk: count("chunk"), mark: count("mark"), pool: count("pool"), incoming: count("incoming") }
  database.close()
  return rows
}

const removeOutgoing = (clientId: string, order: number): StoreOperation => ({
  _tag: "RemoveOutgoing",
  clientId,
  order
})

describe("SqliteStore.load", () => {
  it.live("gives some records at a time, so that no more of them than those are in memory", () =>
    Effect.gen(function* () {
      const store = yield* openIn(yield* directory, { durability: "none" })
      yield* Stream.runDrain(store.load)
      const clients = Array.from({ length: 3_000 }, (_, index) => `c${index}`)
      const one = clients.flatMap((clientId) => [session(clientId), outgoing(clientId, 1)])
      const many = Array.from({ length: 3_000 }, (_, index) => outgoing("c0", 2 + index))
      yield* store.commit([...one, ...many], 1)
      const lengths = yield* Stream.runCollect(Stream.map(Stream.chunks(store.load), (records) => records.length))
      assert.strictEqual(
        lengths.reduce((sum, length) => sum + length, 0),
        one.length + many.length
      )
      assert.isBelow(Math.max(...lengths), 600)
    })
  )
})

describe("SqliteStorage holds what a plain map of records would", () => {
  for (let seed = 1; seed <= 4; seed++) {
    it.live(`after generated batches, restarts and deaths of its thread (seed ${seed})`, () =>
      Effect.gen(function* () {
        const path = yield* directory
        const next = random(seed)
        const operations = new Operations(next)
        const model = new MemoryStore()
        for (let life = 0; life < 3; life++) {
          yield* Effect.gen(function* () {
            // "none": what is tried here has nothing to do with fsync.
            const store = yield* openIn(path, { durability: "none", logBytesMax: 1 + next(200_000) })
            assert.deepStrictEqual(canonical(yield* loaded(store)), canonical(model.records()))
            model.sequence = 0
            for (let sequence = 1; sequence <= 60; sequence++) {
              const batch = operations.batch(12)
              model.commit(batch, sequence)
              const commit = yield* Effect.forkChild(store.commit(batch, sequence), { startImmediately: true })
              if (next(25) === 0) yield* Effect.promise(() => store.thread.kill())
              yield* Fiber.join(commit)
            }
          }).pipe(Effect.scoped)
        }
        yield* Effect.gen(function* () {
          const store = yield* openIn(path)
          assert.deepStrictEqual(canonical(yield* loaded(store)), canonical(model.records()))
        }).pipe(Effect.scoped)
      })
    )
  }
})

describe("SqliteStorage", () => {
  it.live("stores a message that many sessions hold once, and removes it with the last reference", () =>
    Effect.gen(function* () {
      const path = yield* directory
      const store = yield* openIn(path)
      yield* loaded(store)
      const names = Array.from({ length: 50 }, (_, index) => `c${index}`)
      const body = { ...message(1), payload: new Uint8Array(100_000) }
      yield* store.commit(
        [...names.map((name) => session(name)), ...names.map((name) => ({ ...outgoing(name, 1), message: body }))],
        1
      )
      assert.deepStrictEqual(rowsIn(path), { chunk: 50, mark: 0, pool: 1, incoming: 0 })
      const found = yield* loaded(store)
      const bodies = new Set(found.flatMap((record) => (record._tag === "PutOutgoing" ? [record.message] : [])))
      assert.strictEqual(bodies.size, 1)
      yield* store.commit(
        names.slice(1).map((name) => removeOutgoing(name, 1)),
        1
      )
      assert.deepStrictEqual(rowsIn(path), { chunk: 1, mark: 0, pool: 1, incoming: 0 })
      yield* store.commit([removeOutgoing("c0", 1)], 2)
      assert.deepStrictEqual(rowsIn(path), { chunk: 0, mark: 0, pool: 0, incoming: 0 })
    })
  )

  it.live("keeps a message of one session beside its queue, and many of them in one row", () =>
    Effect.gen(function* () {
      const path = yield* directory
      const store = yield* openIn(path)
      yield* loaded(store)
      const puts = Array.from({ length: 300 }, (_, index) => outgoing("a", index + 1))
      yield* store.commit([session("a"), ...puts], 1)
      assert.deepStrictEqual(rowsIn(path), { chunk: 2, mark: 0, pool: 0, incoming: 0 })
      yield* store.commit(
        puts.slice(0, 299).map(({ order }) => removeOutgoing("a", order)),
        2
      )
      assert.deepStrictEqual(rowsIn(path), { chunk: 1, mark: 1, pool: 0, incoming: 0 })
      yield* store.commit([removeOutgoing("a", 300)], 3)
      assert.deepStrictEqual(rowsIn(path), { chunk: 0, mark: 0, pool: 0, incoming: 0 })
    })
  )

  it.live("does not write what was delivered and acknowledged while the batch gathered", () =>
    Effect.gen(function* () {
      const path = yield* directory
      const store = yield* openIn(path)
      yield* loaded(store)
      yield* store.commit([session("a"), outgoing("a", 1), removeOutgoing("a", 1)], 1)
      assert.deepStrictEqual(rowsIn(path), { chunk: 0, mark: 0, pool: 0, incoming: 0 })
    })
  )

  it.live("keeps what becomes of a message whose order was that of one before it", () =>
    Effect.gen(function* () {
      const path = yield* directory
      const set = (order: number): StoreOperation => ({
        _tag: "SetOutgoing",
        clientId: "a",
        order,
        packetId: order,
        state: 4
      })
      yield* Effect.gen(function* () {
        const store = yield* openIn(path)
        yield* loaded(store)
        yield* store.commit([session("a"), outgoing("a", 1), outgoing("a", 2), outgoing("a", 3)], 1)
        yield* store.commit([removeOutgoing("a", 3)], 2)
      }).pipe(Effect.scoped)
      // As after a restart, when the highest order there is is 2: both lie where the other one's neighbours are.
      const store = yield* openIn(path)
      yield* loaded(store)
      yield* store.commit([outgoing("a", 3), outgoing("a", 4)], 1)
      yield* store.commit([set(2), set(3), set(4)], 2)
      const states = (yield* loaded(store)).flatMap((record) =>
        record._tag === "PutOutgoing" ? [[record.order, record.state]] : []
      )
      assert.deepStrictEqual(states, [
        [1, 1],
        [2, 4],
        [3, 4],
        [4, 4]
      ])
      yield* store.commit([removeOutgoing("a", 1), removeOutgoing("a", 2), removeOutgoing("a", 3)], 3)
      const orders = (yield* loaded(store)).flatMap((record) => (record._tag === "PutOutgoing" ? [record.order] : []))
      assert.deepStrictEqual(orders, [4])
    })
  )

  it.live("a thread that dies between commits is started again, and goes on from the committed sequence", () =>
    Effect.gen(function* () {
      const store = yield* openIn(yield* directory)
      yield* loaded(store)
      yield* store.commit([session("a"), outgoing("a", 1)], 2)
      yield* Effect.promise(() => store.thread.kill())
      yield* store.commit([session("a"), outgoing("a", 1)], 2)
      yield* store.commit([removeOutgoing("a", 1), incoming("a", 1)], 4)
      assert.strictEqual(store.thread.starts, 2)
      assert.sameDeepMembers(yield* loaded(store), [session("a"), incoming("a", 1)])
    })
  )

  it.live("a batch is whole or not there, whenever its thread dies", () =>
    Effect.gen(function* () {
      for (let delay = 0; delay < 18; delay += 3) {
        yield* Effect.gen(function* () {
          const path = yield* directory
          const store = yield* openIn(path, { durability: "os" })
          yield* loaded(store)
          yield* store.commit([session("a")], 1)
          const many = Array.from({ length: 5_000 }, (_, index) => outgoing("a", index + 1))
          const commit = yield* Effect.forkChild(store.commit([...many, retained("last")], 2), {
            startImmediately: true
          })
          yield* Effect.sleep(delay)
          yield* Effect.promise(() => store.thread.kill())
          yield* Fiber.join(commit)
          assert.strictEqual((yield* loaded(store)).length, 5_002)
        }).pipe(Effect.scoped)
      }
    })
  )

  it.live("knows when the run before was last alive", () =>
    Effect.gen(function* () {
      const path = yield* directory
      const before = Date.now()
      yield* Effect.gen(function* () {
        const { commit, lastAlive, load } = (yield* openIn(path)).service
        yield* Stream.runDrain(load)
        assert.strictEqual(yield* lastAlive!, 0)
        yield* commit([session("a")], 1)
      }).pipe(Effect.scoped)
      const { lastAlive, load } = (yield* openIn(path)).service
      yield* Stream.runDrain(load)
      const at = yield* lastAlive!
      assert.isAtLeast(at, before)
      // Within the minute that may pass between two notes of it.
      assert.isAtMost(at, Date.now() + 60_000)
    })
  )

  it.live("closing waits for the commit that is underway, and leaves no log behind", () =>
    Effect.gen(function* () {
      const path = yield* directory
      const scope = yield* Scope.make()
      const store = yield* Scope.provide(openIn(path), scope)
      yield* loaded(store)
      const commit = yield* Effect.forkChild(store.commit([session("a"), retained("r")], 1), { startImmediately: true })
      yield* Scope.close(scope, Exit.void)
      yield* Fiber.join(commit)
      assert.isFalse(store.thread.alive)
      const again = yield* openIn(path)
      assert.sameDeepMembers(yield* loaded(again), [session("a"), retained("r")])
    })
  )
})
