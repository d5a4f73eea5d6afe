/**
 * Chunks read in bulk are what they are row by row, in every mixture of what can be put together and what cannot.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import * as SqliteChunks from "../../src/storage/SqliteChunks.ts"
import { SqliteFailure } from "../../src/storage/SqliteFailure.ts"
import * as SqliteSchema from "../../src/storage/SqliteSchema.ts"
import * as SqliteStorage from "../../src/storage/SqliteStorage.ts"
import { outgoing, session } from "../../src/storage/StorageContract.ts"
import { random } from "../core/Random.ts"
import { directory } from "./Directory.ts"

interface Row {
  readonly session: number
  readonly first: number
  readonly last: number
  readonly pool: number | null
  readonly entries: Uint8Array
  readonly states?: Uint8Array
}

const filled = (rows: ReadonlyArray<Row>): DatabaseSync => {
  const database = new DatabaseSync(":memory:")
  SqliteSchema.migrate(database)
  const put = database.prepare("INSERT INTO chunk (session, first, last, pool, entries) VALUES (?, ?, ?, ?, ?)")
  const mark = database.prepare("INSERT INTO mark VALUES (?, ?)")
  SqliteSchema.transaction(database, () => {
    for (const { entries, first, last, pool, session, states } of rows) {
      const { lastInsertRowid } = put.run(session, first, last, pool, entries)
      if (states !== undefined) mark.run(lastInsertRowid, states)
    }
  })
  return database
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex")

/** What a page says of each of its chunks. */
const chunksOf = ({ bytes, numbers }: SqliteChunks.ChunkPage): ReadonlyArray<string> => {
  const lines: Array<string> = []
  for (let at = 0; at < numbers.length; at += SqliteChunks.CHUNK_COLUMNS) {
    const [start, end, marksStart, marksEnd, ...others] = numbers.slice(at, at + SqliteChunks.CHUNK_COLUMNS)
    lines.push([...others, hex(bytes.subarray(start, end)), hex(bytes.subarray(marksStart, marksEnd))].join(" "))
  }
  return lines
}

const lineOf = ({ entries, first, last, pool, session, states = new Uint8Array(0) }: Row): string =>
  [session, first, last, pool ?? 0, hex(entries), hex(states)].join(" ")

const inOrder = (rows: ReadonlyArray<Row>): ReadonlyArray<Row> =>
  rows.toSorted(
    (a, b) => a.session - b.session || a.first - b.first || a.last - b.last || (a.pool ?? 0) - (b.pool ?? 0)
  )

describe("chunkPages", () => {
  const next = random(5)
  const bytes = (length: number) => Uint8Array.from({ length }, () => (next(3) === 0 ? 0 : next(256)))
  const small = (index: number): Row => ({
    session: 1 + (index % 900),
    first: 2 ** 40 * (index % 2) + index,
    last: 2 ** 40 * (index % 2) + index + next(3),
    pool: next(2) === 0 ? null : 1 + next(9),
    entries: bytes(next(60)),
    ...(next(5) === 0 ? { states: bytes(1 + next(20)) } : undefined)
  })

  it("gives small ones in few pages", () => {
    const rows = Array.from({ length: 10_000 }, (_, index) => small(index))
    const pages = [...SqliteChunks.chunkPages(filled(rows))]
    assert.strictEqual(pages.length, 3)
    assert.deepStrictEqual(pages.flatMap(chunksOf), inOrder(rows).map(lineOf))
  })

  it("gives large ones among them, too, in pages that are not much larger", () => {
    const rows = Array.from({ length: 10_000 }, (_, index) =>
      index % 4_500 > 20 ? small(index) : { ...small(index), entries: bytes(40_000), states: bytes(768) }
    )
    const pages = [...SqliteChunks.chunkPages(filled(rows))]
    assert.deepStrictEqual(pages.flatMap(chunksOf), inOrder(rows).map(lineOf))
    for (const page of pages) assert.isBelow(page.bytes.length, 600_000)
  })

  it("gives each of thousands that begin at the same place once", () => {
    const rows = Array.from({ length: 10_000 }, (_, index) => ({
      ...small(index),
      session: 7,
      first: Math.max(100, Math.floor(index / 90)),
      last: 1_000 + index
    }))
    const pages = [...SqliteChunks.chunkPages(filled(rows))]
    assert.deepStrictEqual(pages.flatMap(chunksOf), inOrder(rows).map(lineOf))
  })

  it("ends, and says so, when the index is in no order", () => {
    const database = new DatabaseSync(":memory:", { defensive: false })
    SqliteSchema.migrate(database)
    database.exec(`
      DROP INDEX chunk_place;
      CREATE INDEX chunk_place ON chunk (session DESC, first, last, pool);
      WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 9000)
      INSERT INTO chunk (session, first, last, entries) SELECT i, 1, 1, x'00' FROM n;
      PRAGMA writable_schema = ON;
      UPDATE sqlite_schema SET sql = replace(sql, ' DESC', '') WHERE name = 'chunk_place';
      PRAGMA writable_schema = RESET;
    `)
    let met = 0
    const meetAll = () => {
      for (const page of SqliteChunks.chunkPages(database)) met += chunksOf(page).length
    }
    assert.throws(meetAll, SqliteFailure, /cannot be found/)
    assert.isAtMost(met, 9_000 + 4_096)
  })
})

describe("a chunk of which", () => {
  for (const column of ["session", "first", "last"]) {
    it.live(`${column} is no number is damage`, () =>
      Effect.gen(function* () {
        const file = join(yield* directory, "store.db")
        yield* Effect.gen(function* () {
          const store = yield* SqliteStorage.open({ file, durability: "none" })
          yield* Stream.runDrain(store.load)
          yield* store.commit([session("a"), outgoing("a", 1)], 1)
        }).pipe(Effect.scoped)
        const database = new DatabaseSync(file)
        database.exec(`UPDATE chunk SET ${column} = 'x'`)
        database.close()
        const store = yield* SqliteStorage.open({ file, durability: "none" })
        const error = yield* Effect.flip(Stream.runDrain(store.load))
        assert.strictEqual(error.reason._tag, "StorageCorrupt")
      })
    )
  }
})
