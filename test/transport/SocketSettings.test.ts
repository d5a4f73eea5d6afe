/**
 * The documented socket settings, each by what the other side or the operating system sees of it.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Net from "node:net"
import * as Tls from "node:tls"
import type * as Listener from "../../src/transport/Listener.ts"
import * as TestHandler from "./TestHandler.ts"
import { ca, server } from "./TestTls.ts"

const kinds = [
  ["TCP", { protocol: 0 }],
  ["TLS", { protocol: 1, sslCertStore: server.pem }],
  ["WebSocket", { protocol: 2 }],
  ["secure WebSocket", { protocol: 3, sslCertStore: server.pem }]
] as const satisfies ReadonlyArray<readonly [string, Listener.ListenerOptions]>
type Kind = (typeof kinds)[number][1]

const UPGRADE = [
  "GET / HTTP/1.1",
  "Host: localhost",
  "Connection: Upgrade",
  "Upgrade: websocket",
  "Sec-WebSocket-Version: 13",
  "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
  "Sec-WebSocket-Protocol: mqtt",
  "\r\n"
].join("\r\n")

const secured = (raw: Net.Socket) =>
  Effect.callback<Net.Socket>((resume) => {
    const socket = Tls.connect({ socket: raw, ca: ca.certPem, servername: "localhost" })
    socket.on("error", () => {})
    socket.once("secureConnect", () => resume(Effect.succeed(socket)))
  })

/** A listener, and a client that has got as far as to be handed over and reads no further. */
const start = Effect.fnUntraced(function* (kind: Kind, options: Omit<Listener.ListenerOptions, "protocol">) {
  const test = yield* TestHandler.make()
  const listener = yield* TestHandler.listen({ ...kind, ...options }, test)
  const raw = yield* TestHandler.dial(listener.localPort)
  const socket = kind.protocol === 1 || kind.protocol === 3 ? yield* secured(raw) : raw
  if (kind.protocol >= 2) {
    socket.write(UPGRADE)
    assert.match((yield* TestHandler.dataOf(socket, 1)).toString(), /^HTTP\/1\.1 101 .*\r\n\r\n$/s)
  }
  socket.pause()
  const connection = yield* Queue.take(test.connections)
  const heard = yield* TestHandler.hear(connection)
  return { listener, socket, connection, heard }
})

/** What is in the frames that are complete, and whether one of them ends the connection. */
const unframed = (bytes: Buffer) => {
  const payloads: Array<Buffer> = []
  for (let at = 0; at + 2 <= bytes.length; ) {
    const short = bytes[at + 1]!
    const header = short === 127 ? 10 : short === 126 ? 4 : 2
    if (at + header > bytes.length) break
    // Of eight bytes the first two are never needed here.
    const width = short === 126 ? 2 : 6
    const length = short < 126 ? short : bytes.readUIntBE(at + header - width, width)
    const end = at + header + length
    if (end > bytes.length) break
    if ((bytes[at]! & 0x0f) === 8) return { payload: Buffer.concat(payloads), closes: true }
    payloads.push(bytes.subarray(at + header, end))
    at = end
  }
  return { payload: Buffer.concat(payloads), closes: false }
}

/** Reads on until the end: "end" in order, or the name of the failure. */
const rest = ({ protocol }: Kind, socket: Net.Socket) =>
  Effect.callback<{ readonly payload: Buffer; readonly how: string }>((resume) => {
    const chunks: Array<Buffer> = []
    const done = (how: string) => {
      const bytes = Buffer.concat(chunks)
      resume(Effect.succeed({ payload: protocol < 2 ? bytes : unframed(bytes).payload, how }))
    }
    socket.once("end", () => done("end"))
    socket.once("error", (error: NodeJS.ErrnoException) => done(error.code ?? ""))
    socket.on("data", (chunk: Buffer) => {
      chunks.push(chunk)
      // The end of a WebSocket wants an answer: it is the last frame there is, with a reason of two bytes or none.
      const mayBeLast = protocol >= 2 && (chunk.at(-2) === 0x88 || chunk.at(-4) === 0x88)
      if (mayBeLast && unframed(Buffer.concat(chunks)).closes) socket.end()
    })
    socket.resume()
  })

const large = 32 * 1024 * 1024

for (const [name, kind] of kinds) {
  describe.concurrent(`Linger and LingerTime on ${name}`, () => {
    it.live("by default a close is orderly, after everything that was written", () =>
      Effect.gen(function* () {
        const { connection, socket } = yield* start(kind, {})
        connection.write([Buffer.alloc(4_000_000)])
        connection.end()
        const { how, payload } = yield* rest(kind, socket)
        assert.deepStrictEqual([payload.length, how], [4_000_000, "end"])
      })
    )

    for (const [setting, options] of [
      ["Linger=False resets at once and drops what is unsent", { linger: false }],
      ["LingerTime lets a close wait that long, then resets", { lingerSeconds: 1 }]
    ] as const) {
      it.live(setting, () =>
        Effect.gen(function* () {
          const { connection, heard, socket } = yield* start(kind, options)
          connection.write([Buffer.alloc(large)])
          connection.end()
          yield* Queue.take(heard.ends)
          const { how, payload } = yield* rest(kind, socket)
          assert.strictEqual(how, "ECONNRESET")
          assert.isBelow(payload.length, large)
        })
      )
    }

    it.live("LingerTime is not waited for when everything is sent", () =>
      Effect.gen(function* () {
        const { connection, heard, socket } = yield* start(kind, { lingerSeconds: 3_600 })
        connection.write([Buffer.from("bye")])
        connection.end()
        const { how, payload } = yield* rest(kind, socket)
        assert.deepStrictEqual([payload.toString(), how], ["bye", "end"])
        assert.isUndefined(yield* Queue.take(heard.ends))
      })
    )
  })

  describe.concurrent(`MaxTransferRate on ${name}`, () => {
    it.live("sends no faster than it says, everything in order, and ends after it", () =>
      Effect.gen(function* () {
        const transferBytesPerSecondMax = 1_000_000
        const { connection, heard, socket } = yield* start(kind, { transferBytesPerSecondMax })
        const sent = Buffer.alloc(500_000)
        for (let at = 0; at < sent.length; at += 4) sent.writeUInt32LE(at, at)
        const began = performance.now()
        connection.write([sent.subarray(0, 7), sent.subarray(7)])
        connection.end()
        assert.isAbove(connection.writableLength, sent.length / 2)
        const { how, payload } = yield* rest(kind, socket)
        const seconds = (performance.now() - began) / 1_000
        // A burst of two slices of 50 ms may come at once. A slow machine only makes it longer.
        assert.isAtLeast(seconds, sent.length / transferBytesPerSecondMax - 0.1)
        assert.isTrue(payload.equals(sent))
        assert.isAbove(heard.drains.length, 3)
        assert.strictEqual(how, "end")
      })
    )

    it.live("a connection that is destroyed leaves nothing that waits", () =>
      Effect.gen(function* () {
        const { connection, heard } = yield* start(kind, { transferBytesPerSecondMax: 1 })
        connection.write([Buffer.alloc(1_000)])
        connection.destroy()
        yield* Queue.take(heard.ends)
        assert.strictEqual(connection.writableLength, 0)
      })
    )
  })
}

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

/** What of a socket's handle is asked here. */
interface Handle {
  setNoDelay(on: boolean): unknown
  setKeepAlive(on: boolean, delaySeconds: number, intervalSeconds?: number): unknown
  getsockname(into: { port?: number }): unknown
}

/** What the operating system is told about the sockets of each local port, until the scope closes. */
const overheard = Effect.gen(function* () {
  const { socket } = yield* start({ protocol: 0 }, {})
  // Node has no public way to a handle, and none to read these options back.
  const { _handle } = socket as unknown as { readonly _handle: Handle }
  const prototype: Handle = Object.getPrototypeOf(_handle)
  const { setKeepAlive, setNoDelay } = prototype
  const told: Array<readonly [port: number | undefined, option: string, ...values: ReadonlyArray<unknown>]> = []
  const tell = (handle: Handle, option: string, ...values: ReadonlyArray<unknown>): void => {
    const name: { port?: number } = {}
    handle.getsockname(name)
    told.push([name.port, option, ...values])
  }
  yield* Effect.acquireRelease(
    Effect.sync(() => {
      prototype.setNoDelay = function (this: Handle, on) {
        tell(this, "noDelay", on)
        return setNoDelay.call(this, on)
      }
      prototype.setKeepAlive = function (this: Handle, on, delay, interval, ...more) {
        tell(this, "keepAlive", on, delay, interval)
        return setKeepAlive.call(this, on, delay, interval, ...more)
      }
    }),
    () => Effect.sync(() => Object.assign(prototype, { setKeepAlive, setNoDelay }))
  )
  return told
})

describe("TCPKeepAlive, KeepAliveTime, KeepAliveInterval and TcpNoDelay", () => {
  for (const [name, kind] of kinds) {
    /** What was told last of each option, and whether the connection says that it is probed. */
    const asked = (options: Omit<Listener.ListenerOptions, "protocol">) =>
      Effect.gen(function* () {
        const told = yield* overheard
        const { connection, listener } = yield* start(kind, options)
        const ours = told.filter(([port]) => port === listener.localPort)
        const last = (option: string) => ours.findLast(([, which]) => which === option)?.slice(2)
        return [last("noDelay") ?? [false], last("keepAlive") ?? [false], connection.tcpKeepAlive]
      }).pipe(Effect.scoped)

    it.live(`are what the operating system is told on ${name}`, () =>
      Effect.gen(function* () {
        assert.deepStrictEqual(yield* asked({}), [[true], [false], false])
        assert.deepStrictEqual(yield* asked({ noDelay: false }), [[false], [false], false])
        assert.deepStrictEqual(yield* asked({ tcpKeepAlive: true }), [[true], [true, 0, undefined], true])
        assert.deepStrictEqual(yield* asked({ tcpKeepAliveMillis: 9_000 }), [[true], [true, 9, undefined], true])
        const both = { tcpKeepAliveMillis: 9_000, tcpKeepAliveIntervalMillis: 3_000 }
        assert.deepStrictEqual(yield* asked(both), [[true], [true, 9, 3], true])
        assert.deepStrictEqual(yield* asked({ tcpKeepAliveIntervalMillis: 3_000 }), [[true], [true, 0, 3], true])
      })
    )
  }
})
