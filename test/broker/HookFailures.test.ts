/**
 * Hooks that give no decision, of every kind and in every way (known failure 22): what they were asked about is
 * refused, an Error event says so, and the broker goes on.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Tls from "node:tls"
import * as Broker from "../../src/broker/Broker.ts"
import * as Hooks from "../../src/broker/Hooks.ts"
import type { Packet } from "../../src/protocol/Packet.ts"
import * as TestCertificates from "../transport/TestCertificates.ts"
import * as TestHandler from "../transport/TestHandler.ts"
import * as RawClient from "./RawClient.ts"
import { brokerLayer, collect, port } from "./support.ts"

type Decide = () => Effect.Effect<Hooks.Decision, unknown>

/** A program without types may answer anything. */
const answering =
  (decision: unknown): Decide =>
  () =>
    Effect.succeed(decision as Hooks.Decision)

/** An object that throws whatever one does with it. */
const poison: object = new Proxy(
  {},
  {
    get: () => {
      throw new Error("touched")
    }
  }
)

const ways: Readonly<Record<string, Decide>> = {
  fails: () => Effect.fail(new Error("backend down")),
  "fails with what cannot be shown": () => Effect.fail(poison),
  dies: () => Effect.die("bug"),
  throws: () => {
    throw new Error("thrown")
  },
  "interrupts itself": () => Effect.interrupt,
  "returns no effect": () => undefined as unknown as Effect.Effect<Hooks.Decision>,
  "returns a promise": () => Promise.resolve({ reasonCode: 0 }) as unknown as Effect.Effect<Hooks.Decision>,
  "answers nothing": answering(undefined),
  "answers with true": answering(true),
  "answers with a code that is none": answering({ reasonCode: 3 }),
  "answers with a code that is no number": answering({ reasonCode: "0" }),
  "answers with what throws when it is read": answering(poison),
  "answers with words that are no text": answering({ reasonCode: 0, reasonString: 7 }),
  "answers with words too long for a packet": answering({ reasonCode: 0x87, reasonString: "x".repeat(70_000) }),
  "answers with words that are no Unicode": answering({ reasonCode: 0x87, reasonString: "\ud800" }),
  "answers with data that is no bytes": answering({ reasonCode: 0, authenticationData: "secret" }),
  "does not answer in time": () => Effect.never
}

const properties = undefined

const willOf = (topic: string) => ({ topic, payload: Buffer.from("x"), qos: 0, retain: false, properties }) as const

/** Everything that is asked about it gets no decision where its name says so, and is accepted elsewhere. */
const hooksWith = (decide: Decide): Hooks.HooksService => ({
  sessionRequest: ({ clientId }) => (clientId === "session" ? decide() : Effect.succeed(Hooks.accept)),
  authenticate: () => decide(),
  subscribe: ({ requestedQos, stage, topicFilter }) =>
    topicFilter === `broken/${stage}` ? decide() : Effect.succeed(Hooks.grant(requestedQos)),
  publish: ({ stage, topic }) => (topic === `broken/${stage}` ? decide() : Effect.succeed(Hooks.accept))
})

/** What each kind must come to, for clients of one broker side by side. */
const refusals = (bound: number): Readonly<Record<string, Effect.Effect<void, unknown, Scope.Scope>>> => {
  const refused = Effect.fnUntraced(function* (connect: Partial<Parameters<typeof RawClient.connectPacket>[0]>) {
    const client = yield* RawClient.open(bound)
    yield* client.send(RawClient.connectPacket(connect))
    const { reasonCode } = yield* client.expect("ConnAck")
    yield* client.ended
    return reasonCode
  })
  return {
    sessionRequest: Effect.gen(function* () {
      assert.strictEqual(yield* refused({ clientId: "session" }), 0x88)
    }),
    authenticate: Effect.gen(function* () {
      assert.isAtLeast(yield* refused({ clientId: "auth", properties: { authenticationMethod: "m" } }), 0x80)
    }),
    "publish, the will of a CONNECT": Effect.gen(function* () {
      assert.isAtLeast(yield* refused({ clientId: "connect", will: willOf("broken/connect") }), 0x80)
    }),
    "publish, a will that is due": Effect.gen(function* () {
      const client = yield* RawClient.connect(bound, { clientId: "will", will: willOf("broken/will") })
      client.socket.destroy()
    }),
    subscribe: Effect.gen(function* () {
      const client = yield* RawClient.connect(bound, { clientId: "subscribe" })
      assert.deepStrictEqual((yield* RawClient.subscribe(client, "broken/subscribe")).reasonCodes, [0x80])
      yield* RawClient.ping(client)
    }),
    "subscribe, of a client that comes back": Effect.gen(function* () {
      const resumed = { clientId: "resume", cleanStart: false, properties: { sessionExpiryInterval: 100 } }
      const client = yield* RawClient.connect(bound, resumed)
      yield* RawClient.subscribe(client, "broken/resume", 1)
      const again = yield* RawClient.connect(bound, resumed)
      assert.isTrue(again.connAck.sessionPresent)
      yield* again.send({ _tag: "Unsubscribe", packetId: 1, filters: ["broken/resume"], properties })
      assert.deepStrictEqual((yield* again.expect("UnsubAck")).reasonCodes, [0x11])
    }),
    publish: Effect.gen(function* () {
      const client = yield* RawClient.connect(bound, { clientId: "publish" })
      yield* client.send(RawClient.publish("broken/publish", "x", 1))
      assert.strictEqual((yield* client.expect("PubAck")).reasonCode, 0x80)
      yield* RawClient.ping(client)
    }),
    "publish, at PUBREL": Effect.gen(function* () {
      const client = yield* RawClient.connect(bound, { clientId: "release" })
      yield* client.send(RawClient.publish("broken/release", "x", 2))
      yield* client.expect("PubRec")
      yield* client.send({ _tag: "PubRel", packetId: 1, reasonCode: 0, properties } as Packet)
      yield* client.expect("PubComp")
    }),
    "publish, a retained message": Effect.gen(function* () {
      const client = yield* RawClient.connect(bound, { clientId: "retained" })
      yield* client.send(RawClient.publish("broken/retained", "x", 1, true))
      yield* client.expect("PubAck")
      yield* RawClient.subscribe(client, "broken/retained")
      yield* RawClient.ping(client)
    })
  }
}

/** Hooks that say yes or no, of one listener each. */
const saying = (decide: Decide): Hooks.HooksService => ({
  connectionRequest: ({ protocol }) => (protocol === 0 ? yesOrNo(decide) : Effect.succeed(true)),
  sslClientAuthentication: () => yesOrNo(decide)
})

/** As a program without types would write it. */
const yesOrNo = (decide: Decide) => decide() as unknown as Effect.Effect<boolean>

const { ca, client, server } = TestCertificates.standard()

const settings = {
  hookTimeoutSeconds: 1,
  listeners: [
    { port: 0 },
    { protocol: 1, port: 0, sslCertStore: server.pem, sslAuthenticateClients: true, sslClientCACerts: ca.certPem }
  ]
} as const

const dialTls = (bound: number) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const certificate = { ca: ca.certPem, cert: client.certPem, key: client.keyPem }
      return Tls.connect({ port: bound, host: "127.0.0.1", ...certificate }).on("error", () => {})
    }),
    (socket) => Effect.sync(() => socket.destroy())
  )

describe("a hook that (known failure 22)", () => {
  for (const [way, decide] of Object.entries(ways)) {
    it.live(`${way} refuses, whatever it was asked, and is reported each time`, () =>
      Effect.gen(function* () {
        const broker = yield* Broker.Broker
        const bound = yield* port
        const kinds = refusals(bound)
        const errors = yield* collect(broker.eventsOf("Error"), Object.keys(kinds).length)
        const routed: Array<string> = []
        yield* broker.subscribe("broken/#").pipe(
          Stream.runForEach(({ topic }) => Effect.sync(() => void routed.push(topic))),
          Effect.forkScoped({ startImmediately: true })
        )
        yield* Effect.forEach(Object.values(kinds), (kind) => kind, { concurrency: "unbounded", discard: true })
        const told = yield* Fiber.join(errors)
        const counted: Record<string, number> = {}
        for (const { connectionId, description, errorCode } of told) {
          const [, hook = ""] = /^The (\w+) hook gave no decision, so the request is refused: ./.exec(description) ?? []
          counted[hook] = (counted[hook] ?? 0) + 1
          assert.strictEqual(errorCode, 211)
          assert.isBelow(description.length, 5_000)
          assert.isTrue(connectionId !== "" || hook === "Publish") // a due will and a retained message have none
        }
        assert.deepStrictEqual(counted, { SessionRequest: 1, Authenticate: 1, Subscribe: 2, Publish: 5 })
        assert.deepStrictEqual(routed, ["broken/retained"]) // as it was published, which was permitted
        // It goes on.
        const client = yield* RawClient.connect(bound, { clientId: "other" })
        yield* RawClient.subscribe(client, "t")
        yield* client.send(RawClient.publish("t", "x"))
        yield* client.expect("Publish")
      }).pipe(
        Effect.scoped,
        Effect.provide(brokerLayer({ hooks: hooksWith(decide), settings: { hookTimeoutSeconds: 1 } }))
      )
    )
  }

  for (const [way, decide] of Object.entries(ways)) {
    if (way === "answers with true") continue // to these two questions that is an answer
    it.live(`${way} lets no connection in, with a certificate or without`, () =>
      Effect.gen(function* () {
        const broker = yield* Broker.Broker
        const [plain, secure] = (yield* broker.listeners).map(({ localPort }) => localPort)
        const refused = yield* collect(broker.eventsOf("ConnectionRefused"), 1)
        const failed = yield* collect(broker.eventsOf("Connected"), 1)
        const errors = yield* collect(broker.eventsOf("Error"), 2)
        const client = yield* RawClient.open(plain!)
        const withCertificate = yield* dialTls(secure!)
        yield* client.ended
        yield* TestHandler.closed(withCertificate)
        assert.strictEqual((yield* Fiber.join(refused))[0]!.reason, "hook")
        assert.strictEqual((yield* Fiber.join(failed))[0]!.statusCode, 280)
        const told = (yield* Fiber.join(errors)).map(({ description }) => description.split(" ")[1])
        assert.sameMembers(told, ["ConnectionRequest", "SSLClientAuthentication"])
        assert.strictEqual((yield* broker.stats).connectionsTotal, 0)
      }).pipe(Effect.scoped, Effect.provide(brokerLayer({ hooks: saying(decide), settings })))
    )
  }
})
