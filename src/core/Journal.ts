/**
 * The one ordered list of what must become durable, and how far the store has come.
 *
 * Owns sequence numbers; a batch is what was appended between two `take`s, so it is whole calls into the core and
 * therefore atomic. What waits for a sequence is the business of `Gate.ts`. With `enabled` false nothing is recorded
 * and every gate is open: the packet path pays one branch.
 *
 * A message for a session is noted as the object that it is, and becomes a record in `take`. One that its client
 * acknowledges before that leaves nothing behind: with fast subscribers most are.
 */
import * as Content from "./Content.ts"
import type { Outgoing } from "./Outgoing.ts"
import type { PutOutgoing, StoredMessage, StoreOperation } from "./StoreOperation.ts"

export type StorageState = "ok" | "full" | "failed"

export interface Batch {
  readonly operations: ReadonlyArray<StoreOperation>
  /** Durable when the batch is. */
  readonly sequence: number
}

/** Rough size of a record besides its payload, for `journalBytesMax`. */
const RECORD_BYTES = 128
/** And of a packet that waits at a gate. */
const GATED_BYTES = 64

export class Journal {
  readonly enabled: boolean
  /** The last sequence appended. */
  sequence = 0
  /** Everything up to here is durable. */
  durable = 0
  storage: StorageState = "ok"
  /** Bytes appended and not yet durable. */
  bytes = 0
  /** Packets that wait at the gates of all connections. */
  gated = 0
  /** How many operations the next `take` has. */
  pending = 0
  /** Grows with everything appended and everything withdrawn: whether a round of the event loop brought something. */
  changes = 0
  /** Undefined in the place of a message that is not to be stored any more. */
  private entries: Array<StoreOperation | NewOutgoing | undefined> = []
  /** The last sequence handed over. */
  private taken = 0
  /** Bytes appended since the last `take`. */
  private pendingBytes = 0
  /** Batches on their way: their sequence and size, oldest first. */
  private readonly underway: Array<{ readonly sequence: number; readonly bytes: number }> = []

  constructor(enabled: boolean) {
    this.enabled = enabled
  }

  /** Call only while `enabled`. */
  append(operation: StoreOperation): void {
    this.entries.push(operation)
    this.count(RECORD_BYTES + contentBytes(operation))
  }

  /** A message for a session, new to the store. Call only while `enabled`. */
  appendOutgoing(clientId: string, outgoing: Outgoing): void {
    outgoing.journalPlace = this.entries.length
    this.entries.push(new NewOutgoing(clientId, outgoing))
    this.count(RECORD_BYTES + outgoing.message.bytes)
  }

  /**
   * A message that has a place here is over: the store need not hear of it. Its place, and whoever waits for the
   * sequence, are still here: while a commit hangs, they must count.
   */
  withdraw(outgoing: Outgoing): void {
    this.entries[outgoing.journalPlace] = undefined
    outgoing.journalPlace = -1
    this.pending--
    this.changes++
    const { bytes } = outgoing.message
    this.bytes -= bytes
    this.pendingBytes -= bytes
  }

  /** Bytes of all that waits for the store, or for what it has yet to confirm. */
  get waitingBytes(): number {
    return this.bytes + this.gated * GATED_BYTES
  }

  /** True when nothing that must be kept can be kept now. */
  get refusing(): boolean {
    return this.enabled && this.storage !== "ok"
  }

  /** What was appended since the last `take`, without operations when all of it has been withdrawn. */
  take(): Batch | undefined {
    if (this.entries.length === 0) return undefined
    const operations: Array<StoreOperation> = []
    for (const entry of this.entries) {
      if (entry !== undefined) operations.push(entry instanceof NewOutgoing ? entry.written() : entry)
    }
    const batch = { operations, sequence: this.sequence }
    this.underway.push({ sequence: this.sequence, bytes: this.pendingBytes })
    this.entries = []
    this.pending = 0
    this.pendingBytes = 0
    this.taken = this.sequence
    return batch
  }

  /** Everything up to `sequence` is durable. An older or repeated answer changes nothing. */
  stored(sequence: number): void {
    // What was never handed over cannot be durable.
    this.durable = Math.max(this.durable, Math.min(sequence, this.taken))
    while (this.underway.length > 0 && this.underway[0]!.sequence <= this.durable) {
      this.bytes -= this.underway.shift()!.bytes
    }
  }

  private count(bytes: number): void {
    this.sequence++
    this.pending++
    this.changes++
    this.bytes += bytes
    this.pendingBytes += bytes
  }
}

/** A message that the next `take` makes a record of, with the state and packet id that it has then. */
class NewOutgoing {
  private readonly clientId: string
  private readonly outgoing: Outgoing

  constructor(clientId: string, outgoing: Outgoing) {
    this.clientId = clientId
    this.outgoing = outgoing
  }

  written(): PutOutgoing {
    const { clientId, outgoing } = this
    outgoing.journalPlace = -1
    const { message, order, packetId, qos, retain, sharedFilter, state, subscriptionIdentifiers } = outgoing
    return {
      _tag: "PutOutgoing",
      clientId,
      order,
      message: message.toStored(),
      qos,
      retain,
      packetId,
      state,
      subscriptionIdentifiers,
      sharedFilter
    }
  }
}

/** What a record holds besides its fixed part, in characters and bytes: nothing a client sends is free. */
const contentBytes = (operation: StoreOperation): number => {
  switch (operation._tag) {
    case "PutOutgoing":
    case "PutIncoming":
    case "PutRetained":
      return messageBytes(operation.message)
    case "PutSession":
      return operation.will === undefined ? 0 : messageBytes(operation.will.message)
    case "PutSubscription":
      return operation.filter.length
    default:
      return 0
  }
}

const messageBytes = (message: StoredMessage): number => {
  const { origin } = message
  return Content.bytesOf(message) + (origin === undefined ? 0 : origin.clientId.length + origin.userName.length)
}
