import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Stream from "effect/Stream"
import { BrokerStorage } from "../../src/storage/BrokerStorage.ts"
import * as MemoryStorage from "../../src/storage/MemoryStorage.ts"
import * as StorageContract from "../../src/storage/StorageContract.ts"

type Service = BrokerStorage["Service"]

/** Stores that break one promise each. */
const broken: Readonly<Record<string, (good: Service) => Service>> = {
  "forgets the last operation of a batch": (good) => ({
    ...good,
    commit: (operations, sequence) => good.commit(operations.slice(0, -1), sequence)
  }),
  "removes nothing": (good) => ({
    ...good,
    commit: (operations, sequence) =>
      good.commit(
        operations.filter(({ _tag }) => !_tag.startsWith("Remove")),
        sequence
      )
  }),
  "renames nothing": (good) => ({
    ...good,
    commit: (operations, sequence) =>
      good.commit(
        operations.filter(({ _tag }) => _tag !== "RenameSession"),
        sequence
      )
  }),
  "applies a repeated batch again": (good) => {
    let sequence = 0
    return { ...good, commit: (operations) => good.commit(operations, ++sequence) }
  },
  "gives messages back in any order": (good) => ({
    ...good,
    load: Stream.unwrap(
      Effect.map(Stream.runCollect(good.load), (records) => {
        const list = [...records]
        const rest = list.filter(({ _tag }) => _tag !== "PutSession")
        return Stream.fromIterable([...list.filter(({ _tag }) => _tag === "PutSession"), ...rest.reverse()])
      })
    )
  }),
  "gives waiting messages that were not asked for": (good) => ({
    ...good,
    queued: (request) => good.queued?.({ ...request, after: Math.max(0, request.after - 1) }) ?? Effect.succeed([])
  })
}

/** The titles of the cases that a store does not pass. */
const failures = Effect.fnUntraced(function* (make: () => Service) {
  const titles: Array<string> = []
  for (const [title, body] of StorageContract.cases) {
    const exit = yield* Effect.exit(
      Effect.provideService(body, BrokerStorage, make()).pipe(Effect.timeout("5 seconds"))
    )
    if (Exit.isFailure(exit)) titles.push(title)
  }
  return titles
})

const good = (): Service => MemoryStorage.make(new MemoryStorage.MemoryStore())

describe("the contract of BrokerStorage", () => {
  it.live("is kept by a good store", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* failures(good), [])
    })
  )

  for (const [fault, spoil] of Object.entries(broken)) {
    it.live(`finds a store that ${fault}`, () =>
      Effect.gen(function* () {
        assert.isNotEmpty(yield* failures(() => spoil(good())))
      })
    )
  }
})
