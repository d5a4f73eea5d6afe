/**
 * The documented socket settings, each by what the other side or the operating system sees of it.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Net from "node:net"
import * as Bind from "../../src/transport/Bind.ts"
import type * as Listener from "../../src/transport/Listener.ts"
import * as ListenerConfig from "../../src/transport/ListenerConfig.ts"
import * as TestHandler from "./TestHandler.ts"

/** Every protocol in its simplest form. */
const start = Effect.fnUntraced(function* (options: Listener.ListenerOptions) {
  const test = yield* TestHandler.make()
  const listener = yield* TestHandler.listen(options, test)
  const socket = yield* TestHandler.dial(listener.localPort)
  const connection = yield* Queue.take(test.connections)
  const heard = yield* TestHandler.hear(connection)
  return { listener, socket, connection, heard }
})

/** How a socket ended: "end" in order, or the name of the failure. */
const endOf = (socket: Net.Socket) =>
  Effect.callback<string>((resume) => {
    socket.resume()
    socket.once("end", () => resume(Effect.succeed("end")))
    socket.once("error", (error: NodeJS.ErrnoException) => resume(Effect.succeed(error.code ?? "")))
  })

describe("Linger and LingerTime", () => {
  it.live("by default a close is orderly, after everything that was written", () =>
    Effect.gen(function* () {
      const { connection, socket } = yield* start({})
      connection.write([Buffer.alloc(4_000_000)])
      connection.end()
      assert.strictEqual((yield* TestHandler.dataOf(socket, 4_000_000)).length, 4_000_000)
      assert.strictEqual(yield* endOf(socket), "end")
    })
  )

  it.live("Linger=False resets at once and drops what is unsent", () =>
    Effect.gen(function* () {
      const { connection, heard, socket } = yield* start({ linger: false })
      socket.pause()
      connection.write([Buffer.alloc(32 * 1024 * 1024)])
      connection.end()
      yield* Queue.take(heard.ends)
      assert.strictEqual(yield* endOf(socket), "ECONNRESET")
      assert.isBelow(socket.bytesRead, 32 * 1024 * 1024)
    })
  )

  it.live("LingerTime lets a close wait that long, then resets", () =>
    Effect.gen(function* () {
      const { connection, heard, socket } = yield* start({ lingerSeconds: 1 })
      socket.pause()
      connection.write([Buffer.alloc(32 * 1024 * 1024)])
      connection.end()
      yield* Queue.take(heard.ends)
      assert.strictEqual(yield* endOf(socket), "ECONNRESET")
    })
  )

  it.live("LingerTime is not waited for when everything is sent", () =>
    Effect.gen(function* () {
      const { connection, heard, socket } = yield* start({ lingerSeconds: 3_600 })
      connection.write([Buffer.from("bye")])
      connection.end()
      assert.strictEqual(yield* endOf(socket), "end")
      assert.isUndefined(yield* Queue.take(heard.ends))
    })
  )
})

describe("MaxTransferRate", () => {
  it.live("sends no faster than it says, everything in order, and ends after it", () =>
    Effect.gen(function* () {
      const transferBytesPerSecondMax = 1_000_000
      const { connection, heard, socket } = yield* start({ transferBytesPerSecondMax })
      const large = Buffer.alloc(500_000)
      for (let at = 0; at < large.length; at += 4) large.writeUInt32LE(at, at)
      const began = performance.now()
      connection.write([large.subarray(0, 7), large.subarray(7)])
      connection.end()
      assert.isAbove(connection.writableLength, large.length / 2)
      const received = yield* TestHandler.dataOf(socket, large.length)
      const seconds = (performance.now() - began) / 1_000
      // A burst of two slices of 50 ms may come at once. A slow machine only makes it longer.
      assert.isAtLeast(seconds, large.length / transferBytesPerSecondMax - 0.1)
      assert.isTrue(received.equals(large))
      assert.isAbove(heard.drains.length, 3)
      assert.strictEqual(yield* endOf(socket), "end")
    })
  )

  it.live("a connection that is destroyed leaves nothing that waits", () =>
    Effect.gen(function* () {
      const { connection, heard } = yield* start({ transferBytesPerSecondMax: 1 })
      connection.write([Buffer.alloc(1_000)])
      connection.destroy()
      yield* Queue.take(heard.ends)
      assert.strictEqual(connection.writableLength, 0)
    })
  )
})

describe("UseIPv6", () => {
  const listen = (options: Listener.ListenerOptions) =>
    Effect.flatMap(TestHandler.make(), (test) => TestHandler.listen(options, test))

  it.live("0 takes IPv4 and refuses what is only IPv6", () =>
    Effect.gen(function* () {
      assert.strictEqual((yield* listen({ useIPv6: 0, host: "localhost" })).localHost, "127.0.0.1")
      assert.strictEqual((yield* Effect.flip(listen({ useIPv6: 0, host: "::1" })))._tag, "HostNotFound")
    })
  )

  it.live("1 takes IPv6 only, 2 prefers it and else takes IPv4", () =>
    Effect.gen(function* () {
      const six = yield* Effect.option(listen({ useIPv6: 1 }))
      if (six._tag === "None") {
        console.log("skipped: this machine has no IPv6")
        assert.strictEqual((yield* listen({ useIPv6: 2 })).localHost, "127.0.0.1")
        return
      }
      assert.strictEqual(six.value.localHost, "::1")
      assert.strictEqual((yield* listen({ useIPv6: 2 })).localHost, "::1")
      const all = yield* listen({ useIPv6: 1, host: "0.0.0.0" })
      assert.strictEqual(all.localHost, "::")
      const refused = yield* Effect.callback<string>((resume) => {
        const socket = Net.connect({ port: all.localPort, host: "127.0.0.1" })
        socket.once("connect", () => resume(Effect.succeed("connected")))
        socket.once("error", (error: NodeJS.ErrnoException) => resume(Effect.succeed(error.code ?? "")))
      })
      assert.strictEqual(refused, "ECONNREFUSED")
      assert.strictEqual((yield* listen({ useIPv6: 2, host: "127.0.0.2" })).localHost, "127.0.0.2")
    })
  )
})

describe("TCPKeepAlive and TcpNoDelay", () => {
  /** What a listener asks of the sockets that it accepts; the operating system's own view is not there to ask. */
  const asked = (options: Listener.ListenerOptions) =>
    Effect.map(ListenerConfig.decode(options), (config) => [Bind.probes(config), Bind.serverOptions(config)] as const)

  it.effect("are off and on by default; a time turns the probe on", () =>
    Effect.gen(function* () {
      const [probes, options] = yield* asked({})
      assert.deepStrictEqual([probes, options.keepAlive, options.noDelay], [false, false, true])
      for (const setting of [
        { tcpKeepAlive: true },
        { tcpKeepAliveMillis: 5_000 },
        { tcpKeepAliveIntervalMillis: 1 }
      ]) {
        assert.isTrue((yield* asked(setting))[0])
      }
      const [, slow] = yield* asked({ noDelay: false, tcpKeepAliveMillis: 7_000 })
      assert.deepInclude(slow, { noDelay: false, keepAlive: true, keepAliveInitialDelay: 7_000 })
    })
  )

  it.live("a connection says whether it is probed", () =>
    Effect.gen(function* () {
      const probed = yield* start({ tcpKeepAliveMillis: 60_000, tcpKeepAliveIntervalMillis: 2_000 })
      assert.isTrue(probed.connection.tcpKeepAlive)
      assert.isFalse((yield* start({})).connection.tcpKeepAlive)
    })
  )
})
