/**
 * Recovery: damage a store in many places, and see that what comes back is only what was there, and nearly all of it.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import {
  existsSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync
} from "node:fs"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import type { StoreRecord } from "../../src/core/StoreOperation.ts"
import * as SqliteStorage from "../../src/storage/SqliteStorage.ts"
import { random } from "../core/Random.ts"
import { incoming, message, outgoing, retained, session, subscription } from "../../src/storage/StorageContract.ts"
import { directory } from "./Directory.ts"

const PAGE = 8_192

const records: ReadonlyArray<StoreRecord> = Array.from({ length: 60 }, (_, client) => {
  // One that has ended, and has a name that no client has.
  const name = client === 6 ? "\u0000orphan-1" : `client ${client}`
  return [
    session(name, { will: { message: message(client), delaySeconds: 1 } }),
    ...Array.from({ length: 5 }, (_, index) => subscription(name, `filter/${index}`)),
    ...Array.from({ length: 10 }, (_, index) => incoming(name, index + 1)),
    ...Array.from({ length: 40 }, (_, index) => outgoing(name, index + 1)),
    retained(`retained/${client}`, client)
  ]
}).flat()

/** A closed store with these records, a row of messages every few of them. */
const filled = Effect.fnUntraced(function* (path: string) {
  const file = join(path, "store.db")
  yield* Effect.gen(function* () {
    const store = yield* SqliteStorage.open({ file, durability: "none" })
    yield* Stream.runDrain(store.load)
    for (let at = 0; at < records.length; at += 7) yield* store.commit(records.slice(at, at + 7), at + 1)
  }).pipe(Effect.scoped)
  return file
})

const recovered = (file: string) =>
  Effect.gen(function* () {
    const store = yield* SqliteStorage.open({ file, durability: "none", recover: true })
    return [...(yield* Stream.runCollect(store.load))]
  }).pipe(Effect.scoped)

const known = new Set(records.map((record) => JSON.stringify(record)))

const keyOf = (record: StoreRecord): string =>
  record._tag === "PutSession" ? JSON.stringify({ ...record, will: undefined }) : JSON.stringify(record)

const knownKeys = new Set(records.map(keyOf))

describe("SqliteSalvage", () => {
  it.live("leaves a sound store as it is", () =>
    Effect.gen(function* () {
      const path = yield* directory
      const file = yield* filled(path)
      assert.strictEqual((yield* recovered(file)).length, records.length)
      assert.deepStrictEqual(
        readdirSync(path).filter((name) => name.includes("damaged")),
        []
      )
    })
  )

  it.live("keeps what is readable around a damaged page, whichever it is, and the damaged file beside it", () =>
    Effect.gen(function* () {
      const path = yield* directory
      const file = yield* filled(path)
      const sound = readFileSync(file)
      const shares: Array<number> = []
      // The first page is the way to all others.
      for (let page = 1; page * PAGE < sound.length; page += 5) {
        for (const name of readdirSync(path)) rmSync(join(path, name))
        const bytes = Buffer.from(sound)
        bytes.fill(0xa5, page * PAGE, (page + 1) * PAGE)
        writeFileSync(file, bytes)
        writeFileSync(`${file}-reserve`, "")
        const found = yield* recovered(file)
        for (const record of found)
          assert.isTrue(knownKeys.has(keyOf(record)), `page ${page}: ${JSON.stringify(record)}`)
        shares.push(found.length / records.length)
        const aside = readdirSync(path).filter((name) => name.includes("damaged"))
        assert.isAtMost(aside.length, 1)
        if (aside.length === 1) assert.deepStrictEqual(readFileSync(join(path, aside[0]!)), bytes)
        else assert.strictEqual(found.length, records.length) // a page that nothing is on
      }
      assert.isAbove(shares.length, 4)
      shares.sort((a, b) => a - b)
      assert.isAbove(shares[Math.floor(shares.length / 2)]!, 0.8)
    })
  )

  it.live("starts on whatever is left of a store that is damaged in many places", () =>
    Effect.gen(function* () {
      const path = yield* directory
      const file = yield* filled(path)
      const sound = readFileSync(file)
      const next = random(7)
      for (let round = 0; round < 5; round++) {
        for (const name of readdirSync(path)) rmSync(join(path, name))
        const bytes = Buffer.from(sound.subarray(0, round % 3 === 0 ? PAGE * (2 + next(10)) : sound.length))
        for (let count = 0; count < 1 + round * 3; count++) bytes[100 + next(bytes.length - 100)] = next(256)
        writeFileSync(file, bytes)
        writeFileSync(`${file}-reserve`, "")
        const found = yield* recovered(file)
        // A byte of a payload may be another one and nobody can tell; all else makes sense, or it could not be loaded.
        assert.isAtMost(found.length, records.length)
        if (round % 3 !== 0) assert.isAbove(found.length, records.length / 2)
        const again = yield* recovered(file)
        assert.deepStrictEqual(again, found)
      }
    })
  )

  it.live("leaves out what belongs to nobody, and the will that cannot be read but not its session", () =>
    Effect.gen(function* () {
      const path = yield* directory
      const file = yield* filled(path)
      const database = new DatabaseSync(file)
      database.exec(`
        DELETE FROM session WHERE client_id = 'client 3';
        UPDATE session SET will = x'00' WHERE client_id = 'client 4';
        UPDATE chunk SET entries = x'00' WHERE session = (SELECT number FROM session WHERE client_id = 'client 5');
      `)
      database.close()
      const found = yield* recovered(file)
      const of = (name: string) => found.filter((record) => "clientId" in record && record.clientId === name)
      assert.deepStrictEqual(of("client 3"), [])
      assert.strictEqual(of("client 4").length, 56)
      assert.deepInclude(of("client 4"), session("client 4"))
      assert.strictEqual(of("client 5").length, 16)
      assert.strictEqual(found.length, records.length - 56 - 40)
      assert.strictEqual(found.filter((record) => known.has(JSON.stringify(record))).length, found.length - 1)
    })
  )

  it.live("leaves out what is found by a number that is none", () =>
    Effect.gen(function* () {
      const path = yield* directory
      const file = yield* filled(path)
      const database = new DatabaseSync(file)
      for (const [client, column] of ["session", "first", "last"].entries()) {
        const number = `(SELECT number FROM session WHERE client_id = 'client ${client}')`
        database.exec(`UPDATE chunk SET ${column} = 'x' WHERE session = ${number}`)
      }
      database.close()
      const found = yield* recovered(file)
      assert.strictEqual(found.length, records.length - 3 * 40)
      for (const record of found) assert.isTrue(known.has(JSON.stringify(record)))
      assert.deepStrictEqual(yield* recovered(file), found)
    })
  )

  it.live("keeps what is left of a store that is cut off", () =>
    Effect.gen(function* () {
      const path = yield* directory
      const file = yield* filled(path)
      const pages = statSync(file).size / PAGE
      const kept: Array<number> = []
      for (const share of [0.9, 0.6, 0.3]) {
        truncateSync(file, Math.floor(pages * share) * PAGE)
        const bytes = readFileSync(file)
        const found = yield* recovered(file)
        for (const record of found) assert.isTrue(knownKeys.has(keyOf(record)), JSON.stringify(record))
        kept.push(found.length / records.length)
        rmSync(file)
        renameSync(join(path, readdirSync(path).find((name) => name.includes("damaged"))!), file)
        assert.deepStrictEqual(readFileSync(file), bytes)
      }
      // What is lost is about what was cut off.
      assert.isAbove(kept[0]!, 0.7)
      assert.isAbove(kept[1]!, 0.4)
      assert.isAbove(kept[2]!, 0.1)
    })
  )

  for (const [what, end] of [
    ["header", 100],
    ["first page", PAGE]
  ] as const) {
    it.live(`keeps everything of a store whose ${what} is destroyed`, () =>
      Effect.gen(function* () {
        const path = yield* directory
        const file = yield* filled(path)
        const bytes = readFileSync(file)
        writeFileSync(file, bytes.fill(0xa5, 0, end))
        assert.strictEqual((yield* recovered(file)).length, records.length)
        assert.lengthOf(
          readdirSync(path).filter((name) => name.includes("damaged")),
          1
        )
        assert.deepStrictEqual(
          readdirSync(path).filter((name) => name.includes("recover")),
          []
        )
      })
    )
  }

  it.live("does not touch the database of another program", () =>
    Effect.gen(function* () {
      const file = join(yield* directory, "store.db")
      const database = new DatabaseSync(file)
      database.exec("CREATE TABLE notes (text)")
      database.close()
      const before = readFileSync(file)
      assert.strictEqual((yield* Effect.flip(recovered(file))).reason._tag, "StorageForeign")
      assert.deepStrictEqual(readFileSync(file), before)
      assert.isTrue(existsSync(file))
    })
  )

  it.live("says of a file that is no database only that", () =>
    Effect.gen(function* () {
      const file = join(yield* directory, "store.db")
      writeFileSync(file, "just some notes, and more of them, line by line")
      assert.match((yield* Effect.flip(recovered(file))).message, /^That is not a store of effect-mqtt.*not a database/)
    })
  )
})
