/**
 * What later batches change, and which batches count.
 */
import * as Effect from "effect/Effect"
import { BrokerStorage } from "../BrokerStorage.ts"
import { incoming, outgoing, retained, session, subscription } from "../StorageRecords.ts"
import { type Case, load, same, sameRecords } from "./Case.ts"

export const cases: ReadonlyArray<Case> = [
  [
    "later operations replace, change and remove what earlier ones put",
    Effect.gen(function* () {
      const storage = yield* BrokerStorage
      yield* load
      yield* storage.commit(
        [session("a"), subscription("a", "x"), subscription("a", "y"), outgoing("a", 1), outgoing("a", 2)],
        5
      )
      yield* storage.commit([incoming("a", 1), incoming("a", 2), retained("r", 1), retained("s", 2)], 9)
      yield* storage.commit(
        [
          { _tag: "RemoveSubscription", clientId: "a", filter: "x" },
          { _tag: "SetOutgoing", clientId: "a", order: 1, packetId: 42, state: 2 },
          { _tag: "RemoveOutgoing", clientId: "a", order: 2 },
          { _tag: "RemoveIncoming", clientId: "a", packetId: 1 },
          { _tag: "RemoveRetained", topic: "r" },
          retained("s", 3),
          session("a", { expirySeconds: 10 })
        ],
        16
      )
      sameRecords(yield* load, [
        session("a", { expirySeconds: 10 }),
        subscription("a", "y"),
        { ...outgoing("a", 1), packetId: 42, state: 2 },
        incoming("a", 2),
        retained("s", 3)
      ])
    })
  ],

  [
    "removing a session removes everything in it and nothing else",
    Effect.gen(function* () {
      const storage = yield* BrokerStorage
      yield* load
      for (const [index, clientId] of ["a", "b"].entries()) {
        const records = [session(clientId), subscription(clientId, "x"), outgoing(clientId, 1), incoming(clientId, 1)]
        yield* storage.commit(records, index + 1)
      }
      yield* storage.commit([{ _tag: "RemoveSession", clientId: "a" }], 3)
      sameRecords(yield* load, [session("b"), subscription("b", "x"), outgoing("b", 1), incoming("b", 1)])
    })
  ],

  [
    "a session that is put again after its removal starts empty",
    Effect.gen(function* () {
      const storage = yield* BrokerStorage
      yield* load
      yield* storage.commit([session("a"), subscription("a", "x"), outgoing("a", 1), incoming("a", 1)], 1)
      yield* storage.commit([{ _tag: "RemoveSession", clientId: "a" }, session("a")], 2)
      sameRecords(yield* load, [session("a")])
    })
  ],

  [
    "what comes and goes within a batch leaves nothing",
    Effect.gen(function* () {
      const storage = yield* BrokerStorage
      yield* load
      yield* storage.commit([session("a"), outgoing("a", 1), incoming("a", 1)], 1)
      yield* storage.commit(
        [
          outgoing("a", 2),
          { _tag: "SetOutgoing", clientId: "a", order: 1, packetId: 3, state: 2 },
          { _tag: "RemoveOutgoing", clientId: "a", order: 2 },
          { _tag: "RemoveOutgoing", clientId: "a", order: 1 },
          { _tag: "RemoveIncoming", clientId: "a", packetId: 1 },
          incoming("a", 1),
          { _tag: "RemoveIncoming", clientId: "a", packetId: 1 },
          outgoing("a", 3),
          { _tag: "SetOutgoing", clientId: "a", order: 3, packetId: 4, state: 3 },
          retained("r"),
          { _tag: "RemoveRetained", topic: "r" },
          session("b"),
          outgoing("b", 1),
          { _tag: "RemoveSession", clientId: "b" },
          outgoing("b", 2)
        ],
        2
      )
      same(yield* load, [session("a"), { ...outgoing("a", 3), packetId: 4, state: 3 }])
    })
  ],

  [
    "a batch that is repeated is applied once",
    Effect.gen(function* () {
      const storage = yield* BrokerStorage
      yield* load
      yield* storage.commit([session("a"), outgoing("a", 1)], 2)
      yield* storage.commit([{ _tag: "RemoveOutgoing", clientId: "a", order: 1 }], 3)
      yield* storage.commit([session("a"), outgoing("a", 1)], 2)
      sameRecords(yield* load, [session("a")])
    })
  ],

  [
    "after a restart sequences begin again",
    Effect.gen(function* () {
      const storage = yield* BrokerStorage
      yield* load
      yield* storage.commit([session("a")], 1_000)
      yield* load
      yield* storage.commit([session("b")], 1)
      sameRecords(yield* load, [session("a"), session("b")])
    })
  ]
]
