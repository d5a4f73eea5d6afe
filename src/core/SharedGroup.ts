/**
 * One shared subscription: the sessions that divide its messages among them [MQTT-4.8.2-3].
 *
 * Owns whose turn it is. Round robin over the members that can take a message now; while nobody can, one member's
 * queue takes them all, so that they stay in order and under one limit.
 */
import type { Session, Subscription } from "./Session.ts"

export interface Member {
  readonly session: Session
  readonly subscription: Subscription
}

export class SharedGroup {
  readonly name: string
  /** Without `$share/name/`. */
  readonly filter: string
  /** Younger groups have higher ones. */
  readonly number: number
  private readonly members = new Map<Session, Member>()
  /** The members in the order they joined, made again after a change: joins alone cost no copies. */
  private order: ReadonlyArray<Member> | undefined = undefined
  /** Those of them that are connected: thousands that are away cost a message nothing. */
  private connected: ReadonlyArray<Member> | undefined = undefined
  private turn = 0

  constructor(name: string, filter: string, number: number) {
    this.name = name
    this.filter = filter
    this.number = number
  }

  get size(): number {
    return this.members.size
  }

  /** Joins, or replaces the session's subscription. */
  set(session: Session, subscription: Subscription): void {
    this.members.set(session, { session, subscription })
    this.order = undefined
    this.connected = undefined
  }

  delete(session: Session): void {
    this.members.delete(session)
    this.order = undefined
    this.connected = undefined
  }

  /** A member's client has come or gone. */
  connectionChanged(): void {
    this.connected = undefined
  }

  /** The next in turn that is connected and `isReady`; undefined: nobody is. */
  pick(isReady: (session: Session) => boolean): Member | undefined {
    const members = this.whoIsConnected()
    const count = members.length
    for (let step = 0; step < count; step++) {
      const at = (this.turn + step) % count
      const member = members[at]!
      if (isReady(member.session)) {
        this.turn = at + 1
        return member
      }
    }
    return undefined
  }

  /** Who gets a message while nobody is ready: the first connected one that `keeps` it, else the first that does. */
  keeper(keeps: (member: Member) => boolean): Member | undefined {
    return this.whoIsConnected().find(keeps) ?? this.inOrder().find(keeps)
  }

  /** The first connected member, whatever it can do with a message; undefined: all are away. */
  get firstConnected(): Member | undefined {
    return this.whoIsConnected()[0]
  }

  private inOrder(): ReadonlyArray<Member> {
    this.order ??= Array.from(this.members.values())
    return this.order
  }

  private whoIsConnected(): ReadonlyArray<Member> {
    this.connected ??= this.inOrder().filter(({ session }) => session.connected)
    return this.connected
  }
}
