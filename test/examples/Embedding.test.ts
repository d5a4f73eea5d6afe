import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as RawClient from "../broker/RawClient.ts"
import * as Program from "../cli/Program.ts"

describe("The embedding example", () => {
  it.live("listens, publishes, prints what clients publish, and stops when asked", () =>
    Effect.gen(function* () {
      const program = yield* Program.start(["test/examples/embedding.ts"], { PORT: "0" })
      const line = yield* program.line(/localPort: (\d+)/)
      const client = yield* RawClient.connect(Number(line[1]))
      yield* RawClient.subscribe(client, "greetings")
      const greeting = yield* client.expect("Publish")
      assert.isTrue(greeting.retain)
      assert.strictEqual(Buffer.from(greeting.payload).toString(), "hello")
      yield* client.send(RawClient.publish("sensors/1", "21.5 C"))
      yield* program.line(/^sensors\/1 21\.5 C$/m)
      program.kill("SIGTERM")
      yield* client.expect("Disconnect")
      // What `NodeRuntime.runMain` exits with by default after a signal.
      assert.strictEqual(yield* program.exitCode, 130)
      assert.strictEqual(program.errors(), "")
    })
  )
})
