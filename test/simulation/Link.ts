/**
 * One transport connection between a client and the broker: what is on its way in each direction, and how each side
 * of it ends.
 *
 * Towards the client there are two stages, as on a real machine: the socket's buffer in the broker's process, which a
 * slow reader fills and a crash loses, and the wire behind it, which a crash does not lose. It decides nothing: the
 * simulation says what moves when.
 */
import type { ServerConnection } from "../../src/core/ServerConnection.ts"
import type { Publication } from "./Ledger.ts"

/** The client's end of it. */
export interface Peer {
  readonly clientId: string
  received(link: Link, bytes: Uint8Array): void
  /** The broker's end of it is over, and everything it sent was received. */
  ended(link: Link): void
}

export class ByteQueue {
  length = 0
  private chunks: Array<Uint8Array> = []

  push(bytes: Uint8Array): void {
    if (bytes.length === 0) return
    this.chunks.push(bytes)
    this.length += bytes.length
  }

  /** Up to `count` of the oldest bytes, in an array of their own. */
  take(count: number): Uint8Array {
    const taken = new Uint8Array(Math.min(count, this.length))
    let at = 0
    while (at < taken.length) {
      const first = this.chunks[0]!
      const size = Math.min(first.length, taken.length - at)
      taken.set(size === first.length ? first : first.subarray(0, size), at)
      at += size
      if (size === first.length) this.chunks.shift()
      else this.chunks[0] = first.subarray(size)
    }
    this.length -= at
    return taken
  }

  clear(): void {
    this.chunks = []
    this.length = 0
  }
}

export class Link {
  readonly number: number
  readonly connection: ServerConnection
  readonly peer: Peer
  readonly toBroker = new ByteQueue()
  /** The broker's own buffers, so that a reuse shows. */
  readonly socket = new ByteQueue()
  readonly toClient = new ByteQueue()
  /** Bytes that the socket takes from now on. */
  window = Number.POSITIVE_INFINITY
  /** The client sends nothing more: the broker sees the end behind what is on its way. */
  finished = false
  /** Taken back by the DISCONNECT behind which nothing follows. */
  will: Publication | undefined = undefined
  /** The client does not read any more. */
  abandoned = false
  /** Nothing gets through in either direction, and nobody is told. */
  silent = false
  /** Whether the broker reads; as the shell, it says so at the end of a turn. */
  reading = true
  /** The broker asked for the close. */
  asked = false
  /** When a close that was asked for happens, whatever still waits. */
  closeBy = Number.POSITIVE_INFINITY
  /** The core was told that it is gone, or the core itself is gone. */
  gone = false
  /** When the broker let go of the session, in milliseconds; Infinity: it has not. */
  endedAt = Number.POSITIVE_INFINITY

  constructor(number: number, connection: ServerConnection, peer: Peer) {
    this.number = number
    this.connection = connection
    this.peer = peer
  }

  /** Nothing will ever move on it again. */
  get over(): boolean {
    return this.gone && this.abandoned
  }

  get name(): string {
    return `${this.peer.clientId}/${this.number}`
  }

  /** Moves what the window admits onto the wire, as a kernel does. Returns how many bytes. */
  accept(most: number): number {
    const bytes = this.socket.take(Math.min(most, this.window))
    this.window -= bytes.length
    if (!this.abandoned && !this.silent) this.toClient.push(bytes)
    return bytes.length
  }
}
