import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { VERSION } from "../../src/settings/Version.ts"
import * as RawClient from "../broker/RawClient.ts"
import * as Program from "./Program.ts"

const run = (args: ReadonlyArray<string>, env?: Readonly<Record<string, string>>) =>
  Program.start(["src/cli/main.ts", ...args], env)

const set = (assignment: string) => ["broker", "--memory", "--port", "0", "--set", assignment] as const

const LISTENING = /effect-mqtt listening on mqtt:\/\/127\.0\.0\.1:(\d+)/

describe("effect-mqtt broker", () => {
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    it.live(`says where it listens, serves, and on ${signal} says goodbye and exits with 0`, () =>
      Effect.gen(function* () {
        const program = yield* run(["broker", "--memory", "--port", "0"])
        const [, port] = yield* program.line(LISTENING)
        const client = yield* RawClient.connect(Number(port))
        yield* RawClient.ping(client)
        program.kill(signal)
        assert.strictEqual((yield* client.expect("Disconnect")).reasonCode, 0x8b)
        yield* client.ended
        assert.strictEqual(yield* program.exitCode, 0)
        assert.include(program.output(), "effect-mqtt stopped")
        assert.strictEqual(program.errors(), "")
      })
    )
  }

  it.live("goes on after SIGHUP without a certificate to reload, and says so", () =>
    Effect.gen(function* () {
      const program = yield* run(["broker", "--memory", "--port", "0"])
      const [, port] = yield* program.line(LISTENING)
      const client = yield* RawClient.connect(Number(port))
      program.kill("SIGHUP")
      yield* program.line(/no listener with TLS/)
      yield* RawClient.ping(client)
      program.kill("SIGTERM")
      assert.strictEqual((yield* client.expect("Disconnect")).reasonCode, 0x8b)
      assert.strictEqual(yield* program.exitCode, 0)
      assert.strictEqual(program.errors(), "")
    })
  )

  it.live("what is logged goes on to the last goodbye", () =>
    Effect.gen(function* () {
      const program = yield* run(["broker", "--memory", "--port", "0", "--set", "LogLevel=2"])
      const [, port] = yield* program.line(LISTENING)
      const client = yield* RawClient.connect(Number(port))
      program.kill("SIGTERM")
      yield* client.expect("Disconnect")
      assert.strictEqual(yield* program.exitCode, 0)
      const lines = ["Connected", "Stopped listening", "was removed", "Disconnected: The broker is shutting down"]
      for (const line of lines) assert.include(program.errors(), line)
    })
  )

  it.live("an address in use is one line on standard error that names it, and exit code 3", () =>
    Effect.gen(function* () {
      const first = yield* run(["broker", "--memory", "--port", "0"])
      const port = (yield* first.line(LISTENING))[1]!
      const second = yield* run(["broker", "--memory", "--port", port])
      assert.strictEqual(yield* second.exitCode, 3)
      assert.match(second.errors(), new RegExp(`^effect-mqtt: Cannot listen on 127\\.0\\.0\\.1:${port}: .*in use.*\n$`))
    })
  )

  const wrong = [
    ["a port that is not a number", ["broker", "--memory", "--port", "abc"], {}],
    ["a port out of range", ["broker", "--memory", "--port", "70000"], {}],
    ["an unknown flag", ["broker", "--memory", "--prot", "1"], {}],
    ["an unknown command", ["brokre"], {}],
    ["a setting that nothing has", [...set("TcpNoDely=1")], {}, "TcpNoDelay, noDelay"],
    ["a setting that does not apply", [...set("FirewallHost=x")], {}, "does not apply"],
    ["a setting without a value", [...set("TcpNoDelay")], {}, "must be Name=Value"],
    ["a value that is none", [...set("LogLevel=9")], {}, "LogLevel must be a whole number from 0 to 3"],
    ["a listener that is none", [...set("listeners=localhost")], {}, "mqtt://127.0.0.1:1883"],
    ["a list that is no text", [...set("sniCertificates=x")], {}, "replaceCertificates"],
    ["a setting out of range", ["broker", "--memory", "--port", "0"], { EFFECT_MQTT_INFLIGHT_MAX: "0" }, "inflightMax"]
  ] as const
  for (const [what, args, env, words = ""] of wrong) {
    it.live(`${what} is wrong usage: exit code 2, with a reason on standard error`, () =>
      Effect.gen(function* () {
        const program = yield* run(args, env)
        assert.strictEqual(yield* program.exitCode, 2)
        assert.notStrictEqual(program.errors().trim(), "")
        assert.include(program.errors(), words)
      })
    )
  }

  it.live("settings come from the environment, and arguments win", () =>
    Effect.gen(function* () {
      const env = { EFFECT_MQTT_LISTENERS: "mqtt://127.0.0.1:0,mqtt://127.0.0.1:0", EFFECT_MQTT_RECEIVE_MAXIMUM: "7" }
      const program = yield* run(["broker", "--memory"], env)
      const found = yield* program.line(/(listening on mqtt:\/\/127\.0\.0\.1:(\d+)\s+(?:effect-mqtt )?){2}/)
      const client = yield* RawClient.connect(Number(found[2]))
      assert.strictEqual(client.connAck.properties?.receiveMaximum, 7)
      const one = yield* run(["broker", "--memory", "--port", "0"], env)
      yield* one.line(LISTENING)
      one.kill("SIGTERM")
      yield* one.exitCode
      assert.strictEqual(one.output().match(/listening/g)?.length, 1)
    })
  )

  it.live("--set sets by the documented names and ours, and wins over the environment", () =>
    Effect.gen(function* () {
      const env = { EFFECT_MQTT_RECEIVE_MAXIMUM: "7" }
      const assignments = ["--set", "receiveMaximum=9", "--set", "LocalPort=0", "--set", "TcpNoDelay=False"]
      const program = yield* run(["broker", "--memory", ...assignments], env)
      const [, port] = yield* program.line(LISTENING)
      const client = yield* RawClient.connect(Number(port))
      assert.strictEqual(client.connAck.properties?.receiveMaximum, 9)
    })
  )

  it.live("--version is the package's", () =>
    Effect.gen(function* () {
      const program = yield* run(["--version"])
      assert.strictEqual(yield* program.exitCode, 0)
      assert.include(program.output(), VERSION)
    })
  )

  it.live("--help teaches: examples, the environment, exit codes", () =>
    Effect.gen(function* () {
      const program = yield* run(["broker", "--help"])
      assert.strictEqual(yield* program.exitCode, 0)
      for (const word of [
        "--host",
        "--port",
        "EFFECT_MQTT_CONNECTIONS_MAX",
        "EXAMPLES",
        "Exit codes",
        "Ctrl-C",
        "SIGHUP",
        "effect-mqtt settings"
      ]) {
        assert.include(program.output(), word)
      }
    })
  )
})
