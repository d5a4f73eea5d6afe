/**
 * Starting and stopping to listen while the same is underway, and on every protocol.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import mqtt from "mqtt"
import * as Net from "node:net"
import * as Broker from "../../src/broker/Broker.ts"
import * as Listener from "../../src/transport/Listener.ts"
import * as TestTls from "../transport/TestTls.ts"
import { brokerLayer, port, tried } from "./support.ts"

/** It has begun, and does not go on before the fiber that begins it waits. */
const begun = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.forkScoped(effect, { startImmediately: true })

const stopped = Effect.gen(function* () {
  const broker = yield* Broker.Broker
  const bound = yield* port
  yield* broker.stopListening
  return { broker, bound }
})

describe("a start to listen", () => {
  it.live("that is interrupted leaves nothing behind, and can be asked for again", () =>
    Effect.gen(function* () {
      const { bound, broker } = yield* stopped
      yield* Fiber.interrupt(yield* begun(broker.startListening))
      assert.strictEqual(yield* tried(bound), "ECONNREFUSED")
      assert.isFalse(yield* broker.listening)
      yield* broker.startListening
      assert.isUndefined(yield* tried(bound))
      yield* broker.stopListening
      assert.strictEqual(yield* tried(bound), "ECONNREFUSED")
    }).pipe(Effect.provide(brokerLayer()))
  )

  it.live("asked for twice at once is one", () =>
    Effect.gen(function* () {
      const { bound, broker } = yield* stopped
      yield* Effect.all([broker.startListening, broker.startListening], { concurrency: "unbounded" })
      assert.isUndefined(yield* tried(bound))
    }).pipe(Effect.provide(brokerLayer()))
  )

  it.live("beside which listening is stopped is stopped too", () =>
    Effect.gen(function* () {
      const { bound, broker } = yield* stopped
      const start = yield* begun(broker.startListening)
      const added = yield* begun(broker.addListener({ port: 0 }))
      yield* broker.stopListening
      yield* Fiber.join(start)
      const { listening, localPort } = yield* Fiber.join(added)
      assert.isFalse(listening)
      assert.isFalse(yield* broker.listening)
      assert.strictEqual(yield* tried(bound), "ECONNREFUSED")
      yield* broker.startListening
      assert.isUndefined(yield* tried(localPort))
    }).pipe(Effect.provide(brokerLayer()))
  )

  for (const end of ["shutdown", "reset"] as const) {
    it.live(`that a ${end} overtakes fails, and nothing listens`, () =>
      Effect.gen(function* () {
        const { bound, broker } = yield* stopped
        const start = yield* begun(Effect.flip(broker.startListening))
        const added = yield* begun(Effect.flip(broker.addListener({ port: 0 })))
        yield* broker[end]
        assert.strictEqual((yield* Fiber.join(start)).reason._tag, "ShutDown")
        assert.strictEqual((yield* Fiber.join(added)).reason._tag, "ShutDown")
        assert.isFalse(yield* broker.listening)
        assert.strictEqual(yield* tried(bound), "ECONNREFUSED")
      }).pipe(Effect.provide(brokerLayer()))
    )
  }

  it.live("fails for the address that is taken, and listens on all the others", () =>
    Effect.gen(function* () {
      const broker = yield* Broker.Broker
      const bound = yield* port
      const { localPort } = yield* broker.addListener({ port: 0 })
      yield* broker.stopListening
      const thief = yield* Effect.acquireRelease(
        Effect.callback<Net.Server>((resume) => {
          const server = Net.createServer()
          server.listen(bound, "127.0.0.1", () => resume(Effect.succeed(server)))
        }),
        (server) => Effect.sync(() => server.close())
      )
      const error = yield* Effect.flip(broker.startListening)
      assert.strictEqual(error.reason._tag, "AddressInUse")
      assert.isUndefined(yield* tried(localPort))
      thief.close()
      yield* broker.startListening
      assert.deepStrictEqual(
        (yield* broker.listeners).map(({ listening }) => listening),
        [true, true]
      )
    }).pipe(Effect.provide(brokerLayer()))
  )

  it.live("does not wait for a place whose scope closes meanwhile", () =>
    Effect.gen(function* () {
      const broker = yield* Broker.Broker
      const [start, gone] = yield* Effect.scoped(
        Effect.gen(function* () {
          const { localPort } = yield* broker.addListener({ port: 0 })
          yield* broker.stopListening
          return [yield* Effect.forkDetach(broker.startListening, { startImmediately: true }), localPort] as const
        })
      )
      yield* Fiber.join(start)
      assert.strictEqual(yield* tried(gone), "ECONNREFUSED")
      assert.isTrue(yield* broker.listening)
    }).pipe(Effect.provide(brokerLayer()))
  )
})

/** A client of any protocol; undefined: it was not let in. */
const dial = (url: string, clientId: string) =>
  Effect.acquireRelease(
    Effect.callback<mqtt.MqttClient | undefined>((resume) => {
      const options = { clientId, ca: TestTls.ca.certPem, reconnectPeriod: 0 }
      const client = mqtt.connect(url, options)
      client.on("error", () => {})
      client.once("connect", () => resume(Effect.succeed(client)))
      client.once("close", () => resume(Effect.succeed(undefined)))
    }),
    (client) => Effect.sync(() => client?.end(true))
  )

describe("stopListening and startListening", () => {
  const tls = { port: 0, sslCertStore: TestTls.server.pem }
  const listeners: ReadonlyArray<Listener.ListenerOptions> = [
    { protocol: 0, port: 0 },
    { protocol: 1, ...tls },
    { protocol: 2, port: 0 },
    { protocol: 3, ...tls }
  ]

  it.live("leave the clients of every protocol alone, and let in others when it is started again", () =>
    Effect.gen(function* () {
      const broker = yield* Broker.Broker
      const urls = (yield* broker.listeners).map(Listener.url)
      const stayed = yield* Effect.forEach(urls, (url, at) => dial(url, `stayed${at}`))
      yield* broker.stopListening
      for (const url of urls) assert.isUndefined(yield* dial(url, "refused"))
      yield* broker.startListening
      assert.deepStrictEqual((yield* broker.listeners).map(Listener.url), urls)
      for (const [at, url] of urls.entries()) assert.isDefined(yield* dial(url, `new${at}`))
      for (const client of stayed) yield* Effect.promise(() => client!.subscribeAsync("t"))
      assert.strictEqual((yield* broker.connections).length, 8)
    }).pipe(Effect.provide(brokerLayer({ settings: { listeners } })))
  )
})
