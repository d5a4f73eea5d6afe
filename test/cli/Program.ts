/**
 * Programs as tests see them: started as a process of their own, read line by line, ended by a signal.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { type ChildProcess, spawn } from "node:child_process"
import type { Readable } from "node:stream"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("../..", import.meta.url))

export interface Program {
  /** Waits until the output so far matches. Dies when the program ends without it. */
  readonly line: (pattern: RegExp) => Effect.Effect<RegExpMatchArray>
  /** The same, of standard error. */
  readonly errorLine: (pattern: RegExp) => Effect.Effect<RegExpMatchArray>
  readonly kill: (signal: NodeJS.Signals) => void
  readonly exitCode: Effect.Effect<number | null>
  /** Nobody reads what it says from now on. */
  readonly deafen: () => void
  readonly output: () => string
  readonly errors: () => string
}

const ended = (child: ChildProcess) => child.exitCode !== null || child.signalCode !== null

/** What is run: node, or a shell that becomes node when it has limited how many files that may open. */
const commandOf = (args: ReadonlyArray<string>, openFilesMax: number | undefined) =>
  openFilesMax === undefined
    ? ([process.execPath, args] as const)
    : (["sh", ["-c", `ulimit -n ${openFilesMax}; exec "$0" "$@"`, process.execPath, ...args]] as const)

/** Runs node with these arguments from the repository's root; ends it with the scope. */
export const start: (
  args: ReadonlyArray<string>,
  env?: Readonly<Record<string, string>>,
  openFilesMax?: number
) => Effect.Effect<Program, never, Scope.Scope> = Effect.fnUntraced(function* (args, env = {}, openFilesMax) {
  const [command, given] = commandOf(args, openFilesMax)
  const child = yield* Effect.acquireRelease(
    Effect.sync(() =>
      spawn(command, given, { cwd: root, env: { ...process.env, ...env }, stdio: ["ignore", "pipe", "pipe"] })
    ),
    (running) => Effect.sync(() => running.kill("SIGKILL"))
  )
  let output = ""
  let errors = ""
  child.stdout.on("data", (bytes: Buffer) => {
    output += bytes.toString()
  })
  child.stderr.on("data", (bytes: Buffer) => {
    errors += bytes.toString()
  })
  const match = (from: Readable, text: () => string, pattern: RegExp): Effect.Effect<RegExpMatchArray> =>
    Effect.callback((resume) => {
      const look = () => {
        const found = text().match(pattern)
        if (found !== null) resume(Effect.succeed(found))
      }
      const end = () => resume(Effect.die(new Error(`the program ended without ${pattern}: ${output}${errors}`)))
      from.on("data", look)
      child.once("close", end)
      look()
      if (ended(child)) end()
    })
  const program: Program = {
    line: (pattern) => match(child.stdout, () => output, pattern),
    errorLine: (pattern) => match(child.stderr, () => errors, pattern),
    kill: (signal) => child.kill(signal),
    // "close", not "exit": by then all output has been read.
    exitCode: Effect.callback((resume) => {
      if (ended(child) && child.stdout.closed) resume(Effect.succeed(child.exitCode))
      else child.once("close", (code) => resume(Effect.succeed(code)))
    }),
    deafen: () => {
      child.stdout.destroy()
      child.stderr.destroy()
    },
    output: () => output,
    errors: () => errors
  }
  return program
})
