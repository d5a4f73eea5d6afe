/**
 * The port to whatever keeps sessions, their messages and retained messages across restarts.
 *
 * Owns the contract and its errors. What must be kept, and what waits for it, is the core's decision; the broker calls
 * `commit` with one batch at a time, in order, and repeats a failed batch until it succeeds.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Stream from "effect/Stream"
import type { StoreOperation, StoreRecord } from "../core/StoreOperation.ts"

/** There is no room: deletes may still succeed, and the broker goes on with what needs no room. */
export class StorageFull extends Schema.TaggedError<StorageFull>()("StorageFull", {
  detail: Schema.String
}) {
  override get message(): string {
    return `The store is full: ${this.detail} Make room for it; the broker tries again by itself.`
  }
}

/** Anything else that may pass: the broker tries again. */
export class StorageFailed extends Schema.TaggedError<StorageFailed>()("StorageFailed", {
  detail: Schema.String,
  cause: Schema.optional(Schema.Defect())
}) {
  override get message(): string {
    return `The store failed: ${this.detail}`
  }
}

/** What was kept cannot be read. */
export class StorageCorrupt extends Schema.TaggedError<StorageCorrupt>()("StorageCorrupt", {
  detail: Schema.String
}) {
  override get message(): string {
    return `The store holds what cannot be read: ${this.detail}`
  }
}

export const StorageErrorReason = Schema.Union([StorageFull, StorageFailed, StorageCorrupt])
export type StorageErrorReason = typeof StorageErrorReason.Type

export class StorageError extends Schema.TaggedError<StorageError>()("StorageError", {
  reason: StorageErrorReason
}) {
  override get message(): string {
    return this.reason.message
  }
}

export class BrokerStorage extends Context.Service<
  BrokerStorage,
  {
    /**
     * "nothing": the broker keeps no journal, never calls `commit`, and acknowledges at once. "everything": what an
     * acknowledgement promises is committed before it.
     */
    readonly keeps: "nothing" | "everything"
    /**
     * What still stands, in an order in which a session comes before what is in it. Run once, before `commit`: a run of
     * the broker begins, and with it the sequences.
     */
    readonly load: Stream.Stream<StoreRecord, StorageError>
    /**
     * All of the operations, in order, or none. Success means they survive a crash of the process (and of the machine,
     * where the store says so). `sequence` grows from batch to batch; a batch that is repeated because its outcome was
     * lost has the same one, and must not be applied twice.
     */
    readonly commit: (operations: ReadonlyArray<StoreOperation>, sequence: number) => Effect.Effect<void, StorageError>
  }
>()("effect-mqtt/storage/BrokerStorage") {}
