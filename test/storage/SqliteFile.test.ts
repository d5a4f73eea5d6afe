/**
 * What a store says of a file that it cannot use, and that it does not touch it.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import * as Stream from "effect/Stream"
import { execFileSync } from "node:child_process"
import {
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync
} from "node:fs"
import { DatabaseSync } from "node:sqlite"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import type { StorageErrorReason } from "../../src/storage/BrokerStorage.ts"
import { type DatabaseOptions, SqliteDatabase } from "../../src/storage/SqliteDatabase.ts"
import * as SqliteFailure from "../../src/storage/SqliteFailure.ts"
import * as SqliteSchema from "../../src/storage/SqliteSchema.ts"
import * as SqliteStorage from "../../src/storage/SqliteStorage.ts"
import { outgoing, session } from "../../src/storage/StorageContract.ts"
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

/** What comes of opening it in a process that may not write everything, as root may. */
const openedByAnother = (options: DatabaseOptions): string => {
  const root = fileURLToPath(new URL("../..", import.meta.url))
  const program = `
    if (process.getuid?.() === 0) { process.setgid(65534); process.setuid(65534) }
    const { SqliteDatabase } = await import(${JSON.stringify(join(root, "src/storage/SqliteDatabase.ts"))})
    const { toError } = await import(${JSON.stringify(join(root, "src/storage/SqliteStorage.ts"))})
    try { new SqliteDatabase(${JSON.stringify(options)}).begin(1); console.log("opened") }
    catch (error) { console.log(toError("", error).reason._tag) }`
  return execFileSync(process.execPath, ["--input-type=module", "-e", program], { encoding: "utf8" }).trim()
}

interface Case {
  readonly title: string
  readonly tag: StorageErrorReason["_tag"]
  /** What it says. */
  readonly words: RegExp
  readonly spoil: (file: string) => void
  /** Only what is beside the file is another's. */
  readonly isStore?: true
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
    spoil: (file) => {
      rmSync(`${file}-reserve`)
      writeFileSync(file, "just some notes, and more of them, line by line")
    }
  },
  {
    title: "a store whose beginning has been destroyed",
    tag: "StorageCorrupt",
    words: /beginning has been destroyed.*--recover/,
    spoil: (file) => writeFileSync(file, Buffer.from(readFileSync(file)).fill(0x5a, 0, 100))
  },
  {
    title: "a store whose header makes no sense",
    tag: "StorageCorrupt",
    words: /--recover/,
    spoil: (file) => writeFileSync(file, Buffer.from(readFileSync(file)).fill(0x5a, 16, 24))
  },
  {
    title: "a store that has become empty",
    tag: "StorageCorrupt",
    words: /gone or empty, but .*-reserve.*restore a backup; to start with nothing, move away/,
    spoil: (file) => truncateSync(file)
  },
  {
    title: "a store of which only the damaged one is left that was moved aside",
    tag: "StorageCorrupt",
    words: /gone or empty, but .*\.damaged-2026.*Put the file back/,
    spoil: (file) => {
      rmSync(`${file}-reserve`)
      renameSync(file, `${file}.damaged-2026-01-01`)
    }
  },
  {
    title: "a store whose recovery was interrupted",
    tag: "StorageCorrupt",
    words: /recovery was interrupted.*--recover again/,
    spoil: (file) => renameSync(file, `${file}.recovered`)
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
    title: "a directory",
    tag: "StorageForeign",
    words: /EISDIR.*\. Name another place/s,
    spoil: (file) => {
      rmSync(file)
      mkdirSync(file)
    }
  },
  {
    title: "a file whose lock cannot be one",
    tag: "StorageForeign",
    words: /-lock.*Name another place, or move it away/s,
    spoil: (file) => {
      rmSync(`${file}-lock`)
      mkdirSync(`${file}-lock`)
    },
    isStore: true
  },
  {
    title: "a file whose lock is damaged",
    tag: "StorageFailed",
    words: /Its lock .*store\.db-lock is damaged.*delete it\.$/,
    spoil: (file) => writeFileSync(`${file}-lock`, "just some notes, and more of them, line by line".repeat(40))
  },
  {
    title: "a file whose reserve cannot be one",
    tag: "StorageForeign",
    words: /-reserve.*Name another place, or move it away/s,
    spoil: (file) => {
      rmSync(`${file}-reserve`)
      mkdirSync(`${file}-reserve`)
    },
    isStore: true
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
  for (const { isStore = false, spoil, tag, title, words } of cases) {
    it.live(title, () =>
      Effect.gen(function* () {
        const file = yield* filled(yield* directory)
        spoil(file)
        // Who may read another's file is not for the broker to say.
        const isAnothers = tag === "StorageForeign" && !isStore
        if (isAnothers) chmodSync(file, 0o755)
        const read = () => (statSync(file).isDirectory() ? "a directory" : readFileSync(file, "latin1"))
        const before = tag === "StorageCorrupt" ? "" : read()
        const reason = yield* reasonOf(file)
        assert.strictEqual(reason._tag, tag, reason.message)
        assert.match(reason.message, words)
        assert.include(reason.message, file)
        if (tag !== "StorageCorrupt") assert.strictEqual(read(), before)
        if (isAnothers) assert.strictEqual(statSync(file).mode & 0o777, 0o755)
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

  it.live("a store that another broker uses under another name", () =>
    Effect.gen(function* () {
      const path = yield* directory
      const file = yield* filled(path)
      const link = join(path, "link.db")
      symlinkSync(file, link)
      yield* Effect.gen(function* () {
        yield* open(link)
        for (const name of [file, link]) assert.strictEqual((yield* reasonOf(name))._tag, "StorageLocked")
      }).pipe(Effect.scoped)
      assert.isAbove((yield* Effect.scoped(open(link))).length, 2_000)
    })
  )

  it.live("a link that leads to itself", () =>
    Effect.gen(function* () {
      const path = yield* directory
      symlinkSync("b.db", join(path, "a.db"))
      symlinkSync("a.db", join(path, "b.db"))
      assert.match((yield* reasonOf(join(path, "a.db"))).message, /ELOOP/)
    })
  )

  it.live("a place below a file", () =>
    Effect.gen(function* () {
      const file = yield* filled(yield* directory)
      const reason = yield* reasonOf(join(file, "store.db"))
      assert.strictEqual(reason._tag, "StorageForeign")
      assert.match(reason.message, /Name another place/)
    })
  )

  for (const suffix of ["", "-wal", "-shm"]) {
    it.live(`a store whose file${suffix} it may not write`, () =>
      Effect.gen(function* () {
        const path = yield* directory
        const file = join(path, "store.db")
        // Somebody has it open, or there would be no log.
        const options = { file, durability: "none", fileBytesMax: 0, logBytesMax: 1e6 } as const
        const database = new SqliteDatabase(options)
        yield* Effect.addFinalizer(() => Effect.sync(() => database.close()))
        chmodSync(path, 0o777)
        for (const name of readdirSync(path)) chmodSync(join(path, name), 0o666)
        assert.strictEqual(openedByAnother(options), "opened")
        for (const mode of [0o444, 0o000]) {
          chmodSync(`${file}${suffix}`, mode)
          assert.strictEqual(openedByAnother(options), "StorageReadOnly")
        }
      })
    )
  }
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

  it.live("takes a file that others may read from their eyes, and says so", () =>
    Effect.gen(function* () {
      const file = yield* filled(yield* directory)
      chmodSync(file, 0o644)
      const logged: Array<string> = []
      const logger = Logger.make<unknown, void>(({ message }) => logged.push(String(message)))
      const store = yield* SqliteStorage.open({ file }).pipe(Effect.provide(Logger.layer([logger])))
      yield* Stream.runDrain(store.load)
      const modes = ["", "-wal", "-shm"].map((suffix) => statSync(`${file}${suffix}`).mode & 0o777)
      assert.deepStrictEqual(modes, [0o600, 0o600, 0o600])
      assert.match(logged.join(), /Others than its owner could read .*store\.db: now they cannot/)
    })
  )

  it.live("makes the file that a symbolic link leads to, though it is not there yet", () =>
    Effect.gen(function* () {
      const path = yield* directory
      symlinkSync("real.db", join(path, "second.db"))
      symlinkSync("second.db", join(path, "first.db"))
      yield* Effect.scoped(open(join(path, "first.db")))
      const made = readdirSync(path).filter((name) => statSync(join(path, name)).size > 0)
      assert.includeMembers(made, ["real.db", "real.db-reserve"])
      assert.notInclude(readdirSync(path), "first.db-lock")
    })
  )

  it.live("lives under a name with spaces, signs and letters of any language", () =>
    Effect.gen(function* () {
      const file = join(yield* directory, " wörk 漢字 🦔 #?%20&'q\"= file:x?mode=ro.db")
      yield* Effect.gen(function* () {
        const store = yield* SqliteStorage.open({ file, durability: "none" })
        yield* Stream.runDrain(store.load)
        yield* store.commit([session("a")], 1)
      }).pipe(Effect.scoped)
      assert.isTrue(statSync(file).isFile())
      assert.deepStrictEqual([...(yield* Effect.scoped(open(file)))], [session("a")])
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
    [sqlite(14), "read-only"], // SQLITE_CANTOPEN
    [sqlite(11), "corrupt"],
    [sqlite(267), "corrupt"], // SQLITE_CORRUPT_VTAB
    [sqlite(26), "foreign"],
    [sqlite(778), "failed"], // SQLITE_IOERR_WRITE
    [system("ENOSPC"), "full"],
    [system("EACCES"), "read-only"],
    [system("ENOTDIR"), "foreign"],
    [new TypeError("a bug"), "failed"],
    ["text", "failed"]
  ] as const) {
    it(`${error instanceof Error ? JSON.stringify(error) : error} is ${kind}`, () => {
      assert.strictEqual(SqliteFailure.of(error).kind, kind)
    })
  }
})
