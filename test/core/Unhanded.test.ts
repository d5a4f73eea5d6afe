/**
 * Packets that a socket has not been given: taken out in front as it is given them, and anywhere when they are thrown
 * away.
 */
import { assert, describe, it } from "@effect/vitest"
import { type ThrownAway, Unhanded } from "../../src/core/Unhanded.ts"
import { random as generator } from "./Random.ts"

interface Waiting {
  readonly id: number
  readonly bytes: number
  /** Nobody listened when it was written, or it is no message. */
  readonly unknown: boolean
}

/** The list, and beside it every packet that waits. */
const start = () => {
  const unhanded = new Unhanded()
  let waiting: Array<Waiting> = []
  /** Bytes of the connection so far, and those that the socket has. */
  let written = 0
  let handed = 0
  let ids = 0
  const write = (bytes: number, unknown = false): void => {
    written += bytes
    waiting.push({ id: ++ids, bytes, unknown })
    if (!unknown) unhanded.push(written, ids)
  }
  /** Gives the socket so many packets, and a bit of the next. */
  const hand = (count: number, more = 0): void => {
    const given = waiting.splice(0, count)
    for (const { bytes } of given) handed += bytes
    const told: Array<unknown> = []
    const through = handed + Math.min(more, Math.max(0, (waiting[0]?.bytes ?? 0) - 1))
    for (let packet = unhanded.shift(through); packet !== undefined; packet = unhanded.shift(through)) told.push(packet)
    const expected = given.filter(({ unknown }) => !unknown).map(({ id }) => id)
    assert.deepStrictEqual(told, expected)
    assert.strictEqual(
      unhanded.isEmpty,
      waiting.every(({ unknown }) => unknown)
    )
  }
  const throwAway = (isThrown: (packet: Waiting) => boolean): void => {
    const thrown: Array<ThrownAway> = []
    let at = handed
    for (const packet of waiting) {
      at += packet.bytes
      if (isThrown(packet)) thrown.push({ topic: "", bytes: packet.bytes, behind: written - at })
    }
    unhanded.takeOut(thrown, written)
    waiting = waiting.filter((packet) => !isThrown(packet))
    for (const { bytes } of thrown) written -= bytes
  }
  return { hand, throwAway, write, waiting: () => waiting.length }
}

describe("Unhanded", () => {
  it("gives out each when the socket has the whole of it, in order", () => {
    const { hand, write } = start()
    for (const bytes of [5, 1, 7]) write(bytes)
    hand(0, 4)
    hand(1)
    hand(2)
    write(3)
    hand(1)
  })

  it("forgets what was thrown away, and still knows where the others end", () => {
    const { hand, throwAway, write } = start()
    for (const bytes of [10, 20, 30, 40, 50]) write(bytes, bytes === 30)
    hand(1)
    throwAway(({ id }) => id === 2 || id === 3)
    hand(0, 39)
    hand(1)
    throwAway(() => true)
    write(1)
    hand(1)
  })

  it("keeps step with every packet, whatever comes", () => {
    for (let seed = 1; seed <= 5; seed++) {
      const random = generator(seed)
      const { hand, throwAway, waiting, write } = start()
      for (let step = 0; step < 300; step++) {
        const kind = random(10)
        if (kind < 5) for (let count = random(200); count > 0; count--) write(1 + random(20), random(4) === 0)
        else if (kind < 9) hand(random(waiting() + 1), random(20))
        else {
          const rest = random(3)
          throwAway(({ id }) => id % 3 === rest)
        }
      }
      hand(waiting())
    }
  })
})
