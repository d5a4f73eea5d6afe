import { EventEmitter } from "node:events"
import type * as Net from "node:net"
import { assert, describe, it } from "@effect/vitest"
import type { WebSocket } from "ws"
import { WebSocketConnection } from "../../src/transport/WebSocketConnection.ts"

/** A WebSocket whose kernel buffer is full: what it is given waits until `take`. */
class FullSocket extends EventEmitter {
  readonly OPEN = 1
  readyState = 1
  bufferedAmount = 0
  terminated = false
  private sent: Array<() => void> = []

  send(_frame: Uint8Array, _options: object, sent: () => void): void {
    this.give(sent)
  }
  ping(_data: undefined, _mask: boolean, sent?: () => void): void {
    this.give(sent)
  }
  pong(_data: Buffer, _mask: boolean, sent?: () => void): void {
    this.give(sent)
  }
  terminate(): void {
    this.terminated = true
  }

  take(): void {
    this.bufferedAmount = 0
    for (const sent of this.sent.splice(0)) sent()
  }

  private give(sent: (() => void) | undefined): void {
    this.bufferedAmount++
    if (sent !== undefined) this.sent.push(sent)
  }
}

const start = () => {
  const socket = new FullSocket()
  const origin = {
    remoteHost: "",
    remotePort: 1,
    localHost: "",
    localPort: 1,
    protocol: 2,
    tcpKeepAlive: false
  } as const
  // The casts: it has what a connection uses of the two.
  const stream = new EventEmitter() as unknown as Net.Socket
  const connection = new WebSocketConnection(socket as unknown as WebSocket, stream, origin)
  let drains = 0
  connection.sink = { onData: () => {}, onDrain: () => void drains++, onClose: () => {} }
  return { connection, socket, drains: () => drains }
}

describe("WebSocketConnection", () => {
  it("tells that a socket is free again also when it was a ping or an answer to one that it was busy with", () => {
    for (const isPing of [true, false]) {
      const { connection, drains, socket } = start()
      if (isPing) connection.ping()
      else socket.emit("ping", Buffer.from("x"))
      assert.strictEqual(connection.writableLength, 1)
      socket.take()
      assert.strictEqual(connection.writableLength, 0)
      assert.strictEqual(drains(), 1)
    }
  })

  it("sends what was written behind a ping as soon as that has gone", () => {
    const { connection, socket } = start()
    connection.ping()
    connection.write([Buffer.from("abc")])
    assert.strictEqual(connection.writableLength, 4)
    socket.take()
    assert.strictEqual(connection.writableLength, 1) // the frame, given to the socket
  })

  it("is cut off by who does not read the answers to its pings", () => {
    const { socket } = start()
    for (let count = 0; count < 60; count++) socket.emit("ping", Buffer.from("x"))
    assert.isFalse(socket.terminated)
    socket.emit("ping", Buffer.from("x"))
    assert.isTrue(socket.terminated)
  })
})
