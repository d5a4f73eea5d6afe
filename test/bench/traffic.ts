/**
 * The two counters every measurement rests on, and how far the first may run ahead of the second.
 *
 * A saturating QoS 0 publisher has nothing but TCP to slow it down, and a broker that queues without bound would be
 * measured on what it does with gigabytes of backlog, and take minutes to drain. So publishers rest while more is
 * under way than the broker delivers in 0.3 s (and at least 4 MiB): always enough to keep it busy.
 */
const lookMilliseconds = 50
const aheadMilliseconds = 300
const aheadBytesMin = 4 * 1024 * 1024

/** After so long without a delivery, what is under way is taken for dropped, so that a lossy broker stays busy too. */
const stallMilliseconds = 200

export class Traffic {
  /** Deliveries that what was published is due. */
  due = 0
  delivered = 0
  private readonly limitMin: number
  private limit: number
  private writtenOff = 0
  private lookedAt = performance.now()
  private deliveredAtLook = 0
  private progressAt = this.lookedAt

  constructor(frameBytes: number) {
    this.limitMin = Math.ceil(aheadBytesMin / frameBytes)
    this.limit = this.limitMin
  }

  /** Whether a saturating publisher may publish more. */
  hasRoom(): boolean {
    const now = performance.now()
    if (now - this.lookedAt >= lookMilliseconds) this.look(now)
    return this.due - this.delivered - this.writtenOff < this.limit
  }

  private look(now: number): void {
    const fresh = this.delivered - this.deliveredAtLook
    this.limit = Math.max(this.limitMin, (fresh * aheadMilliseconds) / (now - this.lookedAt))
    if (fresh > 0) this.progressAt = now
    else if (now - this.progressAt > stallMilliseconds) this.writtenOff = this.due - this.delivered
    this.lookedAt = now
    this.deliveredAtLook = this.delivered
  }
}
