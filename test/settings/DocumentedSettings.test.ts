/**
 * Every documented setting by its documented name: set, read back in one form, and there in what a listener or the
 * broker is made from; or read only, or not at all, and why.
 */
import { readFileSync } from "node:fs"
import { afterAll, assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as BrokerConfig from "../../src/broker/BrokerConfig.ts"
import * as DocumentedSettings from "../../src/settings/DocumentedSettings.ts"
import * as ListenerDefaults from "../../src/settings/ListenerDefaults.ts"
import * as Settings from "../../src/settings/Settings.ts"
import * as Version from "../../src/settings/Version.ts"
import * as ListenerConfig from "../../src/transport/ListenerConfig.ts"
import * as TestCertificates from "../transport/TestCertificates.ts"
import * as TestHandler from "../transport/TestHandler.ts"
import { ca, client, connect, listen, withCertificate } from "../transport/TestTls.ts"

const { defaults } = BrokerConfig

const read = (name: string, settings: BrokerConfig.BrokerSettings) =>
  Settings.read(name, settings, () => Effect.fail("no connection" as const))

interface Case {
  /** As it reads when nobody has set it. */
  readonly initially: string
  readonly set: string
  readonly reads: string
  /** What is there then, by our own name. */
  readonly has: readonly [key: string, value: unknown]
  /** A value that is refused, and words of the error; a text has none. */
  readonly wrong?: readonly [value: string, words: string]
}

const settable = (
  initially: string,
  set: string,
  reads: string,
  has: readonly [key: string, value: unknown],
  wrong?: readonly [value: string, words: string]
): Case => ({ initially, set, reads, has, ...(wrong === undefined ? {} : { wrong }) })

const boolean = ["maybe", "True or False"] as const

const cases: Readonly<Record<string, Case>> = {
  DefaultIdleTimeout: settable("0", "60", "60", ["idleTimeoutSeconds", 60], ["-1", "from 0 to"]),
  LogLevel: settable("1", "3", "3", ["logLevel", 3], ["4", "from 0 to 3"]),
  MaskSensitiveData: settable("True", "no", "False", ["maskSensitiveData", false], boolean),

  ConnectionTimeout: settable("10", "5", "5", ["handshakeTimeoutSeconds", 5], ["0", "from 1 to"]),
  KeepAliveInterval: settable("0", "2000", "2000", ["tcpKeepAliveIntervalMillis", 2_000], ["1s", "from 0 to"]),
  KeepAliveTime: settable("0", "60000", "60000", ["tcpKeepAliveMillis", 60_000], ["-5", "from 0 to"]),
  Linger: settable("True", "0", "False", ["linger", false], boolean),
  LingerTime: settable("0", "3", "3", ["lingerSeconds", 3], ["1.5", "whole number"]),
  LocalHost: settable("127.0.0.1", "0.0.0.0", "0.0.0.0", ["host", "0.0.0.0"], ["", "without blanks"]),
  LocalPort: settable("", "1884", "1884", ["port", 1884], ["65536", "from 0 to 65535"]),
  MaxTransferRate: settable("0", "1000", "1000", ["transferBytesPerSecondMax", 1_000], ["fast", "whole number"]),
  TCPKeepAlive: settable("False", "Yes", "True", ["tcpKeepAlive", true], boolean),
  TcpNoDelay: settable("True", "FALSE", "False", ["noDelay", false], boolean),
  UseIPv6: settable("", "1", "1", ["useIPv6", 1], ["3", "0 | 1 | 2"]),

  ReuseSSLSession: settable("True", "False", "False", ["reuseSSLSession", false], boolean),
  SSLCACerts: settable("", "ca.pem", "ca.pem", ["sslCACerts", "ca.pem"]),
  SSLCheckOCSP: settable("0", "1", "1", ["sslCheckOCSP", 1], ["3", "0 | 1 | 2"]),
  SSLClientCACerts: settable("", "-----\r\nAB==", "-----\r\nAB==", ["sslClientCACerts", "-----\r\nAB=="]),
  SSLEnabledCipherSuites: settable("*", "A;B", "A;B", ["sslEnabledCipherSuites", "A;B"], ["", "length of at least 1"]),
  SSLEnabledProtocols: settable("15360", "0xC00", "3072", ["sslEnabledProtocols", 3_072], ["TLS1.2", "whole number"]),
  SSLEnableRenegotiation: settable("False", "1", "True", ["sslEnableRenegotiation", true], boolean),
  SSLKeyLogFile: settable("", "/tmp/keys", "/tmp/keys", ["sslKeyLogFile", "/tmp/keys"]),
  TLS12SignatureAlgorithms: settable("", "sha256-rsa", "sha256-rsa", ["tls12SignatureAlgorithms", "sha256-rsa"]),
  TLS12SupportedGroups: settable("", "ecdhe_x25519", "ecdhe_x25519", ["tls12SupportedGroups", "ecdhe_x25519"]),
  TLS13SignatureAlgorithms: settable("", "ed25519", "ed25519", ["tls13SignatureAlgorithms", "ed25519"]),
  TLS13SupportedGroups: settable("", "ffdhe_2048", "ffdhe_2048", ["tls13SupportedGroups", "ffdhe_2048"]),

  OpenSSLCADir: settable("", "/etc/ssl/certs", "/etc/ssl/certs", ["sslClientCADir", "/etc/ssl/certs"]),
  OpenSSLCAFile: settable("", "ca.pem", "ca.pem", ["sslClientCACerts", "ca.pem"]),
  OpenSSLCipherList: settable(
    "*",
    "HIGH:!aNULL:!MD5",
    "HIGH:!aNULL:!MD5",
    ["sslEnabledCipherSuites", "HIGH;!aNULL;!MD5"],
    ["", "length of at least 1"]
  )
}

const places = Object.entries(DocumentedSettings.places)
const named = (...scopes: ReadonlyArray<DocumentedSettings.Place["scope"]>): ReadonlyArray<string> =>
  places.flatMap(([name, { scope }]) => (scopes.includes(scope) ? [name] : []))

describe("a documented setting", () => {
  it("that can be set has a case here", () => {
    assert.sameMembers(Object.keys(cases), [...named("broker", "listener")])
  })

  for (const [name, { has, initially, reads, set, wrong }] of Object.entries(cases)) {
    it.effect(`${name} is set, read back, and there`, () =>
      Effect.gen(function* () {
        assert.strictEqual(yield* read(name, defaults), initially)
        for (const spelled of [name, name.toLowerCase(), name.toUpperCase()]) {
          const change = yield* Settings.assign(`${spelled}=${set}`, defaults, true)
          const changed = Settings.change(defaults, change)
          assert.strictEqual(yield* read(spelled, changed), reads)
          // What it reads is what it takes.
          const again = Settings.change(changed, yield* Settings.assign(`${name}=${reads}`, changed, true))
          assert.deepStrictEqual(again, changed)
          const options = { protocol: 3, port: 0, sslCertStore: "x" } as const
          const { port: _, ...listener } = options
          const made = yield* ListenerConfig.decode(ListenerDefaults.apply(changed.listenerDefaults, listener as never))
          assert.deepInclude({ ...changed, ...made }, { [has[0]]: has[1] })
        }
      })
    )

    it.effect(`${name} that is wrong is refused by its name, and nothing else than a setting`, () =>
      Effect.gen(function* () {
        if (wrong === undefined) {
          // Any text may be one: what OpenSSL or the file system says of it is an error of the listener.
          assert.isString(has[1])
          return
        }
        const error = yield* Effect.flip(Settings.assign(`${name}=${wrong[0]}`, defaults, true))
        assert.deepInclude(error, { _tag: "InvalidSetting", code: 10_022 })
        assert.include(error.message, `${name} must be`)
        assert.include(error.message, wrong[1])
      })
    )
  }

  for (const name of named("constant", "connection", "none")) {
    it.effect(`${name} cannot be set, and the error says so`, () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(Settings.assign(`${name}=1`, defaults, false))
        const place = DocumentedSettings.places[name]
        assert.include(error.message, place?.scope === "none" ? place.reason : "can only be read")
        assert.include(error.message, name)
      })
    )
  }
})

describe("the settings of the OpenSSL edition", () => {
  const files = TestCertificates.folder()
  afterAll(() => files.remove())

  it.live("are what a handshake goes by", () =>
    Effect.gen(function* () {
      files.write("ca.pem", ca.certPem)
      const path = files.path("ca.pem").replace(/.ca\.pem$/, "")
      let settings = defaults
      for (const assignment of ["OpenSSLCipherList=ECDHE+AESGCM:!AES256", `OpenSSLCADir=${path}`]) {
        settings = Settings.change(settings, yield* Settings.assign(assignment, settings, true))
      }
      const test = yield* TestHandler.make()
      const { localPort } = yield* listen(test, { ...settings.listenerDefaults, sslAuthenticateClients: true })
      const socket = yield* connect(localPort, { ...withCertificate(client), maxVersion: "TLSv1.2" })
      assert.strictEqual(socket.getCipher().name, "ECDHE-RSA-AES128-GCM-SHA256")
      yield* Queue.take(test.connections)
      assert.deepInclude(test.certificates[0], { status: "OK", accept: true })
    })
  )
})

describe("the version", () => {
  it.effect("is the package's", () =>
    Effect.gen(function* () {
      const manifest: unknown = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"))
      assert.propertyVal(manifest, "version", Version.VERSION)
      assert.strictEqual(yield* read("BuildInfo", defaults), `effect-mqtt ${Version.VERSION}`)
      assert.propertyVal(manifest, "license", yield* read("LicenseInfo", defaults))
    })
  )
})
