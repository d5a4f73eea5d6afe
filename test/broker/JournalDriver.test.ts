import { assert, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as BrokerConfig from "../../src/broker/BrokerConfig.ts"
import { EventHub } from "../../src/broker/EventHub.ts"
import { JournalDriver } from "../../src/broker/JournalDriver.ts"
import { BrokerCore } from "../../src/core/BrokerCore.ts"
import { StorageError, StorageFull } from "../../src/storage/BrokerStorage.ts"
import * as MemoryStorage from "../../src/storage/MemoryStorage.ts"

it.live("asks a full store for room no longer than until it is stopped", () =>
  Effect.gen(function* () {
    const asked = yield* Deferred.make<void>()
    const interrupted = yield* Deferred.make<void>()
    const memory = MemoryStorage.make(new MemoryStorage.MemoryStore())
    let commits = 0
    const storage = {
      ...memory,
      keeps: "everything" as const,
      // Full at first; what it keeps then is in its last room.
      commit: () => {
        const full = new StorageError({ reason: new StorageFull({ detail: "full" }) })
        return ++commits === 1 ? Effect.fail(full) : Effect.void
      },
      hasRoom: Effect.onInterrupt(Effect.andThen(Deferred.succeed(asked, undefined), Effect.never), () =>
        Deferred.succeed(interrupted, undefined)
      )
    }
    const allocate = (bytes: number) => Buffer.allocUnsafeSlow(bytes)
    const core = new BrokerCore({ config: BrokerConfig.defaults, journal: true, pages: false, idSeed: "s", allocate })
    const hub = new EventHub(core.events, { ...BrokerConfig.defaults, eventsBufferMax: 10 })
    const driver = new JournalDriver(core, storage, hub, Effect.runFork, () => {})
    core.setRetained({ topic: "t", payload: Buffer.from("x"), qos: 0, retain: true, properties: undefined }, 0)
    driver.drain()
    yield* Deferred.await(asked)
    assert.strictEqual(commits, 2)
    yield* Effect.yieldNow // it was told while the fiber began
    driver.stop()
    yield* Deferred.await(interrupted)
  })
)
