/**
 * The flags that say where the broker keeps what outlives it, and how hard.
 */
import * as Config from "effect/Config"
import * as Flag from "effect/cli/Flag"
import { join } from "node:path"
import type * as Layer from "effect/Layer"
import type { BrokerStorage, StorageError } from "../storage/BrokerStorage.ts"
import * as MemoryStorage from "../storage/MemoryStorage.ts"
import * as SqliteStorage from "../storage/SqliteStorage.ts"

/** In the working directory. */
export const DATA_DIR = "effect-mqtt-data"
const DATA_DIR_VARIABLE = "EFFECT_MQTT_DATA_DIR"

/** The database in a data directory. */
export const databaseIn = (dataDir: string): string => join(dataDir, "broker.db")

export const dataDir = Flag.String("data-dir").pipe(
  Flag.withDescription(
    `Directory of what the broker keeps; made if it does not exist (default ${DATA_DIR}, or ${DATA_DIR_VARIABLE})`
  ),
  Flag.withFallbackConfig(Config.String(DATA_DIR_VARIABLE)),
  Flag.withDefault(DATA_DIR)
)

export const flags = {
  dataDir,
  memory: Flag.Boolean("memory").pipe(
    Flag.withDescription("Keep nothing beyond this run, and write no files"),
    Flag.withDefault(false)
  ),
  durability: Flag.Literals("durability", ["fsync", "os", "none"]).pipe(
    Flag.withDescription(
      "What an acknowledged message survives: fsync (default) the loss of power; os a crash of the broker; " +
        "none as os, but the loss of power may ruin the file"
    ),
    Flag.withDefault("fsync" as const)
  ),
  gatherMillis: Flag.Int("gather-millis").pipe(
    Flag.withDescription("Milliseconds that a commit waits for company (default 0: it gathers while one is underway)"),
    Flag.filter(
      (millis) => millis >= 0 && millis <= 1_000,
      () => "a whole number from 0 to 1000"
    ),
    Flag.withDefault(0)
  ),
  recover: Flag.Boolean("recover").pipe(
    Flag.withDescription("Move a damaged database aside, and start with what can be read of it"),
    Flag.withDefault(false)
  )
}

export interface StorageChoice {
  readonly dataDir: string
  readonly memory: boolean
  readonly durability: "fsync" | "os" | "none"
  readonly gatherMillis: number
  readonly recover: boolean
}

export const layer = ({
  dataDir,
  durability,
  gatherMillis,
  memory,
  recover
}: StorageChoice): Layer.Layer<BrokerStorage, StorageError> =>
  memory ? MemoryStorage.layer : SqliteStorage.layer({ file: databaseIn(dataDir), durability, gatherMillis, recover })

/** For whoever started the program. */
export const describe = ({ dataDir, durability, memory }: StorageChoice): string =>
  memory ? "keeps nothing beyond this run" : `keeps its sessions and messages in ${databaseIn(dataDir)} (${durability})`
