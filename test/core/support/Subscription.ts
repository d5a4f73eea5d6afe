/**
 * A subscription as a session has it, for tests that need no client.
 */
import type { Subscription } from "../../../src/core/Session.ts"

export const subscription = (filter: string, options: Partial<Subscription> = {}): Subscription => ({
  filter,
  qos: 1,
  noLocal: false,
  retainAsPublished: false,
  retainHandling: 0,
  subscriptionIdentifier: 0,
  ...options
})
