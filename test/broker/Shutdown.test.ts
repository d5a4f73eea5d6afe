import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Context from "effect/Context"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Broker from "../../src/broker/Broker.ts"
import * as RawClient from "./RawClient.ts"
import { brokerLayer, collect, type Options } from "./support.ts"

/** A broker whose end the test decides about. */
const start = Effect.fnUntraced(function* (options?: Options) {
  const scope = yield* Scope.make()
  const context = yield* Layer.buildWithScope(brokerLayer(options), scope)
  const broker = Context.get(context, Broker.Broker)
  const [listener] = yield* broker.listeners
  return { broker, port: listener!.localPort, close: Scope.close(scope, Exit.void) }
})

/** What keeps the process alive, without what the test runner itself has. */
const resources = () =>
  process
    .getActiveResourcesInfo()
    .filter((name) => ["TCPServerWrap", "TCPSocketWrap", "Timeout", "Immediate"].includes(name))

/** Sockets that were destroyed are gone one round of the event loop later. */
const settle = Effect.callback<void>((resume) => {
  setImmediate(() => setImmediate(() => resume(Effect.void)))
})

describe("Closing a broker", () => {
  it.live("tells 5.0 clients 0x8B and closes them and the others", () =>
    Effect.gen(function* () {
      const { close, port } = yield* start()
      const five = yield* RawClient.connect(port, { clientId: "five" })
      const four = yield* RawClient.connect(port, { clientId: "four", protocolVersion: 4 })
      const mute = yield* RawClient.open(port)
      const closing = yield* Effect.forkChild(close)
      assert.strictEqual((yield* five.expect("Disconnect")).reasonCode, 0x8b)
      yield* five.ended
      yield* four.ended
      yield* mute.ended
      yield* Fiber.join(closing)
    })
  )

  it.live("writes what waits in outboxes before it closes", () =>
    Effect.gen(function* () {
      const { broker, close, port } = yield* start()
      const client = yield* RawClient.connect(port)
      yield* RawClient.subscribe(client, "a")
      client.socket.pause()
      const payload = Buffer.alloc(64 * 1024)
      for (let index = 0; index < 100; index++) yield* broker.publish({ topic: "a", payload })
      const closing = yield* Effect.forkChild(close, { startImmediately: true })
      client.socket.resume()
      for (let index = 0; index < 100; index++) yield* client.expect("Publish")
      yield* client.expect("Disconnect")
      yield* client.ended
      yield* Fiber.join(closing)
    })
  )

  it.live("does not wait for a frozen reader longer than it may", () =>
    Effect.gen(function* () {
      const { broker, close, port } = yield* start({ settings: { shutdownTimeoutSeconds: 0 } })
      const client = yield* RawClient.connect(port)
      yield* RawClient.subscribe(client, "a")
      client.socket.pause()
      const payload = Buffer.alloc(64 * 1024)
      for (let index = 0; index < 100; index++) yield* broker.publish({ topic: "a", payload })
      yield* close
      assert.deepStrictEqual(yield* broker.connections, [])
    })
  )

  it.live("leaves no handle, timer or fiber behind", () =>
    Effect.gen(function* () {
      yield* settle
      const before = resources()
      const interrupted: Array<string> = []
      const begun = yield* Deferred.make<void>()
      const hanging = Deferred.succeed(begun, undefined).pipe(
        Effect.andThen(Effect.never),
        Effect.onInterrupt(() => Effect.sync(() => interrupted.push("hook")))
      )
      yield* Effect.scoped(
        Effect.gen(function* () {
          const { broker, close, port } = yield* start({ hooks: { subscribe: () => hanging } })
          yield* broker.addListener({ port: 0 })
          const client = yield* RawClient.connect(port, { keepAliveSeconds: 30 })
          const wish = { filter: "a", qos: 0, noLocal: false, retainAsPublished: false, retainHandling: 0 } as const
          yield* client.send({ _tag: "Subscribe", packetId: 1, subscriptions: [wish], properties: undefined })
          yield* broker.publish({ topic: "x", payload: "y", retain: true })
          const seen = yield* collect(broker.events, 1_000)
          yield* RawClient.open(port)
          yield* Deferred.await(begun)
          const closing = yield* Effect.forkChild(close)
          yield* client.expect("Disconnect")
          yield* client.ended
          yield* Fiber.join(closing)
          // Streams end with the broker.
          assert.isAbove((yield* Fiber.join(seen)).length, 0)
        })
      )
      yield* settle
      assert.deepStrictEqual(interrupted, ["hook"])
      const left = resources()
      // What the test runner had then may be gone by now.
      for (const name of before) if (left.includes(name)) left.splice(left.indexOf(name), 1)
      assert.deepStrictEqual(left, [])
    })
  )

  it.live("frees the port at once", () =>
    Effect.gen(function* () {
      const first = yield* start()
      yield* RawClient.connect(first.port)
      yield* first.close
      const second = yield* start({ settings: { listeners: [{ port: first.port }] } })
      assert.strictEqual(second.port, first.port)
      yield* second.close
    })
  )

  it.live("shutdown does the same and once; afterwards the broker refuses with a typed error", () =>
    Effect.gen(function* () {
      const { broker, close, port } = yield* start()
      const client = yield* RawClient.connect(port)
      yield* Effect.all([broker.shutdown, broker.shutdown], { concurrency: 2 })
      assert.strictEqual((yield* client.expect("Disconnect")).reasonCode, 0x8b)
      const errors = [
        yield* Effect.flip(broker.publish({ topic: "a", payload: "" })),
        yield* Effect.flip(Effect.scoped(broker.addListener({ port: 0 }))),
        yield* Effect.flip(Stream.runDrain(broker.subscribe("a")))
      ]
      for (const error of errors) assert.strictEqual(error.reason._tag, "ShutDown")
      assert.strictEqual((yield* broker.listeners).filter(({ listening }) => listening).length, 0)
      yield* close
    })
  )

  it.live("an interrupted shutdown is completed all the same", () =>
    Effect.gen(function* () {
      const { broker, close, port } = yield* start()
      const client = yield* RawClient.connect(port)
      const shutting = yield* Effect.forkChild(broker.shutdown, { startImmediately: true })
      yield* Fiber.interrupt(shutting)
      yield* client.expect("Disconnect")
      yield* client.ended
      yield* close
    })
  )
})
