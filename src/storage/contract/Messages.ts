/**
 * The messages of sessions: in their order, and each as long as a session holds it.
 */
import * as Effect from "effect/Effect"
import { BrokerStorage } from "../BrokerStorage.ts"
import { outgoing, session } from "../StorageRecords.ts"
import { type Case, load, range, same, sameRecords } from "./Case.ts"

export const cases: ReadonlyArray<Case> = [
  [
    "a session's messages come back in their order",
    Effect.gen(function* () {
      const storage = yield* BrokerStorage
      yield* load
      yield* storage.commit([session("a"), outgoing("a", 2), outgoing("a", 10), outgoing("a", 1)], 1)
      const orders = (yield* load).flatMap((record) => (record._tag === "PutOutgoing" ? [record.order] : []))
      same(orders, [1, 2, 10])
    })
  ],

  [
    "messages leave a session in any order, whatever batches they came in",
    Effect.gen(function* () {
      const storage = yield* BrokerStorage
      yield* load
      yield* storage.commit([session("a"), ...range(1, 600).map((order) => outgoing("a", order))], 1)
      yield* storage.commit(
        range(601, 700).map((order) => outgoing("a", order)),
        2
      )
      const gone = [...range(1, 3), ...range(100, 520), 602, 600, 604, 700]
      let sequence = 2
      for (const order of gone.reverse()) {
        yield* storage.commit([{ _tag: "RemoveOutgoing", clientId: "a", order }], ++sequence)
      }
      yield* storage.commit(
        [
          { _tag: "SetOutgoing", clientId: "a", order: 99, packetId: 7, state: 3 },
          { _tag: "SetOutgoing", clientId: "a", order: 521, packetId: 65_535, state: 2 },
          { _tag: "SetOutgoing", clientId: "a", order: 520, packetId: 9, state: 2 }, // gone
          outgoing("a", 701)
        ],
        ++sequence
      )
      yield* storage.commit([{ _tag: "SetOutgoing", clientId: "a", order: 99, packetId: 7, state: 4 }], ++sequence)
      const left = range(1, 701).filter((order) => !gone.includes(order))
      const states = new Map([
        [99, { packetId: 7, state: 4 as const }],
        [521, { packetId: 65_535, state: 2 as const }]
      ])
      same(yield* load, [session("a"), ...left.map((order) => ({ ...outgoing("a", order), ...states.get(order) }))])
    })
  ],

  [
    "a message that several sessions hold stays until the last of them lets go of it",
    Effect.gen(function* () {
      const storage = yield* BrokerStorage
      const names = ["a", "b", "c"]
      yield* load
      yield* storage.commit(
        names.map((name) => session(name)),
        1
      )
      const shared = [outgoing("x", 1).message, outgoing("x", 2).message]
      yield* storage.commit(
        shared.flatMap((message, index) => names.map((name) => ({ ...outgoing(name, index + 1), message }))),
        2
      )
      yield* storage.commit(
        [
          { _tag: "RemoveOutgoing", clientId: "a", order: 1 },
          { _tag: "RemoveSession", clientId: "b" }
        ],
        3
      )
      yield* storage.commit([{ _tag: "RemoveOutgoing", clientId: "c", order: 2 }], 4)
      sameRecords(yield* load, [session("a"), session("c"), outgoing("a", 2), outgoing("c", 1)])
    })
  ]
]
