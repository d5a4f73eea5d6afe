/**
 * A broker core with everything around it made of arrays: a clock that stands still, sockets that take what they are
 * told to take, a store that answers when it is told to.
 *
 * `CoreHarness` does what the shell's turn does, in the same order: questions, journal, outboxes, closes, reading.
 * `TestClient` speaks real bytes both ways. `crash` makes a new core from what the store had applied.
 */
import type { Answer, Question } from "../../src/core/Question.ts"
import { BrokerCore } from "../../src/core/BrokerCore.ts"
import * as CoreConfig from "../../src/core/CoreConfig.ts"
import type { CoreEvent, CoreEventTag, Frame } from "../../src/core/CoreEvent.ts"
import type { CaughtDefect, CoreState } from "../../src/core/CoreState.ts"
import type { PageRequest } from "../../src/core/PageRequest.ts"
import type { ServerConnection } from "../../src/core/ServerConnection.ts"
import type { Session } from "../../src/core/Session.ts"
import type { StoreOperation } from "../../src/core/StoreOperation.ts"
import { TestClient, type ConnectOptions } from "./TestClient.ts"
import { TestStore } from "./TestStore.ts"

export interface HarnessOptions {
  readonly config?: Partial<CoreConfig.CoreConfig> | undefined
  /**
   * "none" (the default): no journal at all. "on-time": every batch is applied and confirmed within its turn.
   * "manual": batches wait for `commit`, `harness.store.apply` and `harness.stored`.
   */
  readonly store?: "none" | "on-time" | "manual" | undefined
  /** Whether the store is asked for the middle of long queues (default: not, they are whole in memory). */
  readonly pages?: boolean | undefined
  /** Bugs are planted: they are in `defects`, and not thrown. */
  readonly defects?: boolean | undefined
  /** Event kinds to build; "all" for every kind. */
  readonly events?: ReadonlyArray<CoreEventTag> | undefined
}

/** An arbitrary time: what matters is that it is not 0. */
const FIRST_MILLIS = 1_700_000_000_000

export class CoreHarness {
  core: BrokerCore
  now = FIRST_MILLIS
  readonly store = new TestStore()
  /** Of this core; `crash` empties it. */
  clients: Array<TestClient> = []
  /** Questions that nobody has answered; `answer` takes them out. */
  readonly questions: Array<Question> = []
  /** Bugs that the core has met. */
  readonly defects: Array<CaughtDefect> = []
  /** Asked of the store, and not answered yet. */
  private pageRequests: Array<PageRequest> = []
  /** Events not yet taken by `takeEvents`. */
  private events: Array<CoreEvent | Frame> = []
  /** False: no turn follows a call by itself; call `turn`. */
  private automatic = true
  private readonly options: HarnessOptions

  constructor(options: HarnessOptions = {}) {
    this.options = options
    this.core = this.makeCore()
  }

  // The clients.

  /** A transport that has sent nothing yet. */
  open(version: 3 | 4 | 5 = 4): TestClient {
    const client = new TestClient(this, version)
    this.clients.push(client)
    this.settle()
    return client
  }

  /** A transport that has sent its CONNECT. Version 4 and a clean session unless told otherwise. */
  connect(clientId: string, options: ConnectOptions = {}): TestClient {
    const client = this.open(options.version ?? 4)
    client.connect(clientId, options)
    return client
  }

  /** A 3.1.1 client of a durable session whose CONNACK and subscriptions are stored, with nothing left to take. */
  connectDurable(clientId: string, ...filters: ReadonlyArray<string>): TestClient {
    const client = this.connect(clientId, { clean: false })
    this.commit()
    for (const filter of filters) client.subscribe(filter)
    this.commit()
    client.take()
    return client
  }

  /** What is inside the core, to see that nothing is left there; tests of behaviour do not need it. */
  get state(): CoreState {
    // Private on purpose: the shell must not reach in.
    return (this.core as unknown as { readonly core: CoreState }).core
  }

  session(clientId: string): Session | undefined {
    return this.core.sessions.get(clientId)
  }

  // Time.

  /** Lets time pass; `tick` is called whenever the core's deadline comes, as the shell's timer would. */
  advance(millis: number): void {
    const until = this.now + millis
    // Twice at one instant is legal (a visitor may schedule for now); without end it would be a fault.
    for (let ticks = 0; this.core.deadline() <= until; ticks++) {
      if (ticks > 10_000) throw new Error("The core wants to be called again and again at the same time.")
      this.now = Math.max(this.now, this.core.deadline())
      this.core.tick(this.now)
      this.settle()
    }
    this.now = until
  }

  // The store.

  /** Applies and confirms the next `count` batches (all, when left out), one at a time. */
  commit(count = Number.POSITIVE_INFINITY): void {
    this.turnJournal()
    for (let left = count; left > 0; left--) {
      const batch = this.store.apply()
      if (batch === undefined) return
      this.stored(batch.sequence)
    }
  }

  /** Confirms a sequence, whatever it is, and runs a turn. */
  stored(sequence: number): void {
    this.core.stored(sequence, this.now)
    this.settle()
  }

  storageState(state: "ok" | "full" | "failed"): void {
    this.core.storageState(state, this.now)
    this.settle()
  }

  /** Every operation journalled so far in this life of the broker, in order. */
  get operations(): ReadonlyArray<StoreOperation> {
    this.turnJournal()
    return this.store.log.flatMap(({ operations }) => operations)
  }

  /**
   * The process dies when the store had applied `applied` batches of this life (what was applied already, when left
   * out), and a new one starts on what is kept. Every transport is gone, and no client gets what was not flushed.
   */
  crash(applied = this.store.applied): void {
    while (this.store.applied < applied) this.store.apply()
    for (const client of this.clients) client.lost()
    this.clients = []
    this.questions.length = 0
    this.pageRequests = []
    this.store.restart()
    this.core = this.makeCore()
    for (const record of this.store.memory.records()) this.core.restore(record, this.now)
    this.core.restored(this.now)
    this.settle()
  }

  // Questions and events.

  install(...kinds: ReadonlyArray<"sessionRequest" | "subscribe" | "publish">): void {
    for (const kind of kinds) this.core.installed[kind] = true
  }

  /** Answers a question: the oldest one unless told otherwise. */
  answer(answer: Answer, question = this.questions[0]): void {
    if (question === undefined) throw new Error("There is no question to answer.")
    const at = this.questions.indexOf(question)
    if (at >= 0) this.questions.splice(at, 1)
    this.core.answered(question.questionId, answer, this.now)
    this.settle()
  }

  want(...tags: ReadonlyArray<CoreEventTag>): void {
    for (const tag of tags) this.core.events.want(tag, true)
  }

  /** The events since the last call. */
  takeEvents(): ReadonlyArray<CoreEvent> {
    this.events.push(...this.core.events.take())
    return this.events.splice(0).filter((event) => event._tag !== "Frame")
  }

  // Turns.

  /** Several calls in one turn, as when many sockets are readable in one round of the event loop. */
  together(calls: () => void): void {
    this.automatic = false
    try {
      calls()
    } finally {
      this.automatic = true
    }
    this.settle()
  }

  /** Called after each call into the core: turns until there is nothing to do. */
  settle(): void {
    if (!this.automatic) return
    for (let turns = 0; this.turn(); turns++) {
      if (turns > 10_000) throw new Error("The turns do not come to an end.")
    }
  }

  /** One turn of the shell; whether it did anything. */
  turn(): boolean {
    const { core } = this
    core.turn(this.now)
    let busy = core.questions.length > 0 || core.unfinished
    this.questions.push(...core.questions.splice(0))
    if (this.turnJournal()) busy = true
    if (this.turnPageRequests()) busy = true
    for (const connection of core.dirty.splice(0)) {
      clientOf(connection).flush()
      busy = true
    }
    for (const { connection, drain } of core.closes.splice(0)) {
      clientOf(connection).end(drain)
      busy = true
    }
    for (const connection of core.readingChanges.splice(0)) {
      connection.readingChanged = false
      clientOf(connection).read(connection.reading)
      busy = true
    }
    this.events.push(...core.events.take())
    this.defects.push(...core.defects.splice(0))
    if (this.defects.length > 0 && this.options.defects !== true) throw this.defects[0]!.defect
    for (const client of this.clients) if (client.pumpInput()) busy = true
    return busy
  }

  private turnJournal(): boolean {
    const batch = this.core.journal.take()
    if (batch === undefined) return false
    this.store.push(batch)
    if (this.options.store === "on-time") {
      this.store.apply()
      this.core.stored(batch.sequence, this.now)
    }
    return true
  }

  /** Answers what the core asks of the store, as soon as the store has it. */
  private turnPageRequests(): boolean {
    const { core } = this
    this.pageRequests.push(...core.pageRequests.splice(0))
    const ready = this.pageRequests.filter(({ sequence }) => sequence <= core.journal.durable)
    this.pageRequests = this.pageRequests.filter(({ sequence }) => sequence > core.journal.durable)
    for (const request of ready) core.pageRead(request, this.store.memory.queued(request), this.now)
    return ready.length > 0
  }

  private makeCore(): BrokerCore {
    const core = new BrokerCore({
      config: { ...CoreConfig.defaults, ...this.options.config },
      journal: (this.options.store ?? "none") !== "none",
      pages: this.options.pages ?? false,
      idSeed: "seed",
      // Full of rubbish, as the shell's buffers are.
      allocate: (bytes) => new Uint8Array(bytes).fill(0xee)
    })
    for (const tag of this.options.events ?? []) core.events.want(tag, true)
    return core
  }
}

/** The harness puts its client where the shell puts its driver. */
const clientOf = (connection: ServerConnection): TestClient => connection.driver as TestClient
