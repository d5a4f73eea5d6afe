import { assert, describe, it } from "@effect/vitest"
import { Outbox, OutboxPool } from "../../src/core/Outbox.ts"
import { random } from "./Random.ts"

const SEGMENT_BYTES = 64 * 1024

/** A pool whose buffers begin full of rubbish, and that tells how many it made. */
const makePool = () => {
  const sizes: Array<number> = []
  const pool = new OutboxPool((bytes) => {
    sizes.push(bytes)
    return new Uint8Array(bytes).fill(0xee)
  })
  return { pool, sizes }
}

const append = (outbox: Outbox, bytes: Uint8Array): void => {
  const at = outbox.reserve(bytes.length)
  outbox.buffer.set(bytes, at)
}

const pattern = (length: number, seed: number): Uint8Array => {
  const bytes = new Uint8Array(length)
  for (let at = 0; at < length; at++) bytes[at] = (at * 31 + seed * 17 + (at >> 8)) & 0xff
  return bytes
}

const join = (parts: ReadonlyArray<Uint8Array>): Uint8Array => {
  const joined = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0))
  let at = 0
  for (const part of parts) {
    joined.set(part, at)
    at += part.length
  }
  return joined
}

/** Comparing tens of kilobytes with `deepStrictEqual` is slow. */
const assertSame = (actual: Uint8Array, expected: Uint8Array, what: string): void => {
  assert.strictEqual(actual.length, expected.length, what)
  const at = actual.findIndex((byte, index) => byte !== expected[index])
  assert.strictEqual(at, -1, `${what}: differs at ${at}`)
}

describe("Outbox", () => {
  it("holds nothing, and allocates nothing, before its first byte", () => {
    const { pool, sizes } = makePool()
    const outbox = new Outbox(pool)
    assert.strictEqual(outbox.bytes, 0)
    assert.deepStrictEqual(outbox.take(), [])
    assert.deepStrictEqual(sizes, [])
    append(outbox, pattern(4, 1))
    assert.strictEqual(outbox.bytes, 4)
    assert.isAtMost(sizes[0]!, 256)
  })

  it("grows from one byte to several segments and keeps every byte in order", () => {
    const { pool } = makePool()
    const outbox = new Outbox(pool)
    const written: Array<Uint8Array> = []
    for (let count = 0; count < 400; count++) {
      const bytes = pattern(1 + ((count * 37) % 900), count)
      append(outbox, bytes)
      written.push(bytes)
    }
    const expected = join(written)
    assert.strictEqual(outbox.bytes, expected.length)
    const taken = outbox.take()
    assert.isAbove(taken.length, 1)
    assertSame(join(taken), expected, "bytes")
    assert.strictEqual(outbox.handedOver, expected.length)
    assert.strictEqual(outbox.bytes, 0)
    assert.deepStrictEqual(outbox.take(), [])
  })

  it("gives a piece larger than a segment a buffer of its own", () => {
    const { pool, sizes } = makePool()
    const outbox = new Outbox(pool)
    const large = pattern(3 * SEGMENT_BYTES + 5, 2)
    append(outbox, pattern(10, 1))
    append(outbox, large)
    append(outbox, pattern(10, 3))
    assertSame(join(outbox.take()), join([pattern(10, 1), large, pattern(10, 3)]), "bytes")
    assert.include(sizes, large.length)
  })

  it("puts shared bytes between its own without copying them", () => {
    const { pool } = makePool()
    const one = new Outbox(pool)
    const two = new Outbox(pool)
    const shared = pattern(10_000, 9)
    for (const outbox of [one, two]) {
      append(outbox, pattern(5, 1))
      outbox.appendShared(shared)
      append(outbox, pattern(7, 2))
      outbox.appendShared(shared)
      assert.strictEqual(outbox.bytes, 12 + 2 * shared.length)
    }
    for (const outbox of [one, two]) {
      const taken = outbox.take()
      assert.strictEqual(taken.filter((chunk) => chunk === shared).length, 2)
      assertSame(join(taken), join([pattern(5, 1), shared, pattern(7, 2), shared]), "bytes")
    }
  })

  it("uses a small buffer again once the kernel has its bytes, and not before", () => {
    const { pool, sizes } = makePool()
    const outbox = new Outbox(pool)
    for (let count = 0; count < 50; count++) {
      append(outbox, pattern(20, count))
      outbox.take()
      outbox.recycle()
    }
    assert.strictEqual(sizes.length, 1)
    append(outbox, pattern(20, 1))
    const [chunk] = outbox.take()
    append(outbox, pattern(20, 2))
    assertSame(chunk!, pattern(20, 1), "handed over")
    assert.strictEqual(sizes.length, 2)
  })

  it("pools full segments, a bounded number of them", () => {
    const { pool, sizes } = makePool()
    const outbox = new Outbox(pool)
    const fill = () => {
      for (let count = 0; count < 100; count++) append(outbox, pattern(SEGMENT_BYTES - 1, count))
      outbox.take()
      outbox.recycle()
    }
    fill()
    const first = sizes.length
    fill()
    const second = sizes.length - first
    assert.isBelow(second, first)
    assert.isAbove(second, 0)
  })

  it("never writes over bytes that it handed over, whatever comes", () => {
    for (let seed = 1; seed <= 25; seed++) modelRun(seed)
  })
})

interface Handed {
  readonly chunks: ReadonlyArray<Uint8Array>
  readonly expected: Uint8Array
}

/** Three outboxes of one pool; what is handed over is looked at again when the kernel has it, or at the end. */
const modelRun = (seed: number): void => {
  const next = random(seed)
  const { pool } = makePool()
  const models = [0, 1, 2].map(() => ({
    outbox: new Outbox(pool),
    written: [] as Array<Uint8Array>,
    total: 0,
    handed: [] as Array<Handed>
  }))
  for (let step = 0; step < 400; step++) {
    const model = models[next(3)]!
    const { outbox } = model
    const choice = next(20)
    if (choice < 12) {
      const size = choice < 8 ? 1 + next(200) : choice < 11 ? 1 + next(40_000) : 1 + next(150_000)
      const bytes = pattern(size, step)
      append(outbox, bytes)
      model.written.push(bytes)
    } else if (choice < 14) {
      const shared = pattern(8_192 + next(9_000), step)
      for (const each of models) {
        each.outbox.appendShared(shared)
        each.written.push(shared)
      }
    } else {
      const expected = join(model.written)
      model.written = []
      assert.strictEqual(outbox.bytes, expected.length)
      const chunks = outbox.take()
      model.total += expected.length
      assert.strictEqual(outbox.handedOver, model.total)
      assertSame(join(chunks), expected, `seed ${seed} step ${step}`)
      model.handed.push({ chunks, expected })
      if (choice < 17) {
        checkHanded(model.handed, seed)
        outbox.recycle()
      }
    }
  }
  for (const { handed } of models) checkHanded(handed, seed)
}

const checkHanded = (handed: Array<Handed>, seed: number): void => {
  for (const { chunks, expected } of handed.splice(0)) assertSame(join(chunks), expected, `handed over, seed ${seed}`)
}
