/**
 * The PUBLISH packets of one connection that its socket has not been given yet, for what is told when it has.
 *
 * Owns their order and where each ends, in bytes of the connection from its first on. What was written while nobody
 * listened is not here. What is told is `Sending.ts`.
 */
import type { Outgoing } from "./Outgoing.ts"

/** A message at QoS 1 or 2, and what its packet says of it that another packet may not. */
export interface Exchange {
  readonly outgoing: Outgoing
  readonly dup: boolean
}

/** At QoS 0 twice the message's id, one more if it is a retained one: many fit into an outbox, so no object each. */
export type UnhandedPacket = number | Exchange

/** A packet that an interrupt threw away. */
export interface ThrownAway {
  /** "" when only its topic alias was in it. */
  readonly topic: string
  readonly bytes: number
  /** How many bytes waited behind it. */
  readonly behind: number
}

export class Unhanded {
  private ends: Array<number> = []
  private packets: Array<UnhandedPacket> = []
  private head = 0

  get isEmpty(): boolean {
    return this.head === this.ends.length
  }

  push(end: number, packet: UnhandedPacket): void {
    this.ends.push(end)
    this.packets.push(packet)
  }

  /** Takes the oldest out, when the socket has been given so many bytes of the connection that it is among them. */
  shift(handed: number): UnhandedPacket | undefined {
    if (this.isEmpty || this.ends[this.head]! > handed) return undefined
    const packet = this.packets[this.head]
    this.packets[this.head++] = 0 // or it would hold its message for as long as others wait
    if (this.head > 1_024 && this.head * 2 > this.ends.length) this.keep(this.head)
    return packet
  }

  /** Takes out what was thrown away, in order; `end` is where everything ended before. */
  takeOut(thrown: ReadonlyArray<ThrownAway>, end: number): void {
    const { ends, packets, head } = this
    this.keep(ends.length)
    let next = 0
    let bytes = 0
    for (let index = head; index < ends.length; index++) {
      const at = ends[index]!
      while (next < thrown.length && end - thrown[next]!.behind < at) bytes += thrown[next++]!.bytes
      const isThrown = next < thrown.length && end - thrown[next]!.behind === at
      if (!isThrown) this.push(at - bytes, packets[index]!)
    }
  }

  private keep(from: number): void {
    this.ends = this.ends.slice(from)
    this.packets = this.packets.slice(from)
    this.head = 0
  }
}
