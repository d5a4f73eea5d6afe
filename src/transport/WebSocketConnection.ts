/**
 * A WebSocket as a `TransportConnection`: a stream of bytes in binary frames.
 *
 * Output that is gathered while the socket is busy goes out as one frame when it is free, at most a piece at a time, as
 * on TCP (`TcpConnection.ts`). Packets need not begin or end with a frame, in either direction [MQTT-6.0.0-2].
 */
import type * as Net from "node:net"
import type { WebSocket } from "ws"
import { Endpoint } from "./Endpoint.ts"
import { errnoOf } from "./ListenError.ts"
import type { Origin, TransportConnection } from "./Listener.ts"

/** What the headers of a message's frames may come to, besides its bytes. */
const HEADERS_BYTES = 4 * 1024

/** Most bytes in one frame out. */
const PIECE_BYTES = 64 * 1024

/** What the end of a connection is called that sent text [MQTT-6.0.0-1], */
const TEXT_FRAME = "WS_ERR_TEXT_FRAME"
/** and of one whose message outgrew what its receiver allows; it has this name when it outgrew `frameBytesMax`, too. */
const TOO_LONG = "WS_ERR_UNSUPPORTED_MESSAGE_LENGTH"
/** Answers to pings that the socket has not accepted: beyond, nobody reads them. */
const PONGS_MAX = 60

const PING_UNANSWERED = "ETIMEDOUT"

const owner = Symbol("WebSocketConnection")

interface OwnedWebSocket extends WebSocket {
  [owner]?: WebSocketConnection
}

const binary = { binary: true } as const

// `ws` calls listeners with the WebSocket as `this`; `owner` is set before they are added.
function onMessage(this: OwnedWebSocket, data: Buffer, isBinary: boolean): void {
  this[owner]!.received(data, isBinary)
}
function onError(this: OwnedWebSocket, error: Error): void {
  this[owner]!.failed(error)
}
function onPing(this: OwnedWebSocket, data: Buffer): void {
  this[owner]!.pinged(data)
}
function onPong(this: OwnedWebSocket): void {
  this[owner]!.pingUnanswered = false
}
function onClose(this: OwnedWebSocket): void {
  this[owner]!.ended()
}

export class WebSocketConnection extends Endpoint implements TransportConnection {
  /** Told when the socket is gone, besides the sink. */
  onGone: ((connection: Endpoint) => void) | undefined = undefined
  pingUnanswered = false
  private readonly socket: OwnedWebSocket
  /** What the socket's bytes come through. */
  private readonly stream: Net.Socket
  /** Bytes that have come since the last message. */
  private gatheredBytes = 0
  /** The bytes that are coming completed a message. */
  private completed = false
  private errno: string | undefined = undefined
  private closed = false
  private ending = false
  /** A write has not been accepted yet: its callback is news. */
  private waiting = false
  private pongs = 0
  private queue: Array<Uint8Array> = []
  private queuedBytes = 0

  constructor(socket: WebSocket, stream: Net.Socket, origin: Origin) {
    super(origin)
    this.socket = socket
    this.stream = stream
    this.socket[owner] = this
    this.socket.on("message", onMessage)
    this.socket.on("error", onError)
    this.socket.on("ping", onPing)
    this.socket.on("pong", onPong)
    this.socket.on("close", onClose)
    // `ws` keeps what the socket fails with to itself.
    stream.on("error", (error) => this.failed(error))
    // Behind the listener of `ws`: it has taken from these bytes what it can.
    stream.on("data", this.gather)
  }

  get isOpen(): boolean {
    return !this.closed && !this.stream.destroyed
  }

  get writableLength(): number {
    return this.closed ? 0 : this.socket.bufferedAmount + this.queuedBytes
  }

  write(chunks: ReadonlyArray<Uint8Array>): void {
    if (this.closed || this.ending) return
    for (const chunk of chunks) {
      for (let at = 0; at < chunk.length; at += PIECE_BYTES) this.queue.push(chunk.subarray(at, at + PIECE_BYTES))
      this.queuedBytes += chunk.length
    }
    this.pump()
  }

  pause(): void {
    this.socket.pause()
  }

  resume(): void {
    this.socket.resume()
  }

  end(): void {
    if (this.closed || this.ending) return
    this.ending = true
    this.endIfSent()
  }

  destroy(): void {
    this.socket.terminate()
  }

  /** Sends a ping, unless there is an earlier one that nobody has answered: then the client is gone. */
  ping(): void {
    if (this.closed || this.ending) return
    if (this.pingUnanswered) {
      this.errno ??= PING_UNANSWERED
      this.socket.terminate()
    } else if (!this.waiting) {
      this.pingUnanswered = true
      this.socket.ping(undefined, false, this.controlSent)
    }
  }

  // For the socket's listeners.

  received(data: Buffer, isBinary: boolean): void {
    if (this.errno !== undefined) return
    this.completed = true
    if (isBinary) {
      if (data.length > 0) this.sink.onData(data)
      return
    }
    this.errno = TEXT_FRAME
    this.socket.close(1003, "MQTT is sent in binary frames")
  }

  /** Answered here and not by `ws`, which tells nobody when the answer has gone. */
  pinged(data: Buffer): void {
    if (this.closed || this.socket.readyState !== this.socket.OPEN) return
    if (++this.pongs > PONGS_MAX) this.socket.terminate()
    else this.socket.pong(data, false, this.ponged)
  }

  failed(error: Error): void {
    this.errno ??= errnoOf(error)
  }

  ended(): void {
    if (this.closed) return
    this.closed = true
    this.queue = []
    this.queuedBytes = 0
    this.onGone?.(this)
    this.sink.onClose(this.errno)
  }

  /**
   * `ws` gathers a message in memory, whatever number of frames it comes in, and its limit is for the whole life of a
   * connection. Who has said nothing yet must not have as much as who is known.
   */
  private readonly gather = (bytes: Buffer): void => {
    const most = this.sink.gatheredBytesMax
    this.gatheredBytes = this.completed ? 0 : this.gatheredBytes + bytes.length
    this.completed = false
    if (most === undefined) this.stream.removeListener("data", this.gather)
    else if (this.gatheredBytes > most + HEADERS_BYTES) {
      this.errno ??= TOO_LONG
      this.socket.terminate()
    }
  }

  private readonly ponged = (): void => {
    this.pongs--
    this.controlSent()
  }

  /** Pings and pongs count in `writableLength`: who saw one there and waits is told when it has gone. */
  private readonly controlSent = (): void => {
    if (this.closed || this.socket.bufferedAmount > 0) return
    this.drained()
  }

  private readonly accepted = (): void => {
    if (!this.waiting || this.closed || this.socket.bufferedAmount > 0) return
    this.drained()
  }

  private drained(): void {
    // Thrown away with the socket, and not accepted: the end is told next.
    if (this.stream.destroyed) return
    this.pump()
    this.sink.onDrain()
  }

  /** Gives the socket a frame, and further ones as long as the kernel takes each at once. */
  private pump(): void {
    const { queue, socket } = this
    let next = 0
    while (next < queue.length && socket.bufferedAmount === 0 && socket.readyState === socket.OPEN) {
      const first = next
      let bytes = 0
      do bytes += queue[next++]!.length
      while (next < queue.length && bytes + queue[next]!.length <= PIECE_BYTES)
      this.queuedBytes -= bytes
      const frame = next - first === 1 ? queue[first]! : Buffer.concat(queue.slice(first, next), bytes)
      socket.send(frame, binary, this.accepted)
    }
    if (next > 0) queue.splice(0, next)
    this.waiting = this.writableLength > 0
    this.endIfSent()
  }

  /** The closing handshake comes after the last byte, because the time for it is short. */
  private endIfSent(): void {
    if (this.ending && this.writableLength === 0) this.socket.close(1000)
  }
}
