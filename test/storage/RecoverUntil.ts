/**
 * A program that recovers a store and ends, as by kill -9, just before a step on the way: `FILE STEP`. Steps are what
 * changes or secures files. It ends by itself when there are not that many.
 */
import fs from "node:fs"
import { syncBuiltinESMExports } from "node:module"
import { DatabaseSync } from "node:sqlite"

const [, , file = "", last] = process.argv
let left = Number(last)
const step = (): void => {
  if (left-- === 0) process.kill(process.pid, "SIGKILL")
}

const { fsyncSync, renameSync } = fs
fs.renameSync = (...parameters) => {
  step()
  renameSync(...parameters)
}
fs.fsyncSync = (descriptor) => {
  step()
  fsyncSync(descriptor)
}
syncBuiltinESMExports()
const { exec } = DatabaseSync.prototype
let commits = 0
DatabaseSync.prototype.exec = function (sql) {
  if (sql === "COMMIT" && commits++ % 3 === 0) step()
  exec.call(this, sql)
}

const { recover } = await import("../../src/storage/SqliteRecovery.ts")
recover(file)
