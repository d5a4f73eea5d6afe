/**
 * What a shared subscription owes its members together: every message to one of them, and a QoS 2 message to no two.
 *
 * In this simulation a member has no other subscription than its shared one, and at QoS 1 or 2.
 */
import * as Topic from "../../src/protocol/Topic.ts"
import type { Ledger, Publication } from "./Ledger.ts"
import type { SessionLife } from "./SessionLife.ts"
import type { World } from "./World.ts"

/** What the members of one shared subscription got of one message. */
interface Share {
  copies: number
  fresh: number
  exact: number
  /** QoS 2, by sessions that outlive their connection, and so a crash. */
  durable: number
}

interface Group {
  readonly shares: Map<number, Share>
  /** When a session of a member last ended: what it had is given to others, or lost. */
  lastEnd: number
}

/** A member at the end of a run. */
export interface Member {
  readonly clientId: string
  readonly filters: ReadonlyArray<string>
  readonly life: SessionLife | undefined
  /** It is connected. */
  readonly ready: boolean
  readonly maximumPacketSize: number | undefined
}

export class SharedGroups {
  private readonly world: World
  private readonly groups = new Map<string, Group>()

  constructor(world: World) {
    this.world = world
  }

  /** A member got a copy. */
  received(
    filter: string,
    publication: Publication,
    copy: { readonly fresh: boolean; readonly exact: boolean; readonly durable: boolean }
  ): void {
    const { lastEnd, shares } = this.groupOf(filter)
    const { number, repeated } = publication
    const share = shares.get(number) ?? { copies: 0, fresh: 0, exact: 0, durable: 0 }
    shares.set(number, share)
    share.copies++
    if (copy.fresh) share.fresh++
    if (copy.exact) share.exact++
    if (copy.exact && copy.durable) share.durable++
    const crashed = this.world.crashedAt > publication.begun
    const what = () => `${filter}: message ${number} of ${publication.topic} came to two members`
    if (publication.qos === 2) {
      this.world.check(share.durable <= 1 && (crashed || share.exact <= 1), () => `${what()} at QoS 2.`)
    }
    const once = !crashed && !repeated && lastEnd < publication.begun
    this.world.check(!once || share.fresh <= 1, () => `${what()} without DUP.`)
  }

  /** A session with this shared subscription is over. */
  ended(filter: string): void {
    this.groupOf(filter).lastEnd = this.world.moment()
  }

  /** Everything has come to rest: what no member got and one of them should have. */
  judge(ledger: Ledger, members: ReadonlyArray<Member>, hasSession: (clientId: string) => boolean): void {
    for (const [filter, group] of this.groups) {
      const own = members.filter(({ filters }) => filters.includes(filter))
      // One that stays away may have what the others miss.
      if (own.some(({ clientId, ready }) => !ready && hasSession(clientId))) continue
      const missing = ledger.publications.filter((publication) => this.isMissing(publication, filter, group, own))
      for (const { number, topic } of missing) {
        const drops = own.reduce((sum, { clientId }) => sum + ledger.dropsOf(clientId, topic), 0)
        const all = drops + ledger.dropsOf("", topic)
        this.world.check(all > 0, () => `${filter}: no member got message ${number} of ${topic}.`)
      }
    }
  }

  private isMissing(
    publication: Publication,
    filter: string,
    { lastEnd, shares }: Group,
    members: ReadonlyArray<Member>
  ): boolean {
    const { begun, denied, fate, mayExpire, number, payload, qos, topic } = publication
    if (fate !== "acknowledged" || denied || mayExpire || qos === 0 || payload.length === 0) return false
    if (shares.has(number) || !Topic.matches(Topic.parseShared(filter)?.filter ?? filter, topic)) return false
    // A QoS 2 message on its way to a session that ends is lost with it [MQTT-4.8.2-5], and a crash is such an end.
    if (lastEnd > begun && (qos === 2 || this.world.crashedAt > begun)) return false
    if (members.some(({ maximumPacketSize }) => maximumPacketSize !== undefined)) return false
    return members.some(({ life, ready }) => ready && life?.standsFor(filter, publication) === true)
  }

  private groupOf(filter: string): Group {
    let group = this.groups.get(filter)
    if (group === undefined) {
      group = { shares: new Map(), lastEnd: 0 }
      this.groups.set(filter, group)
    }
    return group
  }
}
