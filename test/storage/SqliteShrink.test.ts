/**
 * A file that is nearly empty on a disk that is nearly full: when it is written anew, and when it had better not be.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { existsSync, statfsSync, statSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import type { StoreOperation } from "../../src/core/StoreOperation.ts"
import * as SqliteBatch from "../../src/storage/SqliteBatch.ts"
import { SqliteCatalog } from "../../src/storage/SqliteCatalog.ts"
import { SqliteDatabase } from "../../src/storage/SqliteDatabase.ts"
import { sizeOf } from "../../src/storage/SqliteFile.ts"
import { SqliteReserve } from "../../src/storage/SqliteReserve.ts"
import { message } from "../../src/storage/StorageContract.ts"
import { directory, smallDisk } from "./Directory.ts"

const MIB = 1024 * 1024
const FILE_BYTES_MAX = 16 * MIB

/** What a disk of that size would say, with nothing on it but the store; without a size, the real one. */
class Disk extends SqliteReserve {
  private readonly file: string
  private bytes: number | undefined = undefined

  constructor(file: string) {
    super(file)
    this.file = file
  }

  get usedBytes(): number {
    return ["", "-wal", "-reserve"].reduce((sum, suffix) => sum + sizeOf(`${this.file}${suffix}`), 0)
  }

  leaveFree(bytes: number): void {
    this.bytes = this.usedBytes + bytes
  }

  override freeBytes(): number {
    return this.bytes === undefined ? super.freeBytes() : this.bytes - this.usedBytes
  }
}

const topic = (order: number) => `topic/${order}`

const large = (order: number): StoreOperation => ({
  _tag: "PutRetained",
  message: { ...message(order, topic(order)), payload: new Uint8Array(120_000).fill(order), retain: true }
})

/** A store that came to the limit of its size, and of which then most was removed: about 2 MiB are left. */
const nearlyEmpty = Effect.fnUntraced(function* (path: string) {
  const file = join(path, "store.db")
  const disk = new Disk(file)
  const database = yield* Effect.acquireRelease(
    Effect.sync(
      () => new SqliteDatabase({ file, durability: "none", fileBytesMax: FILE_BYTES_MAX, logBytesMax: MIB }, disk)
    ),
    (database) => Effect.sync(() => database.close())
  )
  const catalog = new SqliteCatalog()
  database.begin(1)
  let sequence = 0
  const commit = (operations: ReadonlyArray<StoreOperation>): void => {
    const { batch, change } = SqliteBatch.encode(catalog, operations, ++sequence)
    database.commit(batch, 1)
    catalog.apply(change)
    database.rest()
  }
  const fill = (): void => {
    for (;;) commit([large(sequence + 1)])
  }
  assert.throws(fill, /full/)
  const last = sequence - 1
  commit(Array.from({ length: last - 16 }, (_, index) => ({ _tag: "RemoveRetained", topic: topic(index + 1) })))
  return { database, disk, file }
})

describe("SqliteDatabase of a nearly empty file on a disk that is nearly full", () => {
  it.live("writes nothing where the room inside the file is enough", () =>
    Effect.gen(function* () {
      const { database, disk, file } = yield* nearlyEmpty(yield* directory)
      disk.leaveFree(5 * MIB)
      assert.isTrue(database.hasRoom())
      assert.isAbove(statSync(file).size, 14 * MIB)
      assert.isFalse(existsSync(`${file}-reserve`))
    })
  )

  it.live("is written anew where the disk has room for what is in it, and only there", () =>
    Effect.gen(function* () {
      const { database, disk, file } = yield* nearlyEmpty(yield* directory)
      disk.leaveFree(MIB)
      assert.isFalse(database.hasRoom())
      assert.isAbove(statSync(file).size, 14 * MIB)
      disk.leaveFree(3.5 * MIB)
      assert.isTrue(database.hasRoom())
      assert.isBelow(statSync(file).size, 4 * MIB)
      assert.isTrue(existsSync(`${file}-reserve`))
    })
  )

  it.live("gives back what its log grew by when others have taken the room meanwhile", (context) =>
    Effect.gen(function* () {
      const path = yield* directory
      const why = yield* smallDisk(path, 32)
      if (why !== undefined) return context.skip(why)
      const { database, disk, file } = yield* nearlyEmpty(path)
      disk.leaveFree(0)
      assert.isFalse(database.hasRoom()) // which empties the log
      const { bavail, bsize } = statfsSync(path)
      writeFileSync(join(path, "other"), new Uint8Array(bavail * bsize - MIB))
      disk.leaveFree(3.5 * MIB)
      assert.isFalse(database.hasRoom())
      assert.strictEqual(sizeOf(`${file}-wal`), 0)
    })
  )
})
