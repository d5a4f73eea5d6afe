/**
 * Sessions between two running brokers as JSON, with a real client (MQTT.js) that goes on at the second where the
 * first stopped.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import mqtt, { type IClientOptions, type MqttClient } from "mqtt"
import * as Broker from "../../src/broker/Broker.ts"
import type { StoreOperation } from "../../src/core/StoreOperation.ts"
import { BrokerStorage } from "../../src/storage/BrokerStorage.ts"
import * as RawClient from "./RawClient.ts"
import { brokerLayer, type Options } from "./support.ts"

const start = Effect.fnUntraced(function* (options: Options = {}) {
  const broker = Context.get(yield* Layer.build(brokerLayer(options)), Broker.Broker)
  const [listener] = yield* broker.listeners
  return { broker, port: listener!.localPort }
})

/** A store that never finishes the first batch with such an operation: the exchange stands still there. */
const stuckAt = (matches: (operation: StoreOperation) => boolean, stuck: Deferred.Deferred<void>) =>
  Layer.succeed(BrokerStorage)({
    keeps: "everything",
    load: Stream.empty,
    commit: (operations) =>
      operations.some(matches) ? Deferred.succeed(stuck, undefined).pipe(Effect.andThen(Effect.never)) : Effect.void
  })

const connect = Effect.fnUntraced(function* (port: number, options: IClientOptions) {
  const client = yield* Effect.acquireRelease(
    Effect.sync(() => mqtt.connect({ host: "127.0.0.1", port, clean: false, reconnectPeriod: 0, ...options })),
    (running) => Effect.sync(() => running.end(true))
  )
  client.on("error", () => {})
  yield* connected(client)
  return client
})

const connected = (client: MqttClient) =>
  Effect.callback<boolean>((resume) => {
    client.once("connect", ({ sessionPresent }) => resume(Effect.succeed(sessionPresent)))
  })

/** The same client, with all that it knows of its exchanges, at another broker. */
const moveTo = Effect.fnUntraced(function* (client: MqttClient, port: number) {
  yield* Effect.callback<void>((resume) => {
    client.once("close", () => resume(Effect.void))
    client.stream.destroy()
  })
  client.options.port = port
  const { incomingStore, outgoingStore } = client
  client.reconnect({ incomingStore, outgoingStore })
  return yield* connected(client)
})

const transfer = Effect.fnUntraced(function* (from: Broker.Broker["Service"], to: Broker.Broker["Service"]) {
  yield* to.loadSession(yield* from.saveSession("a"))
})

describe("a session that moves to a new broker", () => {
  for (const [state, matches] of [
    [7, ({ _tag }: StoreOperation) => _tag === "PutIncoming"],
    [9, ({ _tag }: StoreOperation) => _tag === "RemoveIncoming"]
  ] as const) {
    it.live(`finishes what MQTT.js was publishing at QoS 2, in state ${state}, and routes it once`, () =>
      Effect.gen(function* () {
        const stuck = yield* Deferred.make<void>()
        const first = yield* start({ storage: stuckAt(matches, stuck), settings: { shutdownTimeoutSeconds: 0 } })
        const second = yield* start()
        const seen: Array<string> = []
        const watch = ({ broker }: { readonly broker: Broker.Broker["Service"] }) =>
          broker.subscribe("t").pipe(
            Stream.runForEach(({ payload }) => Effect.sync(() => void seen.push(Buffer.from(payload).toString()))),
            Effect.forkScoped({ startImmediately: true })
          )
        yield* watch(first)
        yield* watch(second)
        const client = yield* connect(first.port, { clientId: "a" })
        const published = yield* Effect.promise(() => client.publishAsync("t", "x", { qos: 2 })).pipe(
          Effect.forkScoped({ startImmediately: true })
        )
        yield* Deferred.await(stuck)
        const json = JSON.parse(yield* first.broker.saveSession("a"))
        assert.strictEqual(json.IncomingMessages[0].State, state)
        yield* transfer(first.broker, second.broker)
        assert.isTrue(yield* moveTo(client, second.port))
        yield* Fiber.join(published)
        yield* Effect.promise(() => client.publishAsync("t", "end", { qos: 2 }))
        assert.deepStrictEqual(seen, ["x", "end"])
      })
    )
  }

  it.live("finishes what MQTT.js was receiving at QoS 2, and shows it once", () =>
    Effect.gen(function* () {
      const stuck = yield* Deferred.make<void>()
      const received = (operation: StoreOperation) => operation._tag === "SetOutgoing" && operation.state === 4
      const first = yield* start({ storage: stuckAt(received, stuck), settings: { shutdownTimeoutSeconds: 0 } })
      const second = yield* start()
      const client = yield* connect(first.port, { clientId: "a" })
      const seen: Array<string> = []
      const end = yield* Deferred.make<void>()
      client.on("message", (topic, payload) => {
        seen.push(payload.toString())
        if (topic === "end") Deferred.doneUnsafe(end, Effect.void)
      })
      yield* Effect.promise(() => client.subscribeAsync("#", { qos: 2 }))
      yield* first.broker.publish({ topic: "t", payload: "x", qos: 2 })
      yield* Deferred.await(stuck)
      const json = JSON.parse(yield* first.broker.saveSession("a"))
      assert.strictEqual(json.OutgoingMessages[0].State, 4)
      yield* transfer(first.broker, second.broker)
      yield* second.broker.publish({ topic: "waits", payload: "y", qos: 1 })
      assert.isTrue(yield* moveTo(client, second.port))
      yield* second.broker.publish({ topic: "end", payload: "z", qos: 2 })
      yield* Deferred.await(end)
      assert.deepStrictEqual(seen, ["x", "y", "z"])
      const [session] = yield* second.broker.sessions
      assert.strictEqual(session?.clientId, "a")
    })
  )
})

/** A store of MQTT.js that does not answer once: its client stands still there. */
class StallingStore extends mqtt.Store {
  private readonly stallsAt: string
  private readonly stalled: Deferred.Deferred<void>
  private once = true

  constructor(stallsAt: string, stalled: Deferred.Deferred<void>) {
    super()
    this.stallsAt = stallsAt
    this.stalled = stalled
  }

  private stalls(what: string): boolean {
    if (what !== this.stallsAt || !this.once) return false
    this.once = false
    Deferred.doneUnsafe(this.stalled, Effect.void)
    return true
  }

  override put(...[packet, done]: Parameters<mqtt.Store["put"]>): this {
    return this.stalls(`put ${packet.cmd}`) ? this : super.put(packet, done)
  }

  override get(...[packet, done]: Parameters<mqtt.Store["get"]>): this {
    return this.stalls("get") ? this : super.get(packet, done)
  }
}

describe("MQTT.js, stopped in the midst of an exchange and moved,", () => {
  for (const [state, stallsAt] of [
    [3, "put publish"],
    [5, "get"]
  ] as const) {
    it.live(`shows once what it was receiving in state ${state}`, () =>
      Effect.gen(function* () {
        const stalled = yield* Deferred.make<void>()
        const first = yield* start()
        const second = yield* start()
        const incomingStore = new StallingStore(stallsAt, stalled)
        const client = yield* connect(first.port, { clientId: "a", incomingStore })
        const seen: Array<string> = []
        const end = yield* Deferred.make<void>()
        client.on("message", (_, payload) => {
          seen.push(payload.toString())
          if (seen.at(-1) === "end") Deferred.doneUnsafe(end, Effect.void)
        })
        yield* Effect.promise(() => client.subscribeAsync("t", { qos: 2 }))
        yield* first.broker.publish({ topic: "t", payload: "x", qos: 2 })
        yield* Deferred.await(stalled)
        const json = JSON.parse(yield* first.broker.saveSession("a"))
        assert.strictEqual(json.OutgoingMessages[0].State, state)
        yield* transfer(first.broker, second.broker)
        assert.isTrue(yield* moveTo(client, second.port))
        yield* second.broker.publish({ topic: "t", payload: "end", qos: 2 })
        yield* Deferred.await(end)
        assert.deepStrictEqual(seen, ["x", "end"])
      })
    )
  }

  it.live("publishes again what it was publishing in state 8, and it is routed once", () =>
    Effect.gen(function* () {
      const stalled = yield* Deferred.make<void>()
      const first = yield* start()
      const second = yield* start()
      const seen: Array<string> = []
      for (const { broker } of [first, second]) {
        yield* broker.subscribe("t").pipe(
          Stream.runForEach(({ payload }) => Effect.sync(() => void seen.push(Buffer.from(payload).toString()))),
          Effect.forkScoped({ startImmediately: true })
        )
      }
      const outgoingStore = new StallingStore("put pubrel", stalled)
      const client = yield* connect(first.port, { clientId: "a", outgoingStore })
      const published = yield* Effect.promise(() => client.publishAsync("t", "x", { qos: 2 })).pipe(
        Effect.forkScoped({ startImmediately: true })
      )
      yield* Deferred.await(stalled)
      const json = JSON.parse(yield* first.broker.saveSession("a"))
      assert.strictEqual(json.IncomingMessages[0].State, 8)
      yield* transfer(first.broker, second.broker)
      const exchanged: Array<string> = []
      client.on("packetsend", ({ cmd }) => exchanged.push(cmd))
      client.on("packetreceive", ({ cmd }) => exchanged.push(cmd))
      assert.isTrue(yield* moveTo(client, second.port))
      yield* Fiber.join(published)
      assert.deepStrictEqual(exchanged, ["connect", "connack", "publish", "pubrec", "pubrel", "pubcomp"])
      yield* Effect.promise(() => client.publishAsync("t", "end", { qos: 1 }))
      assert.deepStrictEqual(seen, ["x", "end"])
    })
  )
})

describe("saveSession and loadSession", () => {
  it.live("fail with what is wrong, and the session stays", () =>
    Effect.gen(function* () {
      const { broker, port } = yield* start()
      const missing = yield* Effect.flip(broker.saveSession("nobody"))
      assert.deepStrictEqual([missing.code, missing.reason._tag], [211, "NoSuchSession"])
      const client = yield* RawClient.connect(port, { clientId: "a", protocolVersion: 4, cleanStart: false })
      yield* RawClient.subscribe(client, "t", 1)
      const json = yield* broker.saveSession("a")
      const connected = yield* Effect.flip(broker.loadSession(json))
      assert.deepStrictEqual([connected.code, connected.reason._tag], [211, "SessionConnected"])
      const wrong = yield* Effect.flip(broker.loadSession(json.replace('"Topic":"t"', '"Topic":"t/#/"')))
      assert.deepStrictEqual([wrong.code, wrong.reason._tag], [601, "InvalidSessionJson"])
      assert.include(wrong.message, "Subscriptions[0].Topic")
      yield* client.send(RawClient.publish("t", "still here"))
      assert.strictEqual(Buffer.from((yield* client.expect("Publish")).payload).toString(), "still here")
    })
  )

  it.live("keep to the limits, and say which", () =>
    Effect.gen(function* () {
      const { broker } = yield* start({ settings: { subscriptionsPerSessionMax: 1, sessionJsonCharactersMax: 1_024 } })
      const json = (subscriptions: number) =>
        JSON.stringify({
          ClientId: "a",
          Subscriptions: Array.from({ length: subscriptions }, (_, at) => ({ Topic: `t/${at}`, QoS: 0 })),
          IncomingMessages: [],
          OutgoingMessages: []
        })
      yield* broker.loadSession(json(1))
      const limited = yield* Effect.flip(broker.loadSession(json(2)))
      assert.strictEqual(limited.code, 10055)
      assert.include(limited.message, "subscriptionsPerSessionMax")
      const long = yield* Effect.flip(broker.loadSession(json(100)))
      assert.include(long.message, "sessionJsonCharactersMax")
      yield* broker.shutdown
      assert.strictEqual((yield* Effect.flip(broker.loadSession(json(1)))).reason._tag, "ShutDown")
    })
  )

  it.live("a loaded session is kept when loadSession succeeds", () =>
    Effect.gen(function* () {
      const kept: Array<string> = []
      const gate = yield* Deferred.make<void>()
      const storage = Layer.succeed(BrokerStorage)({
        keeps: "everything",
        load: Stream.empty,
        commit: (operations) =>
          Deferred.await(gate).pipe(
            Effect.andThen(Effect.sync(() => void kept.push(...operations.map(({ _tag }) => _tag))))
          )
      })
      const { broker } = yield* start({ storage })
      const json =
        '{"ClientId":"a","Subscriptions":[{"Topic":"t","QoS":1}],"IncomingMessages":[],"OutgoingMessages":[]}'
      const loading = yield* Effect.forkScoped(broker.loadSession(json), { startImmediately: true })
      assert.deepStrictEqual(kept, [])
      yield* Deferred.succeed(gate, undefined)
      yield* Fiber.join(loading)
      assert.deepStrictEqual(kept, ["PutSession", "PutSubscription"])
    })
  )
})
