/**
 * Certificates that are replaced while a broker runs: where, what of them stays, and which of two replacements.
 */
import { afterAll, assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Http from "node:http"
import type { AddressInfo } from "node:net"
import * as Broker from "../../src/broker/Broker.ts"
import type * as Listener from "../../src/transport/Listener.ts"
import * as TestCertificates from "../transport/TestCertificates.ts"
import { ca, client, connect, server, withCertificate } from "../transport/TestTls.ts"
import { brokerLayer, collect, port } from "./support.ts"

const files = TestCertificates.folder()
afterAll(() => files.remove())

const renewed = TestCertificates.issue({ commonName: "renewed", issuer: ca, hostNames: ["127.0.0.1"] })

const tls = (options: object = {}): Listener.ListenerOptions => ({
  protocol: 1,
  port: 0,
  sslCertStore: server.pem,
  ...options
})

/** Whose certificate is shown there. */
const shown = (bound: number, host = "127.0.0.1") =>
  Effect.map(
    connect(bound, { host, checkServerIdentity: () => undefined }),
    (socket) => socket.getPeerCertificate().subject.CN
  )

describe("replaceCertificates: where", () => {
  /** TLS on one port of two addresses. */
  const both = Effect.gen(function* () {
    const broker = yield* Broker.Broker
    const { localPort } = yield* broker.addListener(tls())
    yield* broker.addListener(tls({ host: "127.0.0.2", port: localPort }))
    const names = Effect.all([shown(localPort), shown(localPort, "127.0.0.2")])
    return { broker, localPort, names }
  })
  const none = brokerLayer({ settings: { listeners: [] } })

  it.live("every listener with TLS on the port, at whatever address", () =>
    Effect.gen(function* () {
      const { broker, localPort, names } = yield* both
      assert.deepStrictEqual(yield* names, ["localhost", "localhost"])
      yield* broker.replaceCertificates(localPort, { sslCertStore: renewed.pem })
      assert.deepStrictEqual(yield* names, ["renewed", "renewed"])
    }).pipe(Effect.provide(none))
  )

  it.live("only that of an address, if one is given", () =>
    Effect.gen(function* () {
      const { broker, localPort, names } = yield* both
      yield* broker.replaceCertificates(localPort, { sslCertStore: renewed.pem }, "127.0.0.2")
      assert.deepStrictEqual(yield* names, ["localhost", "renewed"])
      const nobody = yield* Effect.flip(broker.replaceCertificates(localPort, {}, "127.0.0.3"))
      assert.match(nobody.message, /no listener with TLS on 127\.0\.0\.3, port \d+,/)
    }).pipe(Effect.provide(none))
  )

  it.live("none of them when they are not good for one", () =>
    Effect.gen(function* () {
      const broker = yield* Broker.Broker
      const first = yield* broker.addListener(tls())
      // The key that this one keeps is of another certificate.
      yield* broker.addListener(
        tls({ host: "127.0.0.2", port: first.localPort, sslCertStore: client.certPem, sslCertKey: client.keyPem })
      )
      const names = Effect.all([shown(first.localPort), shown(first.localPort, "127.0.0.2")])
      const error = yield* Effect.flip(broker.replaceCertificates(first.localPort, { sslCertKey: server.keyPem }))
      assert.strictEqual(error.reason._tag, "CredentialsUnusable")
      yield* Effect.flip(broker.replaceCertificates(first.localPort, { sslClientCRLs: "/nowhere.pem" }))
      assert.deepStrictEqual(yield* names, ["localhost", "client-1"])
      // Nor does the one that could have it remember it.
      yield* broker.stopListening
      yield* broker.startListening
      assert.deepStrictEqual(yield* names, ["localhost", "client-1"])
    }).pipe(Effect.provide(none))
  )
})

describe("replaceCertificates: what stays", () => {
  const crl = TestCertificates.revocations(files, ca, client)
  const asking = { sslAuthenticateClients: true, sslClientCACerts: ca.certPem }
  const other = TestCertificates.issue({ commonName: "client-2", issuer: ca, keyName: "client" })

  /** What the broker shows, and what becomes of a client with that certificate. */
  const outcome = Effect.fnUntraced(function* (certificate: TestCertificates.Issued) {
    const broker = yield* Broker.Broker
    const connected = yield* collect(broker.eventsOf("Connected"), 1)
    // In TLS 1.3 it is connected before its certificate is looked at.
    const socket = yield* connect(yield* port, withCertificate(certificate))
    const { CN } = socket.getPeerCertificate().subject
    return `${CN} ${(yield* Fiber.join(connected))[0]!.statusCode}`
  })
  const outcomes = Effect.all([outcome(other), outcome(client)])

  const places: ReadonlyArray<readonly [string, Parameters<typeof brokerLayer>[0]]> = [
    ["the listener's own", { settings: { listeners: [tls({ ...asking, sslClientCRLs: crl ?? "" })] } }],
    [
      "those of every listener",
      { settings: { listeners: [tls()], listenerDefaults: { ...asking, sslClientCRLs: crl ?? "" } } }
    ]
  ]
  for (const [whose, options] of places) {
    it.live.skipIf(crl === undefined)(`authorities and revocation lists that are left out (${whose})`, () =>
      Effect.gen(function* () {
        const broker = yield* Broker.Broker
        const bound = yield* port
        assert.deepStrictEqual(yield* outcomes, ["localhost 0", "localhost 280"])
        yield* broker.replaceCertificates(bound, { sslCertStore: renewed.pem })
        assert.deepStrictEqual(yield* outcomes, ["renewed 0", "renewed 280"])
        yield* broker.replaceCertificates(bound, { sslCertStore: renewed.pem, sslClientCACerts: ca.certPem })
        assert.deepStrictEqual(yield* outcomes, ["renewed 0", "renewed 280"])
        // Also where it listens anew.
        yield* broker.stopListening
        yield* broker.startListening
        assert.deepStrictEqual(yield* outcomes, ["renewed 0", "renewed 280"])
        yield* broker.replaceCertificates(bound, { sslClientCRLs: "" })
        assert.deepStrictEqual(yield* outcomes, ["renewed 0", "renewed 0"])
        yield* broker.replaceCertificates(bound, { sslClientCACerts: "" })
        assert.deepStrictEqual(yield* outcomes, ["renewed 280", "renewed 280"])
      }).pipe(Effect.provide(brokerLayer(options)))
    )
  }

  it.live("a password alone is for the store that there is; a new store comes with its own", () =>
    Effect.gen(function* () {
      const broker = yield* Broker.Broker
      const bound = yield* port
      files.write("server.pfx", TestCertificates.pfx([renewed], "another"))
      yield* broker.replaceCertificates(bound, { sslCertStorePassword: "another" })
      assert.strictEqual(yield* shown(bound), "renewed")
      yield* broker.replaceCertificates(bound, { sslCertStore: server.pem })
      assert.strictEqual(yield* shown(bound), "localhost")
    }).pipe(
      Effect.provide(
        brokerLayer({
          settings: {
            listeners: [
              tls({
                sslCertStoreType: 2,
                sslCertStore: files.write("server.pfx", TestCertificates.pfx([server], "test")),
                sslCertStorePassword: "test"
              })
            ]
          }
        })
      )
    )
  )
})

describe("replaceCertificates: at the same time", () => {
  it.live("the last one that was asked for is left, however long another takes", () =>
    Effect.gen(function* () {
      const broker = yield* Broker.Broker
      const bound = yield* port
      const asked = yield* Deferred.make<Http.ServerResponse>()
      const responder = yield* Effect.acquireRelease(
        Effect.callback<Http.Server>((resume) => {
          const made = Http.createServer((_, response) => void Deferred.doneUnsafe(asked, Effect.succeed(response)))
          made.listen(0, "127.0.0.1", () => resume(Effect.succeed(made)))
        }),
        (running) =>
          Effect.sync(() => {
            running.close()
            running.closeAllConnections()
          })
      )
      const { port: at } = responder.address() as AddressInfo // it listens on TCP
      const slow = TestCertificates.issue({ commonName: "slow", issuer: ca, responder: `http://127.0.0.1:${at}/` })
      const first = yield* Effect.forkChild(broker.replaceCertificates(bound, { sslCertStore: slow.pem + ca.certPem }))
      const response = yield* Deferred.await(asked)
      const second = yield* Effect.forkChild(broker.replaceCertificates(bound, { sslCertStore: renewed.pem }), {
        startImmediately: true
      })
      response.writeHead(500).end()
      yield* Fiber.joinAll([first, second])
      assert.strictEqual(yield* shown(bound), "renewed")
    }).pipe(Effect.provide(brokerLayer({ settings: { listeners: [tls({ sslCheckOCSP: 1 })] } })))
  )
})
