/**
 * The broker's log through Effect's own logging, for programs that have a Logger and no use for Log events.
 *
 * Which lines there are is the broker's `logLevel`; Info is logged at Info, Verbose at Debug, Debug at Trace, each with
 * its connection id and type as annotations.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as LogLevel from "effect/LogLevel"
import * as References from "effect/References"
import * as Stream from "effect/Stream"
import { Broker } from "./Broker.ts"
import type { Log } from "./BrokerEvent.ts"

const severities = { 1: "Info", 2: "Debug", 3: "Trace" } as const satisfies Record<Log["logLevel"], LogLevel.Severity>

const write = ({ connectionId, logLevel, logType, message }: Log): Effect.Effect<void> =>
  Effect.annotateLogs(
    Effect.logWithLevel(severities[logLevel])(message),
    connectionId === "" ? { logType } : { logType, connectionId }
  )

/** Logs for as long as its scope is open, everything that the broker's `logLevel` lets through. */
export const layer: Layer.Layer<never, never, Broker> = Layer.effectDiscard(
  Effect.gen(function* () {
    const broker = yield* Broker
    yield* broker.eventsOf("Log").pipe(
      Stream.runForEach(write),
      // The broker has decided already: Effect's own threshold would leave out Debug and Trace.
      Effect.provideService(References.MinimumLogLevel, "All"),
      Effect.forkScoped({ startImmediately: true })
    )
  })
)
