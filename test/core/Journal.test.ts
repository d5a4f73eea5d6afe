import { assert, describe, it } from "@effect/vitest"
import { Journal } from "../../src/core/Journal.ts"
import { Message } from "../../src/core/Message.ts"
import { Outgoing } from "../../src/core/Outgoing.ts"
import type { StoreOperation } from "../../src/core/StoreOperation.ts"

const remove = (clientId: string): StoreOperation => ({ _tag: "RemoveSession", clientId })

const retained = (payloadBytes: number): StoreOperation => ({
  _tag: "PutRetained",
  message: {
    messageId: 1,
    topic: "t",
    payload: new Uint8Array(payloadBytes),
    qos: 0,
    retain: true,
    properties: undefined,
    receivedAt: 0,
    expiresAt: 0
  }
})

const outgoing = (order: number): Outgoing => {
  const parts = { topic: "t", payload: new Uint8Array(100), qos: 1, retain: false } as const
  return new Outgoing(order, order, Message.fromParts(parts, order, undefined, 0), 1, false, undefined)
}

const written = (journal: Journal): ReadonlyArray<unknown> | undefined =>
  journal
    .take()
    ?.operations.map((operation) =>
      operation._tag === "PutOutgoing" ? [operation.order, operation.packetId, operation.state] : operation._tag
    )

describe("Journal", () => {
  it("writes a message down as it is when the batch is taken", () => {
    const journal = new Journal(true)
    const waiting = outgoing(1)
    journal.appendOutgoing("c", waiting)
    waiting.packetId = 7
    waiting.state = 2
    journal.append(remove("a"))
    assert.deepStrictEqual(written(journal), [[1, 7, 2], "RemoveSession"])
    assert.strictEqual(waiting.journalPlace, -1)
  })

  it("forgets a message that is withdrawn before the batch is taken, and its bytes", () => {
    const journal = new Journal(true)
    const [first, second, third] = [outgoing(1), outgoing(2), outgoing(3)]
    for (const each of [first, second, third]) journal.appendOutgoing("c", each)
    const { bytes } = journal
    journal.withdraw(second)
    assert.strictEqual(journal.bytes, bytes - second.message.bytes)
    assert.deepStrictEqual(written(journal), [
      [1, 0, 1],
      [3, 0, 1]
    ])
    journal.stored(3)
    assert.strictEqual(journal.bytes, 0)
  })

  it("hands over an empty batch when all of it is withdrawn, so that nobody waits for ever", () => {
    const journal = new Journal(true)
    const only = outgoing(1)
    journal.appendOutgoing("c", only)
    journal.withdraw(only)
    assert.deepStrictEqual(journal.take(), { operations: [], sequence: 1 })
    journal.stored(1)
    assert.strictEqual(journal.durable, 1)
    assert.strictEqual(journal.bytes, 0)
  })

  it("hands over what was appended since the last take, in order, as one batch", () => {
    const journal = new Journal(true)
    assert.isUndefined(journal.take())
    journal.append(remove("a"))
    journal.append(remove("b"))
    assert.deepStrictEqual(journal.take(), { operations: [remove("a"), remove("b")], sequence: 2 })
    assert.isUndefined(journal.take())
    journal.append(remove("c"))
    assert.deepStrictEqual(journal.take(), { operations: [remove("c")], sequence: 3 })
  })

  it("knows how far the store has come, whatever the order of its answers", () => {
    const journal = new Journal(true)
    for (const id of ["a", "b", "c"]) journal.append(remove(id))
    journal.take()
    journal.stored(2)
    assert.strictEqual(journal.durable, 2)
    journal.stored(1)
    journal.stored(2)
    journal.stored(0)
    journal.stored(-5)
    assert.strictEqual(journal.durable, 2)
    journal.stored(3)
    assert.strictEqual(journal.durable, 3)
  })

  it("believes no answer about what the store was not given", () => {
    const journal = new Journal(true)
    journal.append(remove("a"))
    journal.take()
    journal.append(remove("b"))
    journal.stored(1_000)
    assert.strictEqual(journal.durable, 1)
    journal.take()
    journal.append(remove("c"))
    journal.stored(3)
    assert.strictEqual(journal.durable, 2)
  })

  it("counts the bytes that are not durable, topics and payloads included", () => {
    const journal = new Journal(true)
    journal.append(remove("a"))
    const record = journal.bytes
    assert.isAbove(record, 0)
    journal.append(retained(10_000))
    assert.strictEqual(journal.bytes, 2 * record + 10_000 + "t".length)
    journal.take()
    journal.append(remove("b"))
    journal.stored(2)
    assert.strictEqual(journal.bytes, record)
    journal.take()
    journal.stored(3)
    assert.strictEqual(journal.bytes, 0)
  })

  it("counts the bytes of several batches on their way, confirmed at once or one by one", () => {
    for (const answers of [[1, 2, 3], [3], [2, 1, 3, 3]]) {
      const journal = new Journal(true)
      for (let batch = 0; batch < 3; batch++) {
        journal.append(retained(100))
        journal.take()
      }
      for (const sequence of answers) journal.stored(sequence)
      assert.strictEqual(journal.bytes, 0, answers.join())
    }
  })

  it("refuses while the store is full or failed, and never without a store", () => {
    for (const enabled of [true, false]) {
      const journal = new Journal(enabled)
      assert.isFalse(journal.refusing)
      journal.storage = "full"
      assert.strictEqual(journal.refusing, enabled)
      journal.storage = "failed"
      assert.strictEqual(journal.refusing, enabled)
      journal.storage = "ok"
      assert.isFalse(journal.refusing)
    }
  })
})
