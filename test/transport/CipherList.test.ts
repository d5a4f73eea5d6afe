/**
 * Which cipher suites a listener has: the list says it, and handshakes show it.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Queue from "effect/Queue"
import * as TestHandler from "./TestHandler.ts"
import { connect, listen } from "./TestTls.ts"

describe("cipher suites", () => {
  it.live("go by documented and by OpenSSL names; the key exchange of TLS 1.2 is in the name", () =>
    Effect.gen(function* () {
      const test = yield* TestHandler.make()
      const sslEnabledCipherSuites = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256;AES256-GCM-SHA384;TLS_AES_128_GCM_SHA256"
      const listener = yield* listen(test, { sslEnabledCipherSuites })
      yield* connect(listener.localPort)
      yield* connect(listener.localPort, { maxVersion: "TLSv1.2" })
      yield* connect(listener.localPort, { maxVersion: "TLSv1.2", ciphers: "AES256-GCM-SHA384" })
      const seen = [1, 2, 3].map(() =>
        Effect.map(Queue.take(test.connections), ({ tls }) => [tls!.cipher, tls!.keyExchange, tls!.cipherStrength])
      )
      assert.deepStrictEqual(yield* Effect.all(seen), [
        ["TLS_AES_128_GCM_SHA256", "", 128],
        ["ECDHE-RSA-AES128-GCM-SHA256", "ECDHE", 128],
        ["AES256-GCM-SHA384", "RSA", 256]
      ])
      assert.match(
        yield* Effect.flip(connect(listener.localPort, { maxVersion: "TLSv1.2", ciphers: "AES128-SHA" })),
        /HANDSHAKE/
      )
    })
  )

  const lists: ReadonlyArray<readonly [string, string, string, ReadonlyArray<string>]> = [
    [
      "HIGH:!aNULL:!MD5",
      "AES128-SHA:ECDHE-RSA-AES256-GCM-SHA384",
      "ECDHE-RSA-AES256-GCM-SHA384",
      ["ADH-AES128-SHA256:@SECLEVEL=0"]
    ],
    ["HIGH;!aNULL;!kRSA", "AES128-SHA:ECDHE-RSA-AES128-SHA", "ECDHE-RSA-AES128-SHA", ["AES128-SHA", "AES256-SHA"]],
    ["ECDHE+AESGCM:!AES256", "DEFAULT", "ECDHE-RSA-AES128-GCM-SHA256", ["ECDHE-RSA-AES256-GCM-SHA384"]],
    ["AES128-SHA, AES256-SHA:-AES128", "DEFAULT", "AES256-SHA", ["AES128-SHA"]],
    ["AES128-SHA:AES256-SHA:+AES128", "DEFAULT", "AES256-SHA", ["ECDHE-RSA-AES128-SHA"]],
    ["DEFAULT:!TLS_RSA_WITH_AES_128_CBC_SHA", "AES128-SHA:AES256-SHA", "AES256-SHA", ["AES128-SHA"]],
    ["aes128-sha", "DEFAULT", "AES128-SHA", ["AES256-SHA"]],
    ["ALL:!ADH:RC4+RSA:+SSLv2:@STRENGTH", "AES128-SHA:AES256-SHA", "AES256-SHA", ["ADH-AES128-SHA256:@SECLEVEL=0"]]
  ]
  for (const [list, offered, chosen, refused] of lists) {
    it.live(`a list of ciphers in OpenSSL's own syntax is what it says: ${list}`, () =>
      Effect.gen(function* () {
        const { localPort } = yield* listen(yield* TestHandler.make(), { sslEnabledCipherSuites: list })
        const maxVersion = "TLSv1.2"
        assert.strictEqual((yield* connect(localPort, { maxVersion, ciphers: offered })).getCipher().name, chosen)
        for (const ciphers of refused) {
          assert.match(yield* Effect.flip(connect(localPort, { maxVersion, ciphers })), /HANDSHAKE/)
        }
        // It is about versions before 1.3.
        assert.strictEqual((yield* connect(localPort)).getProtocol(), "TLSv1.3")
      })
    )
  }

  it.live("a level of security in the list is the owner's own, also for old versions", () =>
    Effect.gen(function* () {
      const old = { minVersion: "TLSv1.1", maxVersion: "TLSv1.1", ciphers: "DEFAULT:@SECLEVEL=0" } as const
      for (const [list, works] of [
        ["HIGH", true],
        ["HIGH:@SECLEVEL=0", true],
        ["HIGH:@SECLEVEL=2", false]
      ] as const) {
        const options = { sslEnabledProtocols: 4_032, sslEnabledCipherSuites: list }
        const { localPort } = yield* listen(yield* TestHandler.make(), options)
        const exit = yield* Effect.exit(connect(localPort, old))
        assert.strictEqual(Exit.isSuccess(exit), works, list)
      }
    })
  )

  const useless: ReadonlyArray<readonly [string, string]> = [
    ["TLS_NONSENSE", "TLS_AES_128_GCM_SHA256;TLS_NONSENSE"],
    ["TLS_RSA_WITH_RC4_128_MD5", "TLS_RSA_WITH_RC4_128_MD5"],
    ["HIHG", "HIGH:HIHG"],
    ["!aNUL", "HIGH:!aNUL:!MD5"],
    ["high", "high:!MD5"],
    ["ECDHE+NOTHING", "ECDHE+NOTHING;HIGH"],
    ["!TLS_AES_128_GCM_SHA256", "HIGH:!TLS_AES_128_GCM_SHA256"],
    ["DEFAULT", "HIGH:DEFAULT"],
    ["@SECLEVEL=9", "HIGH:@SECLEVEL=9"],
    ["use for !.", "HIGH:!"],
    ['"!aNULL"', "!aNULL"],
    ['"HIGH:-HIGH"', "HIGH:-HIGH"]
  ]
  for (const [words, list] of useless) {
    it.live(`a list with what OpenSSL does not have is 270 and names it, before the address is bound: ${list}`, () =>
      Effect.gen(function* () {
        const taken = yield* listen(yield* TestHandler.make())
        const options = { port: taken.localPort, sslEnabledCipherSuites: list }
        const error = yield* Effect.flip(listen(yield* TestHandler.make(), options))
        assert.deepInclude(error, { _tag: "TlsSettingUnsupported", code: 270 })
        assert.include(error.message, words)
      })
    )
  }
})
