/** What a result depends on besides the brokers: the machine, and how busy it is. */
import * as os from "node:os"
import { pinned } from "./affinity.ts"

export interface Machine {
  readonly cpu: string
  readonly cores: number
  readonly memoryGiB: number
  readonly kernel: string
  readonly node: string
  readonly date: string
  /** Processes that wanted to run in the last minute, before the benchmark began: near 0, or the numbers are off. */
  readonly loadAverage: number
  /** Whether the generator had one core to itself, and the broker the others. */
  readonly pinned: boolean
}

export const describeMachine = (): Machine => ({
  cpu: os.cpus()[0]?.model.trim() ?? "unknown",
  cores: os.availableParallelism(),
  memoryGiB: Math.round(os.totalmem() / 1024 ** 3),
  kernel: `${os.type()} ${os.release()}`,
  node: process.version,
  date: new Date().toISOString(),
  loadAverage: Math.round((os.loadavg()[0] ?? 0) * 100) / 100,
  pinned
})
