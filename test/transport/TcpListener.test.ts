import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Queue from "effect/Queue"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Net from "node:net"
import * as Listener from "../../src/transport/Listener.ts"
import * as TcpListener from "../../src/transport/TcpListener.ts"
import * as TestHandler from "./TestHandler.ts"

const config = (options: Listener.ListenerOptions = {}) =>
  Schema.decodeUnknownSync(Listener.TcpListenerConfig)({ port: 0, ...options })

describe("TcpListener", () => {
  it.live("takes a free port for 0 and reports the bound address", () =>
    Effect.gen(function* () {
      const { handler } = yield* TestHandler.make()
      const listener = yield* TcpListener.make(config(), handler)
      assert.isAbove(listener.localPort, 0)
      assert.strictEqual(Listener.url(listener), `mqtt://127.0.0.1:${listener.localPort}`)
      assert.isTrue(listener.listening)
    })
  )

  it.live("fails with a typed error that names the address when it is in use", () =>
    Effect.gen(function* () {
      const { handler } = yield* TestHandler.make()
      const first = yield* TcpListener.make(config(), handler)
      const error = yield* Effect.flip(TcpListener.make(config({ port: first.localPort }), handler))
      assert.strictEqual(error._tag, "AddressInUse")
      assert.strictEqual(error.code, 10048)
      assert.include(error.message, `127.0.0.1:${first.localPort}`)
    })
  )

  it.live("frees the address when its scope closes", () =>
    Effect.gen(function* () {
      const { handler } = yield* TestHandler.make()
      const port = yield* Effect.scoped(
        Effect.map(TcpListener.make(config(), handler), (listener) => listener.localPort)
      )
      const again = yield* TcpListener.make(config({ port }), handler)
      assert.strictEqual(again.localPort, port)
    })
  )

  it.live("hands over the addresses of both ends, paused, and reads once it is resumed", () =>
    Effect.gen(function* () {
      const { connections, handler } = yield* TestHandler.make()
      const listener = yield* TcpListener.make(config(), handler)
      const socket = yield* TestHandler.dial(listener.localPort)
      socket.write("hello")
      const connection = yield* Queue.take(connections)
      assert.strictEqual(connection.localPort, listener.localPort)
      assert.strictEqual(connection.remotePort, socket.localPort)
      assert.strictEqual(connection.remoteHost, "127.0.0.1")
      assert.strictEqual(connection.protocol, 0)
      const got = yield* Deferred.make<string>()
      connection.sink = {
        onData: (bytes) => Deferred.doneUnsafe(got, Effect.succeed(Buffer.from(bytes).toString())),
        onDrain: () => {},
        onClose: () => {}
      }
      connection.resume()
      assert.strictEqual(yield* Deferred.await(got), "hello")
    })
  )

  it.live("writes an IPv4 peer of a socket for both families as IPv4", () =>
    Effect.gen(function* () {
      const { connections, handler } = yield* TestHandler.make()
      const listener = yield* TcpListener.make(config({ host: "::" }), handler).pipe(Effect.option)
      if (listener._tag === "None") {
        console.log("skipped: this machine has no IPv6")
        return
      }
      yield* TestHandler.dial(listener.value.localPort)
      assert.strictEqual((yield* Queue.take(connections)).remoteHost, "127.0.0.1")
    })
  )

  it.live("asks before a byte is read, and closes whom it refuses", () =>
    Effect.gen(function* () {
      const asked = yield* Deferred.make<(accepted: boolean) => void>()
      let accepted = 0
      const { handler } = yield* TestHandler.make({
        admit: (_peer, decide) => {
          Deferred.doneUnsafe(asked, Effect.succeed(decide))
          return undefined
        },
        accepted: () => accepted++
      })
      const listener = yield* TcpListener.make(config(), handler)
      const socket = yield* TestHandler.dial(listener.localPort)
      const decide = yield* Deferred.await(asked)
      assert.strictEqual(accepted, 0)
      decide(false)
      yield* TestHandler.closed(socket)
      assert.strictEqual(accepted, 0)
      assert.strictEqual(socket.bytesRead, 0)
    })
  )

  it.live("stops accepting and leaves its connections alone; closing the scope destroys them", () =>
    Effect.gen(function* () {
      const { connections, handler } = yield* TestHandler.make()
      const scope = yield* Scope.make()
      const listener = yield* TcpListener.make(config(), handler).pipe(Scope.provide(scope))
      const socket = yield* TestHandler.dial(listener.localPort)
      const connection = yield* Queue.take(connections)
      listener.stopAccepting()
      assert.isFalse(listener.listening)
      const refused = yield* Effect.callback<string | undefined>((resume) => {
        Net.connect({ port: listener.localPort, host: "127.0.0.1" }).once("error", (error: NodeJS.ErrnoException) =>
          resume(Effect.succeed(error.code))
        )
      })
      assert.strictEqual(refused, "ECONNREFUSED")
      connection.write([Buffer.from("still here")])
      assert.strictEqual((yield* TestHandler.dataOf(socket, 10)).toString(), "still here")
      yield* Scope.close(scope, Exit.void)
      yield* TestHandler.closed(socket)
    })
  )
})

describe("TcpConnection", () => {
  it.live("sends more than the kernel takes at once, in order, and reports progress on the way", () =>
    Effect.gen(function* () {
      const { connections, handler } = yield* TestHandler.make()
      const listener = yield* TcpListener.make(config(), handler)
      const socket = yield* TestHandler.dial(listener.localPort)
      const connection = yield* Queue.take(connections)
      const left: Array<number> = []
      connection.sink = {
        onData: () => {},
        onDrain: () => left.push(connection.writableLength),
        onClose: () => {}
      }
      connection.resume()
      const large = Buffer.alloc(24 * 1024 * 1024)
      for (let at = 0; at < large.length; at += 4) large.writeUInt32LE(at, at)
      const chunks = [large.subarray(0, 10), large.subarray(10, 200_000), large.subarray(200_000)]
      connection.write(chunks)
      connection.write([Buffer.from("the end")])
      connection.end()
      assert.isAbove(connection.writableLength, 0)
      const received = yield* TestHandler.dataOf(socket, large.length + 7)
      assert.isTrue(received.subarray(0, large.length).equals(large))
      assert.strictEqual(received.subarray(large.length).toString(), "the end")
      assert.isAbove(left.length, 1)
      assert.isTrue(left.every((value, index) => index === 0 || value < left[index - 1]!))
      yield* TestHandler.closed(socket)
    })
  )

  it.live("holds what was written for who does not read, and what is thrown away with it was not accepted", () =>
    Effect.gen(function* () {
      const { connections, handler } = yield* TestHandler.make()
      const listener = yield* TcpListener.make(config(), handler)
      for (const bytes of [1_000, 32 * 1024 * 1024]) {
        const socket = yield* TestHandler.dial(listener.localPort)
        socket.pause()
        const connection = yield* Queue.take(connections)
        const heard = yield* TestHandler.hear(connection)
        while (connection.writableLength === 0) connection.write([Buffer.alloc(bytes)])
        connection.destroy()
        yield* Queue.take(heard.ends)
        assert.deepStrictEqual(heard.drains, [])
      }
    })
  )

  it.live("tells the end once, with the name of the failure", () =>
    Effect.gen(function* () {
      const { connections, handler } = yield* TestHandler.make()
      const listener = yield* TcpListener.make(config(), handler)
      const socket = yield* TestHandler.dial(listener.localPort)
      const connection = yield* Queue.take(connections)
      const ends: Array<string | undefined> = []
      const end = yield* Deferred.make<void>()
      connection.sink = {
        onData: () => {},
        onDrain: () => {},
        onClose: (errno) => {
          ends.push(errno)
          Deferred.doneUnsafe(end, Effect.void)
        }
      }
      connection.resume()
      socket.resetAndDestroy()
      yield* Deferred.await(end)
      connection.destroy()
      connection.write([Buffer.from("nobody reads this")])
      assert.deepStrictEqual(ends, ["ECONNRESET"])
      assert.strictEqual(connection.writableLength, 0)
    })
  )
})
