/**
 * Every process the benchmark starts, so that none outlives it: not when it fails, and not on Ctrl-C.
 */
import { type ChildProcess, fork, spawn } from "node:child_process"
import { onCoresOf } from "./affinity.ts"
import type { Signal } from "./turns.ts"

interface Entry {
  readonly process: ChildProcess
  readonly cleanUp: () => void
}

const running = new Set<Entry>()

const killAll = (): void => {
  for (const entry of running) {
    entry.process.kill("SIGKILL")
    entry.cleanUp()
  }
}

/** Kill what is still running when this process ends, however it does (unless killed itself). */
export const killAllAtExit = (): void => {
  process.once("exit", killAll)
  for (const [signal, number] of [
    ["SIGINT", 2],
    ["SIGTERM", 15],
    ["SIGHUP", 1]
  ] as const) {
    process.once(signal, () => process.exit(128 + number))
  }
}

export interface Child {
  readonly pid: number
  /** Wait for output, on either stream, that matches. */
  readonly printed: (pattern: RegExp, timeoutMilliseconds: number) => Promise<RegExpExecArray>
  /** Why it is not running any more, or undefined while it is. */
  readonly ended: () => string | undefined
  /** Kill it, and wait until it is gone. */
  readonly stop: () => Promise<void>
  readonly signal: Signal
}

const track = (child: ChildProcess, cleanUp: () => void): { stop: () => Promise<void>; gone: Promise<void> } => {
  const entry = { process: child, cleanUp }
  running.add(entry)
  const gone = new Promise<void>((resolve) => {
    const end = (): void => {
      if (running.delete(entry)) cleanUp()
      resolve()
    }
    child.once("exit", end)
    child.once("error", end)
  })
  const stop = (): Promise<void> => {
    child.kill("SIGKILL")
    return gone
  }
  return { stop, gone }
}

/** Start a broker. */
export const startChild = (command: string, args: ReadonlyArray<string>, cleanUp: () => void = () => {}): Child => {
  const [program = command, ...rest] = onCoresOf("broker", command, args)
  const child = spawn(program, rest, { stdio: ["ignore", "pipe", "pipe"] })
  const { stop, gone } = track(child, cleanUp)
  let output = ""
  let ended: string | undefined
  let look = (): void => {}
  const more = (bytes: Buffer): void => {
    // Only the beginning is of interest; the rest is read so that the child never waits for its reader.
    if (output.length < 10_000) output += bytes.toString()
    look()
  }
  child.stdout.on("data", more)
  child.stderr.on("data", more)
  child.once("error", (error) => {
    ended = error.message
  })
  child.once("exit", (code, signal) => {
    ended = `${command} ended with ${signal ?? `status ${code}`}: ${output.trim().split("\n").slice(-3).join(" | ")}`
  })
  const printed = (pattern: RegExp, timeoutMilliseconds: number): Promise<RegExpExecArray> =>
    new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => reject(new Error(`${command} did not print ${pattern} in time: ${output}`)),
        timeoutMilliseconds
      )
      look = () => {
        const match = pattern.exec(output)
        if (match === null) return
        clearTimeout(timer)
        resolve(match)
      }
      void gone.then(() => {
        clearTimeout(timer)
        reject(new Error(ended ?? `${command} ended`))
      })
      look()
    })
  return { pid: child.pid ?? -1, printed, ended: () => ended, stop, signal: (name) => void child.kill(name) }
}

/** Start a module of the generator in a Node process, send it one message, and wait for its one answer. */
export const ask = async <Question extends object, Reply>(
  module: string,
  question: Question,
  timeoutSeconds: number,
  started: (process: Signal) => void = () => {}
): Promise<Reply> => {
  const [execPath = process.execPath, ...execArgv] = onCoresOf("generator", process.execPath, [])
  const child = fork(module, { execPath, execArgv, stdio: ["ignore", "ignore", "inherit", "ipc"] })
  const { stop, gone } = track(child, () => {})
  started((name) => void child.kill(name))
  let timer: NodeJS.Timeout | undefined
  try {
    return await new Promise<Reply>((resolve, reject) => {
      timer = setTimeout(() => reject(new Error(`no result within ${timeoutSeconds} s`)), timeoutSeconds * 1_000)
      child.once("message", (message) => resolve(message as Reply)) // Both ends are ours, and declare the type.
      void gone.then(() => reject(new Error("the generator ended without a result")))
      child.send(question)
    })
  } finally {
    clearTimeout(timer)
    await stop()
  }
}
