/** What a result depends on besides the brokers: the machine, and how busy it is. */
import { closeSync, fsyncSync, mkdtempSync, openSync, rmSync, statfsSync, writeSync } from "node:fs"
import * as os from "node:os"
import { join } from "node:path"
import { pinned } from "./affinity.ts"
import { median } from "./statistics.ts"

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
  /** What durable rows depend on: where they write, and how long a write of 4 KiB takes to be on the disk. */
  readonly fileSystem: string
  readonly fsyncMilliseconds: number
}

/** By the numbers of statfs(2). */
const fileSystems = new Map([
  [0xef53, "ext4"],
  [0x58465342, "xfs"],
  [0x9123683e, "btrfs"],
  [0x794c7630, "overlayfs"],
  [0x01021994, "tmpfs (memory, not a disk)"]
])

const measureFsync = (): number => {
  const directory = mkdtempSync(join(os.tmpdir(), "mqtt-bench-"))
  const file = openSync(join(directory, "fsync"), "w")
  const block = Buffer.alloc(4_096)
  const times = Array.from({ length: 51 }, () => {
    const startedAt = performance.now()
    writeSync(file, block)
    fsyncSync(file)
    return performance.now() - startedAt
  })
  closeSync(file)
  rmSync(directory, { recursive: true, force: true })
  return median(times) ?? 0
}

const fileSystemOf = (path: string): string => {
  const { type } = statfsSync(path)
  return fileSystems.get(type) ?? `file system 0x${type.toString(16)}`
}

export const describeMachine = (): Machine => ({
  cpu: os.cpus()[0]?.model.trim() ?? "unknown",
  cores: os.availableParallelism(),
  memoryGiB: Math.round(os.totalmem() / 1024 ** 3),
  kernel: `${os.type()} ${os.release()}`,
  node: process.version,
  date: new Date().toISOString(),
  loadAverage: Math.round((os.loadavg()[0] ?? 0) * 100) / 100,
  pinned,
  fileSystem: fileSystemOf(os.tmpdir()),
  fsyncMilliseconds: measureFsync()
})
