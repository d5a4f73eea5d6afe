/**
 * The broker's log through Effect's own logging, for programs that have a Logger and no use for Log events.
 *
 * Which lines there are is the broker's `logLevel`; Info is logged at Info, Verbose at Debug, Debug at Trace, each with
 * its connection id and type as annotations. Owns that lines which were published are written before logging ends.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import type * as LogLevel from "effect/LogLevel"
import * as Pull from "effect/Pull"
import * as References from "effect/References"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { Broker } from "./Broker.ts"
import type { Log } from "./BrokerEvent.ts"

const severities = { 1: "Info", 2: "Debug", 3: "Trace" } as const satisfies Record<Log["logLevel"], LogLevel.Severity>

const write = ({ connectionId, logLevel, logType, message }: Log): Effect.Effect<void> =>
  Effect.annotateLogs(
    Effect.logWithLevel(severities[logLevel])(message),
    connectionId === "" ? { logType } : { logType, connectionId }
  )

const writeAll = (lines: ReadonlyArray<Log>): Effect.Effect<void> =>
  Effect.forEach(lines, write, { discard: true }).pipe(
    // The broker has decided already: Effect's own threshold would leave out Debug and Trace.
    Effect.provideService(References.MinimumLogLevel, "All")
  )

/** Logs until the scope closes: what waits then, at most `eventsBufferMax` lines, is written still. */
const follow = Effect.fnUntraced(function* (broker: Broker["Service"]) {
  const lines = yield* Stream.toPull(broker.eventsOf("Log"))
  const turn = Effect.uninterruptibleMask((restore) => Effect.flatMap(restore(lines), writeAll))
  const fiber = yield* Effect.forever(turn).pipe(
    Pull.catchDone(() => Effect.void),
    Effect.forkDetach({ startImmediately: true })
  )
  // Lines that are there come at once, before the other side of the race begins.
  const rest = Effect.raceFirst(lines, Effect.succeed<ReadonlyArray<Log>>([])).pipe(
    Effect.flatMap(writeAll),
    Pull.catchDone(() => Effect.void)
  )
  // Comes before the subscription's own end, which the first turn has put into the scope.
  yield* Effect.addFinalizer(() => Effect.andThen(Fiber.interrupt(fiber), rest))
})

/**
 * Logs for as long as its scope is open, everything that the broker's `logLevel` lets through. A scope that closes
 * before the broker does, as that of a layer on top of it, misses what the broker says while it ends: see `logged`.
 */
export const layer: Layer.Layer<never, never, Broker> = Layer.effectDiscard(Effect.flatMap(Broker, follow))

/** That broker, logging from its first connection to its last goodbye: its log ends after the broker has. */
export const logged = <E, R>(broker: Layer.Layer<Broker, E, R>): Layer.Layer<Broker, E, R> =>
  Layer.fromBuildMemo((memoMap, scope) =>
    Effect.gen(function* () {
      // Before the broker is there, so that it closes after it.
      const last = yield* Scope.fork(scope)
      const context = yield* Layer.buildWithMemoMap(broker, memoMap, scope)
      yield* Scope.provide(follow(Context.get(context, Broker)), last)
      return context
    })
  )
