import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import { HookRunner, type Outcome, yesOrNo } from "../../src/broker/HookRunner.ts"

const runner = () => new HookRunner(10, Effect.runFork)

const failureOf = (outcome: Outcome<unknown> | undefined): string =>
  outcome !== undefined && "failure" in outcome ? outcome.failure : ""

describe("HookRunner", () => {
  it("answers before it returns when the hook does not wait", () => {
    const outcomes: Array<Outcome<number>> = []
    const hooks = runner()
    hooks.run(
      () => Effect.succeed(1),
      0,
      (outcome) => outcomes.push(outcome)
    )
    hooks.run(
      () => Effect.sync(() => 2),
      0,
      (outcome) => outcomes.push(outcome)
    )
    assert.deepStrictEqual(outcomes, [{ decision: 1 }, { decision: 2 }])
    assert.strictEqual(hooks.openCount, 0)
    assert.strictEqual(hooks.deadline(), Number.POSITIVE_INFINITY)
  })

  it("a failure, a defect and a hook that throws are no decision", () => {
    const outcomes: Array<Outcome<number>> = []
    const hooks = runner()
    hooks.run(
      () => Effect.fail("backend down"),
      0,
      (outcome) => outcomes.push(outcome)
    )
    hooks.run(
      () => Effect.die(new Error("bug")),
      0,
      (outcome) => outcomes.push(outcome)
    )
    const throwing = (): Effect.Effect<number> => {
      throw new Error("thrown")
    }
    hooks.run(throwing, 0, (outcome) => outcomes.push(outcome))
    assert.include(failureOf(outcomes[0]), "backend down")
    assert.include(failureOf(outcomes[1]), "bug")
    assert.include(failureOf(outcomes[2]), "thrown")
  })

  it.live("answers later when the hook waits, once", () =>
    Effect.gen(function* () {
      const hooks = runner()
      const gate = yield* Deferred.make<number>()
      const answered = yield* Deferred.make<Outcome<number>>()
      hooks.run(
        () => Deferred.await(gate),
        1_000,
        (outcome) => Deferred.doneUnsafe(answered, Effect.succeed(outcome))
      )
      assert.strictEqual(hooks.openCount, 1)
      assert.strictEqual(hooks.deadline(), 11_000)
      yield* Deferred.succeed(gate, 5)
      assert.deepStrictEqual(yield* Deferred.await(answered), { decision: 5 })
      assert.strictEqual(hooks.openCount, 0)
    })
  )

  it.live("one that takes too long is refused and interrupted", () =>
    Effect.gen(function* () {
      const hooks = runner()
      const interrupted = yield* Deferred.make<void>()
      const outcomes: Array<Outcome<never>> = []
      const hanging = Effect.never.pipe(Effect.onInterrupt(() => Deferred.succeed(interrupted, undefined)))
      hooks.run(
        () => hanging,
        0,
        (outcome) => outcomes.push(outcome)
      )
      hooks.run(
        () => Effect.never,
        5_000,
        (outcome) => outcomes.push(outcome)
      )
      hooks.tick(9_999)
      assert.strictEqual(outcomes.length, 0)
      hooks.tick(10_000)
      assert.strictEqual(outcomes.length, 1)
      assert.include(failureOf(outcomes[0]), "10 s")
      assert.strictEqual(hooks.deadline(), 15_000)
      yield* Deferred.await(interrupted)
      assert.strictEqual(outcomes.length, 1)
      hooks.stop()
    })
  )

  it.live("one whose answer nobody wants any more is interrupted, and tells nobody but who waits for the last", () =>
    Effect.gen(function* () {
      const hooks = runner()
      const interrupted = yield* Deferred.make<void>()
      let told = 0
      let idle = 0
      const hanging = Effect.never.pipe(Effect.onInterrupt(() => Deferred.succeed(interrupted, undefined)))
      const cancel = hooks.run(
        () => hanging,
        0,
        () => told++
      )
      hooks.whenIdle(() => idle++)
      assert.deepStrictEqual([hooks.openCount, idle], [1, 0])
      cancel?.()
      cancel?.()
      yield* Deferred.await(interrupted)
      assert.deepStrictEqual([hooks.openCount, told], [0, 0])
      assert.isAtLeast(idle, 1)
      assert.strictEqual(hooks.deadline(), Number.POSITIVE_INFINITY)
      const answered = hooks.run(
        () => Effect.succeed(1),
        0,
        () => told++
      )
      assert.deepStrictEqual([answered, told], [undefined, 1])
    })
  )

  it("a yes or no is true or false and nothing else", () => {
    assert.deepStrictEqual(yesOrNo({ decision: true }), { decision: true })
    assert.deepStrictEqual(yesOrNo({ decision: false }), { decision: false })
    // A program without types may answer anything.
    for (const decision of [1, "true", undefined, null, { reasonCode: 0 }]) {
      assert.include(failureOf(yesOrNo({ decision: decision as unknown as boolean })), "neither true nor false")
    }
    assert.deepStrictEqual(yesOrNo({ failure: "down" }), { failure: "down" })
  })

  it.live("stopping interrupts what is open and tells nobody", () =>
    Effect.gen(function* () {
      const hooks = runner()
      const interrupted = yield* Deferred.make<void>()
      let told = 0
      const hanging = Effect.never.pipe(Effect.onInterrupt(() => Deferred.succeed(interrupted, undefined)))
      hooks.run(
        () => hanging,
        0,
        () => told++
      )
      hooks.stop()
      yield* Deferred.await(interrupted)
      assert.strictEqual(told, 0)
      assert.strictEqual(hooks.openCount, 0)
    })
  )
})
