/**
 * Queues that had more to send than a turn allows: they go on in the next, each with its part of what may be done.
 */
import type { CoreState } from "./CoreState.ts"
import * as Defect from "./Defect.ts"
import * as Delivery from "./Delivery.ts"
import * as Workload from "./Workload.ts"

export const proceedDue = (core: CoreState, now: number): void => {
  // Those that have more than their part to send come again behind the others, in the next turn.
  for (let left = core.pumpsDue.size; left > 0 && !Workload.isDone(core); left--) {
    const [session] = core.pumpsDue
    if (session === undefined) return
    core.pumpsDue.delete(session)
    Workload.share(core, left)
    Defect.guard(core, session.connection, now, () => Delivery.pump(core, session, now))
    Workload.unshare(core)
  }
}
