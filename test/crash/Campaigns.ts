/**
 * Campaigns side by side, one of each kind of broker: a broker that starts leaves time to the other.
 */
import type { Durability } from "../../src/storage/SqliteFile.ts"
import { kinds } from "./BrokerProcess.ts"
import { type Outcome, run } from "./Campaign.ts"

export interface Options {
  /** Of all together. */
  readonly cycles: number
  readonly seed: number
  readonly durability?: Durability
  readonly report?: (line: string) => void
}

/** What all together did. */
export const runAll = async ({ cycles, seed, ...options }: Options): Promise<Outcome> => {
  const share = Math.ceil(cycles / kinds.length)
  const running = kinds.map((kind, index) => run({ ...options, kind, cycles: share, seed: seed + index }))
  const outcomes = await Promise.all(running)
  const sum = (of: (outcome: Outcome) => number): number => outcomes.reduce((total, one) => total + of(one), 0)
  return {
    kills: sum(({ kills }) => kills),
    killsAtStart: sum(({ killsAtStart }) => killsAtStart),
    killsInBackup: sum(({ killsInBackup }) => killsInBackup),
    acknowledged: sum(({ acknowledged }) => acknowledged),
    wills: sum(({ wills }) => wills),
    cleared: sum(({ cleared }) => cleared),
    unsubscribed: sum(({ unsubscribed }) => unsubscribed),
    received: sum(({ received }) => received),
    complaints: outcomes.flatMap(({ complaints }, index) => complaints.map((one) => `${kinds[index]}: ${one}`))
  }
}

export const describe = (outcome: Outcome): string =>
  `${outcome.kills} kills (${outcome.killsAtStart} at the start, ${outcome.killsInBackup} during a backup); ` +
  `${outcome.acknowledged} messages acknowledged, ${outcome.received} received by four subscribers of each broker; ` +
  `${outcome.wills} wills, ${outcome.cleared} retained messages cleared, ${outcome.unsubscribed} times unsubscribed`
