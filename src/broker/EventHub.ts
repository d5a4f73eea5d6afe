/**
 * Events to whoever asked for their kind, each subscriber with a bounded buffer of its own.
 *
 * Owns the count of subscribers a kind: the core builds a kind only while that is not zero. A subscriber that does not
 * keep up loses its oldest events, never holds up the broker, and the loss is counted.
 */
import * as Effect from "effect/Effect"
import type * as Cause from "effect/Cause"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import * as CoreEvent from "../core/CoreEvent.ts"
import type { BrokerEvent, OfTag, ShellEvent, Tag } from "./BrokerEvent.ts"

interface Subscriber {
  readonly tags: ReadonlySet<Tag>
  readonly queue: Queue.Queue<BrokerEvent, Cause.Done>
}

const coreTags: ReadonlySet<Tag> = new Set(CoreEvent.tags)

const isCoreTag = (tag: Tag): tag is CoreEvent.CoreEventTag => coreTags.has(tag)

export class EventHub {
  /** Events that slow subscribers lost. */
  dropped = 0
  private readonly core: CoreEvent.CoreEvents
  private readonly bufferMax: number
  private readonly subscribers = new Set<Subscriber>()
  private readonly counts = new Map<Tag, number>()
  private ended = false

  constructor(core: CoreEvent.CoreEvents, bufferMax: number) {
    this.core = core
    this.bufferMax = bufferMax
  }

  /** Whether anybody listens to that kind: ask before building an event. */
  wants(tag: Tag): boolean {
    return (this.counts.get(tag) ?? 0) > 0
  }

  publish(event: ShellEvent): void {
    if (this.wants(event._tag)) this.deliver(event)
  }

  /** Passes on what the core told during a turn. */
  drain(): void {
    if (this.core.isEmpty) return
    for (const event of this.core.take()) {
      this.deliver(event)
      // The documented Error event covers it; ProtocolFailure says more.
      if (event._tag === "ProtocolFailure") {
        const { connectionId, description, errorCode } = event
        this.publish({ _tag: "Error", connectionId, errorCode, description })
      }
    }
  }

  /** Events of these kinds from the moment the stream runs until the broker has closed. */
  stream<T extends Tag>(tags: ReadonlyArray<T>): Stream.Stream<OfTag<T>> {
    const subscribe = Effect.gen({ self: this }, function* () {
      const queue = yield* Queue.sliding<BrokerEvent, Cause.Done>(this.bufferMax)
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

  private deliver(event: BrokerEvent): void {
    for (const { queue, tags } of this.subscribers) {
      if (!tags.has(event._tag)) continue
      if (Queue.isFullUnsafe(queue)) this.dropped++
      Queue.offerUnsafe(queue, event)
    }
  }

  private add(subscriber: Subscriber): void {
    this.subscribers.add(subscriber)
    for (const tag of subscriber.tags) this.count(tag, 1)
    if (this.ended) Queue.endUnsafe(subscriber.queue)
  }

  private remove(subscriber: Subscriber): void {
    if (!this.subscribers.delete(subscriber)) return
    for (const tag of subscriber.tags) this.count(tag, -1)
  }

  private count(tag: Tag, change: 1 | -1): void {
    this.counts.set(tag, (this.counts.get(tag) ?? 0) + change)
    if (tag === "ProtocolFailure" || tag === "Error") {
      this.core.want("ProtocolFailure", this.wants("ProtocolFailure") || this.wants("Error"))
    } else if (isCoreTag(tag)) {
      this.core.want(tag, this.wants(tag))
    }
  }
}
