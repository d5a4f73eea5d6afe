/**
 * Brokers that want the same store at the same time, and one that takes over from another that was killed.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { directory } from "../storage/Directory.ts"
import { BrokerProcess } from "./BrokerProcess.ts"

const BROKERS = 3
const ROUNDS = 3

const started = (dataDir: string) =>
  Effect.acquireRelease(
    Effect.sync(() => new BrokerProcess({ kind: "program", dataDir, durability: "fsync" })),
    (broker) => Effect.promise(() => broker.end("SIGKILL"))
  )

describe("brokers that are started on one store at the same time", () => {
  it.live(
    "are one that runs and others that say why they do not, also when the one before was killed",
    () =>
      Effect.gen(function* () {
        const dataDir = yield* directory
        for (let round = 0; round < ROUNDS; round++) {
          const brokers = yield* Effect.all(Array.from({ length: BROKERS }, () => started(dataDir)))
          const outcomes = yield* Effect.promise(() => Promise.allSettled(brokers.map((broker) => broker.port())))
          const refusals = outcomes.flatMap((outcome) =>
            outcome.status === "rejected" ? [String(outcome.reason)] : []
          )
          assert.lengthOf(refusals, BROKERS - 1)
          for (const refusal of refusals) assert.match(refusal, /The store is in use: .* Stop the other broker/)
          const running = brokers.find((_, index) => outcomes[index]!.status === "fulfilled")
          yield* Effect.promise(() => running!.kill())
        }
      }),
    300_000
  )
})
