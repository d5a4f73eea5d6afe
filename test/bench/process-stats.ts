/**
 * What the operating system says about a process: the CPU time of all its threads, and its resident memory.
 * Reads Linux's /proc, synchronously, so that a reading and a counter belong to the same moment.
 */
import { execFileSync } from "node:child_process"
import { readFileSync } from "node:fs"

const ticksPerSecond = Number(execFileSync("getconf", ["CLK_TCK"], { encoding: "utf8" }))

/** User plus system time since the process started, in microseconds; the resolution is a clock tick (10 ms). */
export const cpuMicros = (pid: number): number => {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8")
  // The second field is a name in parentheses that may hold spaces: count from behind it, state being the third field.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
  return ((Number(fields[11]) + Number(fields[12])) / ticksPerSecond) * 1e6
}

/** Time that any process was on any core since the machine started, in microseconds. */
export const machineCpuMicros = (): number => {
  const [user = 0, nice = 0, system = 0, , , irq = 0, softIrq = 0] = readFileSync("/proc/stat", "utf8")
    .slice("cpu ".length, 1_000)
    .trim()
    .split(/\s+/)
    .map(Number)
  return ((user + nice + system + irq + softIrq) / ticksPerSecond) * 1e6
}

/** Resident memory in bytes. */
export const residentBytes = (pid: number): number => {
  const kibibytes = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]
  return Number(kibibytes ?? Number.NaN) * 1024
}

/** How many files, sockets included, this process may have open. */
export const openFilesMax = (): number =>
  Number(/^Max open files\s+(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8"))?.[1] ?? 1024)
