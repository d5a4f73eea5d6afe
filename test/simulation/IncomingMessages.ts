/**
 * Messages on their way from the broker to a client: its half of these exchanges, what it answers, and what is wrong
 * with what it got.
 *
 * Owns what holds for one connection; what it must remember beyond is in `SessionLife.ts`. Sending is the client's.
 */
import type { Packet, Publish } from "../../src/protocol/Packet.ts"
import type { Ledger, Publication } from "./Ledger.ts"
import { expirySecondsOf } from "./OutgoingMessages.ts"
import type { Profile } from "./Scenario.ts"
import type { SessionLife } from "./SessionLife.ts"
import type { World } from "./World.ts"

const NOT_FOUND = 0x92

export class IncomingMessages {
  /** Packet ids of PUBLISH packets of this connection that were not answered to the end. */
  private readonly open = new Set<number>()
  /** Answers that were not sent yet, in their order. */
  private readonly answers: Array<Packet> = []
  private readonly aliases = new Map<number, string>()
  /** QoS 2 messages that were handed on in sessions that outlive a connection, whichever. */
  private readonly handedOn = new Set<number>()
  private readonly world: World
  private readonly ledger: Ledger
  private readonly profile: Profile

  constructor(world: World, ledger: Ledger, profile: Profile) {
    this.world = world
    this.ledger = ledger
    this.profile = profile
  }

  get unanswered(): number {
    return this.answers.length
  }

  /** A new connection: nothing of the former one holds. */
  connecting(): void {
    this.open.clear()
    this.answers.length = 0
    this.aliases.clear()
  }

  /** Sends what it has kept back. */
  answer(life: SessionLife | undefined, write: (packet: Packet) => void): void {
    for (const packet of this.answers.splice(0)) {
      if (packet._tag === "PubRec") life?.recorded.add(packet.packetId)
      if (packet._tag === "PubAck" || packet._tag === "PubComp") this.open.delete(packet.packetId)
      write(packet)
    }
  }

  publish(packet: Publish, life: SessionLife): void {
    const { world } = this
    const topic = this.resolve(packet)
    const publication = this.ledger.read(packet.payload)
    if (publication !== undefined) {
      world.check(topic === publication.topic, () => `Message ${publication.number} came on ${topic}.`)
      this.checkProperties(packet, publication)
    }
    const { dup, packetId, qos } = packet
    if (packetId === undefined) {
      world.check(!dup, () => "DUP at QoS 0 [MQTT-3.3.1-2].")
      this.handOver(packet, publication, life, true)
      return
    }
    this.checkWindow(packetId)
    if (qos === 1) {
      this.handOver(packet, publication, life, true)
      this.answers.push({ _tag: "PubAck", packetId, reasonCode: 0, properties: undefined })
      return
    }
    const known = life.unreleased.get(packetId)
    const number = publication?.number ?? 0
    if (known !== undefined) {
      world.check(known === number, () => `#${packetId} is message ${number} and was message ${known}.`)
      world.check(dup, () => `Message ${number} came again without DUP.`)
    }
    life.unreleased.set(packetId, number)
    this.handOver(packet, publication, life, known === undefined)
    this.answers.push({ _tag: "PubRec", packetId, reasonCode: 0, properties: undefined })
  }

  pubRel(packetId: number, life: SessionLife): void {
    const { clientId, version } = this.profile
    const recorded = life.recorded.has(packetId)
    this.world.check(recorded, () => `${clientId} got a PUBREL for #${packetId} before its PUBREC.`)
    const known = life.unreleased.delete(packetId)
    const reasonCode = known || version !== 5 ? 0 : NOT_FOUND
    this.answers.push({ _tag: "PubComp", packetId, reasonCode, properties: undefined })
  }

  /** `isNew` is false for a repetition at QoS 2, which the application does not get. */
  private handOver(packet: Publish, publication: Publication | undefined, life: SessionLife, isNew: boolean): void {
    if (publication === undefined) return
    const { dup, qos, retain } = packet
    life.delivered({ publication, qos, dup, retain }, isNew)
    // Exactly once also across sessions, when they outlive a crash.
    if (!isNew || retain || qos < 2 || !life.durable) return
    const { number } = publication
    this.world.check(!this.handedOn.has(number), () => `${this.clientId} got message ${number} in two sessions.`)
    this.handedOn.add(number)
  }

  private get clientId(): string {
    return this.profile.clientId
  }

  private checkWindow(packetId: number): void {
    const { open, world } = this
    world.check(!open.has(packetId), () => `${this.clientId} got #${packetId}, which it has not answered yet.`)
    open.add(packetId)
    const most = Math.min(this.profile.receiveMaximum ?? 65_535, world.scenario.config.inflightMax)
    world.check(open.size <= most, () => `${this.clientId} got more than ${most} messages at once.`)
  }

  private resolve({ properties, topic }: Publish): string {
    const alias = properties?.topicAlias
    if (alias === undefined) return topic
    const most = this.profile.topicAliasMaximum ?? 0
    this.world.check(alias > 0 && alias <= most, () => `${this.clientId} got topic alias ${alias}.`)
    if (topic !== "") this.aliases.set(alias, topic)
    return this.aliases.get(alias) ?? this.world.violated(`Topic alias ${alias} was not set.`)
  }

  private checkProperties({ properties }: Publish, publication: Publication): void {
    const { world } = this
    for (const identifier of properties?.subscriptionIdentifiers ?? []) {
      world.check(this.profile.identifiers && identifier > 0, () => `Subscription identifier ${identifier}.`)
    }
    const { contentType, messageExpiryInterval } = properties ?? {}
    if (contentType !== undefined) {
      world.check(contentType === String(publication.number), () => `Content type ${contentType} of another message.`)
    }
    if (messageExpiryInterval !== undefined) {
      const right = messageExpiryInterval <= (expirySecondsOf(publication) ?? 0)
      world.check(right, () => `Message ${publication.number} expires in ${messageExpiryInterval} s.`)
    }
  }
}
