/**
 * What a program can ask of a running broker: interrupt, listen again, retained messages, reset.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as Net from "node:net"
import * as Broker from "../../src/broker/Broker.ts"
import { BrokerStorage, StorageCorrupt, StorageError } from "../../src/storage/BrokerStorage.ts"
import * as MemoryStorage from "../../src/storage/MemoryStorage.ts"
import * as ConnectionId from "../../src/core/ConnectionId.ts"
import * as Directory from "../storage/Directory.ts"
import * as RawClient from "./RawClient.ts"
import { brokerLayer, collect, port, tried } from "./support.ts"

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString()

describe("interrupt", () => {
  /** As much as no kernel takes for a reader that does not read. */
  const MEGABYTES = 16

  for (const [when, inTurns] of [
    ["one a turn", true],
    ["all in one turn", false]
  ] as const) {
    it.live(`drops whole messages at QoS 0 that wait for a slow reader, ${when}, nothing else, and goes on`, () =>
      Effect.gen(function* () {
        const broker = yield* Broker.Broker
        const reader = yield* RawClient.connect(yield* port, { clientId: "reader" })
        yield* RawClient.subscribe(reader, "#", 2)
        const connectionId = (yield* broker.connections)[0]!.connectionId
        const dropped = yield* collect(broker.eventsOf("MessageDropped"), 1)
        reader.socket.pause()
        for (let megabyte = 0; megabyte < MEGABYTES; megabyte++) {
          yield* broker.publish({ topic: "many", payload: Buffer.alloc(1_000_000) })
          if (megabyte === MEGABYTES - 4) yield* broker.publish({ topic: "kept", payload: "1", qos: 1 })
          // The first fill the kernel's buffer, the others wait.
          if (inTurns) yield* Effect.callback<void>((resume) => void setImmediate(() => resume(Effect.void)))
        }
        yield* broker.publish({ topic: "kept", payload: "2", qos: 2 })
        if (!inTurns) yield* Effect.callback<void>((resume) => void setImmediate(() => resume(Effect.void)))
        const count = yield* broker.interrupt(connectionId)
        assert.isAbove(count, 0)
        assert.deepInclude((yield* Fiber.join(dropped))[0], {
          clientId: "reader",
          topic: "many",
          qos: 0,
          reason: "interrupted"
        })
        reader.socket.resume()
        yield* broker.publish({ topic: "end", payload: "" })
        const topics: Array<string> = []
        while (topics.at(-1) !== "end") topics.push((yield* reader.expect("Publish")).topic)
        assert.strictEqual(topics.filter((topic) => topic === "many").length, MEGABYTES - count)
        assert.strictEqual(topics.filter((topic) => topic === "kept").length, 2)
        yield* RawClient.ping(reader)
        assert.strictEqual((yield* broker.stats).messagesDropped, count)
      }).pipe(Effect.provide(brokerLayer({ settings: { outboxBytesMax: 64_000_000 } })))
    )
  }

  it.live("does nothing where nothing waits, and fails for a connection that is not there", () =>
    Effect.gen(function* () {
      const broker = yield* Broker.Broker
      const client = yield* RawClient.connect(yield* port)
      const [connection] = yield* broker.connections
      assert.strictEqual(yield* broker.interrupt(connection!.connectionId), 0)
      yield* RawClient.ping(client)
      const error = yield* Effect.flip(broker.interrupt(ConnectionId.fromNumber(77)))
      assert.deepStrictEqual([error.code, error.reason._tag], [212, "NotConnected"])
    }).pipe(Effect.provide(brokerLayer()))
  )
})

describe("listening", () => {
  it.live("stops and starts again on the same port, with the clients that stayed", () =>
    Effect.gen(function* () {
      const broker = yield* Broker.Broker
      const bound = yield* port
      const second = yield* broker.addListener({ port: 0 })
      const events = yield* collect(broker.eventsOf("ListenerStarted", "ListenerStopped"), 8)
      const stayed = yield* RawClient.connect(bound, { clientId: "stayed" })
      for (let round = 0; round < 2; round++) {
        assert.isTrue(yield* broker.listening)
        yield* broker.stopListening
        assert.isFalse(yield* broker.listening)
        assert.strictEqual(yield* tried(bound), "ECONNREFUSED")
        yield* broker.startListening
        yield* broker.startListening // there is nothing left to start
        assert.isUndefined(yield* tried(bound))
        assert.isUndefined(yield* tried(second.localPort))
      }
      yield* RawClient.ping(stayed)
      const ports = (yield* Fiber.join(events)).map(({ _tag, localPort }) => `${_tag} ${localPort === bound}`)
      assert.deepStrictEqual(ports.slice(0, 4), [
        "ListenerStopped true",
        "ListenerStopped false",
        "ListenerStarted true",
        "ListenerStarted false"
      ])
      const listeners = yield* broker.listeners
      assert.deepStrictEqual(
        listeners.map(({ localPort }) => localPort),
        [bound, second.localPort]
      )
    }).pipe(Effect.provide(brokerLayer()))
  )

  it.live("fails when somebody else has taken the address, and starts when it is free again", () =>
    Effect.gen(function* () {
      const broker = yield* Broker.Broker
      const bound = yield* port
      yield* broker.stopListening
      const thief = Net.createServer()
      yield* Effect.callback<void>((resume) => {
        thief.listen(bound, "127.0.0.1", () => resume(Effect.void))
      })
      const error = yield* Effect.flip(broker.startListening)
      assert.strictEqual(error.code, 10048)
      assert.isFalse(yield* broker.listening)
      yield* Effect.callback<void>((resume) => {
        thief.close(() => resume(Effect.void))
      })
      yield* broker.startListening
      yield* RawClient.connect(bound)
    }).pipe(Effect.provide(brokerLayer()))
  )

  it.live("closing a listener's scope says goodbye to those who came before it was stopped and started", () =>
    Effect.gen(function* () {
      const broker = yield* Broker.Broker
      const early = yield* Effect.scoped(
        Effect.gen(function* () {
          const { localPort } = yield* broker.addListener({ port: 0 })
          const client = yield* RawClient.connect(localPort).pipe(Effect.provide(Layer.empty))
          yield* broker.stopListening
          yield* broker.startListening
          yield* RawClient.ping(client)
          return localPort
        })
      )
      assert.strictEqual(yield* tried(early), "ECONNREFUSED")
      assert.strictEqual((yield* broker.listeners).length, 1)
    }).pipe(Effect.provide(brokerLayer()))
  )
})

describe("retained messages", () => {
  it.live("are added, modified, looked at and removed, and nobody is sent them but new subscriptions", () =>
    Effect.gen(function* () {
      const broker = yield* Broker.Broker
      const client = yield* RawClient.connect(yield* port)
      yield* RawClient.subscribe(client, "#", 1)
      yield* broker.setRetainedMessage({ topic: "a/b", payload: "one" })
      yield* broker.setRetainedMessage({ topic: "a/b", payload: "two", qos: 1, properties: { contentType: "x" } })
      yield* broker.setRetainedMessage({ topic: "a/c", payload: "three" })
      assert.strictEqual((yield* broker.retainedMessages).length, 2)
      const message = yield* broker.retainedMessage("a/b")
      assert.deepInclude(message, { topic: "a/b", qos: 1, retain: true, properties: { contentType: "x" } })
      assert.strictEqual(text(message!.payload), "two")
      assert.isTrue(yield* broker.removeRetainedMessage("a/c"))
      assert.isFalse(yield* broker.removeRetainedMessage("a/c"))
      assert.isUndefined(yield* broker.retainedMessage("a/c"))
      yield* RawClient.ping(client) // it got nothing
      const late = yield* RawClient.connect(yield* port, { clientId: "late" })
      yield* RawClient.subscribe(late, "#", 1)
      assert.deepInclude(yield* late.expect("Publish"), { topic: "a/b", qos: 1, retain: true })
      yield* RawClient.ping(late)
    }).pipe(Effect.provide(brokerLayer()))
  )

  it.live("keep to the rules of topics, to their limits, and to the store", () => {
    const store = new MemoryStorage.MemoryStore()
    return Effect.gen(function* () {
      const broker = yield* Broker.Broker
      const invalid = yield* Effect.flip(broker.setRetainedMessage({ topic: "a/#", payload: "x" }))
      assert.deepStrictEqual([invalid.code, invalid.reason._tag], [601, "InvalidTopic"])
      yield* broker.setRetainedMessage({ topic: "a", payload: "x" })
      assert.deepStrictEqual([...store.retained.keys()], ["a"])
      const full = yield* Effect.flip(broker.setRetainedMessage({ topic: "b", payload: "x" }))
      assert.deepStrictEqual([full.code, full.reason._tag], [10055, "LimitReached"])
      assert.include(full.message, "retainedMessagesMax")
      yield* broker.removeRetainedMessage("a")
      assert.deepStrictEqual([...store.retained.keys()], [])
      yield* broker.shutdown
      const ended = yield* Effect.flip(broker.setRetainedMessage({ topic: "a", payload: "x" }))
      assert.strictEqual(ended.code, 211)
    }).pipe(
      Effect.provide(brokerLayer({ settings: { retainedMessagesMax: 1 }, storage: MemoryStorage.layerKeeping(store) }))
    )
  })
})

describe("retainedBytesMax", () => {
  it.live("is the limit that a retained message is refused by when there is room for its number", () =>
    Effect.gen(function* () {
      const broker = yield* Broker.Broker
      const payload = Buffer.alloc(1_500)
      yield* broker.setRetainedMessage({ topic: "a", payload })
      yield* broker.setRetainedMessage({ topic: "a", payload }) // in its own place
      const { reason } = yield* Effect.flip(broker.setRetainedMessage({ topic: "b", payload }))
      assert.deepInclude(reason, { _tag: "LimitReached", limit: "retainedBytesMax" })
    }).pipe(Effect.provide(brokerLayer({ settings: { retainedBytesMax: 2_000 } })))
  )
})

describe("reset", () => {
  it.live("shuts down and begins anew: no listeners, settings at their defaults, stored sessions still there", () => {
    const store = new MemoryStorage.MemoryStore()
    return Effect.gen(function* () {
      const broker = yield* Broker.Broker
      const bound = yield* port
      const client = yield* RawClient.connect(bound, { clientId: "a", protocolVersion: 4, cleanStart: false })
      yield* RawClient.subscribe(client, "t", 1)
      yield* broker.reset
      yield* client.ended
      assert.strictEqual(yield* tried(bound), "ECONNREFUSED")
      assert.isFalse(yield* broker.listening)
      assert.deepStrictEqual(yield* broker.listeners, [])
      const [session] = yield* broker.sessions
      assert.strictEqual(session?.clientId, "a")
      yield* broker.publish({ topic: "t", payload: "waits", qos: 1 })
      const { localPort } = yield* broker.addListener({ port: 0 })
      const again = yield* RawClient.connect(localPort, { clientId: "a", protocolVersion: 4, cleanStart: false })
      assert.isTrue(again.connAck.sessionPresent)
      assert.strictEqual(text((yield* again.expect("Publish")).payload), "waits")
      // The run before refused the second session.
      yield* RawClient.connect(localPort, { clientId: "b" })
    }).pipe(Effect.provide(brokerLayer({ settings: { sessionsMax: 1 }, storage: MemoryStorage.layerKeeping(store) })))
  })

  it.live("is heard of by who listened before, who goes on to hear of what comes after, with ids of their own", () =>
    Effect.gen(function* () {
      const broker = yield* Broker.Broker
      const log = yield* collect(broker.eventsOf("Log"), 2)
      const told = yield* collect(broker.eventsOf("Connected", "Disconnected", "MessageReceiving"), 7)
      const messages = yield* collect(broker.subscribe("#"), 9)
      const first = yield* RawClient.connect(yield* port)
      yield* first.send(RawClient.publish("t", "1"))
      yield* RawClient.ping(first)
      yield* broker.reset
      assert.strictEqual((yield* Fiber.join(messages)).length, 1) // a subscription ends, as a client's does
      const { localPort } = yield* broker.addListener({ port: 0 })
      const second = yield* RawClient.connect(localPort)
      yield* second.send(RawClient.publish("t", "2"))
      yield* RawClient.ping(second)
      yield* broker.reset
      yield* Effect.flatMap(broker.addListener({ port: 0 }), (listener) => RawClient.connect(listener.localPort))
      const events = yield* Fiber.join(told)
      assert.deepStrictEqual(
        events.map(({ _tag, connectionId }) => `${_tag} ${connectionId}`),
        [
          ...["Connected 1", "MessageReceiving 1", "Disconnected 1"],
          ...["Connected 2", "MessageReceiving 2", "Disconnected 2"],
          "Connected 3"
        ]
      )
      const ids = events.flatMap((event) => ("messageId" in event ? [event.messageId] : []))
      assert.strictEqual(new Set(ids).size, 2)
      const lines = (yield* Fiber.join(log)).map(({ message }) => message.split(" ")[0])
      assert.deepStrictEqual(lines, ["Stopped", "Listening"])
      assert.isFalse((yield* broker.stats).eventsDropped > 0)
    }).pipe(Effect.provide(brokerLayer()))
  )

  it.live("asked for twice at once happens twice, one after the other, and leaves one broker", () =>
    Effect.gen(function* () {
      const { localPort } = yield* Effect.scoped(
        Effect.gen(function* () {
          const broker = yield* Broker.Broker
          yield* Effect.all([broker.reset, broker.reset, broker.shutdown, broker.reset], { concurrency: "unbounded" })
          const { localPort } = yield* broker.addListener({ port: 0 })
          yield* RawClient.connect(localPort)
          return { localPort }
        }).pipe(Effect.provide(brokerLayer()))
      )
      assert.strictEqual(yield* tried(localPort), "ECONNREFUSED")
    })
  )

  it.live("that cannot load what is kept fails, ends the streams, and leaves a broker that is shut down", () => {
    let isGone = false
    const storage = Layer.succeed(BrokerStorage)({
      keeps: "everything",
      load: Stream.suspend(() =>
        isGone ? Stream.fail(new StorageError({ reason: new StorageCorrupt({ detail: "rubbish" }) })) : Stream.empty
      ),
      commit: () => Effect.void
    })
    return Effect.gen(function* () {
      const broker = yield* Broker.Broker
      const events = yield* collect(broker.eventsOf("Connected"), 1)
      isGone = true
      assert.strictEqual((yield* Effect.flip(broker.reset)).code, 303)
      assert.deepStrictEqual(yield* Fiber.join(events), [])
      assert.strictEqual((yield* Effect.flip(broker.publish({ topic: "t", payload: "" }))).code, 211)
      isGone = false
      yield* broker.reset
      yield* broker.publish({ topic: "t", payload: "" })
    }).pipe(Effect.provide(brokerLayer({ storage })))
  })

  it.live("finds what SQLite keeps", () =>
    Effect.gen(function* () {
      const broker = yield* Broker.Broker
      yield* broker.setRetainedMessage({ topic: "kept", payload: "x" })
      for (let round = 0; round < 2; round++) {
        yield* broker.reset
        assert.strictEqual(text((yield* broker.retainedMessage("kept"))!.payload), "x")
        yield* broker.setRetainedMessage({ topic: `more/${round}`, payload: "y" })
      }
      assert.strictEqual((yield* broker.retainedMessages).length, 3)
    }).pipe(Effect.provide(brokerLayer({ storage: Layer.orDie(Directory.sqliteLayer()) })))
  )

  it.live("works after a shutdown, and its broker ends with the layer", () =>
    Effect.gen(function* () {
      const { broker, localPort } = yield* Effect.scoped(
        Effect.gen(function* () {
          const broker = yield* Broker.Broker
          yield* broker.shutdown
          yield* broker.reset
          const { localPort } = yield* broker.addListener({ port: 0 })
          assert.isUndefined(yield* tried(localPort))
          return { broker, localPort }
        }).pipe(Effect.provide(brokerLayer()))
      )
      assert.strictEqual(yield* tried(localPort), "ECONNREFUSED")
      assert.strictEqual((yield* Effect.flip(broker.publish({ topic: "t", payload: "" }))).code, 211)
    })
  )
})
