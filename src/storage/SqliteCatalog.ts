/**
 * What the file holds, as far as the broker's side must know it to write to it: the number that stands for each
 * session, and the numbers that are free.
 *
 * A batch changes it only when it has been committed: until then it can be encoded again, with the same result.
 */

export interface KnownSession {
  /** Stands for the client id in every row. Never used twice. */
  readonly number: number
  /** No message that is kept has a higher order. */
  lastOrder: number
}

/** What a batch changes here once it is committed. */
export interface CatalogChange {
  readonly removed: Array<string>
  readonly added: Array<readonly [clientId: string, session: KnownSession]>
  readonly orders: Array<readonly [session: KnownSession, lastOrder: number]>
  nextSession: number
  nextPool: number
}

export class SqliteCatalog {
  readonly sessions = new Map<string, KnownSession>()
  nextSession = 1
  nextPool = 1

  change(): CatalogChange {
    return { removed: [], added: [], orders: [], nextSession: this.nextSession, nextPool: this.nextPool }
  }

  apply(change: CatalogChange): void {
    for (const clientId of change.removed) this.sessions.delete(clientId)
    for (const [clientId, session] of change.added) this.sessions.set(clientId, session)
    for (const [session, lastOrder] of change.orders) session.lastOrder = lastOrder
    this.nextSession = change.nextSession
    this.nextPool = change.nextPool
  }

  clear(): void {
    this.sessions.clear()
    this.nextSession = 1
    this.nextPool = 1
  }
}
