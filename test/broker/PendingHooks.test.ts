/**
 * While a hook has not decided, only the connection that it was asked about waits: others are let in and served, and
 * what the one has sent meanwhile is handled in its order when there is an answer. (Of a client's certificate:
 * `Handshakes.test.ts`; of a message: `BrokerHooks.test.ts`.)
 */
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Broker from "../../src/broker/Broker.ts"
import * as Hooks from "../../src/broker/Hooks.ts"
import type { Packet } from "../../src/protocol/Packet.ts"
import * as RawClient from "./RawClient.ts"
import { brokerLayer, port } from "./support.ts"

/** A question that says when it was asked, and is answered when the test does. */
const pending = <A>() => {
  const asked = Deferred.makeUnsafe<void>()
  const answer = Deferred.makeUnsafe<A>()
  return {
    ask: Effect.andThen(Deferred.succeed(asked, undefined), Deferred.await(answer)),
    asked: Deferred.await(asked),
    answer: (decision: A) => Deferred.succeed(answer, decision)
  }
}

/** Another client that connects, subscribes and gets what it publishes. */
const served = Effect.fnUntraced(function* (clientId: string) {
  const client = yield* RawClient.connect(yield* port, { clientId })
  yield* RawClient.subscribe(client, clientId, 1)
  yield* client.send(RawClient.publish(clientId, "x"))
  assert.strictEqual((yield* client.expect("Publish")).topic, clientId)
  return client
})

const wish = { qos: 1, noLocal: false, retainAsPublished: false, retainHandling: 0 } as const
const subscribe = (filter: string): Packet => ({
  _tag: "Subscribe",
  packetId: 1,
  subscriptions: [{ ...wish, filter }],
  properties: undefined
})

const ids = Effect.gen(function* () {
  const broker = yield* Broker.Broker
  return (yield* broker.connections).map(({ clientId }) => clientId)
})

describe("only the connection waits about which", () => {
  it.live("a connectionRequest is undecided: not a byte of it is read", () => {
    const question = pending<boolean>()
    let questions = 0
    const connectionRequest = () => (++questions === 1 ? question.ask : Effect.succeed(true))
    return Effect.gen(function* () {
      const waiting = yield* RawClient.open(yield* port)
      yield* waiting.send(RawClient.connectPacket({ clientId: "waiting" }))
      yield* question.asked
      yield* served("other")
      assert.deepStrictEqual(yield* ids, ["other"])
      yield* question.answer(true)
      assert.strictEqual((yield* waiting.expect("ConnAck")).reasonCode, 0)
      assert.sameMembers(yield* ids, ["other", "waiting"])
    }).pipe(Effect.scoped, Effect.provide(brokerLayer({ hooks: { connectionRequest } })))
  })

  it.live("a sessionRequest is undecided: what it says behind its CONNECT is handled after it", () => {
    const question = pending<Hooks.Decision>()
    const sessionRequest = ({ clientId }: Hooks.SessionRequest) =>
      clientId === "waiting" ? question.ask : Effect.succeed(Hooks.accept)
    return Effect.gen(function* () {
      const broker = yield* Broker.Broker
      const waiting = yield* RawClient.open(yield* port)
      const said = [subscribe("other"), RawClient.publish("other", "late", 1, false, 7)]
      yield* waiting.send(RawClient.connectPacket({ clientId: "waiting" }), ...said)
      yield* question.asked
      const other = yield* served("other")
      assert.isUndefined(yield* broker.session("waiting"))
      yield* question.answer(Hooks.accept)
      assert.strictEqual((yield* waiting.expect("ConnAck")).reasonCode, 0)
      assert.deepStrictEqual((yield* waiting.expect("SubAck")).reasonCodes, [1])
      assert.strictEqual(Buffer.from((yield* other.expect("Publish")).payload).toString(), "late")
    }).pipe(Effect.scoped, Effect.provide(brokerLayer({ hooks: { sessionRequest } })))
  })

  it.live("a subscribe is undecided: what it publishes behind it is handled after it", () => {
    const question = pending<Hooks.Decision>()
    const hook = ({ clientId, requestedQos }: Hooks.SubscribeRequest) =>
      clientId === "waiting" ? question.ask : Effect.succeed(Hooks.grant(requestedQos))
    return Effect.gen(function* () {
      const broker = yield* Broker.Broker
      const waiting = yield* RawClient.connect(yield* port, { clientId: "waiting" })
      yield* waiting.send(subscribe("t"), RawClient.publish("t", "own"))
      yield* question.asked
      const other = yield* served("other")
      // It is not subscribed yet: this is not for it.
      yield* other.send(RawClient.publish("t", "before"))
      yield* RawClient.ping(other)
      assert.deepStrictEqual((yield* broker.session("waiting"))?.subscriptions, [])
      yield* question.answer(Hooks.grant(1))
      assert.deepStrictEqual((yield* waiting.expect("SubAck")).reasonCodes, [1])
      assert.strictEqual(Buffer.from((yield* waiting.expect("Publish")).payload).toString(), "own")
    }).pipe(Effect.scoped, Effect.provide(brokerLayer({ hooks: { subscribe: hook } })))
  })
})
