/**
 * What a broker tells and asks while connections are still being prepared, by TLS and WebSocket clients that are real.
 */
import { afterAll, assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import * as Tls from "node:tls"
import { WebSocket } from "ws"
import * as Broker from "../../src/broker/Broker.ts"
import type * as Hooks from "../../src/broker/Hooks.ts"
import * as Encoder from "../../src/protocol/Encoder.ts"
import type * as Listener from "../../src/transport/Listener.ts"
import * as TestCertificates from "../transport/TestCertificates.ts"
import * as TestHandler from "../transport/TestHandler.ts"
import * as ConnectionId from "../../src/core/ConnectionId.ts"
import * as RawClient from "./RawClient.ts"
import { brokerLayer, collect, port } from "./support.ts"

const { ca, client, server } = TestCertificates.standard()
const files = TestCertificates.folder()
afterAll(() => files.remove())
const store = { sslCertStore: TestCertificates.pfx([server], "test"), sslCertStorePassword: "test" }

const tls = (options: object = {}): ReadonlyArray<Listener.ListenerOptions> => [
  { protocol: 1, port: 0, ...store, ...options }
]
const asking = { sslAuthenticateClients: true, sslClientCACerts: ca.certPem }
const certificate = { cert: client.certPem, key: client.keyPem }

const dialTls = (bound: number, options: Tls.ConnectionOptions = {}) =>
  Effect.acquireRelease(
    Effect.callback<Tls.TLSSocket>((resume) => {
      const socket = Tls.connect({ port: bound, host: "127.0.0.1", ca: ca.certPem, ...options })
      socket.on("error", () => {})
      socket.once("secureConnect", () => resume(Effect.succeed(socket)))
    }),
    (socket) => Effect.sync(() => socket.destroy())
  )

/** An MQTT client on TLS whose CONNECT was accepted. */
const connectTls = Effect.fnUntraced(function* (bound: number, options: Tls.ConnectionOptions = {}) {
  const socket = yield* dialTls(bound, options)
  socket.write(Encoder.encode(RawClient.connectPacket({ protocolVersion: 4, clientId: "tls" }), 4))
  assert.strictEqual((yield* TestHandler.dataOf(socket, 4)).toString("hex"), "20020000")
  return socket
})

const kinds = ["SSLStatus", "Connected", "SessionStarted", "Disconnected"] as const

/** The next events as lines, each with its connection. */
const story = (broker: Broker.Broker["Service"], count: number) =>
  Effect.map(collect(broker.eventsOf(...kinds), count), (fiber) =>
    Effect.map(Fiber.join(fiber), (events) =>
      events.map((event) => {
        const what = event._tag === "SSLStatus" ? event.message : "statusCode" in event ? event.statusCode : ""
        return `${event.connectionId} ${event._tag} ${what}`.trim()
      })
    )
  )

describe("Broker: handshakes", () => {
  it.live("ConnectionRequest, SSLStatus, SSLClientAuthentication, Connected, SessionStarted, in this order", () => {
    const asked: Array<string> = []
    const shown: Array<Hooks.SSLClientAuthentication> = []
    const hooks: Hooks.HooksService = {
      connectionRequest: ({ protocol }) => {
        asked.push(`connectionRequest ${protocol}`)
        return Effect.succeed(true)
      },
      sslClientAuthentication: (request) => {
        asked.push("sslClientAuthentication")
        shown.push(request)
        return Effect.succeed(request.accept)
      },
      sessionRequest: ({ connectionId }) => {
        asked.push(`sessionRequest ${connectionId}`)
        return Effect.succeed({ reasonCode: 0 })
      }
    }
    return Effect.gen(function* () {
      const broker = yield* Broker.Broker
      const events = yield* story(broker, 6)
      const socket = yield* connectTls(yield* port, certificate)
      const [connection] = yield* broker.connections
      assert.deepInclude(connection, {
        connectionId: ConnectionId.fromNumber(1),
        clientId: "tls",
        protocol: 1,
        sslNegotiatedVersion: "TLSv1.3",
        sslNegotiatedCipherSuite: "TLS_AES_256_GCM_SHA384",
        sslNegotiatedCipherStrength: 256,
        sslNegotiatedKeyExchange: ""
      })
      socket.end(Buffer.from([0xe0, 0]))
      assert.deepStrictEqual(yield* events, [
        "1 SSLStatus TLS handshake begins",
        "1 SSLStatus TLS handshake completed: TLSv1.3, TLS_AES_256_GCM_SHA384",
        "1 SSLStatus Client certificate of CN=client-1, O=Test, C=US (OK)",
        "1 Connected 0",
        "1 SessionStarted",
        "1 Disconnected 0"
      ])
      assert.deepStrictEqual(asked, ["connectionRequest 1", "sslClientAuthentication", "sessionRequest 1"])
      assert.deepInclude(shown[0], { connectionId: "1", certIssuer: "CN=Test CA, O=Test, C=US", status: "OK" })
    }).pipe(Effect.provide(brokerLayer({ hooks, settings: { listeners: tls(asking) } })))
  })

  it.live("a failed handshake is Connected with 276 and nothing else, and other connections have other ids", () =>
    Effect.gen(function* () {
      const broker = yield* Broker.Broker
      const events = yield* collect(broker.eventsOf("Connected"), 2)
      const bound = yield* port
      const plain = yield* RawClient.open(bound)
      yield* plain.send(RawClient.connectPacket())
      yield* plain.ended
      yield* connectTls(bound)
      const told = (yield* Fiber.join(events)).map(({ connectionId, statusCode }) => [connectionId, statusCode])
      assert.deepStrictEqual(told, [
        ["1", 276],
        ["2", 0]
      ])
      assert.strictEqual((yield* broker.connections).length, 1)
    }).pipe(Effect.provide(brokerLayer({ settings: { listeners: tls() } })))
  )

  const refusing: ReadonlyArray<readonly [string, Hooks.HooksService["sslClientAuthentication"], boolean]> = [
    ["refuses", () => Effect.succeed(false), false],
    ["fails", () => Effect.fail("backend down"), true],
    ["does not answer in time", () => Effect.never, true]
  ]
  for (const [what, sslClientAuthentication, reported] of refusing) {
    it.live(`an SSLClientAuthentication hook that ${what} refuses${reported ? ", and is reported" : ""}`, () =>
      Effect.gen(function* () {
        const broker = yield* Broker.Broker
        const events = yield* collect(broker.eventsOf("Connected"), 1)
        const errors = yield* collect(broker.eventsOf("Error"), 1)
        const socket = yield* dialTls(yield* port, certificate)
        yield* TestHandler.closed(socket)
        assert.strictEqual((yield* Fiber.join(events))[0]!.statusCode, 280)
        if (reported)
          assert.include((yield* Fiber.join(errors))[0]!.description, "SSLClientAuthentication hook gave no")
        else yield* Fiber.interrupt(errors)
      }).pipe(
        Effect.provide(
          brokerLayer({
            hooks: { sslClientAuthentication },
            settings: { listeners: tls(asking), hookTimeoutSeconds: 1 }
          })
        )
      )
    )
  }

  for (const listening of [false, true]) {
    it.live(
      `the hook is interrupted when its client goes${listening ? ", also while the handshake is told" : ""}`,
      () => {
        const asked = Deferred.makeUnsafe<void>()
        const interrupted = Deferred.makeUnsafe<void>()
        const sslClientAuthentication = () =>
          Effect.andThen(Deferred.succeed(asked, undefined), Effect.never).pipe(
            Effect.onInterrupt(() => Deferred.succeed(interrupted, undefined))
          )
        return Effect.gen(function* () {
          const broker = yield* Broker.Broker
          if (listening)
            yield* Effect.forkScoped(Stream.runDrain(broker.eventsOf("SSLStatus")), { startImmediately: true })
          const failures = yield* collect(broker.eventsOf("Connected"), 1)
          const socket = yield* dialTls(yield* port, certificate)
          yield* Deferred.await(asked)
          socket.destroy()
          yield* Deferred.await(interrupted)
          assert.strictEqual((yield* Fiber.join(failures))[0]!.statusCode, 276)
        }).pipe(
          Effect.provide(
            brokerLayer({
              hooks: { sslClientAuthentication },
              settings: { listeners: tls(asking), hookTimeoutSeconds: 600 }
            })
          )
        )
      }
    )
  }

  it.live("known failure 24: handshakes have a limit and a time of their own", () =>
    Effect.gen(function* () {
      const broker = yield* Broker.Broker
      const bound = yield* port
      const refusals = yield* collect(broker.eventsOf("ConnectionRefused"), 1)
      const failures = yield* collect(broker.eventsOf("Connected"), 2)
      const begun = yield* collect(
        Stream.filter(broker.eventsOf("SSLStatus"), ({ message }) => message.endsWith("begins")),
        2
      )
      const idle = [yield* RawClient.open(bound), yield* RawClient.open(bound)]
      yield* Fiber.join(begun)
      const third = yield* RawClient.open(bound)
      yield* third.ended
      assert.strictEqual((yield* Fiber.join(refusals))[0]!.reason, "handshakes-max")
      for (const each of idle) yield* each.ended
      const codes = (yield* Fiber.join(failures)).map(({ statusCode }) => statusCode)
      assert.deepStrictEqual(codes, [276, 276])
      yield* connectTls(bound)
    }).pipe(
      Effect.provide(brokerLayer({ settings: { handshakesMax: 2, listeners: tls({ handshakeTimeoutSeconds: 1 }) } }))
    )
  )

  it.live("the broker closes at once with handshakes underway", () =>
    Effect.gen(function* () {
      const silent = yield* RawClient.open(yield* port)
      const broker = yield* Broker.Broker
      yield* broker.shutdown
      yield* silent.ended
    }).pipe(Effect.provide(brokerLayer({ settings: { listeners: tls({ handshakeTimeoutSeconds: 3_600 }) } })))
  )

  it.live("closing leaves no handle or timer behind, whatever was underway", () =>
    Effect.gen(function* () {
      const resources = () =>
        process.getActiveResourcesInfo().filter((name) => ["TCPServerWrap", "TCPSocketWrap", "Timeout"].includes(name))
      const settle = Effect.callback<void>((resume) => {
        setImmediate(() => setImmediate(() => resume(Effect.void)))
      })
      const before = resources().length
      yield* Effect.scoped(
        Effect.gen(function* () {
          const listeners: ReadonlyArray<Listener.ListenerOptions> = [
            ...tls({ ...asking, sslKeyLogFile: "/dev/null", transferBytesPerSecondMax: 10, lingerSeconds: 600 }),
            { protocol: 2, port: 0, pingSeconds: 600, proxyProtocolFrom: ["127.0.0.1"] },
            { protocol: 3, port: 0, ...store, pingSeconds: 600 }
          ]
          yield* Effect.gen(function* () {
            const broker = yield* Broker.Broker
            const [tlsPort, proxied, secure] = (yield* broker.listeners).map(({ localPort }) => localPort)
            yield* connectTls(tlsPort!, certificate)
            yield* RawClient.open(tlsPort!)
            yield* RawClient.open(proxied!)
            // Through TLS, and then no upgrade.
            yield* dialTls(secure!)
          }).pipe(Effect.provide(brokerLayer({ settings: { listeners, shutdownTimeoutSeconds: 0 } })))
        })
      )
      yield* settle
      assert.isAtMost(resources().length, before)
    })
  )

  it.live("bytes that do not decrypt end a connection with 284", () =>
    Effect.gen(function* () {
      const broker = yield* Broker.Broker
      const gone = yield* collect(broker.eventsOf("Disconnected"), 1)
      const raw = yield* TestHandler.dial(yield* port)
      yield* Effect.callback<void>((resume) => {
        const socket = Tls.connect({ socket: raw, ca: ca.certPem, servername: "localhost" })
        socket.on("error", () => {})
        socket.once("session", () => resume(Effect.void))
      })
      // An application record of TLS, with nothing in it that anybody encrypted.
      raw.write(Buffer.concat([Buffer.from([0x17, 3, 3, 0, 32]), Buffer.alloc(32)]))
      assert.strictEqual((yield* Fiber.join(gone))[0]!.statusCode, 284)
    }).pipe(Effect.provide(brokerLayer({ settings: { listeners: tls() } })))
  )

  it.live("known failure 25, on WebSocket: a reader that is frozen is bounded, and cut off", () =>
    Effect.gen(function* () {
      const broker = yield* Broker.Broker
      const gone = yield* collect(broker.eventsOf("Disconnected"), 1)
      const subscribed = yield* collect(broker.eventsOf("Subscribed"), 1)
      const socket = new WebSocket(`ws://127.0.0.1:${yield* port}`, ["mqtt"])
      yield* Effect.addFinalizer(() => Effect.sync(() => socket.terminate()))
      socket.on("error", () => {})
      yield* Effect.callback<void>((resume) => {
        socket.once("open", () => resume(Effect.void))
      })
      const wish = { filter: "load", qos: 0, noLocal: false, retainAsPublished: false, retainHandling: 0 } as const
      const subscribe = { _tag: "Subscribe", packetId: 1, subscriptions: [wish], properties: undefined } as const
      const connect = RawClient.connectPacket({ protocolVersion: 4, clientId: "frozen" })
      socket.send(Buffer.concat([Encoder.encode(connect, 4), Encoder.encode(subscribe, 4)]))
      yield* Fiber.join(subscribed)
      socket.pause()
      let held = 0
      for (let index = 0; index < 400; index++) {
        yield* broker.publish({ topic: "load", payload: Buffer.alloc(64 * 1024) })
        yield* Effect.yieldNow
        held = Math.max(held, (yield* broker.connections)[0]?.bufferedBytes ?? 0)
      }
      assert.strictEqual((yield* Fiber.join(gone))[0]!.clientId, "frozen")
      // One message may come on top of the limit.
      assert.isAtMost(held, 256 * 1024 + 65 * 1024)
    }).pipe(
      Effect.provide(
        brokerLayer({
          settings: { listeners: [{ protocol: 2, port: 0 }], outboxBytesMax: 256 * 1024, drainTimeoutSeconds: 1 }
        })
      )
    )
  )

  it.live("a text frame ends a WebSocket connection with 600, as what breaks MQTT does", () =>
    Effect.gen(function* () {
      const broker = yield* Broker.Broker
      const gone = yield* collect(broker.eventsOf("Disconnected"), 1)
      const bound = yield* port
      const code = yield* Effect.callback<number>((resume) => {
        const socket = new WebSocket(`ws://127.0.0.1:${bound}`, ["mqtt"])
        socket.once("open", () => socket.send("hello"))
        socket.once("close", (closeCode) => resume(Effect.succeed(closeCode)))
      })
      assert.strictEqual(code, 1003)
      assert.strictEqual((yield* Fiber.join(gone))[0]!.statusCode, 600)
    }).pipe(Effect.provide(brokerLayer({ settings: { listeners: [{ protocol: 2, port: 0 }] } })))
  )

  it.live("a connection whose PROXY header is wrong is refused with that reason", () =>
    Effect.gen(function* () {
      const broker = yield* Broker.Broker
      const refusals = yield* collect(broker.eventsOf("ConnectionRefused"), 1)
      const bound = yield* port
      const wrong = yield* RawClient.open(bound)
      yield* wrong.send(RawClient.connectPacket())
      yield* wrong.ended
      assert.strictEqual((yield* Fiber.join(refusals))[0]!.reason, "proxy-header")
      const right = yield* RawClient.open(bound, 4)
      right.socket.write("PROXY TCP4 203.0.113.9 192.0.2.1 54321 1883\r\n")
      yield* right.send(RawClient.connectPacket({ protocolVersion: 4 }))
      yield* right.expect("ConnAck")
      assert.deepInclude((yield* broker.connections)[0], { remoteHost: "203.0.113.9", remotePort: 54_321 })
    }).pipe(Effect.provide(brokerLayer({ settings: { listeners: [{ port: 0, proxyProtocolFrom: ["127.0.0.0/8"] }] } })))
  )
})

describe("Broker: listeners with certificates", () => {
  it.live("show the documented fields, and keep the password to themselves", () =>
    Effect.gen(function* () {
      const broker = yield* Broker.Broker
      const [listener] = yield* broker.listeners
      assert.deepInclude(listener, {
        protocol: 1,
        sslAuthenticateClients: true,
        sslCertStoreType: 99,
        sslCertStore: "(given in memory)",
        sslCertSubject: "CN=localhost"
      })
      assert.strictEqual(Redacted.value(listener!.sslCertStorePassword), "test")
      assert.notInclude(JSON.stringify(listener), "test")
      const plain = yield* broker.addListener({ port: 0 })
      assert.deepInclude(plain, { sslAuthenticateClients: false, sslCertStore: "", sslCertStoreType: 0 })
    }).pipe(
      Effect.provide(brokerLayer({ settings: { listeners: tls({ ...asking, sslCertSubject: "CN=localhost" }) } }))
    )
  )

  it.live("a broker whose certificate cannot be used does not start, with the documented code", () =>
    Effect.gen(function* () {
      const failure = (options: object) =>
        Effect.flip(
          Effect.scoped(Effect.provide(Broker.Broker, brokerLayer({ settings: { listeners: tls(options) } })))
        )
      const wrong = yield* failure({ sslCertStorePassword: "wrong" })
      assert.deepStrictEqual([wrong.code, wrong.reason._tag], [273, "CredentialsUnusable"])
      assert.strictEqual((yield* failure({ sslCertStore: "/nowhere.pfx" })).code, 271)
    })
  )

  it.live("certificates are replaced while clients stay; one that is not good changes nothing", () =>
    Effect.gen(function* () {
      const broker = yield* Broker.Broker
      const bound = yield* port
      const first = yield* connectTls(bound)
      const renewed = TestCertificates.issue({ commonName: "renewed", issuer: ca, hostNames: ["127.0.0.1"] })
      assert.strictEqual(
        (yield* Effect.flip(broker.replaceCertificates(bound, { sslCertStore: client.certPem }))).code,
        282
      )
      yield* broker.replaceCertificates(bound, { sslCertStore: renewed.pem })
      const second = yield* dialTls(bound)
      assert.strictEqual(second.getPeerCertificate().subject.CN, "renewed")
      first.write(Buffer.from([0xc0, 0]))
      assert.strictEqual((yield* TestHandler.dataOf(first, 2)).toString("hex"), "d000")
      const nobody = yield* Effect.flip(broker.replaceCertificates(1))
      assert.strictEqual(nobody.reason._tag, "InvalidSetting")
    }).pipe(Effect.provide(brokerLayer({ settings: { listeners: tls() } })))
  )

  it.live(
    "certificates that were replaced stay so where listening starts again, whatever became of the first ones",
    () =>
      Effect.gen(function* () {
        const [gone, renewed] = [files.write("gone.pem", server.pem), { sslCertStore: client.pem }]
        const broker = yield* Broker.Broker
        const { localPort } = yield* broker.addListener({ protocol: 1, port: 0, sslCertStore: gone })
        const shown = Effect.map(dialTls(localPort, { rejectUnauthorized: false }), (socket) =>
          socket.getPeerCertificate()
        )
        yield* broker.replaceCertificates(localPort, renewed)
        // Loaded again, they are those that are in use.
        yield* broker.replaceCertificates(localPort)
        files.remove()
        yield* broker.stopListening
        yield* broker.startListening
        assert.strictEqual((yield* shown).subject.CN, "client-1")
        assert.strictEqual((yield* broker.listeners)[0]?.sslCertStore, "(given in memory)")
      }).pipe(Effect.provide(brokerLayer({ settings: { listeners: [] } })))
  )

  for (const [what, options, words] of [
    ["a protocol that there is not", { protocol: 9 }, "protocol must be 0 (TCP), 1 (TLS)"],
    ["TLS without a certificate", { protocol: 1 }, "a listener with TLS needs sslCertStore"],
    ["a path on TCP", { path: "/mqtt" }, "path"]
  ] as const) {
    it.live(`${what} is refused in words`, () =>
      Effect.gen(function* () {
        const broker = yield* Broker.Broker
        // A program without types may say so.
        const error = yield* Effect.flip(broker.addListener({ port: 0, ...options } as Listener.ListenerOptions))
        assert.strictEqual(error.reason._tag, "InvalidSetting")
        assert.include(error.message, words)
      }).pipe(Effect.provide(brokerLayer({ settings: { listeners: [], listenerDefaults: { noDelay: false } } })))
    )
  }

  it.live("a misspelt field is refused with its name, in new certificates as in a new listener", () =>
    Effect.gen(function* () {
      const broker = yield* Broker.Broker
      // In a variable, as a program without types would give it.
      const certificates = { sslCertStore: server.pem, sslCertStorePasword: "x", sslCACerts: "" }
      for (const error of [
        yield* Effect.flip(broker.addListener({ protocol: 1, port: 0, ...certificates })),
        yield* Effect.flip(broker.replaceCertificates(yield* port, certificates))
      ]) {
        assert.strictEqual(error.reason._tag, "InvalidSetting")
        assert.include(error.message, "sslCertStorePasword")
      }
    }).pipe(Effect.provide(brokerLayer({ settings: { listeners: tls() } })))
  )

  it.live("only the connection whose certificate is being decided about waits", () => {
    const asked = Deferred.makeUnsafe<void>()
    const decision = Deferred.makeUnsafe<boolean>()
    let questions = 0
    const sslClientAuthentication = () =>
      ++questions === 1
        ? Effect.andThen(Deferred.succeed(asked, undefined), Deferred.await(decision))
        : Effect.succeed(true)
    return Effect.gen(function* () {
      const broker = yield* Broker.Broker
      const bound = yield* port
      const waiting = yield* Effect.forkScoped(connectTls(bound, certificate), { startImmediately: true })
      yield* Deferred.await(asked)
      yield* connectTls(bound, certificate)
      assert.strictEqual((yield* broker.connections).length, 1)
      assert.isUndefined(waiting.pollUnsafe())
      yield* Deferred.succeed(decision, true)
      yield* Fiber.join(waiting)
      assert.strictEqual(questions, 2)
    }).pipe(
      Effect.scoped,
      Effect.provide(brokerLayer({ hooks: { sslClientAuthentication }, settings: { listeners: tls(asking) } }))
    )
  })

  it.live("every protocol at once, each with its own address", () =>
    Effect.gen(function* () {
      const broker = yield* Broker.Broker
      const listeners = yield* broker.listeners
      assert.deepStrictEqual(
        listeners.map(({ protocol }) => protocol),
        [0, 1, 2, 3]
      )
      assert.strictEqual(new Set(listeners.map(({ localPort }) => localPort)).size, 4)
    }).pipe(
      Effect.provide(
        brokerLayer({
          settings: { listeners: [{ port: 0 }, ...tls(), { protocol: 2, port: 0 }, { protocol: 3, port: 0, ...store }] }
        })
      )
    )
  )
})
