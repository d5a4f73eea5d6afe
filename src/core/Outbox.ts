/**
 * The bytes that wait for one connection's socket, gathered during a turn and handed over at its end.
 *
 * Owns its buffers and their growth. It does not know when a turn ends, nor how full is too full (`SlowConsumer.ts`).
 * One write of many packets instead of one write a packet is most of this broker's speed.
 */

/** Buffers grow by doubling up to this size, then further ones are chained: 64 KiB is what a socket takes at once. */
const SEGMENT_BYTES = 64 * 1024
/** First allocation: an idle connection has sent a CONNACK and keeps no more than this. */
const FIRST_BYTES = 128
/** A buffer up to this size stays with its connection when the kernel has taken its bytes. */
const KEPT_BYTES = 1024
/** Segments shared by all outboxes of a core for reuse: 32 × 64 KiB = 2 MiB. */
const POOLED_SEGMENTS = 32
/** From here on a buffer grows to a whole segment at once: those are reused, the sizes between would be garbage. */
const DOUBLING_BYTES_MAX = 4 * 1024

const EMPTY = new Uint8Array(0)

/** Allocates outbox buffers, and keeps a few full-size ones for reuse. */
export class OutboxPool {
  private readonly free: Array<Uint8Array> = []
  private readonly make: (bytes: number) => Uint8Array

  constructor(make: (bytes: number) => Uint8Array) {
    this.make = make
  }

  allocate(bytes: number): Uint8Array {
    if (bytes === SEGMENT_BYTES) return this.free.pop() ?? this.make(bytes)
    return this.make(bytes)
  }

  release(buffer: Uint8Array): void {
    if (buffer.length === SEGMENT_BYTES && this.free.length < POOLED_SEGMENTS) this.free.push(buffer)
  }
}

export class Outbox {
  /** Write here, at the offset that `reserve` returned. */
  buffer: Uint8Array = EMPTY
  /** Whether the connection is on the core's dirty list. */
  dirty = false
  /** Bytes handed over by all `take`s so far, without those that were thrown away afterwards. */
  handedOver = 0
  private length = 0
  /** Where in `buffer` the bytes begin that are in no segment yet. */
  private start = 0
  private segments: Array<Uint8Array> | undefined = undefined
  private segmentBytes = 0
  /** Full buffers handed over and not known to be in the kernel yet, for `recycle`. */
  private taken: Array<Uint8Array> | undefined = undefined
  /** The buffer that the last `take` ended in. */
  private last: Uint8Array = EMPTY
  private readonly pool: OutboxPool

  constructor(pool: OutboxPool) {
    this.pool = pool
  }

  /** Bytes waiting to be taken. */
  get bytes(): number {
    return this.segmentBytes + this.length - this.start
  }

  /** Makes room for `size` bytes and returns the offset in `buffer` where they go. Read `buffer` after this call. */
  reserve(size: number): number {
    const at = this.length
    const end = at + size
    if (end > this.buffer.length) return this.grow(size)
    this.length = end
    return at
  }

  /** Appends bytes that several outboxes share: not copied, and must not change any more. */
  appendShared(bytes: Uint8Array): void {
    this.closeSegment()
    this.segments ??= []
    this.segments.push(bytes)
    this.segmentBytes += bytes.length
  }

  /** What waits, in order; the outbox is empty afterwards. */
  take(): ReadonlyArray<Uint8Array> {
    this.dirty = false
    this.handedOver += this.bytes
    if (this.last.length > 0) this.lend(this.last)
    this.last = this.buffer
    let out: Array<Uint8Array>
    if (this.segments === undefined) {
      out = this.length === this.start ? [] : [this.buffer.subarray(this.start, this.length)]
    } else {
      this.closeSegment()
      out = this.segments
    }
    this.segments = undefined
    this.segmentBytes = 0
    this.buffer = EMPTY
    this.length = 0
    this.start = 0
    return out
  }

  /** The kernel has everything that was taken so far: its buffers may be used again. */
  recycle(): void {
    if (this.taken !== undefined) {
      for (const buffer of this.taken) this.pool.release(buffer)
      this.taken = undefined
    }
    if (this.last.length <= KEPT_BYTES && this.buffer.length === 0) this.buffer = this.last
    else this.pool.release(this.last)
    this.last = EMPTY
  }

  private grow(size: number): number {
    const waiting = this.length - this.start
    const needed = waiting + size
    if (needed <= SEGMENT_BYTES) {
      let capacity = Math.max(FIRST_BYTES, this.buffer.length)
      while (capacity < needed) capacity = capacity >= DOUBLING_BYTES_MAX ? SEGMENT_BYTES : capacity * 2
      const larger = this.pool.allocate(capacity)
      larger.set(this.buffer.subarray(this.start, this.length))
      // A buffer whose earlier part is in a segment belongs to that segment; only an unshared one could be pooled, and
      // those that grow are smaller than what the pool keeps.
      this.buffer = larger
      this.start = 0
      this.length = needed
      return waiting
    }
    if (waiting > 0) {
      this.closeSegment()
    }
    this.lend(this.buffer)
    this.buffer = this.pool.allocate(Math.max(SEGMENT_BYTES, size))
    this.start = 0
    this.length = size
    return 0
  }

  /** A slow socket may never be empty: then the collector takes what no list holds. */
  private lend(buffer: Uint8Array): void {
    if (buffer.length !== SEGMENT_BYTES) return
    this.taken ??= []
    if (this.taken.length < POOLED_SEGMENTS) this.taken.push(buffer)
  }

  private closeSegment(): void {
    if (this.length === this.start) return
    this.segments ??= []
    this.segments.push(this.buffer.subarray(this.start, this.length))
    this.segmentBytes += this.length - this.start
    this.start = this.length
  }
}
