import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Redacted from "effect/Redacted"
import * as Broker from "../../src/broker/Broker.ts"
import * as Hooks from "../../src/broker/Hooks.ts"
import * as MemoryStorage from "../../src/storage/MemoryStorage.ts"
import * as RawClient from "./RawClient.ts"
import * as TestHandler from "../transport/TestHandler.ts"
import { brokerLayer, collect, port } from "./support.ts"

const refused = Effect.fnUntraced(function* (bound: number, options: Parameters<typeof RawClient.connectPacket>[0]) {
  const client = yield* RawClient.open(bound, options?.protocolVersion ?? 5)
  yield* client.send(RawClient.connectPacket(options))
  const connAck = yield* client.expect("ConnAck")
  yield* client.ended
  return connAck
})

/** An answer that takes a round of the event loop. */
const later = (decision: Hooks.Decision) =>
  Effect.callback<Hooks.Decision>((resume) => void setImmediate(() => resume(Effect.succeed(decision))))

describe("Hooks", () => {
  it.live("connectionRequest decides before a byte is read", () => {
    const seen: Array<Hooks.ConnectionRequest> = []
    let accept = false
    const connectionRequest = (request: Hooks.ConnectionRequest) =>
      Effect.sync(() => {
        seen.push(request)
        return accept
      })
    return Effect.gen(function* () {
      const broker = yield* Broker.Broker
      const bound = yield* port
      const refusals = yield* collect(broker.eventsOf("ConnectionRefused"), 1)
      const client = yield* RawClient.open(bound)
      yield* client.ended
      assert.strictEqual((yield* Fiber.join(refusals))[0]!.reason, "hook")
      accept = true
      yield* RawClient.connect(bound)
      assert.strictEqual(seen.length, 2)
      assert.deepInclude(seen[0], { localPort: bound, remoteHost: "127.0.0.1", protocol: 0 })
    }).pipe(Effect.provide(brokerLayer({ hooks: { connectionRequest } })))
  })

  it.live("sessionRequest sees the credentials, and its refusal reaches the client", () => {
    const sessionRequest = ({ password, userName }: Hooks.SessionRequest) =>
      Effect.succeed(
        userName === "ann" && password !== undefined && Buffer.from(Redacted.value(password)).toString() === "secret"
          ? Hooks.accept
          : Hooks.refuse(0x86, "wrong password")
      )
    return Effect.gen(function* () {
      const bound = yield* port
      yield* RawClient.connect(bound, { userName: "ann", password: Buffer.from("secret") })
      const no = yield* refused(bound, { userName: "ann", password: Buffer.from("guess") })
      assert.strictEqual(no.reasonCode, 0x86)
      assert.strictEqual(no.properties?.reasonString, "wrong password")
      const old = yield* refused(bound, { protocolVersion: 4, userName: "bob" })
      assert.strictEqual(old.reasonCode, 0x86)
    }).pipe(Effect.provide(brokerLayer({ hooks: { sessionRequest } })))
  })

  it.live("a password does not show in a log", () => {
    let shown = ""
    const sessionRequest = (request: Hooks.SessionRequest) =>
      Effect.sync(() => {
        shown = `${JSON.stringify(request)} ${String(request.password)}`
        return Hooks.accept
      })
    return Effect.gen(function* () {
      yield* RawClient.connect(yield* port, { userName: "ann", password: Buffer.from("AAAA") })
      assert.include(shown, "ann")
      assert.notInclude(shown, "65,65")
      assert.notInclude(shown, "AAAA")
    }).pipe(Effect.provide(brokerLayer({ hooks: { sessionRequest } })))
  })

  it.live("subscribe grants less, or refuses one filter and not the other", () => {
    const subscribe = ({ topicFilter }: Hooks.SubscribeRequest) =>
      Effect.succeed(topicFilter === "secret" ? Hooks.refuse() : Hooks.grant(1))
    return Effect.gen(function* () {
      const client = yield* RawClient.connect(yield* port)
      const wish = { qos: 2, noLocal: false, retainAsPublished: false, retainHandling: 0 } as const
      const subscriptions = [
        { ...wish, filter: "secret" },
        { ...wish, filter: "open" }
      ]
      yield* client.send({ _tag: "Subscribe", packetId: 1, subscriptions, properties: undefined })
      assert.deepStrictEqual((yield* client.expect("SubAck")).reasonCodes, [0x87, 1])
    }).pipe(Effect.provide(brokerLayer({ hooks: { subscribe } })))
  })

  it.live("publish decides about each message, in order, while other clients go on", () =>
    Effect.gen(function* () {
      const gate = yield* Deferred.make<Hooks.Decision>()
      const publish = ({ topic }: Hooks.PublishRequest) =>
        topic === "slow" ? Deferred.await(gate) : Effect.succeed(topic === "no" ? Hooks.refuse() : Hooks.accept)
      yield* Effect.gen(function* () {
        const broker = yield* Broker.Broker
        const bound = yield* port
        const seen = yield* collect(broker.subscribe("#"), 3)
        const waiting = yield* RawClient.connect(bound, { clientId: "waiting" })
        yield* waiting.send(RawClient.publish("slow", "1", 1, false, 1), RawClient.publish("after", "2", 1, false, 2))
        const other = yield* RawClient.connect(bound, { clientId: "other" })
        yield* other.send(RawClient.publish("no", "x", 1), RawClient.publish("yes", "3", 1, false, 2))
        assert.strictEqual((yield* other.expect("PubAck")).reasonCode, 0x87)
        assert.isBelow((yield* other.expect("PubAck")).reasonCode, 0x80)
        yield* Deferred.succeed(gate, Hooks.accept)
        assert.strictEqual((yield* waiting.expect("PubAck")).packetId, 1)
        assert.strictEqual((yield* waiting.expect("PubAck")).packetId, 2)
        const topics = (yield* Fiber.join(seen)).map((message) => message.topic)
        assert.deepStrictEqual(topics, ["yes", "slow", "after"])
      }).pipe(Effect.provide(brokerLayer({ hooks: { publish } })))
    })
  )

  const broken: ReadonlyArray<readonly [string, () => Effect.Effect<Hooks.Decision, unknown>]> = [
    ["fails", () => Effect.fail(new Error("backend down"))],
    ["dies", () => Effect.die("bug")],
    ["answers nonsense", () => Effect.succeed({ reasonCode: 3 })],
    // A program without types may answer anything.
    ["answers nothing", () => Effect.succeed(undefined as unknown as Hooks.Decision)],
    ["does not answer in time", () => Effect.never]
  ]
  for (const [what, hook] of broken) {
    it.live(`known failure 22: a hook that ${what} refuses, and is reported`, () =>
      Effect.gen(function* () {
        const broker = yield* Broker.Broker
        const errors = yield* collect(broker.eventsOf("Error"), 1)
        const connAck = yield* refused(yield* port, {})
        assert.strictEqual(connAck.reasonCode, 0x88)
        const [error] = yield* Fiber.join(errors)
        assert.include(error!.description, "SessionRequest hook gave no decision")
        assert.notStrictEqual(error!.connectionId, "")
      }).pipe(Effect.provide(brokerLayer({ hooks: { sessionRequest: hook }, settings: { hookTimeoutSeconds: 1 } })))
    )
  }

  for (const [what, allow] of [
    ["at once", (_topic: string) => Effect.succeed(Hooks.accept)],
    ["after a while", (_topic: string) => later(Hooks.accept)],
    ["with no", (topic: string) => Effect.succeed(topic === "will" ? Hooks.refuse() : Hooks.accept)]
  ] as const) {
    it.live(`a will is put to the publish hook when it is due, also at a shutdown: answered ${what}`, () => {
      const store = new MemoryStorage.MemoryStore()
      const stages: Array<string> = []
      const publish = ({ stage, topic }: Hooks.PublishRequest) => {
        stages.push(stage)
        return stage === "will" ? allow(topic) : Effect.succeed(Hooks.accept)
      }
      const layer = brokerLayer({ hooks: { publish }, storage: MemoryStorage.layerKeeping(store) })
      return Effect.gen(function* () {
        yield* Effect.scoped(
          Effect.gen(function* () {
            const will = {
              topic: "will",
              payload: Buffer.from("bye"),
              qos: 1,
              retain: true,
              properties: undefined
            } as const
            yield* RawClient.connect(yield* port, { clientId: "a", will })
            const broker = yield* Broker.Broker
            yield* broker.shutdown
          }).pipe(Effect.provide(layer))
        )
        assert.deepStrictEqual(stages, ["connect", "will"])
        assert.deepStrictEqual([...store.retained.keys()], what === "with no" ? [] : ["will"])
      })
    })
  }

  it.live("a message that is refused at PUBREL is not told as received", () =>
    Effect.gen(function* () {
      const broker = yield* Broker.Broker
      const events = yield* collect(broker.eventsOf("PublishRefused", "IncomingMessageStatus", "MessageReceived"), 6)
      const client = yield* RawClient.connect(yield* port)
      yield* client.send(RawClient.publish("t", "x", 2, false, 2))
      yield* client.expect("PubRec")
      yield* client.send({ _tag: "PubRel", packetId: 2, reasonCode: 0, properties: undefined })
      yield* client.expect("PubComp")
      yield* client.send(RawClient.publish("t", "x", 0))
      assert.deepStrictEqual(
        (yield* Fiber.join(events)).map((event) => `${event._tag} ${"state" in event ? event.state : ""}`.trim()),
        [
          "IncomingMessageStatus 7",
          "IncomingMessageStatus 8",
          "PublishRefused",
          "IncomingMessageStatus 9",
          "IncomingMessageStatus 10",
          "MessageReceived" // the one after it
        ]
      )
    }).pipe(
      Effect.provide(
        brokerLayer({
          hooks: {
            publish: ({ stage }) => Effect.succeed(stage === "release" ? Hooks.refuse() : Hooks.accept)
          }
        })
      )
    )
  )

  it.live("a connectionRequest that fails refuses, and is reported", () =>
    Effect.gen(function* () {
      const broker = yield* Broker.Broker
      const errors = yield* collect(broker.eventsOf("Error"), 1)
      const client = yield* RawClient.open(yield* port)
      const { localPort } = client.socket
      yield* client.ended
      const { description } = (yield* Fiber.join(errors))[0]!
      assert.include(description, "ConnectionRequest hook gave no decision")
      assert.include(description, `127.0.0.1 port ${localPort}`)
    }).pipe(Effect.provide(brokerLayer({ hooks: { connectionRequest: () => Effect.fail("down") } })))
  )

  it.live("a connectionRequest about a connection that is closed is interrupted, and its place is free", () => {
    const interrupted = Deferred.makeUnsafe<void>()
    const asked = Deferred.makeUnsafe<void>()
    const slow = Effect.andThen(Deferred.succeed(asked, undefined), Effect.never).pipe(
      Effect.onInterrupt(() => Deferred.succeed(interrupted, undefined))
    )
    let bound = 0
    const connectionRequest = ({ localPort }: Hooks.ConnectionRequest) =>
      localPort === bound ? Effect.succeed(true) : slow
    return Effect.gen(function* () {
      const broker = yield* Broker.Broker
      bound = yield* port
      yield* Effect.scoped(
        Effect.gen(function* () {
          const { localPort } = yield* broker.addListener({ port: 0 })
          yield* TestHandler.dial(localPort)
          yield* Deferred.await(asked)
        })
      )
      yield* Deferred.await(interrupted)
      yield* RawClient.connect(bound)
    }).pipe(
      Effect.provide(
        brokerLayer({ hooks: { connectionRequest }, settings: { handshakesMax: 1, hookTimeoutSeconds: 600 } })
      )
    )
  })
})
