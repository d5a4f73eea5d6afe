/**
 * Real clients on every way in besides plain TCP: MQTT.js on TLS, WebSocket and secure WebSocket, Mosquitto's with
 * certificates, openssl for protocol versions.
 */
import { afterAll, assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Queue from "effect/Queue"
import mqtt, { type IClientOptions, type MqttClient } from "mqtt"
import { spawn, spawnSync } from "node:child_process"
import * as Broker from "../../src/broker/Broker.ts"
import * as Hooks from "../../src/broker/Hooks.ts"
import type * as Listener from "../../src/transport/Listener.ts"
import { brokerLayer, collect, port } from "../broker/support.ts"
import * as TestCertificates from "../transport/TestCertificates.ts"
import * as TestHandler from "../transport/TestHandler.ts"

const { ca, client, server } = TestCertificates.standard()
const files = TestCertificates.folder()
afterAll(() => files.remove())

const store = { sslCertStore: server.pem }
const schemes = {
  mqtts: { protocol: 1, port: 0, ...store },
  ws: { protocol: 2, port: 0, path: "/mqtt" },
  wss: { protocol: 3, port: 0, path: "/mqtt", ...store }
} as const satisfies Record<string, Listener.ListenerOptions>

interface Peer {
  readonly client: MqttClient
  readonly texts: Queue.Queue<string>
}

const attach = Effect.fnUntraced(function* (url: string, options: IClientOptions) {
  const texts = yield* Queue.unbounded<string>()
  const connecting = yield* Effect.acquireRelease(
    Effect.sync(() => mqtt.connect(url, { reconnectPeriod: 0, ca: ca.certPem, ...options })),
    (running) => Effect.sync(() => running.end(true))
  )
  connecting.on("message", (_topic, payload) => Queue.offerUnsafe(texts, payload.toString()))
  yield* Effect.callback<void, Error>((resume) => {
    connecting.once("connect", () => resume(Effect.void))
    connecting.on("error", (error) => resume(Effect.fail(error)))
    connecting.once("close", () => resume(Effect.fail(new Error("closed"))))
  })
  const peer: Peer = { client: connecting, texts }
  return peer
})

const publish = ({ client: publisher }: Peer, topic: string, text: string, qos: 0 | 1 | 2) =>
  Effect.promise(() => publisher.publishAsync(topic, text, { qos }))

const subscribe = ({ client: subscriber }: Peer, filter: string, qos: 0 | 1 | 2) =>
  Effect.promise(() => subscriber.subscribeAsync(filter, { qos }))

for (const [scheme, listener] of Object.entries(schemes)) {
  const layer = brokerLayer({ settings: { listeners: [listener] } })
  const url = Effect.map(port, (bound) => `${scheme}://localhost:${bound}/mqtt`)

  for (const protocolVersion of [3, 4, 5] as const) {
    const version = { protocolVersion, ...(protocolVersion === 3 ? { protocolId: "MQIsdp" as const } : {}) }

    it.live(
      `MQTT.js on ${scheme}, protocol version ${protocolVersion}: every QoS, small and large, and a quiet end`,
      () =>
        Effect.gen(function* () {
          const broker = yield* Broker.Broker
          const gone = yield* collect(broker.eventsOf("Disconnected"), 1)
          const subscriber = yield* attach(yield* url, { ...version, clientId: "sub" })
          const publisher = yield* attach(yield* url, { ...version, clientId: "pub" })
          yield* subscribe(subscriber, "a/#", 2)
          const large = "0123456789".repeat(100_000)
          for (const qos of [0, 1, 2] as const) {
            yield* publish(publisher, "a/b", `small ${qos}`, qos)
            yield* publish(publisher, "a/b", large, qos)
            assert.strictEqual(yield* Queue.take(subscriber.texts), `small ${qos}`)
            assert.strictEqual(yield* Queue.take(subscriber.texts), large)
          }
          const connections = yield* broker.connections
          assert.isTrue(connections.every(({ protocol }) => protocol === listener.protocol))
          yield* Effect.promise(() => publisher.client.endAsync())
          assert.strictEqual((yield* Fiber.join(gone))[0]!.statusCode, 0)
        }).pipe(Effect.provide(layer))
    )
  }

  it.live(`MQTT.js on ${scheme}: a thousand messages in flight each way keep their order`, () =>
    Effect.gen(function* () {
      const peer = yield* attach(yield* url, { protocolVersion: 5, clientId: "both" })
      yield* subscribe(peer, "n", 1)
      const numbers = Array.from({ length: 1_000 }, (_, index) => String(index))
      for (const text of numbers) peer.client.publish("n", text, { qos: 1 })
      const heard = yield* Effect.forEach(numbers, () => Queue.take(peer.texts))
      assert.deepStrictEqual(heard, numbers)
    }).pipe(Effect.provide(layer))
  )

  it.live(`known failure 32, on ${scheme}: what is too large for a client is dropped, and the connection goes on`, () =>
    Effect.gen(function* () {
      const small = yield* attach(yield* url, {
        protocolVersion: 5,
        clientId: "small",
        properties: { maximumPacketSize: 1_000 }
      })
      const publisher = yield* attach(yield* url, { protocolVersion: 5, clientId: "pub" })
      yield* subscribe(small, "t", 1)
      yield* publish(publisher, "t", "x".repeat(5_000), 1)
      yield* publish(publisher, "t", "fits", 1)
      assert.strictEqual(yield* Queue.take(small.texts), "fits")
    }).pipe(Effect.provide(layer))
  )
}

describe("client certificates", () => {
  const asking = { sslAuthenticateClients: true, sslClientCACerts: ca.certPem }
  for (const scheme of ["mqtts", "wss"] as const) {
    it.live(`MQTT.js on ${scheme} needs one that is accepted`, () =>
      Effect.gen(function* () {
        const url = `${scheme}://localhost:${yield* port}/mqtt`
        yield* attach(url, { cert: client.certPem, key: client.keyPem })
        yield* Effect.flip(attach(url, {}))
      }).pipe(Effect.provide(brokerLayer({ settings: { listeners: [{ ...schemes[scheme], ...asking }] } })))
    )
  }

  for (const scheme of ["mqtts", "wss"] as const) {
    const named = { ...schemes[scheme], sslCertUserName: true, sslClientCACerts: ca.certPem }
    const certificateOf = ({ certPem, keyPem }: TestCertificates.Issued) => ({ cert: certPem, key: keyPem })

    it.live(
      `sslCertUserName on ${scheme}: the certificate's common name is the user name, whatever CONNECT says`,
      () => {
        const asked: Array<string> = []
        const hooks: Hooks.HooksService = {
          sessionRequest: ({ userName }) => {
            asked.push(userName)
            return Effect.succeed(Hooks.accept)
          }
        }
        return Effect.gen(function* () {
          const broker = yield* Broker.Broker
          const url = `${scheme}://localhost:${yield* port}/mqtt`
          yield* attach(url, { ...certificateOf(client), clientId: "a" })
          yield* attach(url, { ...certificateOf(client), clientId: "b", username: "somebody else", password: "x" })
          assert.deepStrictEqual(asked, ["client-1", "client-1"])
          const names = (yield* broker.connections).map(({ userName }) => userName)
          assert.deepStrictEqual(names, ["client-1", "client-1"])
          assert.isTrue((yield* broker.listeners).every(({ sslAuthenticateClients }) => sslAuthenticateClients))
        }).pipe(Effect.provide(brokerLayer({ hooks, settings: { listeners: [named] } })))
      }
    )

    it.live(
      `sslCertUserName on ${scheme}: known failure 22, who has no verified certificate with a name is refused`,
      () =>
        Effect.gen(function* () {
          const broker = yield* Broker.Broker
          const url = `${scheme}://localhost:${yield* port}/mqtt`
          const refused = Effect.fnUntraced(function* (options: IClientOptions) {
            const failed = yield* collect(broker.eventsOf("Connected"), 1)
            yield* Effect.flip(attach(url, options))
            return (yield* Fiber.join(failed))[0]!.statusCode
          })
          const nameless = ["", "client-1\u0000", "client\n1"].map((commonName) =>
            TestCertificates.issue({ commonName, issuer: ca, keyName: "client" })
          )
          for (const issued of nameless) assert.strictEqual(yield* refused(certificateOf(issued)), 280)
          const stranger = TestCertificates.issue({ commonName: "client-1", keyName: "client" })
          assert.strictEqual(yield* refused(certificateOf(stranger)), 280, "the hook lets it in, its name does not")
          assert.strictEqual(yield* refused({ username: "client-1", password: "x" }), 280)
        }).pipe(
          Effect.provide(
            brokerLayer({
              hooks: { sslClientAuthentication: () => Effect.succeed(true) },
              settings: { listeners: [named] }
            })
          )
        )
    )
  }

  const hasMosquitto = spawnSync("mosquitto_sub", ["--help"]).error === undefined
  if (!hasMosquitto) console.log("skipped: mosquitto_sub is not on the PATH (Debian: mosquitto-clients)")
  it.live.skipIf(!hasMosquitto)("mosquitto_sub with --cafile, --cert and --key", () =>
    Effect.gen(function* () {
      const broker = yield* Broker.Broker
      const args = [
        "-h",
        "localhost",
        "-p",
        String(yield* port),
        "--cafile",
        files.write("ca.pem", ca.certPem),
        "-t",
        "t"
      ]
      const certificate = ["--cert", files.write("c.pem", client.certPem), "--key", files.write("c.key", client.keyPem)]
      const run = (extra: ReadonlyArray<string>) =>
        Effect.callback<readonly [number | null, string]>((resume) => {
          const child = spawn("mosquitto_sub", [...args, "-C", "1", ...extra], { stdio: ["ignore", "pipe", "ignore"] })
          let output = ""
          child.stdout.on("data", (bytes: Buffer) => {
            output += bytes.toString()
          })
          child.once("close", (code) => resume(Effect.succeed([code, output])))
          return Effect.sync(() => child.kill("SIGKILL"))
        })
      const subscribed = yield* collect(broker.eventsOf("Subscribed"), 1)
      const listening = yield* Effect.forkChild(run(certificate))
      yield* Fiber.join(subscribed)
      yield* broker.publish({ topic: "t", payload: "by certificate" })
      assert.deepStrictEqual(yield* Fiber.join(listening), [0, "by certificate\n"])
      const failed = yield* collect(broker.eventsOf("Connected"), 1)
      const refused = yield* Effect.forkChild(run([]))
      assert.strictEqual((yield* Fiber.join(failed))[0]!.statusCode, 281)
      yield* Fiber.interrupt(refused)
    }).pipe(Effect.provide(brokerLayer({ settings: { listeners: [{ ...schemes.mqtts, ...asking }] } })))
  )
})

describe("SSLCheckOCSP", () => {
  it.live("by its documented name; a responder that does not answer is an Error event with 280, or at 2 an error", () =>
    Effect.gen(function* () {
      const broker = yield* Broker.Broker
      const errors = yield* collect(broker.eventsOf("Error"), 1)
      // Nobody is there, and nobody can be.
      const responder = "http://127.0.0.1:1/"
      const certificate = TestCertificates.issue({ commonName: "localhost", issuer: ca, responder })
      const listener = { protocol: 1, port: 0, sslCertStore: `${certificate.pem}${ca.certPem}` } as const
      yield* broker.config("SSLCheckOCSP=1")
      yield* broker.addListener(listener)
      const [error] = yield* Fiber.join(errors)
      assert.strictEqual(error!.errorCode, 280)
      assert.include(error!.description, responder)
      yield* broker.config("SSLCheckOCSP=2")
      assert.strictEqual((yield* Effect.flip(broker.addListener(listener))).code, 280)
      assert.strictEqual((yield* Effect.flip(broker.config("SSLCheckOCSP=3"))).code, 10_022)
    }).pipe(Effect.provide(brokerLayer({ settings: { listeners: [] } })))
  )
})

describe("Config(Name[connectionId])", () => {
  it.live("says what the handshake of a connection agreed on; TLS 1.3 has no key exchange in its cipher suites", () =>
    Effect.gen(function* () {
      const broker = yield* Broker.Broker
      const url = `mqtts://localhost:${yield* port}`
      const expected = {
        "TLSv1.2": ["TLSv1.2", "ECDHE-RSA-AES128-GCM-SHA256", "128", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "ECDHE"],
        "TLSv1.3": ["TLSv1.3", "TLS_AES_256_GCM_SHA384", "256", "TLS_AES_256_GCM_SHA384", ""]
      } as const
      for (const version of ["TLSv1.2", "TLSv1.3"] as const) {
        const only = { minVersion: version, maxVersion: version, ciphers: "ECDHE-RSA-AES128-GCM-SHA256:@SECLEVEL=1" }
        yield* attach(url, { clientId: version, ...(version === "TLSv1.2" ? only : {}) })
        const { connectionId } = (yield* broker.connections).find(({ clientId }) => clientId === version)!
        const names = ["Version", "Cipher", "CipherStrength", "CipherSuite", "KeyExchange"]
        const said = yield* Effect.forEach(names, (name) => broker.config(`SSLNegotiated${name}[${connectionId}]`))
        assert.deepStrictEqual(said, [...expected[version]])
      }
      const strength = yield* Effect.flip(broker.config("SSLNegotiatedKeyExchangeStrength"))
      assert.strictEqual(strength.reason._tag, "SettingNotApplicable")
    }).pipe(Effect.provide(brokerLayer({ settings: { listeners: [schemes.mqtts] } })))
  )
})

describe("a WebSocket before CONNECT", () => {
  const settings = { listeners: [schemes.ws], packetBytesBeforeConnectMax: 10_000 }
  const upgrade = [
    "GET /mqtt HTTP/1.1",
    "Host: x",
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
    "Sec-WebSocket-Protocol: mqtt\r\n\r\n"
  ].join("\r\n")
  const mask = [0, 0, 0, 0]
  /** The beginning of a megabyte, and a message of a hundred frames to which more will come. */
  const whole = Buffer.concat([Buffer.from([0x82, 0xff, 0, 0, 0, 0, 0, 0x10, 0, 0, ...mask]), Buffer.alloc(100_000)])
  const frames = Array.from({ length: 100 }, (_, index) =>
    Buffer.concat([Buffer.from([index === 0 ? 2 : 0, 0xfe, 0x03, 0xe8, ...mask]), Buffer.alloc(1_000)])
  )

  for (const [what, bytes] of [
    ["one frame", whole],
    ["many frames", Buffer.concat(frames)]
  ] as const) {
    it.live(`known failure 2: a message of ${what} is cut off at packetBytesBeforeConnectMax, incomplete`, () =>
      Effect.gen(function* () {
        const broker = yield* Broker.Broker
        const gone = yield* collect(broker.eventsOf("Disconnected"), 1)
        const socket = yield* TestHandler.dial(yield* port)
        socket.write(upgrade)
        yield* TestHandler.dataOf(socket, 100)
        socket.write(bytes)
        yield* TestHandler.closed(socket)
        assert.deepInclude((yield* Fiber.join(gone))[0], { clientId: "", statusCode: 600 })
      }).pipe(Effect.provide(brokerLayer({ settings })))
    )
  }

  it.live("and after it a message may be as long as the largest packet", () =>
    Effect.gen(function* () {
      const peer = yield* attach(`ws://127.0.0.1:${yield* port}/mqtt`, { protocolVersion: 5, clientId: "known" })
      yield* subscribe(peer, "t", 0)
      const large = "0123456789".repeat(150_000)
      yield* publish(peer, "t", large, 0)
      assert.strictEqual(yield* Queue.take(peer.texts), large)
    }).pipe(Effect.provide(brokerLayer({ settings })))
  )
})

describe("openssl s_client", () => {
  const hasOpenssl = spawnSync("openssl", ["version"]).error === undefined
  if (!hasOpenssl) console.log("skipped: openssl is not on the PATH")

  const connect = (bound: number, version: string) =>
    Effect.callback<string>((resume) => {
      const args = [
        "s_client",
        "-connect",
        `127.0.0.1:${bound}`,
        `-${version}`,
        "-CAfile",
        files.write("root.pem", ca.certPem)
      ]
      const child = spawn("openssl", args, { stdio: ["ignore", "pipe", "pipe"] })
      let output = ""
      child.stdout.on("data", (bytes: Buffer) => {
        output += bytes.toString()
      })
      child.once("close", () => resume(Effect.succeed(output)))
    })

  for (const [sslEnabledProtocols, enabled] of [
    [15_360, ["tls1_2", "tls1_3"]],
    [3_072, ["tls1_2"]],
    [12_288, ["tls1_3"]]
  ] as const) {
    it.live.skipIf(!hasOpenssl)(`SSLEnabledProtocols ${sslEnabledProtocols} is ${enabled}`, () =>
      Effect.gen(function* () {
        const bound = yield* port
        for (const version of ["tls1_2", "tls1_3"] as const) {
          const output = yield* connect(bound, version)
          const agreed = /New, (TLSv1\.[23]), Cipher is [A-Z]/.test(output)
          assert.strictEqual(agreed, (enabled as ReadonlyArray<string>).includes(version), output)
          if (agreed) assert.include(output, "Verify return code: 0 (ok)")
        }
      }).pipe(Effect.provide(brokerLayer({ settings: { listeners: [{ ...schemes.mqtts, sslEnabledProtocols }] } })))
    )
  }
})
