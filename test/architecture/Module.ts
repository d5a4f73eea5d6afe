/**
 * One TypeScript file as the architecture test sees it: what it imports, which functions it has, which names it uses.
 * The syntax tree comes from the parser that vitest has anyway; nothing here knows a rule.
 */
import { parseAst } from "vitest/node"

export interface Import {
  /** As written: `./Topic.ts`, `effect/Schema`, `node:net`. */
  readonly from: string
  readonly line: number
  /** Gone when the types are stripped. */
  readonly typeOnly: boolean
}

export interface FunctionSize {
  /** `Topic.matches`, `TopicTree.match`, or what it is given to: `describe("Topic")`. */
  readonly name: string
  readonly line: number
  readonly lines: number
}

export interface Use {
  readonly name: string
  readonly line: number
}

export interface Module {
  /** From the repository's root, with forward slashes. */
  readonly path: string
  readonly text: ReadonlyArray<string>
  readonly imports: ReadonlyArray<Import>
  readonly functions: ReadonlyArray<FunctionSize>
  /** Names that are not a property's: variables, types, globals. `Math.random` is one name. */
  readonly names: ReadonlyArray<Use>
  /** Syntax by kind: `async`, `await`, `any`. */
  readonly syntax: ReadonlyArray<Use>
  /** Callees written with dots only: `it.effect.skip`. */
  readonly calls: ReadonlyArray<Use>
}

interface Node {
  readonly type: string
  readonly start: number
  readonly end: number
  readonly [field: string]: unknown
}

const isNode = (value: unknown): value is Node =>
  typeof value === "object" && value !== null && "type" in value && typeof value.type === "string"

const childrenOf = (node: Node): ReadonlyArray<readonly [field: string, child: Node]> =>
  Object.entries(node).flatMap(([field, value]) =>
    (Array.isArray(value) ? value : [value]).filter(isNode).map((child) => [field, child] as const)
  )

/** The places where an identifier is only the name of a member, and not a use of something of that name. */
const memberFields = new Map<string, string>([
  ["MemberExpression", "property"],
  ["Property", "key"],
  ["PropertyDefinition", "key"],
  ["MethodDefinition", "key"],
  ["TSPropertySignature", "key"],
  ["TSMethodSignature", "key"],
  ["TSQualifiedName", "right"],
  ["TSEnumMember", "id"],
  ["ImportSpecifier", "imported"],
  ["ExportSpecifier", "exported"],
  ["ImportNamespaceSpecifier", "local"],
  ["TSNamedTupleMember", "label"]
])

const importTypes = new Set([
  "ImportDeclaration",
  "ExportNamedDeclaration",
  "ExportAllDeclaration",
  "ImportExpression",
  "TSImportType"
])

const functionTypes = new Set(["FunctionDeclaration", "FunctionExpression", "ArrowFunctionExpression"])

/** `it.effect.skip` for such a chain of names, `undefined` for anything else. */
const dotted = (node: unknown): string | undefined => {
  if (!isNode(node)) return undefined
  if (node.type === "Identifier") return String(node.name)
  if (node.type === "ThisExpression") return "this"
  if (node.type !== "MemberExpression" || node.computed === true) return undefined
  const object = dotted(node.object)
  return object === undefined ? undefined : `${object}.${nameOf(node.property)}`
}

const nameOf = (node: unknown): string => {
  if (!isNode(node)) return "?"
  if (node.type === "Identifier") return String(node.name)
  if (node.type === "PrivateIdentifier") return `#${String(node.name)}`
  if (node.type === "Literal") return JSON.stringify(node.value)
  return dotted(node) ?? "?"
}

/** What a function is called by its surroundings. `ancestors` ends with the function's parent. */
const functionName = (node: Node, ancestors: ReadonlyArray<Node>): string => {
  if (isNode(node.id)) return nameOf(node.id)
  const parent = ancestors.at(-1)
  switch (parent?.type) {
    case "VariableDeclarator":
      return nameOf(parent.id)
    case "AssignmentExpression":
      return nameOf(parent.left)
    case "Property":
      return nameOf(parent.key)
    case "MethodDefinition":
    case "PropertyDefinition": {
      const owner = ancestors.findLast(({ type }) => type === "ClassDeclaration" || type === "ClassExpression")
      return `${nameOf(owner?.id)}.${nameOf(parent.key)}`
    }
    case "CallExpression": {
      const holder = ancestors.findLast(({ type }) => type === "VariableDeclarator" || type === "PropertyDefinition")
      const first = Array.isArray(parent.arguments) ? parent.arguments[0] : undefined
      const title = isNode(first) && first.type === "Literal" ? `(${nameOf(first)})` : ""
      const call = `${nameOf(parent.callee)}${title}`
      return holder === undefined || title !== "" ? call : `${nameOf(holder.id ?? holder.key)}: ${call}`
    }
    default:
      return "anonymous"
  }
}

/** Throws when the text is not TypeScript. */
export const scan = (path: string, source: string): Module => {
  const text = source.split("\n")
  const lineStarts = [0]
  for (const line of text) lineStarts.push(lineStarts.at(-1)! + line.length + 1)
  const lineAt = (offset: number): number => lineStarts.findLastIndex((start) => start <= offset) + 1

  const imports: Array<Import> = []
  const functions: Array<FunctionSize> = []
  const names: Array<Use> = []
  const syntax: Array<Use> = []
  const calls: Array<Use> = []

  const look = (node: Node, field: string, ancestors: ReadonlyArray<Node>): void => {
    const line = lineAt(node.start)
    const parent = ancestors.at(-1)
    if (importTypes.has(node.type) && isNode(node.source)) {
      const from = node.source.value
      const kind = node.importKind ?? node.exportKind ?? (node.type === "TSImportType" ? "type" : "value")
      if (typeof from === "string") imports.push({ from, line, typeOnly: kind === "type" })
    }
    if (functionTypes.has(node.type)) {
      functions.push({ name: functionName(node, ancestors), line, lines: lineAt(node.end - 1) - line + 1 })
      if (node.async === true) syntax.push({ name: "async", line })
    }
    if (node.type === "AwaitExpression" || (node.type === "ForOfStatement" && node.await === true)) {
      syntax.push({ name: "await", line })
    }
    if (node.type === "TSAnyKeyword") syntax.push({ name: "any", line })
    if (node.type === "CallExpression") calls.push({ name: dotted(node.callee) ?? "", line })
    if (node.type === "MemberExpression" && dotted(node) === "Math.random") names.push({ name: "Math.random", line })
    if (node.type === "Identifier") {
      const isMember = memberFields.get(parent?.type ?? "") === field && parent?.computed !== true
      // In the shorthand { Date } the key is also the value, and the value is looked at on its own.
      if (!isMember) names.push({ name: String(node.name), line })
    }
    const path = [...ancestors, node]
    for (const [name, child] of childrenOf(node)) look(child, name, path)
  }
  // The tree is plain ESTree data; its published type has no index signature to walk it by.
  look(parseAst(source, { lang: "ts" }) as unknown as Node, "", [])
  return { path, text, imports, functions, names, syntax, calls }
}
