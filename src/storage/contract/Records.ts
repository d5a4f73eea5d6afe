/**
 * What is put comes back, and as it was.
 */
import * as Effect from "effect/Effect"
import assert from "node:assert/strict"
import { BrokerStorage } from "../BrokerStorage.ts"
import { incoming, message, outgoing, retained, session, subscription } from "../StorageRecords.ts"
import { type Case, load, same, sameRecords } from "./Case.ts"

export const cases: ReadonlyArray<Case> = [
  [
    "starts empty and keeps everything",
    Effect.gen(function* () {
      const storage = yield* BrokerStorage
      assert.strictEqual(storage.keeps, "everything")
      same(yield* load, [])
    })
  ],

  [
    "gives back every kind of record as it was put, a session before what is in it",
    Effect.gen(function* () {
      const storage = yield* BrokerStorage
      const will = { message: message(99, "will"), delaySeconds: 30 }
      const records = [
        session("a", { will, disconnectedAt: 5 }),
        subscription("a", "x/#"),
        incoming("a", 3),
        outgoing("a", 1),
        retained("r")
      ]
      yield* load
      yield* storage.commit(records, 1)
      const found = yield* load
      sameRecords(found, records)
      assert.strictEqual(
        found.findIndex((record) => record._tag === "PutSession"),
        0
      )
    })
  ],

  [
    "every optional field, and the ends of every range",
    Effect.gen(function* () {
      const storage = yield* BrokerStorage
      yield* load
      const empty = { ...message(1, "e"), payload: new Uint8Array(0), properties: undefined, qos: 0 as const }
      const latest = {
        ...message(2 ** 40, "l"),
        receivedAt: 2 ** 43,
        expiresAt: 2 ** 44,
        qos: 2 as const,
        properties: {}
      }
      const large = { ...message(3, "x".repeat(65_535)), payload: new Uint8Array(300_000).fill(7), retain: true }
      const will = { message: empty, delaySeconds: 0xffff_ffff }
      const records = [
        session("a", { unclaimed: true, expirySeconds: 0xffff_ffff, disconnectedAt: 2 ** 43, will, userName: "" }),
        { ...subscription("a", "x"), qos: 0, noLocal: false, retainAsPublished: true, retainHandling: 2 } as const,
        { ...subscription("a", "y"), subscriptionIdentifier: 0, retainHandling: 0 } as const,
        { ...incoming("a", 65_535), message: latest, state: 9 } as const,
        { ...outgoing("a", 1), message: empty, qos: 0, subscriptionIdentifiers: undefined } as const,
        { ...outgoing("a", 2), message: latest, qos: 2, packetId: 65_535, state: 5, retain: true } as const,
        { ...outgoing("a", 2 ** 40), message: large, sharedFilter: "$share/g/x", subscriptionIdentifiers: [] } as const,
        { _tag: "PutRetained", message: large } as const
      ]
      yield* storage.commit(records, 1)
      sameRecords(yield* load, records)
    })
  ],

  [
    "client ids, topics and filters that look like something else are only names",
    Effect.gen(function* () {
      const storage = yield* BrokerStorage
      yield* load
      const names = ["__proto__", "constructor", "a'; DROP TABLE x; --", "é", "\u{1f600}"]
      const records = names.flatMap((name) => [session(name), subscription(name, name), retained(name)])
      yield* storage.commit(records, 1)
      sameRecords(yield* load, records)
    })
  ],

  [
    "what is read cannot change what is kept, nor can the bytes that were handed over",
    Effect.gen(function* () {
      const storage = yield* BrokerStorage
      yield* load
      const record = retained("r")
      yield* storage.commit([record], 1)
      record.message.payload.fill(9)
      for (const found of yield* load) if (found._tag === "PutRetained") found.message.payload.fill(8)
      sameRecords(yield* load, [retained("r")])
    })
  ]
]
