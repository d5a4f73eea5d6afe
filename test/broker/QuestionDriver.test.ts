/**
 * When a question reaches its hook: after what happened before it was told, once, and not at all when nobody waits.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as BrokerConfig from "../../src/broker/BrokerConfig.ts"
import { EventHub } from "../../src/broker/EventHub.ts"
import { HookRunner } from "../../src/broker/HookRunner.ts"
import * as Hooks from "../../src/broker/Hooks.ts"
import { QuestionDriver } from "../../src/broker/QuestionDriver.ts"
import { BrokerCore } from "../../src/core/BrokerCore.ts"
import { defaults } from "../../src/core/CoreConfig.ts"
import * as Encoder from "../../src/protocol/Encoder.ts"
import { FakeTransport } from "./FakeTransport.ts"
import { connectPacket, publish } from "./RawClient.ts"
import { collect } from "./support.ts"

const NOW = 1_700_000_000_000

const start = () => {
  const core = new BrokerCore({
    config: defaults,
    journal: false,
    pages: false,
    idSeed: "seed",
    allocate: (bytes) => Buffer.allocUnsafeSlow(bytes)
  })
  const hub = new EventHub(core.events, BrokerConfig.defaults)
  const asked: Array<string> = []
  const interrupted: Array<string> = []
  const hooks: Hooks.HooksService = {
    publish: ({ topic }) => {
      asked.push(topic)
      const stopped = Effect.onInterrupt(Effect.never, () => Effect.sync(() => void interrupted.push(topic)))
      return topic === "slow" ? stopped : Effect.succeed(Hooks.accept)
    }
  }
  const runner = new HookRunner(10, Effect.runFork)
  const questions = new QuestionDriver(core, hooks, runner, hub, () => {})
  /** A client that has just sent a message to this topic. */
  const publisher = (topic: string) => {
    const connection = core.open(new FakeTransport(), NOW)
    const packets = [connectPacket({ clientId: topic }), publish(topic, "x")]
    core.receive(connection, Buffer.concat(packets.map((packet) => Encoder.encode(packet, 5))), NOW)
    return connection
  }
  return { asked, core, hub, interrupted, publisher, questions, runner }
}

describe("a question", () => {
  it("is put at once when nobody listens to events", () => {
    const { asked, publisher, questions } = start()
    for (const topic of ["a", "b"]) publisher(topic)
    questions.drain(NOW)
    assert.deepStrictEqual(asked, ["a", "b"])
  })

  it("that follows from an answer is put in the same round, but not without end", () => {
    const { asked, core, questions } = start()
    const connection = core.open(new FakeTransport(), NOW)
    const packets = [connectPacket(), ...Array.from({ length: 600 }, (_, index) => publish(`${index}`, "x"))]
    core.receive(connection, Buffer.concat(packets.map((packet) => Encoder.encode(packet, 5))), NOW)
    const rounds: Array<number> = []
    while (core.questions.length > 0) {
      questions.drain(NOW)
      rounds.push(asked.length)
    }
    assert.deepStrictEqual(rounds, [256, 512, 600])
  })

  it.live("waits a round for who is told what happened before it, and no longer, however much happens", () =>
    Effect.gen(function* () {
      const { asked, hub, publisher, questions } = start()
      yield* collect(hub.stream(["Connected"]), 100)
      publisher("a")
      questions.drain(NOW)
      assert.deepStrictEqual(asked, [])
      publisher("b")
      questions.drain(NOW)
      assert.deepStrictEqual(asked, ["a"])
      publisher("c")
      questions.drain(NOW)
      assert.deepStrictEqual(asked, ["a", "b"])
      questions.drain(NOW)
      assert.deepStrictEqual(asked, ["a", "b", "c"])
      hub.end()
    })
  )

  it("is not put when its client has gone before its turn came", () => {
    const { asked, core, publisher, questions } = start()
    const gone = publisher("gone")
    publisher("here")
    core.disconnect(gone, 0x98, NOW)
    questions.drain(NOW)
    assert.deepStrictEqual(asked, ["here"])
  })

  it("whose client goes while the hook decides is over: the hook is interrupted, and no deadline is left", () => {
    const { asked, core, interrupted, publisher, questions, runner } = start()
    const gone = publisher("slow")
    questions.drain(NOW)
    assert.deepStrictEqual([asked, runner.openCount], [["slow"], 1])
    core.closed(gone, { statusCode: 0, description: "OK" }, NOW)
    assert.deepStrictEqual([...core.forgotten].length, 1)
    questions.drain(NOW)
    assert.deepStrictEqual(interrupted, ["slow"])
    assert.strictEqual(runner.openCount, 0)
    assert.strictEqual(runner.deadline(), Number.POSITIVE_INFINITY)
    assert.deepStrictEqual([...core.forgotten], [])
  })
})
