/**
 * The shape of the source, checked: who imports whom, what is pure, how large things get. The rules and the small
 * parser are in `architecture/`; here is what they are applied to, and the proof on planted faults that they bite.
 */
import { readdirSync, readFileSync } from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import * as Module from "./architecture/Module.ts"
import * as Rules from "./architecture/Rules.ts"

/** What a folder of `src` may import, from the bottom up. Nothing imports upward; `src/index.ts` imports everything. */
const arrows = new Map<string, Rules.Folder>()

/** Modules of Effect that are data and functions on data, without a runtime. */
const dataModules = [
  "Array",
  "Brand",
  "Data",
  "Equal",
  "Function",
  "Hash",
  "Option",
  "Order",
  "Predicate",
  "Result"
].map((name) => `effect/${name}`)
const runtimes = ["effect/*", "@effect/platform-node/*", "node:*"]
const lower = ["protocol", "core", "storage", "transport"]

arrows.set("protocol", { folders: [], packages: ["effect/Schema", ...dataModules] })
arrows.set("core", { folders: ["protocol"], packages: dataModules })
arrows.set("storage", { folders: ["protocol", "core"], packages: runtimes })
arrows.set("transport", { folders: [], packages: ["effect/*", "node:*", "ws", "node-forge", "pkijs"] })
// One table of settings is behind the typed configuration of the services, the string form and the command line.
arrows.set("settings", { folders: lower, packages: runtimes })
arrows.set("broker", { folders: [...lower, "settings"], packages: runtimes })
arrows.set("client", { folders: [...lower, "settings"], packages: runtimes })
arrows.set("sn", { folders: ["protocol", "core", "transport", "broker"], packages: runtimes })
arrows.set("cli", { folders: [...lower, "broker", "client", "sn", "settings"], packages: runtimes })

/** Pure by folder, and the synchronous cores that live beside their shells. */
const isPure = ({ path }: Module.Module): boolean =>
  path.startsWith("src/protocol/") ||
  path.startsWith("src/core/") ||
  path === "src/client/ClientCore.ts" ||
  /^src\/sn\/Sn(?:Packet|Decoder|Encoder|ClientCore|GatewayCore)\.ts$/.test(path)

const limits: Rules.Limits = { fileLines: 500, functionLines: 70, columns: 120 }

/**
 * What is larger than the limits, with the size it has. An entry may only shrink; a new one needs its reason beside it.
 * Keys: `src/a.ts` (lines), `src/a.ts#name` (lines of a function), `src/a.ts columns`.
 */
const exceptions: Record<string, number> = {}

/** Imports of types that close a cycle and may, each with its reason. */
const typeLinks: ReadonlyArray<string> = [
  // A session knows the connection it is on, and a connection the session it serves.
  "src/core/Session.ts -> src/core/ServerConnection.ts"
]

const root = new URL("../", import.meta.url)

const modulesUnder = (folder: string): Array<Module.Module> =>
  readdirSync(new URL(folder, root), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts"))
    .map((name) => `${folder}/${name.replaceAll("\\", "/")}`)
    .sort()
    .map((path) => Module.scan(path, readFileSync(new URL(path, root), "utf8")))

/** A group of tests is a list and not a function somebody has to follow. */
const withoutGroups = (module: Module.Module): Module.Module => ({
  ...module,
  functions: module.functions.filter(({ name }) => !/^(?:describe|layer)\b|\.layer\b/.test(name))
})

const assertNone = (complaints: ReadonlyArray<string>): void => {
  if (complaints.length > 0) assert.fail(`${complaints.length} to mend:\n${complaints.join("\n")}`)
}

describe("this repository", () => {
  const src = modulesUnder("src")
  const test = modulesUnder("test")
  const all = [...src, ...test.map(withoutGroups)]

  it("is read: there are modules with imports and functions", () => {
    assert.isAbove(src.length, 3)
    assert.isAbove(test.length, 3)
    assert.isAbove(src.filter(({ imports, functions }) => imports.length > 0 && functions.length > 0).length, 3)
  })
  it("imports along the arrows", () => assertNone(Rules.importArrows(src, arrows)))
  it("imports only declared dependencies", () => {
    const manifest: unknown = JSON.parse(readFileSync(new URL("package.json", root), "utf8"))
    assert.isTrue(typeof manifest === "object" && manifest !== null && "dependencies" in manifest)
    assertNone(Rules.declaredPackages(src, Object.keys((manifest as { dependencies: object }).dependencies)))
  })
  it("has no import cycles", () => assertNone(Rules.importCycles(src, typeLinks)))
  it("keeps pure files pure", () => assertNone(Rules.purity(src.filter(isPure))))
  it("keeps files, functions and lines small", () => assertNone(Rules.sizes(all, limits, exceptions)))
  it("has no any, and nothing left to do", () => assertNone(Rules.finished(all)))
  it("switches no test off", () => assertNone(Rules.allTestsRun(test)))
})

const planted = (path: string, source: string): Array<Module.Module> => [Module.scan(path, source)]

/** Exactly these complaints, each known by some of its words. */
const assertComplaints = (complaints: ReadonlyArray<string>, ...words: ReadonlyArray<string>): void => {
  assert.strictEqual(complaints.length, words.length, complaints.join("\n"))
  for (const [i, word] of words.entries()) assert.include(complaints[i], word)
}

describe("importArrows", () => {
  const fault = (path: string, from: string) =>
    Rules.importArrows(planted(path, `import * as X from "${from}"`), arrows)

  for (const [path, from] of [
    ["src/protocol/A.ts", "../core/B.ts"],
    ["src/protocol/A.ts", "effect/Effect"],
    ["src/protocol/A.ts", "node:buffer"],
    ["src/protocol/A.ts", "../index.ts"],
    ["src/core/A.ts", "../broker/B.ts"],
    ["src/core/A.ts", "effect/Stream"],
    ["src/core/A.ts", "effect/Schema"],
    ["src/core/A.ts", "../protocol/internal/B.ts"],
    ["src/core/A.ts", "../protocol/B"],
    ["src/core/A.ts", "../../test/B.ts"],
    ["src/storage/A.ts", "../transport/B.ts"],
    ["src/transport/A.ts", "../protocol/B.ts"],
    ["src/transport/A.ts", "@effect/platform-node/NodeSocket"],
    ["src/broker/A.ts", "../client/B.ts"],
    ["src/broker/A.ts", "ws"],
    ["src/broker/A.ts", "effect"],
    ["src/broker/A.ts", "effect/internal/core"],
    ["src/client/A.ts", "../sn/B.ts"],
    ["src/sn/A.ts", "../client/B.ts"],
    ["src/settings/A.ts", "../cli/B.ts"],
    ["src/cli/main.ts", "effect"],
    ["src/cli/main.ts", "@effect/platform-node"],
    ["src/cli/main.ts", "../broker/internal/B.ts"],
    ["src/newfolder/A.ts", "./B.ts"]
  ] as const) {
    it(`refuses ${from} in ${path}`, () => assertComplaints(fault(path, from), path))
  }
  for (const [path, from] of [
    ["src/protocol/A.ts", "./B.ts"],
    ["src/protocol/A.ts", "effect/Schema"],
    ["src/core/A.ts", "../protocol/B.ts"],
    ["src/core/A.ts", "./internal/B.ts"],
    ["src/storage/A.ts", "node:worker_threads"],
    ["src/transport/A.ts", "ws"],
    ["src/broker/A.ts", "../core/B.ts"],
    ["src/sn/A.ts", "../broker/Broker.ts"],
    ["src/cli/main.ts", "../settings/B.ts"],
    ["src/index.ts", "./cli/B.ts"]
  ] as const) {
    it(`accepts ${from} in ${path}`, () => assertComplaints(fault(path, from)))
  }
  it("finds every form of import", () => {
    const forms = [
      `import type { B } from "../broker/B.ts"`,
      `import "../broker/B.ts"`,
      `export { b } from "../broker/B.ts"`,
      `export * as B from "../broker/B.ts"`,
      `const b = () => import("../broker/B.ts")`,
      `type B = import("../broker/B.ts").B`
    ]
    const words = forms.map((_, i) => `src/core/A.ts:${i + 1} imports ../broker/B.ts`)
    assertComplaints(Rules.importArrows(planted("src/core/A.ts", forms.join("\n")), arrows), ...words)
    assertComplaints(Rules.importArrows(planted("src/core/A.ts", `// import "node:fs"\nconst a = 'from "ws"'`), arrows))
  })
})

describe("declaredPackages", () => {
  it("wants what src imports in dependencies", () => {
    const source = `import "ws"\nimport "@effect/vitest/a"\nimport "node:fs"\nimport "./a.ts"\nimport "effect/Effect"`
    const complaints = Rules.declaredPackages(planted("src/a.ts", source), ["effect"])
    assertComplaints(complaints, "Add ws to", "Add @effect/vitest to")
  })
})

describe("importCycles", () => {
  it("finds a cycle, also of types, and names its files", () => {
    const modules = [
      Module.scan("src/a.ts", `import "./b/c.ts"`),
      Module.scan("src/b/c.ts", `import "../d.ts"`),
      Module.scan("src/d.ts", `import type { C } from "./b/c.ts"\nimport "./e.ts"`),
      Module.scan("src/e.ts", "")
    ]
    assertComplaints(Rules.importCycles(modules), "src/b/c.ts -> src/d.ts -> src/b/c.ts is a cycle")
    assertComplaints(Rules.importCycles(modules.slice(1, 2)))
    assertComplaints(Rules.importCycles(modules, ["src/d.ts -> src/b/c.ts"]))
    const [cycle, unneeded] = [
      "src/b/c.ts -> src/d.ts -> src/b/c.ts is",
      "src/b/c.ts -> src/d.ts is not an import of types"
    ]
    assertComplaints(Rules.importCycles(modules, ["src/b/c.ts -> src/d.ts"]), unneeded, cycle)
  })
})

describe("purity", () => {
  for (const [source, words] of [
    ["export const now = () => Date.now()", "uses Date"],
    ["let when: Date", "uses Date"],
    ["const a = performance.now()", "uses performance"],
    ["const a = Math.floor(Math.random() * 2)", "uses Math.random"],
    ["const { random } = globalThis.Math", "uses globalThis"],
    ["const a = crypto.randomUUID()", "uses crypto"],
    ["setTimeout(() => 1, 2)", "uses setTimeout"],
    ["const later = setImmediate", "uses setImmediate"],
    ["queueMicrotask(a)", "uses queueMicrotask"],
    ["let a: Promise<void>", "uses Promise"],
    ["const a = { async b() {} }", "has async"],
    ["for await (const a of b) {}\nexport {}", "has await"],
    ["const a = process.env.A", "uses process"],
    ["const a = [Buffer]", "uses Buffer"],
    ["const a = { Buffer }", "uses Buffer"],
    [`import { Buffer as B } from "node:buffer"`, "imports node:buffer"]
  ] as const) {
    it(`refuses ${source}`, () => assertComplaints(Rules.purity(planted("src/core/A.ts", source)), words))
  }
  for (const source of [
    "// Date.now() and setTimeout(…)",
    `const a = "Date" + \`process \${1}\` + /Promise/.source`,
    "const a = b.Date + b.process({ Buffer: 1 })",
    "interface A { readonly performance: number; process(): void }",
    "class A { crypto = 1; fetch() { return Math.max(1, 2) } }"
  ]) {
    it(`accepts ${source}`, () => assertComplaints(Rules.purity(planted("src/core/A.ts", source))))
  }
})

describe("sizes", () => {
  const small: Rules.Limits = { fileLines: 10, functionLines: 3, columns: 30 }
  const complaints = (source: string, allowed: Record<string, number> = {}) =>
    Rules.sizes(planted("a.ts", source), small, allowed)
  const four = "{\n  1\n  2\n}"

  it("measures files", () => {
    assertComplaints(complaints("1\n".repeat(10)))
    assertComplaints(complaints("1\n".repeat(11)), "a.ts has 11 lines, at most 10.")
  })
  it("measures lines in characters", () => {
    assertComplaints(complaints(`// ${"💩".repeat(27)}`))
    assertComplaints(complaints(`1\n// ${"a".repeat(28)}`), "a.ts columns (line 2) has 31 columns")
  })
  for (const [source, name] of [
    [`function name() ${four}`, "name"],
    [`const name = () => ${four}`, "name"],
    [`const { a } = { name: () => ${four} }`, "name"],
    [`const a = { name() ${four} }`, "name"],
    [`class A { #name() ${four} }`, "A.#name"],
    [`class A { static b = (c) => ${four} }`, "A.b"],
    [`const b = c.d(function* () ${four})`, "b: c.d"],
    [`a.b = () => ${four}`, "a.b"],
    [`it("works", () => ${four})`, `it("works")`],
    [`export default () => ${four}`, "anonymous"],
    [`const name = () => {\n  "}" + \`}\${"}"}\` + 1\n  ;/[}]/ // }\n}`, "name"]
  ] as const) {
    it(`measures the function in ${JSON.stringify(source)}`, () =>
      assertComplaints(complaints(source), `a.ts#${name} (line 1) has 4 lines, at most 3.`))
  }
  it("allows exceptions exactly the size they have", () => {
    const source = `const f = () => ${four}`
    assertComplaints(complaints(source, { "a.ts#f": 4 }))
    assertComplaints(complaints(source, { "a.ts#f": 6 }), "Set its exception from 6 to 4.")
    assertComplaints(complaints(source.replace("2", "2\n3"), { "a.ts#f": 4 }), "has 5 lines, at most 4 (an exception)")
    assertComplaints(complaints("const f = () => 1", { "a.ts#f": 4 }), "Remove its exception.")
    assertComplaints(complaints("", { "a.ts#f": 4, "b.ts": 9 }), "a.ts#f does not exist", "b.ts does not exist")
  })
})

describe("finished", () => {
  it("refuses any, however it is written, and notes", () => {
    const later = ["TO", "DO"].join("")
    const source = `let a: any\nlet b = a as any\nlet c: Array<any>\n// ${later}: later\nlet d: "any" // any`
    const words = ["a.ts:1 has the type any", "a.ts:2 has", "a.ts:3 has", `a.ts:4 has a ${later}`]
    assertComplaints(Rules.finished(planted("a.ts", source)), ...words)
  })
})

describe("allTestsRun", () => {
  it("refuses tests that are switched off or on alone", () => {
    const bad = `it.skip("a")\ndescribe.only("b")\nit.effect.skip("c")\nit.todo("d")\n`
    const source = `${bad}it("e")\nstream.skip(1)\n// it.skip(`
    const words = ["a.ts:1 calls it.skip", "a.ts:2 calls describe.only", "a.ts:3 calls it.effect.skip", "a.ts:4"]
    assertComplaints(Rules.allTestsRun(planted("a.ts", source)), ...words)
  })
})
