import { assert, describe, it } from "@effect/vitest"
import { PUBACK, PUBREC } from "../../src/core/AckType.ts"
import { Gate } from "../../src/core/Gate.ts"
import { Message } from "../../src/core/Message.ts"
import { Outgoing } from "../../src/core/Outgoing.ts"
import { random } from "./Random.ts"

const delivery = (order: number): Outgoing => {
  const parts = { topic: "t", payload: new Uint8Array(0), qos: 2, retain: false } as const
  return new Outgoing(order, order, Message.fromParts(parts, order, undefined, 0), 2, false, undefined)
}

const released = (gate: Gate, durable: number): Array<number> =>
  gate.releasePackets(durable).map((gated) => (gated.ack === 0 ? 0 : gated.packetId))

describe("Gate", () => {
  it("holds what is not durable, and nothing else while it is empty", () => {
    const gate = new Gate()
    assert.isTrue(gate.isEmpty)
    assert.isFalse(gate.holdsPacket(0, 0))
    assert.isFalse(gate.holdsPacket(5, 5))
    assert.isTrue(gate.holdsPacket(6, 5))
    assert.isFalse(gate.holdsDelivery(5, 5))
    assert.isTrue(gate.holdsDelivery(6, 5))
  })

  it("keeps acknowledgements and other packets in one order, and counts the PUBACKs", () => {
    const gate = new Gate()
    gate.pushAck(1, PUBACK, 1, 0, undefined)
    gate.pushPacket(2, { _tag: "SubAck", packetId: 9, reasonCodes: [0], properties: undefined }, undefined)
    gate.pushAck(2, PUBREC, 2, 0, undefined)
    gate.pushAck(3, PUBACK, 3, 0, undefined)
    assert.strictEqual(gate.pubAcks, 2)
    assert.deepStrictEqual(released(gate, 2), [1, 0, 2])
    assert.strictEqual(gate.pubAcks, 1)
    assert.deepStrictEqual(released(gate, 3), [3])
    assert.strictEqual(gate.pubAcks, 0)
  })

  it("holds an acknowledgement behind an earlier one, but not behind a delivery, nor a delivery behind it", () => {
    const gate = new Gate()
    gate.pushAck(3, PUBACK, 1, 0, undefined)
    assert.isTrue(gate.holdsPacket(0, 2))
    assert.isFalse(gate.holdsDelivery(0, 2))
    const other = new Gate()
    other.pushDelivery(3, delivery(1))
    assert.isTrue(other.holdsDelivery(0, 2))
    assert.isFalse(other.holdsPacket(0, 2))
  })

  it("releases in the order of arrival, also what needs less than the one before", () => {
    const gate = new Gate()
    gate.pushAck(5, PUBACK, 1, 0, undefined)
    gate.pushAck(0, PUBACK, 2, 0, undefined)
    gate.pushAck(4, PUBACK, 3, 0, undefined)
    gate.pushAck(6, PUBACK, 4, 0, undefined)
    assert.deepStrictEqual(released(gate, 4), [])
    assert.deepStrictEqual(released(gate, 5), [1, 2, 3])
    assert.isFalse(gate.isEmpty)
    assert.deepStrictEqual(released(gate, 9), [4])
    assert.deepStrictEqual(released(gate, 9), [])
    assert.isTrue(gate.isEmpty)
  })

  it("does both lanes as a queue of its own would, whatever comes", () => {
    const next = random(11)
    for (let round = 0; round < 200; round++) {
      const gate = new Gate()
      const packets: Array<{ id: number; needs: number }> = []
      const deliveries: Array<{ id: number; needs: number }> = []
      let durable = 0
      for (let id = 1; id < 40; id++) {
        const needs = next(30)
        switch (next(3)) {
          case 0:
            packets.push({ id, needs: Math.max(needs, packets.at(-1)?.needs ?? 0) })
            gate.pushAck(needs, PUBACK, id, 0, undefined)
            break
          case 1:
            deliveries.push({ id, needs: Math.max(needs, deliveries.at(-1)?.needs ?? 0) })
            gate.pushDelivery(needs, delivery(id))
            break
          default: {
            durable = Math.max(durable, next(30))
            const shown = packets.filter((entry) => entry.needs <= durable).map((entry) => entry.id)
            packets.splice(0, shown.length)
            assert.deepStrictEqual(released(gate, durable), shown)
            const sent = deliveries.filter((entry) => entry.needs <= durable).map((entry) => entry.id)
            deliveries.splice(0, sent.length)
            assert.deepStrictEqual(
              gate.releaseDeliveries(durable).map(({ outgoing }) => outgoing.order),
              sent
            )
          }
        }
        assert.strictEqual(gate.isEmpty, packets.length + deliveries.length === 0)
      }
    }
  })
})
