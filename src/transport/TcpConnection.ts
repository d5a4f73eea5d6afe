/**
 * A TCP socket, or a TLS socket over one, as a `TransportConnection`.
 *
 * Large output is given to the socket in pieces, the next when the kernel has taken the one before: Node reports a
 * write only when all of it is accepted, and without pieces a slow reader of a long write would look like a dead one.
 * When the kernel takes a piece at once, which is the usual case, the next follows at once.
 *
 * The socket's listeners are functions of this module, not closures: an idle connection costs as little as it can.
 */
import type * as Net from "node:net"
import { Endpoint } from "./Endpoint.ts"
import { errnoOf } from "./ListenError.ts"
import type { Origin, TransportConnection } from "./Listener.ts"

/** Bytes per write to the socket. A link of 2 KiB/s finishes one in the default drain timeout. */
const PIECE_BYTES = 64 * 1024

const owner = Symbol("TcpConnection")

interface OwnedSocket extends Net.Socket {
  [owner]?: TcpConnection
}

// Node calls listeners with the socket as `this`; `owner` is set before they are added.
function onData(this: OwnedSocket, bytes: Uint8Array): void {
  this[owner]!.sink.onData(bytes)
}
function onError(this: OwnedSocket, error: Error): void {
  this[owner]!.failed(error)
}
function onClose(this: OwnedSocket): void {
  this[owner]!.ended()
}

export class TcpConnection extends Endpoint implements TransportConnection {
  /** Told when the socket is gone, besides the sink. */
  onGone: ((connection: Endpoint) => void) | undefined = undefined
  private readonly socket: OwnedSocket
  private errno: string | undefined = undefined
  private closed = false
  private ending = false
  /** A write has not been accepted yet: its callback is news. */
  private waiting = false
  /** Pieces that the socket has not been given yet. */
  private queue: Array<Uint8Array> | undefined = undefined
  private queuedBytes = 0
  private written: (() => void) | undefined = undefined

  constructor(socket: Net.Socket, origin: Origin) {
    super(origin)
    this.socket = socket
    this.socket[owner] = this
    this.socket.on("data", onData)
    this.socket.on("error", onError)
    this.socket.on("close", onClose)
  }

  get writableLength(): number {
    return this.closed ? 0 : this.socket.writableLength + this.queuedBytes
  }

  /** False once it is closed, or was by the peer before anybody looked. */
  get isOpen(): boolean {
    return !this.closed && !this.socket.destroyed
  }

  write(chunks: ReadonlyArray<Uint8Array>): void {
    if (this.closed || this.ending) return
    const only = chunks[0]
    if (chunks.length === 1 && only!.length <= PIECE_BYTES && this.queuedBytes === 0 && !this.waiting) {
      this.socket.write(only!, this.callback)
    } else {
      for (const chunk of chunks) this.enqueue(chunk)
      this.pump()
    }
    this.waiting = this.socket.writableLength > 0
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
    if (this.queuedBytes === 0) this.socket.end()
  }

  destroy(): void {
    this.socket.destroy()
  }

  /** For the socket's listeners. */
  failed(error: Error): void {
    this.errno ??= errnoOf(error)
    // A TLS socket that cannot decrypt says so, and stays.
    this.socket.destroy()
  }

  /** For the socket's listeners. */
  ended(): void {
    if (this.closed) return
    this.closed = true
    this.queue = undefined
    this.queuedBytes = 0
    this.onGone?.(this)
    this.sink.onClose(this.errno)
  }

  /** Made on the first write, one for the life of the connection. */
  private get callback(): () => void {
    this.written ??= () => this.accepted()
    return this.written
  }

  private accepted(): void {
    // Nothing waited: the writer saw `writableLength` 0 and needs no second word. Or the kernel took this piece at once
    // and holds up the next one, whose own callback is still to come.
    if (!this.waiting || this.closed || this.socket.writableLength > 0) return
    // Thrown away with the socket, and not accepted: the end is told next.
    if (this.socket.destroyed) return
    this.pump()
    this.waiting = this.socket.writableLength > 0
    this.sink.onDrain()
  }

  private enqueue(chunk: Uint8Array): void {
    this.queue ??= []
    for (let at = 0; at < chunk.length; at += PIECE_BYTES) {
      this.queue.push(chunk.length <= PIECE_BYTES ? chunk : chunk.subarray(at, at + PIECE_BYTES))
    }
    this.queuedBytes += chunk.length
  }

  /** Gives the socket pieces as long as the kernel takes each at once. */
  private pump(): void {
    const { queue, socket } = this
    if (queue === undefined) return
    let next = 0
    while (next < queue.length && socket.writableLength === 0 && !socket.destroyed) next = this.writePiece(queue, next)
    if (next === queue.length) this.queue = undefined
    else if (next > 0) queue.splice(0, next)
    if (this.ending && this.queuedBytes === 0) socket.end()
  }

  /** Writes chunks from `first` on, up to a piece, in one gathered write; returns the index of the next. */
  private writePiece(queue: ReadonlyArray<Uint8Array>, first: number): number {
    const { socket } = this
    let bytes = 0
    let next = first
    while (next < queue.length && (bytes === 0 || bytes + queue[next]!.length <= PIECE_BYTES)) {
      bytes += queue[next++]!.length
    }
    // Before the writes: a socket that fails inside one closes at once.
    this.queuedBytes -= bytes
    socket.cork()
    for (let index = first; index < next - 1; index++) socket.write(queue[index]!)
    socket.write(queue[next - 1]!, this.callback)
    socket.uncork()
    return next
  }
}
