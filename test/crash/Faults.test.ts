/**
 * A broker on a store that fails, stalls, loses its answer, is full for a while, or loses its thread, all the time: the
 * promises are the same.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { join } from "node:path"
import * as BrokerStorage from "../../src/storage/BrokerStorage.ts"
import * as SqliteStorage from "../../src/storage/SqliteStorage.ts"
import { brokerLayer, port } from "../broker/support.ts"
import { random } from "../core/Random.ts"
import { directory } from "../storage/Directory.ts"
import { Mortal } from "./Mortal.ts"
import { Publisher } from "./Publisher.ts"
import { Subscriber } from "./Subscriber.ts"
import * as Verdict from "./Verdict.ts"

const failed = (reason: BrokerStorage.StorageErrorReason) => Effect.fail(new BrokerStorage.StorageError({ reason }))

/** How often what was done to a commit. */
type Faults = Record<"failed" | "answerLost" | "full" | "stalled" | "killed" | "none", number>

const kinds = ["failed", "answerLost", "full", "stalled", "killed"] as const

interface Faulty {
  readonly layer: Layer.Layer<BrokerStorage.BrokerStorage>
  readonly faults: Faults
  /** No more of them. */
  readonly heal: () => void
}

const faulty = (store: SqliteStorage.SqliteStore, seed: number): Faulty => {
  const next = random(seed)
  const faults: Faults = { failed: 0, answerLost: 0, full: 0, stalled: 0, killed: 0, none: 0 }
  let healed = false
  const { commit, ...service } = store.service
  let commits = 0
  const draw = (): keyof Faults => {
    commits++
    return healed || commits % 3 !== 0 ? "none" : kinds[next(kinds.length)]!
  }
  const layer = Layer.succeed(BrokerStorage.BrokerStorage)({
    ...service,
    // The real one has room all the time.
    hasRoom: Effect.sync(() => healed || next(4) > 0),
    commit: (operations, sequence) =>
      Effect.suspend(() => {
        const kind = draw()
        faults[kind]++
        const real = commit(operations, sequence)
        switch (kind) {
          case "failed":
            return failed(new BrokerStorage.StorageFailed({ detail: "Before anything was written." }))
          case "answerLost":
            return Effect.andThen(real, failed(new BrokerStorage.StorageFailed({ detail: "After it was written." })))
          case "full":
            return failed(new BrokerStorage.StorageFull({ detail: "For a moment." }))
          case "stalled":
            return Effect.andThen(Effect.sleep(next(60)), real)
          case "killed":
            return Effect.andThen(
              Effect.sync(() => void setTimeout(() => void store.thread.kill(), next(3))),
              real
            )
          case "none":
            return real
        }
      })
  })
  return {
    layer,
    faults,
    heal: () => {
      healed = true
    }
  }
}

/** However long that takes: what never happens ends with the test's time, which is for a machine that hangs. */
const until = Effect.fnUntraced(function* (done: () => boolean) {
  while (!done()) yield* Effect.sleep(5)
})

const TIMEOUT_MILLIS = 900_000

/** Two publishers, a client with a will and three subscribers, with their sessions in one store. */
class Clients {
  readonly publishers = [new Publisher("p1"), new Publisher("p2")]
  readonly subscribers = [
    new Subscriber("s1", 4, 2, "t/#"),
    new Subscriber("s2", 5, 1, "t/#"),
    new Subscriber("s3", 5, 2, "t/#")
  ]
  readonly mortal = new Mortal("mortal")
  readonly sources = [...this.publishers, this.mortal]
  readonly all = [...this.sources, ...this.subscribers]
  private buried = false

  /** Whoever is not connected comes back. */
  connect(port: number): void {
    for (const client of this.all) {
      if (!client.connected && !(this.buried && client === this.mortal)) client.connect(port)
    }
  }

  /** The last will. */
  bury(): void {
    this.buried = true
    this.mortal.disconnect()
  }

  disconnect(): void {
    for (const client of this.all) client.disconnect()
  }

  publish(count: number): void {
    for (const publisher of this.publishers) publisher.budget = count
    this.mortal.renew(1)
    for (const publisher of this.publishers) publisher.pump()
  }

  get idle(): boolean {
    return this.publishers.every(({ idle }) => idle)
  }

  /** How many messages the broker has acknowledged. */
  get acknowledged(): number {
    const counts = this.publishers.flatMap(({ acknowledged }) => [...acknowledged.values()].map(({ length }) => length))
    return counts.reduce((sum, count) => sum + count, 0)
  }
}

/** Runs on a broker with that store, and ends with all connections. */
const onBroker = (
  clients: Clients,
  storage: Layer.Layer<BrokerStorage.BrokerStorage>,
  settings: { readonly journalBytesMax: number },
  body: (port: number) => Effect.Effect<void>
) =>
  Effect.gen(function* () {
    yield* Effect.addFinalizer(() => Effect.sync(() => clients.disconnect()))
    yield* body(yield* port)
  }).pipe(Effect.scoped, Effect.provide(brokerLayer({ storage, settings })))

const campaign = Effect.fnUntraced(function* (seed: number, settings: { readonly journalBytesMax: number }) {
  const store = yield* SqliteStorage.open({ file: join(yield* directory, "store.db"), durability: "none" })
  const { faults, heal, layer } = faulty(store, seed)
  const next = random(seed + 1_000)
  const clients = new Clients()
  const { sources, subscribers } = clients
  const sound = Layer.succeed(BrokerStorage.BrokerStorage)(store.service)
  yield* onBroker(clients, sound, settings, (bound) => {
    clients.connect(bound)
    return until(() => subscribers.every(({ subscribed }) => subscribed))
  })
  const traffic = Effect.fnUntraced(function* (bound: number) {
    for (let step = 0; kinds.some((kind) => faults[kind] < 3) || clients.acknowledged <= 100; step++) {
      clients.connect(bound)
      clients.publish(10)
      yield* Effect.sleep(next(20))
      if (step % 6 === 5) clients.all[next(clients.all.length)]!.disconnect()
    }
    heal()
    const settled = (done: () => boolean) =>
      until(() => {
        clients.connect(bound)
        return done()
      })
    yield* settled(() => clients.idle && clients.mortal.settled)
    clients.bury()
    // The last message of each topic comes last.
    clients.publish(10)
    yield* settled(() => clients.idle)
    yield* settled(() => subscribers.every((one) => Verdict.isComplete(sources, one)))
  })
  yield* onBroker(clients, layer, { ...settings }, traffic)
  const complaints = subscribers.flatMap((subscriber) => Verdict.judge(sources, subscriber))
  return { acknowledged: clients.acknowledged, complaints }
})

describe("a broker on a store that is never well", () => {
  for (const [seed, journalBytesMax] of [
    [1, 64 * 1024 * 1024],
    [2, 1_024]
  ] as const) {
    it.live(
      `keeps every promise it has made (${journalBytesMax} bytes may wait)`,
      () =>
        Effect.gen(function* () {
          const { acknowledged, complaints } = yield* campaign(seed, { journalBytesMax })
          assert.deepStrictEqual(complaints, [])
          assert.isAbove(acknowledged, 100)
        }),
      TIMEOUT_MILLIS
    )
  }
})
