/**
 * Messages as bytes: what is written comes back, and what an earlier version wrote is still read.
 */
import { assert, describe, it } from "@effect/vitest"
import { DatabaseSync } from "node:sqlite"
import { SqliteBytes } from "../../src/storage/SqliteBytes.ts"
import * as SqliteMessage from "../../src/storage/SqliteMessage.ts"
import * as SqliteSchema from "../../src/storage/SqliteSchema.ts"
import { message } from "../../src/storage/StorageContract.ts"

const written = (stored: Parameters<typeof SqliteMessage.write>[0]): Uint8Array => {
  const target = new SqliteBytes()
  SqliteMessage.write(stored, target)
  return target.bytes.slice(0, target.at)
}

const origin = { clientId: "publisher", userName: "Jürgen" }

describe("SqliteMessage", () => {
  it("keeps who published a message, with whatever else it has", () => {
    for (const properties of [undefined, message(1).properties]) {
      for (const expiresAt of [0, 1_800_000_000_000]) {
        for (const name of ["", "Jürgen", "n".repeat(65_535)]) {
          const stored = { ...message(1), properties, expiresAt, origin: { clientId: name, userName: name } }
          assert.deepStrictEqual(SqliteMessage.read(written(stored)), stored)
        }
      }
    }
  })

  it("reads what version 1 wrote, which had no publishers", () => {
    // Flags (QoS 1, retain), message id 7, received at 1, "t", 2 bytes.
    const old = Uint8Array.of(0x05, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 1, 0, 1, 0x74, 0, 0, 0, 2, 8, 9)
    assert.deepStrictEqual(SqliteMessage.read(old), {
      messageId: 7,
      topic: "t",
      payload: Uint8Array.of(8, 9),
      qos: 1,
      retain: true,
      properties: undefined,
      receivedAt: 1,
      expiresAt: 0
    })
    assert.deepStrictEqual(written(SqliteMessage.read(old)!), old)
  })

  it("reads on behind a topic that is none, and takes none that is the same for one that repeats", () => {
    const sound = written(message(1, "topic"))
    const broken = written(message(1, "topic"))
    broken[broken.indexOf(0x74)] = 0xff
    const reader = new SqliteMessage.MessageReader(Buffer.concat([broken, broken, sound, sound]))
    const found = [0, 1, 2, 3].map((index) => {
      reader.seek(index * sound.length, (index + 1) * sound.length)
      return reader.read()?.topic
    })
    assert.deepStrictEqual(found, [undefined, undefined, "topic", "topic"])
  })

  it("reads nothing from bytes that are cut off anywhere", () => {
    const bytes = written({ ...message(1), origin })
    for (let length = 0; length < bytes.length; length++) {
      assert.isUndefined(SqliteMessage.read(bytes.subarray(0, length)), `${length}`)
    }
  })
})

describe("a file of version 1", () => {
  it("becomes one of this version, so that a program of version 1 does not misread it", () => {
    const database = new DatabaseSync(":memory:")
    SqliteSchema.migrate(database)
    database.exec("PRAGMA user_version = 1; INSERT INTO retained VALUES ('t', x'00')")
    assert.isFalse(SqliteSchema.isNew(database))
    SqliteSchema.migrate(database)
    assert.strictEqual(SqliteSchema.numberOf(database, "PRAGMA user_version"), SqliteSchema.VERSION)
    assert.isAtLeast(SqliteSchema.VERSION, 2)
    assert.strictEqual(SqliteSchema.numberOf(database, "SELECT count(*) FROM retained"), 1)
    database.close()
  })
})
