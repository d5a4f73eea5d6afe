/**
 * Pumps one transport connection into the core, and the core's output back.
 *
 * No fiber: the socket's own events call the core, and the turn (`Turn.ts`) calls `flush`. There is one of these for
 * every connection, so it holds next to nothing. What a busy socket cannot take waits here, in whole packets, so that
 * an interrupt can still take messages out of it.
 */
import type { BrokerCore } from "../core/BrokerCore.ts"
import * as Frames from "../core/Frames.ts"
import type { ServerConnection } from "../core/ServerConnection.ts"
import { Decoder } from "../protocol/Decoder.ts"
import type { Listener, TransportConnection, TransportSink } from "../transport/Listener.ts"
import * as SocketErrno from "../transport/SocketErrno.ts"
import * as UnsentPackets from "./UnsentPackets.ts"

/** Milliseconds that a peer may take to close its half after the last byte was sent to it. */
const LINGER_MILLIS = 2_000

/** What waits is given to the socket at least this much at a time. */
const GATHERED_BYTES = 64 * 1024
/** A socket is given at most about this much at once: what it has been given, `interrupt` cannot take back. */
const HANDED_BYTES = 4 * 1024 * 1024

const ORDERLY = { statusCode: 0, description: "OK" } as const

/** "Error decrypting data", and "MQTT protocol error": WebSocket frames are part of it [MQTT-6]. */
export const TLS_FAILED = 284
const FRAMES_WRONG = 600

const statusOf = (errno: string): number => {
  if (errno.startsWith("ERR_SSL_")) return TLS_FAILED
  return errno.startsWith("WS_ERR_") ? FRAMES_WRONG : SocketErrno.codeOf(errno)
}

/** What a driver needs of the turn it belongs to. */
export interface Turnover {
  readonly core: BrokerCore
  readonly schedule: () => void
  readonly changeReading: () => void
  readonly released: (driver: ConnectionDriver) => void
  /** A driver that is closing must be looked at by then. */
  readonly lookBy: (at: number) => void
}

export class ConnectionDriver implements TransportSink {
  readonly listener: Listener
  readonly connection: ServerConnection
  /** When the transport is destroyed, whatever still waits; Infinity until a close was asked for. */
  closeBy = Number.POSITIVE_INFINITY
  private readonly turn: Turnover
  private readonly transport: TransportConnection
  /** Output of whole turns that the socket was too busy for; undefined: none. */
  private held: Array<ReadonlyArray<Uint8Array>> | undefined = undefined
  private heldBytes = 0

  constructor(turn: Turnover, listener: Listener, transport: TransportConnection, now: number) {
    this.turn = turn
    this.listener = listener
    this.transport = transport
    this.connection = turn.core.open(transport, now)
    this.connection.driver = this
    transport.sink = this
    transport.resume()
  }

  get closing(): boolean {
    return this.closeBy !== Number.POSITIVE_INFINITY
  }

  /** Before CONNECT is accepted no more than its packet may have. */
  get gatheredBytesMax(): number | undefined {
    const { decoder, phase } = this.connection
    return phase === "awaiting-connect" || phase === "connecting" ? decoder.packetBytesMax : undefined
  }

  onData(bytes: Uint8Array): void {
    if (this.closing) return
    this.turn.core.receive(this.connection, bytes, Date.now())
    this.turn.changeReading()
    this.turn.schedule()
  }

  onDrain(): void {
    const now = Date.now()
    this.writeWhileIdle()
    const { unsentBytes } = this
    if (unsentBytes === 0) this.connection.outbox.recycle()
    if (this.closing && unsentBytes === 0) this.closeWithin(LINGER_MILLIS, now)
    this.turn.core.flushed(this.connection, unsentBytes, now, this.heldBytes)
    this.turn.schedule()
  }

  onClose(errno: string | undefined): void {
    const reason =
      errno === undefined ? ORDERLY : { statusCode: statusOf(errno), description: SocketErrno.describe(errno) }
    this.turn.core.closed(this.connection, reason, Date.now())
    this.turn.released(this)
    this.turn.schedule()
  }

  /** Hands the socket everything that the turn has gathered, in one write. */
  flush(now: number): void {
    const { connection } = this
    const { outbox } = connection
    const chunks = outbox.take()
    // A socket that is gone takes what it is given, and `onClose` follows: nobody is told that it was sent.
    if (chunks.length === 0 || !this.transport.isOpen) return
    if (this.turn.core.events.frames !== "none") this.tellFrames(chunks)
    this.give(chunks)
    const { unsentBytes } = this
    if (unsentBytes === 0) outbox.recycle()
    this.turn.core.flushed(connection, unsentBytes, now, this.heldBytes)
  }

  /** Takes messages at QoS 0 out of what the socket has not been given; the packets after them are sent earlier. */
  interrupt(now: number): number {
    const { connection, turn } = this
    if (!this.transport.isOpen) return 0
    const { outbox } = connection
    const unsent = [...(this.held ?? []), outbox.take()].flat()
    this.held = undefined
    this.heldBytes = 0
    const { chunks, thrown } = UnsentPackets.withoutQos0(unsent, connection.outgoingAliases !== undefined)
    turn.core.interrupted(connection, thrown)
    if (chunks.length > 0) this.give(chunks)
    turn.core.flushed(connection, this.unsentBytes, now, this.heldBytes)
    return thrown.length
  }

  /** Reads or does not, as the core wishes; a connection that is closing is read to see its end. */
  read(reading: boolean): void {
    if (reading || this.closing) this.transport.resume()
    else this.transport.pause()
  }

  /** Closes when what was written is sent, at the latest after the drain timeout; or at once. */
  close(drain: boolean, now: number): void {
    if (!drain) {
      this.closeBy = now
      this.transport.destroy()
      return
    }
    // The transport ends behind everything that it was given.
    while (this.held !== undefined && this.transport.isOpen) this.writeHeld(this.held)
    if (this.transport.isOpen) this.turn.core.flushed(this.connection, this.unsentBytes, now)
    const sent = this.transport.writableLength === 0
    this.closeWithin(sent ? LINGER_MILLIS : this.turn.core.config.drainTimeoutSeconds * 1_000, now)
    this.transport.end()
    // Its end is only noticed while it is read; what it still sends is ignored.
    this.transport.resume()
  }

  destroy(): void {
    this.transport.destroy()
  }

  /** What a turn has gathered begins and ends with a packet. */
  private tellFrames(chunks: ReadonlyArray<Uint8Array>): void {
    const { connection, turn } = this
    const limits = { packetBytesMax: 268_435_460, topicLevelsMax: 65_535, userPropertiesMax: 65_535 }
    const decoder = new Decoder({ sender: "server", version: connection.version, ...limits })
    decoder.push(Buffer.concat(chunks))
    for (let packet = decoder.next(); packet !== undefined; packet = decoder.next()) {
      Frames.tell(turn.core.events, connection, "sent", packet)
    }
  }

  /** Bytes that the operating system has not accepted. */
  private get unsentBytes(): number {
    return this.transport.writableLength + this.heldBytes
  }

  /** To the socket, or behind what waits for it. */
  private give(chunks: ReadonlyArray<Uint8Array>): void {
    let bytes = 0
    for (const { length } of chunks) bytes += length
    if (bytes <= HANDED_BYTES) {
      if (this.held === undefined && this.transport.writableLength === 0) this.transport.write(chunks)
      else this.hold(chunks, bytes)
      return
    }
    this.hold(chunks, bytes)
    this.writeWhileIdle()
  }

  private hold(chunks: ReadonlyArray<Uint8Array>, bytes: number): void {
    this.held ??= []
    if (bytes <= HANDED_BYTES) this.held.push(chunks)
    else for (const part of UnsentPackets.parts(chunks, HANDED_BYTES)) this.held.push(part)
    this.heldBytes += bytes
  }

  private writeWhileIdle(): void {
    while (this.held !== undefined && this.transport.writableLength === 0) this.writeHeld(this.held)
  }

  private writeHeld(held: Array<ReadonlyArray<Uint8Array>>): void {
    const chunks: Array<Uint8Array> = []
    let bytes = 0
    let count = 0
    while (count < held.length && bytes < GATHERED_BYTES) {
      for (const chunk of held[count++]!) {
        chunks.push(chunk)
        bytes += chunk.length
      }
    }
    if (count === held.length) this.held = undefined
    else held.splice(0, count)
    this.heldBytes -= bytes
    this.transport.write(chunks)
  }

  private closeWithin(millis: number, now: number): void {
    this.closeBy = Math.min(this.closeBy, now + millis)
    this.turn.lookBy(this.closeBy)
  }
}
