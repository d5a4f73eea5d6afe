/**
 * Two runs at once that take turns: while the processes of one run, those of the other are stopped.
 *
 * A shared machine's speed changes from second to second, by more than what a change costs: half of the ratios of a
 * checkout to itself lie between 0.89 and 1.16 when it is measured twice in succession, and between 0.98 and 1.02 in
 * turns (kept sessions, QoS 1 and 2).
 */

/** Sends a signal to one process, if it is still there. */
export type Signal = (name: "SIGSTOP" | "SIGCONT") => void

export type Side = 0 | 1

const TURN_MILLISECONDS = 50
/** Its broker and its generator. */
const PROCESSES = 2

export class Turns {
  private readonly sides: readonly [Array<Signal>, Array<Signal>] = [[], []]
  private running: Side = 0
  private timer: NodeJS.Timeout | undefined

  /** Adds a process, which is running; when both sides are complete, the turns begin. */
  join(side: Side, process: Signal): void {
    this.sides[side].push(process)
    if (this.timer === undefined && this.sides.every((processes) => processes.length === PROCESSES)) this.begin()
  }

  /** No more turns: whoever is stopped goes on. */
  end(): void {
    clearTimeout(this.timer)
    for (const process of this.sides.flat()) process("SIGCONT")
  }

  private begin(): void {
    const startedAt = performance.now()
    let turns = 0
    const turn = (): void => {
      const resting = this.running
      this.running = resting === 0 ? 1 : 0
      for (const process of this.sides[resting]) process("SIGSTOP")
      for (const process of this.sides[this.running]) process("SIGCONT")
      turns++
      // From the beginning, not from now: a late turn makes the next one shorter, and the sides stay even.
      this.timer = setTimeout(turn, startedAt + turns * TURN_MILLISECONDS - performance.now())
    }
    turn()
  }
}
