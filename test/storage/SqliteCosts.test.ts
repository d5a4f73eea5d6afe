/**
 * What commits and reading cost, counted: how hard it writes, and how many statements, buffers and sorts it takes.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { join } from "node:path"
import { DatabaseSync, StatementSync } from "node:sqlite"
import type { StoreOperation } from "../../src/core/StoreOperation.ts"
import * as SqliteBatch from "../../src/storage/SqliteBatch.ts"
import { SqliteCatalog } from "../../src/storage/SqliteCatalog.ts"
import { SqliteDatabase } from "../../src/storage/SqliteDatabase.ts"
import * as SqliteFile from "../../src/storage/SqliteFile.ts"
import { pages, queued } from "../../src/storage/SqliteReader.ts"
import * as SqliteSchema from "../../src/storage/SqliteSchema.ts"
import * as SqliteStorage from "../../src/storage/SqliteStorage.ts"
import { message, outgoing, session } from "../../src/storage/StorageContract.ts"
import { directory } from "./Directory.ts"

/** How often a statement is run in `body`. */
const statementsIn = (body: () => void): number => {
  const { all, get, run } = StatementSync.prototype
  let count = 0
  const counted = <P extends ReadonlyArray<unknown>, A>(method: (this: StatementSync, ...parameters: P) => A) =>
    function (this: StatementSync, ...parameters: P): A {
      count++
      return method.call(this, ...parameters)
    }
  Object.assign(StatementSync.prototype, { all: counted(all), get: counted(get), run: counted(run) })
  try {
    body()
  } finally {
    Object.assign(StatementSync.prototype, { all, get, run })
  }
  return count
}

/** A database, and what commits to it; how many statements that took. */
const opened = Effect.fnUntraced(function* () {
  const file = join(yield* directory, "store.db")
  const options = { file, durability: "none", fileBytesMax: 0, logBytesMax: 1e9 } as const
  const database = new SqliteDatabase(options)
  yield* Effect.addFinalizer(() => Effect.sync(() => database.close()))
  database.begin(1)
  const catalog = new SqliteCatalog()
  let sequence = 0
  return (operations: ReadonlyArray<StoreOperation>): number => {
    const { batch, change } = SqliteBatch.encode(catalog, operations, ++sequence)
    const count = statementsIn(() => database.commit(batch, 1))
    catalog.apply(change)
    return count
  }
})

/** What SQLite is asked in `body`. */
const askedIn = (database: DatabaseSync, body: () => void): ReadonlyArray<string> => {
  const asked: Array<string> = []
  const prepare = database.prepare.bind(database)
  database.prepare = (sql) => {
    asked.push(sql)
    return prepare(sql)
  }
  try {
    body()
  } finally {
    database.prepare = prepare
  }
  return asked
}

const range = (count: number) => Array.from({ length: count }, (_, index) => index + 1)

describe("SqliteFile.open", () => {
  for (const [durability, synchronous, fullfsync] of [
    ["fsync", 2, 1],
    ["os", 1, 0],
    ["none", 0, 0]
  ] as const) {
    it.live(`writes as hard as ${durability} says`, () =>
      Effect.gen(function* () {
        const file = join(yield* directory, "store.db")
        const { database } = SqliteFile.open({ file, durability, fileBytesMax: 0 })
        yield* Effect.addFinalizer(() => Effect.sync(() => database.close()))
        const pragma = (name: string) => SqliteSchema.numberOf(database, `PRAGMA ${name}`)
        assert.strictEqual(pragma("synchronous"), synchronous)
        assert.strictEqual(pragma("fullfsync"), fullfsync)
        assert.strictEqual(pragma("checkpoint_fullfsync"), fullfsync)
      })
    )
  }
})

describe("A commit", () => {
  it.live("takes as many statements for a queue's messages, put or removed, as for one", () =>
    Effect.gen(function* () {
      const commit = yield* opened()
      commit([session("a"), session("b")])
      const orders = range(200)
      const remove = (clientId: string, order: number): StoreOperation => ({ _tag: "RemoveOutgoing", clientId, order })
      assert.strictEqual(commit(orders.map((order) => outgoing("a", order))), commit([outgoing("b", 1)]))
      const one = commit([remove("b", 1)])
      assert.strictEqual(commit(orders.map((order) => remove("a", order))), one)
    })
  )

  it.live("writes a body that many queues hold once", () =>
    Effect.gen(function* () {
      const names = range(20).map((index) => `c${index}`)
      const commit = yield* opened()
      commit(names.map((name) => session(name)))
      const body = message(1)
      const shared = commit(names.map((name) => ({ ...outgoing(name, 1), message: body })))
      const apart = commit(names.map((name, index) => ({ ...outgoing(name, 2), message: message(2 + index) })))
      assert.strictEqual(shared, apart + 1)
    })
  )

  it.live("hands its bytes over in one buffer, uncopied", () =>
    Effect.gen(function* () {
      const store = yield* SqliteStorage.open({ file: join(yield* directory, "store.db"), durability: "none" })
      yield* Stream.runDrain(store.load)
      const transferred: Array<ReadonlyArray<ArrayBuffer>> = []
      const { thread } = store
      const request = thread.request.bind(thread)
      thread.request = (asked, transfer, answered) => {
        if (asked._tag === "Commit") transferred.push(transfer)
        request(asked, transfer, answered)
      }
      yield* store.commit([session("a"), ...range(200).map((order) => outgoing("a", order))], 1)
      yield* store.commit([outgoing("a", 201)], 2)
      assert.deepStrictEqual(
        transferred.map((list) => list.map(({ byteLength }) => byteLength)),
        [[0], [0]] // gone to the thread, not copied
      )
    })
  )
})

describe("Reading", () => {
  it.live("follows the order of an index, and sorts nothing", () =>
    Effect.gen(function* () {
      const file = join(yield* directory, "store.db")
      new SqliteDatabase({ file, durability: "none", fileBytesMax: 0, logBytesMax: 1e9 }).close()
      const database = new DatabaseSync(file)
      yield* Effect.addFinalizer(() => Effect.sync(() => database.close()))
      const asked = askedIn(database, () => {
        for (const _ of pages(database)) assert.fail("it is empty")
        queued(database, { session: 1, after: 0, through: 9, bytesMax: 1 })
      })
      assert.isAbove(asked.length, 6)
      for (const sql of asked) {
        const plan = database.prepare(`EXPLAIN QUERY PLAN ${sql}`).all()
        assert.notMatch(JSON.stringify(plan), /TEMP B-TREE/, sql)
      }
    })
  )
})
