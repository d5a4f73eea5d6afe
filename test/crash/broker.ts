/**
 * A broker embedded in another program, as a process of its own: its only argument is the options as JSON.
 *
 * What the program `effect-mqtt` does rarely, this one does all the time: it empties its log after every few commits.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Broker from "../../src/broker/Broker.ts"
import * as BrokerConfig from "../../src/broker/BrokerConfig.ts"
import * as ExitCode from "../../src/cli/ExitCode.ts"
import * as SqliteStorage from "../../src/storage/SqliteStorage.ts"
import type { EmbeddedOptions } from "./BrokerProcess.ts"

const LOG_BYTES_MAX = 200_000

const { durability, file } = JSON.parse(process.argv[2] ?? "{}") as EmbeddedOptions // written by BrokerProcess.ts

const layer = Layer.unwrap(
  Effect.map(BrokerConfig.fromEnv(), (settings) =>
    Broker.layer.pipe(
      Layer.provide([
        BrokerConfig.layer({ ...settings, listeners: [{ port: 0 }] }),
        SqliteStorage.layer({ file, durability, logBytesMax: LOG_BYTES_MAX })
      ])
    )
  )
)

const program = Effect.gen(function* () {
  const broker = yield* Broker.Broker
  for (const { localPort } of yield* broker.listeners) {
    yield* Console.log(`effect-mqtt listening on mqtt://127.0.0.1:${localPort}`)
  }
  return yield* Effect.never
})

NodeRuntime.runMain(Effect.provide(program, layer), { teardown: ExitCode.teardown })
