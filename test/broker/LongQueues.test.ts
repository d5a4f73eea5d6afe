/**
 * A queue that outgrows memory, from socket to disk and back: the real broker on the real database.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import * as Broker from "../../src/broker/Broker.ts"
import type { Packet } from "../../src/protocol/Packet.ts"
import * as BrokerStorage from "../../src/storage/BrokerStorage.ts"
import * as MemoryStorage from "../../src/storage/MemoryStorage.ts"
import * as SqliteStorage from "../../src/storage/SqliteStorage.ts"
import { directory } from "../storage/Directory.ts"
import * as RawClient from "./RawClient.ts"
import { brokerLayer, collect, port } from "./support.ts"

const FOR_EVER = { sessionExpiryInterval: 0xffff_ffff }
const MESSAGES = 3_000

/** About a hundred messages in memory. */
const settings = { queueMemoryBytesMax: 32_768, queueMessagesMax: 100_000, inflightMax: 20 }

/** Somebody who subscribed and is away. */
const absent = (clientId: string, filter = "t") =>
  Effect.gen(function* () {
    const broker = yield* Broker.Broker
    const client = yield* RawClient.connect(yield* port, { clientId, properties: FOR_EVER })
    yield* RawClient.subscribe(client, filter, 1)
    const gone = yield* collect(broker.eventsOf("Disconnected"), 1)
    client.socket.destroy()
    yield* Fiber.join(gone)
  })

const publish = Effect.fnUntraced(function* (first: number, last: number) {
  const broker = yield* Broker.Broker
  const numbers = Array.from({ length: last - first + 1 }, (_, index) => `${first + index}`)
  yield* Effect.forEach(numbers, (payload) => broker.publish({ topic: "t", payload, qos: 1 }), {
    concurrency: "unbounded",
    discard: true
  })
})

const expectAll = Effect.fnUntraced(function* (clientId: string, count: number) {
  const client = yield* RawClient.connect(yield* port, { clientId, cleanStart: false, properties: FOR_EVER })
  assert.isTrue(client.connAck.sessionPresent)
  for (let number = 1; number <= count; number++) {
    const { packetId, payload } = yield* client.expect("Publish")
    assert.strictEqual(Buffer.from(payload).toString(), `${number}`)
    const answer: Packet = { _tag: "PubAck", packetId: packetId!, reasonCode: 0, properties: undefined }
    yield* client.send(answer)
  }
})

describe("a queue far larger than its memory", () => {
  it.live("is delivered in order after a restart, and moves as session JSON", () =>
    Effect.gen(function* () {
      const path = yield* directory
      const onFile = (name: string) =>
        brokerLayer({
          settings,
          storage: Layer.orDie(SqliteStorage.layer({ file: join(path, name), durability: "none" }))
        })
      yield* Effect.gen(function* () {
        yield* absent("a")
        yield* publish(1, MESSAGES - 500)
      }).pipe(Effect.scoped, Effect.provide(onFile("one.db")))
      const json = yield* Effect.gen(function* () {
        const broker = yield* Broker.Broker
        yield* publish(MESSAGES - 499, MESSAGES)
        const detail = yield* broker.session("a")
        assert.strictEqual(detail?.outgoingMessageCount, MESSAGES)
        assert.isBelow(detail!.outgoingMessages.length, 500)
        const saved = yield* broker.saveSession("a")
        yield* expectAll("a", MESSAGES)
        return saved
      }).pipe(Effect.scoped, Effect.provide(onFile("one.db")))
      yield* Effect.gen(function* () {
        const broker = yield* Broker.Broker
        yield* broker.loadSession(json)
        const detail = yield* broker.session("a")
        assert.strictEqual(detail?.outgoingMessageCount, MESSAGES)
        assert.isBelow(detail!.outgoingMessages.length, 500)
        yield* expectAll("a", MESSAGES)
      }).pipe(Effect.scoped, Effect.provide(onFile("two.db")))
    })
  )

  it.live("goes to another member of its shared subscription when its session ends, whatever the broker does", () =>
    Effect.gen(function* () {
      const file = join(yield* directory, "store.db")
      const storage = Layer.orDie(SqliteStorage.layer({ file, durability: "none" }))
      const layer = brokerLayer({ settings, storage })
      yield* Effect.gen(function* () {
        yield* absent("a", "$share/g/t")
        yield* publish(1, MESSAGES)
        yield* absent("b", "$share/g/t")
        const client = yield* RawClient.connect(yield* port, { clientId: "a" })
        assert.isFalse(client.connAck.sessionPresent)
      }).pipe(Effect.scoped, Effect.provide(layer))
      // It stopped when some of them, at the most, had been moved.
      yield* expectAll("b", MESSAGES).pipe(Effect.scoped, Effect.provide(layer))
      const left = yield* Effect.gen(function* () {
        const broker = yield* Broker.Broker
        return yield* broker.sessions
      }).pipe(Effect.scoped, Effect.provide(layer))
      assert.deepStrictEqual(
        left.map(({ clientId }) => clientId),
        ["b"]
      )
      const database = new DatabaseSync(file, { readOnly: true })
      assert.strictEqual(Number(database.prepare("SELECT count(*) AS count FROM session").get()?.count), 1)
      database.close()
    })
  )

  it.live("of one session that cannot be read is tried again, and the others are delivered meanwhile", () =>
    Effect.gen(function* () {
      const storage = MemoryStorage.make(new MemoryStorage.MemoryStore())
      let refusals = 0
      const service: BrokerStorage.BrokerStorage["Service"] = {
        ...storage,
        queued: (request) => {
          if (request.clientId !== "a" || refusals > 0) return storage.queued?.(request) ?? Effect.succeed([])
          refusals++
          const reason = new BrokerStorage.StorageFailed({ detail: "a bad sector." })
          return Effect.fail(new BrokerStorage.StorageError({ reason }))
        }
      }
      yield* Effect.gen(function* () {
        for (const name of ["a", "b"]) yield* absent(name)
        yield* publish(1, 500)
        const first = yield* Effect.forkScoped(expectAll("a", 500))
        yield* expectAll("b", 500)
        yield* Fiber.join(first)
        assert.strictEqual(refusals, 1)
      }).pipe(
        Effect.scoped,
        Effect.provide(brokerLayer({ settings, storage: Layer.succeed(BrokerStorage.BrokerStorage)(service) }))
      )
    })
  )
})

describe("saveSession of a queue that only the store has", () => {
  /** A store where this happens before it reads. */
  const storeWith = (before: () => Effect.Effect<void, BrokerStorage.StorageError>) => {
    const storage = MemoryStorage.make(new MemoryStorage.MemoryStore())
    return Layer.succeed(BrokerStorage.BrokerStorage)({
      ...storage,
      queued: (request) => Effect.suspend(before).pipe(Effect.andThen(storage.queued?.(request) ?? Effect.succeed([])))
    })
  }

  const payloadsOf = (json: string): ReadonlyArray<string> =>
    // Of the documented shape.
    (
      JSON.parse(json) as { readonly OutgoingMessages: ReadonlyArray<{ readonly Payload: string }> }
    ).OutgoingMessages.map(({ Payload }) => Buffer.from(Payload, "hex").toString())

  const numbers = (count: number) => Array.from({ length: count }, (_, index) => `${index + 1}`)

  it.live(
    "says what to do while messages come faster than they are read, and saves them when they no longer do",
    () => {
      /** What comes while the store reads; it is asked from inside of the broker, which is there by then. */
      let meanwhile = Effect.void
      return Effect.gen(function* () {
        const broker = yield* Broker.Broker
        yield* absent("a")
        yield* publish(1, 500)
        let published = 500
        const more = Effect.suspend(() => {
          published += 200
          return publish(published - 199, published)
        })
        meanwhile = Effect.orDie(Effect.provideService(more, Broker.Broker, broker))
        const busy = yield* Effect.flip(broker.saveSession("a"))
        assert.deepStrictEqual([busy.reason._tag, busy.code], ["StorageUnavailable", 303])
        assert.include(busy.message, "faster than they can be read. Disconnect its client, or try again")
        meanwhile = Effect.void
        assert.deepStrictEqual(payloadsOf(yield* broker.saveSession("a")), numbers(published))
      }).pipe(Effect.scoped, Effect.provide(brokerLayer({ settings, storage: storeWith(() => meanwhile) })))
    }
  )

  it.live("fails when the store cannot read it, with the store's words, and the session is as it was", () => {
    let broken = false
    const reason = new BrokerStorage.StorageFailed({ detail: "a bad sector." })
    const before = () => (broken ? Effect.fail(new BrokerStorage.StorageError({ reason })) : Effect.void)
    return Effect.gen(function* () {
      const broker = yield* Broker.Broker
      yield* absent("a")
      yield* publish(1, 500)
      broken = true
      const error = yield* Effect.flip(broker.saveSession("a"))
      assert.deepStrictEqual([error.reason._tag, error.code], ["StorageUnavailable", 303])
      assert.include(error.message, "a bad sector.")
      broken = false
      assert.deepStrictEqual(payloadsOf(yield* broker.saveSession("a")), numbers(500))
      yield* expectAll("a", 500)
    }).pipe(Effect.scoped, Effect.provide(brokerLayer({ settings, storage: storeWith(before) })))
  })
})
