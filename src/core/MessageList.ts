/**
 * Messages that wait in memory for one session, oldest first, with the bytes they hold.
 *
 * Owns order and size. What waits in the store instead, and what happens when there is no room, is not known here.
 */
import { OBJECT_BYTES } from "./Content.ts"
import type { Outgoing } from "./Outgoing.ts"

/** What all lists of a broker take together. */
export interface MemoryUse {
  bytes: number
}

export class MessageList {
  bytes = 0
  /** How many of them are at QoS 0. */
  atQos0 = 0
  /** Nothing here expires earlier, in milliseconds since the epoch. */
  private expiresFrom = Number.POSITIVE_INFINITY
  private items: Array<Outgoing | undefined> = []
  private head = 0
  private readonly memory: MemoryUse

  constructor(memory: MemoryUse) {
    this.memory = memory
  }

  /** What they take, with their objects. */
  get memoryBytes(): number {
    return this.bytes + this.length * OBJECT_BYTES
  }

  get length(): number {
    return this.items.length - this.head
  }

  push(outgoing: Outgoing): void {
    const { bytes, expiresAt } = outgoing.message
    this.items.push(outgoing)
    this.bytes += bytes
    this.memory.bytes += bytes + OBJECT_BYTES
    if (outgoing.qos === 0) this.atQos0++
    if (expiresAt !== 0 && expiresAt < this.expiresFrom) this.expiresFrom = expiresAt
  }

  shift(): Outgoing | undefined {
    const first = this.items[this.head]
    if (first === undefined) return undefined
    const { bytes } = first.message
    this.items[this.head++] = undefined
    this.bytes -= bytes
    this.memory.bytes -= bytes + OBJECT_BYTES
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
    return now < this.expiresFrom ? [] : this.takeOut(({ message }) => !message.isExpired(now))
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

  /** Takes out the newest, so that those that are left take no more than `bytesMax`. */
  takeBeyond(bytesMax: number): ReadonlyArray<Outgoing> {
    let left = bytesMax
    return this.takeOut((outgoing) => {
      left -= outgoing.message.bytes + OBJECT_BYTES
      return left >= 0
    })
  }

  clear(): void {
    this.memory.bytes -= this.memoryBytes
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
