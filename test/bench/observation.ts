/** One window of a run: what was counted in it, and who had the CPU meanwhile. */
import { setTimeout as sleep } from "node:timers/promises"
import type { Job, Measurement } from "./job.ts"
import { cpuMicros, machineCpuMicros } from "./process-stats.ts"

export interface Observation {
  readonly seconds: number
  /** What the counter gained. */
  readonly counted: number
  readonly brokerCpuMicros: number
  readonly generatorCpuMicros: number
  readonly otherCpuMicros: number
}

/** The clock, the counter and the CPU times of one moment. */
const look = (job: Job, counter: () => number) => ({
  milliseconds: performance.now(),
  counter: counter(),
  machine: machineCpuMicros(),
  broker: cpuMicros(job.brokerPid),
  generator: cpuMicros(process.pid)
})

/** Count for some seconds. The clock, the counter and both CPU times are read together at either end. */
export const observe = async (job: Job, counter: () => number): Promise<Observation> => {
  const before = look(job, counter)
  await sleep(job.seconds * 1_000)
  const after = look(job, counter)
  const brokerCpuMicros = after.broker - before.broker
  const generatorCpuMicros = after.generator - before.generator
  return {
    seconds: (after.milliseconds - before.milliseconds) / 1_000,
    counted: after.counter - before.counter,
    brokerCpuMicros,
    generatorCpuMicros,
    otherCpuMicros: after.machine - before.machine - brokerCpuMicros - generatorCpuMicros
  }
}

export const cpuShares = (
  window: Observation
): Required<Pick<Measurement, "brokerCpuShare" | "generatorCpuShare" | "otherCpuShare">> => ({
  brokerCpuShare: window.brokerCpuMicros / 1e6 / window.seconds,
  generatorCpuShare: window.generatorCpuMicros / 1e6 / window.seconds,
  otherCpuShare: window.otherCpuMicros / 1e6 / window.seconds
})
