/**
 * A machine that loses its power in the middle of a write: the log ends anywhere, and what comes back is the state
 * after some commit, never half of one.
 */
import { assert, describe, it } from "@effect/vitest"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { StoreOperation, StoreRecord } from "../../src/core/StoreOperation.ts"
import * as SqliteBatch from "../../src/storage/SqliteBatch.ts"
import { SqliteCatalog } from "../../src/storage/SqliteCatalog.ts"
import { SqliteDatabase } from "../../src/storage/SqliteDatabase.ts"
import { SqliteLoad } from "../../src/storage/SqliteLoad.ts"
import { random } from "../core/Random.ts"
import { MemoryStore } from "../../src/storage/MemoryStorage.ts"
import { session } from "../../src/storage/StorageContract.ts"
import { canonical, Operations } from "./Operations.ts"

const HEADER_BYTES = 32
const FRAME_BYTES = 24 + 8_192
const NEVER = Number.MAX_SAFE_INTEGER

const open = (file: string) => new SqliteDatabase({ file, durability: "none", fileBytesMax: 0, logBytesMax: NEVER })

const recordsIn = (database: SqliteDatabase): ReadonlyArray<StoreRecord> => {
  const load = new SqliteLoad(new SqliteCatalog())
  const records: Array<StoreRecord> = []
  for (let page = database.page(); page !== undefined; page = database.page()) {
    for (const part of load.parts(page)) records.push(...part)
  }
  return [...records, ...load.end()]
}

/** The database and its log after each of some batches, and what they then held. */
const write = (directory: string, seed: number, batches: number) => {
  const file = join(directory, "written.db")
  const database = open(file)
  const catalog = new SqliteCatalog()
  const model = new MemoryStore()
  const operations = new Operations(random(seed))
  database.begin(1)
  const states: Array<{ readonly logBytes: number; readonly held: ReturnType<typeof canonical> }> = []
  for (let sequence = 1; sequence <= batches; sequence++) {
    const batch: ReadonlyArray<StoreOperation> = [
      ...(sequence === 1 ? ["a", "b", "c", "d", "e"].map((name) => session(name)) : []),
      ...operations.batch(4)
    ]
    const encoded = SqliteBatch.encode(catalog, batch, sequence)
    database.commit(encoded.batch, sequence)
    catalog.apply(encoded.change)
    model.commit(batch, sequence)
    states.push({ logBytes: readFileSync(`${file}-wal`).length, held: canonical(model.records()) })
  }
  // Read while it is open: closing it would empty the log.
  const bytes = { main: readFileSync(file), log: readFileSync(`${file}-wal`) }
  database.close()
  return { ...bytes, states }
}

describe("a log that is cut off", () => {
  it("at every place of its last commits gives the state after a commit", () => {
    const directory = mkdtempSync(join(tmpdir(), "effect-mqtt-torn-"))
    try {
      const { log, main, states } = write(directory, 3, 12)
      const first = states.at(-2)!.logBytes
      assert.isAbove(log.length - first, 2 * FRAME_BYTES)
      let cuts = 0
      let last = -1
      for (let length = first; length <= log.length; length++) {
        // All bytes around the head of a frame, and some of the page in it: those are all alike.
        const inFrame = (length - HEADER_BYTES) % FRAME_BYTES
        if (inFrame > 26 && inFrame < FRAME_BYTES - 2 && inFrame % 1_999 !== 0) continue
        const file = join(directory, `cut-${length}.db`)
        writeFileSync(file, main)
        writeFileSync(`${file}-wal`, log.subarray(0, length))
        writeFileSync(`${file}-reserve`, "") // not to be filled anew each time
        const database = open(file)
        const found = canonical(recordsIn(database))
        database.close()
        for (const suffix of ["", "-wal", "-shm", "-reserve"]) rmSync(`${file}${suffix}`, { force: true })
        const whole = states.findLastIndex(({ logBytes }) => logBytes <= length)
        assert.deepStrictEqual(found, states[whole]!.held, `cut after ${length} of ${log.length} bytes`)
        assert.isAtLeast(whole, last)
        last = whole
        cuts++
      }
      assert.strictEqual(last, states.length - 1)
      assert.isAbove(cuts, 80)
    } finally {
      rmSync(directory, { recursive: true, force: true })
    }
  })

  it("or has bytes that never reached the disk, gives the state after a commit", () => {
    const directory = mkdtempSync(join(tmpdir(), "effect-mqtt-torn-"))
    try {
      const { log, main, states } = write(directory, 4, 10)
      const next = random(5)
      for (let round = 0; round < 30; round++) {
        const file = join(directory, `torn-${round}.db`)
        const torn = Buffer.from(log)
        const first = states.at(-4)!.logBytes
        const at = first + next(log.length - first)
        // Sectors of a later write that was done before an earlier one.
        torn.fill(0, at, Math.min(torn.length, at + 512 + next(4_096)))
        writeFileSync(file, main)
        writeFileSync(`${file}-wal`, torn)
        writeFileSync(`${file}-reserve`, "")
        const database = open(file)
        const found = canonical(recordsIn(database))
        database.close()
        const whole = states.findLastIndex(({ logBytes }) => logBytes <= at)
        // Zeros may be what was there.
        const possible = states.slice(whole).map(({ held }) => JSON.stringify(held))
        assert.include(possible, JSON.stringify(found), `zeros from ${at} on`)
      }
    } finally {
      rmSync(directory, { recursive: true, force: true })
    }
  })
})
