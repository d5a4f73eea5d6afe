/**
 * `node:sqlite`, without the warning that Node 22 prints whenever a thread loads it: that it is experimental. What is
 * used of it here is the same in all later versions.
 */
import type * as Sqlite from "node:sqlite"

const load = (): typeof Sqlite => {
  const { emitWarning } = process
  process.emitWarning = () => {}
  try {
    return process.getBuiltinModule("node:sqlite")
  } finally {
    process.emitWarning = emitWarning
  }
}

export const { DatabaseSync, backup } = load()
export type DatabaseSync = Sqlite.DatabaseSync
