/**
 * The parity table against a broker that runs: what it says is a property, method, field or event is one of the objects
 * that a program gets in its hands.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import mqtt from "mqtt"
import * as Broker from "../../src/broker/Broker.ts"
import * as BrokerError from "../../src/broker/BrokerError.ts"
import * as BrokerEvent from "../../src/broker/BrokerEvent.ts"
import * as Hooks from "../../src/broker/Hooks.ts"
import * as SocketErrno from "../../src/transport/SocketErrno.ts"
import * as RawClient from "../broker/RawClient.ts"
import { brokerLayer } from "../broker/support.ts"
import * as TestCertificates from "../transport/TestCertificates.ts"
import * as BrokerParity from "./BrokerParity.ts"
import type * as Place from "./Place.ts"

const { ca, client: clientCertificate, server } = TestCertificates.standard()

const tlsListener = {
  protocol: 1,
  port: 0,
  sslCertStore: TestCertificates.pfx([server], "test"),
  sslCertStorePassword: "test",
  sslAuthenticateClients: true,
  sslClientCACerts: ca.certPem
} as const

interface Named {
  /** What is in front of the member: `src/core/CoreEvent.ts#Connected`. */
  readonly type: string
  readonly name: string
  readonly member: string | undefined
}

const parse = (row: Place.Row | undefined): Named | undefined => {
  if (row === undefined || "reason" in row) return undefined
  const [type = "", member] = row.at.split(/(?<=#\w+)\./)
  return { type, name: type.slice(type.indexOf("#") + 1), member }
}

/** Every field whose row is of that type is there. Returns how many. */
const assertFields = (what: string, rows: Readonly<Record<string, Place.Row>>, type: string, found: object): number => {
  const members = Object.entries(rows).flatMap(([field, row]) => {
    const place = parse(row)
    return place?.name === type && place.member !== undefined ? [[field, place.member] as const] : []
  })
  for (const [field, member] of members) assert.isTrue(member in found, `${what}.${field}: there is no ${member}`)
  return members.length
}

/** What the hooks were asked, by hook. */
const asked = new Map<string, object>()

const recorded =
  <A extends object, D>(hook: keyof Hooks.HooksService, decision: D) =>
  (request: A) =>
    Effect.sync(() => {
      asked.set(hook, request)
      return decision
    })

const hooks: Hooks.HooksService = {
  connectionRequest: recorded("connectionRequest", true),
  sslClientAuthentication: recorded("sslClientAuthentication", true),
  sessionRequest: recorded("sessionRequest", Hooks.accept),
  subscribe: recorded("subscribe", Hooks.grant(2))
}

const acknowledge = (_tag: "PubRec" | "PubRel" | "PubComp", packetId: number) =>
  ({ _tag, packetId, reasonCode: 0, properties: undefined }) as const

/** A client that does everything once; at the end it has a session with a message in each direction. */
const converse = Effect.fnUntraced(function* (port: number) {
  const client = yield* RawClient.connect(port, {
    clientId: "a",
    protocolVersion: 4,
    userName: "ann",
    password: Buffer.from("secret")
  })
  yield* RawClient.subscribe(client, "t", 2)
  yield* client.send(RawClient.publish("t", "x", 2, true, 7))
  yield* client.expect("PubRec")
  yield* client.send(acknowledge("PubRel", 7))
  // The message itself may come before the end of its exchange.
  const one = yield* client.receive
  const other = yield* client.receive
  assert.sameMembers([one._tag, other._tag], ["PubComp", "Publish"])
  yield* client.send(acknowledge("PubRec", 1))
  yield* client.expect("PubRel")
  yield* client.send(acknowledge("PubComp", 1))
  yield* client.send({ _tag: "Unsubscribe", packetId: 2, filters: ["t"], properties: undefined })
  yield* client.expect("UnsubAck")
  yield* RawClient.subscribe(client, "t", 2)
  yield* client.expect("Publish")
  yield* client.send(RawClient.publish("t", "y", 2, false, 8))
  yield* client.expect("PubRec")
  return client
})

const connectTls = (port: number) =>
  Effect.acquireRelease(
    Effect.callback<mqtt.MqttClient>((resume) => {
      const options = { ca: ca.certPem, cert: clientCertificate.certPem, key: clientCertificate.keyPem }
      const client = mqtt.connect(`mqtts://127.0.0.1:${port}`, { reconnectPeriod: 0, ...options })
      client.once("connect", () => resume(Effect.succeed(client)))
      client.on("error", () => {})
    }),
    (client) => Effect.sync(() => client.end(true))
  )

describe("the broker's parity table, at a broker that runs,", () => {
  it.live("names methods and properties that the service has", () =>
    Effect.gen(function* () {
      const broker = yield* Broker.Broker
      const rows = { ...BrokerParity.properties, ...BrokerParity.methods }
      assert.strictEqual(assertFields("Broker", rows, "Broker", broker), 15)
    }).pipe(Effect.provide(brokerLayer()))
  )

  it.live("names fields that snapshots, events and questions have", () =>
    Effect.gen(function* () {
      const broker = yield* Broker.Broker
      const told = new Map<string, object>()
      const wanted = Object.entries(BrokerParity.events).flatMap(([name, { place }]) => {
        const at = parse(place)
        return at === undefined || at.name === "HooksService" ? [] : [[name, at.name] as const]
      })
      const tags = wanted.map(([, tag]) => BrokerEvent.tags.find((known) => known === tag)!)
      const complete = yield* Deferred.make<void>()
      const note = (event: BrokerEvent.BrokerEvent) =>
        Effect.suspend(() => {
          told.set(event._tag, event)
          return tags.every((tag) => told.has(tag)) ? Deferred.succeed(complete, undefined) : Effect.void
        })
      yield* broker.eventsOf(...tags).pipe(Stream.runForEach(note), Effect.forkScoped({ startImmediately: true }))

      const [plain, secure] = yield* broker.listeners
      const client = yield* converse(plain!.localPort)
      yield* connectTls(secure!.localPort)
      const snapshots: Readonly<Record<string, object | undefined>> = {
        ConnectionSnapshot: (yield* broker.connections)[0],
        ListenerSnapshot: secure,
        BrokerMessage: (yield* broker.retainedMessages)[0],
        SessionDetail: yield* broker.session("a"),
        SessionSnapshot: (yield* broker.sessions).find(({ clientId }) => clientId === "a"),
        SubscriptionSnapshot: (yield* broker.session("a"))?.subscriptions[0]
      }
      for (const [name, rows] of Object.entries(BrokerParity.types)) {
        const checked = Object.entries(snapshots).map(([type, found]) => assertFields(name, rows, type, found!))
        // No field of a type is anywhere else.
        assert.strictEqual(
          checked.reduce((sum, one) => sum + one, 0),
          Object.keys(rows).length,
          name
        )
      }

      client.socket.write(Buffer.from([0x00, 0x00])) // no packet
      yield* Deferred.await(complete)
      for (const [name, tag] of wanted) {
        const { fields } = BrokerParity.events[name]!
        assert.strictEqual(assertFields(name, fields, tag, told.get(tag)!), Object.keys(fields).length, name)
      }
      const answers = { ConnectionRequest: 2, SessionRequest: 5, SSLClientAuthentication: 7, Subscribe: 4 }
      for (const [name, count] of Object.entries(answers)) {
        const { fields, place } = BrokerParity.events[name]!
        const request = asked.get(parse(place)!.member!)!
        const types = ["Peer", "SessionRequest", "SubscribeRequest", "ClientCertificate"]
        const found = types.map((type) => assertFields(name, fields, type, request))
        assert.strictEqual(Math.max(...found), count, name)
      }
    }).pipe(Effect.provide(brokerLayer({ hooks, settings: { listeners: [{ port: 0 }, tlsListener] } })), Effect.scoped)
  )

  it("names errors that have the code of their row", () => {
    const classes: ReadonlyMap<string, { readonly fields: { readonly code: { readonly ast: unknown } } }> = new Map(
      BrokerError.BrokerErrorReason.members.map((reason) => [String(reason.fields._tag.ast.literal), reason])
    )
    let checked = 0
    for (const [code, row] of Object.entries(BrokerParity.errors)) {
      const place = parse(row)
      if (place === undefined) continue
      if (place.name === "table") {
        // Written out in the table, so that it is there.
        const errno = place.member as SocketErrno.Errno
        assert.strictEqual(SocketErrno.codeOf(errno), Number(code), errno)
        assert.isTrue(SocketErrno.isErrno(errno), errno)
        checked++
      }
      const reason = classes.get(place.name)
      if (reason === undefined) continue
      // One literal, or a union of them.
      const { literal, types = [] } = reason.fields.code.ast as {
        readonly literal?: number
        readonly types?: ReadonlyArray<{ readonly literal: number }>
      }
      assert.include([literal, ...types.map((one) => one.literal)], Number(code), place.name)
      checked++
    }
    assert.isAbove(checked, 50)
  })
})
