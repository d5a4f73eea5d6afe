/**
 * What a store says of a file that it cannot use, and that it does not touch it.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { execFileSync } from "node:child_process"
import { chmodSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs"
import { DatabaseSync } from "node:sqlite"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import type { StorageErrorReason } from "../../src/storage/BrokerStorage.ts"
import * as SqliteFailure from "../../src/storage/SqliteFailure.ts"
import * as SqliteSchema from "../../src/storage/SqliteSchema.ts"
import * as SqliteStorage from "../../src/storage/SqliteStorage.ts"
import { outgoing, session } from "./contract.ts"
import { directory } from "./Directory.ts"

const open = (file: string) =>
  Effect.flatMap(SqliteStorage.open({ file, durability: "none" }), (store) => Stream.runCollect(store.load))

const reasonOf = (file: string) => Effect.map(Effect.flip(Effect.scoped(open(file))), ({ reason }) => reason)

/** A store with a session and its messages, closed. */
const filled = Effect.fnUntraced(function* (path: string) {
  const file = join(path, "store.db")
  yield* Effect.gen(function* () {
    const store = yield* SqliteStorage.open({ file, durability: "none" })
    yield* Stream.runDrain(store.load)
    yield* store.commit([session("a"), ...Array.from({ length: 2_000 }, (_, index) => outgoing("a", index + 1))], 1)
  }).pipe(Effect.scoped)
  return file
})

const change = (file: string, body: (database: DatabaseSync) => void): void => {
  const database = new DatabaseSync(file)
  body(database)
  database.close()
}

interface Case {
  readonly title: string
  readonly tag: StorageErrorReason["_tag"]
  /** What it says. */
  readonly words: RegExp
  readonly spoil: (file: string) => void
}

const cases: ReadonlyArray<Case> = [
  {
    title: "a file of a later version",
    tag: "StorageNewer",
    words: /version 99.*Run that version, or restore a backup/s,
    spoil: (file) => change(file, (database) => database.exec("PRAGMA user_version = 99"))
  },
  {
    title: "the database of another program",
    tag: "StorageForeign",
    words: /another program.*Name another place/s,
    spoil: (file) => change(file, (database) => database.exec("PRAGMA application_id = 7"))
  },
  {
    title: "a database that nobody marked as theirs",
    tag: "StorageForeign",
    words: /another program/,
    spoil: (file) => {
      rmSync(file)
      change(file, (database) => database.exec("CREATE TABLE notes (text)"))
    }
  },
  {
    title: "a file that is no database",
    tag: "StorageForeign",
    words: /not a database/,
    spoil: (file) => writeFileSync(file, "just some notes, and more of them, line by line")
  },
  {
    title: "a file with a damaged page",
    tag: "StorageCorrupt",
    words: /Restore a backup, or start with recovery \(--recover\)/,
    spoil: (file) => {
      const bytes = readFileSync(file)
      bytes.fill(0x5a, 8_192, bytes.length)
      writeFileSync(file, bytes)
    }
  },
  {
    title: "a file that is cut off",
    tag: "StorageCorrupt",
    words: /--recover/,
    spoil: (file) => truncateSync(file, Math.floor(statSync(file).size / 16_384) * 8_192)
  },
  {
    title: "a message that is none, in a database that is sound",
    tag: "StorageCorrupt",
    words: /a message for a that cannot be read/,
    spoil: (file) => change(file, (database) => database.exec("UPDATE chunk SET entries = x'0102' WHERE first = 1"))
  },
  {
    title: "the rest of a database that is gone",
    tag: "StorageCorrupt",
    words: /gone or empty, but .*-wal/,
    spoil: (file) => {
      rmSync(file)
      writeFileSync(`${file}-wal`, "what was not yet in the database")
    }
  }
]

describe("SqliteStorage does not start on", () => {
  for (const { spoil, tag, title, words } of cases) {
    it.live(title, () =>
      Effect.gen(function* () {
        const file = yield* filled(yield* directory)
        spoil(file)
        const before = tag === "StorageCorrupt" ? "" : readFileSync(file, "latin1")
        const reason = yield* reasonOf(file)
        assert.strictEqual(reason._tag, tag, reason.message)
        assert.match(reason.message, words)
        assert.include(reason.message, file)
        if (tag !== "StorageCorrupt") assert.strictEqual(readFileSync(file, "latin1"), before)
      })
    )
  }

  it.live("a store that another broker uses, until that one is done", () =>
    Effect.gen(function* () {
      const file = join(yield* directory, "store.db")
      yield* Effect.gen(function* () {
        yield* open(file)
        const reason = yield* reasonOf(file)
        assert.strictEqual(reason._tag, "StorageLocked")
        assert.match(reason.message, /in use.*Stop the other broker/s)
      }).pipe(Effect.scoped)
      yield* open(file)
    })
  )

  it.live("a file that it may not write", () =>
    Effect.gen(function* () {
      const path = yield* directory
      const file = yield* filled(path)
      chmodSync(path, 0o755)
      for (const name of [file, `${file}-lock`, `${file}-reserve`]) chmodSync(name, 0o644)
      if (process.getuid?.() !== 0) {
        chmodSync(file, 0o444)
        assert.strictEqual((yield* reasonOf(file))._tag, "StorageReadOnly")
        return
      }
      // Root may write everything: somebody else tries. The lock is let out of it, or that would be refused first.
      for (const name of [path, `${file}-lock`, `${file}-reserve`]) chmodSync(name, 0o777)
      const root = fileURLToPath(new URL("../..", import.meta.url))
      const program = `
        process.setgid(65534); process.setuid(65534)
        const { SqliteDatabase } = await import(${JSON.stringify(join(root, "src/storage/SqliteDatabase.ts"))})
        const { of } = await import(${JSON.stringify(join(root, "src/storage/SqliteFailure.ts"))})
        const options = { file: ${JSON.stringify(file)}, durability: "none", fileBytesMax: 0, logBytesMax: 1e6 }
        try { new SqliteDatabase(options).begin(1); console.log("opened") }
        catch (error) { console.log(of(error).kind) }`
      const said = execFileSync(process.execPath, ["--input-type=module", "-e", program], { encoding: "utf8" })
      assert.strictEqual(said.trim(), "read-only")
    })
  )
})

describe("SqliteStorage", () => {
  it.live("makes its files, and the directory, for the eyes of their owner only", () =>
    Effect.gen(function* () {
      const path = join(yield* directory, "deep", "data")
      const file = join(path, "store.db")
      const store = yield* SqliteStorage.open({ file })
      yield* Stream.runDrain(store.load)
      yield* store.commit([session("a")], 1)
      const modes = ["", "-wal", "-shm", "-lock", "-reserve"].map((suffix) => statSync(`${file}${suffix}`).mode & 0o777)
      assert.deepStrictEqual(modes, [0o600, 0o600, 0o600, 0o600, 0o600])
      assert.strictEqual(statSync(path).mode & 0o777, 0o700)
    })
  )

  it.live("starts where one was interrupted before it had made its tables", () =>
    Effect.gen(function* () {
      const file = join(yield* directory, "store.db")
      change(file, (database) => database.exec("PRAGMA journal_mode = WAL"))
      assert.deepStrictEqual([...(yield* open(file))], [])
    })
  )
})

describe("SqliteSchema.migrate", () => {
  const steps = [
    (database: DatabaseSync) => database.exec("CREATE TABLE a (x)"),
    (database: DatabaseSync) => database.exec("ALTER TABLE a ADD COLUMN y; INSERT INTO a VALUES (1, 2)")
  ]
  const versionOf = (database: DatabaseSync) => SqliteSchema.numberOf(database, "PRAGMA user_version")

  it("runs the steps that a file has not seen, each once", () => {
    const database = new DatabaseSync(":memory:")
    SqliteSchema.migrate(database, steps.slice(0, 1))
    assert.strictEqual(versionOf(database), 1)
    SqliteSchema.migrate(database, steps)
    SqliteSchema.migrate(database, steps)
    assert.strictEqual(versionOf(database), 2)
    assert.strictEqual(SqliteSchema.numberOf(database, "SELECT count(*) FROM a"), 1)
    database.close()
  })

  it("leaves the version as it was when a step fails half-way", () => {
    const database = new DatabaseSync(":memory:")
    const failing = (inner: DatabaseSync) => inner.exec("CREATE TABLE b (x); SELECT x FROM nowhere")
    assert.throws(() => SqliteSchema.migrate(database, [...steps, failing]), /nowhere/)
    assert.strictEqual(versionOf(database), 2)
    assert.strictEqual(SqliteSchema.numberOf(database, "SELECT count(*) FROM sqlite_schema WHERE name = 'b'"), 0)
    database.close()
  })
})

describe("SqliteFailure.of", () => {
  const sqlite = (errcode: number) => Object.assign(new Error("said SQLite"), { code: "ERR_SQLITE_ERROR", errcode })
  const system = (code: string) => Object.assign(new Error("said the system"), { code })
  for (const [error, kind] of [
    [sqlite(13), "full"],
    [sqlite(8), "read-only"],
    [sqlite(1_032), "read-only"], // SQLITE_READONLY_DBMOVED
    [sqlite(5), "locked"],
    [sqlite(11), "corrupt"],
    [sqlite(267), "corrupt"], // SQLITE_CORRUPT_VTAB
    [sqlite(26), "foreign"],
    [sqlite(778), "failed"], // SQLITE_IOERR_WRITE
    [system("ENOSPC"), "full"],
    [system("EACCES"), "read-only"],
    [new TypeError("a bug"), "failed"],
    ["text", "failed"]
  ] as const) {
    it(`${error instanceof Error ? JSON.stringify(error) : error} is ${kind}`, () => {
      assert.strictEqual(SqliteFailure.of(error).kind, kind)
    })
  }
})
