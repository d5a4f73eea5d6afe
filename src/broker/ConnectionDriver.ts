/**
 * Pumps one transport connection into the core, and the core's output back.
 *
 * No fiber, no queue: the socket's own events call the core, and the turn (`Turn.ts`) calls `flush`. There is one of
 * these for every connection, so it holds next to nothing.
 */
import type { BrokerCore } from "../core/BrokerCore.ts"
import type { ServerConnection } from "../core/ServerConnection.ts"
import type { Listener, TransportConnection, TransportSink } from "../transport/Listener.ts"
import * as SocketErrno from "../transport/SocketErrno.ts"

/** Milliseconds that a peer may take to close its half after the last byte was sent to it. */
const LINGER_MILLIS = 2_000

const ORDERLY = { statusCode: 0, description: "OK" } as const

/** What a driver needs of the turn it belongs to. */
export interface Turnover {
  readonly core: BrokerCore
  readonly schedule: () => void
  readonly changeReading: () => void
  readonly released: (driver: ConnectionDriver) => void
  /** The core threw while it handled a connection's input: a bug. */
  readonly defect: (connectionId: string, defect: unknown) => void
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

  onData(bytes: Uint8Array): void {
    if (this.closing) return
    try {
      this.turn.core.receive(this.connection, bytes, Date.now())
    } catch (defect) {
      // The core does not throw on any input. Should it ever, the bug must not become a way to end the process.
      this.transport.destroy()
      this.turn.defect(this.connection.id, defect)
    }
    this.turn.changeReading()
    this.turn.schedule()
  }

  onDrain(): void {
    const { writableLength } = this.transport
    const now = Date.now()
    if (writableLength === 0) this.connection.outbox.recycle()
    if (this.closing && writableLength === 0) this.closeWithin(LINGER_MILLIS, now)
    this.turn.core.flushed(this.connection, writableLength, now)
    this.turn.schedule()
  }

  onClose(errno: string | undefined): void {
    const reason =
      errno === undefined
        ? ORDERLY
        : { statusCode: SocketErrno.codeOf(errno), description: SocketErrno.describe(errno) }
    this.turn.core.closed(this.connection, reason, Date.now())
    this.turn.released(this)
    this.turn.schedule()
  }

  /** Hands the socket everything that the turn has gathered, in one write. */
  flush(now: number): void {
    const { connection, transport } = this
    const { outbox } = connection
    const chunks = outbox.take()
    if (chunks.length === 0) return
    transport.write(chunks)
    const { writableLength } = transport
    if (writableLength === 0) outbox.recycle()
    this.turn.core.flushed(connection, writableLength, now)
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
    const sent = this.transport.writableLength === 0
    this.closeWithin(sent ? LINGER_MILLIS : this.turn.core.config.drainTimeoutSeconds * 1_000, now)
    this.transport.end()
    // Its end is only noticed while it is read; what it still sends is ignored.
    this.transport.resume()
  }

  destroy(): void {
    this.transport.destroy()
  }

  private closeWithin(millis: number, now: number): void {
    this.closeBy = Math.min(this.closeBy, now + millis)
    this.turn.lookBy(this.closeBy)
  }
}
