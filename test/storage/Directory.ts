/**
 * Directories for databases: made for a test, and gone with its scope.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { execFileSync } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { BrokerStorage, StorageError } from "../../src/storage/BrokerStorage.ts"
import * as SqliteStorage from "../../src/storage/SqliteStorage.ts"

export const directory: Effect.Effect<string, never, Scope.Scope> = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "effect-mqtt-store-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)

/** Makes a directory a disk of that size, until the scope closes. Returns why not, where that is not allowed. */
export const smallDisk = (path: string, mebibytes: number): Effect.Effect<string | undefined, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => {
      try {
        execFileSync("mount", ["-t", "tmpfs", "-o", `size=${mebibytes}m`, "none", path], { stdio: "pipe" })
        return undefined
      } catch (error) {
        return `a small file system cannot be mounted here: ${String(error).split("\n")[0]}`
      }
    }),
    (why) => Effect.sync(() => why === undefined && execFileSync("umount", ["-l", path]))
  )

/** A store of its own each time it is built. */
export const sqliteLayer = (
  options: Omit<SqliteStorage.SqliteOptions, "file"> = {}
): Layer.Layer<BrokerStorage, StorageError> =>
  Layer.unwrap(Effect.map(directory, (path) => SqliteStorage.layer({ ...options, file: join(path, "store.db") })))
