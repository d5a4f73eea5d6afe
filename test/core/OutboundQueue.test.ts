import { assert, describe, it } from "@effect/vitest"
import { Message } from "../../src/core/Message.ts"
import { OBJECT_BYTES } from "../../src/core/Content.ts"
import { OutboundQueue, type Waiting } from "../../src/core/OutboundQueue.ts"
import { Outgoing } from "../../src/core/Outgoing.ts"
import { random } from "./Random.ts"

const outgoing = (order: number, payloadBytes: number, qos: 0 | 1 = 1, expirySeconds?: number): Outgoing => {
  const properties = expirySeconds === undefined ? undefined : { messageExpiryInterval: expirySeconds }
  const parts = { topic: "t", payload: new Uint8Array(payloadBytes), qos, retain: false, properties } as const
  const made = new Outgoing(order, order, Message.fromParts(parts, order, undefined, 0), qos, false, undefined)
  if (order % 3 === 0) made.sharedFilter = "$share/g/t"
  return made
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

  it("with a part in a store does as an array does, whatever is left there, read, dropped or expires", () => {
    for (let seed = 1; seed <= 40; seed++) playStored(seed)
  })
})

/**
 * A queue beside what it stands for: `model` is what waits, `disk` what is only in the store, also if it was dropped
 * unread.
 */
class Twin {
  readonly memory = { bytes: 0 }
  readonly queue = new OutboundQueue(this.memory)
  model: Array<Outgoing> = []
  private disk: Array<Waiting> = []

  push(made: Outgoing): void {
    this.queue.push(made)
    this.model.push(made)
  }

  shift(): void {
    const first = this.queue.shift()
    if (first !== undefined) assert.strictEqual(first, this.model.shift())
  }

  spill(bytesMax: number): void {
    const before = new Set(this.queue)
    this.queue.spill(bytesMax, 1)
    const left = new Set(this.queue)
    this.disk.push(...[...before].filter((one) => !left.has(one)))
  }

  /** Reads at most `most` messages. */
  read(most: number): void {
    const { stored } = this.queue
    if (stored === undefined) return
    const { after, through } = stored
    const page = this.disk.filter(({ order }) => order > after && order <= through).slice(0, most)
    assert.isAbove(page.length, 0)
    for (const one of page) {
      const wanted = this.model.find(({ order }) => order === one.order)
      assert.strictEqual(this.queue.read(stored, one), wanted !== undefined)
      if (wanted !== undefined) this.queue.head.push(wanted)
    }
    this.disk = this.disk.filter((one) => !page.includes(one))
    if (stored.count === 0) this.queue.join(stored)
  }

  dropOldest(): void {
    const oldest = this.queue.dropOldest()
    const expected = this.model.shift()
    assert.strictEqual(oldest !== undefined, expected !== undefined)
    if (oldest !== true) assert.strictEqual(oldest, expected)
  }

  without(gone: ReadonlyArray<Outgoing>): void {
    this.model = this.model.filter((one) => !gone.includes(one))
  }

  look(): void {
    const { disk, memory, model, queue } = this
    const inMemory = [...queue]
    assert.strictEqual(queue.length, model.length)
    // What was dropped unread counts until it is read: nothing may overtake it.
    const unread = disk.filter((one) => !model.some(({ order }) => order === one.order))
    assert.strictEqual(queue.atQos0, [...model, ...unread].filter(({ qos }) => qos === 0).length)
    assert.strictEqual(disk.length + inMemory.length, model.length + unread.length)
    assert.isTrue(inMemory.every((one) => model.includes(one)))
    const shared = disk.flatMap(({ sharedFilter }) => sharedFilter ?? [])
    assert.sameMembers([...queue.storedShared], [...new Set(shared)])
    const taken = sumOf(inMemory, ({ message }) => message.bytes + OBJECT_BYTES)
    assert.deepStrictEqual([queue.memoryBytes, memory.bytes], [taken, taken])
    if (unread.length > 0) return
    // In the store they weigh a little less than their frames.
    assert.isAtLeast(
      queue.bytes,
      sumOf(model, ({ message }) => message.payload.length)
    )
    assert.isAtMost(
      queue.bytes,
      sumOf(model, ({ message }) => message.bytes)
    )
  }
}

const sumOf = (all: ReadonlyArray<Outgoing>, weight: (one: Outgoing) => number): number =>
  all.reduce((sum, one) => sum + weight(one), 0)

const playStored = (seed: number): void => {
  const next = random(seed)
  const twin = new Twin()
  const { queue } = twin
  let now = 0
  for (let step = 1; step <= 400; step++) {
    const choice = next(20)
    if (choice < 9) {
      const qos = next(4) === 0 ? 0 : 1
      twin.push(outgoing(step, next(50), qos, next(5) === 0 ? 1 + next(30) : undefined))
    } else if (choice < 12) twin.shift()
    else if (choice < 15) twin.spill(next(3) * 500)
    else if (choice < 17) twin.read(1 + next(8))
    else if (choice === 17) for (let left = next(3) * next(20); left > 0; left--) twin.dropOldest()
    else if (choice === 18) {
      now += 1_000
      twin.without(queue.takeExpired(now))
      assert.isFalse([...queue].some(({ message }) => message.isExpired(now)))
    } else twin.without(queue.takeOut(({ order }) => order % 7 !== 0))
    twin.look()
  }
  while (queue.stored !== undefined) twin.read(100)
  twin.look()
  assert.deepStrictEqual([...queue], twin.model)
  queue.clear()
  assert.strictEqual(twin.memory.bytes, 0)
}
