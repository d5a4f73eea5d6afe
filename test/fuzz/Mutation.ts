/**
 * What can be done to a stream of packets so that it is none any more, or another one.
 *
 * Pure: a mutation takes the packets of one connection and a source of chance and returns packets, of which the
 * boundaries may be lies by now.
 */
import { damage, type Random } from "../fixtures/random.ts"
import { concat } from "../fixtures/wire.ts"

type Packets = ReadonlyArray<Uint8Array>

export type Mutation = (packets: Packets, source: Random) => Packets

export const pick = <A>(items: ReadonlyArray<A>, source: Random): A => items[source.below(items.length)]!

export const randomBytes = (length: number, source: Random): Uint8Array =>
  Uint8Array.from({ length }, () => source.below(256))

/** Replaces one packet, which the change may return as none or as several. */
const replaceOne = (packets: Packets, source: Random, change: (packet: Uint8Array) => Packets): Packets => {
  const at = source.below(packets.length)
  return [...packets.slice(0, at), ...change(packets[at]!), ...packets.slice(at + 1)]
}

/** A remaining length in as many bytes as asked for: more than it needs is against the rules. */
const lengthBytes = (value: number, atLeast: number): Uint8Array => {
  const bytes: Array<number> = []
  let rest = value
  do {
    const digit = rest & 0x7f
    rest >>>= 7
    bytes.push(rest > 0 || bytes.length + 1 < atLeast ? digit | 0x80 : digit)
  } while (rest > 0 || bytes.length < atLeast)
  return Uint8Array.from(bytes)
}

/** Where the body of a packet begins. */
const bodyStart = (packet: Uint8Array): number => {
  let at = 1
  while (at < 5 && (packet[at] ?? 0) >= 0x80) at++
  return Math.min(at + 1, packet.length)
}

const flipBits: Mutation = (packets, source) =>
  replaceOne(packets, source, (packet) => {
    const flipped = Uint8Array.from(packet)
    for (let count = 1 + source.below(4); count > 0; count--) {
      const at = source.below(flipped.length)
      flipped[at] = flipped[at]! ^ (1 << source.below(8))
    }
    return [flipped]
  })

const damageOne: Mutation = (packets, source) => replaceOne(packets, source, (packet) => [damage(packet, source)])

/** The connection ends, or goes on with the next packet, in the middle of one. */
const truncate: Mutation = (packets, source) => {
  const ends = source.below(2) === 0
  const at = source.below(packets.length)
  const cut = packets[at]!.slice(0, source.below(packets[at]!.length + 1))
  return [...packets.slice(0, at), cut, ...(ends ? [] : packets.slice(at + 1))]
}

const duplicate: Mutation = (packets, source) =>
  replaceOne(packets, source, (packet) => Array.from({ length: 2 + source.below(4) }, () => packet))

const remove: Mutation = (packets, source) => replaceOne(packets, source, () => [])

const swap: Mutation = (packets, source) => {
  const swapped = [...packets]
  const [a, b] = [source.below(swapped.length), source.below(swapped.length)]
  ;[swapped[a], swapped[b]] = [swapped[b]!, swapped[a]!]
  return swapped
}

/** The beginning of one packet with the end of another. */
const splice: Mutation = (packets, source) => {
  const other = pick(packets, source)
  return replaceOne(packets, source, (packet) => [
    concat([packet.slice(0, source.below(packet.length + 1)), other.slice(source.below(other.length + 1))])
  ])
}

/** The remaining length says something else than what follows, or says it in a form that is not allowed. */
const lieAboutLength: Mutation = (packets, source) =>
  replaceOne(packets, source, (packet) => {
    const body = packet.slice(bodyStart(packet))
    const lies = [body.length + 1, body.length - 1, 0, source.below(300), 2_097_152, 268_435_455, source.below(1 << 28)]
    const length = lengthBytes(Math.max(0, pick(lies, source)), 1 + source.below(5))
    return [concat([packet.slice(0, 1), length, body])]
  })

/** Two bytes somewhere inside, which may be a length, say something else. */
const lieInside: Mutation = (packets, source) =>
  replaceOne(packets, source, (packet) => {
    const start = bodyStart(packet)
    if (packet.length - start < 2) return [packet]
    const lying = Uint8Array.from(packet)
    const at = start + source.below(packet.length - start - 1)
    const value = pick([0, 1, 0x7fff, 0xffff, packet.length, source.below(0x1_0000)], source)
    lying[at] = value >>> 8
    lying[at + 1] = value & 0xff
    return [lying]
  })

const insertGarbage: Mutation = (packets, source) => {
  const at = source.below(packets.length + 1)
  return [...packets.slice(0, at), randomBytes(1 + source.below(200), source), ...packets.slice(at)]
}

/** A part of a packet many times. */
const repeatInside: Mutation = (packets, source) =>
  replaceOne(packets, source, (packet) => {
    const start = source.below(packet.length)
    const part = packet.slice(start, start + 1 + source.below(16))
    const copies = Array.from({ length: 1 + source.below(300) }, () => part)
    return [concat([packet.slice(0, start), ...copies, packet.slice(start)])]
  })

export const mutations: ReadonlyArray<Mutation> = [
  flipBits,
  damageOne,
  truncate,
  duplicate,
  remove,
  swap,
  splice,
  lieAboutLength,
  lieInside,
  insertGarbage,
  repeatInside
]

/** One to three of them, one after the other. */
export const mutate: Mutation = (packets, source) => {
  let mutated = packets
  for (let count = 1 + source.below(3); count > 0 && mutated.length > 0; count--) {
    mutated = pick(mutations, source)(mutated, source).filter((packet) => packet.length > 0)
  }
  return mutated
}
