/**
 * A connection whose output has a rate, or whose end has a time: the documented MaxTransferRate, Linger, LingerTime.
 *
 * Stands between a connection and its sink, so that connections without these settings pay nothing.
 */
import type * as Net from "node:net"
import { Endpoint } from "./Endpoint.ts"
import type { TransportConnection, TransportSink } from "./Listener.ts"
import type { ListenerConfig } from "./ListenerConfig.ts"

type Shape = Pick<ListenerConfig, "linger" | "lingerSeconds" | "transferBytesPerSecondMax">

/** How often waiting output gets its share. */
const SLICE_MILLIS = 50

export class ShapedConnection extends Endpoint implements TransportConnection, TransportSink {
  private readonly inner: TransportConnection
  private readonly raw: Net.Socket
  private readonly shape: Shape
  private queue: Array<Uint8Array> = []
  private queuedBytes = 0
  /** Bytes that may be sent now, and when that was last so many. */
  private allowance: number
  private allowanceAt = Date.now()
  private sliceTimer: NodeJS.Timeout | undefined = undefined
  private lingerTimer: NodeJS.Timeout | undefined = undefined
  private ending = false
  private closed = false

  constructor(inner: TransportConnection, raw: Net.Socket, shape: Shape) {
    super(inner)
    this.inner = inner
    this.raw = raw
    this.shape = shape
    this.allowance = this.burst
    inner.sink = this
  }

  get isOpen(): boolean {
    return this.inner.isOpen
  }

  get writableLength(): number {
    return this.closed ? 0 : this.inner.writableLength + this.queuedBytes
  }

  write(chunks: ReadonlyArray<Uint8Array>): void {
    if (this.closed || this.ending) return
    if (this.shape.transferBytesPerSecondMax === 0) {
      this.inner.write(chunks)
      return
    }
    for (const chunk of chunks) {
      this.queue.push(chunk)
      this.queuedBytes += chunk.length
    }
    if (this.sliceTimer === undefined) this.release()
  }

  pause(): void {
    this.inner.pause()
  }

  resume(): void {
    this.inner.resume()
  }

  end(): void {
    if (this.closed || this.ending) return
    this.ending = true
    if (!this.shape.linger) {
      this.destroy()
      return
    }
    if (this.queuedBytes === 0) this.inner.end()
    if (this.shape.lingerSeconds > 0) {
      this.lingerTimer = setTimeout(() => this.raw.resetAndDestroy(), this.shape.lingerSeconds * 1_000)
    }
  }

  destroy(): void {
    if (this.shape.linger) this.inner.destroy()
    else this.raw.resetAndDestroy()
  }

  get gatheredBytesMax(): number | undefined {
    return this.sink.gatheredBytesMax
  }

  // What the connection tells.

  onData(bytes: Uint8Array): void {
    this.sink.onData(bytes)
  }

  onDrain(): void {
    this.sink.onDrain()
  }

  onClose(errno: string | undefined): void {
    this.closed = true
    clearTimeout(this.sliceTimer)
    clearTimeout(this.lingerTimer)
    this.queue = []
    this.queuedBytes = 0
    this.sink.onClose(errno)
  }

  /** What may go out at once after a silence. */
  private get burst(): number {
    return Math.max(1, (this.shape.transferBytesPerSecondMax * SLICE_MILLIS) / 1_000)
  }

  private refill(): void {
    const now = Date.now()
    const earned = ((now - this.allowanceAt) * this.shape.transferBytesPerSecondMax) / 1_000
    this.allowance = Math.min(this.allowance + earned, 2 * this.burst)
    this.allowanceAt = now
  }

  /** Sends what the rate allows, and comes back for the rest. */
  private release(): void {
    this.sliceTimer = undefined
    this.refill()
    const slice: Array<Uint8Array> = []
    while (this.queue.length > 0 && this.allowance >= 1) {
      const [next] = this.queue
      const bytes = Math.min(next!.length, Math.floor(this.allowance))
      slice.push(next!.subarray(0, bytes))
      if (bytes === next!.length) this.queue.shift()
      else this.queue[0] = next!.subarray(bytes)
      this.queuedBytes -= bytes
      this.allowance -= bytes
    }
    if (slice.length > 0) this.inner.write(slice)
    if (this.queuedBytes > 0) this.sliceTimer = setTimeout(() => this.sliced(), SLICE_MILLIS)
    else if (this.ending) this.inner.end()
  }

  private sliced(): void {
    this.release()
    // Less waits than before; when the socket took it at once, nobody else says so.
    if (!this.closed) this.sink.onDrain()
  }
}
