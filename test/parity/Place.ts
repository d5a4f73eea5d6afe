/**
 * Where something documented is in this repository, and whether it is really there.
 *
 * A place is written `src/broker/Broker.ts#Broker.connections`: a file, a declaration that it exports, and a member of
 * it. It is looked up in the source, because most of what is documented are fields of types, which a running program
 * does not have.
 */
import { existsSync, readFileSync } from "node:fs"

/** It is there, or it does not apply on Node for a reason that is a sentence. */
export type Row = { readonly at: string } | { readonly reason: string }

export const at = (place: string): Row => ({ at: place })
export const none = (reason: string): Row => ({ reason })

const root = new URL("../../", import.meta.url)

/** From the first opening bracket behind `from` to the one that closes it. */
const block = (source: string, from: number, open: string, close: string): string => {
  const start = source.indexOf(open, from)
  let depth = 0
  for (let index = start; index >= 0 && index < source.length; index++) {
    if (source[index] === open) depth++
    else if (source[index] === close && --depth === 0) return source.slice(start, index + 1)
  }
  return ""
}

/** The text of an exported declaration; undefined: there is none of that name. */
const declaration = (source: string, name: string): string | undefined => {
  const found = new RegExp(`^export (?:class|interface|type|const) ${name}\\b`, "m").exec(source)
  if (found === null) return undefined
  const head = source.slice(found.index, source.indexOf("\n", found.index))
  // The base of an interface in the same file has members of it too.
  const base = /^export interface \w+ extends (\w+) \{/.exec(head)?.[1]
  const inherited = base === undefined ? "" : (declaration(source, base) ?? "")
  return head + block(source, found.index, "{", "}") + inherited
}

/** What is wrong with a place; undefined: it is there. `containing`: text that its declaration must have. */
export const complaint = (place: string, containing?: string): string | undefined => {
  const [path = "", name = ""] = place.split("#")
  const [exported = "", member] = name.split(".")
  if (!existsSync(new URL(path, root))) return `there is no file ${path}`
  const found = declaration(readFileSync(new URL(path, root), "utf8"), exported)
  if (found === undefined) return `${path} exports no ${exported}`
  const isMember = new RegExp(`(?:readonly |get |^\\s*)${member}\\??:`, "m")
  if (member !== undefined && !isMember.test(found)) return `${exported} of ${path} has no ${member}`
  return containing === undefined || found.includes(containing) ? undefined : `${place} does not say ${containing}`
}
