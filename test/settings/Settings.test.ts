/**
 * Settings by name and as text: every one of them is found, read and set, and what is wrong says what would be right.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as BrokerConfig from "../../src/broker/BrokerConfig.ts"
import * as DocumentedSettings from "../../src/settings/DocumentedSettings.ts"
import * as ListenerDefaults from "../../src/settings/ListenerDefaults.ts"
import * as Settings from "../../src/settings/Settings.ts"

const { defaults } = BrokerConfig

const noConnection = () => Effect.fail("no connection" as const)

const read = (name: string, settings = defaults) => Settings.read(name, settings, noConnection)

const assigned = (assignment: string, running = false) =>
  Effect.map(Settings.assign(assignment, defaults, running), (change) => Settings.change(defaults, change))

const placed = (scope: DocumentedSettings.Place["scope"]): ReadonlyArray<string> =>
  Object.entries(DocumentedSettings.places).flatMap(([name, place]) => (place.scope === scope ? [name] : []))

describe("a setting's name", () => {
  it.effect("is any of the documented ones or ours, in any case", () =>
    Effect.gen(function* () {
      for (const name of Settings.names) {
        for (const spelled of [name, name.toUpperCase(), ` ${name.toLowerCase()} `]) {
          assert.strictEqual((yield* Settings.find(spelled)).name, name)
        }
      }
      for (const name of Object.keys(DocumentedSettings.places)) assert.include(Settings.names, name)
    })
  )

  it.effect("that nothing has is an error with the nearest ones", () =>
    Effect.gen(function* () {
      for (const [name, near] of [
        ["TcpNoDely", "TcpNoDelay"],
        ["KeepaliveTimes", "KeepAliveTime"],
        ["quemessagesmax", "queueMessagesMax"],
        ["SSLEnabledProtocol", "SSLEnabledProtocols"],
        ["ssl", "sslCertKey"],
        ["maxtransf", "MaxTransferRate"],
        ["__proto__", ""],
        ["x".repeat(1_000_000), ""]
      ] as const) {
        const error = yield* Effect.flip(Settings.find(name))
        assert.strictEqual(error.code, 10022)
        assert.strictEqual(error.nearest.length, 3)
        if (near !== "") assert.strictEqual(error.nearest[0], near)
        for (const one of error.nearest) assert.include(error.message, one)
      }
    })
  )
})

describe("reading a setting", () => {
  it.effect("gives its default as text", () =>
    Effect.gen(function* () {
      for (const [name, value] of [
        ["DefaultIdleTimeout", "0"],
        ["TcpNoDelay", "True"],
        ["TCPKeepAlive", "False"],
        ["Linger", "True"],
        ["LingerTime", "0"],
        ["SSLEnabledProtocols", "15360"],
        ["SSLEnabledCipherSuites", "*"],
        ["MaskSensitiveData", "True"],
        ["LocalHost", "127.0.0.1"],
        ["LocalPort", ""],
        ["UseIPv6", ""],
        ["proxyProtocolFrom", ""],
        ["queueOverflow", "drop-newest"],
        ["sslCertStorePassword", ""]
      ] as const) {
        assert.strictEqual(yield* read(name), value, name)
      }
    })
  )

  it.effect("gives what was set, lists and other separators as they are written", () =>
    Effect.gen(function* () {
      for (const [assignment, name, value] of [
        ["TcpNoDelay=no", "noDelay", "False"],
        ["KeepAliveTime=60000", "tcpKeepAliveMillis", "60000"],
        ["origins=https://a.example, https://b.example", "origins", "https://a.example,https://b.example"],
        ["OpenSSLCipherList=A:B", "SSLEnabledCipherSuites", "A;B"],
        ["SSLEnabledCipherSuites=A;B", "OpenSSLCipherList", "A:B"],
        ["sslCertStorePassword=secret", "sslCertStorePassword", ""],
        ["DefaultIdleTimeout=7", "idleTimeoutSeconds", "7"],
        ["SSLEnabledProtocols=0xC00", "sslEnabledProtocols", "3072"]
      ] as const) {
        assert.strictEqual(yield* read(name, yield* assigned(assignment)), value, assignment)
      }
    })
  )

  it.effect("of a connection needs its id", () =>
    Effect.gen(function* () {
      const ofConnection = (id: string, key: string) => Effect.succeed(`${id} ${key}`)
      for (const name of placed("connection")) {
        const key = `ssl${name.slice(3)}`
        assert.strictEqual(yield* Settings.read(`${name}[7]`, defaults, ofConnection), `7 ${key}`)
        const error = yield* Effect.flip(Settings.read(name, defaults, ofConnection))
        assert.include(error.message, `${name}[connectionId]`)
      }
      assert.strictEqual(yield* Effect.flip(read("SSLNegotiatedVersion[9]")), "no connection")
      for (const query of ["TcpNoDelay[9]", "LogLevel[]", "BuildInfo[9]", "listeners[0]"]) {
        assert.include(String(yield* Effect.flip(read(query))), "not of a connection")
      }
      for (const query of ["SSLNegotiatedVersion[9", "SSLNegotiatedVersion]9[", "[9]", "a[b[c]]"]) {
        assert.include(String(yield* Effect.flip(read(query))), "no setting")
      }
    })
  )

  it.effect("shows no private key and no bytes, however they were given", () =>
    Effect.gen(function* () {
      const pem = "-----BEGIN PRIVATE KEY-----\nMII=\n-----END PRIVATE KEY-----\n"
      const keyed = yield* assigned(`sslCertStore=${pem}`)
      assert.strictEqual(keyed.listenerDefaults.sslCertStore, pem)
      assert.strictEqual(yield* read("sslCertStore", keyed), "")
      assert.strictEqual(yield* read("sslCertKey", yield* assigned(`sslCertKey=${pem}`)), "")
      const blob = { ...defaults, listenerDefaults: { sslCertStore: Buffer.from([48, 130]) } }
      assert.strictEqual(yield* read("sslCertStore", blob), "")
      assert.strictEqual(yield* read("sslCertStore", yield* assigned("sslCertStore=server.pfx")), "server.pfx")
    })
  )

  it.effect("of one that does not apply says why", () =>
    Effect.gen(function* () {
      assert.isAbove(placed("none").length, 10)
      for (const name of placed("none")) {
        const error = yield* Effect.flip(read(name))
        assert.isTrue(typeof error !== "string" && error._tag === "SettingNotApplicable")
        assert.match(typeof error === "string" ? "" : error.message, /^The setting \w+ does not apply: .{20,}\.$/)
        // Also when it is asked for as what it is where it does apply.
        assert.deepStrictEqual(yield* Effect.flip(read(`${name}[7]`)), error)
        assert.deepStrictEqual(
          (yield* Effect.flip(Settings.assign(`${name}=1`, defaults, false)))._tag,
          "SettingNotApplicable"
        )
      }
    })
  )
})

describe("setting", () => {
  it.effect("a boolean takes the documented words in any case", () =>
    Effect.gen(function* () {
      for (const [text, value] of [
        ["True", true],
        ["1", true],
        ["YES", true],
        ["false", false],
        ["0", false],
        ["No", false]
      ] as const) {
        assert.strictEqual((yield* assigned(`TcpNoDelay=${text}`)).listenerDefaults.noDelay, value)
        assert.strictEqual((yield* assigned(`MaskSensitiveData=${text}`)).maskSensitiveData, value)
      }
      for (const text of ["", "maybe", "2", "on"]) {
        for (const name of ["TcpNoDelay", "MaskSensitiveData"]) {
          const error = yield* Effect.flip(assigned(`${name}=${text}`))
          assert.strictEqual(error.code, 10022)
          assert.include(error.message, name)
          assert.include(error.message, "True or False")
        }
      }
    })
  )

  it.effect("a number out of range, or none, is an error with its name and range", () =>
    Effect.gen(function* () {
      for (const [assignment, ...words] of [
        ["DefaultIdleTimeout=-1", "DefaultIdleTimeout", "DefaultIdleTimeout must be a whole number from 0"],
        ["queueMessagesMax=many", "queueMessagesMax must be a whole number from 1", "many"],
        ["LocalPort=70000", "LocalPort", "LocalPort must be a whole number from 0 to 65535"],
        ["KeepAliveTime=1.5", "KeepAliveTime must be a whole number from 0 to 32767000"],
        ["UseIPv6=3", "UseIPv6 must be 0 | 1 | 2"],
        ["origins=a,,b", "origins must be", "a,,b"],
        ["path=x", 'path must begin with "/"'],
        ["frameBytesMax=99999999999999999999999", "frameBytesMax must be a whole number"],
        ["queueOverflow=explode", "queueOverflow", "drop-newest"],
        ["LogLevel=4", "LogLevel", "0 to 3"]
      ] as const) {
        const error = yield* Effect.flip(assigned(assignment))
        assert.strictEqual(error._tag, "InvalidSetting")
        for (const word of words) assert.include(error.message, word)
        assert.notInclude(error.message, "\n")
      }
    })
  )

  it.effect("changes what it names and nothing else, and leaves the settings it was given alone", () =>
    Effect.gen(function* () {
      const before = structuredClone(defaults)
      const changed = yield* assigned("queueMessagesMax=5")
      assert.deepStrictEqual(changed, { ...defaults, queueMessagesMax: 5 })
      assert.deepStrictEqual((yield* assigned("LingerTime=3")).listenerDefaults, { lingerSeconds: 3 })
      assert.deepStrictEqual(defaults, before)
    })
  )

  it.effect("is not possible without a value, for what can only be read, or too late", () =>
    Effect.gen(function* () {
      assert.include((yield* Effect.flip(assigned("TcpNoDelay"))).message, "Name=Value")
      for (const name of [...placed("connection"), ...placed("constant")]) {
        assert.include((yield* Effect.flip(assigned(`${name}=1`))).message, "can only be read")
      }
    })
  )

  it.effect("is too late for what the running broker has made something of: the typed error says which, and why", () =>
    Effect.gen(function* () {
      const fixed = [
        "eventsBufferMax",
        "hookTimeoutSeconds",
        "messagesBufferMax",
        "receiveMaximum",
        "topicAliasMaximum"
      ]
      for (const name of fixed) {
        assert.propertyVal(yield* assigned(`${name}=3`), name, 3)
        const error = yield* Effect.flip(assigned(`${name}=3`, true))
        assert.deepInclude(error, { _tag: "SettingFixed", code: 213, name })
        assert.include(error.message, "only be set before the broker starts")
        assert.match(yield* read(name), /^\d+$/)
      }
      assert.sameMembers([...Settings.setBeforeStart.keys()], [...fixed, "listeners"])
      for (const name of Settings.names) {
        const key = (yield* Settings.find(name)).place
        if (key.scope !== "broker" || fixed.includes(key.key)) continue
        assert.strictEqual((yield* Settings.assign(`${name}=${yield* read(name)}`, defaults, true)).scope, "broker")
      }
    })
  )

  it.effect("a time of TCP's keep alive turns it on, as documented", () =>
    Effect.gen(function* () {
      for (const name of ["KeepAliveTime", "KeepAliveInterval"]) {
        assert.strictEqual(yield* read("TCPKeepAlive", yield* assigned(`${name}=1000`)), "True")
        assert.strictEqual(yield* read("TCPKeepAlive", yield* assigned(`${name}=0`)), "False")
      }
    })
  )

  it.effect("spaces around a number or a boolean do not matter; those of a text are its own", () =>
    Effect.gen(function* () {
      assert.strictEqual((yield* assigned("DefaultIdleTimeout = 7 ")).idleTimeoutSeconds, 7)
      assert.strictEqual((yield* assigned("TcpNoDelay = False ")).listenerDefaults.noDelay, false)
      assert.strictEqual((yield* assigned("SSLKeyLogFile= a b")).listenerDefaults.sslKeyLogFile, " a b")
    })
  )

  it.effect("what is shown of a name or value that is wrong is short, however long it is", () =>
    Effect.gen(function* () {
      const long = "x".repeat(1_000_000)
      for (const assignment of [long, `${long}=1`, `LogLevel=${long}`, `TcpNoDelay=${long}`, `queueOverflow=${long}`]) {
        assert.isBelow((yield* Effect.flip(assigned(assignment))).message.length, 500)
      }
      assert.isBelow(String(yield* Effect.flip(read(long))).length, 500)
    })
  )

  it.effect("a secret that is wrong is not shown", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(assigned("sslCertKey="))
      assert.notInclude(error.message, '""')
    })
  )
})

describe("settings that are lists of their own", () => {
  it.effect("listeners are URLs, as in the environment; certificates are not read back", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* read("Listeners"), "")
      const urls = "mqtt://0.0.0.0:1884,ws://[::1]:80/mqtt,mqtts://127.0.0.1:8883"
      const changed = yield* assigned(`listeners=${urls}?cert=a.pfx&password=secret`)
      assert.strictEqual(yield* read("listeners", changed), urls)
      assert.deepInclude(changed.listeners[1], { protocol: 2, host: "::1", port: 80, path: "/mqtt" })
      assert.deepStrictEqual((yield* assigned("listeners= ")).listeners, [])
      const typed = { ...defaults, listeners: [{}, { protocol: 3, sslCertStore: "x", host: "::" }] as const }
      assert.strictEqual(yield* read("listeners", typed), "mqtt://127.0.0.1,wss://[::]")
      const placed = { ...typed, listenerDefaults: { host: "10.0.0.1", port: 5 } }
      assert.strictEqual(yield* read("listeners", placed), "mqtt://10.0.0.1:5,wss://[::]:5")
    })
  )

  it.effect("listeners with TLS take the certificate that was set before them", () =>
    Effect.gen(function* () {
      const cert = yield* assigned("sslCertStore=server.pfx")
      const change = yield* Settings.assign("listeners=wss://localhost", cert, false)
      assert.deepInclude(Settings.change(cert, change).listeners[0], { protocol: 3, sslCertStore: "server.pfx" })
      assert.include((yield* Effect.flip(assigned("listeners=wss://localhost"))).message, "needs a certificate")
    })
  )

  it.effect("listeners that are none are an error that says what one is; while it runs, what can be done instead", () =>
    Effect.gen(function* () {
      for (const text of ["localhost", "http://localhost", "mqtt://a,", "mqtt://a:70000", "mqtt://u:p@h"]) {
        const error = yield* Effect.flip(assigned(`listeners=${text}`))
        assert.strictEqual(error._tag, "InvalidSetting")
      }
      const late = yield* Effect.flip(assigned("listeners=mqtt://0.0.0.0", true))
      assert.deepInclude(late, { _tag: "SettingFixed", code: 213 })
      assert.include(late.message, "addListener")
    })
  )

  it.effect("those without a form as text say where they are set", () =>
    Effect.gen(function* () {
      for (const [name, words] of [
        ["sniCertificates", "replaceCertificates"],
        ["listenerDefaults", "by its own name"]
      ] as const) {
        for (const error of [yield* Effect.flip(read(name)), yield* Effect.flip(assigned(`${name}=x`))]) {
          assert.include(String(error), words)
        }
      }
    })
  )
})

describe("the defaults of listeners", () => {
  it("reach each protocol as far as it has them, and its own options win", () => {
    const given = { noDelay: false, sslKeyLogFile: "keys", path: "/mqtt", port: 5 }
    assert.deepStrictEqual(ListenerDefaults.apply(given, { port: 7 }), { noDelay: false, port: 7 })
    assert.deepStrictEqual(ListenerDefaults.apply(given, { protocol: 2, noDelay: true }), {
      protocol: 2,
      noDelay: true,
      path: "/mqtt",
      port: 5
    })
    assert.deepStrictEqual(ListenerDefaults.apply(given, { protocol: 1, sslCertStore: "x" }), {
      protocol: 1,
      sslCertStore: "x",
      noDelay: false,
      sslKeyLogFile: "keys",
      port: 5
    })
  })

  it("are refused like any setting when they are wrong", () => {
    const result = Effect.runSyncExit(BrokerConfig.make({ listenerDefaults: { lingerSeconds: -1 } }))
    assert.strictEqual(result._tag, "Failure")
  })
})
