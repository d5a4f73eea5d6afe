/**
 * Subscriptions of the program that the broker runs in: streams of messages, without a client.
 *
 * Each has a bounded buffer; a reader that does not keep up loses the oldest messages, and the loss is counted.
 */
import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import type { BrokerCore } from "../core/BrokerCore.ts"
import { ProtocolError } from "../protocol/ProtocolError.ts"
import * as BrokerError from "./BrokerError.ts"
import * as Snapshot from "./Snapshot.ts"

export class LocalSubscriptions {
  dropped = 0
  private readonly core: BrokerCore
  private readonly bufferMax: number
  private readonly queues = new Set<Queue.Queue<Snapshot.BrokerMessage, Cause.Done>>()

  constructor(core: BrokerCore, bufferMax: number) {
    this.core = core
    this.bufferMax = bufferMax
  }

  stream(filter: string): Stream.Stream<Snapshot.BrokerMessage, BrokerError.BrokerError> {
    const subscribe = Effect.gen({ self: this }, function* () {
      const queue = yield* Queue.sliding<Snapshot.BrokerMessage, Cause.Done>(this.bufferMax)
      const subscription = this.core.subscribeLocal(filter, (message) => {
        if (Queue.isFullUnsafe(queue)) this.dropped++
        Queue.offerUnsafe(queue, Snapshot.ofPassing(message))
      })
      if (subscription instanceof ProtocolError) return yield* BrokerError.fromProtocol(subscription, filter)
      this.queues.add(queue)
      yield* Effect.addFinalizer(() =>
        Effect.sync(() => {
          this.queues.delete(queue)
          subscription.unsubscribe()
        })
      )
      return Stream.fromQueue(queue)
    })
    return Stream.unwrap(subscribe)
  }

  end(): void {
    for (const queue of this.queues) Queue.endUnsafe(queue)
  }
}
