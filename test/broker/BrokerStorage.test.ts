import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as Broker from "../../src/broker/Broker.ts"
import * as BrokerStorage from "../../src/storage/BrokerStorage.ts"
import * as MemoryStorage from "../../src/storage/MemoryStorage.ts"
import * as RawClient from "./RawClient.ts"
import { brokerLayer, collect, port } from "./support.ts"

const FOR_EVER = { sessionExpiryInterval: 0xffff_ffff }

const storageLayer = (service: BrokerStorage.BrokerStorage["Service"]) =>
  Layer.succeed(BrokerStorage.BrokerStorage)(service)

describe("Broker with a store", () => {
  it.live("sessions, their queues and retained messages survive a restart", () =>
    Effect.gen(function* () {
      const store = new MemoryStorage.MemoryStore()
      const layer = brokerLayer({ storage: MemoryStorage.layerKeeping(store) })
      yield* Effect.gen(function* () {
        const broker = yield* Broker.Broker
        const client = yield* RawClient.connect(yield* port, { clientId: "c", properties: FOR_EVER })
        yield* RawClient.subscribe(client, "q", 1)
        const gone = yield* collect(broker.eventsOf("Disconnected"), 1)
        client.socket.destroy()
        yield* Fiber.join(gone)
        yield* broker.publish({ topic: "q", payload: "queued", qos: 1 })
        yield* broker.publish({ topic: "r", payload: "retained", retain: true })
      }).pipe(Effect.scoped, Effect.provide(layer))
      assert.deepStrictEqual([...store.sessions.keys()], ["c"])
      assert.deepStrictEqual([...store.retained.keys()], ["r"])
      yield* Effect.gen(function* () {
        const bound = yield* port
        const client = yield* RawClient.connect(bound, { clientId: "c", cleanStart: false, properties: FOR_EVER })
        assert.isTrue(client.connAck.sessionPresent)
        const message = yield* client.expect("Publish")
        assert.strictEqual(Buffer.from(message.payload).toString(), "queued")
        const other = yield* RawClient.connect(bound, { clientId: "other" })
        yield* RawClient.subscribe(other, "r")
        const retained = yield* other.expect("Publish")
        assert.isTrue(retained.retain)
        assert.strictEqual(Buffer.from(retained.payload).toString(), "retained")
      }).pipe(Effect.scoped, Effect.provide(layer))
    })
  )

  it.live("an acknowledgement waits for the store, and a failed commit is repeated until it succeeds", () =>
    Effect.gen(function* () {
      const store = new MemoryStorage.MemoryStore()
      const failing = MemoryStorage.make(store)
      const attempts: Array<number> = []
      let broken = false
      const service: BrokerStorage.BrokerStorage["Service"] = {
        ...failing,
        commit: (operations, sequence) =>
          Effect.suspend(() => {
            if (!broken) return failing.commit(operations, sequence)
            attempts.push(sequence)
            if (attempts.length === 2) broken = false
            const reason = new BrokerStorage.StorageFailed({ detail: "unplugged", cause: undefined })
            return Effect.fail(new BrokerStorage.StorageError({ reason }))
          })
      }
      yield* Effect.gen(function* () {
        const broker = yield* Broker.Broker
        const bound = yield* port
        const durable = yield* RawClient.connect(bound, { clientId: "durable", properties: FOR_EVER })
        yield* RawClient.subscribe(durable, "q", 1)
        const publisher = yield* RawClient.connect(bound, { clientId: "publisher" })
        const states = yield* collect(broker.eventsOf("StorageChanged"), 2)
        broken = true
        yield* publisher.send(RawClient.publish("q", "1", 1))
        assert.isBelow((yield* publisher.expect("PubAck")).reasonCode, 0x80)
        assert.strictEqual(attempts.length, 2)
        assert.strictEqual(attempts[0], attempts[1])
        assert.deepStrictEqual(
          (yield* Fiber.join(states)).map((event) => event.state),
          ["failed", "ok"]
        )
      }).pipe(Effect.provide(brokerLayer({ storage: storageLayer(service) })))
    })
  )

  it.live("while the store is full, what it would have to keep is refused with 0x97 and QoS 0 flows", () =>
    Effect.gen(function* () {
      const store = new MemoryStorage.MemoryStore()
      const working = MemoryStorage.make(store)
      let full = false
      const service: BrokerStorage.BrokerStorage["Service"] = {
        ...working,
        commit: (operations, sequence) =>
          Effect.suspend(() => {
            if (!full) return working.commit(operations, sequence)
            const reason = new BrokerStorage.StorageFull({ detail: "No space left on the device." })
            return Effect.fail(new BrokerStorage.StorageError({ reason }))
          })
      }
      yield* Effect.gen(function* () {
        const broker = yield* Broker.Broker
        const bound = yield* port
        const durable = yield* RawClient.connect(bound, { clientId: "durable", properties: FOR_EVER })
        yield* RawClient.subscribe(durable, "q", 1)
        const publisher = yield* RawClient.connect(bound, { clientId: "publisher" })
        const fullEvent = yield* collect(broker.eventsOf("StorageChanged"), 1)
        full = true
        yield* publisher.send(RawClient.publish("q", "waits", 1, false, 1))
        assert.strictEqual((yield* Fiber.join(fullEvent))[0]!.state, "full")
        const again = yield* collect(broker.eventsOf("StorageChanged"), 1)
        yield* publisher.send(RawClient.publish("q", "refused", 1, false, 2), RawClient.publish("q", "flows"))
        const texts = [yield* durable.expect("Publish"), yield* durable.expect("Publish")]
        assert.deepStrictEqual(
          texts.map(({ payload, qos }) => [Buffer.from(payload).toString(), qos]),
          [
            ["waits", 1],
            ["flows", 0]
          ]
        )
        full = false
        assert.strictEqual((yield* Fiber.join(again))[0]!.state, "ok")
        const answers = [yield* publisher.expect("PubAck"), yield* publisher.expect("PubAck")]
        const codes = new Map(answers.map(({ packetId, reasonCode }) => [packetId, reasonCode]))
        assert.isBelow(codes.get(1)!, 0x80)
        assert.strictEqual(codes.get(2), 0x97)
      }).pipe(Effect.provide(brokerLayer({ storage: storageLayer(service) })))
    })
  )

  it.live("batches are committed one at a time, in order", () =>
    Effect.gen(function* () {
      const store = new MemoryStorage.MemoryStore()
      const working = MemoryStorage.make(store)
      const sequences: Array<number> = []
      let underway = 0
      let most = 0
      const service: BrokerStorage.BrokerStorage["Service"] = {
        ...working,
        commit: (operations, sequence) =>
          Effect.gen(function* () {
            most = Math.max(most, ++underway)
            sequences.push(sequence)
            yield* Effect.yieldNow
            yield* working.commit(operations, sequence)
            underway--
          })
      }
      yield* Effect.gen(function* () {
        const bound = yield* port
        const durable = yield* RawClient.connect(bound, { clientId: "durable", properties: FOR_EVER })
        yield* RawClient.subscribe(durable, "q", 1)
        const publisher = yield* RawClient.connect(bound, { clientId: "publisher" })
        for (let packetId = 1; packetId <= 50; packetId++) {
          yield* publisher.send(RawClient.publish("q", String(packetId), 1, false, packetId))
        }
        for (let packetId = 1; packetId <= 50; packetId++) yield* publisher.expect("PubAck")
      }).pipe(Effect.provide(brokerLayer({ storage: storageLayer(service) })))
      assert.strictEqual(most, 1)
      assert.deepStrictEqual(
        sequences,
        [...sequences].sort((a, b) => a - b)
      )
      assert.strictEqual(store.sequence, sequences.at(-1))
    })
  )

  it.live("an in-process publish is done when the store has it", () =>
    Effect.gen(function* () {
      const store = new MemoryStorage.MemoryStore()
      const working = MemoryStorage.make(store)
      const gate = yield* Deferred.make<void>()
      const service: BrokerStorage.BrokerStorage["Service"] = {
        ...working,
        commit: (operations, sequence) => Effect.andThen(Deferred.await(gate), working.commit(operations, sequence))
      }
      yield* Effect.gen(function* () {
        const broker = yield* Broker.Broker
        const publishing = yield* Effect.forkChild(broker.publish({ topic: "r", payload: "x", retain: true }), {
          startImmediately: true
        })
        // Not durable, so not waited for.
        yield* broker.publish({ topic: "other", payload: "x" })
        assert.isUndefined(publishing.pollUnsafe())
        yield* Deferred.succeed(gate, undefined)
        yield* Fiber.join(publishing)
        assert.deepStrictEqual([...store.retained.keys()], ["r"])
      }).pipe(Effect.provide(brokerLayer({ storage: storageLayer(service) })))
    })
  )

  it.live("a store that cannot be loaded stops the broker from starting, and says why", () =>
    Effect.gen(function* () {
      const reason = new BrokerStorage.StorageCorrupt({ detail: "row 7" })
      const service: BrokerStorage.BrokerStorage["Service"] = {
        keeps: "everything",
        load: Stream.fail(new BrokerStorage.StorageError({ reason })),
        commit: () => Effect.void
      }
      const error = yield* Effect.flip(
        Effect.scoped(Effect.provide(Broker.Broker, brokerLayer({ storage: storageLayer(service) })))
      )
      assert.strictEqual(error.reason._tag, "StorageUnavailable")
      assert.include(error.message, "row 7")
    })
  )
})
