/**
 * What the broker's tests share: one broker a test, on a free port of this machine.
 */
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as Broker from "../../src/broker/Broker.ts"
import * as BrokerConfig from "../../src/broker/BrokerConfig.ts"
import type { BrokerError } from "../../src/broker/BrokerError.ts"
import * as Hooks from "../../src/broker/Hooks.ts"
import type { BrokerStorage } from "../../src/storage/BrokerStorage.ts"
import * as Net from "node:net"
import * as MemoryStorage from "../../src/storage/MemoryStorage.ts"

export interface Options {
  readonly settings?: Partial<BrokerConfig.BrokerSettings>
  readonly hooks?: Hooks.HooksService
  readonly storage?: Layer.Layer<BrokerStorage>
}

export const brokerLayer = (options: Options = {}): Layer.Layer<Broker.Broker, BrokerError> =>
  Layer.fresh(Broker.layer).pipe(
    Layer.provide([
      BrokerConfig.layer({ listeners: [{ port: 0 }], shutdownTimeoutSeconds: 2, ...options.settings }),
      options.storage ?? MemoryStorage.layer,
      Layer.succeed(Hooks.Hooks)(options.hooks ?? {})
    ])
  )

/** The port of the broker's first listener. */
export const port: Effect.Effect<number, never, Broker.Broker> = Effect.gen(function* () {
  const broker = yield* Broker.Broker
  const [listener] = yield* broker.listeners
  return listener!.localPort
})

/** Starts to collect `count` elements now: what happens after this is not missed. */
export const collect = <A, E>(
  stream: Stream.Stream<A, E>,
  count: number
): Effect.Effect<Fiber.Fiber<ReadonlyArray<A>, E>> =>
  stream.pipe(
    Stream.take(count),
    Stream.runCollect,
    Effect.map((found): ReadonlyArray<A> => [...found]),
    Effect.forkDetach({ startImmediately: true })
  )

/** The errno of a connection that is tried; undefined: it is accepted. */
export const tried = (bound: number) =>
  Effect.callback<string | undefined>((resume) => {
    const socket = Net.connect({ port: bound, host: "127.0.0.1" })
    socket.once("error", (error: NodeJS.ErrnoException) => resume(Effect.succeed(error.code)))
    socket.once("connect", () => {
      socket.destroy()
      resume(Effect.succeed(undefined))
    })
  })
