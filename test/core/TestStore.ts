/**
 * A store for tests: it takes batches at once, applies them when told to, and never answers by itself.
 */
import type { Batch } from "../../src/core/Journal.ts"
import type { StoreOperation } from "../../src/core/StoreOperation.ts"
import { MemoryStore } from "../../src/storage/MemoryStorage.ts"

export class TestStore {
  /** What is kept: survives a restart. */
  readonly memory = new MemoryStore()
  /** Every batch of this life of the broker, in order. */
  log: Array<Batch> = []
  /** How many of them have been applied. */
  applied = 0

  push(batch: Batch): void {
    // Written down at once, as a real store would: what the core does to its buffers afterwards must not matter.
    this.log.push({
      operations: batch.operations.map((operation) => structuredClone(operation)),
      sequence: batch.sequence
    })
  }

  /** Batches that were taken and not applied. */
  get waiting(): number {
    return this.log.length - this.applied
  }

  /** Applies the next batch, and returns it. */
  apply(): Batch | undefined {
    const batch = this.log[this.applied]
    if (batch === undefined) return undefined
    this.applied++
    this.memory.commit(batch.operations, batch.sequence)
    return batch
  }

  /** The tags of the operations that were taken and not applied. */
  get waitingTags(): ReadonlyArray<StoreOperation["_tag"]> {
    return this.log.slice(this.applied).flatMap(({ operations }) => operations.map(({ _tag }) => _tag))
  }

  /** A new life: sequences begin again, and what was not applied is gone. */
  restart(): void {
    this.log = []
    this.applied = 0
    this.memory.sequence = 0
  }
}
