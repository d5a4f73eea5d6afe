import { afterAll, assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import mqtt from "mqtt"
import * as TestCertificates from "../transport/TestCertificates.ts"
import { ca, client, connect, server } from "../transport/TestTls.ts"
import * as Program from "./Program.ts"

const files = TestCertificates.folder()
afterAll(() => files.remove())

const renewed = TestCertificates.issue({ commonName: "renewed", issuer: ca, hostNames: ["127.0.0.1"] })
const cert = files.write("server.pfx", TestCertificates.pfx([server], "test"))
const clientCa = files.write("ca.pem", ca.certPem)

const run = (args: ReadonlyArray<string>, env?: Readonly<Record<string, string>>) =>
  Program.start(["src/cli/main.ts", "broker", "--memory", ...args], env)

const connects = (url: string, options: object = {}) =>
  Effect.callback<boolean>((resume) => {
    const connecting = mqtt.connect(url, { reconnectPeriod: 0, ca: ca.certPem, ...options })
    const done = (answer: boolean) => {
      connecting.end(true)
      resume(Effect.succeed(answer))
    }
    connecting.once("connect", () => done(true))
    connecting.on("error", () => done(false))
    connecting.once("close", () => done(false))
  })

describe("effect-mqtt broker --listen", () => {
  it.live("listens on every URL, with one certificate for those with TLS", () =>
    Effect.gen(function* () {
      const urls = ["mqtt://127.0.0.1:0", "mqtts://127.0.0.1:0", "ws://127.0.0.1:0/mqtt", "wss://127.0.0.1:0/mqtt"]
      const flags = ["--cert", cert, "--cert-password", "test"]
      const program = yield* run([...urls.flatMap((url) => ["--listen", url]), ...flags])
      yield* program.line(/listening on wss:.*\n/)
      const found = program.output().match(/(mqtts?|wss?):\/\/127\.0\.0\.1:\d+/g)!
      assert.strictEqual(found.length, 4)
      for (const url of found) assert.isTrue(yield* connects(url.startsWith("ws") ? `${url}/mqtt` : url), url)
      assert.notInclude(program.output() + program.errors(), "test.")
    })
  )

  it.live("tells its own troubles on standard error: a key log whose disk is full", () =>
    Effect.gen(function* () {
      const flags = ["--listen", "mqtts://127.0.0.1:0", "--cert", cert, "--cert-password", "test"]
      const program = yield* run([...flags, "--set", "SSLKeyLogFile=/dev/full"])
      const [, url] = yield* program.line(/listening on (mqtts:\S+)/)
      assert.isTrue(yield* connects(url!))
      yield* program.errorLine(/SSLKeyLogFile is not written to any more/)
      assert.isTrue(yield* connects(url!))
    })
  )

  it.live("loads its certificates again on SIGHUP, and keeps the old ones where they are not good", () =>
    Effect.gen(function* () {
      const renewing = files.write("renewing.pem", server.pem)
      const kept = files.write("kept.pem", server.pem)
      const listen = (path: string) => ["--listen", `mqtts://127.0.0.1:0?cert=${path}`]
      const program = yield* run([...listen(renewing), ...listen(kept), "--listen", "mqtt://127.0.0.1:0"])
      yield* program.line(/listening on mqtt:.*\n/)
      const [first, second] = [...program.output().matchAll(/mqtts:\S+:(\d+)/g)].map(([, port]) => Number(port))
      const shown = (port: number | undefined) =>
        Effect.map(connect(port!), (socket) => socket.getPeerCertificate().subject.CN)
      files.write("renewing.pem", renewed.pem)
      files.write("kept.pem", "ruined")
      program.kill("SIGHUP")
      yield* program.line(new RegExp(`reloaded the certificates of mqtts://127\\.0\\.0\\.1:${first}\\n`))
      yield* program.errorLine(
        new RegExp(`mqtts://127\\.0\\.0\\.1:${second} goes on with the certificates it has: .+\\n`)
      )
      assert.deepStrictEqual([yield* shown(first), yield* shown(second)], ["renewed", "localhost"])
      files.write("kept.pem", renewed.pem)
      program.kill("SIGHUP")
      yield* program.line(new RegExp(`reloaded the certificates of mqtts://127\\.0\\.0\\.1:${second}\\n`))
      assert.strictEqual(yield* shown(second), "renewed")
      // A closed terminal sends the signal too, and cannot be written to any more.
      program.deafen()
      files.write("kept.pem", server.pem)
      program.kill("SIGHUP")
      while ((yield* shown(second)) !== "localhost");
      program.kill("SIGTERM")
      assert.strictEqual(yield* program.exitCode, 0)
    })
  )

  it.live("takes the password from the environment, and --set for the certificate", () =>
    Effect.gen(function* () {
      const env = { EFFECT_MQTT_CERT_PASSWORD: "test" }
      const program = yield* run(["--listen", "mqtts://127.0.0.1:0", "--set", `sslCertStore=${cert}`], env)
      const [, url] = yield* program.line(/listening on (mqtts:\S+)/)
      assert.isTrue(yield* connects(url!))
    })
  )

  it.live("asks for client certificates, and takes listeners with TLS from the environment", () =>
    Effect.gen(function* () {
      const env = { EFFECT_MQTT_LISTENERS: `mqtts://127.0.0.1:0?cert=${cert}&password=test&client-ca=${clientCa}` }
      const program = yield* run([], env)
      const [, url] = yield* program.line(/listening on (mqtts:\S+)/)
      assert.isTrue(yield* connects(url!, { cert: client.certPem, key: client.keyPem }))
      assert.isFalse(yield* connects(url!))
    })
  )

  for (const [what, args, code, words] of [
    ["no URL", ["--listen", "localhost"], 2, "is no listener"],
    ["TLS without a certificate", ["--listen", "mqtts://localhost:0"], 2, "--cert"],
    [
      "a certificate that nothing needs",
      ["--listen", "ws://localhost:0", "--cert", cert],
      2,
      "--cert is for listeners"
    ],
    ["an authority that nothing needs", ["--port", "0", "--client-ca", clientCa], 2, "--client-ca is for listeners"],
    ["two ways to say where", ["--listen", "mqtt://localhost:0", "--port", "0"], 2, "not both"],
    [
      "a wrong password",
      ["--listen", "mqtts://localhost:0", "--cert", cert, "--cert-password", "guess"],
      3,
      "password"
    ],
    ["a missing certificate", ["--listen", "mqtts://localhost:0", "--cert", "/nowhere.pem"], 3, "no such file"]
  ] as const) {
    it.live(`${what} is said in one line, and ends with ${code}`, () =>
      Effect.gen(function* () {
        const program = yield* run(args)
        assert.strictEqual(yield* program.exitCode, code)
        assert.match(program.errors(), /^effect-mqtt: [^\n]*\n$/)
        assert.include(program.errors(), words)
        assert.notInclude(program.errors(), "guess")
      })
    )
  }
})
