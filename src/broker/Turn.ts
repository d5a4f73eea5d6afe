/**
 * The turn: everything that the core wants done after a batch of calls, done once.
 *
 * Owns one immediate, one timer, and the drivers of all connections. A turn gathers the calls of one round of the
 * event loop, so that a connection that got a hundred packets is written to once. The timer stands for every deadline
 * there is: keep alive, expiry, hooks, closes.
 */
import type { BrokerCore } from "../core/BrokerCore.ts"
import type { CaughtDefect } from "../core/CoreState.ts"
import type { ServerConnection } from "../core/ServerConnection.ts"
import type { Listener, TransportConnection } from "../transport/Listener.ts"
import { ConnectionDriver, type Turnover } from "./ConnectionDriver.ts"
import type { EventHub } from "./EventHub.ts"
import type { HookRunner } from "./HookRunner.ts"
import type { JournalDriver } from "./JournalDriver.ts"
import type { QuestionDriver } from "./QuestionDriver.ts"
import type { QueueReader } from "./QueueReader.ts"

/** The longest time a Node timer can wait. */
const TIMER_MILLIS_MAX = 2_147_483_647

/** What takes part in a turn besides the connections; they are made after it, because they schedule it. */
export interface Participants {
  readonly questions: QuestionDriver
  readonly runner: HookRunner
  readonly journal: JournalDriver
  readonly queues: QueueReader
  readonly hub: EventHub
  readonly reportDefect: (defect: CaughtDefect) => void
}

export class Turn implements Turnover {
  readonly core: BrokerCore
  readonly drivers = new Set<ConnectionDriver>()
  private readonly closing = new Set<ConnectionDriver>()
  private readonly goneWaiters = new Set<() => void>()
  private participants: Participants | undefined = undefined
  private immediate: NodeJS.Immediate | undefined = undefined
  private timer: NodeJS.Timeout | undefined = undefined
  private timerAt = Number.POSITIVE_INFINITY
  private closesAt = Number.POSITIVE_INFINITY
  private stopped = false
  /** Removed sessions are about to be forgotten. */
  private departures = false

  constructor(core: BrokerCore) {
    this.core = core
  }

  begin(participants: Participants): void {
    this.participants = participants
  }

  /** A turn takes place at the end of this round of the event loop. */
  readonly schedule = (): void => {
    if (this.immediate === undefined && !this.stopped) this.immediate = setImmediate(this.run)
  }

  accept(listener: Listener, transport: TransportConnection): void {
    this.drivers.add(new ConnectionDriver(this, listener, transport, Date.now()))
    this.schedule()
  }

  /** Takes messages at QoS 0 out of what waits for a connection's socket; returns how many. */
  interrupt(connection: ServerConnection): number {
    const dropped = driverOf(connection)?.interrupt(Date.now()) ?? 0
    this.schedule()
    return dropped
  }

  /** The transport of a driver is gone. */
  readonly released = (driver: ConnectionDriver): void => {
    this.drivers.delete(driver)
    this.closing.delete(driver)
    for (const check of this.goneWaiters) check()
  }

  readonly lookBy = (at: number): void => {
    if (at < this.closesAt) this.closesAt = at
  }

  /** Calls `gone` as soon as no driver of the listener (or none at all) is left. Returns how to stop waiting. */
  whenGone(listener: Listener | undefined, gone: () => void): () => void {
    const check = () => {
      for (const driver of this.drivers) {
        if (listener === undefined || driver.listener === listener) return
      }
      this.goneWaiters.delete(check)
      gone()
    }
    this.goneWaiters.add(check)
    check()
    return () => this.goneWaiters.delete(check)
  }

  /** No more turns, no timer. */
  stop(): void {
    this.stopped = true
    if (this.immediate !== undefined) clearImmediate(this.immediate)
    this.immediate = undefined
    this.disarm()
  }

  /** The turn itself; `schedule` has it run. */
  readonly run = (): void => {
    this.immediate = undefined
    const { core, participants } = this
    if (participants === undefined) return
    const now = Date.now()
    core.turn(now)
    if (core.questions.length > 0 || core.forgotten.length > 0) participants.questions.drain(now)
    participants.journal.drain(now)
    participants.queues.drain()
    this.flush(now)
    this.close(now)
    this.changeReading()
    for (const defect of core.defects.splice(0)) participants.reportDefect(defect)
    participants.hub.drain()
    if (core.departing.size > 0) this.departLater()
    // What a store or hook that answers at once has caused, and what a flushed queue has refilled.
    if (this.hasWork) this.schedule()
    this.arm(now)
  }

  private get hasWork(): boolean {
    const { closes, dirty, pageRequests, questions, readingChanges } = this.core
    const lists = dirty.length + closes.length + questions.length + readingChanges.length + pageRequests.length
    return lists > 0 || this.core.unfinished
  }

  /** A round of the event loop after they were told, for who is told looks in that round. */
  private departLater(): void {
    if (this.departures) return
    this.departures = true
    const told = [...this.core.departing]
    setImmediate(() =>
      setImmediate(() => {
        this.departures = false
        for (const session of told) this.core.depart(session)
        if (this.core.departing.size > 0) this.departLater()
      })
    )
  }

  private flush(now: number): void {
    const { dirty } = this.core
    // `flushed` may make a connection dirty again: that is for the next turn, or one fast reader would hold it.
    const count = dirty.length
    for (let index = 0; index < count; index++) driverOf(dirty[index]!)?.flush(now)
    if (dirty.length === count) dirty.length = 0
    else dirty.splice(0, count)
  }

  private close(now: number): void {
    const { closes } = this.core
    if (closes.length === 0) return
    for (const { connection, drain } of closes.splice(0)) {
      const driver = driverOf(connection)
      if (driver === undefined || !this.drivers.has(driver)) continue
      this.closing.add(driver)
      driver.close(drain, now)
    }
  }

  /**
   * Pauses and resumes sockets as the core wishes. Also called between two reads of one turn: Node takes up to 2 MiB a
   * socket from the kernel before a turn ends, and ten publishers together would overrun a healthy reader (measured:
   * 8 MiB in one turn).
   */
  readonly changeReading = (): void => {
    const { readingChanges } = this.core
    if (readingChanges.length === 0) return
    for (const connection of readingChanges) {
      connection.readingChanged = false
      driverOf(connection)?.read(connection.reading)
    }
    readingChanges.length = 0
  }

  private arm(now: number): void {
    const { core, participants } = this
    const next = Math.min(core.deadline(), participants?.runner.deadline() ?? Number.POSITIVE_INFINITY, this.closesAt)
    // A timer that fires too early costs one look; moving it for every turn would cost more.
    if (next >= this.timerAt || this.stopped) return
    this.disarm()
    this.timerAt = next
    this.timer = setTimeout(this.elapsed, Math.min(Math.max(next - now, 1), TIMER_MILLIS_MAX))
  }

  private disarm(): void {
    if (this.timer !== undefined) clearTimeout(this.timer)
    this.timer = undefined
    this.timerAt = Number.POSITIVE_INFINITY
  }

  private readonly elapsed = (): void => {
    this.timer = undefined
    this.timerAt = Number.POSITIVE_INFINITY
    const now = Date.now()
    this.core.tick(now)
    this.participants?.runner.tick(now)
    this.closesAt = Number.POSITIVE_INFINITY
    for (const driver of this.closing) {
      if (driver.closeBy <= now) driver.destroy()
      else this.lookBy(driver.closeBy)
    }
    this.schedule()
  }
}

/** The core keeps the shell's object for us and does not look at it. */
const driverOf = (connection: ServerConnection): ConnectionDriver | undefined =>
  connection.driver as ConnectionDriver | undefined
