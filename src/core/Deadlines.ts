/**
 * When something has to happen to an item, for very many items without a timer each: a coarse timing wheel.
 *
 * Deadlines are gathered in buckets of `granularityMillis`, and a heap knows the first bucket. `next` names the end of
 * a bucket, so that whoever waits for it wakes once per bucket and not once per item: an item is up to one granularity
 * late, never early. `expire` itself is exact.
 *
 * It holds no clock and no meaning: times are milliseconds of whatever clock the caller uses. Scheduling per packet is
 * not intended: note the time of the last packet in the item, and schedule again when the old deadline comes.
 */

interface Entry<T> {
  readonly item: T
  at: number
  /** `undefined` from when `expire` takes the entry out until its visit. */
  bucket: Bucket<T> | undefined
}

class Bucket<T> {
  /** Holds the deadlines in ((index - 1) * granularity, index * granularity]. */
  readonly index: number
  readonly entries = new Set<Entry<T>>()
  /** No entry is earlier than this; cancelling does not raise it. */
  earliest = Number.POSITIVE_INFINITY
  /** Where this bucket stands in the heap. */
  position = 0

  constructor(index: number) {
    this.index = index
  }
}

/** One deadline per item. */
export class Deadlines<T extends object> {
  readonly #granularity: number
  readonly #entries = new Map<T, Entry<T>>()
  readonly #buckets = new Map<number, Bucket<T>>()
  /** The buckets as a binary heap by index. None is empty: an abandoned one would stay for years, until its time. */
  readonly #heap: Array<Bucket<T>> = []

  /** `granularityMillis`, more than 0, is how late an item may be when the caller waits for `next`. */
  constructor(granularityMillis: number) {
    this.#granularity = granularityMillis
  }

  /** How many items have a deadline. */
  get size(): number {
    return this.#entries.size
  }

  /** Give an item a deadline, in milliseconds, in place of the one it had. `Infinity` never comes. */
  schedule(item: T, at: number): void {
    const index = Math.ceil(at / this.#granularity)
    let entry = this.#entries.get(item)
    if (entry === undefined) {
      entry = { item, at, bucket: undefined }
      this.#entries.set(item, entry)
    } else {
      entry.at = at
      if (entry.bucket?.index === index) {
        if (at < entry.bucket.earliest) entry.bucket.earliest = at
        return
      }
      this.#leave(entry)
    }
    let bucket = this.#buckets.get(index)
    if (bucket === undefined) {
      bucket = new Bucket(index)
      this.#buckets.set(index, bucket)
      this.#heap.push(bucket)
      this.#rise(bucket, this.#heap.length - 1)
    }
    bucket.entries.add(entry)
    if (at < bucket.earliest) bucket.earliest = at
    entry.bucket = bucket
  }

  cancel(item: T): void {
    const entry = this.#entries.get(item)
    if (entry === undefined) return
    this.#entries.delete(item)
    this.#leave(entry)
  }

  /**
   * Take out and visit every item whose deadline is `now` or earlier, bucket by bucket in order of time. The visitor
   * may schedule and cancel any item, also the visited one; what it schedules for `now` or earlier comes with the next
   * call, so that a visitor that always schedules for now does not keep this one going for ever.
   */
  expire(now: number, visit: (item: T) => void): void {
    const taken: Array<Entry<T>> = []
    for (let first = this.#heap[0]; first !== undefined && first.earliest <= now; first = this.#heap[0]) {
      this.#takeDue(first, now, taken)
      if (this.#heap[0] === first) break // what is left of it is later than now, and so is every other bucket
    }
    for (const entry of taken) {
      // Cancelled or scheduled anew by an earlier visit: no longer due.
      if (entry.bucket !== undefined || this.#entries.get(entry.item) !== entry) continue
      this.#entries.delete(entry.item)
      visit(entry.item)
    }
  }

  /**
   * When to call `expire` next, in milliseconds: then, at least one item is due. `Infinity` when nothing is scheduled.
   * Costs nothing, so it may be asked after every turn.
   */
  next(): number {
    const first = this.#heap[0]
    return first === undefined ? Number.POSITIVE_INFINITY : first.index * this.#granularity
  }

  #takeDue(bucket: Bucket<T>, now: number, taken: Array<Entry<T>>): void {
    let earliest = Number.POSITIVE_INFINITY
    for (const entry of bucket.entries) {
      if (entry.at <= now) {
        bucket.entries.delete(entry)
        entry.bucket = undefined
        taken.push(entry)
      } else if (entry.at < earliest) earliest = entry.at
    }
    bucket.earliest = earliest
    if (bucket.entries.size === 0) this.#drop(bucket)
  }

  #leave(entry: Entry<T>): void {
    const bucket = entry.bucket
    if (bucket === undefined) return
    entry.bucket = undefined
    bucket.entries.delete(entry)
    if (bucket.entries.size === 0) this.#drop(bucket)
  }

  #drop(bucket: Bucket<T>): void {
    this.#buckets.delete(bucket.index)
    const last = this.#heap.pop()
    if (last === undefined || last === bucket) return
    this.#rise(last, bucket.position)
    this.#sink(last, last.position)
  }

  /** Put a bucket at a position of the heap, or above it. */
  #rise(bucket: Bucket<T>, from: number): void {
    let position = from
    while (position > 0) {
      const up = (position - 1) >> 1
      const parent = this.#heap[up]
      if (parent === undefined || parent.index <= bucket.index) break
      this.#heap[position] = parent
      parent.position = position
      position = up
    }
    this.#heap[position] = bucket
    bucket.position = position
  }

  /** Put a bucket at a position of the heap, or below it. */
  #sink(bucket: Bucket<T>, from: number): void {
    let position = from
    while (true) {
      let down = 2 * position + 1
      let child = this.#heap[down]
      if (child === undefined) break
      const right = this.#heap[down + 1]
      if (right !== undefined && right.index < child.index) {
        child = right
        down++
      }
      if (child.index >= bucket.index) break
      this.#heap[position] = child
      child.position = position
      position = down
    }
    this.#heap[position] = bucket
    bucket.position = position
  }
}
