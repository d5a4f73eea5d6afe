/**
 * The tables, and the way from every former version of them to this one.
 *
 * A file is known by SQLite's application id, and its version by `user_version`. To change the tables, append a
 * migration: those that a file has not seen run once, each in a transaction with the version it makes.
 */
import type { DatabaseSync } from "node:sqlite"
import { SqliteFailure } from "./SqliteFailure.ts"

/** "MQTT" in ASCII. */
const APPLICATION_ID = 0x4d515454

type Migration = (database: DatabaseSync) => void

/** Version 1: as it began. */
const begin: Migration = (database) => {
  database.exec(`
    -- One row: the run of the broker that wrote last, the last batch of it, and when it was last known to live.
    CREATE TABLE run (
      id INTEGER PRIMARY KEY, number INTEGER NOT NULL, sequence INTEGER NOT NULL, alive_at INTEGER NOT NULL
    );
    INSERT INTO run VALUES (1, 0, 0, 0);

    CREATE TABLE session (
      number INTEGER PRIMARY KEY,
      client_id TEXT NOT NULL UNIQUE,
      user_name TEXT NOT NULL,
      unclaimed INTEGER NOT NULL,
      expiry_seconds INTEGER NOT NULL,
      disconnected_at INTEGER NOT NULL,
      will BLOB
    );
    CREATE TABLE subscription (
      session INTEGER NOT NULL,
      filter TEXT NOT NULL,
      options INTEGER NOT NULL,
      identifier INTEGER NOT NULL,
      PRIMARY KEY (session, filter)
    ) WITHOUT ROWID;
    CREATE TABLE incoming (
      session INTEGER NOT NULL,
      packet_id INTEGER NOT NULL,
      state INTEGER NOT NULL,
      message BLOB NOT NULL,
      PRIMARY KEY (session, packet_id)
    ) WITHOUT ROWID;
    CREATE TABLE retained (topic TEXT PRIMARY KEY, message BLOB NOT NULL);

    -- Messages for sessions, up to 256 with consecutive orders in a row. Rows are appended: a batch for two hundred
    -- sessions writes neighbouring pages.
    CREATE TABLE chunk (
      id INTEGER PRIMARY KEY,
      session INTEGER NOT NULL,
      first INTEGER NOT NULL,
      last INTEGER NOT NULL,
      pool INTEGER,
      entries BLOB NOT NULL
    );
    CREATE INDEX chunk_place ON chunk (session, first, last, pool);
    -- What has changed in a chunk since: three bytes a message, its state and packet id.
    CREATE TABLE mark (chunk INTEGER PRIMARY KEY, states BLOB NOT NULL);
    -- Messages that several chunks point to, and how many.
    CREATE TABLE pool (number INTEGER PRIMARY KEY, chunks INTEGER NOT NULL, messages BLOB NOT NULL);
  `)
}

/** Version 2: retained messages say who published them. Those from before do not, and read as they did. */
const withOrigins: Migration = () => {}

const migrations: ReadonlyArray<Migration> = [begin, withOrigins]

export const VERSION = migrations.length

/** The first column of the first row. */
export const numberOf = (database: DatabaseSync, sql: string): number =>
  Number(Object.values(database.prepare(sql).get() ?? {})[0] ?? 0)

/** Runs `body` in a transaction that takes the write lock at once. */
export const transaction = <A>(database: DatabaseSync, body: () => A): A => {
  database.exec("BEGIN IMMEDIATE")
  try {
    const result = body()
    database.exec("COMMIT")
    return result
  } catch (error) {
    // SQLite may have rolled back by itself.
    if (database.isTransaction) database.exec("ROLLBACK")
    throw error
  }
}

/** Whether nothing has been written to the file yet; fails when it is not one of ours, or of a later version. */
export const isNew = (database: DatabaseSync): boolean => {
  const id = numberOf(database, "PRAGMA application_id")
  const version = numberOf(database, "PRAGMA user_version")
  if (id === 0 && version === 0 && numberOf(database, "SELECT count(*) FROM sqlite_schema") === 0) return true
  if (id !== APPLICATION_ID) throw new SqliteFailure("foreign", "It is the database of another program.")
  if (version > VERSION) {
    throw new SqliteFailure("newer", `It has version ${version}, and this program knows versions up to ${VERSION}.`)
  }
  return false
}

/** Brings the tables to the newest version, step by step. */
export const migrate = (database: DatabaseSync, steps: ReadonlyArray<Migration> = migrations): void => {
  for (let version = numberOf(database, "PRAGMA user_version"); version < steps.length; version++) {
    transaction(database, () => {
      steps[version]!(database)
      database.exec(`PRAGMA application_id = ${APPLICATION_ID}; PRAGMA user_version = ${version + 1}`)
    })
  }
}
