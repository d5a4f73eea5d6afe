/**
 * The port to whatever keeps sessions, their messages and retained messages across restarts.
 *
 * Owns the contract and its errors. What must be kept, and what waits for it, is the core's decision; the broker calls
 * `commit` with one batch at a time, in order, and repeats a failed batch until it succeeds.
 *
 * What a store guarantees by keeping the contract: whatever an acknowledgement stands for is in a batch that was
 * committed before the acknowledgement left. So after a crash at any instant no acknowledged message is lost, and no
 * QoS 2 message is delivered twice; a QoS 1 message may be, with DUP set. What a commit survives (the process, the
 * machine) is the store's to say. `effect-mqtt/storage/StorageContract` holds any store to this.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Stream from "effect/Stream"
import type { PutOutgoing, StoreOperation, StoreRecord } from "../core/StoreOperation.ts"

/** There is no room: deletes may still succeed, and the broker goes on with what needs no room. */
export class StorageFull extends Schema.TaggedError<StorageFull>()("StorageFull", {
  detail: Schema.String,
  /** What to do; absent: to make room, while the broker tries again by itself. */
  advice: Schema.optional(Schema.String)
}) {
  override get message(): string {
    return `The store is full: ${this.detail} ${this.advice ?? "Make room for it; the broker tries again by itself."}`
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

/** It was written by a later version of this program. */
export class StorageNewer extends Schema.TaggedError<StorageNewer>()("StorageNewer", {
  detail: Schema.String
}) {
  override get message(): string {
    return (
      `The store is of a later version of effect-mqtt: ${this.detail} ` +
      "Run that version, or restore a backup from before it."
    )
  }
}

/** It is not a store of this program. */
export class StorageForeign extends Schema.TaggedError<StorageForeign>()("StorageForeign", {
  detail: Schema.String
}) {
  override get message(): string {
    return `That is not a store of effect-mqtt: ${this.detail} Name another place, or move it away; it was not touched.`
  }
}

/** Nothing can be written to it. */
export class StorageReadOnly extends Schema.TaggedError<StorageReadOnly>()("StorageReadOnly", {
  detail: Schema.String
}) {
  override get message(): string {
    return `The store cannot be written to: ${this.detail} Allow this user to write the file and its directory.`
  }
}

/** Another broker has it. */
export class StorageLocked extends Schema.TaggedError<StorageLocked>()("StorageLocked", {
  detail: Schema.String
}) {
  override get message(): string {
    return `The store is in use: ${this.detail} Stop the other broker, or give this one a place of its own.`
  }
}

export const StorageErrorReason = Schema.Union([
  StorageFull,
  StorageFailed,
  StorageCorrupt,
  StorageNewer,
  StorageForeign,
  StorageReadOnly,
  StorageLocked
])
export type StorageErrorReason = typeof StorageErrorReason.Type

export class StorageError extends Schema.TaggedError<StorageError>()("StorageError", {
  reason: StorageErrorReason
}) {
  override get message(): string {
    return this.reason.message
  }
}

/** Which of the messages that wait for one session are asked for. */
export interface QueuedRequest {
  readonly clientId: string
  /** Their orders are above this one, */
  readonly after: number
  /** and up to this one. */
  readonly through: number
  /** About so many bytes at once, 256 for each message besides what is in it. */
  readonly bytesMax: number
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
     * What still stands, in an order in which a session comes before what is in it, and its messages in theirs. Run
     * once, before `commit`: a run of the broker begins, and with it the sequences. The broker takes the records as
     * they come, so a store that reads them in pages is never in memory as a whole.
     */
    readonly load: Stream.Stream<StoreRecord, StorageError>
    /**
     * All of the operations, in order, or none. Success means they survive a crash of the process (and of the machine,
     * where the store says so). `sequence` grows from batch to batch; a batch that is repeated because its outcome was
     * lost has the same one, and must not be applied twice. After StorageFull, which says that nothing of it was kept,
     * it may come back as the beginning of a larger one.
     */
    readonly commit: (operations: ReadonlyArray<StoreOperation>, sequence: number) => Effect.Effect<void, StorageError>
    /**
     * The first of the messages that are kept for one session, in their order: one at least, if there are any. Absent:
     * queues are in memory besides the store. With it a broker keeps only the ends of a long queue in memory.
     */
    readonly queued?: ((request: QueuedRequest) => Effect.Effect<ReadonlyArray<PutOutgoing>, StorageError>) | undefined
    /** Milliseconds that the first operation of a batch waits for company; absent: 0. */
    readonly gatherMillis?: number | undefined
    /**
     * After `commit` has failed and then succeeded, and until it is true: whether there is room for more than deletes
     * (again, if it was StorageFull). Absent: a commit that succeeds says so.
     */
    readonly hasRoom?: Effect.Effect<boolean, StorageError> | undefined
    /**
     * When the run before this one was last known to live, in milliseconds since the epoch; 0: not known. It is known
     * when `load` has given its first record. Sessions that were connected then lost their connections then.
     */
    readonly lastAlive?: Effect.Effect<number> | undefined
  }
>()("effect-mqtt/storage/BrokerStorage") {}
