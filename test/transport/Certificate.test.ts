import { afterAll, assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { createPrivateKey, X509Certificate } from "node:crypto"
import { spawnSync } from "node:child_process"
import { readFileSync, truncateSync } from "node:fs"
import * as Tls from "node:tls"
import * as Certificate from "../../src/transport/Certificate.ts"
import * as ListenerConfig from "../../src/transport/ListenerConfig.ts"
import * as TestCertificates from "./TestCertificates.ts"

const files = TestCertificates.folder()
afterAll(() => files.remove())

const { ca, client, server } = TestCertificates.standard()

type Options = Partial<typeof ListenerConfig.CertificateConfig.Encoded>

const load = (options: Options, authorities: ReadonlyArray<X509Certificate> = []) =>
  Certificate.load(
    Schema.decodeUnknownSync(ListenerConfig.CertificateConfig)({ sslCertStore: server.pem, ...options }),
    authorities
  )

const subjectOf = (options: Options) =>
  Effect.map(load(options), ({ certificate }) => /CN=(.*)/.exec(certificate.subject)![1])

const fails = (options: Options, authorities?: ReadonlyArray<X509Certificate>) =>
  Effect.flip(load(options, authorities))

const parsed = (issued: TestCertificates.Issued) => new X509Certificate(issued.certPem)

describe("Certificate: stores", () => {
  const pfx = TestCertificates.pfx([server], "test", [ca])
  const { openssl, write } = files
  const forms: ReadonlyArray<readonly [string, Options]> = [
    ["a PEM text (7)", { sslCertStoreType: 7 }],
    ["a PEM file (6)", { sslCertStoreType: 6, sslCertStore: write("server.pem", server.pem) }],
    ["a PFX (3)", { sslCertStoreType: 3, sslCertStore: pfx, sslCertStorePassword: "test" }],
    [
      "a PFX as base64 (3)",
      { sslCertStoreType: 3, sslCertStore: pfx.toString("base64"), sslCertStorePassword: "test" }
    ],
    ["a PFX file (2)", { sslCertStoreType: 2, sslCertStore: write("server.pfx", pfx), sslCertStorePassword: "test" }],
    ["a PEM text, found out (99)", {}],
    ["a PEM file, found out (99)", { sslCertStore: files.path("server.pem") }],
    ["a PFX, found out (99)", { sslCertStore: pfx, sslCertStorePassword: "test" }],
    ["a PFX as base64, found out (99)", { sslCertStore: pfx.toString("base64"), sslCertStorePassword: "test" }],
    ["a PFX file, found out (99)", { sslCertStore: files.path("server.pfx"), sslCertStorePassword: "test" }],
    ["a certificate and a key apart", { sslCertStore: server.certPem, sslCertKey: server.keyPem }],
    ["a key before, a chain behind", { sslCertStore: `${server.keyPem}text\n${server.certPem}${ca.certPem}` }],
    [
      "a triple-DES PFX, as Windows exports it",
      { sslCertStore: TestCertificates.pfx([server], "x", [], "3des"), sslCertStorePassword: "x" }
    ]
  ]
  for (const [what, options] of forms) {
    it.effect(`opens ${what}`, () =>
      Effect.gen(function* () {
        const loaded = yield* load(options)
        assert.strictEqual(loaded.certificate.fingerprint256, parsed(server).fingerprint256)
        assert.isTrue(loaded.certificate.verify(parsed(ca).publicKey))
        assert.include(loaded.key, "BEGIN PRIVATE KEY")
      })
    )
  }

  it.effect("opens an elliptic-curve key from an encrypted PEM and from a PFX of OpenSSL", () =>
    Effect.gen(function* () {
      const request = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-passout", "pass:pw"]
      const made = openssl(...request, "-keyout", "ec.key", "-out", "ec.crt", "-subj", "/CN=curve", "-days", "2")
      if (made === undefined) {
        console.log("skipped: there is no openssl on the PATH that makes elliptic-curve certificates")
        return
      }
      const apart = { sslCertStore: files.path("ec.crt"), sslCertKey: files.path("ec.key") }
      assert.strictEqual(yield* subjectOf({ ...apart, sslCertStorePassword: "pw" }), "curve")
      for (const sslCertStorePassword of ["", "wrong"]) {
        assert.deepInclude(yield* fails({ ...apart, sslCertStorePassword }), { code: 273, why: "password" })
      }
      openssl(
        "pkcs12",
        "-export",
        "-inkey",
        "ec.key",
        "-passin",
        "pass:pw",
        "-in",
        "ec.crt",
        "-out",
        "ec.pfx",
        "-passout",
        "pass:pw"
      )
      assert.strictEqual(yield* subjectOf({ sslCertStore: files.path("ec.pfx"), sslCertStorePassword: "pw" }), "curve")
    })
  )

  for (const [form, type] of [
    ["PKCS#8", "pkcs8"],
    ["the older form", "pkcs1"]
  ] as const) {
    it.effect(`a wrong password for a key in ${form} is 273, also when the padding happens to fit`, () =>
      Effect.gen(function* () {
        const protect = { format: "pem", cipher: "aes-128-cbc", passphrase: "right" } as const
        const sslCertKey = createPrivateKey(server.keyPem)
          .export({ ...protect, type })
          .toString()
        const store = { sslCertStore: server.certPem, sslCertKey }
        assert.strictEqual(yield* subjectOf({ ...store, sslCertStorePassword: "right" }), "localhost")
        /** What OpenSSL calls it: of a wrong password, one in 256 is not called a bad decrypt. */
        const codeFor = (passphrase: string): unknown => {
          try {
            return createPrivateKey({ key: sslCertKey, format: "pem", passphrase })
          } catch (error) {
            return error instanceof Error && "code" in error ? error.code : error
          }
        }
        const wrong = Array.from({ length: 10_000 }, (_, index) => `wrong ${index}`)
        const rare = wrong.find((password) => codeFor(password) !== "ERR_OSSL_BAD_DECRYPT")
        assert.isDefined(rare, "one in 256 is rare")
        for (const sslCertStorePassword of ["wrong 0", "", rare!]) {
          assert.deepInclude(yield* fails({ ...store, sslCertStorePassword }), { code: 273, why: "password" })
        }
      })
    )
  }

  it.effect("a wrong password for a PFX without an authentication code is 273, whatever OpenSSL calls it", () =>
    Effect.gen(function* () {
      write("plain.pem", server.pem)
      const args = ["pkcs12", "-export", "-nomac", "-in", "plain.pem", "-out", "nomac.pfx", "-passout", "pass:right"]
      if (openssl(...args) === undefined) {
        console.log("skipped: there is no openssl on the PATH that can leave the authentication code out")
        return
      }
      const store = { sslCertStore: files.path("nomac.pfx") }
      assert.strictEqual(yield* subjectOf({ ...store, sslCertStorePassword: "right" }), "localhost")
      const bytes = readFileSync(store.sslCertStore)
      const messageFor = (passphrase: string): string => {
        try {
          Tls.createSecureContext({ pfx: bytes, passphrase })
          return ""
        } catch (error) {
          return error instanceof Error ? error.message : String(error)
        }
      }
      const wrong = Array.from({ length: 10_000 }, (_, index) => `wrong ${index}`)
      const rare = wrong.find((password) => messageFor(password) !== "bad decrypt")
      for (const sslCertStorePassword of ["wrong 0", "", rare!]) {
        assert.deepInclude(yield* fails({ ...store, sslCertStorePassword }), { code: 273, why: "password" })
      }
    })
  )

  it.effect("a PFX that OpenSSL 3 refuses is 271, with the command that exports it again", () =>
    Effect.gen(function* () {
      write("legacy.pem", server.pem)
      const args = ["pkcs12", "-export", "-legacy", "-in", "legacy.pem", "-out", "legacy.pfx", "-passout", "pass:test"]
      if (openssl(...args) === undefined) {
        console.log("skipped: there is no openssl on the PATH that can write a legacy PFX")
        return
      }
      const error = yield* fails({ sslCertStore: files.path("legacy.pfx"), sslCertStorePassword: "test" })
      assert.strictEqual(error.code, 271)
      assert.include(error.message, "no longer accepts (RC2, RC4 or DES)")
      const command = /openssl (pkcs12 -legacy .*?) && openssl (pkcs12 -export .*?) &&/.exec(error.message)!
      // The commands do what they say, but for the password that they would ask for.
      const split = (text: string) => text.split(" ").map((word) => word.replaceAll('"', ""))
      assert.isDefined(openssl(...split(command[1]!), "-passin", "pass:test"))
      assert.isDefined(openssl(...split(command[2]!), "-passout", "pass:test"))
      assert.strictEqual(
        yield* subjectOf({ sslCertStore: files.path("new.pfx"), sslCertStorePassword: "test" }),
        "localhost"
      )
    })
  )

  const unsupported: ReadonlyArray<readonly [string, Options, string]> = [
    ["0", { sslCertStoreType: 0, sslCertStore: "MY" }, "cstUser"],
    ["4", { sslCertStoreType: 4, sslCertStore: files.path("server.pem") }, "cstJKSFile"],
    ["20", { sslCertStoreType: 20 }, "cstSecurityKey"],
    ["50", { sslCertStoreType: 50 }, "no store type 50"],
    ["a Java key store", { sslCertStore: Buffer.from("feedfeed00000002", "hex") }, "Java key store"],
    ["a PuTTY key", { sslCertStore: Buffer.from("PuTTY-User-Key-File-3: ssh-rsa\n") }, "PPK"],
    ["a JSON web key", { sslCertStore: Buffer.from('{"kty":"EC"}') }, "JWK"],
    ["PKCS#7", { sslCertStore: "-----BEGIN PKCS7-----\nMII\n-----END PKCS7-----" }, "PKCS#7"],
    ["nonsense", { sslCertStore: Buffer.from("hello") }, "no kind of store"],
    ["a damaged key", { sslCertKey: server.keyPem.replace("MII", "AAA") }, "private key cannot be read"],
    ["a damaged PFX", { sslCertStoreType: 3, sslCertStore: pfx.subarray(0, 500) }, "not a PFX"],
    ["PEM text as a PEM file", { sslCertStoreType: 6 }, "(given in memory): it is text, and type 6 takes the path"],
    ["PEM text as a PFX file", { sslCertStoreType: 2 }, "Give type 7 for PEM text"],
    ["a PFX in base64 as a PFX file", { sslCertStoreType: 2, sslCertStore: pfx.toString("base64") }, "3 for a PFX"],
    [
      "a key whose first line is damaged",
      { sslCertStore: server.certPem, sslCertKey: server.keyPem.replace("-----BEGIN", "BEGIN") },
      "(given in memory): it is neither the path of a file nor whole"
    ],
    [
      "a chain that is cut off",
      { sslCertStore: `${server.pem}${ca.certPem.slice(0, 300)}` },
      "a part of it is cut off"
    ],
    ["a missing file", { sslCertStore: "/nowhere/at/all.pfx" }, "there is no such file"]
  ]
  for (const [what, options, words] of unsupported) {
    it.effect(`${what} is 271 and says what it is`, () =>
      Effect.gen(function* () {
        const error = yield* fails(options)
        assert.strictEqual(error.code, 271)
        assert.include(error.message, words)
      })
    )
  }
})

describe("Certificate: what is no file for certificates", () => {
  const { path, write } = files
  const large = write("large.pem", server.pem)
  truncateSync(large, 16 * 1024 * 1024 + 1)
  // Nobody writes to it: who opens it waits.
  const pipe = spawnSync("mkfifo", [path("pipe.pem")]).status === 0 ? path("pipe.pem") : undefined
  if (pipe === undefined) console.log("skipped: there is no mkfifo to make a pipe with")
  const kinds = [
    ["a pipe", pipe, "a pipe"],
    ["a device", "/dev/zero", "a device"],
    ["a directory", path("."), "a directory"],
    ["a huge file", large, "larger than 16 MiB"]
  ] as const
  for (const [what, store, words] of kinds) {
    it.effect.skipIf(store === undefined)(`${what} is 271 with its path, and is not opened`, () =>
      Effect.gen(function* () {
        const errors = [
          yield* fails({ sslCertStore: store! }),
          yield* fails({ sslCertStore: server.certPem, sslCertKey: store! }),
          yield* Effect.flip(Certificate.readCertificates("sslCACerts", store!))
        ]
        for (const error of errors) {
          assert.deepInclude(error, { code: 271, store: store! })
          assert.include(error.message, words)
        }
      })
    )
  }

  it.effect("a file of beginnings without an end takes time in proportion to its length", () =>
    Effect.gen(function* () {
      const endless = write("endless.pem", "-----BEGIN CERTIFICATE-----\n".repeat(500_000))
      assert.strictEqual((yield* fails({ sslCertStore: endless })).code, 271)
      const [found] = yield* Certificate.readCertificates("sslCACerts", `-----BEGIN X-----\n${server.pem}`)
      assert.strictEqual(found!.fingerprint256, parsed(server).fingerprint256)
    })
  )
})

describe("Certificate: what is in the store", () => {
  const a = TestCertificates.issue({ commonName: "a.example", organization: "Acme, Inc", keyName: "leaf" })
  const b = TestCertificates.issue({ commonName: "b.example", keyName: "client" })
  const store = { sslCertStore: TestCertificates.pfx([a, b], "test"), sslCertStorePassword: "test" }

  for (const [subject, expected] of [
    ["*", "a.example"],
    ['CN=a.example, O="Acme, Inc", C=US', "a.example"],
    ["C=US, O=Test, CN=b.example", "b.example"],
    ["CN=b.example", "b.example"],
    ["b.exam", "b.example"],
    [`Thumbprint=${parsed(b).fingerprint}`, "b.example"],
    [`thumbprint=${parsed(b).fingerprint256.replaceAll(":", "").toLowerCase()}`, "b.example"]
  ] as const) {
    it.effect(`the subject ${subject} finds ${expected}, with its own key`, () =>
      Effect.gen(function* () {
        const loaded = yield* load({ ...store, sslCertSubject: subject })
        assert.strictEqual(loaded.certificate.subject, parsed(expected === "a.example" ? a : b).subject)
        assert.strictEqual(loaded.key.trim(), (expected === "a.example" ? a : b).keyPem.trim())
      })
    )
  }

  it.effect("a subject that no certificate has is 272 and lists those there are", () =>
    Effect.gen(function* () {
      const error = yield* fails({ ...store, sslCertSubject: "CN=c.example" })
      assert.strictEqual(error.code, 272)
      assert.include(error.message, 'CN=a.example, O="Acme, Inc", C=US')
    })
  )

  const faults: ReadonlyArray<readonly [string, number, Options]> = [
    ["a wrong password", 273, { ...store, sslCertStorePassword: "wrong" }],
    ["no password", 273, { sslCertStore: store.sslCertStore }],
    ["a key of another certificate", 273, { sslCertStore: a.certPem, sslCertKey: b.keyPem }],
    ["a certificate without its key", 282, { sslCertStore: a.certPem }],
    ["a public key certificate (9)", 282, { sslCertStoreType: 9, sslCertStore: a.certPem }],
    ["a key without a certificate", 282, { sslCertStore: a.keyPem }],
    [
      "an expired certificate",
      280,
      { sslCertStore: TestCertificates.issue({ commonName: "old", from: -9, to: -2 }).pem }
    ],
    ["one that is not valid yet", 280, { sslCertStore: TestCertificates.issue({ commonName: "new", from: 2 }).pem }]
  ]
  for (const [what, code, options] of faults) {
    it.effect(`${what} is ${code}`, () =>
      Effect.gen(function* () {
        const error = yield* fails(options)
        assert.strictEqual(error.code, code)
        assert.notInclude(error.message, "BEGIN")
        assert.notInclude(error.message, "wrong")
      })
    )
  }

  it.effect("the chain leads from the certificate to the last issuer that is there, in order", () =>
    Effect.gen(function* () {
      const middle = TestCertificates.issue({ commonName: "Middle", authority: true, issuer: ca, keyName: "client" })
      const leaf = TestCertificates.issue({ commonName: "leaf", issuer: middle })
      const { chain } = yield* load({ sslCertStore: `${ca.certPem}${middle.certPem}${leaf.pem}` })
      const subjects = chain
        .match(/-----BEGIN[\s\S]*?-----END CERTIFICATE-----/g)!
        .map((pem) => new X509Certificate(pem).subject)
      assert.deepStrictEqual(
        subjects,
        [parsed(leaf), parsed(middle), parsed(ca)].map((each) => each.subject)
      )
    })
  )

  it.effect("additional certificates of somebody else's issuer are 274", () =>
    Effect.gen(function* () {
      const other = TestCertificates.authority("Other CA", "client")
      const error = yield* fails({}, [parsed(other)])
      assert.strictEqual(error.code, 274)
      assert.include(error.message, "CN=Test CA")
    })
  )

  it.effect("an issuer of that name that did not sign, or is expired, is 275", () =>
    Effect.gen(function* () {
      const impostor = TestCertificates.authority("Test CA", "client")
      assert.strictEqual((yield* fails({}, [parsed(impostor)])).code, 275)
      const old = TestCertificates.issue({
        commonName: "Old CA",
        authority: true,
        keyName: "authority",
        from: -9,
        to: -2
      })
      const leaf = TestCertificates.issue({ commonName: "leaf", issuer: old })
      const error = yield* fails({ sslCertStore: leaf.pem }, [parsed(old)])
      assert.strictEqual(error.code, 275)
      assert.include(error.message, "Give its successor")
    })
  )

  it("the tests' own certificates are what they are said to be", () => {
    assert.isTrue(parsed(client).verify(parsed(ca).publicKey))
    assert.strictEqual(parsed(server).checkHost("localhost"), "localhost")
  })
})
