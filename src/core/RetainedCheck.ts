/**
 * The retained messages that one session is still to get, while the publish hook is asked about each: state only, for
 * `RetainedPermission.ts`. It is bounded by the session's subscriptions.
 */
import type { Message } from "./Message.ts"
import type { Session } from "./Session.ts"

export interface RetainedCheck {
  readonly session: Session
  /** Topic filters whose turn has not come. */
  readonly pending: Set<string>
  /** The one whose messages are being looked at. */
  current: { readonly filter: string; readonly next: () => Message | undefined } | undefined
}
