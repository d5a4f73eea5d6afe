/**
 * A session saved in every state of an exchange and loaded into a new broker, over sockets: its client finishes there
 * what it has begun, and everybody gets each message as often as its QoS says.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as Broker from "../../src/broker/Broker.ts"
import type { StoreOperation } from "../../src/core/StoreOperation.ts"
import type { Packet, ProtocolVersion } from "../../src/protocol/Packet.ts"
import { BrokerStorage } from "../../src/storage/BrokerStorage.ts"
import * as RawClient from "./RawClient.ts"
import { brokerLayer, type Options } from "./support.ts"

const start = Effect.fnUntraced(function* (options: Options = {}) {
  const settings = { shutdownTimeoutSeconds: 0, ...options.settings }
  const broker = Context.get(yield* Layer.build(brokerLayer({ ...options, settings })), Broker.Broker)
  const [listener] = yield* broker.listeners
  return { broker, port: listener!.localPort }
})
type Started = Effect.Success<ReturnType<typeof start>>

const identity = (protocolVersion: ProtocolVersion) => ({
  clientId: "a",
  protocolVersion,
  cleanStart: false,
  properties: protocolVersion === 5 ? { sessionExpiryInterval: 600 } : undefined
})

/** A store that never finishes the first batch with such an operation: the exchange stands still there. */
const stuckAt = (matches: (operation: StoreOperation) => boolean, stuck: Deferred.Deferred<void>) =>
  Layer.succeed(BrokerStorage)({
    keeps: "everything",
    load: Stream.empty,
    commit: (operations) =>
      operations.some(matches) ? Deferred.succeed(stuck, undefined).pipe(Effect.andThen(Effect.never)) : Effect.void
  })

const acknowledgement = (_tag: "PubAck" | "PubRec" | "PubRel" | "PubComp", packetId: number): Packet => ({
  _tag,
  packetId,
  reasonCode: 0,
  properties: undefined
})

/** What is sent to the client when it comes, at both brokers. */
const watched = Effect.fnUntraced(function* ({ broker }: Started) {
  const seen: Array<string> = []
  yield* broker.subscribe("t").pipe(
    Stream.runForEach(({ payload }) => Effect.sync(() => void seen.push(Buffer.from(payload).toString()))),
    Effect.forkScoped({ startImmediately: true })
  )
  return seen
})

interface Saved {
  readonly State: number
  readonly QoS: number
  readonly PacketId: number
}

const move = Effect.fnUntraced(function* (first: Started, second: Started) {
  const json = yield* first.broker.saveSession("a")
  yield* second.broker.loadSession(json)
  assert.strictEqual(yield* second.broker.saveSession("a"), json)
  // Of the documented shape.
  return JSON.parse(json) as Record<"IncomingMessages" | "OutgoingMessages", ReadonlyArray<Saved>>
})

const resume = Effect.fnUntraced(function* (second: Started, version: ProtocolVersion) {
  const client = yield* RawClient.connect(second.port, identity(version))
  assert.strictEqual(client.connAck.sessionPresent, version > 3) // 3.1 does not say
  return client
})

/** Nothing is left of any exchange. */
const finished = Effect.fnUntraced(function* ({ broker }: Started, client: RawClient.RawClient) {
  yield* RawClient.ping(client)
  const { IncomingMessages, OutgoingMessages } = JSON.parse(yield* broker.saveSession("a"))
  assert.deepStrictEqual([IncomingMessages, OutgoingMessages], [[], []])
})

type Client = Effect.Success<ReturnType<typeof RawClient.connect>>

/** The broker closes the connection, so that it knows by then. */
const leave = (client: Client) =>
  Effect.andThen(client.send({ _tag: "Disconnect", reasonCode: 0, properties: undefined }), client.ended)

interface Outgoing {
  readonly state: number
  readonly qos: 1 | 2
  /** What the client does at the first broker behind the PUBLISH. */
  readonly reach?: (client: Client) => Effect.Effect<unknown, unknown>
  readonly stuckAt?: (operation: StoreOperation) => boolean
  /** What it gets at the second behind the CONNACK. */
  readonly sent: "Publish" | "PubRel"
}

const received = (client: Client) => client.expect("Publish")
const answered = (client: Client) =>
  Effect.andThen(received(client), client.send(acknowledgement("PubRec", 1))).pipe(
    Effect.andThen(client.expect("PubRel"))
  )

const outgoing: ReadonlyArray<Outgoing> = [
  { state: 1, qos: 1, sent: "Publish" },
  { state: 1, qos: 2, sent: "Publish" },
  { state: 2, qos: 1, sent: "Publish", reach: received },
  { state: 3, qos: 2, sent: "Publish", reach: received },
  {
    state: 4,
    qos: 2,
    sent: "PubRel",
    reach: (client) => Effect.andThen(received(client), client.send(acknowledgement("PubRec", 1))),
    stuckAt: (operation) => operation._tag === "SetOutgoing" && operation.state === 4
  },
  { state: 5, qos: 2, sent: "PubRel", reach: answered }
]

const versions = [3, 4, 5] as const

describe("a session saved with an outgoing message", () => {
  for (const version of versions) {
    for (const { qos, reach, sent, state, stuckAt: matches } of outgoing) {
      it.live(`at QoS ${qos} in state ${state} completes on a new broker (version ${version})`, () =>
        Effect.gen(function* () {
          const stuck = yield* Deferred.make<void>()
          const first = yield* start(matches === undefined ? {} : { storage: stuckAt(matches, stuck) })
          const second = yield* start()
          const client = yield* RawClient.connect(first.port, identity(version))
          yield* RawClient.subscribe(client, "t", 2)
          if (reach === undefined) {
            yield* leave(client)
          }
          yield* first.broker.publish({ topic: "t", payload: "x", qos })
          if (reach !== undefined) yield* reach(client)
          if (matches !== undefined) yield* Deferred.await(stuck)
          const [saved] = (yield* move(first, second)).OutgoingMessages
          assert.deepInclude(saved, { State: state, QoS: qos, PacketId: state === 1 ? -1 : 1 })

          const again = yield* resume(second, version)
          if (sent === "Publish") {
            const publish = yield* again.expect("Publish")
            assert.strictEqual(Buffer.from(publish.payload).toString(), "x")
            assert.deepInclude(publish, { packetId: 1, qos, dup: state !== 1 })
            yield* again.send(acknowledgement(qos === 1 ? "PubAck" : "PubRec", 1))
          }
          if (qos === 2) {
            assert.strictEqual((yield* again.expect("PubRel")).packetId, 1)
            yield* again.send(acknowledgement("PubComp", 1))
          }
          yield* finished(second, again)
        })
      )
    }
  }
})

interface Incoming {
  readonly state: number
  readonly qos: 1 | 2
  readonly stuckAt?: (operation: StoreOperation) => boolean
  readonly reach?: (client: Client) => Effect.Effect<unknown, unknown>
  /** How its client goes on at the second broker. */
  readonly finish: "publishes again" | "releases"
  /** How often the message was routed at the first broker already. */
  readonly routed: number
}

const incoming: ReadonlyArray<Incoming> = [
  // At least once, and twice here: no PUBACK has said that it was routed.
  { state: 6, qos: 1, stuckAt: ({ _tag }) => _tag === "PutOutgoing", finish: "publishes again", routed: 1 },
  { state: 7, qos: 2, stuckAt: ({ _tag }) => _tag === "PutIncoming", finish: "publishes again", routed: 0 },
  { state: 8, qos: 2, reach: (client) => client.expect("PubRec"), finish: "publishes again", routed: 0 },
  { state: 8, qos: 2, reach: (client) => client.expect("PubRec"), finish: "releases", routed: 0 },
  {
    state: 9,
    qos: 2,
    stuckAt: ({ _tag }) => _tag === "RemoveIncoming",
    reach: (client) => Effect.andThen(client.expect("PubRec"), client.send(acknowledgement("PubRel", 7))),
    finish: "releases",
    routed: 1
  }
]

describe("a session saved with an incoming message", () => {
  for (const version of versions) {
    for (const { finish, qos, reach, routed, state, stuckAt: matches } of incoming) {
      it.live(`at QoS ${qos} in state ${state} completes when its client ${finish} (version ${version})`, () =>
        Effect.gen(function* () {
          const stuck = yield* Deferred.make<void>()
          const first = yield* start(matches === undefined ? {} : { storage: stuckAt(matches, stuck) })
          const second = yield* start()
          // For a durable session the acknowledgement waits.
          const kept = yield* RawClient.connect(first.port, { ...identity(version), clientId: "kept" })
          yield* RawClient.subscribe(kept, "t", 1)
          const seen = { first: yield* watched(first), second: yield* watched(second) }
          const client = yield* RawClient.connect(first.port, identity(version))
          yield* client.send(RawClient.publish("t", "x", qos, false, 7))
          if (reach !== undefined) yield* reach(client)
          if (matches !== undefined) yield* Deferred.await(stuck)
          const saved = (yield* move(first, second)).IncomingMessages
          // What its client sends again whole is no part of a session.
          if (state === 6) assert.deepStrictEqual(saved, [])
          else assert.deepInclude(saved[0], { State: state, QoS: qos, PacketId: 7 })
          assert.deepStrictEqual(
            seen.first,
            Array.from({ length: routed }, () => "x")
          )

          const again = yield* resume(second, version)
          if (finish === "publishes again") {
            const published = RawClient.publish("t", "x", qos, false, 7)
            yield* again.send({ ...published, dup: true } as Packet) // it is a PUBLISH
            yield* again.expect(qos === 1 ? "PubAck" : "PubRec")
          }
          if (qos === 2) {
            yield* again.send(acknowledgement("PubRel", 7))
            yield* again.expect("PubComp")
          }
          yield* finished(second, again)
          // And the packet id is free.
          yield* again.send(RawClient.publish("t", "end", 1, false, 7))
          yield* again.expect("PubAck")
          assert.deepStrictEqual(seen.second, qos === 2 && routed === 1 ? ["end"] : ["x", "end"])
        })
      )
    }
  }
})

describe("what moves along with a session", () => {
  it.live("where a shared message came from: when the session ends it goes to another member", () =>
    Effect.gen(function* () {
      const first = yield* start()
      const second = yield* start()
      const client = yield* RawClient.connect(first.port, identity(5))
      yield* RawClient.subscribe(client, "$share/g/t", 1)
      yield* RawClient.subscribe(client, "n", 1)
      yield* leave(client)
      yield* first.broker.publish({ topic: "t", payload: "shared", qos: 1 })
      yield* first.broker.publish({ topic: "n", payload: "own", qos: 1 })
      const json = yield* first.broker.saveSession("a")
      const messages: ReadonlyArray<{ readonly SharedFilter?: string }> = JSON.parse(json).OutgoingMessages
      assert.deepStrictEqual(
        messages.map(({ SharedFilter }) => SharedFilter),
        ["$share/g/t", undefined]
      )
      const other = yield* RawClient.connect(second.port, { clientId: "b" })
      yield* RawClient.subscribe(other, "$share/g/t", 1)
      yield* RawClient.subscribe(other, "n", 1)
      yield* second.broker.loadSession(json)
      assert.strictEqual(yield* second.broker.saveSession("a"), json)
      yield* RawClient.connect(second.port, { ...identity(5), cleanStart: true })
      assert.strictEqual(Buffer.from((yield* other.expect("Publish")).payload).toString(), "shared")
      yield* RawClient.ping(other)
    })
  )

  it.live("who published what it has begun: No Local holds at the new broker", () =>
    Effect.gen(function* () {
      const first = yield* start()
      const second = yield* start()
      const seen = yield* watched(second)
      const client = yield* RawClient.connect(first.port, identity(5))
      const subscription = { filter: "t", qos: 1, noLocal: true, retainAsPublished: false, retainHandling: 0 } as const
      yield* client.send({ _tag: "Subscribe", packetId: 1, subscriptions: [subscription], properties: undefined })
      yield* client.expect("SubAck")
      yield* client.send(RawClient.publish("t", "x", 2, false, 7))
      yield* client.expect("PubRec")
      yield* move(first, second)
      const again = yield* resume(second, 5)
      yield* again.send(acknowledgement("PubRel", 7))
      yield* again.expect("PubComp")
      yield* RawClient.ping(again)
      assert.deepStrictEqual(seen, ["x"])
    })
  )
})
