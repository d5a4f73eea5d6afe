/**
 * The rules of the architecture as functions from modules to complaints. Each complaint says where, what, and what to
 * do about it. Where the rules apply, and to what sizes, is said in `architecture.test.ts`.
 */
import { posix } from "node:path"
import type { Module } from "./Module.ts"

/** What the files of one folder of `src` may import besides each other. */
export interface Folder {
  /** Other folders of `src`. */
  readonly folders: ReadonlyArray<string>
  /** Modules of packages: a full name, or a prefix that ends with `*`. */
  readonly packages: ReadonlyArray<string>
}

const allows = (patterns: ReadonlyArray<string>, name: string): boolean =>
  patterns.some((pattern) => (pattern.endsWith("*") ? name.startsWith(pattern.slice(0, -1)) : name === pattern))

const isRelative = (from: string): boolean => from.startsWith(".")

/** `src/core/TopicTree.ts` for `./TopicTree.ts` in a file of `src/core`. */
const resolve = (path: string, from: string): string => posix.join(posix.dirname(path), from)

/** The folder of `src` that a file is in; its own name for a file directly in `src`. */
const folderOf = (path: string): string => path.split("/")[1] ?? ""

/** Every import of a file in a folder of `src` is one that `arrows` allows to that folder. */
export const importArrows = (modules: ReadonlyArray<Module>, arrows: ReadonlyMap<string, Folder>): Array<string> =>
  modules.flatMap(({ path, imports }) => {
    if (path === "src/index.ts") return []
    const own = folderOf(path)
    const folder = arrows.get(own)
    if (folder === undefined) return [`${path}: src/${own} has no arrows. Give it a row in architecture.test.ts.`]
    return imports.flatMap(({ from, line }) => {
      const fault = isRelative(from) ? relativeFault(resolve(path, from), own, folder) : packageFault(from, own, folder)
      return fault === undefined ? [] : [`${path}:${line} imports ${from}. ${fault}`]
    })
  })

const relativeFault = (target: string, own: string, folder: Folder): string | undefined => {
  if (!target.startsWith("src/")) return "src imports nothing outside src."
  if (!/\.(ts|json)$/.test(target)) return "A relative import ends with .ts."
  const other = folderOf(target)
  if (other === own) return undefined
  if (other === "index.ts") return "The barrel is for users: import the module itself."
  if (target.includes("/internal/")) return `internal/ belongs to src/${other}: use what that folder offers to others.`
  if (folder.folders.includes(other)) return undefined
  const may = folder.folders.length === 0 ? "no other folder" : folder.folders.join(", ")
  return `src/${own} may import ${may}: move what both need down, or pass it in.`
}

const packageFault = (from: string, own: string, folder: Folder): string | undefined => {
  if (from === "effect" || from === "@effect/platform-node") {
    return `A barrel costs tens of megabytes and milliseconds: import the module, ${from}/….`
  }
  if (from.includes("/internal/")) return "internal/ is the package's own: use its public modules."
  if (allows(folder.packages, from)) return undefined
  return `src/${own} may import ${folder.packages.join(", ")}: do this in a folder that may.`
}

/** Packages that `src` imports are dependencies, and not only of development. */
export const declaredPackages = (modules: ReadonlyArray<Module>, dependencies: ReadonlyArray<string>): Array<string> =>
  modules.flatMap(({ path, imports }) =>
    imports.flatMap(({ from, line }) => {
      if (isRelative(from) || from.startsWith("node:")) return []
      const name = from.split("/", from.startsWith("@") ? 2 : 1).join("/")
      if (dependencies.includes(name)) return []
      return [`${path}:${line} imports ${from}. Add ${name} to "dependencies" of package.json, or do without it.`]
    })
  )

/**
 * No file imports itself through others, not even for types: what needs each other is one concept, or three.
 * `typeLinks` are the exceptions, imports of types written `src/a.ts -> src/b.ts`; an unneeded one is a complaint.
 */
export const importCycles = (modules: ReadonlyArray<Module>, typeLinks: ReadonlyArray<string> = []): Array<string> => {
  const unused = new Set(typeLinks)
  const targets = new Map<string, Set<string>>()
  for (const { path, imports } of modules) {
    const valueTargets = new Set<string>()
    const typeTargets = new Set<string>()
    for (const { from, typeOnly } of imports) {
      if (isRelative(from)) (typeOnly ? typeTargets : valueTargets).add(resolve(path, from))
    }
    for (const target of typeTargets) {
      if (unused.delete(`${path} -> ${target}`)) typeTargets.delete(target)
    }
    targets.set(path, new Set([...valueTargets, ...typeTargets]))
  }
  const complaints = [...unused].map((link) => `${link} is not an import of types. Remove its exception.`)
  const finished = new Set<string>()
  const visit = (path: string, trail: ReadonlyArray<string>): void => {
    const start = trail.indexOf(path)
    if (start !== -1) {
      const cycle = [...trail.slice(start), path].join(" -> ")
      complaints.push(`${cycle} is a cycle. Move what both sides need into a module of its own.`)
    } else if (!finished.has(path)) {
      for (const target of targets.get(path) ?? []) visit(target, [...trail, path])
      finished.add(path)
    }
  }
  for (const path of targets.keys()) visit(path, [])
  return complaints
}

const impureNames = new Map<string, string>([
  ["Date", "Take the time as an argument."],
  ["performance", "Take the time as an argument."],
  ["Math.random", "Take random values as an argument."],
  ["crypto", "Take random values as an argument."],
  ["setTimeout", "Say in deadline() when to be called."],
  ["setInterval", "Say in deadline() when to be called."],
  ["setImmediate", "Put it into the outcome that the shell drains."],
  ["queueMicrotask", "Put it into the outcome that the shell drains."],
  ["Promise", "Ask, and let the answer come in with a later call."],
  ["process", "Take it as an argument."],
  ["Buffer", "Use Uint8Array, TextEncoder and TextDecoder."],
  ["console", "Give the shell an event."],
  ["fetch", "Ask the shell."],
  ["globalThis", "Name what you need of it."]
])

/** Pure files compute: no clock, chance, timer, promise or platform. `node:` and Effect are for `importArrows`. */
export const purity = (modules: ReadonlyArray<Module>): Array<string> =>
  modules.flatMap(({ path, names, syntax, imports }) => [
    ...names.flatMap(({ name, line }) => {
      const remedy = impureNames.get(name)
      return remedy === undefined ? [] : [`${path}:${line} uses ${name} in a pure file. ${remedy}`]
    }),
    ...syntax
      .filter(({ name }) => name === "async" || name === "await")
      .map(({ name, line }) => `${path}:${line} has ${name} in a pure file. Return a value; the shell waits.`),
    ...imports
      .filter(({ from }) => from.startsWith("node:"))
      .map(({ from, line }) => `${path}:${line} imports ${from} in a pure file. Take what you need as an argument.`)
  ])

export interface Limits {
  readonly fileLines: number
  readonly functionLines: number
  readonly columns: number
}

/** What is measured: `src/a.ts` (lines), `src/a.ts#name` (lines of a function), `src/a.ts columns` (longest line). */
const measure = (module: Module): Map<string, { readonly size: number; readonly kind: keyof Limits; line: number }> => {
  const { path, text, functions } = module
  const sizes: ReturnType<typeof measure> = new Map()
  const lines = text.at(-1) === "" ? text.length - 1 : text.length
  sizes.set(path, { size: lines, kind: "fileLines", line: 1 })
  for (const { name, line, lines: size } of functions) {
    const key = `${path}#${name}`
    if (size > (sizes.get(key)?.size ?? 0)) sizes.set(key, { size, kind: "functionLines", line })
  }
  text.forEach((each, index) => {
    const key = `${path} columns`
    const size = [...each].length
    if (size > (sizes.get(key)?.size ?? 0)) sizes.set(key, { size, kind: "columns", line: index + 1 })
  })
  return sizes
}

const remedies: Record<keyof Limits, string> = {
  fileLines: "Find the concept in it that wants a file of its own.",
  functionLines: "Find the step in it that wants a name of its own.",
  columns: "Break the line."
}

/**
 * Nothing is larger than its limit, except what `exceptions` allows, to exactly the size it has: an exception that is
 * larger than needed is a complaint too, so that sizes only ever shrink.
 */
export const sizes = (
  modules: ReadonlyArray<Module>,
  limits: Limits,
  exceptions: Readonly<Record<string, number>>
): Array<string> => {
  const complaints: Array<string> = []
  const unused = new Set(Object.keys(exceptions))
  for (const module of modules) {
    for (const [key, { size, kind, line }] of measure(module)) {
      const limit = limits[kind]
      const allowed = Object.hasOwn(exceptions, key) ? exceptions[key] : undefined
      unused.delete(key)
      if (size > Math.max(limit, allowed ?? 0)) {
        const unit = kind === "columns" ? "columns" : "lines"
        const most = allowed === undefined ? `${limit}` : `${allowed} (an exception)`
        const where = kind === "fileLines" ? key : `${key} (line ${line})`
        complaints.push(`${where} has ${size} ${unit}, at most ${most}. ${remedies[kind]}`)
      } else if (allowed !== undefined && size <= limit) {
        complaints.push(`${key} has ${size}, within the limit of ${limit}. Remove its exception.`)
      } else if (allowed !== undefined && size < allowed) {
        complaints.push(`${key} has shrunk to ${size}. Set its exception from ${allowed} to ${size}.`)
      }
    }
  }
  for (const key of unused) complaints.push(`${key} does not exist any more. Remove its exception.`)
  return complaints
}

/** No `any`, and no notes to do something later. */
export const finished = (modules: ReadonlyArray<Module>): Array<string> =>
  modules.flatMap(({ path, text, syntax }) => [
    ...syntax
      .filter(({ name }) => name === "any")
      .map(({ line }) => `${path}:${line} has the type any. Use the real type, or unknown and a check.`),
    ...text.flatMap((line, index) => {
      const note = /\b(?:TODO|FIXME)\b/.exec(line)?.[0] // these two words are the rule, not a note
      if (note === undefined || line.includes("these two words are the rule")) return []
      return [`${path}:${index + 1} has a ${note}. Do it now, or write down what is missing where users read it.`]
    })
  ])

const testWords = new Set(["it", "test", "describe", "suite", "layer"])

/** No test is switched off, or switches off the others. `it.skipIf` and `context.skip` remain for what says why. */
export const allTestsRun = (modules: ReadonlyArray<Module>): Array<string> =>
  modules.flatMap(({ path, calls }) =>
    calls.flatMap(({ name, line }) => {
      const words = name.split(".")
      const switched = words.slice(1).find((word) => word === "skip" || word === "only" || word === "todo")
      if (switched === undefined || !testWords.has(words[0] ?? "")) return []
      return [`${path}:${line} calls ${name}. Make the test run, or delete it.`]
    })
  )
