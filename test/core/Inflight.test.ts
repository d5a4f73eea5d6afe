import { assert, describe, it } from "@effect/vitest"
import { Inflight } from "../../src/core/Inflight.ts"
import { Message } from "../../src/core/Message.ts"
import { Outgoing } from "../../src/core/Outgoing.ts"
import { random } from "./Random.ts"

const PACKET_IDS = 65_535

const message = Message.fromParts({ topic: "t", payload: new Uint8Array(0), qos: 1, retain: false }, 1, undefined, 0)

const outgoing = (order: number, packetId = 0): Outgoing => {
  const made = new Outgoing(order, order, message, 1, false, undefined)
  made.packetId = packetId
  return made
}

const allocated = (inflight: Inflight, order: number): Outgoing => {
  const made = outgoing(order)
  assert.isTrue(inflight.allocate(made))
  return made
}

describe("Inflight", () => {
  it("gives out 1, 2, 3 and finds them again", () => {
    const inflight = new Inflight()
    assert.isUndefined(inflight.get(1))
    const made = [1, 2, 3].map((order) => allocated(inflight, order))
    assert.deepStrictEqual(
      made.map(({ packetId }) => packetId),
      [1, 2, 3]
    )
    for (const each of made) assert.strictEqual(inflight.get(each.packetId), each)
    assert.strictEqual(inflight.size, 3)
    for (const unknown of [0, 4, 17, 65_535]) assert.isUndefined(inflight.get(unknown))
  })

  it("does not give out an id again before it has gone round", () => {
    const inflight = new Inflight()
    for (let count = 1; count <= PACKET_IDS; count++) {
      const { packetId } = allocated(inflight, count)
      assert.strictEqual(packetId, count)
      inflight.delete(packetId)
    }
    assert.strictEqual(allocated(inflight, 0).packetId, 1) // after 65,535 comes 1: 0 is no packet id
  })

  it("has 65,535 ids, each once, and says so when they are taken", () => {
    const inflight = new Inflight()
    const ids = new Set<number>()
    for (let order = 1; order <= PACKET_IDS; order++) ids.add(allocated(inflight, order).packetId)
    assert.strictEqual(ids.size, PACKET_IDS)
    assert.strictEqual(Math.min(...[...ids].slice(0, 10)), 1)
    assert.isFalse(ids.has(0))
    const tooMany = outgoing(0)
    assert.isFalse(inflight.allocate(tooMany))
    assert.strictEqual(tooMany.packetId, 0)
    assert.strictEqual(inflight.size, PACKET_IDS)
    inflight.delete(40_000)
    assert.strictEqual(allocated(inflight, 1).packetId, 40_000)
    assert.isFalse(inflight.allocate(tooMany))
  })

  it("skips ids that are still taken when it comes round", () => {
    const inflight = new Inflight()
    const stuck = [5, 6, 300].map((id) => {
      const made = outgoing(id, id)
      inflight.restore(made)
      return made
    })
    for (let count = 0; count < 2 * PACKET_IDS; count++) {
      const { packetId } = allocated(inflight, count)
      if (packetId === 5 || packetId === 6 || packetId === 300) assert.fail(`${packetId} is taken`)
      inflight.delete(packetId)
    }
    for (const made of stuck) assert.strictEqual(inflight.get(made.packetId), made)
  })

  it("keeps restored ids, however they lie, and lists them in the order they were queued", () => {
    const ids = [1, 65_535, 32_768, 16, 32, 48, 17, 65_520, 1_024, 2_048]
    const inflight = new Inflight()
    ids.forEach((id, index) => {
      inflight.restore(outgoing(1_000 - index, id))
    })
    assert.strictEqual(inflight.size, ids.length)
    for (const id of ids) assert.strictEqual(inflight.get(id)?.packetId, id)
    assert.deepStrictEqual(
      inflight.inOrder().map(({ packetId }) => packetId),
      [...ids].reverse()
    )
    inflight.restore(outgoing(5_000, 48)) // a second one of the same id does not replace the first
    assert.strictEqual(inflight.size, ids.length)
    assert.strictEqual(inflight.get(48)?.order, 1_000 - ids.indexOf(48))
    assert.strictEqual(allocated(inflight, 1).packetId, 2)
  })

  it("ignores the deletion of an id that it does not have", () => {
    const inflight = new Inflight()
    inflight.delete(1)
    const { packetId } = allocated(inflight, 1)
    inflight.delete(packetId + 16) // the same slot of a ring of 16
    inflight.delete(0)
    assert.strictEqual(inflight.size, 1)
    inflight.delete(packetId)
    inflight.delete(packetId)
    assert.strictEqual(inflight.size, 0)
  })

  it("does as a Map does, whatever comes", () => {
    for (let seed = 1; seed <= 60; seed++) {
      const next = random(seed)
      const inflight = new Inflight()
      const model = new Map<number, Outgoing>()
      const most = 1 + next(120)
      let last = 0
      for (let step = 0; step < 1_500; step++) {
        const choice = next(10)
        if (choice < 5 && model.size < most) {
          const made = allocated(inflight, step)
          let expected = last
          do expected = (expected % PACKET_IDS) + 1
          while (model.has(expected))
          // The ring may skip a free id whose slot is taken, but never goes back.
          assert.isFalse(model.has(made.packetId))
          assert.isAtLeast(made.packetId, expected)
          last = made.packetId
          model.set(made.packetId, made)
        } else if (choice < 9 && model.size > 0) {
          const id = [...model.keys()][next(model.size)]!
          model.delete(id)
          inflight.delete(id)
        } else if (choice === 9 && step < 40) {
          const made = outgoing(step, 1 + next(2_000))
          if (!model.has(made.packetId)) model.set(made.packetId, made)
          inflight.restore(made)
          last = Math.max(last, made.packetId)
        }
        assert.strictEqual(inflight.size, model.size)
        const probe = 1 + next(2_100)
        assert.strictEqual(inflight.get(probe), model.get(probe))
      }
      const inOrder = [...model.values()].sort((a, b) => a.order - b.order)
      assert.deepStrictEqual(inflight.inOrder(), inOrder)
    }
  })
})
