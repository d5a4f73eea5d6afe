import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as BrokerConfig from "../../src/broker/BrokerConfig.ts"
import { EventHub } from "../../src/broker/EventHub.ts"
import { JournalDriver } from "../../src/broker/JournalDriver.ts"
import { BrokerCore } from "../../src/core/BrokerCore.ts"
import { type BrokerStorage, StorageError, StorageFailed, StorageFull } from "../../src/storage/BrokerStorage.ts"
import * as MemoryStorage from "../../src/storage/MemoryStorage.ts"

const full = new StorageError({ reason: new StorageFull({ detail: "full" }) })
const failed = new StorageError({ reason: new StorageFailed({ detail: "input/output error" }) })

/** A store whose first commits fail like that, and then no more. */
const failing = (errors: ReadonlyArray<StorageError>, hasRoom: BrokerStorage["Service"]["hasRoom"]) => {
  let commits = 0
  return {
    ...MemoryStorage.make(new MemoryStorage.MemoryStore()),
    keeps: "everything" as const,
    commit: () => {
      const error = errors[commits++]
      return error === undefined ? Effect.void : Effect.fail(error)
    },
    hasRoom
  }
}

/** Has a message to keep. */
const started = (storage: BrokerStorage["Service"]) => {
  const allocate = (bytes: number) => Buffer.allocUnsafeSlow(bytes)
  const core = new BrokerCore({ config: BrokerConfig.defaults, journal: true, pages: false, idSeed: "s", allocate })
  const hub = new EventHub(core.events, { ...BrokerConfig.defaults, eventsBufferMax: 10 })
  const driver = new JournalDriver(core, storage, hub, Effect.runFork, () => {})
  const states: Array<string> = []
  const { storageState } = core
  core.storageState = (state, now) => {
    states.push(state)
    storageState.call(core, state, now)
  }
  core.setRetained({ topic: "t", payload: Buffer.from("x"), qos: 0, retain: true, properties: undefined }, 0)
  driver.drain()
  return { core, driver, states }
}

describe("JournalDriver", () => {
  it.live("asks a full store for room no longer than until it is stopped", () =>
    Effect.gen(function* () {
      const asked = yield* Deferred.make<void>()
      const interrupted = yield* Deferred.make<void>()
      const hasRoom = Effect.onInterrupt(Effect.andThen(Deferred.succeed(asked, undefined), Effect.never), () =>
        Deferred.succeed(interrupted, undefined)
      )
      // Full at first; what it keeps then is in its last room.
      const { driver } = started(failing([full], hasRoom))
      yield* Deferred.await(asked)
      yield* Effect.yieldNow // it was told while the fiber began
      driver.stop()
      yield* Deferred.await(interrupted)
    })
  )

  it.live("asks a store for room that was full and then failed otherwise", () =>
    Effect.gen(function* () {
      const asked = yield* Deferred.make<void>()
      const answer = yield* Deferred.make<boolean>()
      const hasRoom = Effect.andThen(Deferred.succeed(asked, undefined), Deferred.await(answer))
      const { driver, states } = started(failing([full, failed], hasRoom))
      yield* Effect.raceFirst(Deferred.await(asked), driver.whenDurable(1))
      assert.deepStrictEqual(states, ["full", "failed"])
      yield* Deferred.await(asked)
      yield* Deferred.succeed(answer, true)
      yield* Effect.yieldNow
      assert.deepStrictEqual(states, ["full", "failed", "ok"])
      driver.stop()
    })
  )

  it.live("does not say that a store keeps things again which has room, and fails", () =>
    Effect.gen(function* () {
      const asked = yield* Deferred.make<void>()
      const answer = yield* Deferred.make<boolean>()
      const hasRoom = Effect.andThen(Deferred.succeed(asked, undefined), Deferred.await(answer))
      const working = failing([full], hasRoom)
      let broken = false
      const commit = () => (broken ? Effect.fail(failed) : working.commit())
      const { core, driver, states } = started({ ...working, commit })
      yield* Deferred.await(asked)
      yield* Effect.callback<void>((resume) => void driver.whenIdle(() => resume(Effect.void)))
      broken = true
      core.removeRetained("t") // needs no room
      driver.drain()
      assert.deepStrictEqual(states, ["full", "failed"])
      yield* Deferred.succeed(answer, true)
      yield* Effect.yieldNow
      assert.deepStrictEqual(states, ["full", "failed"])
      broken = false
      yield* driver.whenDurable(2)
      yield* Effect.yieldNow
      assert.deepStrictEqual(states, ["full", "failed", "ok"])
      driver.stop()
    })
  )
})
