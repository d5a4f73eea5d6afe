/**
 * Messages that wait for one session, oldest first, with the bytes they hold.
 *
 * Owns order and size; what happens when it is full is decided by `Delivery.ts`.
 */
import type { Outgoing } from "./Outgoing.ts"

export class OutboundQueue {
  bytes = 0
  /** How many of them are at QoS 0. */
  atQos0 = 0
  /** Nothing here expires earlier, in milliseconds since the epoch. */
  private expiresFrom = Number.POSITIVE_INFINITY
  private items: Array<Outgoing | undefined> = []
  private head = 0

  get length(): number {
    return this.items.length - this.head
  }

  push(outgoing: Outgoing): void {
    const { expiresAt } = outgoing.message
    this.items.push(outgoing)
    this.bytes += outgoing.message.bytes
    if (outgoing.qos === 0) this.atQos0++
    if (expiresAt !== 0 && expiresAt < this.expiresFrom) this.expiresFrom = expiresAt
  }

  peek(): Outgoing | undefined {
    return this.items[this.head]
  }

  shift(): Outgoing | undefined {
    const first = this.items[this.head]
    if (first === undefined) return undefined
    this.items[this.head++] = undefined
    this.bytes -= first.message.bytes
    if (first.qos === 0) this.atQos0--
    if (this.head === this.items.length) this.clear()
    else if (this.head > 1_024 && this.head * 2 > this.items.length) {
      this.items = this.items.slice(this.head)
      this.head = 0
    }
    return first
  }

  /** Takes out what has expired, oldest first. Looks at all only when there may be something. */
  takeExpired(now: number): ReadonlyArray<Outgoing> {
    if (now < this.expiresFrom) return []
    const all = [...this]
    this.clear()
    const expired: Array<Outgoing> = []
    for (const outgoing of all) {
      if (outgoing.message.isExpired(now)) expired.push(outgoing)
      else this.push(outgoing)
    }
    return expired
  }

  /** Takes out what is not wanted any more. */
  takeOut(isWanted: (outgoing: Outgoing) => boolean): ReadonlyArray<Outgoing> {
    const all = [...this]
    this.clear()
    const unwanted: Array<Outgoing> = []
    for (const outgoing of all) {
      if (isWanted(outgoing)) this.push(outgoing)
      else unwanted.push(outgoing)
    }
    return unwanted
  }

  clear(): void {
    this.items = []
    this.head = 0
    this.bytes = 0
    this.atQos0 = 0
    this.expiresFrom = Number.POSITIVE_INFINITY
  }

  *[Symbol.iterator](): IterableIterator<Outgoing> {
    for (let index = this.head; index < this.items.length; index++) yield this.items[index]!
  }
}
