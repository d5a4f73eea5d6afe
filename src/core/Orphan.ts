/**
 * A session that has ended, and of whose queue a part is only in the store: what came by shared subscriptions there is
 * for other members.
 *
 * Owns its name: in the store it has one that no client can have, so that its client id is free. What becomes of its
 * messages is decided in `Orphans.ts`.
 */
import type { PutOutgoing } from "./StoreOperation.ts"

/** U+0000 is in no string of MQTT [MQTT-1.5.4-2]. */
const PREFIX = "\u0000orphan-"

export const nameOf = (number: number): string => `${PREFIX}${number}`

/** The number of such a name; undefined: it is a client id. */
export const numberOf = (clientId: string): number | undefined =>
  clientId.startsWith(PREFIX) ? Number(clientId.slice(PREFIX.length)) : undefined

export class Orphan {
  /** Its name in the store. */
  readonly clientId: string
  /** Its messages up to this order have been dealt with, */
  after = 0
  /** and this one is the last. */
  through: number
  /** The oldest so many of those that wait have been dropped. */
  dropped: number
  /** Groups with a higher number are younger than its end: nothing of it is for them. */
  groups: number
  /** What it waits for from the store. */
  pageRequest: object | undefined = undefined // a `PageRequest`; only which one matters
  /** Its messages, as they were read at the start from a store that cannot be asked for them. */
  readonly records: Array<PutOutgoing> = []

  constructor(clientId: string, through: number, dropped: number, groups: number) {
    this.clientId = clientId
    this.through = through
    this.dropped = dropped
    this.groups = groups
  }
}
