/**
 * Messages that wait for one session, oldest first: the front in memory, and of a long queue the rest in the store.
 *
 * A long queue has three parts, in the order of delivery: the `head`, what is only in the store, and the newest again
 * in memory, so that a queue that gets short is whole in memory without waiting for a disk. Owns order and size; when
 * messages are left to the store and read back is decided by `Paging.ts`, what happens when the queue is full by
 * `Queueing.ts`.
 */
import * as Content from "./Content.ts"
import { type MemoryUse, MessageList } from "./MessageList.ts"
import type { Outgoing } from "./Outgoing.ts"

/** The part of a queue that is only in the store, and what came after it. */
export interface Stored {
  count: number
  /** What they weigh, as far as the store knows: a little less than their frames. */
  bytes: number
  atQos0: number
  /** Their orders are above this one, */
  after: number
  /** and up to this one. */
  through: number
  /** They are all there when this sequence of the journal is durable. */
  sequence: number
  /** The oldest so many have been dropped: it is told and carried out when they are read. */
  dropped: number
  /**
   * How many came by each shared subscription: others in it get them if the session ends. Made on first use: at a start
   * 100,000 queues may be long.
   */
  shared: Map<string, number> | undefined
  readonly newest: MessageList
}

/** A message that is in the store: in memory still, or as it was read. */
export interface Waiting {
  readonly order: number
  readonly qos: number
  readonly message: Content.Content
  readonly sharedFilter?: string | undefined
}

/** Fewest bytes of a PUBLISH besides what is in it. */
const FRAME_BYTES = 4

const weightOf = ({ message }: Waiting): number => FRAME_BYTES + Content.bytesOf(message)

/** So many more came by a shared subscription. */
const countShared = (stored: Stored, sharedFilter: string, more: 1 | -1): void => {
  stored.shared ??= new Map()
  const count = (stored.shared.get(sharedFilter) ?? 0) + more
  if (count > 0) stored.shared.set(sharedFilter, count)
  else stored.shared.delete(sharedFilter)
}

export class OutboundQueue {
  /** The next to be sent. */
  readonly head: MessageList
  /** Undefined while the whole queue is in memory. */
  stored: Stored | undefined = undefined
  private readonly memory: MemoryUse

  constructor(memory: MemoryUse) {
    this.memory = memory
    this.head = new MessageList(memory)
  }

  get length(): number {
    const { head, stored } = this
    return stored === undefined ? head.length : head.length + stored.count - stored.dropped + stored.newest.length
  }

  get bytes(): number {
    const { head, stored } = this
    if (stored === undefined) return head.bytes
    // What has been dropped unread weighed as much as the others, on average.
    const left = stored.count === 0 ? 0 : stored.bytes * (1 - stored.dropped / stored.count)
    return head.bytes + left + stored.newest.bytes
  }

  /** What is taken in memory. */
  get memoryBytes(): number {
    const { head, stored } = this
    return stored === undefined ? head.memoryBytes : head.memoryBytes + stored.newest.memoryBytes
  }

  /** The shared subscriptions by which something came that is only in the store. */
  get storedShared(): Iterable<string> {
    return this.stored?.shared?.keys() ?? []
  }

  /** How many of them are at QoS 0. */
  get atQos0(): number {
    const { head, stored } = this
    return stored === undefined ? head.atQos0 : head.atQos0 + stored.atQos0 + stored.newest.atQos0
  }

  push(outgoing: Outgoing): void {
    if (this.stored === undefined) this.head.push(outgoing)
    else this.stored.newest.push(outgoing)
  }

  /** The next message; undefined: there is none, or it must be read from the store first. */
  shift(): Outgoing | undefined {
    return this.head.shift()
  }

  /** Drops the oldest: returns it, or true when that is for whoever reads it. Undefined: the queue is empty. */
  dropOldest(): Outgoing | true | undefined {
    const { head, stored } = this
    if (stored === undefined || head.length > 0) return head.shift()
    if (stored.dropped === stored.count) return stored.newest.shift()
    stored.dropped++
    return true
  }

  /**
   * Leaves messages to the store, which has been told of all of them up to `sequence`, so that about `bytesMax` stay
   * in memory.
   */
  spill(bytesMax: number, sequence: number): void {
    const { head, stored } = this
    const spilled = stored === undefined ? head.takeBeyond(bytesMax) : stored.newest.takeBeyond(0)
    for (const outgoing of spilled) this.leave(outgoing, sequence)
  }

  /** The newest message is in the store only. Call it while nothing newer is in memory. */
  leave(waiting: Waiting, sequence: number): void {
    const { order, qos, sharedFilter } = waiting
    this.stored ??= this.begin(order - 1)
    const { stored } = this
    stored.count++
    stored.bytes += weightOf(waiting)
    if (qos === 0) stored.atQos0++
    if (sharedFilter !== undefined) countShared(stored, sharedFilter, 1)
    stored.through = order
    stored.sequence = sequence
  }

  /** A message was read from the store: the oldest of those that are there. Whether it is still wanted. */
  read(stored: Stored, waiting: Waiting): boolean {
    const { order, qos, sharedFilter } = waiting
    stored.count--
    stored.bytes = Math.max(0, stored.bytes - weightOf(waiting))
    if (qos === 0) stored.atQos0--
    if (sharedFilter !== undefined) countShared(stored, sharedFilter, -1)
    stored.after = order
    if (stored.dropped === 0) return true
    stored.dropped--
    return false
  }

  /** Everything is in memory again. */
  join(stored: Stored): void {
    this.stored = undefined
    for (const outgoing of stored.newest) this.head.push(outgoing)
    stored.newest.clear()
  }

  /** Takes out what has expired, oldest first; of what is in the store it is found when it is read. */
  takeExpired(now: number): ReadonlyArray<Outgoing> {
    const { head, stored } = this
    const expired = head.takeExpired(now)
    return stored === undefined ? expired : [...expired, ...stored.newest.takeExpired(now)]
  }

  /** Takes out what is not wanted any more, except of what is in the store. */
  takeOut(isWanted: (outgoing: Outgoing) => boolean): ReadonlyArray<Outgoing> {
    const { head, stored } = this
    const unwanted = head.takeOut(isWanted)
    return stored === undefined ? unwanted : [...unwanted, ...stored.newest.takeOut(isWanted)]
  }

  clear(): void {
    const { head, stored } = this
    head.clear()
    if (stored === undefined) return
    stored.newest.clear()
    this.stored = undefined
  }

  /** What is in memory, oldest first. */
  *[Symbol.iterator](): IterableIterator<Outgoing> {
    yield* this.head
    if (this.stored !== undefined) yield* this.stored.newest
  }

  private begin(after: number): Stored {
    const newest = new MessageList(this.memory)
    const none = { count: 0, bytes: 0, atQos0: 0, sequence: 0, dropped: 0 }
    return { ...none, shared: undefined, after, through: after, newest }
  }
}
