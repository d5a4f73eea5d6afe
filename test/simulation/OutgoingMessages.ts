/**
 * A client's own messages on their way to the broker: its half of the QoS 1 and 2 exchanges, and its topic aliases.
 *
 * Owns what it must remember beyond a connection, and the order in which acknowledgements may come. Sending is the
 * client's.
 */
import type { Packet, PubAck, PubComp, PubRec, Publish, QoS } from "../../src/protocol/Packet.ts"
import type { Ledger, Publication } from "./Ledger.ts"
import type { Link } from "./Link.ts"
import * as Scenario from "./Scenario.ts"
import type { World } from "./World.ts"

/** One QoS 1 or 2 message. */
interface Underway {
  readonly publication: Publication
  readonly packetId: number
  /** QoS 2: PUBREC came. */
  released: boolean
  /** How often PUBREL was sent. */
  releases: number
}

const DEFAULT_RECEIVE_MAXIMUM = 65_535

export class OutgoingMessages {
  private underway: Array<Underway> = []
  /** What was sent on this connection and not acknowledged, oldest first: acknowledgements keep this order. */
  private readonly awaited = {
    Publish1: [] as Array<number>,
    Publish2: [] as Array<number>,
    PubRel: [] as Array<number>
  }
  private readonly aliases = new Map<string, number>()
  private aliasesMax = 0
  private receiveMaximum = DEFAULT_RECEIVE_MAXIMUM
  private readonly world: World
  private readonly ledger: Ledger
  private readonly profile: Scenario.Profile
  private readonly write: (packet: Packet) => void

  constructor(world: World, ledger: Ledger, profile: Scenario.Profile, write: (packet: Packet) => void) {
    this.world = world
    this.ledger = ledger
    this.profile = profile
    this.write = write
  }

  get isEmpty(): boolean {
    return this.underway.length === 0
  }

  /** What is underway, for whoever wonders. */
  get words(): string {
    return this.underway.map(({ packetId, publication }) => `#${packetId}=${publication.number}`).join(" ")
  }

  uses(packetId: number): boolean {
    return this.underway.some((one) => one.packetId === packetId)
  }

  /** A new connection: nothing of the former one holds. */
  connecting(): void {
    this.receiveMaximum = DEFAULT_RECEIVE_MAXIMUM
    this.aliasesMax = 0
    this.aliases.clear()
    for (const packetIds of Object.values(this.awaited)) packetIds.length = 0
  }

  /** CONNACK came. */
  admitted(receiveMaximum: number | undefined, topicAliasMaximum: number | undefined): void {
    this.receiveMaximum = receiveMaximum ?? DEFAULT_RECEIVE_MAXIMUM
    this.aliasesMax = topicAliasMaximum ?? 0
  }

  /** The session is gone: nobody will ever know. */
  abandon(): void {
    for (const { publication } of this.underway) this.ledger.settle(publication, "abandoned")
    this.underway = []
  }

  /** A new message, unless as many are underway as may be. */
  publish(topic: string, qos: QoS, link: Link, freePacketId: () => number): void {
    const { profile, world } = this
    const window = Math.min(profile.window, this.receiveMaximum)
    if (qos > 0 && this.underway.length >= window) return
    const mayExpire = profile.version === 5 && world.random.chance(0.05)
    const empty = Scenario.isRetainedTopic(topic) && world.random.chance(0.15)
    const draft = { publisher: profile.clientId, kind: "message", topic, qos, mayExpire, empty } as const
    const publication = this.ledger.begin(draft)
    if (qos === 0) {
      publication.link = link
      this.write(this.packetOf(publication, undefined, false))
      return
    }
    const packetId = freePacketId()
    this.underway.push({ publication, packetId, released: false, releases: 0 })
    this.send(publication, packetId, false)
  }

  /** What is unfinished is sent again, in its order, with its packet ids [MQTT-4.4.0-1]. */
  resend(): void {
    for (const one of this.underway) {
      if (one.released) this.release(one)
      else {
        one.publication.repeated = true
        this.send(one.publication, one.packetId, true)
      }
    }
  }

  pubAck({ packetId, reasonCode }: PubAck): void {
    this.checkTurn("Publish1", packetId)
    this.finish(this.find(packetId, "a PUBACK"), 1, reasonCode)
  }

  pubRec({ packetId, reasonCode }: PubRec): void {
    this.checkTurn("Publish2", packetId)
    const one = this.find(packetId, "a PUBREC")
    this.world.check(one.publication.qos === 2 && !one.released, () => `${this.clientId} got a PUBREC out of place.`)
    if (reasonCode >= 0x80) {
      this.finish(one, 2, reasonCode)
      return
    }
    one.released = true
    this.release(one)
  }

  pubComp({ packetId, reasonCode }: PubComp): void {
    this.checkTurn("PubRel", packetId)
    const one = this.find(packetId, "a PUBCOMP")
    this.world.check(one.released, () => `${this.clientId} got a PUBCOMP before its PUBREL.`)
    // "Not found" is the answer only to a PUBREL that was sent before.
    this.world.check(reasonCode === 0 || one.releases > 1, () => `${this.clientId}: the broker forgot #${packetId}.`)
    this.finish(one, 2, 0)
  }

  private get clientId(): string {
    return this.profile.clientId
  }

  private send(publication: Publication, packetId: number, dup: boolean): void {
    this.awaited[publication.qos === 1 ? "Publish1" : "Publish2"].push(packetId)
    this.write(this.packetOf(publication, packetId, dup))
  }

  private release(one: Underway): void {
    const { packetId } = one
    one.releases++
    this.awaited.PubRel.push(packetId)
    this.write({ _tag: "PubRel", packetId, reasonCode: 0, properties: undefined })
  }

  private find(packetId: number, what: string): Underway {
    const found = this.underway.find((one) => one.packetId === packetId)
    return found ?? this.world.violated(`${this.clientId} got ${what} for #${packetId}, which is not underway.`)
  }

  /** [MQTT-4.6.0-2] [MQTT-4.6.0-3] [MQTT-4.6.0-4] */
  private checkTurn(what: keyof typeof this.awaited, packetId: number): void {
    const next = this.awaited[what].shift()
    const words = () => `${this.clientId} got the answer to #${packetId} before that to #${next}.`
    this.world.check(next === packetId, words)
  }

  private finish(one: Underway, qos: 1 | 2, reasonCode: number): void {
    const { packetId, publication } = one
    this.world.check(publication.qos === qos, () => `${this.clientId} got the wrong answer to #${packetId}.`)
    this.underway.splice(this.underway.indexOf(one), 1)
    this.ledger.settle(publication, reasonCode >= 0x80 ? "refused" : "acknowledged")
  }

  private packetOf(publication: Publication, packetId: number | undefined, dup: boolean): Publish {
    const { number, payload, qos, retain, topic } = publication
    const alias = this.profile.aliases ? this.aliasFor(topic) : undefined
    const properties =
      this.profile.version === 5
        ? {
            messageExpiryInterval: expirySecondsOf(publication),
            contentType: String(number),
            topicAlias: alias?.number
          }
        : undefined
    const shown = alias?.known === true ? "" : topic
    return { _tag: "Publish", topic: shown, payload, qos, retain, dup, packetId, properties }
  }

  private aliasFor(topic: string): { readonly number: number; readonly known: boolean } | undefined {
    const number = this.aliases.get(topic)
    if (number !== undefined) return { number, known: true }
    if (this.aliasesMax === 0) return undefined
    if (this.aliases.size < this.aliasesMax) {
      this.aliases.set(topic, this.aliases.size + 1)
      return { number: this.aliases.size, known: false }
    }
    // It gets the alias of another topic.
    for (const [former, alias] of this.aliases) {
      this.aliases.delete(former)
      this.aliases.set(topic, alias)
      return { number: alias, known: false }
    }
    return undefined
  }
}

/** The Message Expiry Interval that a message is published with; undefined: it does not expire. */
export const expirySecondsOf = ({ mayExpire, number }: Publication): number | undefined =>
  mayExpire ? 2 + (number % 20) : undefined
