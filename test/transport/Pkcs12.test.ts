import { afterAll, assert, describe, it } from "@effect/vitest"
import Forge from "node-forge"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { X509Certificate } from "node:crypto"
import { readFileSync } from "node:fs"
import * as Certificate from "../../src/transport/Certificate.ts"
import * as ListenerConfig from "../../src/transport/ListenerConfig.ts"
import * as TestCertificates from "./TestCertificates.ts"
import * as Der from "./TestDer.ts"

const files = TestCertificates.folder()
afterAll(() => files.remove())

const { ca, server } = TestCertificates.standard()

const load = (sslCertStore: string | Uint8Array, sslCertStorePassword: string) =>
  Certificate.load(Schema.decodeUnknownSync(ListenerConfig.CertificateConfig)({ sslCertStore, sslCertStorePassword }))

/** Whether openssl has done all of it. */
const did = (commands: ReadonlyArray<ReadonlyArray<string>>): boolean =>
  commands.every((command) => files.openssl(...command) !== undefined)

/** Makes a PFX of a pair in the folder; undefined: this openssl cannot. */
const exported = (pair: string, password: string, options: ReadonlyArray<string> = []): string | undefined => {
  const out = ["-out", `${pair}.pfx`, "-passout", `pass:${password}`]
  return did([["pkcs12", "-export", ...options, "-inkey", `${pair}.key`, "-in", `${pair}.crt`, ...out]])
    ? files.path(`${pair}.pfx`)
    : undefined
}

files.write("server.key", server.keyPem)
files.write("server.crt", server.certPem)
const hasOpenssl = files.openssl("version") !== undefined
if (!hasOpenssl) console.log("skipped: there is no openssl on the PATH to make PFX stores with")

describe.skipIf(!hasOpenssl)("Pkcs12: stores of openssl", () => {
  const triple = ["-keypbe", "PBE-SHA1-3DES", "-certpbe", "PBE-SHA1-3DES", "-macalg", "sha1"]
  const variants: ReadonlyArray<readonly [string, string, ReadonlyArray<string>?]> = [
    ["a password with an umlaut", "pässword"],
    ["a Cyrillic password", "пароль"],
    ["a password beyond the first plane", "💥"],
    ["a password with an umlaut, triple DES", "pässword", triple],
    ["a password beyond the first plane, triple DES", "💥", triple],
    ["no password", ""],
    ["no password, triple DES", "", triple],
    ["a Camellia key", "pw", ["-keypbe", "CAMELLIA-256-CBC"]],
    ["ARIA", "pw", ["-keypbe", "aria-256-cbc", "-certpbe", "aria-256-cbc"]],
    ["AES of two sizes", "pw", ["-keypbe", "AES-128-CBC", "-certpbe", "AES-192-CBC"]],
    ["a MAC with SHA-224", "pw", ["-macalg", "sha224"]],
    ["a MAC with SHA-3", "pw", ["-macalg", "sha3-256"]],
    ["no MAC", "pw", ["-nomac"]],
    ["nothing encrypted", "pw", ["-keypbe", "NONE", "-certpbe", "NONE"]],
    ["its certificate without a MAC and encryption", "pw", ["-certpbe", "NONE", "-nomac"]]
  ]
  for (const [what, password, options] of variants) {
    it.effect(`one with ${what} is opened`, () =>
      Effect.gen(function* () {
        const store = exported("server", password, options)
        assert.isDefined(store)
        const { certificate } = yield* load(store!, password)
        assert.strictEqual(certificate.fingerprint256, new X509Certificate(server.certPem).fingerprint256)
      })
    )
  }

  const pss = ["rsa-pss", "-pkeyopt", "rsa_keygen_bits:2048"]
  for (const [what, authority, own] of [
    ["RSA-PSS", ["rsa:2048"], pss],
    ["RSA, by an RSASSA-PSS authority", pss, ["rsa:2048"]],
    ["RSA-PSS, by an RSASSA-PSS authority", pss, pss]
  ] as const) {
    it.effect(`a certificate with a key of ${what} keeps every byte, and its signature`, () =>
      Effect.gen(function* () {
        const pair = (name: string) => ["-nodes", "-keyout", `${name}.key`, "-subj", `/CN=${name}`]
        const made = did([
          ["req", "-x509", "-newkey", ...authority, ...pair("top"), "-out", "top.crt", "-days", "2"],
          ["req", "-newkey", ...own, ...pair("own"), "-out", "own.csr"],
          ["x509", "-req", "-in", "own.csr", "-CA", "top.crt", "-CAkey", "top.key", "-CAcreateserial"].concat([
            "-out",
            "own.crt",
            "-days",
            "2"
          ])
        ])
        const store = made ? exported("own", "pw", ["-certfile", "top.crt"]) : undefined
        assert.isDefined(store)
        const loaded = yield* load(store!, "pw")
        const [original, top] = ["own.crt", "top.crt"].map(
          (name) => new X509Certificate(readFileSync(files.path(name)))
        )
        assert.isTrue(loaded.certificate.raw.equals(original!.raw))
        assert.isTrue(loaded.certificate.verify(top!.publicKey))
        assert.strictEqual(loaded.chain, `${original}${top}`)
      })
    )
  }
})

describe.skipIf(!hasOpenssl)("Pkcs12: what takes too long", () => {
  it.effect("one that takes millions of iterations is 271, with the command that exports it again", () =>
    Effect.gen(function* () {
      // Told by its numbers: encrypted with fewer, it is refused before anything counts to them.
      const store = readFileSync(exported("server", "pw", ["-iter", "100000"])!)
      const [count, huge] = ["02030186a0", "02030f4240"]
      for (let at = store.indexOf(count, "hex"); at >= 0; at = store.indexOf(count, "hex")) store.write(huge, at, "hex")
      const error = yield* Effect.flip(load(store, "pw"))
      assert.strictEqual(error.code, 271)
      assert.include(error.message, "it takes 3000000 iterations to open")
      assert.include(error.message, "openssl pkcs12 -in")
    })
  )
})

describe("Pkcs12: stores of others", () => {
  for (const algorithm of ["aes256", "3des"] as const) {
    it.effect(`no password may also be none at all (${algorithm})`, () =>
      Effect.gen(function* () {
        const asn1 = Forge.pkcs12.toPkcs12Asn1(server.key, [server.certificate], null, { algorithm })
        const store = Buffer.from(Forge.asn1.toDer(asn1).getBytes(), "latin1")
        assert.include((yield* load(store, "")).certificate.subject, "CN=localhost")
      })
    )
  }

  it.effect("lengths may be left open, and strings be in parts (BER)", () =>
    Effect.gen(function* () {
      const [version, safe, code] = Der.inside(Der.readAll(TestCertificates.pfx([server], "pw", [ca]))[0])
      const [type, content] = Der.inside(safe)
      const bytes = Der.inside(content)[0]!.content
      const open = (tag: number, ...contents: ReadonlyArray<Buffer>) =>
        Buffer.concat([Buffer.from([tag, 0x80]), ...contents, Buffer.from([0, 0])])
      const parts = [bytes.subarray(0, 100), bytes.subarray(100)].map((part) => Der.write(Der.OCTET_STRING, part))
      const data = open(Der.SEQUENCE, type!.raw, open(Der.context(0), open(0x24, ...parts)))
      const loaded = yield* load(open(Der.SEQUENCE, version!.raw, data, code!.raw), "pw")
      assert.strictEqual(loaded.chain.split("BEGIN").length, 3)
    })
  )
})
