/**
 * What every store that keeps everything must do, whatever it is made of: the tests of your own.
 *
 * `cases` are effects that fail with an AssertionError; they need no test runner of any kind. Provide each with a store
 * that is made anew for it and is empty: `Effect.runPromise(Effect.provide(body, layer))`. Within a case both halves of
 * a restart use the same one.
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import assert from "node:assert/strict"
import { inspect, isDeepStrictEqual } from "node:util"
import type {
  PutIncoming,
  PutOutgoing,
  PutRetained,
  PutSession,
  PutSubscription,
  RemoveOutgoing,
  StoredMessage
} from "../core/StoreOperation.ts"
import { BrokerStorage } from "./BrokerStorage.ts"

export const message = (messageId: number, topic = `topic/${messageId}`): StoredMessage => ({
  messageId,
  topic,
  payload: Uint8Array.from([messageId & 0xff, 0, 255]),
  qos: 1,
  retain: false,
  properties: { contentType: "text/plain", correlationData: Uint8Array.from([1, 2]), userProperties: [["a", "b"]] },
  receivedAt: 1_700_000_000_000,
  expiresAt: 0
})

export const session = (clientId: string, options: Partial<PutSession> = {}): PutSession => ({
  _tag: "PutSession",
  clientId,
  userName: "user",
  expirySeconds: 3_600,
  disconnectedAt: 0,
  will: undefined,
  ...options
})

export const subscription = (clientId: string, filter: string): PutSubscription => ({
  _tag: "PutSubscription",
  clientId,
  filter,
  qos: 2,
  noLocal: true,
  retainAsPublished: false,
  retainHandling: 1,
  subscriptionIdentifier: 7
})

export const outgoing = (clientId: string, order: number): PutOutgoing => ({
  _tag: "PutOutgoing",
  clientId,
  order,
  message: message(order),
  qos: 1,
  retain: false,
  packetId: 0,
  state: 1,
  subscriptionIdentifiers: [7, 9]
})

export const incoming = (clientId: string, packetId: number): PutIncoming => ({
  _tag: "PutIncoming",
  clientId,
  packetId,
  message: message(packetId),
  state: 7
})

export const retained = (topic: string, messageId = 1): PutRetained => ({
  _tag: "PutRetained",
  message: { ...message(messageId, topic), retain: true, origin: { clientId: "publisher", userName: "Jürgen" } }
})

/** The same records in the same order. (A difference of hundreds, drawn up by `node:assert`, takes minutes.) */
const same = (found: ReadonlyArray<unknown>, expected: ReadonlyArray<unknown>): void => {
  const at = expected.findIndex((record, index) => !isDeepStrictEqual(record, found[index]))
  const index = at < 0 && found.length > expected.length ? expected.length : at
  const words = `record ${index} is ${inspect(found[index])}, and should be ${inspect(expected[index])}`
  assert.ok(index < 0, words)
}

/** The same ones, in any order. */
const sameRecords = (found: ReadonlyArray<unknown>, expected: ReadonlyArray<unknown>): void => {
  const missing = [...expected]
  for (const record of found) {
    const at = missing.findIndex((other) => isDeepStrictEqual(other, record))
    assert.ok(at >= 0, `${inspect(record)} should not be there`)
    missing.splice(at, 1)
  }
  assert.ok(missing.length === 0, `${inspect(missing[0])} is missing`)
}

const range = (first: number, last: number): Array<number> =>
  Array.from({ length: last - first + 1 }, (_, index) => first + index)

const load = Effect.flatMap(BrokerStorage, (storage) => Stream.runCollect(storage.load)).pipe(
  Effect.map((records) => [...records])
)

/** A title, and what must succeed. */
export const cases: ReadonlyArray<readonly [title: string, body: Effect.Effect<void, unknown, BrokerStorage>]> = [
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
  ]
]
