/**
 * Stores in memory: one that keeps nothing beyond the process, and one that can be looked into and outlives a broker.
 *
 * The second is the model of every adapter: it applies a batch as a whole, remembers its sequence, and gives back the
 * records that stand. Tests restart brokers on it.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as Content from "../core/Content.ts"
import type {
  PutIncoming,
  PutOutgoing,
  PutRetained,
  PutSession,
  PutSubscription,
  RenameSession,
  StoreOperation,
  StoredMessage,
  StoreRecord
} from "../core/StoreOperation.ts"
import { BrokerStorage, type QueuedRequest } from "./BrokerStorage.ts"

/** Sessions live as long as the broker, and acknowledgements wait for nothing. */
export const layer: Layer.Layer<BrokerStorage> = Layer.succeed(BrokerStorage)({
  keeps: "nothing",
  load: Stream.empty,
  commit: () => Effect.void
})

interface KeptSession {
  readonly session: PutSession
  readonly subscriptions: Map<string, PutSubscription>
  readonly outgoing: Map<number, PutOutgoing>
  readonly incoming: Map<number, PutIncoming>
}

/** What is kept: plain maps. Records are immutable, so that a copy of the maps is a copy of the store. */
export class MemoryStore {
  readonly sessions = new Map<string, KeptSession>()
  readonly retained = new Map<string, PutRetained>()
  /** The last batch applied in this run of the broker. */
  sequence = 0

  /** Applies a batch, unless it has been applied already. */
  commit(operations: ReadonlyArray<StoreOperation>, sequence: number): void {
    if (sequence <= this.sequence) return
    for (const operation of operations) this.apply(operation)
    this.sequence = sequence
  }

  /** What still stands, sessions before what is in them, messages in the order of their session. */
  records(): Array<StoreRecord> {
    const ofSession = ({ incoming, outgoing, session, subscriptions }: KeptSession): Array<StoreRecord> => [
      session,
      ...subscriptions.values(),
      ...incoming.values(),
      ...[...outgoing.values()].sort((a, b) => a.order - b.order)
    ]
    return [...[...this.sessions.values()].flatMap(ofSession), ...this.retained.values()]
  }

  /** Messages that wait for one session, in their order. */
  queued({ after, bytesMax, clientId, through }: QueuedRequest): ReadonlyArray<PutOutgoing> {
    const outgoing = this.sessions.get(clientId)?.outgoing.values() ?? []
    const found: Array<PutOutgoing> = []
    let left = bytesMax
    const wanted = [...outgoing].filter(({ order }) => order > after && order <= through)
    for (const one of wanted.sort((a, b) => a.order - b.order)) {
      if (left <= 0) break
      left -= Content.bytesOf(one.message) + Content.OBJECT_BYTES
      found.push(one)
    }
    return found
  }

  private apply(operation: StoreOperation): void {
    switch (operation._tag) {
      case "PutRetained":
        this.retained.set(operation.message.topic, operation)
        return
      case "RemoveRetained":
        this.retained.delete(operation.topic)
        return
      case "PutSession":
        this.putSession(operation)
        return
      case "RemoveSession":
        this.sessions.delete(operation.clientId)
        return
      case "RenameSession":
        this.rename(operation)
        return
      default: {
        const kept = this.sessions.get(operation.clientId)
        // What belongs to a session that is gone is gone with it.
        if (kept !== undefined) applyTo(kept, operation)
      }
    }
  }

  private rename({ clientId, to }: RenameSession): void {
    const kept = this.sessions.get(clientId)
    if (kept === undefined) return
    this.sessions.delete(clientId)
    this.sessions.set(to, {
      session: { ...kept.session, clientId: to },
      subscriptions: renamed(kept.subscriptions, to),
      outgoing: renamed(kept.outgoing, to),
      incoming: renamed(kept.incoming, to)
    })
  }

  private putSession(session: PutSession): void {
    const kept = this.sessions.get(session.clientId)
    this.sessions.set(session.clientId, {
      subscriptions: kept?.subscriptions ?? new Map(),
      outgoing: kept?.outgoing ?? new Map(),
      incoming: kept?.incoming ?? new Map(),
      session
    })
  }
}

const renamed = <Key, Item extends { readonly clientId: string }>(
  items: ReadonlyMap<Key, Item>,
  clientId: string
): Map<Key, Item> => new Map(Array.from(items, ([key, item]) => [key, { ...item, clientId }]))

type WithinSession = Exclude<
  StoreOperation,
  { readonly _tag: "PutSession" | "RemoveSession" | "RenameSession" | "PutRetained" | "RemoveRetained" }
>

const applyTo = (kept: KeptSession, operation: WithinSession): void => {
  switch (operation._tag) {
    case "PutSubscription":
      kept.subscriptions.set(operation.filter, operation)
      return
    case "RemoveSubscription":
      kept.subscriptions.delete(operation.filter)
      return
    case "PutOutgoing":
      kept.outgoing.set(operation.order, operation)
      return
    case "SetOutgoing": {
      const { order, packetId, state } = operation
      const outgoing = kept.outgoing.get(order)
      if (outgoing !== undefined) kept.outgoing.set(order, { ...outgoing, packetId, state })
      return
    }
    case "RemoveOutgoing":
      kept.outgoing.delete(operation.order)
      return
    case "PutIncoming":
      kept.incoming.set(operation.packetId, operation)
      return
    case "RemoveIncoming":
      kept.incoming.delete(operation.packetId)
      return
  }
}

const copyBytes = (bytes: Uint8Array): Uint8Array => Uint8Array.from(bytes)

const copyMessage = (message: StoredMessage): StoredMessage => {
  const { payload, properties } = message
  const correlationData = properties?.correlationData
  return {
    ...message,
    payload: copyBytes(payload),
    properties:
      correlationData === undefined ? properties : { ...properties, correlationData: copyBytes(correlationData) }
  }
}

/**
 * Copies the bytes that a record refers to: they are views of far larger buffers of the core, and nothing that is read
 * from the store may change it.
 */
const detach = <O extends StoreOperation>(operation: O): O => {
  if ("message" in operation) return { ...operation, message: copyMessage(operation.message) }
  if (operation._tag !== "PutSession" || operation.will === undefined) return operation
  return { ...operation, will: { ...operation.will, message: copyMessage(operation.will.message) } }
}

/** A service over a store that the caller keeps. */
export const make = (store: MemoryStore): BrokerStorage["Service"] => ({
  keeps: "everything",
  load: Stream.suspend(() => {
    store.sequence = 0
    return Stream.fromIterable(store.records().map(detach))
  }),
  commit: (operations, sequence) => Effect.sync(() => store.commit(operations.map(detach), sequence)),
  queued: (request) => Effect.sync(() => store.queued(request).map(detach))
})

/** Keeps everything in `store`, which survives the layer and can be looked into. */
export const layerKeeping = (store: MemoryStore): Layer.Layer<BrokerStorage> =>
  Layer.sync(BrokerStorage)(() => make(store))
