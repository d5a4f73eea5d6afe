/**
 * The rate and the end of a connection's output, in virtual time.
 */
import { afterEach, assert, beforeEach, describe, it, vi } from "@effect/vitest"
import * as Net from "node:net"
import type { TransportConnection, TransportSink } from "../../src/transport/Listener.ts"
import { ShapedConnection } from "../../src/transport/ShapedConnection.ts"

const silent: TransportSink = { onData: () => {}, onDrain: () => {}, onClose: () => {} }

/** A connection whose socket takes everything at once. */
const taking = () => {
  const taken = { bytes: 0, chunks: [] as Uint8Array[], ended: false }
  const inner: TransportConnection = {
    remoteHost: "",
    remotePort: 0,
    localHost: "",
    localPort: 0,
    protocol: 0,
    tcpKeepAlive: false,
    sink: silent,
    isOpen: true,
    writableLength: 0,
    write: (chunks) => {
      for (const chunk of chunks) {
        taken.bytes += chunk.length
        taken.chunks.push(chunk)
      }
    },
    pause: () => {},
    resume: () => {},
    end: () => {
      taken.ended = true
    },
    destroy: () => {}
  }
  return { inner, taken }
}

const shaped = (transferBytesPerSecondMax: number) => {
  const { inner, taken } = taking()
  const shape = { linger: true, lingerSeconds: 0, transferBytesPerSecondMax }
  return { connection: new ShapedConnection(inner, new Net.Socket(), shape), inner, taken }
}

describe("MaxTransferRate", () => {
  beforeEach(() => void vi.useFakeTimers())
  afterEach(() => void vi.useRealTimers())

  for (const rate of [1, 19, 1_000, 123_457, 10_000_000]) {
    it(`of ${rate} bytes a second is kept in every stretch of time, used up, and in order`, () => {
      const { connection, taken } = shaped(rate)
      const total = rate * 10
      const text = Buffer.alloc(total, "0123456789abcdefghijklmnopqrstuvwxyz")
      for (let at = 0; at < total; at += 70_000) connection.write([text.subarray(at, at + 70_000)])
      const sent = [taken.bytes]
      while (!taken.ended && sent.length < 2_000) {
        if (sent.length === 10) connection.end()
        vi.advanceTimersByTime(10)
        sent.push(taken.bytes)
      }
      for (let from = 0; from < sent.length; from++) {
        for (let to = from + 1; to < sent.length; to += 37) {
          const most = (rate * (to - from)) / 100 + Math.max(rate / 10, 2)
          assert.isAtMost(sent[to]! - sent[from]!, most, `from ${from * 10} to ${to * 10} ms`)
        }
      }
      assert.isAtMost(sent.length * 10, 10_300, "ten seconds' worth took ten seconds")
      assert.isTrue(Buffer.concat(taken.chunks).equals(text))
      assert.strictEqual(connection.writableLength, 0)
    })
  }

  it("a silence earns no more than a tenth of a second", () => {
    const { connection, taken } = shaped(1_000)
    vi.advanceTimersByTime(3_600_000)
    connection.write([Buffer.alloc(5_000)])
    assert.isAtMost(taken.bytes, 100)
  })

  it("whoever writes is told when less waits", () => {
    const { connection } = shaped(1_000)
    const left: Array<number> = []
    connection.sink = { ...silent, onDrain: () => left.push(connection.writableLength) }
    connection.write([Buffer.alloc(200)])
    vi.advanceTimersByTime(1_000)
    assert.deepStrictEqual(left, [100, 50, 0])
  })

  it("a connection that is gone has no timer left", () => {
    const { connection, inner } = shaped(1)
    connection.write([Buffer.alloc(100)])
    assert.strictEqual(vi.getTimerCount(), 1)
    inner.sink.onClose(undefined)
    assert.strictEqual(vi.getTimerCount(), 0)
    assert.strictEqual(connection.writableLength, 0)
  })
})
