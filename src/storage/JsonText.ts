/**
 * Text to JSON values, for documents of a small shape that come from outside.
 *
 * Reads JSON, and besides it what the manual's sample has: `//` comments, and a comma after a last field or element.
 * Owns what no parser refuses: nesting, objects of countless fields, and a field that is there twice, of which a parser
 * keeps one without a word. Looked for before the text is parsed, because a nest of a hundred million brackets costs
 * gigabytes by then. No fault shows what the text holds besides the names of its fields.
 */
import * as Result from "effect/Result"

export interface Fault {
  /** Where: `OutgoingMessages[2].State`; "" for the text as a whole. */
  readonly path: string
  /** A sentence. */
  readonly detail: string
}

/** Deeper than any document that is read here. */
const DEPTH_MAX = 16
/** More than any object has that is read here. */
const FIELDS_MAX = 64

const QUOTE = 0x22
const SLASH = 0x2f
const COMMA = 0x2c
const COLON = 0x3a
const BACKSLASH = 0x5c

/** An object or an array that is open where the scan is. */
interface Level {
  /** The fields so far, or undefined in an array. */
  readonly names: Set<string> | undefined
  /** The field or the index that the scan is in. */
  at: string | number
}

/** Characters of a field's name that are shown: a document may have nothing but one name. */
const NAME_SHOWN_MAX = 100

/** `["OutgoingMessages", 2, "State"]` as people write it. */
export const describePath = (path: ReadonlyArray<PropertyKey>): string =>
  path
    .map((key, at) =>
      typeof key === "number" ? `[${key}]` : `${at === 0 ? "" : "."}${String(key).slice(0, NAME_SHOWN_MAX)}`
    )
    .join("")

const pathOf = (open: ReadonlyArray<Level>): string => describePath(open.map(({ at }) => at))

/** The index behind the string that begins at `at`. */
const endOfString = (text: string, at: number): number => {
  let end = at + 1
  while (end < text.length) {
    const code = text.charCodeAt(end)
    if (code === QUOTE) return end + 1
    end += code === BACKSLASH ? 2 : 1
  }
  return text.length
}

/** The index of the line's end behind a comment, where one begins; else `at` itself. */
const endOfComment = (text: string, at: number): number => {
  if (text.charCodeAt(at) !== SLASH || text.charCodeAt(at + 1) !== SLASH) return at
  const end = text.indexOf("\n", at)
  return end === -1 ? text.length : end
}

const parseStrictly = (text: string): Result.Result<unknown, undefined> =>
  Result.try({
    try: (): unknown => JSON.parse(text),
    catch: () => undefined // what the parser says quotes the text
  })

/** The name that a string between quotes stands for: two spellings of it are one field. */
const nameOf = (quoted: string): string =>
  quoted.includes("\\") ? String(Result.getOrElse(parseStrictly(quoted), () => quoted)) : quoted.slice(1, -1)

/** What begins a field: the level's place moves to it. */
const enterField = (open: ReadonlyArray<Level>, quoted: string): Fault | undefined => {
  const level = open.at(-1)
  if (level?.names === undefined) return undefined // not JSON, which the parser says
  const name = nameOf(quoted)
  level.at = name
  if (level.names.has(name)) return { path: pathOf(open), detail: "The field is there twice." }
  if (level.names.size === FIELDS_MAX) {
    return { path: pathOf(open.slice(0, -1)), detail: `An object has at most ${FIELDS_MAX} fields.` }
  }
  level.names.add(name)
  return undefined
}

const shapeFault = (text: string): Fault | undefined => {
  const open: Array<Level> = []
  let string = [0, 0] as readonly [from: number, to: number]
  let at = 0
  while (at < text.length) {
    const code = text.charCodeAt(at)
    if (code === QUOTE) {
      const end = endOfString(text, at)
      string = [at, end]
      at = end
      continue
    }
    const behind = endOfComment(text, at)
    if (behind > at) {
      at = behind
      continue
    }
    if (code === COLON) {
      const fault = enterField(open, text.slice(...string))
      if (fault !== undefined) return fault
    } else if (code === COMMA) {
      const level = open.at(-1)
      if (typeof level?.at === "number") level.at++
    } else if (text[at] === "{" || text[at] === "[") {
      if (open.length === DEPTH_MAX) return { path: pathOf(open), detail: `More than ${DEPTH_MAX} levels deep.` }
      open.push(text[at] === "{" ? { names: new Set(), at: "" } : { names: undefined, at: 0 })
    } else if (text[at] === "}" || text[at] === "]") open.pop()
    at++
  }
  return undefined
}

const withoutComments = (text: string): string => {
  let kept = ""
  let from = 0
  let at = 0
  while (at < text.length) {
    if (text.charCodeAt(at) === QUOTE) at = endOfString(text, at)
    else {
      const behind = endOfComment(text, at)
      if (behind > at) {
        kept += text.slice(from, at)
        at = from = behind
      } else at++
    }
  }
  return kept + text.slice(from)
}

/** Without the comma behind a last field or element. */
const withoutLastCommas = (text: string): string => {
  let kept = ""
  let from = 0
  let comma = -1
  let at = 0
  let previous = ""
  while (at < text.length) {
    const character = text[at]!
    const end = character === '"' ? endOfString(text, at) : at + 1
    if (character > " ") {
      if ((character === "}" || character === "]") && comma >= 0) {
        kept += text.slice(from, comma)
        from = comma + 1
      }
      comma = character === "," && !"[{,:".includes(previous) ? at : -1
      previous = character
    }
    at = end
  }
  return kept + text.slice(from)
}

const NOT_JSON: Fault = {
  path: "",
  detail: "The text is not JSON: a quotation mark, comma or bracket is wrong or missing."
}

/** The value that the text stands for. Takes time in proportion to its length; how long it may be is the caller's. */
export const parse = (text: string): Result.Result<unknown, Fault> => {
  const fault = shapeFault(text)
  if (fault !== undefined) return Result.fail(fault)
  const strict = parseStrictly(text)
  const parsed = Result.isSuccess(strict) ? strict : parseStrictly(withoutLastCommas(withoutComments(text)))
  return Result.mapError(parsed, () => NOT_JSON)
}
