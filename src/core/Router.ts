/**
 * From a topic name to who receives it.
 *
 * Owns the subscription tree and a bounded cache of matches. A route is filled at a name's second use, so that
 * one-off topics do not push out the ones that repeat; an exact filter's change drops that name only, a wildcard's
 * change outdates the routes below its first level.
 */
import type { QoS } from "../protocol/Packet.ts"
import * as Topic from "../protocol/Topic.ts"
import type { Session, Subscription } from "./Session.ts"
import { SharedGroup } from "./SharedGroup.ts"
import { TopicTree } from "./TopicTree.ts"

/** Names in the cache, and names remembered as seen once. */
const CACHED_NAMES = 10_000

/** One session that matches, its overlapping subscriptions merged [MQTT-3.3.4-2, MQTT-3.3.4-3]. */
export interface Receiver {
  readonly session: Session
  readonly qos: QoS
  readonly retainAsPublished: boolean
  readonly identifiers: ReadonlyArray<number> | undefined
  /** At least one of the subscriptions has No Local: decide again for the session's own messages. */
  readonly noLocal: boolean
  readonly subscriptions: ReadonlyArray<Subscription>
}

/** Counts changes of wildcard filters below one first level. */
interface Generation {
  value: number
}

export class Route {
  readonly receivers: ReadonlyArray<Receiver>
  /** Shared subscriptions that match: each message goes to one member of each. */
  readonly groups: ReadonlyArray<SharedGroup>
  private readonly level: Generation
  private readonly levelAt: number
  private readonly root: Generation
  private readonly rootAt: number
  private dropped = false

  constructor(
    receivers: ReadonlyArray<Receiver>,
    groups: ReadonlyArray<SharedGroup>,
    level: Generation,
    root: Generation
  ) {
    this.receivers = receivers
    this.groups = groups
    this.level = level
    this.levelAt = level.value
    this.root = root
    this.rootAt = root.value
  }

  get current(): boolean {
    return !this.dropped && this.level.value === this.levelAt && this.root.value === this.rootAt
  }

  drop(): void {
    this.dropped = true
  }
}

export class Router {
  private readonly tree = new TopicTree<Session, Subscription>()
  private readonly groupTree = new TopicTree<SharedGroup, SharedGroup>()
  /** By share name and filter: `$share/a/x` and `$share/b/x` are two groups. */
  private readonly groups = new Map<string, SharedGroup>()
  /** How many groups there have been: the number of the youngest. */
  groupsMade = 0
  private readonly cache = new Map<string, Route>()
  private seen = new Set<string>()
  private readonly levels = new Map<string, Generation>()
  /** Filters that begin with a wildcard concern every name. */
  private readonly root: Generation = { value: 0 }

  /** Subscriptions of all sessions together. */
  get size(): number {
    let size = this.tree.size
    for (const group of this.groups.values()) size += group.size
    return size
  }

  subscribe(session: Session, subscription: Subscription): void {
    const shared = Topic.parseShared(subscription.filter)
    if (shared !== undefined) {
      this.join(session, subscription, shared.group, shared.filter)
      return
    }
    this.tree.set(subscription.filter, session, subscription)
    this.outdate(subscription.filter)
  }

  /** The filter as it was subscribed: a shared one in full [MQTT-4.8.2-4]. */
  unsubscribe(session: Session, filter: string): void {
    if (this.groups.has(filter)) {
      this.part(session, filter)
      return
    }
    this.tree.delete(filter, session)
    this.outdate(filter)
  }

  /** The group of a shared filter, as it was subscribed. */
  group(sharedFilter: string): SharedGroup | undefined {
    return this.groups.get(sharedFilter)
  }

  /** A route holds the group itself, so only its first member and its last concern the routes. */
  private join(session: Session, subscription: Subscription, name: string, filter: string): void {
    let group = this.groups.get(subscription.filter)
    if (group === undefined) {
      group = new SharedGroup(name, filter, ++this.groupsMade)
      this.groups.set(subscription.filter, group)
      this.groupTree.set(filter, group, group)
      this.outdate(filter)
    }
    group.set(session, subscription)
    session.groups ??= new Set()
    session.groups.add(group)
  }

  private part(session: Session, sharedFilter: string): void {
    const group = this.groups.get(sharedFilter)
    if (group === undefined) return
    group.delete(session)
    session.groups?.delete(group)
    if (group.size > 0) return
    this.groups.delete(sharedFilter)
    this.groupTree.delete(group.filter, group)
    this.outdate(group.filter)
  }

  /** The route of a name: from the cache, or matched now. */
  route(topic: string): Route {
    const cached = this.cache.get(topic)
    if (cached?.current === true) return cached
    const route = new Route(this.receivers(topic), this.groupsOf(topic), this.levelOf(topic), this.root)
    if (cached !== undefined || this.seen.has(topic)) {
      if (this.cache.size >= CACHED_NAMES) this.evict()
      this.cache.set(topic, route)
    } else {
      if (this.seen.size >= CACHED_NAMES) this.seen = new Set()
      this.seen.add(topic)
      // Outside the cache it would not hear that an exact filter has changed: good for this use only.
      route.drop()
    }
    return route
  }

  private receivers(topic: string): ReadonlyArray<Receiver> {
    const bySession = new Map<Session, Array<Subscription>>()
    this.tree.match(topic, (session, subscription) => {
      const subscriptions = bySession.get(session)
      if (subscriptions === undefined) bySession.set(session, [subscription])
      else subscriptions.push(subscription)
    })
    return Array.from(bySession, ([session, subscriptions]) => merge(session, subscriptions))
  }

  private groupsOf(topic: string): ReadonlyArray<SharedGroup> {
    const groups: Array<SharedGroup> = []
    if (this.groups.size > 0) this.groupTree.match(topic, (group) => groups.push(group))
    return groups
  }

  private outdate(filter: string): void {
    if (!hasWildcard(filter)) {
      this.cache.get(filter)?.drop()
      this.cache.delete(filter)
      return
    }
    const level = firstLevel(filter)
    if (level === "+" || level === "#") this.root.value++
    else this.levelOf(filter).value++
  }

  /** Generations are made for first levels of routes and filters; beyond the bound all routes go, and so do they. */
  private levelOf(topic: string): Generation {
    const level = firstLevel(topic)
    let generation = this.levels.get(level)
    if (generation === undefined) {
      if (this.levels.size >= CACHED_NAMES) {
        this.root.value++
        this.levels.clear()
      }
      generation = { value: 0 }
      this.levels.set(level, generation)
    }
    return generation
  }

  /** Map keeps insertion order: the oldest entry goes. */
  private evict(): void {
    for (const topic of this.cache.keys()) {
      this.cache.get(topic)?.drop()
      this.cache.delete(topic)
      return
    }
  }
}

/** One copy at the highest QoS, with every identifier; RAP if any subscription has it. */
export const merge = (session: Session, subscriptions: ReadonlyArray<Subscription>): Receiver => {
  let qos: QoS = 0
  let retainAsPublished = false
  let noLocal = false
  let identifiers: Array<number> | undefined
  for (const subscription of subscriptions) {
    if (subscription.qos > qos) qos = subscription.qos
    if (subscription.retainAsPublished) retainAsPublished = true
    if (subscription.noLocal) noLocal = true
    if (subscription.subscriptionIdentifier > 0) {
      identifiers ??= []
      identifiers.push(subscription.subscriptionIdentifier)
    }
  }
  return { session, qos, retainAsPublished, identifiers, noLocal, subscriptions }
}

/** For a valid filter: wildcards cannot stand anywhere else in it. */
const hasWildcard = (filter: string): boolean => filter.includes("+") || filter.includes("#")

const firstLevel = (topic: string): string => {
  const slash = topic.indexOf("/")
  return slash === -1 ? topic : topic.slice(0, slash)
}
