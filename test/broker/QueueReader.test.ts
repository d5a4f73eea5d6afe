import { afterEach, assert, beforeEach, describe, it, vi } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import type { JournalDriver } from "../../src/broker/JournalDriver.ts"
import { QueueReader } from "../../src/broker/QueueReader.ts"
import type { BrokerCore } from "../../src/core/BrokerCore.ts"
import type { PageRequest } from "../../src/core/PageRequest.ts"
import { Session } from "../../src/core/Session.ts"
import * as BrokerStorage from "../../src/storage/BrokerStorage.ts"
import * as MemoryStorage from "../../src/storage/MemoryStorage.ts"

const request = (clientId: string, sequence: number): PageRequest => {
  const reader = new Session(clientId)
  return { reader, clientId, after: 0, through: 9, bytesMax: 1_000, sequence }
}

/** A reader of a store that is asked, and tells of whom. */
const start = (queued: BrokerStorage.BrokerStorage["Service"]["queued"]) => {
  const pageRequests: Array<PageRequest> = []
  const answered: Array<string> = []
  const logged: Array<string> = []
  const waiters: Array<() => void> = []
  // As much of both as a reader looks at.
  const core = {
    pageRequests,
    journal: { durable: 5 },
    isWanted: () => true,
    pageRead: ({ clientId }: PageRequest) => {
      answered.push(clientId)
      return clientId === "damaged" ? 3 : 0
    }
  } as unknown as BrokerCore
  const journal = {
    whenDurable: () => Effect.callback<void>((resume) => void waiters.push(() => resume(Effect.void)))
  } as unknown as JournalDriver
  const storage = { ...MemoryStorage.make(new MemoryStorage.MemoryStore()), queued }
  const logger = Logger.layer([Logger.make(({ message }) => logged.push(String(message)))])
  const runFork = <A, E>(effect: Effect.Effect<A, E>) => Effect.runFork(Effect.provide(effect, logger))
  const reader: QueueReader = new QueueReader(core, storage, journal, runFork, () =>
    queueMicrotask(() => reader.drain())
  )
  const drain = (...requests: ReadonlyArray<PageRequest>) => {
    pageRequests.push(...requests)
    reader.drain()
  }
  return { answered, drain, logged, reader, waiters }
}

describe("QueueReader", () => {
  beforeEach(() => void vi.useFakeTimers())
  afterEach(() => void vi.useRealTimers())

  it("reads what it can while others wait for what is not durable yet", async () => {
    const { answered, drain, waiters } = start(() => Effect.succeed([]))
    drain(...Array.from({ length: 10 }, (_, index) => request(`late-${index}`, 6)), request("ready", 5))
    await vi.advanceTimersByTimeAsync(0)
    assert.deepStrictEqual(answered, ["ready"])
    for (const resume of waiters) resume()
    await vi.advanceTimersByTimeAsync(0)
    assert.lengthOf(answered, 11)
  })

  it("tries again what cannot be read, less and less often", async () => {
    let asked = 0
    const { answered, drain, logged, reader } = start(() => {
      asked++
      const reason = new BrokerStorage.StorageFailed({ detail: "a bad sector." })
      return Effect.fail(new BrokerStorage.StorageError({ reason }))
    })
    drain(request("a", 0))
    await vi.advanceTimersByTimeAsync(600_000)
    // After 1, 3, 7, 15, 31 and 63 seconds, and then each minute.
    assert.strictEqual(asked, 15)
    assert.lengthOf(logged, 15)
    assert.deepStrictEqual(answered, [])
    reader.stop()
    await vi.advanceTimersByTimeAsync(600_000)
    assert.strictEqual(asked, 15)
  })

  it("says what a store has lost", async () => {
    const { drain, logged } = start(() => Effect.succeed([]))
    drain(request("damaged", 0))
    await vi.advanceTimersByTimeAsync(0)
    assert.deepStrictEqual(logged, ["The store has lost 3 messages that waited for damaged."])
  })
})
