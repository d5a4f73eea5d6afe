import { assert, describe, it } from "@effect/vitest"
import { Decoder } from "../../src/protocol/Decoder.ts"
import { decodeAll, limits, splits } from "../fixtures/decoding.ts"
import { valid } from "../fixtures/packets.ts"
import { damage, random } from "../fixtures/random.ts"
import { bytes, concat, hex } from "../fixtures/wire.ts"

const senders = ["client", "server"] as const
const versions = [undefined, 3, 4, 5] as const

const samples = valid.map(({ wire }) => bytes(wire))

/** Decodes in several chunkings, which must agree; anything thrown fails the test. */
const outcome = (stream: Uint8Array, seed: number): "valid" | "invalid" => {
  const sender = senders[seed % 2]!
  const version = versions[(seed >> 1) % 4]
  const [whole, ...others] = [stream.length, 1, 3, 64].map((size) =>
    decodeAll(new Decoder({ ...limits, sender, version }), splits(stream, size))
  )
  for (const other of others) assert.deepStrictEqual(other, whole, `${sender} ${version}: ${hex(stream)}`)
  return whole!.error === undefined ? "valid" : "invalid"
}

const tally = (runs: number, make: () => Uint8Array) => {
  const counts = { valid: 0, invalid: 0 }
  for (let run = 0; run < runs; run++) counts[outcome(make(), run)]++
  return counts
}

describe("Decoder, damaged input", () => {
  it("never throws on random bytes, and chunks make no difference", () => {
    const source = random(1)
    const counts = tally(3_000, () => Uint8Array.from({ length: 1 + source.below(60) }, () => source.below(256)))
    assert.isAbove(counts.invalid, 2_000)
  })

  it("never throws on random bodies behind a valid fixed header", () => {
    const source = random(2)
    const first = [0x10, 0x20, 0x30, 0x32, 0x34, 0x40, 0x50, 0x62, 0x70, 0x82, 0x90, 0xa2, 0xb0, 0xc0, 0xd0, 0xe0, 0xf0]
    const counts = tally(6_000, () => {
      const body = Uint8Array.from({ length: source.below(40) }, () => source.below(source.below(2) === 0 ? 256 : 4))
      return concat([Uint8Array.of(first[source.below(first.length)]!, body.length), body])
    })
    assert.isAbove(counts.valid, 20)
    assert.isAbove(counts.invalid, 3_000)
  })

  it("never throws on damaged packets", () => {
    const source = random(3)
    const counts = tally(12_000, () => damage(samples[source.below(samples.length)]!, source))
    assert.isAbove(counts.valid, 200)
    assert.isAbove(counts.invalid, 5_000)
  })

  it("never throws on damaged streams of packets", () => {
    const source = random(4)
    const pick = () => samples[source.below(samples.length)]!
    const counts = tally(2_000, () => damage(concat([pick(), pick(), pick(), pick()]), source))
    assert.isAbove(counts.invalid, 1_000)
  })

  it("decodes or refuses every packet cut off anywhere and declared to end there", () => {
    for (const sample of samples) {
      if (sample.length > 129) continue // longer ones have a remaining length of two bytes
      for (let end = 2; end < sample.length; end++) {
        const cut = sample.slice(0, end)
        cut[1] = end - 2
        for (let seed = 0; seed < 8; seed++) outcome(cut, seed)
      }
    }
  })
})
