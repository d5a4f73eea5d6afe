import { assert, describe, it } from "@effect/vitest"
import { Message } from "../../src/core/Message.ts"
import { OutboundQueue } from "../../src/core/OutboundQueue.ts"
import { Outgoing } from "../../src/core/Outgoing.ts"
import { random } from "./Random.ts"

const outgoing = (order: number, payloadBytes: number): Outgoing => {
  const parts = { topic: "t", payload: new Uint8Array(payloadBytes), qos: 1, retain: false } as const
  return new Outgoing(order, order, Message.fromParts(parts, order, undefined, 0), 1, false, undefined)
}

describe("OutboundQueue", () => {
  it("is empty at first", () => {
    const queue = new OutboundQueue({ bytes: 0 })
    assert.strictEqual(queue.length, 0)
    assert.strictEqual(queue.bytes, 0)
    assert.isUndefined(queue.shift())
    assert.deepStrictEqual([...queue], [])
  })

  it("does as an array does, whatever comes, also after thousands of messages", () => {
    const next = random(3)
    for (const lean of [3, 5, 7]) {
      const queue = new OutboundQueue({ bytes: 0 })
      const model: Array<Outgoing> = []
      for (let step = 0; step < 12_000; step++) {
        // Grows for a while, then shrinks, so that the front is cut off in the middle, too.
        const grows = next(10) < (step < 6_000 ? lean + 2 : 10 - lean)
        if (grows) {
          const made = outgoing(step, next(50))
          queue.push(made)
          model.push(made)
        } else assert.strictEqual(queue.shift(), model.shift())
        assert.strictEqual(queue.length, model.length)
        if (step % 500 === 0) assert.deepStrictEqual([...queue], model)
      }
      assert.strictEqual(
        queue.bytes,
        model.reduce((sum, { message }) => sum + message.bytes, 0)
      )
      while (model.length > 0) assert.strictEqual(queue.shift(), model.shift())
      assert.strictEqual(queue.bytes, 0)
    }
  })
})
