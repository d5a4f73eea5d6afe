/**
 * A store that has no room: what still works, and that it recovers by itself.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Stream from "effect/Stream"
import { existsSync, rmSync, statfsSync, statSync, symlinkSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import * as Broker from "../../src/broker/Broker.ts"
import type { StoreOperation } from "../../src/core/StoreOperation.ts"
import * as BrokerStorage from "../../src/storage/BrokerStorage.ts"
import * as MemoryStorage from "../../src/storage/MemoryStorage.ts"
import { SqliteDatabase } from "../../src/storage/SqliteDatabase.ts"
import * as SqliteStorage from "../../src/storage/SqliteStorage.ts"
import * as RawClient from "../broker/RawClient.ts"
import { brokerLayer, collect, port } from "../broker/support.ts"
import { message, outgoing, session } from "../../src/storage/StorageContract.ts"
import { directory, smallDisk } from "./Directory.ts"

const MIB = 1024 * 1024

const large = (order: number): StoreOperation => ({
  ...outgoing("a", order),
  message: { ...message(order), payload: new Uint8Array(60_000).fill(order) }
})

/** Fills the store until it refuses. Returns the number of the last batch that was kept. */
const fill = Effect.fnUntraced(function* (store: SqliteStorage.SqliteStore) {
  yield* Stream.runDrain(store.load)
  yield* store.commit([session("a")], 1)
  for (let sequence = 2; sequence < 2_000; sequence++) {
    const error = yield* Effect.match(store.commit([large(sequence)], sequence), {
      onSuccess: () => undefined,
      onFailure: ({ reason }) => reason
    })
    if (error === undefined) continue
    assert.strictEqual(error._tag, "StorageFull")
    assert.match(error.message, /is full.*Make room/s)
    return sequence - 1
  }
  return assert.fail("it never was full")
})

const removeUpTo = (last: number): ReadonlyArray<StoreOperation> =>
  Array.from({ length: last }, (_, index) => ({ _tag: "RemoveOutgoing", clientId: "a", order: index + 1 }))

describe("SqliteStorage without room", () => {
  it.live("at its own limit: keeps what it has, refuses more, keeps deletes, and then has room again", () =>
    Effect.gen(function* () {
      const file = join(yield* directory, "store.db")
      const store = yield* SqliteStorage.open({ file, durability: "none", fileBytesMax: 4 * MIB })
      const { hasRoom } = store.service
      const last = yield* fill(store)
      assert.isAbove(last, 40)
      assert.isFalse(yield* hasRoom!)
      // What was refused is tried again, and now the room held in reserve takes it: the broker forgets nothing.
      yield* store.commit([large(last + 1)], last + 1)
      assert.isFalse(yield* hasRoom!)
      yield* store.commit(removeUpTo(last - 10), last + 2)
      assert.isTrue(yield* hasRoom!)
      yield* store.commit([large(last + 3)], last + 3)
      assert.strictEqual((yield* Stream.runCollect(store.load)).length, 1 + 10 + 2)
    })
  )

  it.live("on a disk without room: the same, and by itself when there is room", (context) =>
    Effect.gen(function* () {
      const path = yield* directory
      const why = yield* smallDisk(path, 24)
      if (why !== undefined) return context.skip(why)
      const file = join(path, "store.db")
      yield* Effect.gen(function* () {
        const store = yield* SqliteStorage.open({ file, logBytesMax: 2 * MIB })
        const { hasRoom } = store.service
        assert.isTrue(existsSync(`${file}-reserve`))
        writeFileSync(join(path, "other"), new Uint8Array(4 * MIB))
        const last = yield* fill(store)
        assert.isFalse(existsSync(`${file}-reserve`))
        assert.isTrue(
          yield* Effect.map(Effect.exit(store.commit(removeUpTo(5), last + 1)), ({ _tag }) => _tag === "Success")
        )
        const { bavail, bsize } = statfsSync(path)
        writeFileSync(join(path, "more"), new Uint8Array(Math.max(0, bavail * bsize - 2 * MIB)))
        assert.isFalse(yield* hasRoom!)
        for (const name of ["other", "more"]) rmSync(join(path, name))
        yield* store.commit(removeUpTo(last), last + 2)
        assert.isTrue(yield* hasRoom!)
        assert.isTrue(existsSync(`${file}-reserve`))
        yield* store.commit([large(last + 3)], last + 3)
      }).pipe(Effect.scoped)
      const again = yield* SqliteStorage.open({ file })
      assert.strictEqual((yield* Stream.runCollect(again.load)).length, 2)
    })
  )

  it.live("on a disk that only itself has filled: has room when it is empty again", (context) =>
    Effect.gen(function* () {
      const path = yield* directory
      const why = yield* smallDisk(path, 24)
      if (why !== undefined) return context.skip(why)
      const file = join(path, "store.db")
      // With the default the log alone fills it, and the file has no room for what is in the log.
      const store = yield* SqliteStorage.open({ file })
      const { hasRoom } = store.service
      const last = yield* fill(store)
      yield* store.commit(removeUpTo(last), last + 1)
      assert.isTrue(yield* hasRoom!)
      assert.isTrue(existsSync(`${file}-reserve`))
      yield* store.commit([large(last + 2)], last + 2)
    })
  )
})

describe("SqliteStorage whose disk has no room for a reserve", () => {
  it.live("says so, and takes it as soon as there is", () =>
    Effect.gen(function* () {
      const path = yield* directory
      const file = join(path, "store.db")
      // A link that leads nowhere cannot be written to; nor can a full disk.
      symlinkSync(join(path, "nowhere", "reserve"), `${file}-reserve`)
      const logged: Array<string> = []
      const logger = Logger.make<unknown, void>(({ message }) => logged.push(String(message)))
      yield* SqliteStorage.open({ file, durability: "none" }).pipe(
        Effect.provide(Logger.layer([logger])),
        Effect.scoped
      )
      assert.match(logged.join(), /no room for the reserve of the store .*8 MiB.*Make room/)
      rmSync(`${file}-reserve`, { force: true })
      symlinkSync(join(path, "nowhere", "reserve"), `${file}-reserve`)
      const database = new SqliteDatabase({ file, durability: "none", fileBytesMax: 0, logBytesMax: MIB })
      yield* Effect.addFinalizer(() => Effect.sync(() => database.close()))
      assert.isFalse(database.opened.reserved)
      assert.isFalse(existsSync(`${file}-reserve`))
      database.beat(0)
      assert.strictEqual(statSync(`${file}-reserve`).size, 8 * MIB)
    })
  )
})

describe("Broker on a store that kept a batch in its last room", () => {
  it.live("refuses what needs room until the store says that there is some", () =>
    Effect.gen(function* () {
      const working = MemoryStorage.make(new MemoryStorage.MemoryStore())
      let full = false
      let room = true
      let asked = 0
      const storage = Layer.succeed(BrokerStorage.BrokerStorage)({
        ...working,
        commit: (operations, sequence) =>
          Effect.suspend(() => {
            if (!full) return working.commit(operations, sequence)
            full = false // the reserve has been given up: the next attempt finds room
            room = false
            const reason = new BrokerStorage.StorageFull({ detail: "No space left on the device." })
            return Effect.fail(new BrokerStorage.StorageError({ reason }))
          }),
        hasRoom: Effect.sync(() => {
          asked++
          return room
        })
      })
      yield* Effect.gen(function* () {
        const broker = yield* Broker.Broker
        const bound = yield* port
        const options = { clientId: "durable", properties: { sessionExpiryInterval: 1_000 } }
        const durable = yield* RawClient.connect(bound, options)
        yield* RawClient.subscribe(durable, "q", 1)
        const publisher = yield* RawClient.connect(bound, { clientId: "publisher" })
        full = true
        yield* publisher.send(RawClient.publish("q", "kept", 1, false, 1))
        assert.isBelow((yield* publisher.expect("PubAck")).reasonCode, 0x80)
        const states = yield* collect(broker.eventsOf("StorageChanged"), 1)
        yield* publisher.send(RawClient.publish("q", "refused", 1, false, 2))
        assert.strictEqual((yield* publisher.expect("PubAck")).reasonCode, 0x97)
        room = true
        assert.deepStrictEqual(
          (yield* Fiber.join(states)).map(({ state }) => state),
          ["ok"]
        )
        assert.isAtLeast(asked, 2)
        yield* publisher.send(RawClient.publish("q", "taken", 1, false, 3))
        assert.isBelow((yield* publisher.expect("PubAck")).reasonCode, 0x80)
      }).pipe(Effect.provide(brokerLayer({ storage })))
    })
  )

  it.live("is given what makes room together with what has none", () =>
    Effect.gen(function* () {
      const working = MemoryStorage.make(new MemoryStorage.MemoryStore())
      const sequences: Array<number> = []
      const storage = Layer.succeed(BrokerStorage.BrokerStorage)({
        ...working,
        commit: (operations, sequence) => {
          sequences.push(sequence)
          const count = (tag: StoreOperation["_tag"]) => operations.filter(({ _tag }) => _tag === tag).length
          if (count("PutOutgoing") <= count("RemoveOutgoing")) return working.commit(operations, sequence)
          const reason = new BrokerStorage.StorageFull({ detail: "No space left on the device." })
          return Effect.fail(new BrokerStorage.StorageError({ reason }))
        }
      })
      yield* Effect.gen(function* () {
        const bound = yield* port
        const options = { clientId: "durable", properties: { sessionExpiryInterval: 1_000 } }
        const durable = yield* RawClient.connect(bound, options)
        yield* RawClient.subscribe(durable, "q", 1)
        const publisher = yield* RawClient.connect(bound, { clientId: "publisher" })
        yield* publisher.send(RawClient.publish("q", "large", 1, false, 1))
        const { packetId } = yield* durable.expect("Publish")
        yield* durable.send({ _tag: "PubAck", packetId: packetId!, reasonCode: 0, properties: undefined })
        assert.isBelow((yield* publisher.expect("PubAck")).reasonCode, 0x80)
        // The batch came back larger, under the sequence of its end.
        assert.isAbove(sequences.at(-1)!, sequences.at(-2)!)
      }).pipe(Effect.provide(brokerLayer({ storage })))
    })
  )

  it.live("waits as long as the store says for a batch to gather", () =>
    Effect.gen(function* () {
      const working = MemoryStorage.make(new MemoryStorage.MemoryStore())
      const sizes: Array<number> = []
      const storage = Layer.succeed(BrokerStorage.BrokerStorage)({
        ...working,
        gatherMillis: 50,
        commit: (operations, sequence) => {
          sizes.push(operations.length)
          return working.commit(operations, sequence)
        }
      })
      yield* Effect.gen(function* () {
        const broker = yield* Broker.Broker
        const publish = (index: number) => broker.publish({ topic: `r/${index}`, payload: "x", retain: true })
        const publishing = yield* Effect.forEach([1, 2, 3, 4], (index) =>
          Effect.forkChild(publish(index), { startImmediately: true })
        )
        for (const fiber of publishing) yield* Fiber.join(fiber)
        assert.deepStrictEqual(sizes, [4])
      }).pipe(Effect.provide(brokerLayer({ storage })))
    })
  )
})
