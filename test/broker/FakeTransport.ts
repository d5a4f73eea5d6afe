/**
 * A transport connection without a socket: what is written is kept, what the kernel accepts is up to the test.
 */
import type { Listener, TransportConnection, TransportSink } from "../../src/transport/Listener.ts"

export class FakeTransport implements TransportConnection {
  readonly remoteHost = "192.0.2.1"
  readonly remotePort = 40_000
  readonly localHost = "192.0.2.2"
  readonly localPort = 1883
  readonly protocol = 0
  readonly tcpKeepAlive = false
  sink: TransportSink = { onData: () => {}, onDrain: () => {}, onClose: () => {} }
  isOpen = true
  writableLength = 0
  /** One entry a call of `write`. */
  readonly writes: Array<Buffer> = []
  reading = false
  ended = false
  destroyed = false
  /** Whether the kernel takes what is written at once. */
  accepting = true

  write(chunks: ReadonlyArray<Uint8Array>): void {
    const bytes = Buffer.concat(chunks)
    this.writes.push(bytes)
    if (!this.accepting) this.writableLength += bytes.length
  }

  pause(): void {
    this.reading = false
  }

  resume(): void {
    this.reading = true
  }

  end(): void {
    this.ended = true
  }

  destroy(): void {
    if (this.destroyed) return
    this.destroyed = true
    this.sink.onClose(undefined)
  }

  /** The kernel takes everything that waits. */
  drain(): void {
    this.writableLength = 0
    this.sink.onDrain()
  }
}

export const fakeListener: Listener = {
  protocol: 0,
  localHost: "192.0.2.2",
  localPort: 1883,
  listening: true,
  stopAccepting: () => {},
  closeConnections: () => {}
}
