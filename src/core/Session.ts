/**
 * What the broker remembers of a client beyond its connection [MQTT-4.1.0].
 *
 * Owns subscriptions, both directions' unfinished exchanges, the waiting queue and the will. It decides nothing: what
 * enters and leaves it is the work of `Subscriptions.ts`, `Publishing.ts`, `Queueing.ts`, `Transmission.ts` and
 * `Acknowledgement.ts`.
 */
import type { QoS } from "../protocol/Packet.ts"
import * as Topic from "../protocol/Topic.ts"
import type { IncomingMessage } from "./IncomingMessage.ts"
import { Inflight } from "./Inflight.ts"
import type { Message } from "./Message.ts"
import type { MemoryUse } from "./MessageList.ts"
import { OutboundQueue } from "./OutboundQueue.ts"
import type { Outgoing } from "./Outgoing.ts"
import type { ServerConnection } from "./ServerConnection.ts"
import { TopicTree } from "./TopicTree.ts"

export interface Subscription {
  readonly filter: string
  readonly qos: QoS
  readonly noLocal: boolean
  readonly retainAsPublished: boolean
  readonly retainHandling: 0 | 1 | 2
  /** 0: none. */
  readonly subscriptionIdentifier: number
}

export interface Will {
  readonly message: Message
  readonly delaySeconds: number
}

export interface ConnectionWatcher {
  connectionChanged(): void
}

export class Session {
  readonly clientId: string
  userName = ""
  /** Put in from outside without a user name: it is the first client's that comes with its client id. */
  unclaimed = false
  /** Set from the release of its CONNACK to the end of its connection. */
  connection: ServerConnection | undefined = undefined // written by `setConnection`
  /** Set from the acceptance of its CONNECT to the end of its connection. */
  owner: ServerConnection | undefined = undefined
  /** Who is told that its client has come or gone: the shared subscriptions that it is in. Made on first use. */
  groups: Set<ConnectionWatcher> | undefined = undefined
  /** Seconds it outlives its connection; 0: it does not, 0xFFFFFFFF: forever. */
  expirySeconds = 0
  /** Levels of all their filters together: what they cost in the tree. */
  filterLevels = 0
  readonly inflight = new Inflight()
  readonly queue: OutboundQueue
  /** What it waits for from the store. */
  pageRequest: object | undefined = undefined // a `PageRequest`; only which one matters
  will: Will | undefined = undefined
  /** The store was told of it, and not of its end. */
  inStore = false
  /** When the connection ended, in milliseconds since the epoch; 0 while connected. */
  disconnectedAt = 0
  /** When a delayed will is due; Infinity: none is. */
  willDueAt = Number.POSITIVE_INFINITY
  /** Set for an in-process subscriber: messages go here, there is no queue and no connection. */
  sink: ((message: Message) => void) | undefined = undefined
  /** Of the exchanges underway those up to this order have been sent again [MQTT-4.4.0-1]. */
  resentThrough = 0
  private readonly subscribed = new Map<string, Subscription>()
  private coverage: TopicTree<Session, true> | undefined = undefined
  private incomingMessages: Map<number, IncomingMessage> | undefined = undefined
  private order = 0

  /** `memory` counts what waits in memory for all sessions together. */
  constructor(clientId: string, memory: MemoryUse = { bytes: 0 }) {
    this.clientId = clientId
    this.queue = new OutboundQueue(memory)
  }

  /** By topic filter. */
  get subscriptions(): ReadonlyMap<string, Subscription> {
    return this.subscribed
  }

  /** An equal filter replaces the subscription [MQTT-3.8.4-3]. */
  putSubscription(subscription: Subscription): void {
    const { filter } = subscription
    if (!this.subscribed.has(filter)) {
      this.filterLevels += Topic.levelsOf(filter)
      this.coverage = undefined
    }
    this.subscribed.set(filter, subscription)
  }

  removeSubscription(filter: string): void {
    if (!this.subscribed.delete(filter)) return
    this.filterLevels -= Topic.levelsOf(filter)
    this.coverage = undefined
  }

  /**
   * Whether one of its subscriptions matches. For who has many topics to ask about: the first costs as much as all
   * filters together, and the memory until `forgetCoverage`.
   */
  covers(topic: string): boolean {
    this.coverage ??= this.makeCoverage()
    let found = false
    this.coverage.match(topic, () => {
      found = true
    })
    return found
  }

  forgetCoverage(): void {
    this.coverage = undefined
  }

  /** Outlives its connection: what is acknowledged to it must survive a crash. */
  get durable(): boolean {
    return this.expirySeconds > 0
  }

  /** Belongs into the store: it outlives its connection, or a part of its queue is nowhere else. */
  get kept(): boolean {
    return this.expirySeconds > 0 || this.queue.stored !== undefined
  }

  get connected(): boolean {
    return this.connection !== undefined
  }

  /** Its client has come or gone. */
  setConnection(connection: ServerConnection | undefined): void {
    this.connection = connection
    if (this.groups !== undefined) for (const group of this.groups) group.connectionChanged()
  }

  /** Incoming QoS 2 messages by packet id: made on first use, most sessions never need it. */
  get incoming(): Map<number, IncomingMessage> {
    this.incomingMessages ??= new Map()
    return this.incomingMessages
  }

  get incomingSize(): number {
    return this.incomingMessages?.size ?? 0
  }

  /** It has ended for good. A route found while it lived may refer to it for long, and must not keep its messages. */
  forget(): void {
    this.subscribed.clear()
    this.coverage = undefined
    this.inflight.clear()
    this.queue.clear()
    this.pageRequest = undefined
    this.incomingMessages = undefined
  }

  /** Whether the receiver was told that this is a duplicate; exchanges are sent again oldest first. */
  hasResent(outgoing: Outgoing): boolean {
    return outgoing.packetId !== 0 && outgoing.order <= this.resentThrough
  }

  private makeCoverage(): TopicTree<Session, true> {
    const filters = new TopicTree<Session, true>()
    for (const filter of this.subscribed.keys()) filters.set(Topic.parseShared(filter)?.filter ?? filter, this, true)
    return filters
  }

  /** Of the message that came last. */
  get lastOrder(): number {
    return this.order
  }

  nextOrder(): number {
    return ++this.order
  }

  /** Keeps orders growing after a restart. */
  sawOrder(order: number): void {
    if (order > this.order) this.order = order
  }
}
