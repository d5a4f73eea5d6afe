/**
 * What the simulation found in the core, each as small as it got.
 */
import { assert, describe, it } from "@effect/vitest"
import { CoreHarness } from "../core/CoreHarness.ts"

const kept = { version: 5, clean: false, expiry: 1_000 } as const

describe("after a crash", () => {
  it("No Local holds for a QoS 2 message that was half handed over [MQTT-3.8.3-3]", () => {
    const h = new CoreHarness({ store: "on-time" })
    const before = h.connect("a", kept)
    before.subscribe({ filter: "t", noLocal: true }, { filter: "u", noLocal: false })
    const own = before.publish("t", "own", { qos: 2 })
    const open = before.publish("u", "open", { qos: 2 })
    h.crash()
    const after = h.connect("a", kept)
    after.pubRel(own)
    after.pubRel(open)
    assert.deepStrictEqual(after.takePayloads(), ["open"])
  })

  it("a will is published though its client is back before the first look at the deadlines", () => {
    const h = new CoreHarness({ store: "on-time" })
    h.connect("s", kept).subscribe("w")
    const payload = new TextEncoder().encode("gone")
    h.connect("a", { ...kept, will: { topic: "w", payload, qos: 1, retain: false } })
    h.crash()
    h.connect("a", kept)
    assert.deepStrictEqual(h.connect("s", kept).takePayloads(), ["gone"])
  })

  it("a session does not come back of which a client was told that it is gone", () => {
    const h = new CoreHarness({ store: "manual" })
    h.connect("a", { clean: false })
    h.commit()
    h.connect("a", { clean: true }).drop() // its removal waits for the store
    const again = h.connect("a", { clean: true })
    assert.deepStrictEqual(again.takeWords(), [])
    h.commit()
    assert.deepStrictEqual(again.takeWords(), ["ConnAck 0"])
    assert.strictEqual(h.state.removals.size, 0)
  })
})

describe("while the store is slow", () => {
  it("what waits behind the gate counts towards the outbox", () => {
    const outboxBytesMax = 1_000
    const h = new CoreHarness({ store: "manual", config: { outboxBytesMax } })
    const reader = h.connect("s", kept)
    h.commit()
    reader.subscribe("t")
    h.commit()
    reader.freeze()
    const payload = new Uint8Array(400)
    for (let index = 0; index < 10; index++) {
      assert.isUndefined(h.core.publish({ topic: "t", payload, qos: 2, retain: false }, h.now))
    }
    h.settle()
    h.commit()
    assert.isAtMost(reader.bufferedBytes, outboxBytesMax + 2 * payload.length)
    assert.isAbove(h.session("s")?.queue.length ?? 0, 5)
    reader.accept()
    for (let left = 0; left < 10; left++) h.commit()
    assert.strictEqual(reader.takePayloads().length, 10)
  })
})
