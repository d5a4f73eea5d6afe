/**
 * What a broker tells and asks, in one list, as it comes: for tests of the order of events.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Broker from "../../src/broker/Broker.ts"
import * as Hooks from "../../src/broker/Hooks.ts"
import { brokerLayer, type Options } from "./support.ts"

const TAGS = [
  "SSLStatus",
  "Connected",
  "Disconnected",
  "SessionRemoved",
  "Unsubscribed",
  "MessageReceiving",
  "IncomingMessageStatus",
  "MessageReceived",
  "MessageSending",
  "OutgoingMessageStatus",
  "MessageSent",
  "Error"
] as const

/** An event, or a question with its name. */
export interface Seen {
  readonly _tag: string
  readonly [field: string]: unknown
}

/** Everything that is told and asked from now on, in one list, as it comes. */
export const recorded = Effect.fnUntraced(function* (seen: Array<Seen>) {
  const broker = yield* Broker.Broker
  yield* broker.eventsOf(...TAGS).pipe(
    Stream.runForEach((event) => Effect.sync(() => void seen.push({ ...event }))),
    Effect.forkScoped({ startImmediately: true })
  )
  return broker
})

export const turn = Effect.callback<void>((resume) => void setImmediate(() => resume(Effect.void)))

/** Until this many have been seen. */
export const until = (seen: ReadonlyArray<unknown>, count: number) =>
  Effect.gen(function* () {
    while (seen.length < count) yield* turn
    return seen
  })

/** Some rounds of the event loop: enough for a broker that has nothing left to do to have done it. */
export const settled = Effect.gen(function* () {
  for (let round = 0; round < 10; round++) yield* turn
})

/** Hooks that say in the same list what they are asked. */
export const asking = (seen: Array<Seen>): Hooks.HooksService => ({
  connectionRequest: (request) => {
    seen.push({ _tag: "ConnectionRequest", ...request })
    return Effect.succeed(true)
  },
  sslClientAuthentication: (request) => {
    seen.push({ _tag: "SSLClientAuthentication", ...request })
    return Effect.succeed(request.accept)
  },
  sessionRequest: (request) => {
    seen.push({ _tag: "SessionRequest", ...request })
    return Effect.succeed(Hooks.accept)
  },
  subscribe: (request) => {
    seen.push({ _tag: "Subscribe", ...request })
    return Effect.succeed(Hooks.grant(request.requestedQos))
  }
})

export const tags = (seen: ReadonlyArray<Seen>): ReadonlyArray<string> => seen.map(({ _tag }) => _tag)

export const run = (
  test: (seen: Array<Seen>) => Effect.Effect<void, unknown, Broker.Broker | Scope.Scope>,
  options: (seen: Array<Seen>) => Options = (seen) => ({ hooks: asking(seen) })
) => {
  const seen: Array<Seen> = []
  return Effect.scoped(test(seen)).pipe(Effect.provide(brokerLayer(options(seen))))
}
