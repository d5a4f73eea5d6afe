/**
 * Mosquitto's command line clients against this broker. They are not part of npm: without them these tests say so.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { spawn, spawnSync } from "node:child_process"
import * as Broker from "../../src/broker/Broker.ts"
import { brokerLayer, collect, port } from "../broker/support.ts"

const isThere = ["mosquitto_pub", "mosquitto_sub"].every(
  (program) => spawnSync(program, ["--help"]).error === undefined
)
if (!isThere) console.log("skipped: mosquitto_pub and mosquitto_sub are not on the PATH (Debian: mosquitto-clients)")

interface Finished {
  readonly code: number | null
  readonly output: string
}

/** Runs a program to its end. */
const run = (program: string, args: ReadonlyArray<string>) =>
  Effect.callback<Finished>((resume) => {
    const child = spawn(program, args, { stdio: ["ignore", "pipe", "inherit"] })
    let output = ""
    child.stdout.on("data", (bytes: Buffer) => {
      output += bytes.toString()
    })
    child.once("close", (code) => resume(Effect.succeed({ code, output })))
    return Effect.sync(() => child.kill("SIGKILL"))
  })

/** Starts mosquitto_sub, and waits until the broker has granted its subscription. */
const listen = Effect.fnUntraced(function* (args: ReadonlyArray<string>) {
  const broker = yield* Broker.Broker
  const subscribed = yield* collect(broker.eventsOf("Subscribed"), 1)
  const listening = yield* Effect.forkChild(run("mosquitto_sub", args))
  const [event] = yield* Fiber.join(subscribed)
  return { event: event!, listening }
})

for (const version of ["mqttv31", "mqttv311", "mqttv5"]) {
  describe.skipIf(!isThere)(`Mosquitto's clients, ${version}`, () => {
    for (const qos of ["0", "1", "2"]) {
      it.live(`carry messages at QoS ${qos}`, () =>
        Effect.gen(function* () {
          const common = ["-h", "127.0.0.1", "-p", String(yield* port), "-V", version, "-q", qos]
          const { event, listening } = yield* listen([...common, "-i", "sub", "-t", "a/+", "-C", "2", "-F", "%t %q %p"])
          assert.strictEqual(String(event.returnCode), qos)
          for (const text of ["one", "two"]) {
            const sent = yield* run("mosquitto_pub", [...common, "-i", "pub", "-t", "a/b", "-m", text])
            assert.strictEqual(sent.code, 0)
          }
          const heard = yield* Fiber.join(listening)
          assert.deepStrictEqual(heard, { code: 0, output: `a/b ${qos} one\na/b ${qos} two\n` })
        }).pipe(Effect.provide(brokerLayer()))
      )
    }

    it.live("get retained messages, and what was queued for a durable session", () =>
      Effect.gen(function* () {
        const broker = yield* Broker.Broker
        const common = ["-h", "127.0.0.1", "-p", String(yield* port), "-V", version, "-q", "1"]
        const durable = [...common, "-i", "durable", "-c", "-t", "q", ...(version === "mqttv5" ? ["-x", "600"] : [])]
        yield* run("mosquitto_pub", [...common, "-i", "pub", "-t", "q", "-m", "kept", "-r"])
        const first = yield* run("mosquitto_sub", [...durable, "-C", "1", "-F", "%r %p"])
        assert.deepStrictEqual(first, { code: 0, output: "1 kept\n" })
        yield* run("mosquitto_pub", [...common, "-i", "pub", "-t", "q", "-m", "queued"])
        assert.strictEqual((yield* broker.session("durable"))?.outgoingMessageCount, 1)
        const second = yield* run("mosquitto_sub", [...durable, "-C", "2", "-F", "%p"])
        assert.strictEqual(second.code, 0)
        assert.sameMembers(second.output.trim().split("\n"), ["queued", "kept"])
      }).pipe(Effect.provide(brokerLayer()))
    )
  })
}
