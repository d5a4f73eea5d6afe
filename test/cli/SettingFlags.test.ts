/**
 * `--set Name=Value` and the environment, over every setting there is; and the command that lists them.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as BrokerConfig from "../../src/broker/BrokerConfig.ts"
import * as SettingFlags from "../../src/cli/SettingFlags.ts"
import * as DocumentedSettings from "../../src/settings/DocumentedSettings.ts"
import * as Settings from "../../src/settings/Settings.ts"
import * as RawClient from "../broker/RawClient.ts"
import * as Program from "./Program.ts"

const { defaults } = BrokerConfig

const read = (name: string, settings = defaults) => Settings.read(name, settings, () => Effect.succeed(""))

const settable = Settings.all.filter(({ place }) => ["broker", "listener", "listeners"].includes(place.scope))

/** A value for each that may be its own; what reads as nothing takes nothing or something else. */
const OTHERWISE: Readonly<Record<string, string>> = {
  LocalPort: "0",
  port: "0",
  UseIPv6: "0",
  listeners: "mqtt://127.0.0.1:0",
  origins: "https://a.example",
  proxyProtocolFrom: "10.0.0.0/8",
  sslCertStore: "server.pfx",
  sslCertKey: "server.key",
  sslCertStorePassword: "secret"
}

const otherValue = (name: string) => Effect.map(read(name), (value) => OTHERWISE[name] ?? value)

const run = (args: ReadonlyArray<string>, env?: Readonly<Record<string, string>>) =>
  Program.start(["src/cli/main.ts", ...args], env)

const LISTENING = /effect-mqtt listening on mqtt:\/\/127\.0\.0\.1:(\d+)/

describe("--set", () => {
  it.effect("takes every setting that can be set, one after the other", () =>
    Effect.gen(function* () {
      assert.isAbove(settable.length, 70)
      const assignments = yield* Effect.forEach(settable, ({ name }) =>
        Effect.map(otherValue(name), (value) => `${name}=${value}`)
      )
      const changed = yield* SettingFlags.apply(defaults, assignments)
      for (const { name } of settable) {
        const hidden = ["sslCertStorePassword", "sslCertKey"].includes(name)
        assert.strictEqual(yield* read(name, changed), hidden ? "" : yield* otherValue(name), name)
      }
      assert.deepStrictEqual(yield* BrokerConfig.make(changed), changed)
    })
  )

  it.effect("refuses all others, each with the documented code and its name", () =>
    Effect.gen(function* () {
      for (const setting of Settings.all) {
        if (settable.includes(setting)) continue
        const error = yield* Effect.flip(SettingFlags.apply(defaults, [`${setting.name}=1`]))
        assert.include([10_022, 10_045], error.code)
        assert.include(error.message, setting.name)
      }
    })
  )

  it.live("in one program: everything that can be set is, and it serves", () =>
    Effect.gen(function* () {
      const plain = settable.filter(({ name }) => !["path", "sslCertKey", "proxyProtocolFrom"].includes(name))
      const flags = yield* Effect.forEach(plain, ({ name }) =>
        Effect.map(otherValue(name), (value) => ["--set", `${name}=${value}`])
      )
      const program = yield* run(["broker", "--memory", ...flags.flat()])
      const [, port] = yield* program.line(LISTENING)
      yield* RawClient.ping(yield* RawClient.connect(Number(port)))
    })
  )
})

describe("the environment", () => {
  it.live("takes settings by the documented names too", () =>
    Effect.gen(function* () {
      const env = { EFFECT_MQTT_LOCAL_PORT: "0", EFFECT_MQTT_LOG_LEVEL: "2", EFFECT_MQTT_KEEP_ALIVE_TIME: "60000" }
      const program = yield* run(["broker", "--memory", "--port", "0"], env)
      const [, port] = yield* program.line(LISTENING)
      yield* RawClient.connect(Number(port), { clientId: "logged" })
      program.kill("SIGTERM")
      assert.strictEqual(yield* program.exitCode, 0)
      assert.include(program.errors(), "Connected")
    })
  )

  it("has a name for every setting, and no two have the same", () => {
    const plain = Settings.names.map((name) => name.toUpperCase().replaceAll("_", ""))
    assert.strictEqual(new Set(plain).size, Settings.names.length)
    for (const variable of BrokerConfig.PROGRAM_VARIABLES) {
      assert.isTrue(variable.startsWith(`${BrokerConfig.ENVIRONMENT_PREFIX}_`))
    }
  })

  for (const [variable, value, code, words] of [
    ["EFFECT_MQTT_QUEUE_MESAGES_MAX", "5", 2, "queueMessagesMax"],
    ["EFFECT_MQTT_TCP_NO_DELAY", "perhaps", 2, "TcpNoDelay must be True or False"],
    ["EFFECT_MQTT_FIREWALL_HOST", "x", 2, "FirewallHost does not apply"],
    ["EFFECT_MQTT_", "", 2, "no setting"],
    ["EFFECT_MQTT_CONNECTIONS_MAX", "x", 2, 'connectionsMax must be a whole number from 1 to 10000000, and not "x"'],
    ["EFFECT_MQTT_CONNECTIONS_MAX", "0", 2, "(EFFECT_MQTT_CONNECTIONS_MAX in the environment)"],
    ["EFFECT_MQTT_QUEUE_OVERFLOW", "explode", 2, "queueOverflow must be"],
    ["EFFECT_MQTT_QUEUE_QOS0", "perhaps", 2, "queueQos0 must be True or False"],
    ["EFFECT_MQTT_LISTENERS", "mqtts://127.0.0.1:0", 2, "needs a certificate"]
  ] as const) {
    it.live(`${variable}=${value} is said in one line, and ends with ${code}`, () =>
      Effect.gen(function* () {
        const program = yield* run(["broker", "--memory", "--port", "0"], { [variable]: value })
        assert.strictEqual(yield* program.exitCode, code)
        assert.match(program.errors(), /^effect-mqtt: [^\n]*\n$/)
        assert.include(program.errors(), words)
      })
    )
  }
})

describe("effect-mqtt settings", () => {
  it.live("lists every setting: to set, to read, and why not", () =>
    Effect.gen(function* () {
      const program = yield* run(["settings"])
      assert.strictEqual(yield* program.exitCode, 0)
      const lines = program.output().split("\n")
      for (const name of Settings.names) {
        const found = lines.filter((line) => new RegExp(`^ {2}${name}[=:[]`).test(line))
        assert.strictEqual(found.length, 1, name)
      }
      for (const { name } of settable) assert.include(lines, `  ${name}=${yield* read(name)}`)
      for (const [name, place] of Object.entries(DocumentedSettings.places)) {
        if (place.scope === "none") assert.include(lines, `  ${name}: ${place.reason}`)
      }
    })
  )
})
