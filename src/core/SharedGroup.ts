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
  private members: Array<Member> = []
  private turn = 0

  constructor(name: string, filter: string) {
    this.name = name
    this.filter = filter
  }

  get size(): number {
    return this.members.length
  }

  /** Joins, or replaces the session's subscription. */
  set(session: Session, subscription: Subscription): void {
    const at = this.members.findIndex((member) => member.session === session)
    const members = [...this.members]
    if (at < 0) members.push({ session, subscription })
    else members[at] = { session, subscription }
    this.members = members
  }

  delete(session: Session): void {
    this.members = this.members.filter((member) => member.session !== session)
  }

  /**
   * Who gets the next message: the next in turn that `isReady`, else the first connected one, else the first that
   * outlives its connection; undefined: nobody can have it.
   */
  pick(isReady: (session: Session) => boolean): Member | undefined {
    const { members } = this
    const count = members.length
    for (let step = 0; step < count; step++) {
      const at = (this.turn + step) % count
      const member = members[at]!
      if (isReady(member.session)) {
        this.turn = at + 1
        return member
      }
    }
    return members.find(({ session }) => session.connected) ?? members.find(({ session }) => session.durable)
  }
}
