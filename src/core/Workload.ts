/**
 * How much is done in one turn of the shell, so that no client's work keeps the others' sockets waiting.
 *
 * Whoever does something counts it in `CoreState.work`: a packet, a delivery, a place that was looked at. What has more
 * to do than the budget allows goes on in the next turn: input (`Input.ts`), retained messages (`RetainedDelivery.ts`).
 */
import type { CoreState } from "./CoreState.ts"

/** Some 20 ms of work with the default. A budget of 0 counts as 1, or nothing would ever be done. */
export const isDone = ({ config, work }: CoreState): boolean => work >= Math.max(1, config.workPerTurnMax)
