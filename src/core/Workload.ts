/**
 * How much is done in one turn of the shell, so that no client's work keeps the others' sockets waiting.
 *
 * Whoever does something counts it in `CoreState.work`: a packet, a delivery, a place that was looked at. What has more
 * to do than the budget allows goes on in the next turn: input (`Input.ts`), retained messages (`RetainedDelivery.ts`),
 * queues (`Redelivery.ts`).
 */
import type { CoreState } from "./CoreState.ts"

/** Whether this turn, or who is at work in it, has done enough. */
export const isDone = ({ work, workMax }: CoreState): boolean => work >= workMax

/** A new turn: some 20 ms of work with the default. A budget of 0 counts as 1, or nothing would ever be done. */
export const begin = (core: CoreState): void => {
  core.work = 0
  unshare(core)
}

/** Whoever is next may do an equal part of what is left, as one of so many. */
export const share = (core: CoreState, count: number): void => {
  core.workMax = core.work + Math.max(1, (core.workMax - core.work) / count)
}

/** The next may do all that is left. */
export const unshare = (core: CoreState): void => {
  core.workMax = Math.max(1, core.config.workPerTurnMax)
}
