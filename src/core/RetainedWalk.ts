/**
 * The retained messages that one session is still to get: state only, for `RetainedDelivery.ts`. It is bounded by the
 * session's subscriptions.
 */
import type { Message } from "./Message.ts"
import type { Matches } from "./RetainedTree.ts"
import type { Session } from "./Session.ts"

export interface RetainedWalk {
  readonly session: Session
  /** Topic filters whose turn has not come. */
  readonly pending: Set<string>
  /** The hook is being asked about one of its messages. */
  asking: boolean
  /** The one whose messages are being looked at. */
  current: { readonly filter: string; readonly matches: Matches<Message> } | undefined
}
