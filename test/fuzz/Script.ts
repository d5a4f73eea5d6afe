/**
 * What one connection of the fuzz run sends, and how it ends: made of nothing but a seed and the connection's number,
 * so that any of them can be played again alone.
 */
import type { Connect, ProtocolVersion } from "../../src/protocol/Packet.ts"
import * as Encoder from "../../src/protocol/Encoder.ts"
import { Decoder } from "../../src/protocol/Decoder.ts"
import { invalid } from "../fixtures/faults.ts"
import { valid } from "../fixtures/packets.ts"
import { type Random, random } from "../fixtures/random.ts"
import { bytes, concat } from "../fixtures/wire.ts"
import * as Flood from "./Flood.ts"
import { mutate, pick, randomBytes } from "./Mutation.ts"

/**
 * wait: reads until the broker closes, if it must, and closes otherwise. finish: closes its half and reads the rest.
 * reset, vanish: goes at once, with a reset or without. linger: stays until the others of its batch are done.
 */
export type End = "wait" | "finish" | "reset" | "vanish" | "linger"

/** How it acknowledges what it gets: not, well, each twice, or with the wrong packet. */
export type Answers = "none" | "well" | "twice" | "wrong"

export interface Script {
  readonly number: number
  readonly kind: string
  readonly chunks: ReadonlyArray<Uint8Array>
  readonly end: End
  readonly answers: Answers
  /** False: it never reads what the broker sends. */
  readonly reads: boolean
  readonly expected: Expected
}

/** What the broker must make of the stream, as far as that does not depend on anybody else. */
export interface Expected {
  /** The version the broker must speak: that of the CONNECT as it reads it. */
  readonly version: ProtocolVersion
  /** What the client sends is against the rules, or says DISCONNECT: the broker must close. */
  readonly mustClose: boolean
  /** What the client allows; `undefined`: it sends acknowledgements, so that there is no telling. */
  readonly packetBytesMax: number
  readonly receiveMaximum: number | undefined
  readonly topicAliasMaximum: number
}

/** The limits of the broker under test, which decide where a stream becomes invalid. */
export const limits = {
  packetBytesMax: 1_048_576,
  packetBytesBeforeConnectMax: 65_536,
  topicLevelsMax: 100,
  userPropertiesMax: 64
}

const versions: ReadonlyArray<ProtocolVersion> = [3, 4, 5, 5]

const packetsOf = (version: ProtocolVersion, sender: "client" | "server"): ReadonlyArray<Uint8Array> =>
  valid
    .filter(({ packet, senders, versions }) => {
      return packet._tag !== "Connect" && senders.includes(sender) && versions.includes(version)
    })
    .map(({ wire }) => bytes(wire))

const fromClient = { 3: packetsOf(3, "client"), 4: packetsOf(4, "client"), 5: packetsOf(5, "client") }
const fromServer = { 3: packetsOf(3, "server"), 4: packetsOf(4, "server"), 5: packetsOf(5, "server") }
const connects = valid.filter(({ packet }) => packet._tag === "Connect").map(({ wire }) => bytes(wire))
const faultsOf = (version: ProtocolVersion | undefined): ReadonlyArray<Uint8Array> =>
  invalid.filter(({ sender, versions }) => sender === "client" && versions.includes(version)).map((f) => bytes(f.wire))
const faults = { 3: faultsOf(3), 4: faultsOf(4), 5: faultsOf(5) }
const firstFaults = faultsOf(undefined)

const strangers = [
  "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
  "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
  "PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n",
  "SSH-2.0-OpenSSH_9.2\r\n",
  "\0".repeat(1_000),
  "\xff".repeat(1_000),
  "\x10".repeat(1_000)
].map((text) => Uint8Array.from(text, (character) => character.charCodeAt(0)))

const will = (version: ProtocolVersion, source: Random): Connect["will"] => {
  const properties = version === 5 ? { willDelayInterval: source.below(3) } : undefined
  const [topic, retain] = [pick(["a/b", "w", "w/t"], source), source.below(4) === 0]
  return { topic, payload: randomBytes(source.below(50), source), qos: pick([0, 1, 2], source), retain, properties }
}

/** A CONNECT that the broker accepts; few client ids, so that sessions are resumed and taken over. */
const goodConnect = (version: ProtocolVersion, source: Random): Uint8Array => {
  const cleanStart = source.below(2) === 0
  const assigned = source.below(8) === 0 && (version === 5 || (version === 4 && cleanStart))
  const properties =
    version !== 5 || source.below(4) === 0
      ? undefined
      : {
          sessionExpiryInterval: pick([0, 1, 60, 0xffff_ffff], source),
          receiveMaximum: pick([1, 2, 20, 65_535], source),
          maximumPacketSize: pick([20, 64, 1_000, 268_435_460], source),
          topicAliasMaximum: pick([0, 1, 10, 65_535], source),
          requestProblemInformation: source.below(2) === 0
        }
  const packet: Connect = {
    _tag: "Connect",
    protocolVersion: version,
    clientId: assigned ? "" : `f${source.below(30)}-${version}`,
    cleanStart,
    keepAliveSeconds: pick([0, 1, 60, 65_535], source),
    will: source.below(3) === 0 ? will(version, source) : undefined,
    properties
  }
  return Encoder.encode(packet, version)
}

/** A client that allows next to nothing, and causes much. */
const stingy = (source: Random): ReadonlyArray<Uint8Array> => {
  const connect = {
    _tag: "Connect",
    protocolVersion: 5,
    clientId: `s${source.below(10)}-5`,
    cleanStart: true,
    keepAliveSeconds: 0,
    properties: {
      receiveMaximum: 1 + source.below(3),
      maximumPacketSize: pick([30, 100, 2_000, 65_536], source),
      topicAliasMaximum: source.below(3)
    }
  } as const
  return [Encoder.encode(connect, 5), ...Flood.toItself(5, source)]
}

const clientPackets = (version: ProtocolVersion, count: number, source: Random): ReadonlyArray<Uint8Array> =>
  Array.from({ length: count }, () => pick(fromClient[version], source))

type Kind = (version: ProtocolVersion, source: Random) => ReadonlyArray<Uint8Array>

const kinds: ReadonlyArray<readonly [name: string, weight: number, kind: Kind]> = [
  ["garbage", 2, (_, source) => [randomBytes(1 + source.below(600), source)]],
  ["stranger", 1, (_, source) => [pick(strangers, source)]],
  ["silence", 1, () => []],
  ["bad first packet", 3, (_, source) => [pick(firstFaults, source), pick(connects, source)]],
  ["mutated CONNECT", 5, (version, source) => mutate([pick(connects, source), ...fromClient[version]], source)],
  [
    "no CONNECT",
    1,
    (version, source) => clientPackets(source.below(2) === 0 ? version : 5, 1 + source.below(3), source)
  ],
  [
    "valid",
    4,
    (version, source) => [goodConnect(version, source), ...clientPackets(version, source.below(15), source)]
  ],
  [
    "mutated",
    14,
    (version, source) => [
      goodConnect(version, source),
      ...mutate(clientPackets(version, 1 + source.below(10), source), source)
    ]
  ],
  [
    "mutated from the first byte",
    4,
    (version, source) =>
      mutate([goodConnect(version, source), ...clientPackets(version, source.below(10), source)], source)
  ],
  [
    "fault",
    6,
    (version, source) => [
      goodConnect(version, source),
      ...clientPackets(version, source.below(5), source),
      pick(faults[version], source),
      ...clientPackets(version, source.below(3), source)
    ]
  ],
  [
    "valid, then garbage",
    3,
    (version, source) => [
      goodConnect(version, source),
      ...clientPackets(version, source.below(6), source),
      randomBytes(1 + source.below(400), source)
    ]
  ],
  [
    "another version",
    2,
    (version, source) => [
      goodConnect(version, source),
      ...clientPackets(pick(versions, source), 1 + source.below(6), source)
    ]
  ],
  [
    "from a server",
    1,
    (version, source) => [goodConnect(version, source), pick(fromServer[version], source), pick(connects, source)]
  ],
  ["stingy", 3, (_, source) => stingy(source)],
  [
    "flood",
    4,
    (version, source) => {
      const flood = Flood.make(version, source)
      return [goodConnect(version, source), ...(source.below(4) === 0 ? mutate(flood, source) : flood)]
    }
  ]
]

const wheel = kinds.flatMap((kind) => Array.from({ length: kind[1] }, () => kind))

/** The same bytes in pieces. */
const chunked = (packets: ReadonlyArray<Uint8Array>, source: Random): ReadonlyArray<Uint8Array> => {
  const stream = concat(packets)
  const way = source.below(4)
  if (way === 0 || stream.length === 0) return [stream]
  if (way === 1) return packets.filter((packet) => packet.length > 0)
  const most = way === 2 && stream.length < 400 ? 1 : 1 + source.below(Math.max(64, stream.length >> 3))
  const chunks: Array<Uint8Array> = []
  for (let at = 0; at < stream.length; ) {
    const end = at + 1 + source.below(most)
    chunks.push(stream.slice(at, end))
    at = end
  }
  return chunks
}

const judge = (chunks: ReadonlyArray<Uint8Array>): Expected => {
  const decoder = new Decoder({ ...limits, packetBytesMax: limits.packetBytesBeforeConnectMax, sender: "client" })
  decoder.push(concat(chunks))
  let ends = false
  let acknowledges = false
  let allowed: Connect["properties"]
  for (let packet = decoder.next(); packet !== undefined; packet = decoder.next()) {
    if (packet._tag === "Connect") allowed = packet.properties
    decoder.packetBytesMax = limits.packetBytesMax
    ends ||= packet._tag === "Disconnect"
    acknowledges ||= packet._tag === "PubAck" || packet._tag === "PubRec" || packet._tag === "PubComp"
  }
  return {
    version: decoder.version ?? 4,
    mustClose: ends || decoder.error !== undefined,
    packetBytesMax: allowed?.maximumPacketSize ?? 268_435_460,
    receiveMaximum: acknowledges ? undefined : (allowed?.receiveMaximum ?? 65_535),
    topicAliasMaximum: allowed?.topicAliasMaximum ?? 0
  }
}

const ends: ReadonlyArray<End> = ["wait", "wait", "wait", "finish", "finish", "reset", "vanish", "linger"]

/** The connection with that number in the run with that seed. */
export const make = (seed: number, number: number): Script => {
  const source = random(Math.imul(seed, 0x9e37_79b1) ^ Math.imul(number + 1, 0x85eb_ca6b))
  const [kind, , packets] = pick(wheel, source)
  const chunks = chunked(packets(pick(versions, source), source), source)
  const reads = source.below(12) > 0
  return {
    number,
    kind,
    chunks,
    end: reads ? pick(ends, source) : pick(["reset", "vanish", "linger"], source),
    answers: pick(["none", "none", "well", "well", "twice", "wrong"], source),
    reads,
    expected: judge(chunks)
  }
}
