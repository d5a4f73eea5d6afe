/**
 * `effect-mqtt backup FILE`: a copy of what a broker keeps, while it runs.
 */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as SqliteBackup from "../storage/SqliteBackup.ts"
import * as ExitCode from "./ExitCode.ts"
import * as StorageFlags from "./StorageFlags.ts"

const description = `Copy what a broker keeps into FILE, as it is at one instant.

The broker may be running, and goes on meanwhile. FILE must not exist; only its owner may read it. To restore it, stop \
the broker, make an empty data directory, and put the copy there under the name broker.db.

${ExitCode.explanation}`.replaceAll("\n", "\n  ") // in line with the heading that help puts above it

const flags = {
  file: Argument.String("file").pipe(Argument.withDescription("The copy to make")),
  dataDir: StorageFlags.dataDir
}

export const command = Command.make("backup", flags, ({ dataDir, file }) =>
  SqliteBackup.backup(StorageFlags.databaseIn(dataDir), file).pipe(
    Effect.flatMap(({ bytes }) => Console.log(`effect-mqtt: copied ${bytes} bytes to ${file}`)),
    Effect.catchTag("StorageError", (error) => ExitCode.fail(error.message, ExitCode.STORAGE))
  )
).pipe(
  Command.withDescription(description),
  Command.withShortDescription("Copy what a broker keeps, while it runs"),
  Command.withExamples([
    { command: "effect-mqtt backup monday.db", description: "A copy of the broker started in this directory" }
  ])
)
