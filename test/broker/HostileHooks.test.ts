/**
 * Programs around the broker that do not behave: hooks that use the broker they are asked by, clients that leave while
 * a hook decides, listeners to events that never read or fail. Nobody else is harmed, and nothing piles up.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import * as Broker from "../../src/broker/Broker.ts"
import * as Hooks from "../../src/broker/Hooks.ts"
import * as MemoryStorage from "../../src/storage/MemoryStorage.ts"
import * as RawClient from "./RawClient.ts"
import { brokerLayer, collect, port } from "./support.ts"

const turn = Effect.callback<void>((resume) => void setImmediate(() => resume(Effect.void)))

/** A hook that never answers, and counts how many of it are at it. */
const hanging = () => {
  const running = { count: 0, begun: 0 }
  const hook = Effect.suspend(() => {
    running.count++
    running.begun++
    return Effect.onExit(Effect.never, () => Effect.sync(() => void running.count--))
  })
  return { running, hook }
}

const willOf = (topic: string) =>
  ({ topic, payload: Buffer.from("x"), qos: 1, retain: false, properties: undefined }) as const

describe("a hook whose client has gone", () => {
  it.live("is interrupted at once, and not only when its time is over", () => {
    const { hook, running } = hanging()
    return Effect.gen(function* () {
      const bound = yield* port
      for (let round = 0; round < 50; round++) {
        const client = yield* RawClient.open(bound)
        yield* client.send(RawClient.connectPacket({ clientId: `c${round}` }))
        while (running.begun === round) yield* turn
        client.socket.resetAndDestroy()
      }
      while (running.count > 0) yield* turn
      assert.strictEqual(running.begun, 50)
    }).pipe(
      Effect.scoped,
      Effect.provide(brokerLayer({ hooks: { sessionRequest: () => hook }, settings: { hookTimeoutSeconds: 3_600 } }))
    )
  })

  it.live("about a will is interrupted when the broker has closed", () => {
    const { hook, running } = hanging()
    const publish = ({ stage }: Hooks.PublishRequest) => (stage === "will" ? hook : Effect.succeed(Hooks.accept))
    return Effect.gen(function* () {
      const broker = yield* Broker.Broker
      yield* RawClient.connect(yield* port, { will: willOf("w") })
      yield* broker.shutdown
      assert.deepStrictEqual(running, { count: 0, begun: 1 })
    }).pipe(Effect.scoped, Effect.provide(brokerLayer({ hooks: { publish }, settings: { shutdownTimeoutSeconds: 0 } })))
  })
})

describe("a hook that uses the broker which asks it", () => {
  /** A broker whose hooks get it as soon as there is one. */
  const withBroker = <A, E>(
    hooks: (broker: () => Broker.Broker["Service"]) => Hooks.HooksService,
    test: Effect.Effect<A, E, Broker.Broker>
  ) => {
    let service: Broker.Broker["Service"] | undefined
    const given = hooks(() => service!)
    return Effect.gen(function* () {
      service = yield* Broker.Broker
      return yield* test
    }).pipe(Effect.provide(brokerLayer({ hooks: given, settings: { hookTimeoutSeconds: 5 } })))
  }

  it.live("to publish, at every message, is asked once for each of its client's", () =>
    withBroker(
      (broker) => ({
        publish: ({ topic }) =>
          Effect.as(broker().publish({ topic: `echo/${topic}`, payload: "", qos: 1 }), Hooks.accept)
      }),
      Effect.gen(function* () {
        const client = yield* RawClient.connect(yield* port)
        yield* RawClient.subscribe(client, "#")
        yield* client.send(RawClient.publish("a", "x"), RawClient.publish("b", "x"))
        const topics: Array<string> = []
        while (topics.length < 4) topics.push((yield* client.expect("Publish")).topic)
        assert.deepStrictEqual(topics, ["echo/a", "a", "echo/b", "b"])
      }).pipe(Effect.scoped)
    )
  )

  it.live("to disconnect its own client, and then accepts it", () =>
    withBroker(
      (broker) => ({
        sessionRequest: ({ connectionId }) => Effect.as(broker().disconnect(connectionId), Hooks.accept)
      }),
      Effect.gen(function* () {
        const broker = yield* Broker.Broker
        const client = yield* RawClient.open(yield* port)
        yield* client.send(RawClient.connectPacket())
        yield* client.ended
        assert.deepStrictEqual(yield* broker.sessions, [])
      }).pipe(Effect.scoped)
    )
  )

  for (const end of ["shutdown", "reset"] as const) {
    it.live(`to ${end} it, and waits for that`, () =>
      withBroker(
        (broker) => ({ subscribe: () => Effect.as(broker()[end], Hooks.grant(0)) }),
        Effect.gen(function* () {
          const broker = yield* Broker.Broker
          const client = yield* RawClient.connect(yield* port)
          const wish = { filter: "t", qos: 0, noLocal: false, retainAsPublished: false, retainHandling: 0 } as const
          yield* client.send({ _tag: "Subscribe", packetId: 1, subscriptions: [wish], properties: undefined })
          assert.strictEqual((yield* client.expect("Disconnect")).reasonCode, 0x8b)
          yield* client.ended
          yield* broker[end]
          assert.strictEqual((yield* broker.listeners).filter(({ listening }) => listening).length, 0)
        }).pipe(Effect.scoped)
      )
    )
  }
})

describe("who listens to events", () => {
  it.live("and never reads loses the oldest, is counted, and holds up nobody", () =>
    Effect.gen(function* () {
      const broker = yield* Broker.Broker
      const asleep = yield* Deferred.make<void>()
      const first = yield* Deferred.make<void>()
      const stuck = yield* broker.events.pipe(
        Stream.runForEach(() => Effect.andThen(Deferred.succeed(first, undefined), Deferred.await(asleep))),
        Effect.forkScoped({ startImmediately: true })
      )
      const client = yield* RawClient.connect(yield* port)
      yield* Deferred.await(first)
      yield* RawClient.subscribe(client, "t")
      for (let message = 0; message < 500; message++) yield* client.send(RawClient.publish("t", "x"))
      for (let message = 0; message < 500; message++) yield* client.expect("Publish")
      yield* RawClient.ping(client)
      assert.isAbove((yield* broker.stats).eventsDropped, 2_000)
      yield* Fiber.interrupt(stuck)
    }).pipe(Effect.scoped, Effect.provide(brokerLayer({ settings: { eventsBufferMax: 10, logLevel: 3 } })))
  )

  it.live("and fails is one less, and the others go on", () =>
    Effect.gen(function* () {
      const broker = yield* Broker.Broker
      const failing = yield* broker.eventsOf("Connected").pipe(
        Stream.runForEach(() => Effect.die("bug")),
        Effect.exit,
        Effect.forkScoped({ startImmediately: true })
      )
      const others = yield* collect(broker.eventsOf("Connected"), 2)
      yield* RawClient.connect(yield* port, { clientId: "a" })
      yield* Fiber.join(failing)
      yield* RawClient.connect(yield* port, { clientId: "b" })
      assert.strictEqual((yield* Fiber.join(others)).length, 2)
    }).pipe(Effect.scoped, Effect.provide(brokerLayer()))
  )

  it.live("and ends the connections that it hears of ends them", () =>
    Effect.gen(function* () {
      const broker = yield* Broker.Broker
      yield* broker.eventsOf("SessionStarted").pipe(
        Stream.runForEach(({ connectionId }) => Effect.orDie(broker.disconnect(connectionId))),
        Effect.forkScoped({ startImmediately: true })
      )
      const client = yield* RawClient.connect(yield* port)
      assert.strictEqual((yield* client.expect("Disconnect")).reasonCode, 0x98)
      yield* client.ended
    }).pipe(Effect.scoped, Effect.provide(brokerLayer()))
  )
})

describe("a publisher that lost its rights (known failure 15)", () => {
  it.live("is not heard by a new subscriber through what it had retained, also after a restart", () => {
    const store = new MemoryStorage.MemoryStore()
    const asked: Array<string> = []
    const publish = ({ clientId, stage, topic, userName }: Hooks.PublishRequest) => {
      asked.push(`${stage} ${topic} ${clientId} ${userName}`)
      return Effect.succeed(stage === "retained" && topic === "secret" ? Hooks.refuse() : Hooks.accept)
    }
    const brokerOn = () => brokerLayer({ hooks: { publish }, storage: MemoryStorage.layerKeeping(store) })
    return Effect.gen(function* () {
      yield* Effect.gen(function* () {
        const client = yield* RawClient.connect(yield* port, { clientId: "p", userName: "ann" })
        yield* client.send(RawClient.publish("secret", "x", 1, true, 1), RawClient.publish("open", "x", 1, true, 2))
        yield* client.expect("PubAck")
        yield* client.expect("PubAck")
      }).pipe(Effect.scoped, Effect.provide(brokerOn()))
      yield* Effect.gen(function* () {
        const broker = yield* Broker.Broker
        const refused = yield* collect(broker.eventsOf("PublishRefused"), 1)
        const client = yield* RawClient.connect(yield* port, { clientId: "reader" })
        yield* RawClient.subscribe(client, "+", 1)
        assert.strictEqual((yield* client.expect("Publish")).topic, "open")
        assert.deepInclude((yield* Fiber.join(refused))[0], { clientId: "p", stage: "retained", topic: "secret" })
        yield* RawClient.ping(client)
      }).pipe(Effect.scoped, Effect.provide(brokerOn()))
      assert.sameMembers(asked, [
        "publish secret p ann",
        "publish open p ann",
        "retained secret p ann",
        "retained open p ann"
      ])
    })
  })
})
