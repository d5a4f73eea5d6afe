/**
 * A recovery that ends before it is done: it is never taken for one that is, and the next one gives what it would have.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { spawnSync } from "node:child_process"
import {
  chmodSync,
  copyFileSync,
  readdirSync,
  readFileSync,
  rmSync,
  statfsSync,
  statSync,
  writeFileSync
} from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import type { StoreRecord } from "../../src/core/StoreOperation.ts"
import { SqliteCatalog } from "../../src/storage/SqliteCatalog.ts"
import { SqliteDatabase } from "../../src/storage/SqliteDatabase.ts"
import { SqliteLoad } from "../../src/storage/SqliteLoad.ts"
import * as SqliteRecovery from "../../src/storage/SqliteRecovery.ts"
import * as SqliteStorage from "../../src/storage/SqliteStorage.ts"
import { message, outgoing, session } from "../../src/storage/StorageContract.ts"
import { directory, smallDisk } from "./Directory.ts"

const program = fileURLToPath(new URL("RecoverUntil.ts", import.meta.url))
const options = { durability: "none", fileBytesMax: 0 } as const
const SUFFIXES = ["", "-wal", "-reserve"] as const

/** What a start finds, on this thread: it is started often. */
const started = (file: string): ReadonlyArray<StoreRecord> => {
  SqliteRecovery.tidy(file)
  const database = new SqliteDatabase({ ...options, file, logBytesMax: 1_000_000 })
  try {
    const load = new SqliteLoad(new SqliteCatalog())
    const records: Array<StoreRecord> = []
    for (let page = database.page(); page !== undefined; page = database.page()) {
      for (const part of load.parts(page)) records.push(...part)
    }
    return [...records, ...load.end()]
  } finally {
    database.close()
  }
}

const recovered = (file: string) => {
  SqliteRecovery.recover(file)
  return started(file)
}

/** A damaged store as a broker that was killed has left it: what came last is in the log. */
const damaged = Effect.fnUntraced(function* () {
  const path = yield* directory
  const original = join(path, "damaged.db")
  const large = (name: string, order: number) => ({
    ...outgoing(name, order),
    message: { ...message(order), payload: new Uint8Array(3_000) }
  })
  yield* Effect.gen(function* () {
    const file = join(path, "first.db")
    const store = yield* SqliteStorage.open({ file, durability: "none", logBytesMax: 100_000 })
    yield* Stream.runDrain(store.load)
    for (let sequence = 1; sequence <= 60; sequence++) {
      yield* store.commit([session(`c${sequence}`), large(`c${sequence}`, 1), large(`c${sequence}`, 2)], sequence)
    }
    for (const suffix of SUFFIXES) copyFileSync(`${file}${suffix}`, `${original}${suffix}`)
  }).pipe(Effect.scoped)
  const bytes = readFileSync(original)
  writeFileSync(original, bytes.fill(0xa5, 20 * 8_192, 22 * 8_192))
  assert.isAbove(statSync(`${original}-wal`).size, 0)
  return original
})

/** The damaged store again, alone in its directory. */
const laidOut = (original: string, path: string): string => {
  for (const name of readdirSync(path)) rmSync(join(path, name))
  const file = join(path, "store.db")
  for (const suffix of SUFFIXES) copyFileSync(`${original}${suffix}`, `${file}${suffix}`)
  return file
}

const leftovers = (path: string) => readdirSync(path).filter((name) => name.includes(".recover"))

const movedAside = (path: string) =>
  readdirSync(path).filter((name) => name.includes("damaged") && !name.endsWith("-wal"))

describe("SqliteRecovery", () => {
  it.live("goes on after it was killed at any step, and nothing starts on less than it keeps", () =>
    Effect.gen(function* () {
      const original = yield* damaged()
      const path = yield* directory
      const expected = recovered(laidOut(original, path))
      assert.isAbove(expected.length, 100)
      let steps = 0
      for (; ; steps++) {
        const file = laidOut(original, path)
        const child = spawnSync(process.execPath, [program, file, String(steps)], { encoding: "utf8" })
        if (child.signal === null) {
          assert.strictEqual(child.status, 0, child.stderr)
          const [aside = ""] = movedAside(path)
          assert.deepStrictEqual(readFileSync(join(path, aside)), readFileSync(original))
          assert.deepStrictEqual(readFileSync(join(path, `${aside}-wal`)), readFileSync(`${original}-wal`))
          break
        }
        // Without recovery: everything, when it had come to its end, and else an error that says what to do.
        let found: ReadonlyArray<StoreRecord>
        try {
          found = started(file)
        } catch (error) {
          const { reason } = SqliteStorage.toError(file, error)
          assert.strictEqual(reason._tag, "StorageCorrupt")
          assert.match(reason.message, /--recover/)
          found = recovered(file)
        }
        assert.deepStrictEqual(found, expected, `step ${steps}`)
        assert.deepStrictEqual(leftovers(path), [])
        assert.lengthOf(movedAside(path), 1)
      }
      assert.isAbove(steps, 10)
    })
  )

  it.live("keeps all that can be read where that is more than the store may now have", () =>
    Effect.gen(function* () {
      const original = yield* damaged()
      const expected = recovered(laidOut(original, yield* directory))
      const file = laidOut(original, yield* directory)
      const limited = { file, durability: "none", recover: true, fileBytesMax: 200_000 } as const
      const store = yield* SqliteStorage.open(limited)
      assert.sameDeepMembers([...(yield* Stream.runCollect(store.load))], [...expected])
      assert.isAbove(statSync(file).size, limited.fileBytesMax)
    })
  )

  it.live("takes a damaged file that others may read from their eyes", () =>
    Effect.gen(function* () {
      const original = yield* damaged()
      const path = yield* directory
      const file = laidOut(original, path)
      for (const suffix of SUFFIXES) chmodSync(`${file}${suffix}`, 0o644)
      yield* SqliteStorage.open({ file, durability: "none", recover: true })
      const names = readdirSync(path).filter((name) => name.includes("damaged"))
      assert.lengthOf(names, 2)
      for (const name of names) assert.strictEqual(statSync(join(path, name)).mode & 0o777, 0o600, name)
    })
  )

  it.live("without room for the new file leaves the damaged one as it is, and says what to do", (context) =>
    Effect.gen(function* () {
      const original = yield* damaged()
      const path = yield* directory
      const why = yield* smallDisk(path, 10)
      if (why !== undefined) return context.skip(why)
      const file = laidOut(original, path)
      const { bavail, bsize } = statfsSync(path)
      writeFileSync(join(path, "other"), new Uint8Array(bavail * bsize - 200_000))
      const { message: words, reason } = yield* Effect.flip(
        Effect.scoped(SqliteStorage.open({ file, durability: "none", recover: true }))
      )
      assert.strictEqual(reason._tag, "StorageFull")
      assert.match(words, /not touched: .* takes up to \d MiB beside it.*Make room for it, and start again\.$/)
      assert.deepStrictEqual(leftovers(path), [])
      for (const suffix of SUFFIXES) {
        assert.deepStrictEqual(readFileSync(`${file}${suffix}`), readFileSync(`${original}${suffix}`))
      }
      assert.throws(() => started(file), /malformed|cannot be read/)
    })
  )
})
