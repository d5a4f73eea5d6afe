/**
 * Documents that loadSession refuses: each with a typed error that names the place, and what the broker has under that
 * client id is to the letter what it was.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as Broker from "../../src/broker/Broker.ts"
import type { BrokerSettings } from "../../src/broker/BrokerConfig.ts"
import { BrokerStorage } from "../../src/storage/BrokerStorage.ts"
import * as RawClient from "./RawClient.ts"
import { brokerLayer, type Options } from "./support.ts"

const start = Effect.fnUntraced(function* (options: Options = {}) {
  const broker = Context.get(yield* Layer.build(brokerLayer(options)), Broker.Broker)
  const [listener] = yield* broker.listeners
  return { broker, port: listener!.localPort }
})

/**
 * A session with something in every list: a subscription, an incoming message in state 8, outgoing ones in states 2 and
 * 1. Its client is still there.
 */
const withSession = Effect.fnUntraced(function* (settings: Partial<BrokerSettings> = {}) {
  const started = yield* start({ settings: { inflightMax: 1, ...settings } })
  const client = yield* RawClient.connect(started.port, { clientId: "a", protocolVersion: 4, cleanStart: false })
  yield* RawClient.subscribe(client, "t", 1)
  yield* client.send(RawClient.publish("kept", "x", 2, false, 7))
  yield* client.expect("PubRec")
  for (const payload of ["sent", "waits"]) yield* started.broker.publish({ topic: "t", payload, qos: 1 })
  yield* client.expect("Publish")
  const json = yield* started.broker.saveSession("a")
  const states = [...json.matchAll(/"State":(\d)/g)].map(([, state]) => Number(state))
  assert.deepStrictEqual(states, [8, 2, 1])
  return { ...started, client, json }
})

const leave = (client: RawClient.RawClient) =>
  Effect.andThen(client.send({ _tag: "Disconnect", reasonCode: 0, properties: undefined }), client.ended)

type Change = (json: string) => string

const put =
  (fields: string): Change =>
  (json) =>
    json.replace("{", `{${fields},`)

const replaced =
  (from: string | RegExp, to: string): Change =>
  (json) => {
    const changed = json.replace(from, to)
    assert.notStrictEqual(changed, json)
    return changed
  }

const refused: ReadonlyArray<readonly [what: string, change: Change, code: number, words: string]> = [
  ["nothing", () => "", 600, "not JSON"],
  ["half a document", (json) => json.slice(0, json.length / 2), 600, "not JSON"],
  ["something else", () => "[]", 600, "Expected"],
  ["no text", (json) => Buffer.from(json) as unknown as string, 600, "must be a text"], // without types
  ["an unknown field", put('"Clientid":"a"'), 600, "Clientid"],
  ["a field that every object has", put('"__proto__":{}'), 600, "__proto__"],
  ["a field twice", put('"ClientId":"b"'), 600, "ClientId: The field is there twice"],
  ["a nest", put(`"x":${"[".repeat(1_000_000)}`), 600, "at x[0]"],
  ["an odd number of digits", replaced('"Payload":"78"', '"Payload":"787"'), 600, "IncomingMessages[0].Payload"],
  ["no digits", replaced('"Payload":"78"', '"Payload":"0x"'), 600, "IncomingMessages[0].Payload"],
  ["a QoS of 3", replaced('"QoS":1}', '"QoS":3}'), 600, "Subscriptions[0].QoS"],
  ["a QoS of 3 of a message", replaced('"QoS":2', '"QoS":3'), 600, "IncomingMessages[0].QoS"],
  ["an outgoing state of an incoming message", replaced('"State":8', '"State":2'), 600, "IncomingMessages[0].State"],
  ["an incoming state of an outgoing message", replaced('"State":2', '"State":8'), 600, "OutgoingMessages[0].State"],
  ["a finished message", replaced('"State":1', '"State":10'), 600, "OutgoingMessages[1].State"],
  ["a packet id twice", replaced('"PacketId":-1,"State":1', '"PacketId":1,"State":2'), 600, "[1].PacketId"],
  ["a number beyond all", replaced('"PacketId":7', '"PacketId":1e999'), 600, "IncomingMessages[0].PacketId"],
  ["half a character", replaced('"ClientId":"a"', '"ClientId":"a\\ud800"'), 600, "ClientId"],
  ["an invalid topic", replaced('"Topic":"kept"', '"Topic":"kept/#"'), 601, "IncomingMessages[0].Topic"],
  ["an invalid filter", replaced('"Topic":"t","QoS":1}', '"Topic":"t#","QoS":1}'), 601, "Subscriptions[0].Topic"],
  [
    "too many subscriptions",
    replaced(/"Subscriptions":\[/, '"Subscriptions":[{"Topic":"u","QoS":0},{"Topic":"v","QoS":0},'),
    10055,
    "Subscriptions"
  ],
  ["100 MB", put(`"x":"${"x".repeat(100_000_000)}"`), 600, "sessionJsonCharactersMax"]
]

describe("loadSession", () => {
  it.live("refuses what is wrong, of a client that is away, and its session is as it was", () =>
    Effect.gen(function* () {
      const { broker, client, json, port } = yield* withSession({ subscriptionsPerSessionMax: 2 })
      yield* leave(client)
      assert.strictEqual(yield* broker.saveSession("a"), json)
      const before = {
        sessions: yield* broker.sessions,
        session: yield* broker.session("a"),
        stats: yield* broker.stats
      }
      for (const [what, change, code, words] of refused) {
        const error = yield* Effect.flip(broker.loadSession(change(json)))
        assert.strictEqual(error.code, code, what)
        assert.include(error.message, words, what)
        assert.strictEqual(yield* broker.saveSession("a"), json, what)
      }
      const after = {
        sessions: yield* broker.sessions,
        session: yield* broker.session("a"),
        stats: yield* broker.stats
      }
      assert.deepStrictEqual(after, before)
      const again = yield* RawClient.connect(port, { clientId: "a", protocolVersion: 4, cleanStart: false })
      assert.isTrue(again.connAck.sessionPresent)
      assert.deepInclude(yield* again.expect("Publish"), { dup: true, packetId: 1 })
    })
  )

  it.live("refuses everything of a client that is connected, which notices nothing", () =>
    Effect.gen(function* () {
      const { broker, client, json } = yield* withSession()
      const connected = yield* Effect.flip(broker.loadSession(json))
      assert.deepStrictEqual([connected.code, connected.reason._tag], [211, "SessionConnected"])
      for (const [what, change] of refused) {
        yield* Effect.flip(broker.loadSession(change(json)))
        assert.strictEqual(yield* broker.saveSession("a"), json, what)
      }
      yield* client.send({ _tag: "PubAck", packetId: 1, reasonCode: 0, properties: undefined })
      assert.strictEqual(Buffer.from((yield* client.expect("Publish")).payload).toString(), "waits")
    })
  )

  it.live("refuses a session that the broker has no room for, and puts one in place of itself", () =>
    Effect.gen(function* () {
      const { json } = yield* withSession()
      const { broker } = yield* start({ settings: { sessionsMax: 1 } })
      yield* broker.loadSession(json)
      const full = yield* Effect.flip(broker.loadSession(json.replace('"ClientId":"a"', '"ClientId":"b"')))
      assert.deepStrictEqual([full.code, full.reason._tag], [10055, "LimitReached"])
      assert.include(full.message, "sessionsMax")
      const before = yield* broker.saveSession("a")
      yield* broker.loadSession(before)
      const numbers = /"MessageId":\d+/g // which are given anew
      assert.strictEqual((yield* broker.saveSession("a")).replaceAll(numbers, ""), before.replaceAll(numbers, ""))
      const { broker: forgetful } = yield* start({ settings: { sessionExpirySecondsMax: 0 } })
      const useless = yield* Effect.flip(forgetful.loadSession(json))
      assert.include(useless.message, "sessionExpirySecondsMax")
    })
  )

  it.live("takes nothing into the store of what it refuses", () =>
    Effect.gen(function* () {
      const { json } = yield* withSession()
      const kept: Array<string> = []
      const storage = Layer.succeed(BrokerStorage)({
        keeps: "everything",
        load: Stream.empty,
        commit: (operations) => Effect.sync(() => void kept.push(...operations.map(({ _tag }) => _tag)))
      })
      const { broker } = yield* start({ storage })
      for (const [, change] of refused) {
        const changed = change(json)
        // Which subscriptions are too many is another broker's business.
        if (!changed.includes('"Topic":"v"')) yield* Effect.flip(broker.loadSession(changed))
      }
      assert.deepStrictEqual(kept, [])
      assert.deepStrictEqual(yield* broker.sessions, [])
      yield* broker.loadSession(json)
      assert.include(kept, "PutSession")
    })
  )
})

describe("a limit of a session's messages", () => {
  interface Document {
    readonly IncomingMessages: ReadonlyArray<object>
    readonly OutgoingMessages: ReadonlyArray<object>
  }

  const limits = { receiveMaximum: 1, queueMessagesMax: 1, queueBytesMax: 1_024, userPropertiesMax: 1 }
  const pairs = [
    ["k", "1"],
    ["k", "2"]
  ]

  /** How a session at all of these limits gets over one of them, and what the error says of the place. */
  const beyond: Readonly<Record<keyof typeof limits, readonly [change: (document: Document) => object, at: string]>> = {
    receiveMaximum: [
      ({ IncomingMessages: [one] }) => ({ IncomingMessages: [one, { ...one, PacketId: 8 }] }),
      "At IncomingMessages: "
    ],
    queueMessagesMax: [
      ({ OutgoingMessages: [sent, waits] }) => ({ OutgoingMessages: [sent, waits, waits] }),
      "At OutgoingMessages: "
    ],
    queueBytesMax: [
      ({ OutgoingMessages: [sent, waits] }) => ({
        OutgoingMessages: [sent, { ...waits, Payload: "00".repeat(limits.queueBytesMax) }]
      }),
      "At OutgoingMessages: "
    ],
    userPropertiesMax: [
      ({ IncomingMessages: [one] }) => ({ IncomingMessages: [{ ...one, Properties: { UserProperties: pairs } }] }),
      "At IncomingMessages[0].Properties.UserProperties: "
    ]
  }

  for (const [limit, [change, at]] of Object.entries(beyond)) {
    it.live(`${limit} is LimitReached (10055), which names it and the place, and the session stays`, () =>
      Effect.gen(function* () {
        const { broker, client, json } = yield* withSession(limits)
        yield* leave(client)
        const document: Document = JSON.parse(json) // of the documented shape
        const error = yield* Effect.flip(broker.loadSession(JSON.stringify({ ...document, ...change(document) })))
        assert.deepStrictEqual([error.reason._tag, error.code], ["LimitReached", 10055])
        assert.deepInclude(error.reason, { limit })
        assert.include(error.message, at)
        assert.include(error.message, limit)
        assert.strictEqual(yield* broker.saveSession("a"), json)
        // At the limit, and not beyond it.
        yield* broker.loadSession(json)
      })
    )
  }
})

describe("a document with an incoming message in state 6", () => {
  it.live("is loaded without it: its client sends that again, and it is routed then", () =>
    Effect.gen(function* () {
      const { broker, port } = yield* start()
      const watcher = yield* RawClient.connect(port, { clientId: "w" })
      yield* RawClient.subscribe(watcher, "t", 1)
      const incoming = { MessageId: 1, Topic: "t", QoS: 1, DUP: false, Retain: false, State: 6 }
      const unanswered = { ...incoming, Payload: Buffer.from("lost").toString("hex"), PacketId: 7 }
      const document = { ClientId: "a", Subscriptions: [], IncomingMessages: [unanswered], OutgoingMessages: [] }
      yield* broker.loadSession(JSON.stringify(document))
      assert.deepInclude(yield* broker.session("a"), { incomingMessageCount: 0, incomingMessages: [] })
      const client = yield* RawClient.connect(port, { clientId: "a", protocolVersion: 4, cleanStart: false })
      assert.isTrue(client.connAck.sessionPresent)
      yield* client.send(RawClient.publish("t", "again", 1, false, 7))
      assert.strictEqual((yield* client.expect("PubAck")).packetId, 7)
      assert.strictEqual(Buffer.from((yield* watcher.expect("Publish")).payload).toString(), "again")
    })
  )
})
