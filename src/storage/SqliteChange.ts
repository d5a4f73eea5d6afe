/**
 * What a batch of operations comes to: for each thing that is kept, the last that was said of it.
 *
 * A batch is applied as a whole, so a message that was queued and acknowledged within it need not be written at all.
 * With a fast subscriber that is most of them: they gather while the commit before is on its way.
 */
import type {
  PutIncoming,
  PutOutgoing,
  PutRetained,
  PutSession,
  PutSubscription,
  RemoveIncoming,
  RemoveOutgoing,
  RemoveRetained,
  RemoveSubscription,
  SetOutgoing,
  StoredMessage,
  StoreOperation
} from "../core/StoreOperation.ts"
import type { KnownSession, SqliteCatalog } from "./SqliteCatalog.ts"

/** What happens to one session. */
export class SessionChange {
  /** Its name after this batch. */
  clientId: string
  /** As it is kept before this batch, */
  readonly known: KnownSession | undefined
  /** and the name that it has there. */
  readonly knownAs: string
  /** What is kept of it goes, before anything else. */
  removed = false
  session: PutSession | undefined = undefined
  readonly subscriptions = new Map<string, PutSubscription | RemoveSubscription>()
  readonly incoming = new Map<number, PutIncoming | RemoveIncoming>()
  readonly outgoing = new Map<number, PutOutgoing | SetOutgoing | RemoveOutgoing>()

  constructor(clientId: string, known: KnownSession | undefined) {
    this.clientId = clientId
    this.known = known
    this.knownAs = clientId
  }

  /** Whether there is a session that something can belong to. */
  get exists(): boolean {
    return this.session !== undefined || (this.known !== undefined && !this.removed)
  }

  /** No message of it with a higher order was kept before this batch. */
  get lastOrder(): number {
    return this.known === undefined || this.removed ? 0 : this.known.lastOrder
  }

  remove(): void {
    this.removed = this.known !== undefined
    this.session = undefined
    this.subscriptions.clear()
    this.incoming.clear()
    this.outgoing.clear()
  }

  set(operation: SetOutgoing): void {
    const { order, packetId, state } = operation
    const former = this.outgoing.get(order)
    if (former?._tag === "RemoveOutgoing") return
    this.outgoing.set(order, former?._tag === "PutOutgoing" ? { ...former, packetId, state } : operation)
  }

  drop(operation: RemoveOutgoing): void {
    const { order } = operation
    if (order > this.lastOrder) this.outgoing.delete(order)
    else this.outgoing.set(order, operation)
  }
}

export class SqliteChange {
  readonly sessions: Array<SessionChange> = []
  readonly retained = new Map<string, PutRetained | RemoveRetained>()
  /** Messages that were put into more than one session, by message id. */
  readonly shared = new Map<number, StoredMessage>()
  private readonly catalog: SqliteCatalog
  private readonly byName = new Map<string, SessionChange>()
  private session: SessionChange | undefined = undefined
  private message: StoredMessage | undefined = undefined

  constructor(catalog: SqliteCatalog, operations: ReadonlyArray<StoreOperation>) {
    this.catalog = catalog
    for (const operation of operations) this.apply(operation)
  }

  private apply(operation: StoreOperation): void {
    if (operation._tag === "PutRetained") {
      this.retained.set(operation.message.topic, operation)
      return
    }
    if (operation._tag === "RemoveRetained") {
      this.retained.set(operation.topic, operation)
      return
    }
    const session = this.sessionOf(operation.clientId)
    if (operation._tag === "PutSession") session.session = operation
    else if (operation._tag === "RemoveSession") session.remove()
    else if (operation._tag === "RenameSession") this.rename(session, operation.to)
    else if (session.exists) this.applyTo(session, operation)
  }

  private applyTo(
    session: SessionChange,
    operation: Exclude<
      StoreOperation,
      { readonly _tag: "PutRetained" | "RemoveRetained" | "PutSession" | "RemoveSession" | "RenameSession" }
    >
  ): void {
    switch (operation._tag) {
      case "PutOutgoing":
        session.outgoing.set(operation.order, operation)
        this.look(operation.message)
        return
      case "SetOutgoing":
        session.set(operation)
        return
      case "RemoveOutgoing":
        session.drop(operation)
        return
      case "PutIncoming":
      case "RemoveIncoming":
        session.incoming.set(operation.packetId, operation)
        return
      case "PutSubscription":
      case "RemoveSubscription":
        session.subscriptions.set(operation.filter, operation)
        return
    }
  }

  /** A message that goes to several sessions is put into one after the other. */
  private look(message: StoredMessage): void {
    if (
      message.messageId === this.message?.messageId &&
      message.payload.length === this.message.payload.length &&
      message.topic === this.message.topic
    ) {
      this.shared.set(message.messageId, message)
    } else this.message = message
  }

  private rename(session: SessionChange, to: string): void {
    if (!session.exists) return
    // What comes under its former name is another session, and not the one that is kept under it.
    this.add(session.clientId, undefined)
    session.clientId = to
    this.byName.set(to, session)
  }

  private sessionOf(clientId: string): SessionChange {
    if (this.session?.clientId === clientId) return this.session
    const session = this.byName.get(clientId) ?? this.add(clientId, this.catalog.sessions.get(clientId))
    this.session = session
    return session
  }

  private add(clientId: string, known: KnownSession | undefined): SessionChange {
    const session = new SessionChange(clientId, known)
    this.sessions.push(session)
    this.byName.set(clientId, session)
    return session
  }
}
