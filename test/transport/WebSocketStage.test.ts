/**
 * The bound of frames is that of the moment in which a connection begins: it may change while the listener runs.
 */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import { WebSocket } from "ws"
import * as ListenerConfig from "../../src/transport/ListenerConfig.ts"
import * as StagedListener from "../../src/transport/StagedListener.ts"
import * as TestHandler from "./TestHandler.ts"

/** A client, and what it is told at its end. */
const open = (port: number) =>
  Effect.acquireRelease(
    Effect.callback<WebSocket>((resume) => {
      const opening = new WebSocket(`ws://127.0.0.1:${port}/mqtt`, ["mqtt"])
      opening.once("open", () => resume(Effect.succeed(opening)))
    }),
    (socket) => Effect.sync(() => socket.terminate())
  )

const codeOf = (socket: WebSocket) =>
  Effect.callback<number>((resume) => {
    socket.once("close", (code) => resume(Effect.succeed(code)))
  })

it.live("a frame may be as large as the configuration says when its connection begins", () =>
  Effect.gen(function* () {
    let frameBytesMax = 100
    const config = yield* ListenerConfig.decode({ protocol: 2, port: 0 })
    assert.isTrue(config.protocol === 2)
    const changing: ListenerConfig.ListenerConfig = {
      ...config,
      get frameBytesMax() {
        return frameBytesMax
      }
    }
    const test = yield* TestHandler.make()
    const { localPort } = yield* StagedListener.make(changing, test.handler)
    /** What becomes of a frame of 150 bytes: its length, or the code that the connection is closed with. */
    const attempt = Effect.fnUntraced(function* (socket: WebSocket) {
      const { bytes } = yield* TestHandler.hear(yield* Queue.take(test.connections))
      socket.send(Buffer.alloc(150))
      return yield* Effect.raceFirst(
        Effect.map(Queue.take(bytes), ({ length }) => length),
        codeOf(socket)
      )
    })
    const early = yield* open(localPort)
    frameBytesMax = 200
    assert.strictEqual(yield* attempt(early), 1009)
    assert.strictEqual(yield* attempt(yield* open(localPort)), 150)
    frameBytesMax = 100
    assert.strictEqual(yield* attempt(yield* open(localPort)), 1009)
  })
)
