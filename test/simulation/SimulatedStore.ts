/**
 * A store that may answer late, stall, fail, be full, and come back: driven as the shell's journal driver drives it,
 * one batch at a time, in order, each until it is kept.
 */
import type { BrokerCore } from "../../src/core/BrokerCore.ts"
import type { Batch } from "../../src/core/Journal.ts"
import type { PageRequest } from "../../src/core/PageRequest.ts"
import type { PutOutgoing, StoredMessage, StoreOperation } from "../../src/core/StoreOperation.ts"
import { MemoryStore } from "../../src/storage/MemoryStorage.ts"
import type { World } from "./World.ts"

export type StoreState = "ok" | "full" | "failed"

export class SimulatedStore {
  /** What is kept: survives a crash. */
  readonly memory = new MemoryStore()
  state: StoreState = "ok"
  stalled = false
  private readonly world: World
  private batch: Batch | undefined = undefined
  private pageRequests: Array<PageRequest> = []
  private applied = false
  /** What the core was told last. */
  private reported: StoreState = "ok"

  constructor(world: World) {
    this.world = world
  }

  get idle(): boolean {
    return this.batch === undefined && this.pageRequests.length === 0
  }

  /** Takes what the core wishes to be read. */
  wish(core: BrokerCore): void {
    this.pageRequests.push(...core.pageRequests.splice(0))
  }

  /** Answers one wish, if it can. */
  read(core: BrokerCore): void {
    const { pageRequests, world } = this
    if (
      pageRequests.length === 0 ||
      this.stalled ||
      this.state === "failed" ||
      (!world.calm && world.random.chance(0.3))
    )
      return
    const at = world.random.between(0, pageRequests.length - 1)
    const request = pageRequests[at]!
    if (request.sequence > core.journal.durable) return
    pageRequests.splice(at, 1)
    const records = this.memory.queued(request)
    world.trace(() => `store reads ${records.length} messages for ${request.clientId} behind ${request.after}`)
    core.pageRead(request, records.map(detach) as Array<PutOutgoing>, world.now) // copies of the same kind
  }

  /** Takes what was journalled, unless it is busy. */
  take(core: BrokerCore): void {
    if (this.batch !== undefined) return
    const batch = core.journal.take()
    if (batch === undefined) return
    // Written down at once, as a real store does: what the core does to its buffers afterwards must not matter.
    this.batch = { operations: batch.operations.map(detach), sequence: batch.sequence }
    this.applied = false
  }

  /** One attempt, or one half of it. */
  work(core: BrokerCore): void {
    const { batch, world } = this
    if (batch === undefined || this.stalled) return
    if (this.state !== "ok") {
      // A store that dies after it has committed says that it failed.
      if (this.state === "failed" && world.random.chance(0.2)) this.apply(batch)
      if (this.reported === this.state) return
      this.reported = this.state
      world.trace(() => `store ${this.state}`)
      core.storageState(this.state, world.now)
      return
    }
    this.apply(batch)
    if (!world.calm && world.random.chance(0.3)) return
    this.batch = undefined
    world.trace(() => `store kept ${batch.sequence}`)
    if (this.reported !== "ok") {
      this.reported = "ok"
      core.storageState("ok", world.now)
    }
    core.stored(batch.sequence, world.now)
    this.take(core)
  }

  /** The broker's process dies, and takes with it what was not handed over. */
  restart(): void {
    if (this.batch !== undefined && !this.stalled && this.state === "ok" && this.world.random.chance(0.5)) {
      this.apply(this.batch)
    }
    this.batch = undefined
    this.pageRequests = []
    this.memory.sequence = 0
    this.reported = "ok"
  }

  private apply({ operations, sequence }: Batch): void {
    if (this.applied) this.world.check(this.memory.sequence >= sequence, () => "The store forgot a batch.")
    this.memory.commit(operations, sequence)
    this.applied = true
  }
}

const detachMessage = (message: StoredMessage): StoredMessage => ({ ...message, payload: message.payload.slice() })

const detach = (operation: StoreOperation): StoreOperation => {
  if ("message" in operation) return { ...operation, message: detachMessage(operation.message) }
  if (operation._tag !== "PutSession" || operation.will === undefined) return operation
  return { ...operation, will: { ...operation.will, message: detachMessage(operation.will.message) } }
}
