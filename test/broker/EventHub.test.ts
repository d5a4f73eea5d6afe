import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import * as ConnectionId from "../../src/core/ConnectionId.ts"
import * as BrokerConfig from "../../src/broker/BrokerConfig.ts"
import { EventHub } from "../../src/broker/EventHub.ts"
import { CoreEvents } from "../../src/core/CoreEvent.ts"
import { collect } from "./support.ts"

const started = (clientId: string) =>
  ({
    _tag: "SessionStarted",
    connectionId: ConnectionId.fromNumber(1),
    clientId,
    userName: "",
    sessionPresent: false,
    protocolVersion: 5
  }) as const

describe("EventHub", () => {
  it.live("a kind is wanted exactly while somebody listens to it", () =>
    Effect.gen(function* () {
      const core = new CoreEvents()
      const hub = new EventHub(core, { ...BrokerConfig.defaults, eventsBufferMax: 10 })
      assert.isFalse(core.wants.SessionStarted)
      const first = yield* collect(hub.stream(["SessionStarted"]), 1)
      const second = yield* collect(hub.stream(["SessionStarted", "MessageReceived"]), 9)
      assert.isTrue(core.wants.SessionStarted)
      assert.isTrue(core.messages)
      core.push(started("a"))
      hub.drain()
      assert.deepStrictEqual(yield* Fiber.join(first), [started("a")])
      assert.isTrue(core.wants.SessionStarted)
      yield* Fiber.interrupt(second)
      assert.isFalse(core.wants.SessionStarted)
      assert.isFalse(core.messages)
    })
  )

  it.live("each subscriber gets its kinds only", () =>
    Effect.gen(function* () {
      const core = new CoreEvents()
      const hub = new EventHub(core, { ...BrokerConfig.defaults, eventsBufferMax: 10 })
      const logs = yield* collect(hub.stream(["Log"]), 1)
      const sessions = yield* collect(hub.stream(["SessionStarted"]), 1)
      const log = { _tag: "Log", connectionId: "", logLevel: 1, message: "m", logType: "Info" } as const
      core.push(started("a"))
      hub.publish(log)
      hub.drain()
      assert.deepStrictEqual(yield* Fiber.join(logs), [log])
      assert.deepStrictEqual(yield* Fiber.join(sessions), [started("a")])
    })
  )

  it.live("a client's protocol failure is an Error event too", () =>
    Effect.gen(function* () {
      const core = new CoreEvents()
      const hub = new EventHub(core, { ...BrokerConfig.defaults, eventsBufferMax: 10 })
      const errors = yield* collect(hub.stream(["Error"]), 1)
      assert.isTrue(core.wants.ProtocolFailure)
      core.push({
        _tag: "ProtocolFailure",
        connectionId: ConnectionId.fromNumber(1),
        clientId: "a",
        errorCode: 601,
        reasonCode: 0x90,
        description: "bad topic"
      })
      hub.drain()
      assert.deepStrictEqual(yield* Fiber.join(errors), [
        { _tag: "Error", connectionId: ConnectionId.fromNumber(1), errorCode: 601, description: "bad topic" }
      ])
      assert.isFalse(core.wants.ProtocolFailure)
    })
  )

  it.live("a subscriber that does not keep up loses the oldest events, counted, and holds up nobody", () =>
    Effect.gen(function* () {
      const core = new CoreEvents()
      const hub = new EventHub(core, { ...BrokerConfig.defaults, eventsBufferMax: 3 })
      const slow = yield* collect(hub.stream(["SessionStarted"]), 3)
      for (let index = 0; index < 10; index++) core.push(started(String(index)))
      hub.drain()
      const ids = (yield* Fiber.join(slow)).map((event) => event.clientId)
      assert.deepStrictEqual(ids, ["7", "8", "9"])
      assert.strictEqual(hub.dropped, 7)
    })
  )

  it.live(
    "follows another run for those who listen already: what they want, their log, and nothing of the old one",
    () =>
      Effect.gen(function* () {
        const former = new CoreEvents()
        const next = new CoreEvents()
        const hub = new EventHub(former, { ...BrokerConfig.defaults, logLevel: 3, maskSensitiveData: false })
        const running = yield* collect(hub.stream(["SessionStarted", "Log"]), 4)
        assert.strictEqual(former.frames, "whole")
        former.push(started("before"))
        hub.follow(next, { ...BrokerConfig.defaults, logLevel: 2 })
        assert.deepStrictEqual([next.wants.SessionStarted, next.wants.Connected, next.frames], [true, true, "none"])
        former.push(started("lost"))
        next.push(started("after"))
        hub.drain()
        const told = (yield* Fiber.join(running)).map((event) => ("clientId" in event ? event.clientId : event._tag))
        assert.deepStrictEqual(told, ["before", "Log", "after", "Log"])
      })
  )

  it.live("that had ended begins again with another run", () =>
    Effect.gen(function* () {
      const hub = new EventHub(new CoreEvents(), BrokerConfig.defaults)
      hub.end()
      const next = new CoreEvents()
      hub.follow(next, BrokerConfig.defaults)
      const running = yield* collect(hub.stream(["SessionStarted"]), 1)
      next.push(started("a"))
      hub.drain()
      assert.deepStrictEqual(yield* Fiber.join(running), [started("a")])
    })
  )

  it.live("streams end when the hub does, those that begin later at once", () =>
    Effect.gen(function* () {
      const hub = new EventHub(new CoreEvents(), { ...BrokerConfig.defaults, eventsBufferMax: 3 })
      const running = yield* collect(hub.stream(["Log"]), 9)
      hub.end()
      assert.deepStrictEqual(yield* Fiber.join(running), [])
      assert.deepStrictEqual([...(yield* Stream.runCollect(hub.stream(["Log"])))], [])
    })
  )
})
