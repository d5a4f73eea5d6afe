import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Queue from "effect/Queue"
import * as Scope from "effect/Scope"
import * as Net from "node:net"
import { connect as connectTls } from "node:tls"
import { type ClientOptions, WebSocket } from "ws"
import type * as Listener from "../../src/transport/Listener.ts"
import * as TestCertificates from "./TestCertificates.ts"
import * as TestHandler from "./TestHandler.ts"

const { ca, client, server } = TestCertificates.standard()

type WebSocketOptions = Partial<Extract<Listener.ListenerOptions, { readonly protocol: 2 }>>

const listen = (test: TestHandler.TestHandler, options: WebSocketOptions = {}) =>
  TestHandler.listen({ ...options, protocol: 2 }, test)

const listenSecurely = (
  test: TestHandler.TestHandler,
  options: Partial<Extract<Listener.ListenerOptions, { readonly protocol: 3 }>> = {}
) => TestHandler.listen({ sslCertStore: server.pem, ...options, protocol: 3 }, test)

interface Opened {
  readonly socket: WebSocket
  /** Frames as they come. */
  readonly frames: Queue.Queue<Buffer>
  readonly ends: Queue.Queue<number>
}

/** A WebSocket client; fails with the HTTP status, or the name of what went wrong. */
const open = Effect.fnUntraced(function* (
  url: string,
  protocols: ReadonlyArray<string> = ["mqtt"],
  options: ClientOptions = {}
) {
  const frames = yield* Queue.unbounded<Buffer>()
  const ends = yield* Queue.unbounded<number>()
  const socket = yield* Effect.acquireRelease(
    Effect.callback<WebSocket, number | string>((resume) => {
      const opening = new WebSocket(url, [...protocols], { ca: ca.certPem, ...options })
      opening.on("message", (frame: Buffer) => Queue.offerUnsafe(frames, frame))
      opening.on("close", (code) => Queue.offerUnsafe(ends, code))
      opening.once("open", () => resume(Effect.succeed(opening)))
      opening.once("unexpected-response", (_request, { statusCode = 0 }) => resume(Effect.fail(statusCode)))
      opening.on("error", (error) => resume(Effect.fail(error.message)))
    }),
    (opened) => Effect.sync(() => opened.terminate())
  )
  const opened: Opened = { socket, frames, ends }
  return opened
})

const urlOf = ({ localPort, protocol }: Listener.Listener, path = "/mqtt") =>
  `${protocol === 3 ? "wss" : "ws"}://127.0.0.1:${localPort}${path}`

const start = Effect.fnUntraced(function* (options: WebSocketOptions = {}) {
  const test = yield* TestHandler.make()
  const listener = yield* listen(test, options)
  const opened = yield* open(urlOf(listener))
  const connection = yield* Queue.take(test.connections)
  const heard = yield* TestHandler.hear(connection)
  return { ...opened, test, listener, connection, heard }
})

/** A client of which every byte is the test's own: the upgrade is done, the rest is raw. */
const openRaw = Effect.fnUntraced(function* (port: number) {
  const socket = yield* TestHandler.dial(port)
  const upgrade =
    "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
  socket.write(`${upgrade}Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n`)
  const answer = yield* TestHandler.dataOf(socket, 100)
  assert.include(answer.toString("latin1"), " 101 ")
  return socket
})

/** A masked frame whose mask is 0. */
const frame = (opcode: number, payload: string, final = true): Buffer =>
  Buffer.concat([Buffer.from([(final ? 0x80 : 0) | opcode, 0x80 | payload.length, 0, 0, 0, 0]), Buffer.from(payload)])

describe("WebSocketListener: upgrade", () => {
  for (const [offered, chosen] of [
    [["mqtt"], "mqtt"],
    [["mqttv3.1"], "mqttv3.1"],
    [["mqttv3.1", "mqtt"], "mqtt"],
    [["other", "mqtt"], "mqtt"]
  ] as const) {
    it.live(`of the subprotocols ${offered} it chooses ${chosen}`, () =>
      Effect.gen(function* () {
        const test = yield* TestHandler.make()
        const { socket } = yield* open(urlOf(yield* listen(test)), offered)
        assert.strictEqual(socket.protocol, chosen)
        assert.deepInclude(yield* Queue.take(test.connections), {
          protocol: 2,
          connectionId: "1",
          remoteHost: "127.0.0.1"
        })
        assert.strictEqual(test.underway.size, 0)
      })
    )
  }

  const refusals: ReadonlyArray<
    readonly [string, number, WebSocketOptions, string, ReadonlyArray<string>, ClientOptions]
  > = [
    ["no subprotocol", 400, {}, "/", [], {}],
    ["only others", 400, {}, "/", ["soap"], {}],
    ["another path", 404, { path: "/mqtt" }, "/else", ["mqtt"], {}],
    [
      "known failure 21: a page of another origin",
      403,
      { origins: ["https://app.example"] },
      "/",
      ["mqtt"],
      { origin: "https://evil.example" }
    ]
  ]
  for (const [what, status, options, path, protocols, clientOptions] of refusals) {
    it.live(`${what} is answered with ${status} and told as a failure`, () =>
      Effect.gen(function* () {
        const test = yield* TestHandler.make()
        const listener = yield* listen(test, options)
        assert.strictEqual(yield* Effect.flip(open(urlOf(listener, path), protocols, clientOptions)), status)
        const failure = yield* Queue.take(test.failures)
        assert.strictEqual(failure.code, 276)
        assert.include(failure.description, String(status))
        assert.strictEqual(test.underway.size, 0)
      })
    )
  }

  it.live("the configured path with a query, an allowed origin, and no origin are let in", () =>
    Effect.gen(function* () {
      const listener = yield* listen(yield* TestHandler.make(), { path: "/mqtt", origins: ["https://App.example/"] })
      yield* open(urlOf(listener, "/mqtt?token=1"), ["mqtt"], { origin: "https://app.example" })
      yield* open(urlOf(listener))
    })
  )

  const strange: ReadonlyArray<readonly [string, string, RegExp]> = [
    ["a plain request", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", /^HTTP\/1.1 426 [\s\S]*Upgrade: websocket/],
    ["no HTTP", "\x10\x0c\x00\x04MQTT\r\n\r\n", /^HTTP\/1.1 400 /],
    [
      "an upgrade without a key",
      "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n",
      /^HTTP\/1.1 400 /
    ]
  ]
  for (const [what, sent, answer] of strange) {
    it.live(`${what} gets an answer and the end`, () =>
      Effect.gen(function* () {
        const test = yield* TestHandler.make()
        const socket = yield* TestHandler.dial((yield* listen(test)).localPort)
        socket.write(sent)
        const got = yield* TestHandler.dataOf(socket, 20)
        assert.match(got.toString("latin1"), answer)
        yield* TestHandler.closed(socket)
        assert.strictEqual((yield* Queue.take(test.failures)).code, 276)
      })
    )
  }

  it.live("a client that never asks is cut off after the handshake timeout", () =>
    Effect.gen(function* () {
      const test = yield* TestHandler.make()
      const socket = yield* TestHandler.dial((yield* listen(test, { handshakeTimeoutSeconds: 1 })).localPort)
      socket.write("GET / HT")
      yield* TestHandler.closed(socket)
      assert.include((yield* Queue.take(test.failures)).description, "longer than 1 s for a WebSocket upgrade")
    })
  )
})

describe("WebSocketListener: data", () => {
  it.live("bytes in any framing come out as they went in, and output that waits goes out in few frames", () =>
    Effect.gen(function* () {
      const { connection, frames, heard, socket } = yield* start()
      socket.send(Buffer.from("one two"))
      assert.strictEqual((yield* Queue.take(heard.bytes)).toString(), "one two")
      const small = Array.from({ length: 1_000 }, (_, index) => Buffer.from(`packet ${index};`))
      connection.write(small)
      const got = yield* Queue.take(frames)
      assert.isTrue(got.equals(Buffer.concat(small)), "a thousand packets of one flush are one frame")
    })
  )

  it.live(
    "known failure 10: a packet over several frames and messages, and several in one, are a stream of bytes",
    () =>
      Effect.gen(function* () {
        const test = yield* TestHandler.make()
        const socket = yield* openRaw((yield* listen(test)).localPort)
        const heard = yield* TestHandler.hear(yield* Queue.take(test.connections))
        socket.write(Buffer.concat([frame(2, "ab"), frame(2, "c", false), frame(0, "d"), frame(2, ""), frame(2, "ef")]))
        let text = ""
        while (text.length < 6) text += (yield* Queue.take(heard.bytes)).toString()
        assert.strictEqual(text, "abcdef")
      })
  )

  it.live("more than the kernel takes at once arrives in order, in bounded frames, with progress on the way", () =>
    Effect.gen(function* () {
      const { connection, ends, frames, heard } = yield* start()
      const large = Buffer.alloc(8 * 1024 * 1024)
      for (let at = 0; at < large.length; at += 4) large.writeUInt32LE(at, at)
      connection.write([large.subarray(0, 10), large.subarray(10, 300_000), large.subarray(300_000)])
      connection.write([Buffer.from("the end")])
      connection.end()
      assert.isAbove(connection.writableLength, 0)
      assert.strictEqual(yield* Queue.take(ends), 1000)
      const received = yield* Queue.takeAll(frames)
      assert.isTrue(received.every(({ length }) => length <= 64 * 1024))
      assert.isTrue(Buffer.concat(received).equals(Buffer.concat([large, Buffer.from("the end")])))
      assert.isAbove(heard.drains.length, 0)
      assert.isUndefined(yield* Queue.take(heard.ends))
      assert.strictEqual(connection.writableLength, 0)
    })
  )

  it.live("a client that stops reading holds what was written, counted, until it is destroyed", () =>
    Effect.gen(function* () {
      const { connection, heard, socket } = yield* start()
      socket.pause()
      const written = 32 * 1024 * 1024
      connection.write([Buffer.alloc(written)])
      const held = connection.writableLength
      assert.isAbove(held, written / 2)
      connection.write([Buffer.alloc(1_000)])
      assert.strictEqual(connection.writableLength, held + 1_000)
      connection.destroy()
      yield* Queue.take(heard.ends)
      assert.strictEqual(connection.writableLength, 0)
      assert.deepStrictEqual(heard.drains, []) // what is thrown away with a socket was not accepted
    })
  )

  it.live("pause and resume", () =>
    Effect.gen(function* () {
      const { connection, heard, socket } = yield* start()
      connection.pause()
      const sent = Effect.callback<void>((resume) => socket.send(Buffer.from("x"), () => resume(Effect.void)))
      yield* sent
      connection.resume()
      assert.strictEqual((yield* Queue.take(heard.bytes)).toString(), "x")
    })
  )

  it.live("a text frame closes with 1003, and nothing after it is heard", () =>
    Effect.gen(function* () {
      const { ends, heard, socket } = yield* start()
      socket.send("text")
      socket.send(Buffer.from("more"))
      assert.strictEqual(yield* Queue.take(ends), 1003)
      assert.strictEqual(yield* Queue.take(heard.ends), "WS_ERR_TEXT_FRAME")
      assert.strictEqual(yield* Queue.size(heard.bytes), 0)
    })
  )

  it.live("a text frame of a client that then is silent ends within bounds, too", () =>
    Effect.gen(function* () {
      const test = yield* TestHandler.make()
      const socket = yield* openRaw((yield* listen(test)).localPort)
      const heard = yield* TestHandler.hear(yield* Queue.take(test.connections))
      socket.write(frame(1, "text"))
      assert.strictEqual(yield* Queue.take(heard.ends), "WS_ERR_TEXT_FRAME")
    })
  )

  const faults: ReadonlyArray<readonly [string, Buffer, string]> = [
    ["a frame without a mask", Buffer.from([0x82, 1, 0x41]), "WS_ERR_EXPECTED_MASK"],
    ["an unknown opcode", frame(3, "x"), "WS_ERR_INVALID_OPCODE"],
    [
      "a message larger than the limit",
      Buffer.from([0x82, 0xfe, 0x04, 0x01, 0, 0, 0, 0]),
      "WS_ERR_UNSUPPORTED_MESSAGE_LENGTH"
    ],
    [
      "a message of frames that are larger together",
      Buffer.concat(Array.from({ length: 20 }, (_, index) => frame(index === 0 ? 2 : 0, "x".repeat(100), false))),
      "WS_ERR_UNSUPPORTED_MESSAGE_LENGTH"
    ]
  ]
  for (const [what, bytes, name] of faults) {
    it.live(`${what} ends the connection as ${name}`, () =>
      Effect.gen(function* () {
        const test = yield* TestHandler.make()
        const socket = yield* openRaw((yield* listen(test, { frameBytesMax: 1_024 })).localPort)
        const heard = yield* TestHandler.hear(yield* Queue.take(test.connections))
        socket.write(bytes)
        assert.strictEqual(yield* Queue.take(heard.ends), name)
      })
    )
  }

  /** Hears a connection that may gather so many bytes, until nothing limits it. */
  const hearWithin = Effect.fnUntraced(function* (connection: Listener.TransportConnection, max: number) {
    const limit: { bytes: number | undefined } = { bytes: max }
    const heard = yield* TestHandler.hear(connection)
    const { onClose, onData, onDrain } = connection.sink
    connection.sink = {
      onClose,
      onData,
      onDrain,
      get gatheredBytesMax() {
        return limit.bytes
      }
    }
    return { ...heard, limit }
  })
  const headers = 4 * 1024
  /** The beginning of a message of a megabyte. */
  const begun = Buffer.from([0x82, 0xff, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0])
  const fragment = (index: number) => frame(index === 0 ? 2 : 0, "x".repeat(100), false)
  const beginnings: ReadonlyArray<readonly [string, (bytes: number) => Buffer]> = [
    ["in one frame", (bytes) => Buffer.concat([begun, Buffer.alloc(bytes)])],
    ["in many", (bytes) => Buffer.concat(Array.from({ length: bytes / 100 }, (_, index) => fragment(index)))],
    [
      "behind whole messages",
      (bytes) => Buffer.concat([...Array.from({ length: 9 }, () => frame(2, "whole")), begun, Buffer.alloc(bytes)])
    ]
  ]
  for (const [what, beginning] of beginnings) {
    it.live(`known failure 2: who sends more of a message than the sink lets be gathered is cut off, ${what}`, () =>
      Effect.gen(function* () {
        const test = yield* TestHandler.make()
        const socket = yield* openRaw((yield* listen(test, { frameBytesMax: 2 * 1024 * 1024 })).localPort)
        const connection = yield* Queue.take(test.connections)
        const { ends } = yield* hearWithin(connection, 10_000)
        // What comes in one piece with whole messages counts only from the next piece on.
        yield* Effect.promise(() => new Promise((done) => socket.write(beginning(10_000 + headers), done)))
        for (let sent = 0; sent < 1_000_000 && !socket.destroyed; sent += 20_000) {
          yield* Effect.promise(() => new Promise((done) => socket.write(Buffer.alloc(20_000), done)))
        }
        assert.strictEqual(yield* Queue.take(ends), "WS_ERR_UNSUPPORTED_MESSAGE_LENGTH")
      })
    )
  }

  it.live("what is within that, over any number of messages, is heard; and any message when nothing limits it", () =>
    Effect.gen(function* () {
      const test = yield* TestHandler.make()
      const { socket } = yield* open(urlOf(yield* listen(test)))
      const { bytes, ends, limit } = yield* hearWithin(yield* Queue.take(test.connections), 10_000)
      let expected = 0
      let length = 0
      const arrive = Effect.suspend(() => Effect.map(Queue.take(bytes), (chunk) => (length += chunk.length))).pipe(
        Effect.repeat({ until: () => length >= expected })
      )
      for (let count = 0; count < 50; count++) socket.send(Buffer.alloc(10_000))
      expected = 500_000
      yield* arrive
      limit.bytes = undefined
      socket.send(Buffer.alloc(10))
      socket.send(Buffer.alloc(1_500_000))
      expected = 2_000_010
      yield* arrive
      assert.strictEqual(length, expected)
      assert.strictEqual(yield* Queue.size(ends), 0)
    })
  )

  it.live("a client that resets is an end with the name of the failure", () =>
    Effect.gen(function* () {
      const test = yield* TestHandler.make()
      const socket = yield* openRaw((yield* listen(test)).localPort)
      const heard = yield* TestHandler.hear(yield* Queue.take(test.connections))
      socket.resetAndDestroy()
      assert.strictEqual(yield* Queue.take(heard.ends), "ECONNRESET")
    })
  )
})

describe("WebSocketListener: pings and ends", () => {
  it.live("answers pings, and cuts off who sends them without reading the answers", () =>
    Effect.gen(function* () {
      const { socket } = yield* start()
      const pong = yield* Effect.callback<string>((resume) => {
        socket.once("pong", (data) => resume(Effect.succeed(data.toString())))
        socket.ping("there?")
      })
      assert.strictEqual(pong, "there?")
      const test = yield* TestHandler.make()
      const flooder = yield* openRaw((yield* listen(test)).localPort)
      const connection = yield* Queue.take(test.connections)
      const heard = yield* TestHandler.hear(connection)
      flooder.pause()
      connection.write([Buffer.alloc(16 * 1024 * 1024)])
      flooder.write(Buffer.concat(Array.from({ length: 200 }, () => frame(9, "ping"))))
      yield* Queue.take(heard.ends)
    })
  )

  it.live("pings as often as it is told, and cuts off who does not answer", () =>
    Effect.gen(function* () {
      const test = yield* TestHandler.make()
      const listener = yield* listen(test, { pingSeconds: 1 })
      const lively = yield* open(urlOf(listener))
      const alive = yield* TestHandler.hear(yield* Queue.take(test.connections))
      yield* openRaw(listener.localPort)
      const dead = yield* TestHandler.hear(yield* Queue.take(test.connections))
      assert.strictEqual(yield* Queue.take(dead.ends), "ETIMEDOUT")
      lively.socket.send(Buffer.from("here"))
      assert.strictEqual((yield* Queue.take(alive.bytes)).toString(), "here")
      assert.strictEqual(yield* Queue.size(alive.ends), 0)
    })
  )

  it.live("closing the scope ends connections, also with a client that does not answer", () =>
    Effect.gen(function* () {
      const test = yield* TestHandler.make()
      const scope = yield* Scope.make()
      const listener = yield* listen(test).pipe(Scope.provide(scope))
      const opened = yield* open(urlOf(listener))
      const silent = yield* openRaw(listener.localPort)
      const halfway = yield* TestHandler.dial(listener.localPort)
      yield* Queue.take(test.connections)
      const ending = yield* Queue.take(test.connections)
      const heard = yield* TestHandler.hear(ending)
      ending.end()
      yield* Queue.take(heard.ends)
      yield* TestHandler.closed(silent)
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual(yield* Queue.take(opened.ends), 1006)
      yield* TestHandler.closed(halfway)
    })
  )

  it.live("compression only when it is turned on", () =>
    Effect.gen(function* () {
      for (const perMessageDeflate of [false, true]) {
        const { connection, frames, heard, socket } = yield* start({ perMessageDeflate })
        assert.strictEqual(socket.extensions.includes("permessage-deflate"), perMessageDeflate)
        socket.send(Buffer.alloc(50_000, "a"))
        let length = 0
        while (length < 50_000) length += (yield* Queue.take(heard.bytes)).length
        connection.write([Buffer.alloc(50_000, "b")])
        assert.strictEqual((yield* Queue.take(frames)).length, 50_000)
      }
    })
  )
})

describe("WebSocketListener: with TLS", () => {
  it.live("hands over what was negotiated, and data flows", () =>
    Effect.gen(function* () {
      const test = yield* TestHandler.make()
      const listener = yield* listenSecurely(test)
      const { frames, socket } = yield* open(urlOf(listener))
      const connection = yield* Queue.take(test.connections)
      assert.deepInclude(connection, { protocol: 3, connectionId: "1" })
      assert.strictEqual(connection.tls?.version, "TLSv1.3")
      const heard = yield* TestHandler.hear(connection)
      socket.send(Buffer.alloc(200_000, "x"))
      let length = 0
      while (length < 200_000) length += (yield* Queue.take(heard.bytes)).length
      connection.write([Buffer.from("hello")])
      assert.strictEqual((yield* Queue.take(frames)).toString(), "hello")
      assert.strictEqual(test.underway.size, 0)
    })
  )

  it.live("known failure 21: the decision about the client's certificate comes before the upgrade", () =>
    Effect.gen(function* () {
      const test = yield* TestHandler.make()
      const asking = { sslAuthenticateClients: true, sslClientCACerts: ca.certPem }
      const listener = yield* listenSecurely(test, asking)
      yield* Effect.flip(open(urlOf(listener)))
      assert.strictEqual((yield* Queue.take(test.failures)).code, 281)
      yield* open(urlOf(listener), ["mqtt"], { cert: client.certPem, key: client.keyPem })
      yield* Queue.take(test.connections)
      assert.deepStrictEqual(test.log.slice(-2), ["authenticate", "accepted"])
    })
  )

  it.live("with a PROXY header in front, the address is the one it says, at every stage", () =>
    Effect.gen(function* () {
      const test = yield* TestHandler.make()
      const listener = yield* listenSecurely(test, { proxyProtocolFrom: ["127.0.0.1"] })
      const createConnection = (): Net.Socket => {
        const raw = Net.connect(listener.localPort, "127.0.0.1")
        raw.write("PROXY TCP4 203.0.113.9 192.0.2.1 54321 443\r\n")
        return connectTls({ socket: raw, ca: ca.certPem, servername: "localhost" })
      }
      const { socket } = yield* open("ws://localhost", ["mqtt"], { createConnection })
      const connection = yield* Queue.take(test.connections)
      assert.deepInclude(connection, { remoteHost: "203.0.113.9", remotePort: 54_321, localPort: 443 })
      const heard = yield* TestHandler.hear(connection)
      socket.send(Buffer.from("x"))
      assert.strictEqual((yield* Queue.take(heard.bytes)).toString(), "x")
    })
  )
})
