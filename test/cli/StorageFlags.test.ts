import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { cpSync, existsSync, readdirSync, statSync, truncateSync } from "node:fs"
import { join } from "node:path"
import * as RawClient from "../broker/RawClient.ts"
import { directory } from "../storage/Directory.ts"
import * as Program from "./Program.ts"

const LISTENING = /effect-mqtt listening on mqtt:\/\/127\.0\.0\.1:(\d+)/
const FOR_EVER = { sessionExpiryInterval: 0xffff_ffff }

const broker = (dataDir: string, ...args: ReadonlyArray<string>) =>
  Program.start(["src/cli/main.ts", "broker", "--port", "0", "--data-dir", dataDir, ...args])

const portOf = (program: Program.Program) => Effect.map(program.line(LISTENING), ([, port]) => Number(port))

describe("effect-mqtt broker keeps what outlives it", () => {
  it.live("in the data directory, which it makes and names, also when it is killed", () =>
    Effect.gen(function* () {
      const dataDir = join(yield* directory, "data")
      const first = yield* broker(dataDir)
      const client = yield* RawClient.connect(yield* portOf(first), { clientId: "c", properties: FOR_EVER })
      yield* RawClient.subscribe(client, "t", 1)
      assert.include(first.output(), join(dataDir, "broker.db"))
      assert.strictEqual(statSync(join(dataDir, "broker.db")).mode & 0o777, 0o600)
      first.kill("SIGKILL")
      yield* first.exitCode
      const second = yield* broker(dataDir)
      const options = { clientId: "c", cleanStart: false, properties: FOR_EVER }
      const again = yield* RawClient.connect(yield* portOf(second), options)
      assert.isTrue(again.connAck.sessionPresent)
    })
  )

  it.live("or not, with --memory: then there are no files", () =>
    Effect.gen(function* () {
      const dataDir = join(yield* directory, "data")
      const program = yield* broker(dataDir, "--memory")
      yield* portOf(program)
      assert.include(program.output(), "keeps nothing")
      assert.isFalse(existsSync(dataDir))
    })
  )

  it.live("in a directory that the environment names", () =>
    Effect.gen(function* () {
      const dataDir = join(yield* directory, "elsewhere")
      const args = ["src/cli/main.ts", "broker", "--port", "0", "--durability", "os"]
      const program = yield* Program.start(args, { EFFECT_MQTT_DATA_DIR: dataDir })
      yield* portOf(program)
      assert.include(program.output(), "(os)")
      assert.include(readdirSync(dataDir), "broker.db")
    })
  )

  it.live("for one broker at a time: the second ends with exit code 4 and one line", () =>
    Effect.gen(function* () {
      const dataDir = yield* directory
      yield* portOf(yield* broker(dataDir))
      const second = yield* broker(dataDir)
      assert.strictEqual(yield* second.exitCode, 4)
      assert.match(second.errors(), /^effect-mqtt: The store is in use: .*Stop the other broker.*\n$/)
    })
  )

  it.live("and copies it while it runs, on effect-mqtt backup", () =>
    Effect.gen(function* () {
      const dataDir = yield* directory
      const running = yield* broker(dataDir)
      const client = yield* RawClient.connect(yield* portOf(running), { clientId: "c", properties: FOR_EVER })
      yield* RawClient.subscribe(client, "t", 1)
      const restored = join(yield* directory, "restored")
      const copy = join(yield* directory, "copy.db")
      const backup = (to: string) => Program.start(["src/cli/main.ts", "backup", to, "--data-dir", dataDir])
      assert.strictEqual(yield* (yield* backup(copy)).exitCode, 0)
      const repeated = yield* backup(copy)
      assert.strictEqual(yield* repeated.exitCode, 4)
      assert.match(repeated.errors(), /exists already/)
      const made = yield* broker(restored)
      yield* portOf(made)
      made.kill("SIGTERM")
      yield* made.exitCode
      yield* Effect.sync(() => cpSync(copy, join(restored, "broker.db")))
      const options = { clientId: "c", cleanStart: false, properties: FOR_EVER }
      const again = yield* RawClient.connect(yield* portOf(yield* broker(restored)), options)
      assert.isTrue(again.connAck.sessionPresent)
    })
  )

  it.live("and with --recover starts on a damaged one, which it moves aside", () =>
    Effect.gen(function* () {
      const dataDir = yield* directory
      const first = yield* broker(dataDir)
      yield* portOf(first)
      first.kill("SIGTERM")
      yield* first.exitCode
      const file = join(dataDir, "broker.db")
      truncateSync(file, statSync(file).size - 8_192)
      const refused = yield* broker(dataDir)
      assert.strictEqual(yield* refused.exitCode, 4)
      assert.match(refused.errors(), /--recover/)
      const recovered = yield* broker(dataDir, "--recover")
      yield* portOf(recovered)
      assert.strictEqual(readdirSync(dataDir).filter((name) => name.startsWith("broker.db.damaged-")).length, 1)
    })
  )
})
