/**
 * What later batches change, and which batches count.
 */
import * as Effect from "effect/Effect"
import type { StoreOperation } from "../../core/StoreOperation.ts"
import { BrokerStorage } from "../BrokerStorage.ts"
import { incoming, outgoing, retained, session, subscription } from "../StorageRecords.ts"
import { type Case, load, same, sameRecords } from "./Case.ts"

/** No client has such a name. */
const RENAMED = "\u0000renamed"

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
    "a session that is renamed takes everything in it along, and leaves its name to others",
    Effect.gen(function* () {
      const storage = yield* BrokerStorage
      yield* load
      const former = [session("a"), subscription("a", "x"), outgoing("a", 1), outgoing("a", 2), incoming("a", 1)]
      yield* storage.commit([...former, session("b"), outgoing("b", 1)], 1)
      // What is in the batch goes along as far as it is before the name.
      const batch: ReadonlyArray<StoreOperation> = [
        { _tag: "SetOutgoing", clientId: "a", order: 1, packetId: 42, state: 2 },
        outgoing("a", 3),
        { _tag: "RenameSession", clientId: "a", to: RENAMED },
        { _tag: "RemoveOutgoing", clientId: "a", order: 3 },
        session("a", { userName: "another" }),
        outgoing("a", 2)
      ]
      yield* storage.commit(batch, 2)
      const kept = [
        session(RENAMED),
        subscription(RENAMED, "x"),
        { ...outgoing(RENAMED, 1), packetId: 42, state: 2 } as const,
        outgoing(RENAMED, 2),
        outgoing(RENAMED, 3),
        incoming(RENAMED, 1)
      ]
      const others = [session("b"), outgoing("b", 1), session("a", { userName: "another" }), outgoing("a", 2)]
      sameRecords(yield* load, [...kept, ...others])
      yield* storage.commit([{ _tag: "RemoveOutgoing", clientId: RENAMED, order: 2 }, outgoing("a", 4)], 1)
      const left = kept.filter((record) => !("order" in record && record.order === 2))
      sameRecords(yield* load, [...left, ...others, outgoing("a", 4)])
      if (storage.queued !== undefined) {
        const request = { after: 0, through: 9, bytesMax: 10_000 }
        const found = left.filter(({ _tag }) => _tag === "PutOutgoing")
        same(yield* storage.queued({ ...request, clientId: RENAMED }), found)
        same(yield* storage.queued({ ...request, clientId: "a" }), [outgoing("a", 2), outgoing("a", 4)])
      }
      yield* storage.commit([{ _tag: "RemoveSession", clientId: RENAMED }], 1)
      sameRecords(yield* load, [...others, outgoing("a", 4)])
    })
  ],

  [
    "a session is renamed in the batch that puts it, or removes it, and nobody is when there is none",
    Effect.gen(function* () {
      const storage = yield* BrokerStorage
      yield* load
      const rename = (clientId: string, to: string) => ({ _tag: "RenameSession", clientId, to }) as const
      const remove = (clientId: string) => ({ _tag: "RemoveSession", clientId }) as const
      yield* storage.commit([session("old"), outgoing("old", 1), session("gone"), outgoing("gone", 1)], 1)
      yield* storage.commit(
        [
          session("new"),
          outgoing("new", 1),
          rename("new", RENAMED),
          remove("old"),
          session("old", { expirySeconds: 5 }),
          outgoing("old", 2),
          rename("old", `${RENAMED}2`),
          rename("gone", `${RENAMED}3`),
          remove(`${RENAMED}3`),
          rename("nobody", `${RENAMED}4`),
          outgoing(`${RENAMED}4`, 1)
        ],
        2
      )
      const second = [session(`${RENAMED}2`, { expirySeconds: 5 }), outgoing(`${RENAMED}2`, 2)]
      sameRecords(yield* load, [session(RENAMED), outgoing(RENAMED, 1), ...second])
      yield* storage.commit([session("old"), session("gone"), outgoing("gone", 1), remove(RENAMED)], 1)
      sameRecords(yield* load, [...second, session("old"), session("gone"), outgoing("gone", 1)])
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
