/**
 * Directories for databases: made for a test, and gone with its scope.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { BrokerStorage, StorageError } from "../../src/storage/BrokerStorage.ts"
import * as SqliteStorage from "../../src/storage/SqliteStorage.ts"

export const directory: Effect.Effect<string, never, Scope.Scope> = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "effect-mqtt-store-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)

/** A store of its own each time it is built. */
export const sqliteLayer = (
  options: Omit<SqliteStorage.SqliteOptions, "file"> = {}
): Layer.Layer<BrokerStorage, StorageError> =>
  Layer.unwrap(Effect.map(directory, (path) => SqliteStorage.layer({ ...options, file: join(path, "store.db") })))
