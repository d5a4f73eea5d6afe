/**
 * One life of a session, as its client knows it: from the CONNACK that began it to the moment it may be gone.
 *
 * Owns what the client must remember in it, and what the client may hold the broker to: which subscriptions stood for
 * certain, which are possible at all, and what was delivered.
 */
import type { QoS } from "../../src/protocol/Packet.ts"
import * as Topic from "../../src/protocol/Topic.ts"
import type { Ledger, Publication } from "./Ledger.ts"
import type { Profile } from "./Scenario.ts"
import type { World } from "./World.ts"

/** A subscription that stood for certain: from its SUBACK until something was sent that may change it. */
interface Standing {
  readonly filter: string
  readonly qos: QoS
  readonly noLocal: boolean
  readonly from: number
  to: number
}

/** A subscription that may have stood: from its SUBSCRIBE until the answer that says it does not. */
interface Possible {
  readonly filter: string
  readonly noLocal: boolean
  readonly from: number
  to: number
}

/** A SUBSCRIBE that was not answered yet. */
export interface Request {
  readonly filter: string
  readonly qos: QoS
  readonly noLocal: boolean
  readonly sent: number
  /** Sends what is retained whether or not the subscription is new. */
  readonly wantsRetained: boolean
  /** The standing subscription that it may replace. */
  readonly former: Standing | undefined
  /** What was retained for certain when it was sent. */
  readonly retained: ReadonlyArray<Publication>
}

export interface Copy {
  readonly publication: Publication
  readonly qos: QoS
  readonly dup: boolean
  readonly retain: boolean
}

interface Receipt {
  /** At QoS 2 repetitions are not counted: the client does not hand them on. */
  copies: number
  fresh: number
  /** Those at QoS 2. */
  exact: number
}

const NEVER = Number.POSITIVE_INFINITY
const NEVER_EXPIRES = 0xffff_ffff

export class SessionLife {
  /** Asked for a session that outlives its connection. */
  durable: boolean
  /** A CONNACK was for it. */
  begun = false
  /** The broker has no right to have forgotten it, unless it expired. */
  certain = false
  expirySeconds = 0
  /** When its last connection ended at the earliest, in milliseconds; Infinity while there is one. */
  endedAt = NEVER
  /** When the CONNACK of the present connection arrived. */
  connectedMoment = NEVER
  /** QoS 2 messages that were handed on and not released, by packet id. */
  readonly unreleased = new Map<number, number>()
  /** Packet ids whose PUBREC was sent. */
  readonly recorded = new Set<number>()
  private isOver = false
  private readonly standing: Array<Standing> = []
  private readonly possible: Array<Possible> = []
  private readonly receipts = new Map<number, Receipt>()
  /** By publisher, topic and both QoS: the latest message so far. */
  private readonly latest = new Map<string, number>()
  private readonly retainedReceipts = new Map<number, number>()
  private readonly retainedDue: Array<{
    readonly publication: Publication
    readonly filter: string
    readonly after: number
  }> = []
  /** When an UNSUBSCRIBE of a filter was sent last: what it had retained need not come any more. */
  private readonly givenUp = new Map<string, number>()
  private readonly world: World
  private readonly ledger: Ledger
  private readonly profile: Profile

  constructor(world: World, ledger: Ledger, profile: Profile, durable: boolean) {
    this.world = world
    this.ledger = ledger
    this.profile = profile
    this.durable = durable
  }

  get over(): boolean {
    return this.isOver
  }

  end(): void {
    this.isOver = true
    const shared = this.profile.filters.find(isShared)
    if (shared !== undefined) this.ledger.groups.ended(shared)
  }

  get mustStand(): boolean {
    if (!this.certain || !this.durable || this.over) return false
    if (this.endedAt === NEVER || this.expirySeconds === NEVER_EXPIRES) return true
    return this.world.now < this.endedAt + this.expirySeconds * 1_000
  }

  // Subscriptions.

  subscribing(filter: string, qos: QoS, wantsRetained: boolean): Request {
    const { noLocal } = this.profile
    const sent = this.world.moment()
    const former = this.standing.find((standing) => standing.filter === filter && standing.to === NEVER)
    // A hook may grant less than before.
    const mayChange = former !== undefined && (former.qos !== qos || this.world.scenario.hooks)
    if (mayChange) former.to = sent
    this.possible.push({ filter, noLocal, from: sent, to: NEVER })
    const retained: Array<Publication> = []
    for (const topic of this.ledger.retainedTopics) {
      const publication = this.ledger.certainlyRetained(topic)
      if (publication !== undefined && publication !== "none" && Topic.matches(filter, topic)) {
        retained.push(publication)
      }
    }
    return { filter, qos, noLocal, sent, wantsRetained, former, retained }
  }

  /** `code` is the granted QoS or, from 0x80 on, a refusal: then what stood before stands. */
  subscribed({ filter, former, noLocal, retained, sent, wantsRetained }: Request, code: number): void {
    const { world } = this
    if (code >= 0x80) {
      if (former !== undefined && former.to === sent) former.to = NEVER
      return
    }
    const now = world.moment()
    for (const possible of this.possible) {
      if (possible.filter === filter && possible.from < sent && possible.to === NEVER) possible.to = now
    }
    if (former !== undefined && former.to === NEVER && former.qos !== code) former.to = sent
    if (former === undefined || former.to !== NEVER) {
      this.standing.push({ filter, qos: code as QoS, noLocal, from: now, to: NEVER }) // below 0x80 it is a QoS
    }
    if (!wantsRetained) return
    for (const publication of retained) {
      const stillRetained = this.ledger.certainlyRetained(publication.topic) === publication
      if (stillRetained && Math.min(publication.qos, code) > 0)
        this.retainedDue.push({ publication, filter, after: sent })
    }
  }

  unsubscribing(filter: string): void {
    const now = this.world.moment()
    this.givenUp.set(filter, now)
    for (const standing of this.standing) {
      if (standing.filter === filter && standing.to === NEVER) standing.to = now
    }
  }

  unsubscribed(filter: string): void {
    const now = this.world.moment()
    for (const possible of this.possible) {
      if (possible.filter === filter && possible.to === NEVER) possible.to = now
    }
  }

  /** Filters that were subscribed to and not given up. */
  get filters(): ReadonlyArray<string> {
    return this.possible.filter(({ to }) => to === NEVER).map(({ filter }) => filter)
  }

  /** The broker may have forgotten it, and a crash may have brought it back: nothing is owed for what was. */
  doubt(): void {
    this.certain = false
    this.standing.length = 0
    this.retainedDue.length = 0
  }

  // Deliveries.

  /** A PUBLISH arrived. `handedOn` is false for a repetition that the client recognises by its packet id. */
  delivered(copy: Copy, handedOn: boolean): void {
    const { publication, qos, retain } = copy
    const { world } = this
    const words = () => `message ${publication.number} (QoS ${publication.qos} ${publication.topic})`
    world.check(qos <= publication.qos, () => `${words()} came at QoS ${qos}.`)
    world.check(!retain || publication.retain, () => `${words()} came with RETAIN, and was published without.`)
    const ofStore = retain && !this.profile.retainAsPublished
    world.check(this.mayReceive(publication, retain), () => `${words()} came, and no subscription is for it.`)
    // A crash may bring back what nobody was told is gone.
    const takenBack = publication.takenBack < NEVER && world.crashedAt < publication.takenBack
    world.check(!takenBack, () => `${words()} is a will that was taken back.`)
    if (retain) this.retainedReceipts.set(publication.number, world.moment())
    if (ofStore) this.checkNotStale(publication)
    // With Retain As Published a copy with RETAIN may be either: it is not counted.
    if (retain) return
    this.count(copy, handedOn)
  }

  private count({ dup, publication, qos }: Copy, handedOn: boolean): void {
    const { world } = this
    let receipt = this.receipts.get(publication.number)
    if (receipt === undefined) {
      receipt = { copies: 0, fresh: 0, exact: 0 }
      this.receipts.set(publication.number, receipt)
      this.checkOrder(publication, qos)
    }
    if (handedOn) receipt.copies++
    if (handedOn && qos === 2) receipt.exact++
    if (!dup) receipt.fresh++
    const shared = this.profile.filters.find(isShared)
    if (shared !== undefined && handedOn) {
      const share = { fresh: !dup, exact: qos === 2, durable: this.durable }
      this.ledger.groups.received(shared, publication, share)
    }
    const { copies, exact, fresh } = receipt
    const what = () => `${this.profile.clientId}: message ${publication.number} of ${publication.topic} came twice`
    if (publication.qos === 2) world.check(exact <= 1, () => `${what()} at QoS 2.`)
    // A QoS 0 message that waited in the queue, or as a will, is stored, and sent before the store knows.
    const waited = world.scenario.config.queueQos0 || publication.kind === "will"
    const stored = waited && world.crashedAt > publication.begun
    if (publication.qos === 0) world.check(copies <= 1 || stored, () => `${what()}, it was published at QoS 0.`)
    // A crash may take back a routing whose QoS 0 and 1 deliveries were seen, and a repetition is routed again.
    const once = world.crashedAt < publication.begun && (publication.qos === 2 || !publication.repeated)
    if (once) world.check(fresh <= 1, () => `${what()} without DUP.`)
    if (once && qos === 0) world.check(copies <= 1, () => `${what()} at QoS 0.`)
  }

  private checkOrder(publication: Publication, qos: QoS): void {
    const { kind, number, publisher, topic } = publication
    const key = `${kind} ${publisher} ${topic} ${publication.qos} ${qos}`
    const latest = this.latest.get(key) ?? 0
    if (number > latest) {
      this.latest.set(key, number)
      return
    }
    if (kind === "will" || publication.denied) return
    // Its first routing may have found no connection, no subscription or no room: then a repetition comes where it
    // comes.
    if (qos === 0 && this.connectedMoment > publication.begun) return
    if (Math.min(this.expectedQos(publication), publication.qos) !== qos) return
    const mayReturn = publication.repeated || this.world.crashedAt > publication.begun // a crash takes a drop back
    if (mayReturn && this.ledger.dropsOf(this.profile.clientId, topic) > 0) return
    // A store that was full may have made the broker refuse its first copy, and the publisher did not hear of it.
    if (publication.repeated && this.world.scenario.storeTrouble > 0) return
    this.world.violated(`${this.profile.clientId}: message ${number} of ${topic} came after message ${latest}.`)
  }

  /** Older than what was retained for certain before anybody here subscribed. */
  private checkNotStale(publication: Publication): void {
    const { topic } = publication
    const from = Math.min(...this.possible.filter(({ filter }) => Topic.matches(filter, topic)).map(({ from }) => from))
    const certain = this.ledger.certainlyRetained(topic)
    if (certain === undefined || publication === certain) return
    const since = certain === "none" ? undefined : certain
    if (since === undefined || since.settled > from || publication.settled > since.begun) return
    this.world.violated(`Message ${publication.number} was still retained on ${topic} after message ${since.number}.`)
  }

  private isOwn(publication: Publication): boolean {
    return publication.publisher === this.profile.clientId
  }

  private mayReceive(publication: Publication, retained: boolean): boolean {
    const own = this.isOwn(publication)
    return this.possible.some(
      ({ filter, noLocal, to }) =>
        (retained || (to > publication.begun && !(own && noLocal))) && matches(filter, publication.topic)
    )
  }

  /** At which QoS a message must arrive here, if its own is not lower; -1: it need not. */
  expectedQos(publication: Publication): number {
    const own = this.isOwn(publication)
    const { begun, settled, topic } = publication
    let best = -1
    for (const { filter, from, noLocal, qos, to } of this.standing) {
      if (qos <= best || from > begun || to < settled || (to !== NEVER && settled === NEVER)) continue
      if (!(own && noLocal) && Topic.matches(filter, topic)) best = qos
    }
    return best
  }

  /** Whether its shared subscription has stood for certain since before a message: what others lose comes here. */
  standsFor(sharedFilter: string, { begun }: Publication): boolean {
    if (this.isOver) return false
    return this.standing.some(({ filter, from, to }) => filter === sharedFilter && from < begun && to === NEVER)
  }

  // The end.

  /** What should have been delivered and was not, when everything has come to rest. `linked`: it has a connection. */
  missing(linked: boolean): Array<Publication> {
    const missing = this.ledger.publications.filter((publication) => {
      if (publication.denied || publication.mayExpire || publication.payload.length === 0) return false
      if (this.isTooLarge(publication) || this.receipts.has(publication.number)) return false
      const qos = Math.min(publication.qos, this.expectedQos(publication))
      if (qos < 0 || publication.fate !== "acknowledged") return false
      // Retain As Published: what came with RETAIN may have been either copy.
      if (publication.retain && this.profile.retainAsPublished) return false
      return qos > 0 || (linked && this.connectedMoment < publication.begun)
    })
    for (const { after, filter, publication } of this.retainedDue) {
      if ((this.givenUp.get(filter) ?? 0) > after) continue
      const at = this.retainedReceipts.get(publication.number) ?? 0
      // The hook may have refused it for this subscription alone.
      if (at >= after || publication.denied || this.isTooLarge(publication)) continue
      // A crash ends what is underway, and of a subscription that is made again it begins anew: it comes once.
      if (this.mayWait && (this.world.crashedAt > after || missing.includes(publication))) continue
      if (!this.mayBeReplaced(publication)) missing.push(publication)
    }
    return missing
  }

  /** Where a turn does little, what is retained is sent later; and where its client's queue or socket is soon full. */
  private get mayWait(): boolean {
    const { bufferedBytesMax, outboxBytesMax, queueBytesMax, queueMessagesMax, workPerTurnMax } =
      this.world.scenario.config
    const room = Math.min(bufferedBytesMax, outboxBytesMax, queueBytesMax)
    return workPerTurnMax < 1_000 || queueMessagesMax < 1_000 || room < 1_000_000
  }

  /** Then a newer message of the topic may come before. */
  private mayBeReplaced({ number, topic }: Publication): boolean {
    if (!this.mayWait) return false
    return this.ledger.publications.some((other) => other.retain && other.topic === topic && other.number > number)
  }

  private isTooLarge({ payload }: Publication): boolean {
    const { maximumPacketSize } = this.profile
    return maximumPacketSize !== undefined && payload.length + 60 > maximumPacketSize
  }
}

const isShared = (filter: string): boolean => Topic.parseShared(filter) !== undefined

/** Also of a shared subscription. */
const matches = (filter: string, topic: string): boolean =>
  Topic.matches(Topic.parseShared(filter)?.filter ?? filter, topic)
