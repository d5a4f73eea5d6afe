/**
 * Time that passes while the broker is down counts: a crash an hour ago is an hour of absence for everybody.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import * as Broker from "../../src/broker/Broker.ts"
import * as SqliteBackup from "../../src/storage/SqliteBackup.ts"
import * as SqliteStorage from "../../src/storage/SqliteStorage.ts"
import * as RawClient from "../broker/RawClient.ts"
import { brokerLayer, port } from "../broker/support.ts"
import { directory } from "./Directory.ts"

const HOUR_SECONDS = 3_600

const onFile = (file: string) =>
  brokerLayer({ storage: Layer.orDie(SqliteStorage.layer({ file, durability: "none" })) })

const will = (topic: string, willDelayInterval: number) => ({
  topic,
  payload: Buffer.from("gone"),
  qos: 1 as const,
  retain: true,
  properties: { willDelayInterval }
})

describe("a broker that was down for an hour", () => {
  it.live("has ended the sessions and published the wills that fell due, and keeps the others", () =>
    Effect.gen(function* () {
      const path = yield* directory
      const copy = join(path, "copy.db")
      const connect = Effect.fnUntraced(function* (clientId: string, expirySeconds: number, delaySeconds: number) {
        return yield* RawClient.connect(yield* port, {
          clientId,
          properties: { sessionExpiryInterval: expirySeconds },
          will: will(`will/${clientId}`, delaySeconds)
        })
      })
      yield* Effect.gen(function* () {
        const broker = yield* Broker.Broker
        yield* connect("short", HOUR_SECONDS / 2, 10 * HOUR_SECONDS)
        yield* connect("long", 2 * HOUR_SECONDS, HOUR_SECONDS / 2)
        yield* connect("later", 2 * HOUR_SECONDS, 3 * HOUR_SECONDS)
        yield* broker.publish({
          topic: "expires",
          payload: "x",
          retain: true,
          properties: { messageExpiryInterval: 1 }
        })
        // All that a crash leaves is what is in the file at that moment.
        yield* SqliteBackup.backup(join(path, "store.db"), copy)
      }).pipe(Effect.scoped, Effect.provide(onFile(join(path, "store.db"))))
      const database = new DatabaseSync(copy)
      database.prepare("UPDATE run SET alive_at = ?").run(Date.now() - HOUR_SECONDS * 1_000)
      database.close()
      yield* Effect.gen(function* () {
        const broker = yield* Broker.Broker
        const clientIds = Effect.map(broker.sessions, (sessions) => sessions.map(({ clientId }) => clientId))
        // What is due is looked at right after the start, and whoever is told of it may still look at the session.
        while ((yield* clientIds).includes("short")) yield* Effect.sleep(1)
        assert.sameMembers(yield* clientIds, ["long", "later"])
        const retained = (yield* broker.retainedMessages).map(({ topic }) => topic)
        assert.includeMembers(retained, ["will/short", "will/long"])
        assert.notInclude(retained, "will/later")
        const client = yield* RawClient.connect(yield* port, {
          clientId: "later",
          cleanStart: false,
          properties: { sessionExpiryInterval: HOUR_SECONDS }
        })
        assert.isTrue(client.connAck.sessionPresent)
      }).pipe(Effect.scoped, Effect.provide(onFile(copy)))
    })
  )
})
