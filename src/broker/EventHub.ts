/**
 * Events to whoever asked for their kind, each subscriber with a bounded buffer of its own.
 *
 * Owns the count of subscribers a kind: the core builds a kind only while that is not zero. While somebody listens to
 * Log events, lines are made here of what happens. A subscriber that does not keep up loses its oldest events, never
 * holds up the broker, and the loss is counted. Subscribers stay when a reset puts another run in place of one.
 */
import * as Effect from "effect/Effect"
import type * as Cause from "effect/Cause"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import * as CoreEvent from "../core/CoreEvent.ts"
import type { BrokerSettings } from "./BrokerConfig.ts"
import type { BrokerEvent, OfTag, ShellEvent, Tag } from "./BrokerEvent.ts"
import * as LogEntries from "./LogEntries.ts"
import * as Snapshot from "./Snapshot.ts"

type HubSettings = Pick<BrokerSettings, "logLevel" | "maskSensitiveData" | "eventsBufferMax">

interface Subscriber {
  readonly tags: ReadonlySet<Tag>
  readonly queue: Queue.Queue<BrokerEvent, Cause.Done>
}

const coreTags: ReadonlySet<Tag> = new Set(CoreEvent.tags)

const isCoreTag = (tag: Tag): tag is CoreEvent.CoreEventTag => coreTags.has(tag)

export class EventHub {
  /** Events that slow subscribers lost. */
  dropped = 0
  private core: CoreEvent.CoreEvents
  private settings: HubSettings
  private readonly subscribers = new Set<Subscriber>()
  private readonly counts = new Map<Tag, number>()
  private ended = false

  constructor(core: CoreEvent.CoreEvents, settings: HubSettings) {
    this.core = core
    this.settings = settings
  }

  /** From now on it is another run whose events are told, to those who listened to the one before as well. */
  follow(core: CoreEvent.CoreEvents, settings: HubSettings): void {
    this.drain()
    this.core = core
    this.settings = settings
    this.ended = false
    this.settle()
  }

  /** Whether anybody listens to that kind, or a line of the log is made of it: ask before building an event. */
  wants(tag: Tag): boolean {
    if ((this.counts.get(tag) ?? 0) > 0) return true
    return tag !== "Log" && !isCoreTag(tag) && this.logs && LogEntries.isLogged(this.settings.logLevel, tag)
  }

  /** Whether there are Log events. */
  get logs(): boolean {
    return this.settings.logLevel > 0 && (this.counts.get("Log") ?? 0) > 0
  }

  /** After what the core has told before. */
  publish(event: ShellEvent): void {
    if (!this.wants(event._tag)) return
    this.drain()
    this.tell(event)
  }

  /** Passes on what the core told during a turn; returns whether it told anything. */
  drain(): boolean {
    if (this.core.isEmpty) return false
    for (const event of this.core.take()) {
      this.tell(event._tag === "SessionRemoved" ? { ...event, session: Snapshot.detailOf(event.session) } : event)
      // The documented Error event covers it; ProtocolFailure says more.
      if (event._tag === "ProtocolFailure" && (this.counts.get("Error") ?? 0) > 0) {
        const { connectionId, description, errorCode } = event
        this.deliver({ _tag: "Error", connectionId, errorCode, description })
      }
    }
    return true
  }

  /** What is logged depends on settings and on who listens: looks at both again. */
  settle(): void {
    const { logLevel, maskSensitiveData } = this.settings
    const sources = new Set<Tag>(this.logs ? LogEntries.sources(logLevel) : [])
    for (const tag of CoreEvent.tags) {
      const asError = tag === "ProtocolFailure" && (this.counts.get("Error") ?? 0) > 0
      this.core.want(tag, this.wants(tag) || asError || sources.has(tag))
    }
    this.core.frames = this.logs && logLevel >= 3 ? (maskSensitiveData ? "masked" : "whole") : "none"
  }

  /** Events of these kinds from the moment the stream runs until the broker has closed. */
  stream<T extends Tag>(tags: ReadonlyArray<T>): Stream.Stream<OfTag<T>> {
    const subscribe = Effect.gen({ self: this }, function* () {
      const queue = yield* Queue.sliding<BrokerEvent, Cause.Done>(this.settings.eventsBufferMax)
      const subscriber: Subscriber = { tags: new Set<Tag>(tags), queue }
      yield* Effect.acquireRelease(
        Effect.sync(() => this.add(subscriber)),
        () => Effect.sync(() => this.remove(subscriber))
      )
      return Stream.fromQueue(queue) as Stream.Stream<OfTag<T>> // `deliver` offers nothing but these kinds
    })
    return Stream.unwrap(subscribe)
  }

  /** No more events: streams end after what they hold. */
  end(): void {
    this.ended = true
    for (const { queue } of this.subscribers) Queue.endUnsafe(queue)
  }

  private tell(event: BrokerEvent | CoreEvent.Frame): void {
    if (event._tag !== "Frame") this.deliver(event)
    if (!this.logs) return
    const entry = LogEntries.of(event)
    if (entry !== undefined && entry.logLevel <= this.settings.logLevel) this.deliver(entry)
  }

  private deliver(event: BrokerEvent): void {
    for (const { queue, tags } of this.subscribers) {
      if (!tags.has(event._tag)) continue
      if (Queue.isFullUnsafe(queue)) this.dropped++
      Queue.offerUnsafe(queue, event)
    }
  }

  private add(subscriber: Subscriber): void {
    this.subscribers.add(subscriber)
    for (const tag of subscriber.tags) this.counts.set(tag, (this.counts.get(tag) ?? 0) + 1)
    this.settle()
    if (this.ended) Queue.endUnsafe(subscriber.queue)
  }

  private remove(subscriber: Subscriber): void {
    if (!this.subscribers.delete(subscriber)) return
    for (const tag of subscriber.tags) this.counts.set(tag, (this.counts.get(tag) ?? 0) - 1)
    this.settle()
  }
}
