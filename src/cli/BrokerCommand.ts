/**
 * `effect-mqtt broker`: a broker as a program, until it is asked to stop.
 */
import * as Command from "effect/cli/Command"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Stream from "effect/Stream"
import * as Broker from "../broker/Broker.ts"
import * as BrokerConfig from "../broker/BrokerConfig.ts"
import * as BrokerLogger from "../broker/BrokerLogger.ts"
import * as Listener from "../transport/Listener.ts"
import * as ExitCode from "./ExitCode.ts"
import * as Hangup from "./Hangup.ts"
import * as ListenerFlags from "./ListenerFlags.ts"
import * as SettingFlags from "./SettingFlags.ts"
import * as StorageFlags from "./StorageFlags.ts"

const flags = {
  ...ListenerFlags.flags,
  ...SettingFlags.flags,
  ...StorageFlags.flags
}

const description = `Run an MQTT broker (3.1, 3.1.1 and 5.0) until Ctrl-C.

It says where it listens, and on Ctrl-C or SIGTERM it says goodbye to its clients and stops. On SIGHUP it loads the \
certificates of its listeners again, from the same files; where they are not good it says so and keeps the old ones.

Sessions that outlive their connections, the messages in them and retained messages are kept in \
${StorageFlags.DATA_DIR}/ (--data-dir). An acknowledgement leaves the broker when what it promises is on disk: no \
crash loses an acknowledged message or delivers a QoS 2 message twice. --durability says what a crash may be, \
--memory keeps nothing.

Every limit has a safe default and a name in the environment, for example:
  ${BrokerConfig.ENVIRONMENT_PREFIX}_CONNECTIONS_MAX=1000
  ${BrokerConfig.ENVIRONMENT_PREFIX}_QUEUE_MESSAGES_MAX=5000
  ${BrokerConfig.ENVIRONMENT_PREFIX}_LISTENERS=mqtt://127.0.0.1:1883,mqtt://[::1]:1883
  ${BrokerConfig.ENVIRONMENT_PREFIX}_TCP_NO_DELAY=False
--set does the same on the command line, also by the documented names: --set DefaultIdleTimeout=60. Every name and \
default: effect-mqtt settings.
--set LogLevel=2 logs connections and sessions to standard error, 3 every packet too.
A value that is out of its range stops the broker from starting, and says so.

${ExitCode.explanation}`.replaceAll("\n", "\n  ") // in line with the heading that help puts above it

const examples = [
  { command: "effect-mqtt broker", description: "A broker for this machine, on the usual port" },
  { command: "effect-mqtt broker --host 0.0.0.0", description: "A broker for the whole network" },
  {
    command: "effect-mqtt broker --listen mqtts://0.0.0.0 --listen wss://0.0.0.0:8084/mqtt --cert server.pfx",
    description: "TLS for programs, secure WebSocket for browsers"
  },
  { command: "effect-mqtt broker --port 0 --memory", description: "A broker on any free port, for a test" },
  { command: "effect-mqtt broker --data-dir /var/lib/effect-mqtt", description: "A broker that keeps its data there" }
]

/** What the arguments say comes before the environment, and that before the default. */
const listenersFrom = Effect.fnUntraced(function* (
  choice: ListenerFlags.ListenerChoice,
  settings: BrokerConfig.BrokerSettings
) {
  const given = ListenerFlags.listeners(choice, settings.listenerDefaults)
  if (typeof given === "string") return yield* ExitCode.fail(given, ExitCode.USAGE)
  if (given !== undefined) return given
  return settings.listeners.length > 0 ? settings.listeners : [ListenerFlags.DEFAULT]
})

/** The broker's own troubles: certificates in doubt, a key log or a listener that failed. */
const tellTrouble = (broker: Broker.Broker["Service"]): Effect.Effect<void> =>
  broker.eventsOf("Error").pipe(
    Stream.filter(({ connectionId }) => connectionId === ""),
    Stream.runForEach(({ description, errorCode }) => Effect.logError(`${description} (${errorCode})`))
  )

const run = Effect.fnUntraced(function* (
  choice: ListenerFlags.ListenerChoice,
  assignments: ReadonlyArray<string>,
  storage: StorageFlags.StorageChoice
) {
  const hangups = yield* Hangup.hear
  const settings = yield* SettingFlags.apply(yield* BrokerConfig.fromEnv(), assignments)
  const listeners = yield* listenersFrom(choice, settings)
  // Level 1 would let clients fill the log with their faults: of that only what is about no single one is told.
  const logged = settings.logLevel >= 2 ? BrokerLogger.logged(Broker.layer) : Broker.layer
  const layer = logged.pipe(
    Layer.provide([BrokerConfig.layer({ ...settings, listeners }), StorageFlags.layer(storage)])
  )
  const program = Effect.gen(function* () {
    const broker = yield* Broker.Broker
    if (settings.logLevel < 2) yield* Effect.forkChild(tellTrouble(broker), { startImmediately: true })
    yield* Console.log(`effect-mqtt ${StorageFlags.describe(storage)}`)
    for (const listener of yield* broker.listeners) {
      yield* Console.log(`effect-mqtt listening on ${Listener.url(listener)}`)
    }
    return yield* Hangup.obey(hangups, broker)
  })
  return yield* program.pipe(Effect.provide(layer), Effect.provideService(Logger.LogToStderr, true))
})

export const command = Command.make(
  "broker",
  flags,
  ({ host, port, listen, cert, key, certPassword, clientCa, set, ...storage }) =>
    run({ host, port, listen, cert, key, certPassword, clientCa }, set, storage).pipe(
      Effect.scoped,
      Effect.catchTags({
        BrokerError: ({ message, reason }) => ExitCode.fail(message, ExitCode.of(reason)),
        StorageError: ({ message }) => ExitCode.fail(message, ExitCode.STORAGE)
      }),
      Effect.onInterrupt(() => Console.log("effect-mqtt stopped"))
    )
).pipe(
  Command.withDescription(description),
  Command.withShortDescription("Run an MQTT broker"),
  Command.withExamples(examples)
)
