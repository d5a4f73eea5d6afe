/**
 * SessionRemoved says what was in the session, however it ended.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import * as Broker from "../../src/broker/Broker.ts"
import type { Connect } from "../../src/protocol/Packet.ts"
import * as RawClient from "./RawClient.ts"
import { brokerLayer, collect, port } from "./support.ts"

const LOADED = JSON.stringify({
  ClientId: "a",
  Subscriptions: [{ Topic: "loaded", QoS: 1 }],
  IncomingMessages: [],
  OutgoingMessages: []
})

const leave = (client: RawClient.RawClient) =>
  Effect.andThen(client.send({ _tag: "Disconnect", reasonCode: 0, properties: undefined }), client.ended)

const kept: Partial<Connect> = { clientId: "a", protocolVersion: 4, cleanStart: false }
const clean: Partial<Connect> = { ...kept, cleanStart: true }

type End = (client: RawClient.RawClient) => Effect.Effect<unknown, unknown, Broker.Broker | Scope.Scope>

const cleanStart = Effect.flatMap(port, (bound) =>
  Effect.flatMap(RawClient.connect(bound, clean), (client) => RawClient.subscribe(client, "new", 1))
)

const ways: Readonly<Record<string, readonly [Partial<Connect>, End]>> = {
  "the end of its connection": [clean, leave],
  "a clean start": [kept, (client) => Effect.andThen(leave(client), cleanStart)],
  "a clean start while it is connected": [kept, () => cleanStart],
  "another that is loaded": [
    kept,
    (client) =>
      Effect.andThen(
        leave(client),
        Effect.flatMap(Broker.Broker, (broker) => broker.loadSession(LOADED))
      )
  ],
  "its expiry": [
    { clientId: "a", cleanStart: false, properties: { sessionExpiryInterval: 1 } },
    (client) => leave(client)
  ],
  "the shutdown": [clean, () => Effect.flatMap(Broker.Broker, (broker) => broker.shutdown)]
}

describe("SessionRemoved", () => {
  for (const [what, [options, end]] of Object.entries(ways)) {
    it.live(`after ${what} has what was in the session`, () =>
      Effect.gen(function* () {
        const broker = yield* Broker.Broker
        const removals = yield* collect(broker.eventsOf("SessionRemoved"), 1)
        const client = yield* RawClient.connect(yield* port, options)
        yield* RawClient.subscribe(client, "old", 1)
        yield* broker.publish({ topic: "old", payload: "x", qos: 1 })
        yield* client.expect("Publish")
        yield* end(client)
        const [removal] = yield* Fiber.join(removals)
        assert.strictEqual(removal?.clientId, "a")
        const { connected, outgoingMessages, subscriptions } = removal!.session
        assert.deepStrictEqual(
          subscriptions.map(({ topicFilter }) => topicFilter),
          ["old"]
        )
        assert.deepStrictEqual(
          outgoingMessages.map(({ topic }) => topic),
          ["old"]
        )
        assert.isFalse(connected)
      }).pipe(Effect.provide(brokerLayer()))
    )
  }
})
