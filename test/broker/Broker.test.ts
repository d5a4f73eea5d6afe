import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Net from "node:net"
import * as Broker from "../../src/broker/Broker.ts"
import * as ConnectionId from "../../src/core/ConnectionId.ts"
import type { Properties } from "../../src/protocol/Property.ts"
import * as ReasonCode from "../../src/protocol/ReasonCode.ts"
import * as RawClient from "./RawClient.ts"
import { brokerLayer, collect, port } from "./support.ts"

describe("Broker: listeners", () => {
  it.live("reports the bound address of port 0, and several listeners serve one broker", () =>
    Effect.gen(function* () {
      const broker = yield* Broker.Broker
      const second = yield* broker.addListener({ port: 0 })
      const listeners = yield* broker.listeners
      assert.strictEqual(listeners.length, 2)
      assert.isTrue(listeners.every(({ listening, localPort }) => listening && localPort > 0))
      const subscriber = yield* RawClient.connect(listeners[0]!.localPort, { clientId: "sub" })
      yield* RawClient.subscribe(subscriber, "a")
      const publisher = yield* RawClient.connect(second.localPort, { clientId: "pub" })
      yield* publisher.send(RawClient.publish("a", "across"))
      assert.strictEqual(Buffer.from((yield* subscriber.expect("Publish")).payload).toString(), "across")
    }).pipe(Effect.provide(brokerLayer()))
  )

  it.live("an address in use is a BrokerError whose reason names the address", () =>
    Effect.gen(function* () {
      const broker = yield* Broker.Broker
      const taken = yield* port
      const error = yield* Effect.flip(broker.addListener({ port: taken }))
      assert.strictEqual(error.code, 10048)
      assert.include(error.message, `127.0.0.1:${taken}`)
      const whole = yield* Effect.flip(
        Effect.scoped(Effect.provide(Broker.Broker, brokerLayer({ settings: { listeners: [{ port: taken }] } })))
      )
      assert.strictEqual(whole.reason._tag, "AddressInUse")
    }).pipe(Effect.provide(brokerLayer()))
  )

  it.live("a wrong listener setting is refused with its name", () =>
    Effect.gen(function* () {
      const broker = yield* Broker.Broker
      const error = yield* Effect.flip(broker.addListener({ port: 70_000 }))
      assert.strictEqual(error.reason._tag, "InvalidSetting")
      assert.include(error.message, "port must be a whole number")
    }).pipe(Effect.provide(brokerLayer()))
  )

  it.live("stopListening refuses newcomers and leaves clients alone", () =>
    Effect.gen(function* () {
      const broker = yield* Broker.Broker
      const bound = yield* port
      const client = yield* RawClient.connect(bound)
      yield* broker.stopListening
      const refused = yield* Effect.callback<string | undefined>((resume) => {
        Net.connect({ port: bound, host: "127.0.0.1" }).once("error", (error: NodeJS.ErrnoException) =>
          resume(Effect.succeed(error.code))
        )
      })
      assert.strictEqual(refused, "ECONNREFUSED")
      assert.isFalse((yield* broker.listeners)[0]!.listening)
      yield* RawClient.ping(client)
    }).pipe(Effect.provide(brokerLayer()))
  )

  it.live("closing a listener's scope says goodbye to its clients and to no others", () =>
    Effect.gen(function* () {
      const broker = yield* Broker.Broker
      const stays = yield* RawClient.connect(yield* port, { clientId: "stays" })
      const events = yield* collect(broker.eventsOf("ListenerStarted", "ListenerStopped"), 2)
      const scope = yield* Scope.make()
      const listener = yield* broker.addListener({ port: 0 }).pipe(Scope.provide(scope))
      const leaves = yield* RawClient.connect(listener.localPort, { clientId: "leaves" })
      const closing = yield* Effect.forkChild(Scope.close(scope, Exit.void))
      assert.strictEqual((yield* leaves.expect("Disconnect")).reasonCode, 0x8b)
      yield* leaves.ended
      yield* Fiber.join(closing)
      assert.deepStrictEqual(
        (yield* Fiber.join(events)).map((event) => event._tag),
        ["ListenerStarted", "ListenerStopped"]
      )
      yield* RawClient.ping(stays)
    }).pipe(Effect.provide(brokerLayer()))
  )

  it.live("beyond connectionsMax a connection is closed before a byte is read, and a place that is freed is used", () =>
    Effect.gen(function* () {
      const broker = yield* Broker.Broker
      const bound = yield* port
      const refusals = yield* collect(broker.eventsOf("ConnectionRefused"), 1)
      const first = yield* RawClient.connect(bound, { clientId: "1" })
      yield* RawClient.connect(bound, { clientId: "2" })
      const third = yield* RawClient.open(bound)
      yield* third.ended
      const [refusal] = yield* Fiber.join(refusals)
      assert.strictEqual(refusal!.reason, "connections-max")
      assert.strictEqual((yield* broker.stats).connectionsRefused, 1)
      const gone = yield* collect(broker.eventsOf("Disconnected"), 1)
      first.socket.destroy()
      yield* Fiber.join(gone)
      yield* RawClient.connect(bound, { clientId: "3" })
    }).pipe(Effect.provide(brokerLayer({ settings: { connectionsMax: 2 } })))
  )
})

describe("Broker: snapshots", () => {
  it.live("show connections, sessions and retained messages with the documented fields", () =>
    Effect.gen(function* () {
      const broker = yield* Broker.Broker
      const bound = yield* port
      const client = yield* RawClient.connect(bound, {
        clientId: "c",
        userName: "u",
        protocolVersion: 4,
        cleanStart: false
      })
      yield* RawClient.subscribe(client, "a/+", 1)
      yield* client.send(RawClient.publish("a/r", "kept", 1, true))
      const first = yield* client.receive
      const second = yield* client.receive
      assert.sameMembers([first._tag, second._tag], ["PubAck", "Publish"])
      const [connection] = yield* broker.connections
      assert.deepInclude(connection, {
        clientId: "c",
        userName: "u",
        protocol: 0,
        protocolVersion: 4,
        localHost: "127.0.0.1",
        localPort: bound,
        remoteHost: "127.0.0.1",
        remotePort: client.socket.localPort!,
        keepAlive: false
      })
      const [session] = yield* broker.sessions
      assert.deepInclude(session, { clientId: "c", connected: true, incomingMessageCount: 0, outgoingMessageCount: 1 })
      assert.strictEqual(session!.subscriptions.length, 1)
      assert.deepInclude(session!.subscriptions[0], { topicFilter: "a/+", grantedQos: 1 })
      const detail = yield* broker.session("c")
      assert.deepInclude(detail!.outgoingMessages[0], { topic: "a/r", qos: 1, state: 2 })
      assert.isUndefined(yield* broker.session("nobody"))
      const [retained] = yield* broker.retainedMessages
      assert.deepInclude(retained, { topic: "a/r", retain: true, qos: 1 })
      assert.strictEqual(Buffer.from(retained!.payload).toString(), "kept")
    }).pipe(Effect.provide(brokerLayer()))
  )

  it.live("an outgoing message has packet id -1 in its session until one is given", () =>
    Effect.gen(function* () {
      const broker = yield* Broker.Broker
      const client = yield* RawClient.connect(yield* port, { clientId: "c" })
      yield* RawClient.subscribe(client, "t", 2)
      for (const qos of [1, 2] as const) yield* broker.publish({ topic: "t", payload: "x", qos })
      const ids = Effect.map(broker.session("c"), (detail) =>
        detail?.outgoingMessages.map(({ packetId, qos, state }) => ({ qos, state, packetId }))
      )
      const { packetId = 0 } = yield* client.expect("Publish")
      const waits = { qos: 2, state: 1, packetId: -1 }
      assert.deepStrictEqual(yield* ids, [{ qos: 1, state: 2, packetId }, waits])
      yield* client.send({ _tag: "PubAck", packetId, reasonCode: 0, properties: undefined })
      const next = yield* client.expect("Publish")
      assert.deepStrictEqual(yield* ids, [{ qos: 2, state: 3, packetId: next.packetId }])
    }).pipe(Effect.provide(brokerLayer({ settings: { inflightMax: 1 } })))
  )
})

describe("Broker: in-process messages", () => {
  it.live("publish reaches clients, and subscribe gets theirs", () =>
    Effect.gen(function* () {
      const broker = yield* Broker.Broker
      const client = yield* RawClient.connect(yield* port)
      yield* RawClient.subscribe(client, "to/client", 2)
      const local = yield* collect(broker.subscribe("to/+"), 2)
      yield* broker.publish({ topic: "to/client", payload: "hello", qos: 1 })
      const got = yield* client.expect("Publish")
      assert.deepInclude(got, { topic: "to/client", qos: 1, retain: false })
      assert.strictEqual(Buffer.from(got.payload).toString(), "hello")
      yield* client.send(RawClient.publish("to/broker", Uint8Array.from([0, 1, 2])))
      const [first, second] = yield* Fiber.join(local)
      assert.strictEqual(first!.topic, "to/client")
      assert.deepInclude(second, { topic: "to/broker", qos: 0, retain: false })
      assert.deepStrictEqual(second!.payload, Uint8Array.from([0, 1, 2]))
    }).pipe(Effect.provide(brokerLayer()))
  )

  it.live("a wildcard in a topic name and a broken filter are error 601", () =>
    Effect.gen(function* () {
      const broker = yield* Broker.Broker
      const published = yield* Effect.flip(broker.publish({ topic: "a/#", payload: "" }))
      assert.strictEqual(published.code, 601)
      const subscribed = yield* Effect.flip(Stream.runDrain(broker.subscribe("a/#/b")))
      assert.strictEqual(subscribed.code, 601)
      assert.include(subscribed.message, "a/#/b")
    }).pipe(Effect.provide(brokerLayer()))
  )

  it.live("what no message may carry is refused, published or retained", () =>
    Effect.gen(function* () {
      const broker = yield* Broker.Broker
      const client = yield* RawClient.connect(yield* port)
      yield* RawClient.subscribe(client, "#")
      const wrong: ReadonlyArray<readonly [Properties, number, string]> = [
        [{ responseTopic: "reply/#" }, 601, '"reply/#"'],
        [{ topicAlias: 5 }, 600, "topicAlias"],
        [{ subscriptionIdentifiers: [9] }, 600, "subscriptionIdentifiers"]
      ]
      for (const [properties, code, said] of wrong) {
        for (const give of [broker.publish, broker.setRetainedMessage]) {
          const error = yield* Effect.flip(give({ topic: "t", payload: "x", properties }))
          assert.strictEqual(error.code, code)
          assert.include(error.message, said)
        }
      }
      assert.deepStrictEqual(yield* broker.retainedMessages, [])
      yield* RawClient.ping(client) // nothing came before its answer
    }).pipe(Effect.provide(brokerLayer()))
  )

  it.live("a subscription ends with its stream", () =>
    Effect.gen(function* () {
      const broker = yield* Broker.Broker
      const one = yield* collect(broker.subscribe("x"), 1)
      yield* broker.publish({ topic: "x", payload: "1" })
      yield* Fiber.join(one)
      const next = yield* collect(broker.subscribe("x"), 1)
      yield* broker.publish({ topic: "x", payload: "2" })
      const [message] = yield* Fiber.join(next)
      assert.strictEqual(Buffer.from(message!.payload).toString(), "2")
    }).pipe(Effect.provide(brokerLayer()))
  )

  it.live("a slow subscription loses its oldest messages, and the loss is counted", () =>
    Effect.gen(function* () {
      const broker = yield* Broker.Broker
      const slow = yield* collect(broker.subscribe("x"), 2)
      const publishAll = Effect.forEach(["1", "2", "3", "4"], (payload) => broker.publish({ topic: "x", payload }))
      yield* publishAll
      const messages = yield* Fiber.join(slow)
      assert.deepStrictEqual(
        messages.map(({ payload }) => Buffer.from(payload).toString()),
        ["3", "4"]
      )
      assert.strictEqual((yield* broker.stats).localMessagesDropped, 2)
    }).pipe(Effect.provide(brokerLayer({ settings: { messagesBufferMax: 2 } })))
  )
})

describe("Broker: connections", () => {
  it.live("disconnect tells a 5.0 client the reason and reports it; an unknown connection is an error", () =>
    Effect.gen(function* () {
      const broker = yield* Broker.Broker
      const client = yield* RawClient.connect(yield* port)
      const [connection] = yield* broker.connections
      const gone = yield* collect(broker.eventsOf("Disconnected"), 1)
      yield* broker.disconnect(connection!.connectionId)
      assert.strictEqual((yield* client.expect("Disconnect")).reasonCode, 0x98)
      yield* client.ended
      const [event] = yield* Fiber.join(gone)
      assert.deepInclude(event, { connectionId: connection!.connectionId, clientId: "test" })
      const error = yield* Effect.flip(broker.disconnect(ConnectionId.fromText("none")))
      assert.strictEqual(error.reason._tag, "NotConnected")
    }).pipe(Effect.provide(brokerLayer()))
  )

  it.live("disconnect with a code that no server sends is error 600, and the client stays", () =>
    Effect.gen(function* () {
      const broker = yield* Broker.Broker
      const client = yield* RawClient.connect(yield* port)
      const [connection] = yield* broker.connections
      for (const code of [0x42, ReasonCode.DisconnectWithWill]) {
        // The cast: a program without types may give any number.
        const wrong = code as ReasonCode.DisconnectReasonCode
        const error = yield* Effect.flip(broker.disconnect(connection!.connectionId, wrong))
        assert.deepStrictEqual([error.code, error.reason._tag], [600, "ProtocolViolation"])
      }
      yield* RawClient.ping(client)
    }).pipe(Effect.provide(brokerLayer()))
  )

  it.live("events tell the life of a client in order", () =>
    Effect.gen(function* () {
      const broker = yield* Broker.Broker
      const events = yield* collect(
        broker.eventsOf("Connected", "SessionStarted", "Subscribed", "Unsubscribed", "Disconnected", "SessionRemoved"),
        6
      )
      const client = yield* RawClient.connect(yield* port)
      yield* RawClient.subscribe(client, "a", 1)
      yield* client.send({ _tag: "Unsubscribe", packetId: 2, filters: ["a"], properties: undefined })
      yield* client.expect("UnsubAck")
      yield* client.send({ _tag: "Disconnect", reasonCode: 0, properties: undefined })
      yield* client.ended
      const found = yield* Fiber.join(events)
      assert.deepStrictEqual(
        found.slice(0, 4).map((event) => event._tag),
        ["Connected", "SessionStarted", "Subscribed", "Unsubscribed"]
      )
      assert.sameMembers(
        found.slice(4).map((event) => event._tag),
        ["Disconnected", "SessionRemoved"]
      )
    }).pipe(Effect.provide(brokerLayer()))
  )

  it.live("a client that breaks the protocol is an Error event with code 600 and is closed", () =>
    Effect.gen(function* () {
      const broker = yield* Broker.Broker
      const errors = yield* collect(broker.eventsOf("Error"), 1)
      const client = yield* RawClient.connect(yield* port)
      client.socket.write(Uint8Array.from([0x20, 2, 0, 0])) // a CONNACK, which only a server sends
      assert.isAtLeast((yield* client.expect("Disconnect")).reasonCode, 0x80)
      yield* client.ended
      assert.strictEqual((yield* Fiber.join(errors))[0]!.errorCode, 600)
    }).pipe(Effect.provide(brokerLayer()))
  )

  it.live("a connection that says nothing is closed after the connect timeout", () =>
    Effect.gen(function* () {
      const client = yield* RawClient.open(yield* port)
      yield* client.ended
    }).pipe(Effect.provide(brokerLayer({ settings: { connectTimeoutSeconds: 1 } })))
  )

  it.live("known failure 25: a reader that is frozen holds up nobody, and is cut off", () =>
    Effect.gen(function* () {
      const broker = yield* Broker.Broker
      const bound = yield* port
      const frozen = yield* RawClient.connect(bound, { clientId: "frozen" })
      yield* RawClient.subscribe(frozen, "load")
      frozen.socket.pause()
      const healthy = yield* RawClient.connect(bound, { clientId: "healthy" })
      yield* RawClient.subscribe(healthy, "load")
      const gone = yield* collect(broker.eventsOf("Disconnected"), 1)
      const payload = Buffer.alloc(64 * 1024)
      // More than two kernel buffers and the outbox bound together hold.
      for (let index = 0; index < 400; index++) {
        yield* broker.publish({ topic: "load", payload })
        yield* healthy.expect("Publish")
      }
      const [event] = yield* Fiber.join(gone)
      assert.strictEqual(event!.clientId, "frozen")
      yield* RawClient.ping(healthy)
    }).pipe(Effect.provide(brokerLayer({ settings: { outboxBytesMax: 256 * 1024, drainTimeoutSeconds: 1 } })))
  )
})
