/**
 * A broker that may open no more files, and one whose connections cannot be accepted: it says so where it is told, and
 * goes on.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as DiagnosticsChannel from "node:diagnostics_channel"
import type * as Net from "node:net"
import * as Broker from "../../src/broker/Broker.ts"
import * as Program from "../cli/Program.ts"
import * as TestHandler from "../transport/TestHandler.ts"
import * as RawClient from "./RawClient.ts"
import { brokerLayer, collect, port } from "./support.ts"

/** Takes all the files that there are, or gives them back, at each SIGUSR2. Its output needs no file. */
const GREEDY = `
  const fs = await import("node:fs")
  const Effect = await import("effect/Effect")
  const Broker = await import("./src/broker/Broker.ts")
  const say = (line) => fs.writeSync(1, line + "\\n")
  const held = []
  const take = () => {
    try {
      for (;;) held.push(fs.openSync("/dev/null"))
    } catch ({ code }) {
      say("taken until " + code)
    }
  }
  const program = Effect.gen(function* () {
    const broker = yield* Broker.Broker
    const { localPort } = yield* broker.addListener({ port: 0 })
    const another = Effect.scoped(Effect.flip(broker.addListener({ port: 0 })))
    process.on("SIGUSR2", () => {
      if (held.length === 0) {
        take()
        Effect.runPromise(another).then(({ code, reason }) => say(reason._tag + " " + code + " " + reason.errno))
      } else {
        for (const file of held.splice(0)) fs.closeSync(file)
        say("given back")
      }
    })
    say("port " + localPort)
    return yield* Effect.never
  })
  await Effect.runPromise(Effect.scoped(program).pipe(Effect.provide(Broker.layerMemory())))`

describe("a broker that may open no more files", () => {
  it.live("does not listen anew (SocketFailed, 10024), closes who comes, serves who is there, and goes on", () =>
    Effect.gen(function* () {
      const program = yield* Program.start(["--input-type=module", "--eval", GREEDY], {}, 100)
      const bound = Number((yield* program.line(/port (\d+)/))[1])
      const there = yield* RawClient.connect(bound, { clientId: "there" })
      yield* RawClient.subscribe(there, "t")
      program.kill("SIGUSR2")
      yield* program.line(/taken until EMFILE/)
      yield* program.line(/SocketFailed 10024 EMFILE/)
      const late = yield* RawClient.open(bound)
      yield* late.ended
      yield* RawClient.ping(there)
      program.kill("SIGUSR2")
      yield* program.line(/given back/)
      const next = yield* RawClient.connect(bound, { clientId: "next" })
      yield* next.send(RawClient.publish("t", "x"))
      yield* there.expect("Publish")
      assert.strictEqual(program.errors(), "")
    })
  )
})

describe("a connection that cannot be accepted", () => {
  const channel = DiagnosticsChannel.tracingChannel("net.server.listen")

  /** The servers that begin to listen from now on. */
  const servers = Effect.gen(function* () {
    const found: Array<Net.Server> = []
    const subscriber = (message: unknown) => {
      found.push((message as { readonly server: Net.Server }).server) // what Node says on this channel
    }
    yield* Effect.acquireRelease(
      Effect.sync(() => channel.asyncEnd.subscribe(subscriber)),
      () => Effect.sync(() => channel.asyncEnd.unsubscribe(subscriber))
    )
    return found
  })

  // Node tells nothing where its event loop closes what cannot be accepted: told in its place, as it does elsewhere.
  const fail = (server: Net.Server | undefined, code: string) =>
    server!.emit("error", Object.assign(new Error(`accept ${code}`), { code, syscall: "accept" }))

  it.live("is an Error event of no connection, with the system's code, and the next is accepted", () =>
    Effect.gen(function* () {
      const found = yield* servers
      yield* Effect.gen(function* () {
        const broker = yield* Broker.Broker
        const errors = yield* collect(broker.eventsOf("Error"), 2)
        const bound = yield* port
        const there = yield* RawClient.connect(bound, { clientId: "there" })
        fail(found[0], "EMFILE")
        fail(found[0], "EWHATEVER")
        assert.deepStrictEqual(
          (yield* Fiber.join(errors)).map((event) => ({ ...event })),
          [
            {
              _tag: "Error",
              connectionId: "",
              errorCode: 10024,
              description: "A connection could not be accepted: Too many open files (EMFILE)"
            },
            {
              _tag: "Error",
              connectionId: "",
              errorCode: 10022,
              description: "A connection could not be accepted: EWHATEVER"
            }
          ]
        )
        yield* RawClient.ping(there)
        yield* RawClient.connect(bound, { clientId: "next" })
      }).pipe(Effect.provide(brokerLayer()))
    })
  )

  for (const protocol of [0, 2] as const) {
    it.live(`is told to the handler of a listener with protocol ${protocol}`, () =>
      Effect.gen(function* () {
        const found = yield* servers
        const failed: Array<string> = []
        const handler = yield* TestHandler.make({ acceptFailed: (errno) => failed.push(errno) })
        const { localPort } = yield* TestHandler.listen({ protocol }, handler)
        fail(found[0], "ENOMEM")
        assert.deepStrictEqual(failed, ["ENOMEM"])
        yield* TestHandler.dial(localPort)
      })
    )
  }
})
