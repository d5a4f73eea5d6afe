/**
 * What the benchmark asks of the generator process, and what it gets back; both cross as plain messages.
 */
import type { Address } from "./connection.ts"
import type { Scenario } from "./scenarios.ts"

export interface Job {
  readonly scenario: Scenario
  readonly address: Address
  /** Process id of the broker, whose CPU time and memory are read. */
  readonly brokerPid: number
  readonly warmUpSeconds: number
  readonly seconds: number
}

/** What one run of one scenario measured. What does not apply is absent. */
export interface Measurement {
  /** Deliveries a second in the window. */
  readonly deliveriesPerSecond?: number
  /** CPU time of the broker for a delivery, in microseconds. */
  readonly cpuMicrosPerDelivery?: number
  /** Share of the window in which the broker was on a CPU (1 is one core). */
  readonly brokerCpuShare?: number
  /** The same of the generator: near 1, it is the bottleneck. */
  readonly generatorCpuShare?: number
  /** The same of everything else on the machine: near 0, or the other numbers are off. */
  readonly otherCpuShare?: number
  readonly latencyP50Milliseconds?: number
  readonly latencyP99Milliseconds?: number
  /**
   * Deliveries that were due, less those that came, after everything had the time to arrive; of handshakes, those that
   * failed.
   */
  readonly messagesLost?: number
  /** Resident memory of the broker at the end of the window. */
  readonly residentBytes?: number
  /** Resident memory an idle connection adds. */
  readonly bytesPerConnection?: number
  readonly connections?: number
  readonly connectionsPerSecond?: number
  /** Connections that came, were accepted and went, a second. */
  readonly handshakesPerSecond?: number
  /** CPU time of the broker for each of those, in microseconds. */
  readonly cpuMicrosPerHandshake?: number
  /** Deliveries a second to the other readers beside a frozen one, as a share of those without it. */
  readonly besideFrozenShare?: number
  /** Filters that came and went a second beside the measured messages. */
  readonly churnPerSecond?: number
  /** Process start to listening. */
  readonly startMilliseconds?: number
  /** Messages a second that were acknowledged and queued for an absent client. */
  readonly queuedPerSecond?: number
  /** Resident memory that a message adds that waits for an absent client. */
  readonly bytesPerQueuedMessage?: number
  /** What else is worth saying: refusals, closed connections, messages still under way at the end. */
  readonly notes: ReadonlyArray<string>
}

export type Answer = { readonly measurement: Measurement } | { readonly error: string }
