/**
 * The program's commands, and running them as the main effect of the process.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as Command from "effect/cli/Command"
import * as Effect from "effect/Effect"
import { VERSION } from "../settings/Version.ts"
import * as BackupCommand from "./BackupCommand.ts"
import * as BrokerCommand from "./BrokerCommand.ts"
import * as ExitCode from "./ExitCode.ts"
import * as SettingsCommand from "./SettingsCommand.ts"

const program = Command.make("effect-mqtt").pipe(
  Command.withDescription("A typed MQTT broker for Effect. Start with: effect-mqtt broker --help"),
  Command.withSubcommands([BrokerCommand.command, BackupCommand.command, SettingsCommand.command]),
  Command.run({ version: VERSION }),
  Effect.provide(NodeServices.layer)
)

/** Whoever reads what the program says may be gone: a closed terminal, a pipe to `head`. That is no reason to end. */
const outliveReaders = (): void => {
  for (const stream of [process.stdout, process.stderr]) stream.on("error", () => {})
}

export const run = (): void => {
  outliveReaders()
  NodeRuntime.runMain(program, { teardown: ExitCode.teardown })
}
