/**
 * What everybody in a run shares: the clock, the dice, the order of things, the trace, and how to say that a promise
 * was broken.
 */
import { Random } from "./Random.ts"
import type { Scenario } from "./Scenario.ts"

/** A promise of the broker was broken. */
export class Violation extends Error {}

/** An arbitrary time: what matters is that it is not 0. */
const FIRST_MILLIS = 1_700_000_000_000

export class World {
  readonly scenario: Scenario
  readonly random: Random
  /** Milliseconds since the epoch. */
  now = FIRST_MILLIS
  /** True when the faults are over and everything is brought to an end. */
  calm = false
  /** When the broker crashed last; 0: never. */
  crashedAt = 0
  step = 0
  private moments = 0
  private readonly log: ((line: string) => void) | undefined

  constructor(scenario: Scenario, log: ((line: string) => void) | undefined) {
    this.scenario = scenario
    this.random = new Random(scenario.seed ^ 0x5eed)
    this.log = log
  }

  /** The next moment: whatever happens later gets a larger one. */
  moment(): number {
    return ++this.moments
  }

  /** The line is only made while somebody reads it. */
  trace(line: () => string): void {
    this.log?.(`${String(this.step).padStart(5)} ${String(this.now - FIRST_MILLIS).padStart(8)} ms  ${line()}`)
  }

  violated(what: string): never {
    throw new Violation(what)
  }

  check(holds: boolean, what: () => string): void {
    if (!holds) this.violated(what())
  }
}
