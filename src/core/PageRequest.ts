/**
 * A wish of the core: waiting messages of one session that only the store has. Answered by `BrokerCore.pageRead`.
 */
import type { Orphan } from "./Orphan.ts"
import type { Session } from "./Session.ts"

export interface PageRequest {
  /** Whose messages they are; it waits for one page at a time. */
  readonly reader: Session | Orphan
  readonly clientId: string
  /** The orders that are wanted: above this one, */
  readonly after: number
  /** and up to this one. */
  readonly through: number
  /** About so many bytes at once, objects in memory included (`Content.OBJECT_BYTES`); one message at least. */
  readonly bytesMax: number
  /** They are all in the store when this sequence is durable. */
  readonly sequence: number
}
