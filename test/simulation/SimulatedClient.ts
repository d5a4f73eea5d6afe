/**
 * A client that does what the standard asks of it, and complains about a broker that does not.
 *
 * Owns its connections and subscriptions. Its half of the exchanges is in `OutgoingMessages.ts` and
 * `IncomingMessages.ts`, what it may expect of a session in `SessionLife.ts`. It acts when it is told to: the
 * simulation decides when.
 */
import { DecodedPublish, Decoder } from "../../src/protocol/Decoder.ts"
import * as Encoder from "../../src/protocol/Encoder.ts"
import type { ConnAck, Packet, QoS, SubAck, Subscription } from "../../src/protocol/Packet.ts"
import { words } from "../core/TestClient.ts"
import { IncomingMessages } from "./IncomingMessages.ts"
import type { Ledger, Publication } from "./Ledger.ts"
import type { Link, Peer } from "./Link.ts"
import { OutgoingMessages } from "./OutgoingMessages.ts"
import type { Profile } from "./Scenario.ts"
import { type Request, SessionLife } from "./SessionLife.ts"
import type { World } from "./World.ts"

/** What the CONNECT of the present connection said. */
interface Attempt {
  readonly clean: boolean
  readonly durable: boolean
  readonly expirySeconds: number
  readonly will: Publication | undefined
}

/** How often it may be refused when the faults are over. */
const REFUSALS_MAX = 20

export class SimulatedClient implements Peer {
  readonly profile: Profile
  link: Link | undefined = undefined
  /** CONNACK arrived. */
  ready = false
  life: SessionLife | undefined = undefined
  /** What it did last was to say goodbye. */
  private leaving = false
  private startsClean = false
  /** The broker has no session of it, as far as it was told and has asked. */
  private hasNothing = true
  private expectsNothing = false
  /** It asked for a session that the broker may have forgotten: without a CONNACK it will not know what it has. */
  private gambles = false
  private attempt: Attempt | undefined = undefined
  private readonly outgoing: OutgoingMessages
  private readonly incoming: IncomingMessages
  /** SUBSCRIBE and UNSUBSCRIBE packets without an answer, by packet id. */
  private readonly requests = new Map<number, ReadonlyArray<Request> | string>()
  private decoder: Decoder
  private writtenAt = 0
  private refusals = 0
  private readonly world: World
  private readonly ledger: Ledger

  constructor(world: World, ledger: Ledger, profile: Profile) {
    this.world = world
    this.ledger = ledger
    this.profile = profile
    this.outgoing = new OutgoingMessages(world, ledger, profile, this.write)
    this.incoming = new IncomingMessages(world, ledger, profile)
    this.decoder = this.makeDecoder()
  }

  get clientId(): string {
    return this.profile.clientId
  }

  /** Nothing of its own is unfinished. */
  get idle(): boolean {
    return this.outgoing.isEmpty && this.requests.size === 0 && this.incoming.unanswered === 0
  }

  /** What keeps it busy, for whoever wonders. */
  get state(): string {
    const { clientId, incoming, outgoing, ready, requests } = this
    const link = this.link === undefined ? "no link" : `link ${this.link.number}${ready ? "" : " without CONNACK"}`
    const unfinished = `${requests.size} requests, ${incoming.unanswered} answers`
    return `${clientId}: ${link}, underway [${outgoing.words}], ${unfinished}`
  }

  /** It would lose something if it stayed away. */
  get mustReturn(): boolean {
    const { life, startsClean } = this
    return life?.durable === true && life.begun && !life.over && !startsClean
  }

  // What the simulation asks for.

  /** On a new link, in place of the one it may have had. */
  connect(open: (peer: Peer) => Link): void {
    const { profile, world } = this
    if (this.link !== undefined) {
      if (this.isAskedAbout) return
      // A CONNECT still on its way would take over from the one that follows.
      if (!this.ready) this.link.toBroker.clear()
      this.leave(this.link)
    }
    this.link = open(this)
    this.decoder = this.makeDecoder()
    const fleeting = profile.version === 5 && profile.durable && !world.calm && world.random.chance(0.05)
    const durable = profile.durable && !fleeting
    const clean = profile.version === 5 ? this.startsClean || !profile.durable : this.startsClean || !durable
    // Before 5.0 a clean session ends with its connection.
    const keeps = durable && (profile.version === 5 || !clean)
    const expirySeconds = keeps ? this.expirySeconds : 0
    this.gambles = !clean && this.life?.mustStand === false && this.life.begun
    this.expectsNothing = this.hasNothing
    if (keeps) this.hasNothing = false
    if (clean) this.forget(keeps)
    else if (this.life !== undefined && expirySeconds !== this.life.expirySeconds) this.life.certain = false
    this.attempt = { clean, durable: keeps, expirySeconds, will: this.makeWill() }
    this.sendConnect(this.attempt)
  }

  private get expirySeconds(): number {
    const { expirySeconds, version } = this.profile
    return Math.min(version === 5 ? expirySeconds : 0xffff_ffff, this.world.scenario.config.sessionExpirySecondsMax)
  }

  /** A hook may be asked about it: then the session is whose CONNECT is accepted last, not whose came last. */
  private get isAskedAbout(): boolean {
    return !this.ready && this.world.scenario.hooks
  }

  /** From the next connection on it wants to know nothing of what was. */
  startClean(): void {
    this.startsClean = true
  }

  get mayAct(): boolean {
    return (
      this.link !== undefined && !this.leaving && (this.ready || (this.profile.eager && this.attempt?.clean === true))
    )
  }

  publish(topic: string, qos: QoS): void {
    if (this.link !== undefined && this.mayAct) this.outgoing.publish(topic, qos, this.link, this.freePacketId)
  }

  subscribe(filters: ReadonlyArray<string>, qos: QoS): void {
    const { life } = this
    if (life === undefined || !this.mayAct) return
    const asked = [...this.requests.values()].flatMap((request) =>
      typeof request === "string" ? [request] : request.map(({ filter }) => filter)
    )
    const fresh = [...new Set(filters)].filter((filter) => !asked.includes(filter))
    if (fresh.length === 0) return
    const { identifiers, noLocal, retainAsPublished, version } = this.profile
    const five = version === 5
    const retainHandling = five ? this.world.random.pick([0, 0, 0, 1, 2] as const) : 0
    const packetId = this.freePacketId()
    this.requests.set(
      packetId,
      fresh.map((filter) => life.subscribing(filter, qos, retainHandling === 0))
    )
    // No Local on a shared subscription is an error [MQTT-3.8.3-4].
    const options = { qos, noLocal, retainAsPublished, retainHandling }
    const subscriptions = fresh.map((filter) => ({ filter, ...options }))
    const properties = identifiers ? { subscriptionIdentifiers: [identifierOf(fresh[0]!)] } : undefined
    this.write({ _tag: "Subscribe", packetId, subscriptions, properties })
  }

  unsubscribe(filter: string): void {
    const { life } = this
    if (life === undefined || !this.mayAct) return
    for (const request of this.requests.values()) {
      if (typeof request === "string" ? request === filter : request.some((one) => one.filter === filter)) return
    }
    life.unsubscribing(filter)
    const packetId = this.freePacketId()
    this.requests.set(packetId, filter)
    this.write({ _tag: "Unsubscribe", packetId, filters: [filter], properties: undefined })
  }

  /** Sends the answers that it has kept back, in their order. */
  answer(): void {
    if (this.link !== undefined) this.incoming.answer(this.life, this.write)
  }

  /** Time has passed: keep alive. */
  tick(): void {
    const { keepAliveSeconds } = this.profile
    if (!this.ready || this.leaving || keepAliveSeconds === 0) return
    if (this.world.now - this.writtenAt >= keepAliveSeconds * 900) this.write({ _tag: "PingReq" })
  }

  ping(): void {
    if (this.ready && !this.leaving) this.write({ _tag: "PingReq" })
  }

  /** Says goodbye, and hears nothing more. */
  disconnect(): void {
    const { attempt, link, world } = this
    if (link === undefined || !this.ready) return
    const changes = this.profile.version === 5 && attempt?.durable === true && !world.calm && world.random.chance(0.15)
    const sessionExpiryInterval = changes ? world.random.pick([0, 3, 100_000]) : undefined
    if (sessionExpiryInterval !== undefined) this.life?.doubt()
    const reasonCode = this.profile.version === 5 && world.random.chance(0.2) ? 4 : 0
    this.write({ _tag: "Disconnect", reasonCode, properties: changes ? { sessionExpiryInterval } : undefined })
    this.leaving = true
    link.finished = true
    if (reasonCode === 0) link.will = attempt?.will
  }

  /** The network fails, in one of three ways. `tell` tells the broker at once. */
  cut(tell: (link: Link) => void): void {
    const { link, world } = this
    if (link === undefined) return
    const way = this.ready ? world.random.below(3) : this.isAskedAbout ? 0 : world.random.below(2)
    world.trace(() => `${link.name} is cut, ${["told at once", "silently", "behind what was sent"][way]}`)
    this.leave(link)
    if (way === 2) link.finished = true
    else {
      link.toBroker.clear()
      if (way === 0) tell(link)
      else {
        link.silent = true
        link.window = world.random.below(500)
      }
    }
  }

  // What the network brings.

  received(link: Link, bytes: Uint8Array): void {
    // Behind its DISCONNECT a client sends nothing, and reads nothing either.
    if (link !== this.link || this.leaving) return
    const { decoder, world } = this
    decoder.push(bytes)
    for (let packet = decoder.next(); packet !== undefined && link === this.link; packet = decoder.next()) {
      const plain: Packet = packet instanceof DecodedPublish ? packet.toPublish() : packet
      world.trace(() => `${link.name} <- ${this.words(plain)}`)
      if (packet instanceof DecodedPublish) this.checkSize(packet.frameEnd - packet.frameStart)
      this.handle(plain)
    }
    if (decoder.error !== undefined) world.violated(`${link.name} got what is no MQTT: ${decoder.error.message}`)
    if (!world.random.chance(this.profile.laziness)) this.answer()
  }

  ended(link: Link): void {
    if (link !== this.link) return
    this.world.trace(() => `${link.name} is over`)
    this.leave(link)
  }

  // The parts.

  /** Its end of the link is over. What it must remember is in `life` and `outgoing`. */
  private leave(link: Link): void {
    const { attempt, life } = this
    link.abandoned = true
    link.toClient.clear()
    this.link = undefined
    if (attempt?.will !== undefined && attempt.will.fate === "underway") {
      // Owed when nobody took it back and a broker that crashes remembers it, which it does not while a hook is asked.
      const owed = this.ready && !this.leaving && attempt.durable && !this.world.scenario.hooks
      attempt.will.fate = owed ? "acknowledged" : "abandoned"
    }
    if (life !== undefined && this.ready) {
      life.endedAt = Math.min(link.endedAt, this.world.now)
      life.connectedMoment = Number.POSITIVE_INFINITY
    }
    if (life !== undefined && attempt !== undefined && !attempt.durable && (this.ready || attempt.clean)) {
      this.forget(this.profile.durable) // it ended with its connection
    }
    if (!this.ready && this.gambles) this.startsClean = true
    this.ready = false
    this.leaving = false
    this.requests.clear()
    this.outgoing.connecting()
    this.incoming.connecting()
  }

  /** The session, and everything in it, is not its own any more. */
  private forget(durable: boolean): void {
    this.life?.end()
    this.outgoing.abandon()
    this.life = new SessionLife(this.world, this.ledger, this.profile, durable)
  }

  private sendConnect({ clean, durable, expirySeconds, will }: Attempt): void {
    const { clientId, keepAliveSeconds, maximumPacketSize, receiveMaximum, topicAliasMaximum, version } = this.profile
    const sessionExpiryInterval = durable ? this.profile.expirySeconds : undefined
    this.world.trace(
      () => `${this.link?.name} connects${clean ? " clean" : ""} for ${expirySeconds} s${this.willWords}`
    )
    this.write({
      _tag: "Connect",
      protocolVersion: version,
      clientId,
      cleanStart: clean,
      keepAliveSeconds,
      will: will === undefined ? undefined : { topic: will.topic, payload: will.payload, qos: will.qos, retain: false },
      properties:
        version === 5 ? { sessionExpiryInterval, receiveMaximum, maximumPacketSize, topicAliasMaximum } : undefined
    })
  }

  private get willWords(): string {
    const will = this.attempt?.will
    return will === undefined ? "" : `, will ${will.number} q${will.qos} on ${will.topic}`
  }

  private makeWill(): Publication | undefined {
    const { profile, world } = this
    if (!profile.will || profile.topics.length === 0 || profile.maximumPacketSize !== undefined) return undefined
    const topic = world.random.pick(profile.topics)
    if (!topic.startsWith("t/")) return undefined
    const qos = world.random.pick([0, 1, 2] as const)
    return this.ledger.begin({ publisher: this.clientId, kind: "will", topic, qos, mayExpire: false })
  }

  private handle(packet: Packet): void {
    const { world } = this
    if (!this.ready) {
      if (packet._tag !== "ConnAck") world.violated(`${this.clientId} got ${packet._tag} before CONNACK.`)
      else this.connAck(packet)
      return
    }
    switch (packet._tag) {
      case "Publish":
        if (this.life !== undefined) this.incoming.publish(packet, this.life)
        return
      case "PubAck":
        this.outgoing.pubAck(packet)
        return
      case "PubRec":
        this.outgoing.pubRec(packet)
        return
      case "PubRel":
        if (this.life !== undefined) this.incoming.pubRel(packet.packetId, this.life)
        return
      case "PubComp":
        this.outgoing.pubComp(packet)
        return
      case "SubAck":
        this.subAck(packet)
        return
      case "UnsubAck": {
        const filter = this.requests.get(packet.packetId)
        if (typeof filter === "string") this.life?.unsubscribed(filter)
        else world.violated(`${this.clientId} got an UNSUBACK for nothing.`)
        this.requests.delete(packet.packetId)
        return
      }
      case "Disconnect":
        if (this.link !== undefined) this.leave(this.link)
        return
      case "PingResp":
        return
      default:
        world.violated(`${this.clientId} got ${packet._tag}.`)
    }
  }

  private connAck(packet: ConnAck): void {
    const { attempt, link, profile, world } = this
    if (attempt === undefined || link === undefined) return
    if (packet.reasonCode !== 0) {
      if (world.calm) this.refusedWhenCalm(packet.reasonCode)
      this.leave(link)
      return
    }
    const former = this.life
    // 3.1 is not told; it has not lost a session in this simulation.
    const present = profile.version === 3 ? !attempt.clean : packet.sessionPresent
    if (attempt.clean) world.check(!present, () => `${this.clientId} asked for a clean start and got a session.`)
    else if (!present && former?.mustStand === true) world.violated(`The session of ${this.clientId} was lost.`)
    else if (this.expectsNothing && profile.version !== 3) {
      world.check(!present, () => `${this.clientId} got a session that was ended before.`)
    }
    if (attempt.clean && !attempt.durable) this.hasNothing = true
    if (!present && !attempt.clean) this.forget(attempt.durable)
    this.life ??= new SessionLife(world, this.ledger, profile, attempt.durable)
    const { life } = this
    life.begun = true
    life.durable = attempt.durable
    life.expirySeconds = attempt.expirySeconds
    life.endedAt = Number.POSITIVE_INFINITY
    life.connectedMoment = world.moment()
    this.ready = true
    this.startsClean = false
    const { maximumPacketSize, receiveMaximum, sessionExpiryInterval, topicAliasMaximum } = packet.properties ?? {}
    if (sessionExpiryInterval !== undefined) {
      world.check(sessionExpiryInterval === attempt.expirySeconds, () => `Session expiry ${sessionExpiryInterval} s.`)
    }
    world.check((maximumPacketSize ?? 1_000_000) > 100_000, () => "The broker takes no packets.")
    this.outgoing.admitted(receiveMaximum, topicAliasMaximum)
    if (present && this.gambles) life.doubt()
    life.certain = attempt.durable
    if (present) this.outgoing.resend()
  }

  /** The store may be full still; but not for ever, and without a session there may be no room for one. */
  private refusedWhenCalm(reasonCode: number): void {
    if (++this.refusals < REFUSALS_MAX || this.life === undefined) return
    const { mustStand } = this.life
    this.world.check(!mustStand, () => `${this.clientId} has a session and was refused with ${reasonCode}.`)
    this.life.end()
  }

  private subAck({ packetId, reasonCodes }: SubAck): void {
    const requests = this.requests.get(packetId)
    if (requests === undefined || typeof requests === "string") {
      this.world.violated(`${this.clientId} got a SUBACK for nothing.`)
      return
    }
    this.requests.delete(packetId)
    this.world.check(requests.length === reasonCodes.length, () => "A SUBACK has a code for each filter.")
    for (const [index, request] of requests.entries()) this.life?.subscribed(request, reasonCodes[index]!)
  }

  private readonly write = (packet: Packet): void => {
    const { link, world } = this
    if (link === undefined) return
    world.trace(() => `${link.name} -> ${this.words(packet)}`)
    link.toBroker.push(Encoder.encode(packet, this.profile.version))
    this.writtenAt = world.now
  }

  /** A packet for the trace; a message is its number. */
  private words(packet: Packet): string {
    if (packet._tag === "Subscribe") return `Subscribe ${packet.packetId} ${packet.subscriptions.map(asked).join(", ")}`
    if (packet._tag !== "Publish") return words(packet)
    const { dup, packetId, payload, qos, retain, topic } = packet
    const number = this.ledger.read(payload)?.number ?? "nothing"
    const id = packetId === undefined ? "" : ` #${packetId}`
    return `Publish ${topic} ${number} q${qos}${id}${dup ? " dup" : ""}${retain ? " retain" : ""}`
  }

  private checkSize(bytes: number): void {
    const { maximumPacketSize } = this.profile
    if (maximumPacketSize === undefined) return
    this.world.check(bytes <= maximumPacketSize, () => `${this.clientId} got ${bytes} bytes [MQTT-3.1.2-24].`)
  }

  /** The lowest: ids are used again soon, so that a broker that mixes up exchanges is found out. */
  private readonly freePacketId = (): number => {
    let id = 1
    while (this.requests.has(id) || this.outgoing.uses(id)) id++
    return id
  }

  private makeDecoder(): Decoder {
    const { version } = this.profile
    return new Decoder({ sender: "server", version, packetBytesMax: 1 << 20, topicLevelsMax: 20, userPropertiesMax: 9 })
  }
}

const asked = ({ filter, qos }: Subscription): string => `${filter} q${qos}`

/** Any number that belongs to a filter. */
const identifierOf = (filter: string): number => filter.length * 100 + filter.charCodeAt(filter.length - 1)
