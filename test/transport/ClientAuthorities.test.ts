import { afterAll, assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as TestCertificates from "./TestCertificates.ts"
import * as TestHandler from "./TestHandler.ts"
import { ca, client, connect, listen, type Options, server, withCertificate } from "./TestTls.ts"

const files = TestCertificates.folder()
afterAll(() => files.remove())

const asking: Options = { sslAuthenticateClients: true, sslClientCACerts: ca.certPem }

const otherCa = TestCertificates.authority("Other CA", "other authority")
const other = TestCertificates.issue({ commonName: "client-2", issuer: otherCa, keyName: "client" })
const stranger = TestCertificates.issue({ commonName: "stranger", keyName: "client" })

const both = `${ca.certPem}${otherCa.certPem}`

describe("SSLClientCACerts and SSLClientCRLs", () => {
  const damaged = (pem: string): string => pem.replace(/\n.{20}/, "\n")
  const emptyList = "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"
  const unusable: ReadonlyArray<readonly [string, Options, string, RegExp]> = [
    ["a damaged authority", { sslClientCACerts: damaged(ca.certPem) }, "sslClientCACerts", /damaged/],
    [
      "a damaged second one",
      { sslClientCACerts: ca.certPem + damaged(otherCa.certPem) },
      "sslClientCACerts",
      /damaged/
    ],
    ["a second one that is cut off", { sslClientCACerts: both.slice(0, -100) }, "sslClientCACerts", /cut off/],
    ["a list for an authority", { sslClientCACerts: emptyList }, "sslClientCACerts", /lists are for sslClientCRLs/],
    ["something else for an authority", { sslClientCACerts: server.keyPem }, "sslClientCACerts", /no certificate/],
    ["a list in SSLCACerts", { sslCACerts: emptyList }, "sslCACerts", /no certificate/],
    ["a damaged list", { sslClientCRLs: emptyList }, "sslClientCRLs", /revocation list in it is damaged/],
    ["a certificate for a list", { sslClientCRLs: ca.certPem }, "sslClientCRLs", /no revocation list/],
    ["a list that is cut off", { sslClientCRLs: emptyList.slice(0, -10) }, "sslClientCRLs", /cut off/]
  ]
  for (const [what, options, store, words] of unusable) {
    it.live(`${what} is 271 with the setting's name, before the address is bound`, () =>
      Effect.gen(function* () {
        const taken = yield* listen(yield* TestHandler.make())
        const bad = { ...asking, ...options, port: taken.localPort }
        const error = yield* Effect.flip(listen(yield* TestHandler.make(), bad))
        assert.deepInclude(error, { _tag: "CertificateStoreUnavailable", code: 271, store })
        assert.match(error.message, words)
      })
    )
  }

  it.live("every authority and every list of a text counts", () =>
    Effect.gen(function* () {
      const lists = [TestCertificates.revocations(files, ca), TestCertificates.revocations(files, otherCa, other)]
      if (lists.includes(undefined)) return
      const test = yield* TestHandler.make()
      const listener = yield* listen(test, { ...asking, sslClientCACerts: both })
      for (const known of [client, other]) {
        yield* connect(listener.localPort, withCertificate(known))
        yield* Queue.take(test.connections)
      }
      for (const sslClientCRLs of [lists.join(""), files.write("both.crl", lists.toReversed().join("text\n"))]) {
        yield* TestHandler.replace(listener, { sslCertStore: server.pem, sslClientCACerts: both, sslClientCRLs })
        yield* connect(listener.localPort, withCertificate(client))
        yield* Queue.take(test.connections)
        yield* Effect.ignore(connect(listener.localPort, withCertificate(other)))
        assert.match((yield* Queue.take(test.failures)).description, /CERT_REVOKED/)
      }
    })
  )

  it.live("clients that ask for another host name are asked for a certificate as well", () =>
    Effect.gen(function* () {
      const second = TestCertificates.issue({ commonName: "second", issuer: ca, hostNames: ["second.example"] })
      const test = yield* TestHandler.make()
      const listener = yield* listen(test, { ...asking, sniCertificates: [{ sslCertStore: second.pem }] })
      const servername = "second.example"
      const socket = yield* connect(listener.localPort, { ...withCertificate(client), servername })
      assert.strictEqual(socket.getPeerCertificate().subject.CN, "second")
      yield* Queue.take(test.connections)
      assert.strictEqual(test.certificates[0]!.status, "OK")
      for (const [options, code] of [
        [withCertificate(stranger), 280],
        [{}, 281]
      ] as const) {
        yield* Effect.ignore(connect(listener.localPort, { ...options, servername }))
        assert.strictEqual((yield* Queue.take(test.failures)).code, code)
      }
    })
  )
})
