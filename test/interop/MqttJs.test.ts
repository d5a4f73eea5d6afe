/**
 * MQTT.js against this broker: the life of a session, in each version it speaks.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Queue from "effect/Queue"
import mqtt, { type IClientOptions, type MqttClient } from "mqtt"
import * as Broker from "../../src/broker/Broker.ts"
import { brokerLayer, collect, port } from "../broker/support.ts"

type Version = 3 | 4 | 5

interface Received {
  readonly topic: string
  readonly text: string
  readonly qos: number
  readonly retain: boolean
}

interface Peer {
  readonly client: MqttClient
  readonly sessionPresent: boolean
  readonly next: Effect.Effect<Received>
  /** Goes without DISCONNECT. */
  readonly vanish: Effect.Effect<void>
  readonly end: Effect.Effect<void>
}

const closed = (client: MqttClient) =>
  Effect.callback<void>((resume) => {
    client.once("close", () => resume(Effect.void))
  })

const attach = Effect.fnUntraced(function* (bound: number, protocolVersion: Version, options: IClientOptions) {
  const queue = yield* Queue.unbounded<Received>()
  const client = yield* Effect.acquireRelease(
    Effect.sync(() =>
      mqtt.connect({
        host: "127.0.0.1",
        port: bound,
        protocol: "mqtt",
        protocolVersion,
        ...(protocolVersion === 3 ? { protocolId: "MQIsdp" as const } : {}),
        ...(protocolVersion === 5 && options.clean === false ? { properties: { sessionExpiryInterval: 600 } } : {}),
        reconnectPeriod: 0,
        ...options
      })
    ),
    (running) => Effect.sync(() => running.end(true))
  )
  client.on("error", () => {})
  client.on("message", (topic, payload, { qos, retain }) =>
    Queue.offerUnsafe(queue, { topic, text: payload.toString(), qos, retain })
  )
  const sessionPresent = yield* Effect.callback<boolean>((resume) => {
    client.once("connect", (packet) => resume(Effect.succeed(packet.sessionPresent)))
    client.once("error", (error) => resume(Effect.die(error)))
  })
  const peer: Peer = {
    client,
    sessionPresent,
    next: Queue.take(queue),
    vanish: Effect.suspend(() => {
      const gone = closed(client)
      client.stream.destroy()
      return gone
    }),
    end: Effect.promise(() => client.endAsync())
  }
  return peer
})

const subscribe = (peer: Peer, filter: string, qos: 0 | 1 | 2) =>
  Effect.promise(() => peer.client.subscribeAsync(filter, { qos }))

const publish = (peer: Peer, topic: string, text: string, qos: 0 | 1 | 2, retain = false) =>
  Effect.promise(() => peer.client.publishAsync(topic, text, { qos, retain }))

/** Does something, and waits until the broker has seen that many connections end. */
const untilGone = <A, E, R>(count: number, action: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const broker = yield* Broker.Broker
    const gone = yield* collect(broker.eventsOf("Disconnected"), count)
    yield* action
    yield* Fiber.join(gone)
  })

for (const version of [3, 4, 5] as const) {
  describe(`MQTT.js, protocol version ${version}`, () => {
    it.live("subscribes, publishes and receives at QoS 0, 1 and 2, and unsubscribes", () =>
      Effect.gen(function* () {
        const bound = yield* port
        const subscriber = yield* attach(bound, version, { clientId: "subscriber" })
        const publisher = yield* attach(bound, version, { clientId: "publisher" })
        const grants = yield* subscribe(subscriber, "room/+/temperature", 2)
        assert.deepStrictEqual(
          grants.map(({ qos }) => qos),
          [2]
        )
        for (const qos of [0, 1, 2] as const) {
          yield* publish(publisher, `room/${qos}/temperature`, `${qos} °C`, qos)
          const expected = { topic: `room/${qos}/temperature`, text: `${qos} °C`, qos, retain: false }
          assert.deepStrictEqual(yield* subscriber.next, expected)
        }
        yield* subscribe(subscriber, "end", 0)
        yield* Effect.promise(() => subscriber.client.unsubscribeAsync("room/+/temperature"))
        yield* publish(publisher, "room/1/temperature", "not this", 1)
        yield* publish(publisher, "end", "this", 1)
        assert.strictEqual((yield* subscriber.next).text, "this")
        yield* untilGone(2, Effect.all([subscriber.end, publisher.end]))
        const broker = yield* Broker.Broker
        assert.deepStrictEqual(yield* broker.sessions, [])
      }).pipe(Effect.provide(brokerLayer()))
    )

    it.live("a retained message reaches later subscribers, until it is removed", () =>
      Effect.gen(function* () {
        const bound = yield* port
        const publisher = yield* attach(bound, version, { clientId: "publisher" })
        yield* publish(publisher, "state", "on", 1, true)
        const subscriber = yield* attach(bound, version, { clientId: "subscriber" })
        yield* subscribe(subscriber, "state", 1)
        assert.deepStrictEqual(yield* subscriber.next, { topic: "state", text: "on", qos: 1, retain: true })
        yield* publish(publisher, "state", "", 1, true)
        assert.deepInclude(yield* subscriber.next, { text: "", retain: false })
        const broker = yield* Broker.Broker
        assert.deepStrictEqual(yield* broker.retainedMessages, [])
      }).pipe(Effect.provide(brokerLayer()))
    )

    it.live("a session goes on where it stopped: its subscriptions, and what came meanwhile", () =>
      Effect.gen(function* () {
        const bound = yield* port
        const options = { clientId: "durable", clean: false }
        const first = yield* attach(bound, version, options)
        assert.isNotTrue(first.sessionPresent)
        yield* subscribe(first, "queue", 2)
        yield* untilGone(1, first.vanish)
        const publisher = yield* attach(bound, version, { clientId: "publisher" })
        for (const [index, qos] of ([1, 2, 1, 2] as const).entries())
          yield* publish(publisher, "queue", `${index}`, qos)
        const second = yield* attach(bound, version, options)
        if (version !== 3) assert.isTrue(second.sessionPresent)
        const heard = [yield* second.next, yield* second.next, yield* second.next, yield* second.next]
        // MQTT.js hands over a QoS 2 message at PUBREL, so order holds within each QoS.
        const at = (wanted: number) => heard.filter(({ qos }) => qos === wanted).map(({ text }) => text)
        assert.deepStrictEqual(
          [at(1), at(2)],
          [
            ["0", "2"],
            ["1", "3"]
          ]
        )
        yield* publish(publisher, "queue", "live", 1)
        assert.strictEqual((yield* second.next).text, "live")
      }).pipe(Effect.provide(brokerLayer()))
    )

    it.live("a second connection with the same client id takes the session over", () =>
      Effect.gen(function* () {
        const bound = yield* port
        const options = { clientId: "same", clean: false }
        const first = yield* attach(bound, version, options)
        yield* subscribe(first, "a", 1)
        const gone = yield* Effect.forkChild(closed(first.client), { startImmediately: true })
        const second = yield* attach(bound, version, options)
        yield* Fiber.join(gone)
        const publisher = yield* attach(bound, version, { clientId: "publisher" })
        yield* publish(publisher, "a", "to the second", 1)
        assert.strictEqual((yield* second.next).text, "to the second")
        const broker = yield* Broker.Broker
        assert.strictEqual((yield* broker.connections).filter(({ clientId }) => clientId === "same").length, 1)
      }).pipe(Effect.provide(brokerLayer()))
    )

    it.live("the will of a client that vanishes is published, that of one that says goodbye is not", () =>
      Effect.gen(function* () {
        const bound = yield* port
        const watcher = yield* attach(bound, version, { clientId: "watcher" })
        yield* subscribe(watcher, "will/+", 1)
        const will = (name: string) => ({
          clientId: name,
          will: { topic: `will/${name}`, payload: Buffer.from("gone"), qos: 1 as const, retain: false }
        })
        const polite = yield* attach(bound, version, will("polite"))
        yield* untilGone(1, polite.end)
        const rude = yield* attach(bound, version, will("rude"))
        yield* rude.vanish
        assert.deepInclude(yield* watcher.next, { topic: "will/rude", text: "gone", qos: 1 })
      }).pipe(Effect.provide(brokerLayer()))
    )

    it.live("a large message arrives whole", () =>
      Effect.gen(function* () {
        const bound = yield* port
        const peer = yield* attach(bound, version, { clientId: "peer" })
        yield* subscribe(peer, "large", 1)
        const text = "0123456789".repeat(100_000)
        yield* publish(peer, "large", text, 1)
        assert.strictEqual((yield* peer.next).text, text)
      }).pipe(Effect.provide(brokerLayer()))
    )
  })
}

describe("MQTT.js, protocol version 5", () => {
  it.live("properties travel from publisher to subscriber", () =>
    Effect.gen(function* () {
      const bound = yield* port
      const peer = yield* attach(bound, 5, { clientId: "peer" })
      yield* subscribe(peer, "request", 1)
      const properties = {
        contentType: "text/plain",
        responseTopic: "answer",
        correlationData: Buffer.from([1, 2, 3]),
        userProperties: { language: "en" }
      }
      const got = yield* Effect.callback<Record<string, unknown>, Cause.NoSuchElementError>((resume) => {
        peer.client.once("message", (_topic, _payload, packet) => {
          const found = packet.properties
          resume(found === undefined ? Effect.fail(new Cause.NoSuchElementError()) : Effect.succeed({ ...found }))
        })
        peer.client.publish("request", "?", { qos: 1, properties })
      })
      assert.deepInclude(got, { contentType: "text/plain", responseTopic: "answer" })
      assert.deepStrictEqual(got.correlationData, Buffer.from([1, 2, 3]))
      assert.deepStrictEqual({ ...(got.userProperties as object) }, { language: "en" })
    }).pipe(Effect.provide(brokerLayer()))
  )
})
