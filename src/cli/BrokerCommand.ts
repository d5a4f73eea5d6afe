/**
 * `effect-mqtt broker`: a broker as a program, until it is asked to stop.
 */
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Broker from "../broker/Broker.ts"
import * as BrokerConfig from "../broker/BrokerConfig.ts"
import type { BrokerError } from "../broker/BrokerError.ts"
import * as MemoryStorage from "../storage/MemoryStorage.ts"
import * as Listener from "../transport/Listener.ts"
import * as ExitCode from "./ExitCode.ts"

const HOST = "127.0.0.1"
const PORT = 1883

const flags = {
  host: Flag.String("host").pipe(
    Flag.withDescription(`Address to listen on (default ${HOST}; 0.0.0.0 lets other machines in)`),
    Flag.optional
  ),
  port: Flag.Int("port").pipe(
    Flag.withDescription(`Port to listen on (default ${PORT}; 0 takes any free one and says which)`),
    Flag.optional
  )
}

const description = `Run an MQTT broker (3.1, 3.1.1 and 5.0) until Ctrl-C.

It says where it listens, and on Ctrl-C or SIGTERM it says goodbye to its clients and stops. Sessions and retained \
messages live as long as the program.

Every limit has a safe default and a name in the environment, for example:
  ${BrokerConfig.ENVIRONMENT_PREFIX}_CONNECTIONS_MAX=1000
  ${BrokerConfig.ENVIRONMENT_PREFIX}_QUEUE_MESSAGES_MAX=5000
  ${BrokerConfig.ENVIRONMENT_PREFIX}_LISTENERS=mqtt://127.0.0.1:1883,mqtt://[::1]:1883
A value that is out of its range stops the broker from starting, and says so.

${ExitCode.explanation}`.replaceAll("\n", "\n  ") // in line with the heading that help puts above it

const examples = [
  { command: "effect-mqtt broker", description: "A broker for this machine, on the usual port" },
  { command: "effect-mqtt broker --host 0.0.0.0", description: "A broker for the whole network" },
  { command: "effect-mqtt broker --port 0", description: "A broker on any free port, for a test" }
]

/** What the arguments say comes before the environment, and that before the default. */
const listenersFrom = (
  host: Option.Option<string>,
  port: Option.Option<number>,
  settings: BrokerConfig.BrokerSettings
): ReadonlyArray<Listener.ListenerOptions> => {
  const given = Option.isSome(host) || Option.isSome(port)
  if (!given && settings.listeners.length > 0) return settings.listeners
  return [{ host: Option.getOrElse(host, () => HOST), port: Option.getOrElse(port, () => PORT) }]
}

const run = Effect.fnUntraced(function* (host: Option.Option<string>, port: Option.Option<number>) {
  const settings = yield* BrokerConfig.fromEnv()
  const listeners = listenersFrom(host, port, settings)
  const layer = Broker.layer.pipe(Layer.provide([BrokerConfig.layer({ ...settings, listeners }), MemoryStorage.layer]))
  const program = Effect.gen(function* () {
    const broker = yield* Broker.Broker
    for (const listener of yield* broker.listeners) {
      yield* Console.log(`effect-mqtt listening on ${Listener.url(listener)}`)
    }
    return yield* Effect.never
  })
  return yield* program.pipe(Effect.provide(layer))
})

const explain = (error: BrokerError) =>
  Console.error(`effect-mqtt: ${error.message}`).pipe(
    Effect.andThen(Effect.fail(new ExitCode.ProgramFailed({ exitCode: ExitCode.of(error.reason) })))
  )

export const command = Command.make("broker", flags, ({ host, port }) =>
  run(host, port).pipe(
    Effect.catchTag("BrokerError", explain),
    Effect.onInterrupt(() => Console.log("effect-mqtt stopped"))
  )
).pipe(
  Command.withDescription(description),
  Command.withShortDescription("Run an MQTT broker"),
  Command.withExamples(examples)
)
