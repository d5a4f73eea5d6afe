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
    })
  )

  it.effect("of one that does not apply says why", () =>
    Effect.gen(function* () {
      assert.isAbove(placed("none").length, 10)
      for (const name of placed("none")) {
        const error = yield* Effect.flip(read(name))
        assert.isTrue(typeof error !== "string" && error._tag === "SettingNotApplicable")
        assert.match(typeof error === "string" ? "" : error.message, /^The setting \w+ does not apply: .{20,}\.$/)
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
        ["DefaultIdleTimeout=-1", "DefaultIdleTimeout", "idleTimeoutSeconds must be a whole number from 0"],
        ["queueMessagesMax=many", "queueMessagesMax", "many"],
        ["LocalPort=70000", "LocalPort", "port must be a whole number from 0 to 65535"],
        ["KeepAliveTime=1.5", "KeepAliveTime"],
        ["UseIPv6=3", "UseIPv6"],
        ["queueOverflow=explode", "queueOverflow", "drop-newest"],
        ["LogLevel=4", "LogLevel", "0 to 3"]
      ] as const) {
        const error = yield* Effect.flip(assigned(assignment))
        assert.strictEqual(error._tag, "InvalidSetting")
        for (const word of words) assert.include(error.message, word)
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
      assert.strictEqual((yield* assigned("hookTimeoutSeconds=3")).hookTimeoutSeconds, 3)
      assert.include((yield* Effect.flip(assigned("hookTimeoutSeconds=3", true))).message, "before the broker starts")
    })
  )

  it.effect("a secret that is wrong is not shown", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(assigned("sslCertKey="))
      assert.notInclude(error.message, '""')
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
