/**
 * Batches that nobody thought of: operations drawn at random over a few sessions, as a broker might append them and
 * as it never would.
 */
import type { PutOutgoing, StoreOperation, StoreRecord } from "../../src/core/StoreOperation.ts"
import type { random } from "../core/Random.ts"
import { incoming, message, outgoing, retained, session, subscription } from "../../src/storage/StorageContract.ts"

const CLIENTS = ["a", "b", "c", "d", "e"]

export class Operations {
  private readonly next: ReturnType<typeof random>
  private readonly orders = new Map<string, number>()
  private messageIds = 0
  /** Names that sessions were given: each once. */
  private readonly renamed: Array<string> = []

  constructor(next: ReturnType<typeof random>) {
    this.next = next
  }

  /** A batch of up to `most` operations. */
  batch(most: number): ReadonlyArray<StoreOperation> {
    return Array.from({ length: 1 + this.next(most) }, () => this.some()).flat()
  }

  private pick<A>(values: ReadonlyArray<A>): A {
    return values[this.next(values.length)]!
  }

  private some(): ReadonlyArray<StoreOperation> {
    const { next } = this
    const clientId = this.pick(next(8) === 0 && this.renamed.length > 0 ? this.renamed : CLIENTS)
    const choice = next(100)
    if (choice < 6) return [session(clientId, { disconnectedAt: next(3), expirySeconds: next(1_000) })]
    if (choice < 8) return [{ _tag: "RemoveSession", clientId }]
    if (choice < 9) return [this.rename(clientId)]
    if (choice < 12) return [subscription(clientId, this.pick(["x", "y", "z"]))]
    if (choice < 15) return [{ _tag: "RemoveSubscription", clientId, filter: this.pick(["x", "y", "z"]) }]
    if (choice < 20) return [incoming(clientId, 1 + next(8))]
    if (choice < 25) return [{ _tag: "RemoveIncoming", clientId, packetId: 1 + next(8) }]
    if (choice < 28) return [retained(this.pick(["r", "s", "t"]), ++this.messageIds)]
    if (choice < 30) return [{ _tag: "RemoveRetained", topic: this.pick(["r", "s", "t"]) }]
    if (choice < 45) return this.fanOut()
    if (choice < 65) return Array.from({ length: 1 + next(40) }, () => this.put(clientId))
    if (choice < 80) return [this.set(clientId)]
    return this.removals(clientId)
  }

  private rename(clientId: string): StoreOperation {
    const to = `\u0000${this.renamed.length}`
    this.renamed.push(to)
    this.orders.set(to, this.orders.get(clientId) ?? 0)
    return { _tag: "RenameSession", clientId, to }
  }

  private put(clientId: string): PutOutgoing {
    const order = (this.orders.get(clientId) ?? 0) + 1 + (this.next(20) === 0 ? 1 : 0)
    this.orders.set(clientId, order)
    return { ...outgoing(clientId, order), message: message(++this.messageIds) }
  }

  /** One message to several sessions. */
  private fanOut(): ReadonlyArray<StoreOperation> {
    const shared = message(++this.messageIds)
    return CLIENTS.filter(() => this.next(3) > 0).map((clientId) => ({ ...this.put(clientId), message: shared }))
  }

  private set(clientId: string): StoreOperation {
    const order = this.some1To(clientId)
    return { _tag: "SetOutgoing", clientId, order, packetId: 1 + this.next(65_535), state: this.pick([2, 3, 4, 5]) }
  }

  /** Nearly always the oldest. */
  private removals(clientId: string): ReadonlyArray<StoreOperation> {
    const first = this.some1To(clientId)
    return Array.from({ length: 1 + this.next(30) }, (_, index) => ({
      _tag: "RemoveOutgoing",
      clientId,
      order: first + index
    }))
  }

  private some1To(clientId: string): number {
    return 1 + this.next(Math.max(1, this.orders.get(clientId) ?? 1))
  }
}

/** Two stores hold the same when these are equal: records by what they are of, messages in their order. */
export const canonical = (records: ReadonlyArray<StoreRecord>): ReadonlyArray<readonly [string, StoreRecord]> => {
  const keyOf = (record: StoreRecord, index: number): string => {
    switch (record._tag) {
      case "PutRetained":
        return `retained ${record.message.topic}`
      case "PutSession":
        return `session ${record.clientId}`
      case "PutSubscription":
        return `${record.clientId} subscription ${record.filter}`
      case "PutIncoming":
        return `${record.clientId} incoming ${record.packetId}`
      case "PutOutgoing":
        return `${record.clientId} outgoing ${String(index).padStart(8, "0")}`
    }
  }
  const keyed = records.map((record, index) => [keyOf(record, index), record] as const)
  keyed.sort(([a], [b]) => (a < b ? -1 : 1))
  // The place in the store was only for the order.
  return keyed.map(([key, record]) => [key.replace(/ \d{8}$/, ""), record])
}
