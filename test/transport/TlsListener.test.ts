import { afterAll, assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Queue from "effect/Queue"
import * as Scope from "effect/Scope"
import { spawnSync } from "node:child_process"
import { existsSync, readFileSync, statSync } from "node:fs"
import * as Tls from "node:tls"
import type * as Listener from "../../src/transport/Listener.ts"
import * as TestCertificates from "./TestCertificates.ts"
import * as TestHandler from "./TestHandler.ts"
import { ca, client, connect, listen, type Options, server, withCertificate } from "./TestTls.ts"

const files = TestCertificates.folder()
afterAll(() => files.remove())

/** The session of a connection, to be resumed by another. */
const sessionWith = (port: number, options: Tls.ConnectionOptions) =>
  Effect.callback<Buffer>((resume) => {
    const socket = Tls.connect({ port, host: "127.0.0.1", ca: ca.certPem, ...options })
    socket.on("error", () => {})
    socket.once("session", (session) => resume(Effect.succeed(session)))
    return Effect.sync(() => socket.destroy())
  })

if (!existsSync("/dev/full")) console.log("skipped: this system has no /dev/full to be a disk that is full")

const peerName = (socket: Tls.TLSSocket) => socket.getPeerCertificate().subject.CN

describe("TlsListener", () => {
  it.live("admits before the handshake, tells how it goes, and hands over paused with what was negotiated", () =>
    Effect.gen(function* () {
      const test = yield* TestHandler.make()
      const listener = yield* listen(test)
      const socket = yield* connect(listener.localPort)
      socket.write("hello")
      const connection = yield* Queue.take(test.connections)
      const tls = connection.tls!
      assert.deepStrictEqual(
        [tls.version, tls.cipherSuite, tls.cipherStrength, tls.keyExchange],
        ["TLSv1.3", "TLS_AES_256_GCM_SHA384", 256, ""]
      )
      assert.deepStrictEqual(test.log, [
        "admit",
        "preparing",
        "TLS handshake begins",
        "TLS handshake completed: TLSv1.3, TLS_AES_256_GCM_SHA384",
        "accepted"
      ])
      assert.deepInclude(connection, { protocol: 1, connectionId: "1" })
      assert.strictEqual(connection.remotePort, socket.localPort)
      assert.strictEqual(test.underway.size, 0)
      const heard = yield* TestHandler.hear(connection)
      assert.strictEqual((yield* Queue.take(heard.bytes)).toString(), "hello")
      const large = Buffer.alloc(5_000_000, "abc")
      connection.write([large.subarray(0, 100), large.subarray(100)])
      connection.end()
      assert.isTrue((yield* TestHandler.dataOf(socket, large.length)).equals(large))
      assert.isUndefined(yield* Queue.take(heard.ends))
      assert.strictEqual(connection.writableLength, 0)
      assert.isAbove(heard.drains.length, 0)
    })
  )

  const misbehaviour: ReadonlyArray<
    readonly [string, (port: number) => Effect.Effect<unknown, unknown, Scope.Scope>, RegExp]
  > = [
    [
      "speaks plain MQTT",
      (port) =>
        Effect.map(TestHandler.dial(port), (socket) =>
          socket.write(Buffer.from("101000044d5154540402003c0000", "hex"))
        ),
      /does not speak TLS/
    ],
    [
      "speaks HTTP",
      (port) => Effect.map(TestHandler.dial(port), (socket) => socket.write("GET / HTTP/1.0\r\n\r\n")),
      /HTTP/
    ],
    ["goes away", (port) => Effect.map(TestHandler.dial(port), (socket) => socket.end()), /went away/],
    ["resets", (port) => Effect.map(TestHandler.dial(port), (socket) => socket.resetAndDestroy()), /went away/],
    ["says nothing", (port) => TestHandler.dial(port), /longer than 1 s for a TLS handshake/],
    [
      "offers an old version only",
      (port) =>
        Effect.ignore(connect(port, { maxVersion: "TLSv1.1", minVersion: "TLSv1.1", ciphers: "DEFAULT:@SECLEVEL=0" })),
      /no enabled TLS version/
    ]
  ]
  for (const [what, act, words] of misbehaviour) {
    it.live(`a client that ${what} is a failure with code 276, and its connection is closed`, () =>
      Effect.gen(function* () {
        const test = yield* TestHandler.make()
        const listener = yield* listen(test, { handshakeTimeoutSeconds: 1 })
        yield* act(listener.localPort)
        const failure = yield* Queue.take(test.failures)
        assert.strictEqual(failure.code, 276)
        assert.match(failure.description, words)
        assert.strictEqual(test.underway.size, 0)
        // And the listener goes on.
        yield* connect(listener.localPort)
      })
    )
  }

  it.live("closing the scope ends connections and handshakes", () =>
    Effect.gen(function* () {
      const test = yield* TestHandler.make()
      const scope = yield* Scope.make()
      const listener = yield* listen(test).pipe(Scope.provide(scope))
      const ready = yield* connect(listener.localPort)
      const silent = yield* TestHandler.dial(listener.localPort)
      yield* Queue.take(test.connections)
      yield* Scope.close(scope, Exit.void)
      yield* TestHandler.closed(ready)
      yield* TestHandler.closed(silent)
      yield* Queue.take(test.failures)
      assert.strictEqual(test.underway.size, 0)
    })
  )

  it.live("whoever there is no room for is closed before the handshake", () =>
    Effect.gen(function* () {
      const test = yield* TestHandler.make({ preparing: () => undefined })
      const listener = yield* listen(test)
      yield* TestHandler.closed(yield* TestHandler.dial(listener.localPort))
      assert.deepStrictEqual(test.log, ["admit"])
    })
  )
})

describe("TlsListener: settings", () => {
  const versions: ReadonlyArray<readonly [number, ReadonlyArray<Tls.SecureVersion>]> = [
    [15_360, ["TLSv1.2", "TLSv1.3"]],
    [3_072, ["TLSv1.2"]],
    [12_288, ["TLSv1.3"]],
    [768 | 12_288, ["TLSv1.1", "TLSv1.3"]],
    [4_032, ["TLSv1", "TLSv1.1", "TLSv1.2"]]
  ]
  for (const [sslEnabledProtocols, enabled] of versions) {
    it.live(`SSLEnabledProtocols ${sslEnabledProtocols} is ${enabled.join(" and ")}, and no other`, () =>
      Effect.gen(function* () {
        const listener = yield* listen(yield* TestHandler.make(), { sslEnabledProtocols })
        for (const version of ["TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"] as const) {
          const only = { minVersion: version, maxVersion: version, ciphers: "DEFAULT:@SECLEVEL=0" }
          const got = yield* connect(listener.localPort, only).pipe(
            Effect.map((socket) => socket.getProtocol()),
            Effect.orElseSucceed(() => "refused")
          )
          assert.strictEqual(got, enabled.includes(version) ? version : "refused")
        }
      })
    )
  }

  it.live("groups and signature algorithms by documented names", () =>
    Effect.gen(function* () {
      const listener = yield* listen(yield* TestHandler.make(), {
        tls12SupportedGroups: "ecdhe_secp384r1",
        tls13SupportedGroups: "ecdhe_secp384r1,ffdhe_3072",
        tls12SignatureAlgorithms: "sha512-rsa",
        tls13SignatureAlgorithms: "rsa_pss_sha512"
      })
      const socket = yield* connect(listener.localPort, { ecdhCurve: "X25519:P-384" })
      assert.deepInclude(socket.getEphemeralKeyInfo(), { name: "secp384r1" })
      assert.match(yield* Effect.flip(connect(listener.localPort, { ecdhCurve: "X25519" })), /HANDSHAKE/)
      assert.match(yield* Effect.flip(connect(listener.localPort, { sigalgs: "rsa_pss_rsae_sha256" })), /HANDSHAKE/)
    })
  )

  const unsupported: ReadonlyArray<readonly [string, Options]> = [
    ["SSLEnabledProtocols", { sslEnabledProtocols: 60 }],
    ["TLS12SupportedGroups", { tls12SupportedGroups: "ecdhe_nothing" }],
    ["sha9-rsa", { tls13SignatureAlgorithms: "sha9-rsa" }],
    ["SSLEnabledCipherSuites", { sslEnabledCipherSuites: " ;, " }],
    ["SSLKeyLogFile", { sslKeyLogFile: "/nowhere/at/all" }]
  ]
  for (const [words, options] of unsupported) {
    it.live(`what OpenSSL does not have is 270 and names it: ${words}`, () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(listen(yield* TestHandler.make(), options))
        assert.strictEqual(error.code, 270)
        assert.include(error.message, words)
      })
    )
  }

  it.live("SSLKeyLogFile gets the secrets of each connection, readable by its owner only", () =>
    Effect.gen(function* () {
      const sslKeyLogFile = files.path("keys.log")
      for (const _ of [1, 2]) {
        yield* Effect.scoped(
          Effect.gen(function* () {
            const test = yield* TestHandler.make()
            const listener = yield* listen(test, { sslKeyLogFile })
            yield* connect(listener.localPort)
            yield* Queue.take(test.connections)
          })
        )
      }
      assert.strictEqual(readFileSync(sslKeyLogFile, "utf8").match(/^CLIENT_TRAFFIC_SECRET_0 /gm)?.length, 2)
      assert.strictEqual(statSync(sslKeyLogFile).mode & 0o777, 0o600)
    })
  )

  it.live.skipIf(!existsSync("/dev/full"))(
    "an SSLKeyLogFile on a full disk is told once, and the listener goes on",
    () =>
      Effect.gen(function* () {
        const told: Array<readonly [number, string]> = []
        const test = yield* TestHandler.make({ tlsImpaired: (...fault) => told.push(fault) })
        const listener = yield* listen(test, { sslKeyLogFile: "/dev/full" })
        for (let count = 0; count < 3; count++) {
          yield* connect(listener.localPort)
          yield* Queue.take(test.connections)
        }
        assert.deepStrictEqual(
          told.map(([code]) => code),
          [270]
        )
        assert.match(told[0]![1], /^SSLKeyLogFile is not written to any more: ENOSPC/)
      })
  )

  it.live("an SSLKeyLogFile that is a pipe without a reader is 270, and nobody waits for one", () =>
    Effect.gen(function* () {
      const sslKeyLogFile = files.path("pipe")
      assert.strictEqual(spawnSync("mkfifo", [sslKeyLogFile]).status, 0)
      const error = yield* Effect.flip(listen(yield* TestHandler.make(), { sslKeyLogFile }))
      assert.strictEqual(error.code, 270)
      assert.include(error.message, "ENXIO")
    })
  )

  for (const [reuseSSLSession, version] of [
    [true, "TLSv1.2"],
    [false, "TLSv1.2"],
    [true, "TLSv1.3"],
    [false, "TLSv1.3"]
  ] as const) {
    it.live(
      `ReuseSSLSession ${reuseSSLSession}: a client on ${version} ${reuseSSLSession ? "may" : "may not"} resume`,
      () =>
        Effect.gen(function* () {
          const listener = yield* listen(yield* TestHandler.make(), { reuseSSLSession })
          const only = { minVersion: version, maxVersion: version }
          const session = yield* sessionWith(listener.localPort, only)
          const second = yield* connect(listener.localPort, { ...only, session })
          assert.strictEqual(second.isSessionReused(), reuseSSLSession)
        })
    )
  }

  for (const [sslEnableRenegotiation, expected] of [
    [false, "ERR_SSL_NO_RENEGOTIATION"],
    [true, undefined]
  ] as const) {
    it.live(
      `SSLEnableRenegotiation ${sslEnableRenegotiation}: a client ${expected ? "cannot" : "can"} renegotiate`,
      () =>
        Effect.gen(function* () {
          const test = yield* TestHandler.make()
          const listener = yield* listen(test, { sslEnableRenegotiation })
          const socket = yield* connect(listener.localPort, { maxVersion: "TLSv1.2" })
          const connection = yield* Queue.take(test.connections)
          const heard = yield* TestHandler.hear(connection)
          const code = yield* Effect.callback<string | undefined>((resume) => {
            socket.once("error", (error: NodeJS.ErrnoException) => resume(Effect.succeed(error.code)))
            socket.renegotiate({}, (error) => {
              if (error === null) resume(Effect.succeed(undefined))
            })
          })
          assert.strictEqual(code, expected)
          if (expected !== undefined) return
          socket.write("after")
          assert.strictEqual((yield* Queue.take(heard.bytes)).toString(), "after")
        })
    )
  }
})

describe("TlsListener: certificates", () => {
  const second = TestCertificates.issue({
    commonName: "second",
    issuer: ca,
    hostNames: ["second.example", "*.wild.example"]
  })
  const named = TestCertificates.issue({ commonName: "named", issuer: ca, hostNames: ["elsewhere.example"] })
  const sniCertificates = [
    { sslCertStore: second.pem },
    { sslCertStore: TestCertificates.pfx([named], "pw"), sslCertStorePassword: "pw", hostNames: ["given.example"] }
  ]
  const nameFor = (port: number, servername: string) =>
    Effect.map(connect(port, { servername, checkServerIdentity: () => undefined }), peerName)

  it.live("each host name gets its certificate, others the first", () =>
    Effect.gen(function* () {
      const { localPort } = yield* listen(yield* TestHandler.make(), { sniCertificates })
      for (const [host, expected] of [
        ["second.example", "second"],
        ["SECOND.example", "second"],
        ["a.wild.example", "second"],
        ["given.example", "named"],
        ["elsewhere.example", "localhost"],
        ["other.example", "localhost"]
      ] as const) {
        assert.strictEqual(yield* nameFor(localPort, host), expected)
      }
    })
  )

  it.live("a client that knows only the root is led there by SSLCACerts, or by what else is in the store", () =>
    Effect.gen(function* () {
      const middle = TestCertificates.issue({ commonName: "Middle CA", authority: true, issuer: ca, keyName: "middle" })
      const leaf = TestCertificates.issue({ commonName: "leaf", issuer: middle, hostNames: ["127.0.0.1"] })
      for (const options of [
        { sslCertStore: leaf.pem, sslCACerts: middle.certPem },
        { sslCertStore: `${leaf.pem}${middle.certPem}` },
        { sslCertStore: TestCertificates.pfx([leaf], "pw", [middle]), sslCertStorePassword: "pw" }
      ]) {
        const { localPort } = yield* listen(yield* TestHandler.make(), options)
        const socket = yield* connect(localPort)
        assert.deepStrictEqual([socket.authorized, peerName(socket)], [true, "leaf"])
      }
      const alone = yield* listen(yield* TestHandler.make(), { sslCertStore: leaf.pem })
      assert.strictEqual(yield* Effect.flip(connect(alone.localPort)), "UNABLE_TO_VERIFY_LEAF_SIGNATURE")
    })
  )

  it.live("are replaced while connections stay, with and without SNI, and only when all are good", () =>
    Effect.gen(function* () {
      const test = yield* TestHandler.make()
      const listener = yield* listen(test, { sniCertificates })
      const old = yield* connect(listener.localPort)
      const connection = yield* Queue.take(test.connections)
      const renewed = TestCertificates.issue({
        commonName: "renewed",
        issuer: ca,
        hostNames: ["localhost", "127.0.0.1"]
      })
      const renewedSecond = TestCertificates.issue({
        commonName: "renewed second",
        issuer: ca,
        hostNames: ["second.example"]
      })
      const expired = TestCertificates.issue({ commonName: "expired", issuer: ca, from: -9, to: -2 })
      const replace = (options: Listener.CertificatesOptions) => TestHandler.replace(listener, options)
      const bad = { sslCertStore: renewed.pem, sniCertificates: [{ sslCertStore: expired.pem }] }
      assert.strictEqual((yield* Effect.flip(replace(bad))).code, 280)
      assert.strictEqual(yield* nameFor(listener.localPort, ""), "localhost")
      yield* replace({ sslCertStore: renewed.pem, sniCertificates: [{ sslCertStore: renewedSecond.pem }] })
      assert.strictEqual(yield* nameFor(listener.localPort, ""), "renewed")
      assert.strictEqual(yield* nameFor(listener.localPort, "second.example"), "renewed second")
      connection.write([Buffer.from("still here")])
      assert.strictEqual((yield* TestHandler.dataOf(old, 10)).toString(), "still here")
    })
  )

  it.live("known failure 46: a file that was renewed is loaded again on demand", () =>
    Effect.gen(function* () {
      const store = files.write("renew.pem", server.pem)
      const listener = yield* listen(yield* TestHandler.make(), { sslCertStore: store })
      const renewed = TestCertificates.issue({ commonName: "renewed", issuer: ca, hostNames: ["127.0.0.1"] })
      files.write("renew.pem", renewed.pem)
      yield* TestHandler.replace(listener)
      assert.strictEqual(peerName(yield* connect(listener.localPort)), "renewed")
      assert.strictEqual(listener.certificate!.sslCertStore, store)
    })
  )

  it.live("a certificate that cannot be used fails before the address is bound", () =>
    Effect.gen(function* () {
      const taken = yield* listen(yield* TestHandler.make())
      const again = { port: taken.localPort, sslCertStore: "/nowhere.pem" }
      assert.strictEqual((yield* Effect.flip(listen(yield* TestHandler.make(), again))).code, 271)
    })
  )
})

describe("TlsListener: client certificates", () => {
  const asking: Options = { sslAuthenticateClients: true, sslClientCACerts: ca.certPem }

  it.live("one that a known authority issued is accepted, its fields shown", () =>
    Effect.gen(function* () {
      const test = yield* TestHandler.make()
      const listener = yield* listen(test, asking)
      yield* connect(listener.localPort, withCertificate(client))
      yield* Queue.take(test.connections)
      const [shown] = test.certificates
      assert.deepInclude(shown, {
        connectionId: "1",
        certSubject: "CN=client-1, O=Test, C=US",
        certIssuer: "CN=Test CA, O=Test, C=US",
        status: "OK",
        accept: true
      })
      const body = client.certPem.replaceAll(/-----.*-----|\s/g, "")
      assert.strictEqual(shown!.certEncoded, body)
      assert.strictEqual(Buffer.from(shown!.certEncodedB).toString("base64"), body)
    })
  )

  const stranger = TestCertificates.issue({ commonName: "stranger", keyName: "client" })
  const expired = TestCertificates.issue({ commonName: "expired", issuer: ca, keyName: "client", from: -9, to: -2 })
  const refusals: ReadonlyArray<readonly [string, Tls.ConnectionOptions, Options, 280 | 281, RegExp]> = [
    ["none", {}, {}, 281, /presented none/],
    ["one of an unknown issuer", withCertificate(stranger), {}, 280, /DEPTH_ZERO_SELF_SIGNED_CERT/],
    ["an expired one", withCertificate(expired), {}, 280, /CERT_HAS_EXPIRED/],
    [
      "one, where no authority is known",
      withCertificate(client),
      { sslClientCACerts: "" },
      280,
      /SELF_SIGNED_CERT_IN_CHAIN/
    ]
  ]
  for (const [what, certificate, options, code, words] of refusals) {
    it.live(`${what}: refused with ${code}, and the connection is closed`, () =>
      Effect.gen(function* () {
        const test = yield* TestHandler.make()
        const listener = yield* listen(test, { ...asking, ...options })
        const socket = yield* connect(listener.localPort, certificate)
        const failure = yield* Queue.take(test.failures)
        assert.strictEqual(failure.code, code)
        assert.match(failure.description, words)
        yield* TestHandler.closed(socket)
        assert.notInclude(test.log, "accepted")
      })
    )
  }

  it.live("who decides may accept what could not be verified, and may take longer than a handshake", () =>
    Effect.gen(function* () {
      const decisions = yield* Queue.unbounded<(accepted: boolean) => void>()
      const test = yield* TestHandler.make({
        authenticate: (_certificate, decide) => {
          Queue.offerUnsafe(decisions, decide)
          return undefined
        }
      })
      const listener = yield* listen(test, { ...asking, handshakeTimeoutSeconds: 1 })
      yield* connect(listener.localPort, withCertificate(stranger))
      const decide = yield* Queue.take(decisions)
      // Somebody else runs into the time limit meanwhile.
      yield* TestHandler.dial(listener.localPort)
      yield* Queue.take(test.failures)
      decide(true)
      yield* Queue.take(test.connections)
    })
  )

  it.live("a revoked certificate is refused, and others of its authority are not", () =>
    Effect.gen(function* () {
      const sslClientCRLs = TestCertificates.revocations(files, ca, client)
      if (sslClientCRLs === undefined) return
      const test = yield* TestHandler.make()
      const listener = yield* listen(test, { ...asking, sslClientCRLs })
      yield* Effect.ignore(connect(listener.localPort, withCertificate(client)))
      assert.deepInclude(yield* Queue.take(test.failures), { code: 280 })
      assert.match(test.certificates[0]!.status, /CERT_REVOKED/)
      const other = TestCertificates.issue({ commonName: "client-2", issuer: ca, keyName: "client" })
      yield* connect(listener.localPort, withCertificate(other))
      yield* Queue.take(test.connections)
    })
  )

  for (const version of ["TLSv1.2", "TLSv1.3"] as const) {
    it.live(
      `one that is revoked while the listener runs is refused, also in a session that began before (${version})`,
      () =>
        Effect.gen(function* () {
          const none = TestCertificates.revocations(files, ca)
          const some = TestCertificates.revocations(files, ca, client)
          if (none === undefined || some === undefined) return
          const test = yield* TestHandler.make()
          const listener = yield* listen(test, { ...asking, sslClientCRLs: none })
          const only = { ...withCertificate(client), minVersion: version, maxVersion: version }
          const session = yield* sessionWith(listener.localPort, only)
          yield* Queue.take(test.connections)
          yield* connect(listener.localPort, { ...only, session })
          yield* Queue.take(test.connections)
          const sslClientCACerts = ca.certPem
          yield* TestHandler.replace(listener, { sslCertStore: server.pem, sslClientCACerts, sslClientCRLs: some })
          yield* Effect.ignore(connect(listener.localPort, { ...only, session }))
          assert.match((yield* Queue.take(test.failures)).description, /CERT_REVOKED/)
        })
    )
  }
})
