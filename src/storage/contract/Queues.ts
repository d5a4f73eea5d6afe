/**
 * Waiting messages that are asked for while the broker runs.
 */
import * as Effect from "effect/Effect"
import assert from "node:assert/strict"
import type { PutOutgoing, RemoveOutgoing } from "../../core/StoreOperation.ts"
import { BrokerStorage } from "../BrokerStorage.ts"
import { message, outgoing, session } from "../StorageRecords.ts"
import { type Case, load, range, same } from "./Case.ts"

export const cases: ReadonlyArray<Case> = [
  [
    "waiting messages can be asked for, in their order and piece by piece, if at all",
    Effect.gen(function* () {
      const storage = yield* BrokerStorage
      const { queued } = storage
      if (queued === undefined) {
        yield* Effect.logInfo("This store cannot be asked for waiting messages: queues are whole in memory.")
        return
      }
      yield* load
      const shared = message(9_999)
      yield* storage.commit([session("a"), session("b"), session("c")], 1)
      for (const [index, first] of [1, 301, 601].entries()) {
        const batch = range(first, first + 299).map((order) => outgoing("a", order))
        yield* storage.commit([...batch, outgoing("b", first)], index + 2)
      }
      const both = ["a", "b"].map((name) => ({ ...outgoing(name, 901), message: shared }))
      yield* storage.commit(both, 5)
      const gone = range(290, 620)
      yield* storage.commit(
        gone.map((order) => ({ _tag: "RemoveOutgoing", clientId: "a", order }) as const),
        6
      )
      yield* storage.commit([{ _tag: "SetOutgoing", clientId: "a", order: 2, packetId: 7, state: 2 }], 7)
      const ask = Effect.fnUntraced(function* (clientId: string, after: number, through: number, bytesMax: number) {
        const found: Array<PutOutgoing> = []
        let pages = 0
        for (let from = after; ; from = found.at(-1)!.order, pages++) {
          const page: ReadonlyArray<PutOutgoing> = yield* queued({ clientId, after: from, through, bytesMax })
          for (const { order } of page) assert.ok(order > from && order <= through, `${order} was not asked for`)
          found.push(...page)
          if (page.length === 0) return { found, pages }
        }
      })
      const left = range(3, 900).filter((order) => !gone.includes(order))
      const expected = [...left.map((order) => outgoing("a", order)), both[0]]
      for (const bytesMax of [1, 3_000, 10_000_000]) {
        const { found, pages } = yield* ask("a", 2, 901, bytesMax)
        same(found, expected)
        if (bytesMax === 1) assert.ok(pages > 1)
      }
      same((yield* ask("a", 280, 700, 10_000)).found, [
        ...[...range(281, 289), ...range(621, 700)].map((order) => outgoing("a", order))
      ])
      same((yield* ask("a", 1, 2, 10_000)).found, [{ ...outgoing("a", 2), packetId: 7, state: 2 }])
      same((yield* ask("b", 1, 2_000, 10_000)).found, [outgoing("b", 301), outgoing("b", 601), both[1]])
      for (const name of ["c", "nobody"]) same((yield* ask(name, 0, 2 ** 40, 10_000)).found, [])
      same((yield* ask("a", 901, 2_000, 10_000)).found, [])
    })
  ],

  [
    "waiting messages whose orders were given again after a restart are all given, whatever the pieces",
    Effect.gen(function* () {
      const storage = yield* BrokerStorage
      const { queued } = storage
      yield* load
      // Two restarts: what was put before each reaches as far as what was put behind it.
      yield* storage.commit([session("a"), ...range(1, 256).map((order) => outgoing("a", order))], 1)
      const remove = (order: number): RemoveOutgoing => ({ _tag: "RemoveOutgoing", clientId: "a", order })
      yield* storage.commit(range(200, 256).map(remove), 2)
      yield* load
      const again = (order: number): PutOutgoing => ({ ...outgoing("a", order), message: message(order + 1_000) })
      yield* storage.commit(range(200, 300).map(again), 1)
      yield* storage.commit([...range(3, 190), ...range(203, 300)].map(remove), 2)
      yield* load
      yield* storage.commit(range(203, 500).map(again), 1)
      const kept = [1, 2, ...range(191, 199)].map((order) => outgoing("a", order))
      const expected = [...kept, ...range(200, 500).map(again)]
      same(yield* load, [session("a"), ...expected])
      if (queued === undefined) return
      for (let bytesMax = 1; bytesMax < 300_000; bytesMax = Math.ceil(bytesMax * 1.7)) {
        for (const first of [0, 199, 202, 256]) {
          const found: Array<PutOutgoing> = []
          for (let page: ReadonlyArray<PutOutgoing> = [], after = first; ; after = page.at(-1)!.order) {
            page = yield* queued({ clientId: "a", after, through: 490, bytesMax })
            if (page.length === 0) break
            found.push(...page)
          }
          same(
            found,
            expected.filter(({ order }) => order > first && order <= 490)
          )
        }
      }
    })
  ]
]
