/**
 * The one ordered list of what must become durable, and how far the store has come.
 *
 * Owns sequence numbers; a batch is what was appended between two `take`s, so it is whole calls into the core and
 * therefore atomic. What waits for a sequence is the business of `Gate.ts`. With `enabled` false nothing is recorded
 * and every gate is open: the packet path pays one branch.
 */
import * as Content from "./Content.ts"
import type { StoredMessage, StoreOperation } from "./StoreOperation.ts"

export type StorageState = "ok" | "full" | "failed"

export interface Batch {
  readonly operations: ReadonlyArray<StoreOperation>
  /** Durable when the batch is. */
  readonly sequence: number
}

/** Rough size of a record besides its payload, for `journalBytesMax`. */
const RECORD_BYTES = 128

export class Journal {
  readonly enabled: boolean
  /** The last sequence appended. */
  sequence = 0
  /** Everything up to here is durable. */
  durable = 0
  storage: StorageState = "ok"
  /** Bytes appended and not yet durable. */
  bytes = 0
  private operations: Array<StoreOperation> = []
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
    this.sequence++
    this.operations.push(operation)
    const size = RECORD_BYTES + contentBytes(operation)
    this.bytes += size
    this.pendingBytes += size
  }

  /** True when nothing that must be kept can be kept now. */
  get refusing(): boolean {
    return this.enabled && this.storage !== "ok"
  }

  take(): Batch | undefined {
    if (this.operations.length === 0) return undefined
    const batch = { operations: this.operations, sequence: this.sequence }
    this.underway.push({ sequence: this.sequence, bytes: this.pendingBytes })
    this.operations = []
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
