/**
 * Keeps the load generator and the broker off each other's cores: the last core is the generator's, all others are the
 * broker's. Left alone, Linux likes to put the two ends of a loopback connection on one core, sometimes, and a broker
 * measured on half a core says nothing. Uses `taskset`; without it, or with one core, processes run where they may.
 */
import { execFileSync } from "node:child_process"
import { readFileSync } from "node:fs"

export type Role = "broker" | "generator"

/** The cores this process may use: "0-3,8" is [0, 1, 2, 3, 8]. */
export const parseCores = (list: string): ReadonlyArray<number> =>
  list.split(",").flatMap((range) => {
    const [first = 0, last = first] = range.split("-").map(Number)
    return Array.from({ length: last - first + 1 }, (_, index) => first + index)
  })

const cores = parseCores(/^Cpus_allowed_list:\s+(\S+)/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1] ?? "0")

const canPin = (): boolean => {
  if (cores.length < 2) return false
  try {
    execFileSync("taskset", ["-V"], { stdio: "ignore" })
    return true
  } catch {
    return false
  }
}

/** Whether generator and broker are kept apart. */
export const pinned = canPin()

/** The command line that runs a program on the cores of its role, in the same process. */
export const onCoresOf = (role: Role, command: string, args: ReadonlyArray<string>): ReadonlyArray<string> => {
  if (!pinned) return [command, ...args]
  const own = role === "generator" ? cores.slice(-1) : cores.slice(0, -1)
  return ["taskset", "-c", own.join(","), command, ...args]
}
