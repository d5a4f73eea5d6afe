/**
 * The documented Config method on a running broker.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Tls from "node:tls"
import { WebSocket } from "ws"
import * as Broker from "../../src/broker/Broker.ts"
import * as Encoder from "../../src/protocol/Encoder.ts"
import * as TestCertificates from "../transport/TestCertificates.ts"
import * as RawClient from "./RawClient.ts"
import { brokerLayer, collect, port } from "./support.ts"

const { ca, server } = TestCertificates.standard()

describe("Broker.config", () => {
  it.live("sets and reads settings of the broker, for everybody from then on", () =>
    Effect.gen(function* () {
      const broker = yield* Broker.Broker
      assert.strictEqual(yield* broker.config("DefaultIdleTimeout"), "0")
      assert.strictEqual(yield* broker.config("subscriptionsPerSessionMax=1"), "1")
      assert.strictEqual(yield* broker.config("SubscriptionsPerSessionMax"), "1")
      const client = yield* RawClient.connect(yield* port)
      yield* RawClient.subscribe(client, "a")
      assert.deepStrictEqual((yield* RawClient.subscribe(client, "b")).reasonCodes, [0x97])
    }).pipe(Effect.provide(brokerLayer()))
  )

  it.live("an idle timeout that is set now ends an idle client", () =>
    Effect.gen(function* () {
      const broker = yield* Broker.Broker
      yield* broker.config("DefaultIdleTimeout=1")
      const client = yield* RawClient.connect(yield* port)
      assert.strictEqual((yield* client.expect("Disconnect")).reasonCode, 0x98)
    }).pipe(Effect.provide(brokerLayer()))
  )

  it.live("sets what listeners have that are started from then on, those stopped and started again included", () =>
    Effect.gen(function* () {
      const broker = yield* Broker.Broker
      const first = yield* port
      assert.strictEqual(yield* broker.config("TCPKeepAlive=yes"), "True")
      const keepAlives = Effect.map(broker.connections, (all) => all.map(({ keepAlive }) => keepAlive))
      yield* RawClient.connect(first, { clientId: "a" })
      assert.deepStrictEqual(yield* keepAlives, [false])
      const second = yield* broker.addListener({ port: 0 })
      yield* RawClient.connect(second.localPort, { clientId: "b" })
      yield* broker.stopListening
      yield* broker.startListening
      yield* RawClient.connect(first, { clientId: "c" })
      assert.deepStrictEqual(yield* keepAlives, [false, true, true])
    }).pipe(Effect.provide(brokerLayer()))
  )

  it.live("packetBytesMax holds for the next connection, on a WebSocket listener that runs as well", () =>
    Effect.gen(function* () {
      const broker = yield* Broker.Broker
      const url = `ws://127.0.0.1:${yield* port}/mqtt`
      yield* broker.config("packetBytesMax=2000")
      const packet = Encoder.encode(RawClient.publish("t", "x".repeat(1_500), 0, true), 5)
      const socket = yield* Effect.acquireRelease(
        Effect.sync(() => new WebSocket(url, "mqtt")),
        (opened) => Effect.sync(() => opened.terminate())
      )
      socket.once("open", () => socket.send(Encoder.encode(RawClient.connectPacket(), 5)))
      const answer = yield* Effect.callback<Buffer>((resume) => {
        socket.once("message", (frame: Buffer) => resume(Effect.succeed(frame)))
      })
      // What it is told is what it may send.
      assert.isTrue(answer.includes(Buffer.from("27000007d0", "hex")))
      const kept = yield* collect(broker.eventsOf("MessageReceived"), 1)
      socket.send(packet)
      yield* Fiber.join(kept)
    }).pipe(Effect.provide(brokerLayer({ settings: { listeners: [{ protocol: 2, port: 0 }], packetBytesMax: 1_000 } })))
  )

  it.live("reads what a connection has agreed on, by its id", () =>
    Effect.gen(function* () {
      const broker = yield* Broker.Broker
      const connected = yield* collect(broker.eventsOf("Connected"), 1)
      yield* RawClient.connect(yield* port)
      const [{ connectionId } = { connectionId: "" }] = yield* Fiber.join(connected)
      assert.strictEqual(yield* broker.config(`SSLNegotiatedVersion[${connectionId}]`), "")
      assert.strictEqual(yield* broker.config(`SSLNegotiatedCipherStrength[${connectionId}]`), "0")
      // The cast: a program without types may give anything.
      for (const wrong of ["LocalHost= ", "LocalHost=\0", "LocalHost=a b", undefined as unknown as string]) {
        assert.strictEqual((yield* Effect.flip(broker.config(wrong))).reason._tag, "InvalidSetting")
      }
      const error = yield* Effect.flip(broker.config("SSLNegotiatedVersion[999]"))
      assert.deepStrictEqual([error.code, error.reason._tag], [212, "NotConnected"])
    }).pipe(Effect.provide(brokerLayer()))
  )

  it.live("what is set of TLS holds for the next listener, and is read back of a connection to it", () =>
    Effect.gen(function* () {
      const broker = yield* Broker.Broker
      const suite = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"
      assert.strictEqual(yield* broker.config("SSLEnabledProtocols=0xC00"), "3072")
      assert.strictEqual(yield* broker.config(`SSLEnabledCipherSuites=${suite}`), suite)
      const { localPort } = yield* broker.addListener({
        protocol: 1,
        port: 0,
        sslCertStore: TestCertificates.pfx([server], "test"),
        sslCertStorePassword: "test"
      })
      const socket = yield* Effect.acquireRelease(
        Effect.sync(() => Tls.connect({ port: localPort, host: "127.0.0.1", ca: ca.certPem })),
        (open) => Effect.sync(() => open.destroy())
      )
      const connected = yield* collect(broker.eventsOf("Connected"), 1)
      const [{ connectionId } = { connectionId: "" }] = yield* Fiber.join(connected)
      for (const [name, value] of [
        ["Version", "TLSv1.2"],
        ["CipherSuite", suite],
        ["CipherStrength", "128"],
        ["KeyExchange", "ECDHE"]
      ] as const) {
        assert.strictEqual(yield* broker.config(`SSLNegotiated${name}[${connectionId}]`), value)
      }
      assert.strictEqual(socket.destroyed, false)
    }).pipe(Effect.provide(brokerLayer()))
  )

  it.live("says of what is fixed, and of what is no text, what can be done instead", () =>
    Effect.gen(function* () {
      const broker = yield* Broker.Broker
      for (const [name, reads, words] of [
        ["receiveMaximum", "1000", "--set"],
        ["topicAliasMaximum", "64", "--set"],
        ["hookTimeoutSeconds", "10", "--set"],
        ["eventsBufferMax", "16384", "--set"],
        ["messagesBufferMax", "16384", "--set"],
        ["listeners", "mqtt://127.0.0.1:0", "addListener"]
      ] as const) {
        assert.strictEqual(yield* broker.config(name), reads)
        const error = yield* Effect.flip(broker.config(`${name}=${reads}`))
        assert.deepStrictEqual([error.code, error.reason._tag], [213, "SettingFixed"])
        assert.include(error.message, words)
        assert.strictEqual(yield* broker.config(name), reads)
      }
      for (const name of ["sniCertificates", "listenerDefaults"]) {
        assert.strictEqual((yield* Effect.flip(broker.config(name))).code, 10022)
      }
    }).pipe(Effect.provide(brokerLayer()))
  )

  it.live("fails with the names that were meant, or why there is nothing to set", () =>
    Effect.gen(function* () {
      const broker = yield* Broker.Broker
      const unknown = yield* Effect.flip(broker.config("DefaultIdleTimeot=5"))
      assert.deepStrictEqual([unknown.code, unknown.reason._tag], [10022, "UnknownSetting"])
      assert.include(unknown.message, "DefaultIdleTimeout")
      const wrong = yield* Effect.flip(broker.config("LogLevel=9"))
      assert.deepStrictEqual([wrong.code, wrong.reason._tag], [10022, "InvalidSetting"])
      const pointless = yield* Effect.flip(broker.config("FirewallHost=x"))
      assert.deepStrictEqual([pointless.code, pointless.reason._tag], [10045, "SettingNotApplicable"])
    }).pipe(Effect.provide(brokerLayer()))
  )

  it.live("a reset brings every default back, and another broker's settings are its own", () =>
    Effect.gen(function* () {
      const broker = yield* Broker.Broker
      yield* broker.config("LogLevel=3")
      yield* broker.config("TcpNoDelay=False")
      const other = yield* Effect.scoped(
        Effect.provide(
          Effect.flatMap(Broker.Broker, (another) => another.config("LogLevel")),
          brokerLayer()
        )
      )
      assert.strictEqual(other, "1")
      yield* broker.reset
      assert.strictEqual(yield* broker.config("LogLevel"), "1")
      assert.strictEqual(yield* broker.config("TcpNoDelay"), "True")
    }).pipe(Effect.provide(brokerLayer()))
  )
})
