/**
 * SIGHUP: certificates are loaded again from where they were, as whoever renews them (Certbot, for one) expects.
 */
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import type * as Broker from "../broker/Broker.ts"
import * as Listener from "../transport/Listener.ts"

/** Those that come until the scope ends, several at once as one. Unheard, they would end the process as it stands. */
export const hear: Effect.Effect<Queue.Dequeue<void>, never, Scope.Scope> = Effect.gen(function* () {
  const heard = yield* Queue.sliding<void>(1)
  const onHangup = (): void => {
    Queue.offerUnsafe(heard, undefined)
  }
  yield* Effect.acquireRelease(
    Effect.sync(() => process.on("SIGHUP", onHangup)),
    () => Effect.sync(() => process.removeListener("SIGHUP", onHangup))
  )
  return heard
})

/** Each listener for itself: where the new certificates are not good, the old ones stay. */
const reload = Effect.fnUntraced(function* (broker: Broker.Broker["Service"]) {
  const listeners = (yield* broker.listeners).filter(({ protocol }) => protocol === 1 || protocol === 3)
  if (listeners.length === 0) yield* Console.log("effect-mqtt has no listener with TLS whose certificates to reload")
  for (const listener of listeners) {
    const url = Listener.url(listener)
    yield* broker.replaceCertificates(listener.localPort, {}, listener.localHost).pipe(
      Effect.andThen(Console.log(`effect-mqtt reloaded the certificates of ${url}`)),
      Effect.catchTag("BrokerError", ({ message }) =>
        Console.error(`effect-mqtt: ${url} goes on with the certificates it has: ${message}`)
      )
    )
  }
})

/** Does so at each, for ever. */
export const obey = (heard: Queue.Dequeue<void>, broker: Broker.Broker["Service"]): Effect.Effect<never> =>
  Queue.take(heard).pipe(
    Effect.andThen(() => reload(broker)),
    Effect.forever
  )
