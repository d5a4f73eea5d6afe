/**
 * Every message that was ever published in a run, what its publisher was told of it, and what the broker said it
 * dropped: what deliveries are judged by.
 */
import type { QoS } from "../../src/protocol/Packet.ts"
import type { Link } from "./Link.ts"
import * as Scenario from "./Scenario.ts"
import { SharedGroups } from "./SharedGroups.ts"
import type { World } from "./World.ts"

/**
 * underway: the publisher does not know. acknowledged: PUBACK or PUBCOMP, or it is durable. refused: the broker said
 * no. abandoned: the publisher lost its session, and will never know.
 */
export type Fate = "underway" | "acknowledged" | "refused" | "abandoned"

export interface Publication {
  readonly number: number
  readonly publisher: string
  readonly kind: "message" | "will" | "local"
  readonly topic: string
  readonly qos: QoS
  readonly retain: boolean
  readonly payload: Uint8Array
  readonly mayExpire: boolean
  /** When it was first sent, as a moment; for a will, when CONNECT was. */
  readonly begun: number
  /** When its fate was known; Infinity: it is not yet. */
  settled: number
  fate: Fate
  /** It was sent more than once. */
  repeated: boolean
  /** A hook said no. */
  denied: boolean
  /** When the client took its will back for certain; Infinity: it did not. */
  takenBack: number
  /** QoS 0: the link it was sent on. */
  link: Link | undefined
}

export interface Draft {
  readonly publisher: string
  readonly kind: Publication["kind"]
  readonly topic: string
  readonly qos: QoS
  readonly mayExpire: boolean
  readonly empty?: boolean
}

interface RetainedTopic {
  last: Publication | undefined
  /** Nobody can know any more what is retained here. */
  uncertain: boolean
}

export class Ledger {
  readonly publications: Array<Publication> = []
  readonly groups: SharedGroups
  private readonly world: World
  private readonly drops = new Map<string, number>()
  private readonly retained = new Map<string, RetainedTopic>()

  constructor(world: World) {
    this.world = world
    this.groups = new SharedGroups(world)
  }

  begin(draft: Draft): Publication {
    const { world } = this
    const number = this.publications.length + 1
    const retain = draft.kind === "message" && Scenario.isRetainedTopic(draft.topic)
    const publication: Publication = {
      number,
      publisher: draft.publisher,
      kind: draft.kind,
      topic: draft.topic,
      qos: draft.qos,
      retain,
      payload: draft.empty === true ? new Uint8Array(0) : contentOf(number, sizeOf(world)),
      mayExpire: draft.mayExpire,
      begun: world.moment(),
      settled: Number.POSITIVE_INFINITY,
      fate: "underway",
      repeated: false,
      denied: false,
      takenBack: Number.POSITIVE_INFINITY,
      link: undefined
    }
    this.publications.push(publication)
    if (retain) this.began(publication)
    return publication
  }

  settle(publication: Publication, fate: Fate): void {
    publication.fate = fate
    publication.settled = this.world.moment()
    if (publication.retain && (fate !== "acknowledged" || publication.mayExpire)) {
      this.retainedAt(publication.topic).uncertain = true
    }
  }

  deny(publication: Publication): void {
    publication.denied = true
    if (publication.retain) this.retainedAt(publication.topic).uncertain = true
  }

  /** The publication that a payload belongs to, when it is that of one, byte for byte; empty ones belong to none. */
  read(payload: Uint8Array): Publication | undefined {
    if (payload.length === 0) return undefined
    let number = 0
    for (let at = 0; at < NUMBER_BYTES && at < payload.length; at++) number = number * 256 + payload[at]!
    const publication = this.publications[number - 1]
    if (publication === undefined) return this.world.violated(`A payload of ${payload.length} bytes is nobody's.`)
    const { length } = publication.payload
    let same = length === payload.length
    for (let at = 0; same && at < length; at++) same = payload[at] === publication.payload[at]
    this.world.check(same, () => `The payload of message ${number} is not what was published.`)
    return publication
  }

  /** The broker said that it dropped a message for a client. */
  dropped(clientId: string, topic: string): void {
    const key = `${clientId} ${topic}`
    this.drops.set(key, (this.drops.get(key) ?? 0) + 1)
  }

  dropsOf(clientId: string, topic: string): number {
    return this.drops.get(`${clientId} ${topic}`) ?? 0
  }

  /** What is retained on a topic now, when that is beyond doubt: `none` for nothing, undefined for doubt. */
  certainlyRetained(topic: string): Publication | "none" | undefined {
    const { config } = this.world.scenario
    if (config.retainedMessagesMax < 10 || config.retainedBytesMax < 1_000) return undefined
    const state = this.retained.get(topic)
    if (state === undefined) return "none"
    if (state.uncertain || state.last === undefined || state.last.fate !== "acknowledged") return undefined
    return state.last.payload.length === 0 ? "none" : state.last
  }

  get retainedTopics(): Iterable<string> {
    return this.retained.keys()
  }

  private retainedAt(topic: string): RetainedTopic {
    let state = this.retained.get(topic)
    if (state === undefined) {
      state = { last: undefined, uncertain: false }
      this.retained.set(topic, state)
    }
    return state
  }

  /** Two at once on one topic: which of them is the last one, only the broker knows. */
  private began(publication: Publication): void {
    const state = this.retainedAt(publication.topic)
    if (state.last !== undefined && state.last.fate === "underway") state.uncertain = true
    state.last = publication
  }
}

const NUMBER_BYTES = 3

const sizeOf = ({ random, scenario }: World): number => {
  if (scenario.payloads === "large" && random.chance(0.2)) return random.between(4_000, 20_000)
  if (scenario.payloads === "medium") return random.between(200, 600)
  return random.chance(0.1) ? random.between(100, 600) : random.between(0, 24)
}

/** The number, and bytes that follow from it. */
const contentOf = (number: number, size: number): Uint8Array => {
  const content = new Uint8Array(NUMBER_BYTES + size)
  content[0] = number >>> 16
  content[1] = number >>> 8
  content[2] = number
  for (let at = NUMBER_BYTES; at < content.length; at++) content[at] = number + at * 7
  return content
}
