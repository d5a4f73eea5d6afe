/**
 * Subjects and issuers of certificates as the documentation writes them: `CN=www.example.com, O="Acme, Inc", C=US`.
 *
 * Owns the form and the comparison; certificates come from `Certificate.ts`.
 */

/** Names that the documentation writes differently from OpenSSL. */
const fieldNames = new Map([
  ["ST", "S"],
  ["emailAddress", "E"]
])

const field = (line: string): string => {
  const at = line.indexOf("=")
  const name = line.slice(0, at)
  const value = line.slice(at + 1).replaceAll(/\\([,+"\\<>;#= ])/g, "$1")
  const quoted = /[,"]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value
  return `${fieldNames.get(name) ?? name}=${quoted}`
}

/** From Node's form, one field a line: the most specific field comes first. */
export const fromNode = (lines: string): string => lines.split("\n").filter(Boolean).map(field).reverse().join(", ")

/** Its fields, in any order and case, so that two spellings of one name are equal. */
const canonical = (name: string): string =>
  (name.match(/(?:[^,"]|"(?:[^"]|"")*")+/g) ?? [])
    .map((part) => part.trim().toLowerCase())
    .sort()
    .join(",")

export type Match = "exact" | "part" | "none"

/** How a wanted subject fits: all of the name in any order of its fields, a part of it as it is written, or not. */
export const match = (name: string, wanted: string): Match => {
  if (canonical(name) === canonical(wanted)) return "exact"
  return name.toLowerCase().includes(wanted.trim().toLowerCase()) ? "part" : "none"
}
