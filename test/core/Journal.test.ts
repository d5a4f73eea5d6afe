import { assert, describe, it } from "@effect/vitest"
import { Journal } from "../../src/core/Journal.ts"
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

describe("Journal", () => {
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
