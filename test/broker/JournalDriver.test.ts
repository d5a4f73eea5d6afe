import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as BrokerConfig from "../../src/broker/BrokerConfig.ts"
import { EventHub } from "../../src/broker/EventHub.ts"
import { JournalDriver } from "../../src/broker/JournalDriver.ts"
import { BrokerCore } from "../../src/core/BrokerCore.ts"
import { Message } from "../../src/core/Message.ts"
import { Outgoing } from "../../src/core/Outgoing.ts"
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

const made = (storage: BrokerStorage["Service"]) => {
  const allocate = (bytes: number) => Buffer.allocUnsafeSlow(bytes)
  const core = new BrokerCore({ config: BrokerConfig.defaults, journal: true, pages: false, idSeed: "s", allocate })
  const hub = new EventHub(core.events, { ...BrokerConfig.defaults, eventsBufferMax: 10 })
  const driver = new JournalDriver(core, storage, hub, Effect.runFork, () => {})
  return { core, driver }
}

/** Has a message to keep. */
const started = (storage: BrokerStorage["Service"]) => {
  const { core, driver } = made(storage)
  const states: Array<string> = []
  const { storageState } = core
  core.storageState = (state, now) => {
    states.push(state)
    storageState.call(core, state, now)
  }
  core.setRetained({ topic: "t", payload: Buffer.from("x"), qos: 0, retain: true, properties: undefined }, 0)
  driver.whenIdle(() => {})
  return { core, driver, states }
}

/** Turns at given times, with a store that keeps everything at once and says how many operations a commit had. */
const turning = () => {
  const commits: Array<number> = []
  const { core, driver } = made({
    ...MemoryStorage.make(new MemoryStorage.MemoryStore()),
    commit: ({ length }) => Effect.sync(() => void commits.push(length))
  })
  const message = (order: number): Outgoing => {
    const parts = { topic: "t", payload: Buffer.from("x"), qos: 1, retain: false } as const
    return new Outgoing(order, order, Message.fromParts(parts, order, undefined, 0), 1, false, undefined)
  }
  const append = (order: number): Outgoing => {
    const outgoing = message(order)
    core.journal.appendOutgoing("c", outgoing)
    return outgoing
  }
  return { core, driver, commits, append }
}

describe("JournalDriver", () => {
  it("commits in the first round of the event loop that brings nothing", () => {
    const { append, commits, driver } = turning()
    append(1)
    driver.drain(1_000)
    append(2)
    driver.drain(1_000)
    assert.deepStrictEqual(commits, [])
    driver.drain(1_000)
    assert.deepStrictEqual(commits, [2])
    driver.drain(1_000)
    assert.deepStrictEqual(commits, [2])
  })

  it("waits no longer than a few milliseconds while every round brings something, each time", () => {
    const { append, commits, driver } = turning()
    for (let millis = 0; millis < 10; millis++) {
      append(millis + 1)
      driver.drain(1_000 + millis)
    }
    assert.deepStrictEqual(commits, [5, 5])
  })

  it("does not wait for a clock that was set back", () => {
    const { append, commits, driver } = turning()
    append(1)
    driver.drain(1_000_000)
    append(2)
    driver.drain(1_000)
    assert.deepStrictEqual(commits, [2])
  })

  it("counts an acknowledgement as something that a round brings", () => {
    const { append, commits, core, driver } = turning()
    const [first] = [append(1), append(2)]
    driver.drain(1_000)
    core.journal.withdraw(first)
    driver.drain(1_000)
    assert.deepStrictEqual(commits, [])
    driver.drain(1_000)
    assert.deepStrictEqual(commits, [1])
  })

  it("commits nothing when everything was acknowledged meanwhile, and lets what waits for that go", () => {
    const { append, commits, core, driver } = turning()
    const only = append(1)
    driver.drain(1_000)
    core.journal.withdraw(only)
    driver.drain(1_000)
    assert.strictEqual(core.journal.durable, 1)
    assert.deepStrictEqual(commits, [])
  })

  it("waits for nothing when it is to end", () => {
    const { append, commits, driver } = turning()
    append(1)
    let idle = 0
    driver.whenIdle(() => idle++)
    assert.deepStrictEqual([commits, idle], [[1], 1])
  })

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
      driver.whenIdle(() => {})
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
