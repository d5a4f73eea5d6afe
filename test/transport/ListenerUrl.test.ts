import { assert, describe, it } from "@effect/vitest"
import * as Redacted from "effect/Redacted"
import * as ListenerUrl from "../../src/transport/ListenerUrl.ts"

describe("ListenerUrl", () => {
  const given: ListenerUrl.TlsOptions = { cert: "given.pfx" }

  for (const [url, expected] of [
    ["mqtt://127.0.0.1:1884", { protocol: 0, host: "127.0.0.1", port: 1884 }],
    ["mqtt://[::1]", { protocol: 0, host: "::1", port: 1883 }],
    ["mqtts://0.0.0.0", { protocol: 1, host: "0.0.0.0", port: 8883, sslCertStore: "given.pfx" }],
    ["ws://localhost", { protocol: 2, host: "localhost", port: 80, path: "" }],
    ["ws://localhost:0/mqtt", { protocol: 2, host: "localhost", port: 0, path: "/mqtt" }],
    [
      "wss://[::]/mqtt?cert=own.pem&key=own.key&client-ca=ca.pem",
      {
        protocol: 3,
        host: "::",
        port: 443,
        path: "/mqtt",
        sslCertStore: "own.pem",
        sslCertKey: "own.key",
        sslAuthenticateClients: true,
        sslClientCACerts: "ca.pem"
      }
    ]
  ] as const) {
    it(url, () => assert.deepStrictEqual(ListenerUrl.parse(url, given), expected))
  }

  it("a password is redacted, and in no message", () => {
    const parsed = ListenerUrl.parse("mqtts://h?cert=a.pfx&password=secret")
    assert.isTrue(typeof parsed === "object" && parsed.protocol === 1)
    if (typeof parsed === "string" || parsed.protocol !== 1) return
    const { sslCertStorePassword } = parsed
    assert.isTrue(Redacted.isRedacted(sslCertStorePassword) && Redacted.value(sslCertStorePassword) === "secret")
    assert.notInclude(String(ListenerUrl.parse("mqqt://h?password=secret")), "secret")
  })

  for (const [url, words] of [
    ["localhost:1883", "is no listener"],
    ["http://localhost", "is no listener"],
    ["mqtts://localhost", "needs a certificate"],
    ["mqtt://localhost/path", "only WebSocket"],
    ["mqtt://localhost?cert=x", 'unknown parameter "cert"'],
    ["mqtts://localhost?cret=x", 'unknown parameter "cret"'],
    ["mqtt://ann@localhost", "user name"]
  ] as const) {
    it(`refuses ${url}`, () => assert.include(ListenerUrl.parse(url), words))
  }

  it("reads several, and says what is wrong with the first that is", () => {
    const two = ListenerUrl.parseAll("mqtt://a, ws://b:81")
    assert.strictEqual(typeof two === "string" ? two : two.length, 2)
    assert.include(ListenerUrl.parseAll("mqtt://a,nonsense"), "nonsense")
  })
})
