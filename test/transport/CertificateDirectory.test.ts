/**
 * Authorities from a directory: whom a listener believes then, and what is wrong with a directory that it refuses.
 */
import { afterAll, assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import { mkdirSync, symlinkSync } from "node:fs"
import * as TestCertificates from "./TestCertificates.ts"
import * as TestHandler from "./TestHandler.ts"
import { ca, client, connect, listen, server, withCertificate } from "./TestTls.ts"

const files = TestCertificates.folder()
afterAll(() => files.remove())

const asking = { sslAuthenticateClients: true, sslClientCACerts: ca.certPem }

/** A directory with these files. */
const directoryOf = (name: string, contents: Readonly<Record<string, string>>): string => {
  mkdirSync(files.path(name))
  for (const [file, content] of Object.entries(contents)) files.write(`${name}/${file}`, content)
  return files.path(name)
}

describe("OpenSSLCADir", () => {
  it.live("authorities from a directory count beside those of the file, also when they are loaded again", () =>
    Effect.gen(function* () {
      const [second, third] = [
        TestCertificates.authority("Second CA", "second"),
        TestCertificates.authority("Third CA", "third")
      ]
      const issued = (issuer: TestCertificates.Issued) =>
        withCertificate(TestCertificates.issue({ commonName: "c", issuer, keyName: "client" }))
      const sslClientCADir = directoryOf("authorities", { "0.pem": `A comment.\n${second.certPem}` })
      symlinkSync("0.pem", `${sslClientCADir}/9d66eef0.0`)
      mkdirSync(`${sslClientCADir}/more`)
      const test = yield* TestHandler.make()
      const listener = yield* listen(test, { ...asking, sslClientCADir })
      const accepted = Effect.fnUntraced(function* (issuer: TestCertificates.Issued, port = listener.localPort) {
        yield* connect(port, issued(issuer))
        yield* Queue.take(test.connections)
        assert.strictEqual(test.certificates.at(-1)!.status, "OK")
      })
      yield* accepted(ca)
      yield* accepted(second)
      yield* connect(listener.localPort, issued(third))
      assert.strictEqual((yield* Queue.take(test.failures)).code, 280)
      files.write("authorities/third.crt", third.certPem)
      yield* TestHandler.replace(listener)
      yield* accepted(third)
      const only = yield* listen(test, { ...asking, sslClientCACerts: "", sslClientCADir })
      yield* accepted(second, only.localPort)
    })
  )

  const damaged = ca.certPem.replace(/\n.{20}/, "\n")
  const unusable: ReadonlyArray<readonly [string, Readonly<Record<string, string>>, string, RegExp]> = [
    ["a file that is no PEM", { "a.pem": ca.certPem, "b.txt": "hello" }, "/b.txt", /no certificate in PEM form/],
    ["a damaged certificate", { "a.pem": damaged }, "/a.pem", /damaged/],
    [
      "a revocation list",
      { "a.r0": "-----BEGIN X509 CRL-----\nAA==\n-----END X509 CRL-----\n" },
      "/a.r0",
      /sslClientCRLs/
    ],
    ["no file", {}, "", /no file in it/],
    [
      "too many files",
      Object.fromEntries(Array.from({ length: 2_001 }, (_, at) => [`${at}.pem`, ""])),
      "",
      /more than 2000 files/
    ],
    [
      "too much",
      { "a.pem": ca.certPem.padEnd(9 * 1024 * 1024), "b.pem": ca.certPem.padEnd(9 * 1024 * 1024) },
      "",
      /or 16 MiB/
    ]
  ]
  for (const [what, contents, file, words] of unusable) {
    it.live(`a directory of authorities with ${what} is 271 with its path, before the address is bound`, () =>
      Effect.gen(function* () {
        const sslClientCADir = directoryOf(`directory of ${what}`, contents)
        const taken = yield* listen(yield* TestHandler.make())
        const options = { ...asking, sslClientCADir, port: taken.localPort }
        const error = yield* Effect.flip(listen(yield* TestHandler.make(), options))
        assert.deepInclude(error, { _tag: "CertificateStoreUnavailable", code: 271, store: `${sslClientCADir}${file}` })
        assert.match(error.message, words)
      })
    )
  }

  it.live("a directory of authorities that cannot be read is 271, and replaced by it nothing changes", () =>
    Effect.gen(function* () {
      const test = yield* TestHandler.make()
      const listener = yield* listen(test, asking)
      for (const sslClientCADir of [files.path("nowhere"), files.write("plain.pem", ca.certPem)]) {
        const replacement = { sslCertStore: server.pem, sslClientCADir }
        const error = yield* Effect.flip(TestHandler.replace(listener, replacement))
        assert.deepInclude(error, { code: 271, store: sslClientCADir })
        assert.match(error.message, /ENOENT|ENOTDIR/)
      }
      yield* connect(listener.localPort, withCertificate(client))
      yield* Queue.take(test.connections)
    })
  )
})
