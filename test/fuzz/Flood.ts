/**
 * Streams that are allowed, or nearly, and much: what costs memory or time if a limit is missing.
 */
import type { Packet, ProtocolVersion, QoS } from "../../src/protocol/Packet.ts"
import * as Encoder from "../../src/protocol/Encoder.ts"
import type { Random } from "../fixtures/random.ts"
import { concat } from "../fixtures/wire.ts"
import { pick, randomBytes } from "./Mutation.ts"

type Flood = (version: ProtocolVersion, source: Random) => ReadonlyArray<Packet>

const repeat = <A>(count: number, make: (index: number) => A): ReadonlyArray<A> =>
  Array.from({ length: count }, (_, index) => make(index))

const publish = (topic: string, payload: Uint8Array, qos: QoS, index: number, retain = false): Packet => {
  const packetId = qos === 0 ? undefined : 1 + (index % 65_535)
  return { _tag: "Publish", topic, payload, qos, retain, dup: false, packetId }
}

const subscribe = (index: number, filters: ReadonlyArray<string>, qos: QoS): Packet => {
  const options = { qos, noLocal: false, retainAsPublished: false, retainHandling: 0 } as const
  return { _tag: "Subscribe", packetId: 1 + index, subscriptions: filters.map((filter) => ({ filter, ...options })) }
}

const pings: Flood = (_, source) => repeat(source.below(3_000), () => ({ _tag: "PingReq" }) as const)

const messages: Flood = (_, source) => {
  const [qos, size] = [pick([0, 1] as const, source), source.below(2_000)]
  const topic = pick(["a/b", "a/c", "x"], source)
  return repeat(source.below(300), (index) => publish(topic, randomBytes(size % 50, source), qos, index))
}

/** More than the Receive Maximum is a fault, less keeps them. */
const unreleased: Flood = (_, source) =>
  repeat(source.below(150), (index) => publish("a/b", randomBytes(20, source), 2, index))

const released: Flood = (_, source) =>
  repeat(1 + source.below(50), (index) => index + 1).flatMap(
    (packetId): ReadonlyArray<Packet> => [
      publish("a/b", Uint8Array.of(packetId), 2, packetId - 1),
      ...(source.below(3) === 0 ? [publish("a/b", Uint8Array.of(packetId), 2, packetId - 1)] : []),
      { _tag: "PubRel", packetId, reasonCode: 0 },
      ...(source.below(3) === 0 ? [{ _tag: "PubRel", packetId, reasonCode: 0 } as const] : [])
    ]
  )

/** To itself, and it may not read. */
const echo: Flood = (_, source) => {
  const payload = randomBytes(pick([10, 1_000, 4_000], source), source)
  return [
    subscribe(0, [pick(["e/#", "#", "+/x"], source)], pick([0, 1, 2], source)),
    ...repeat(source.below(200), (index) => publish("e/x", payload, pick([0, 1], source), index))
  ]
}

const large: Flood = (_, source) => {
  const sizes = [60_000, 65_600, 300_000, 1_000_000, 1_048_560, 1_048_576, 1_100_000]
  return [publish("big", new Uint8Array(pick(sizes, source)), pick([0, 1, 2], source), 0)]
}

const topics: Flood = (_, source) => {
  const name = "/".repeat(pick([10, 99, 100, 1_000, 65_535], source))
  const filters = [name, `${"+/".repeat(source.below(120))}#`, "a/#/b", "$share/g/a/b", "$share//x", "$share/g/", ""]
  return [
    subscribe(0, [pick(filters, source), pick(filters, source)], 1),
    publish(name, Uint8Array.of(1), 1, 0),
    { _tag: "Unsubscribe", packetId: 9, filters: [pick(filters, source)] }
  ]
}

const subscriptions: Flood = (_, source) => {
  const filter = (index: number) => pick([`s/${index}`, `s/${index}/#`, `+/${index}`, `$share/g${index}/s`], source)
  return repeat(source.below(40), (packet) =>
    subscribe(
      packet,
      repeat(1 + source.below(20), (index) => filter(index + packet)),
      1
    )
  )
}

const retained: Flood = (_, source) => [
  ...repeat(source.below(100), (index) =>
    publish(`r/${source.below(400)}`, randomBytes(source.below(100), source), pick([0, 1], source), index, true)
  ),
  subscribe(0, [pick(["r/#", "r/+", "r/1", "#"], source)], 1)
]

const properties: Flood = (version, source) => {
  if (version !== 5) return []
  const userProperties = repeat(pick([1, 64, 65, 5_000], source), (index) => [`k${index % 7}`, "v"] as const)
  return repeat(source.below(20), (index) => ({
    _tag: "Publish",
    topic: index % 3 === 0 ? "p" : "",
    payload: Uint8Array.of(index),
    qos: 0,
    retain: index % 5 === 0,
    dup: false,
    packetId: undefined,
    properties: {
      topicAlias: pick([1, 2, 64, 65], source),
      messageExpiryInterval: source.below(3),
      correlationData: randomBytes(source.below(100), source),
      userProperties
    }
  }))
}

const acknowledgements: Flood = (_, source) =>
  repeat(source.below(500), () => ({
    _tag: pick(["PubAck", "PubRec", "PubRel", "PubComp"] as const, source),
    packetId: 1 + source.below(300),
    reasonCode: 0
  }))

const floods: ReadonlyArray<Flood> = [
  pings,
  messages,
  unreleased,
  released,
  echo,
  large,
  topics,
  subscriptions,
  retained,
  properties,
  acknowledgements
]

const encode = (packets: ReadonlyArray<Packet>, version: ProtocolVersion): ReadonlyArray<Uint8Array> =>
  packets.map((packet) => Encoder.encode(packet, version))

/** What it sends comes back. */
export const toItself = (version: ProtocolVersion, source: Random): ReadonlyArray<Uint8Array> =>
  encode(echo(version, source), version)

/** One or two of them; never empty. */
export const make = (version: ProtocolVersion, source: Random): ReadonlyArray<Uint8Array> => {
  const packets = repeat(1 + source.below(2), () => pick(floods, source)(version, source)).flat()
  const encoded = encode(packets, version)
  return encoded.length === 0 ? [concat([Uint8Array.of(0xc0, 0)])] : encoded
}
