/**
 * The log of a database cut off after each of the bytes of its last commits, and with bytes of them changed: what is
 * there afterwards is all of the commits before, and nothing of those from there on.
 */
import { assert, describe, it } from "@effect/vitest"
import {
  closeSync,
  existsSync,
  ftruncateSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
  writeSync
} from "node:fs"

import { DatabaseSync } from "node:sqlite"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { StoreOperation } from "../../src/core/StoreOperation.ts"
import * as SqliteBatch from "../../src/storage/SqliteBatch.ts"
import { SqliteCatalog } from "../../src/storage/SqliteCatalog.ts"
import { SqliteDatabase } from "../../src/storage/SqliteDatabase.ts"
import { incoming, outgoing, retained, session, subscription } from "../../src/storage/StorageContract.ts"

const HEADER_BYTES = 32
const FRAME_HEADER_BYTES = 24
const FRAME_BYTES = FRAME_HEADER_BYTES + 8_192
/** Of the bytes in a page, every so many are changed: all of them are under one checksum. */
const STEP = 37

/** Each is some pages of log, and changes what `contents` sees. */
const commits: ReadonlyArray<ReadonlyArray<StoreOperation>> = [
  [outgoing("a", 2)],
  [{ _tag: "RemoveOutgoing", clientId: "a", order: 1 }, incoming("b", 1)],
  [retained("r"), { _tag: "SetOutgoing", clientId: "a", order: 2, packetId: 9, state: 3 }]
]

/** A file system in memory has room for the small files, and thousands of openings a second. */
const directory = (): string => mkdtempSync(join(existsSync("/dev/shm") ? "/dev/shm" : tmpdir(), "effect-mqtt-torn-"))

const contents = (database: DatabaseSync): string =>
  Object.values(
    database
      .prepare(
        `SELECT number, sequence, alive_at,
           (SELECT group_concat(session || ':' || first || ':' || last || ':' || hex(entries)) FROM chunk),
           (SELECT group_concat(chunk || ':' || hex(states)) FROM mark),
           (SELECT group_concat(session || ':' || packet_id || ':' || hex(message)) FROM incoming),
           (SELECT group_concat(topic || ':' || hex(message)) FROM retained)
         FROM run`
      )
      .get() ?? {}
  ).join("|")

/** Opens it as it is, which reads the log, and closes it without emptying the log. */
const contentsOf = (file: string): string => {
  const database = new DatabaseSync(file, { readOnly: true })
  try {
    return contents(database)
  } finally {
    database.close()
  }
}

interface Written {
  readonly file: string
  readonly log: Buffer
  /** After each commit: how long the log was, and what was there. */
  readonly states: ReadonlyArray<{ readonly bytes: number; readonly contents: string }>
}

const write = (path: string): Written => {
  const file = join(path, "store.db")
  const catalog = new SqliteCatalog()
  let sequence = 0
  const open = () => {
    const opened = new SqliteDatabase({
      file,
      durability: "none",
      fileBytesMax: 0,
      logBytesMax: Number.MAX_SAFE_INTEGER
    })
    sequence = 0
    opened.begin(1)
    return opened
  }
  const commit = (database: SqliteDatabase, operations: ReadonlyArray<StoreOperation>) => {
    const { batch, change } = SqliteBatch.encode(catalog, operations, ++sequence)
    database.commit(batch, 1)
    catalog.apply(change)
  }
  const before = open()
  commit(before, [session("a"), session("b"), subscription("a", "f"), outgoing("a", 1), outgoing("b", 1)])
  before.close()
  const database = open()
  const state = () => ({ bytes: readFileSync(`${file}-wal`).length, contents: contentsOf(file) })
  const states = [state()]
  for (const operations of commits) {
    commit(database, operations)
    states.push(state())
  }
  // Taken while it is open: closing it empties the log.
  const main = readFileSync(file)
  const log = readFileSync(`${file}-wal`)
  database.close()
  writeFileSync(file, main)
  writeFileSync(`${file}-wal`, log)
  return { file, log, states }
}

/** Calls `body` with such a database and its log, open for writing. */
const withLog = (body: (written: Written, log: number) => void): void => {
  const path = directory()
  try {
    const written = write(path)
    const log = openSync(`${written.file}-wal`, "r+")
    try {
      body(written, log)
    } finally {
      closeSync(log)
    }
  } finally {
    rmSync(path, { recursive: true, force: true })
  }
}

describe("a log of which the last commits", () => {
  it("are cut off, after every byte of the last two, has all of the commits before", { timeout: 600_000 }, () => {
    withLog(({ file, log, states }, descriptor) => {
      const [, first] = states
      assert.isAtLeast(log.length - first!.bytes, 6 * FRAME_BYTES)
      assert.strictEqual(states.at(-1)!.bytes, log.length)
      assert.strictEqual(new Set(states.map(({ contents }) => contents)).size, states.length)
      let cuts = 0
      // Shorter and shorter, in place.
      for (let length = log.length; length >= first!.bytes; length--) {
        ftruncateSync(descriptor, length)
        const whole = states.findLast(({ bytes }) => bytes <= length)!
        if (contentsOf(file) !== whole.contents) assert.fail(`cut after ${length} of ${log.length} bytes`)
        cuts++
      }
      assert.strictEqual(cuts, log.length - first!.bytes + 1)
    })
  })

  it("have a changed byte, have all of the commits before it and nothing from there on", { timeout: 600_000 }, () => {
    withLog(({ file, log, states }, descriptor) => {
      const [first] = states
      const byte = Buffer.alloc(1)
      let changes = 0
      for (let at = first!.bytes; at < log.length; at++) {
        const inFrame = (at - HEADER_BYTES) % FRAME_BYTES
        if (inFrame >= FRAME_HEADER_BYTES && inFrame % STEP !== 0) continue
        byte[0] = log[at]! ^ (1 << (at % 8))
        writeSync(descriptor, byte, 0, 1, at)
        const whole = states.findLast(({ bytes }) => bytes <= at)!
        if (contentsOf(file) !== whole.contents) assert.fail(`a bit changed in byte ${at} of ${log.length}`)
        writeSync(descriptor, log, at, 1, at)
        changes++
      }
      assert.isAbove(changes, 1_000)
      assert.strictEqual(contentsOf(file), states.at(-1)!.contents)
    })
  })
})
