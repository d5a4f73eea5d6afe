/**
 * Text to JSON values, for documents of a small shape that come from outside.
 *
 * Reads JSON, and besides it what the manual's sample has: `//` comments, and a comma after a last field or element.
 * Owns what no parser refuses: nesting, countless values, objects of countless fields, and a field that is there twice,
 * of which a parser keeps one without a word. Looked for in one pass before the text is parsed, because twenty million
 * empty lists cost a parser half a minute and gigabytes. No fault shows what the text holds besides the names of its
 * fields.
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
/** Objects and lists, and what is left out between values: each of them costs a parser a microsecond. */
export const NESTS_MAX = 400_000
/** Commas for each of them: what is between two commas costs a tenth of that. */
const VALUES_PER_NEST = 5

const QUOTE = 0x22
const SLASH = 0x2f
const COMMA = 0x2c
const COLON = 0x3a
const BACKSLASH = 0x5c
const SPACE = 0x20
const OPEN_OBJECT = 0x7b
const CLOSE_OBJECT = 0x7d
const OPEN_ARRAY = 0x5b
const CLOSE_ARRAY = 0x5d

/** In place of a comma's index: a value must come, and no comma; or something else than a string. */
const NO_VALUE = -2
const STRING = -3

/** An object or an array that is open where the scan is; one object for all that are as deep. */
interface Level {
  /** The fields so far. */
  readonly names: Set<string>
  isObject: boolean
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

const endOfLine = (text: string, at: number): number => {
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

const stateBehind = (code: number): number => {
  if (code === QUOTE) return STRING
  return code === COLON || code === OPEN_OBJECT || code === OPEN_ARRAY ? NO_VALUE : -1
}

/** One pass over a text: what is wrong with its shape, and what is not JSON in it and is left out. */
class Scan {
  /** Where something is left out: from, to, from, to. */
  readonly cuts: Array<number> = []
  private readonly text: string
  private readonly levels: Array<Level> = []
  private depth = 0
  private nests = 0
  private values = 0
  private readonly nestsMax: number

  constructor(text: string, nestsMax: number) {
    this.text = text
    this.nestsMax = nestsMax
  }

  /** What is wrong with the shape of the text. */
  run(): Fault | undefined {
    const { text } = this
    let from = 0
    let to = 0
    /** Where there is a comma with no value behind it yet; below 0: there is none. */
    let comma = -1
    let fault: Fault | undefined
    for (let at = 0; at < text.length && fault === undefined; ) {
      const code = text.charCodeAt(at)
      const begin = at++
      if (code <= SPACE) continue
      if (code === SLASH && text.charCodeAt(at) === SLASH) {
        at = endOfLine(text, at)
        fault = this.cut(begin, at)
        continue
      }
      if (code === CLOSE_OBJECT || code === CLOSE_ARRAY) {
        // Behind the last value: commas without one before them are left to the parser.
        if (comma >= 0) fault = this.cut(comma, comma + 1)
        if (this.depth > 0) this.depth--
      } else if (code === QUOTE) {
        if (comma === STRING) return NOT_JSON
        at = endOfString(text, begin)
        from = begin
        to = at
      } else if (code === COLON) fault = this.field(from, to)
      else if (code === OPEN_OBJECT || code === OPEN_ARRAY) fault = this.open(code === OPEN_OBJECT)
      if (code !== COMMA) comma = stateBehind(code)
      else if (comma >= 0 || comma === NO_VALUE) return NOT_JSON
      else {
        comma = begin
        fault = this.next()
      }
    }
    return fault
  }

  private pathOf(depth: number): string {
    return describePath(this.levels.slice(0, depth).map(({ at }) => at))
  }

  private cut(from: number, to: number): Fault | undefined {
    // In the order of the text: a comma is noticed behind the comments that follow it.
    let at = this.cuts.length
    while (at > 0 && this.cuts[at - 2]! > from) at -= 2
    this.cuts.splice(at, 0, from, to)
    return this.count()
  }

  private count(): Fault | undefined {
    const { nestsMax } = this
    return ++this.nests > nestsMax
      ? { path: "", detail: `More than ${nestsMax} objects, lists and comments.` }
      : undefined
  }

  private open(isObject: boolean): Fault | undefined {
    if (this.depth === DEPTH_MAX) return { path: this.pathOf(DEPTH_MAX), detail: `More than ${DEPTH_MAX} levels deep.` }
    const at = isObject ? "" : 0
    const level = this.levels[this.depth]
    if (level === undefined) this.levels.push({ names: new Set(), isObject, at })
    else {
      if (level.names.size > 0) level.names.clear()
      level.isObject = isObject
      level.at = at
    }
    this.depth++
    return this.count()
  }

  private next(): Fault | undefined {
    const level = this.levels[this.depth - 1]
    if (typeof level?.at === "number") level.at++
    const valuesMax = this.nestsMax * VALUES_PER_NEST
    return ++this.values > valuesMax ? { path: "", detail: `More than ${valuesMax} values.` } : undefined
  }

  /** What begins a field: the level's place moves to it. */
  private field(from: number, to: number): Fault | undefined {
    const level = this.levels[this.depth - 1]
    if (!level?.isObject) return undefined // not JSON, which the parser says
    const name = nameOf(this.text.slice(from, to))
    level.at = name
    if (level.names.has(name)) return { path: this.pathOf(this.depth), detail: "The field is there twice." }
    if (level.names.size === FIELDS_MAX) {
      return { path: this.pathOf(this.depth - 1), detail: `An object has at most ${FIELDS_MAX} fields.` }
    }
    level.names.add(name)
    return undefined
  }
}

const without = (text: string, cuts: ReadonlyArray<number>): string => {
  if (cuts.length === 0) return text
  const kept: Array<string> = []
  let from = 0
  for (let at = 0; at < cuts.length; at += 2) {
    kept.push(text.slice(from, cuts[at]))
    from = cuts[at + 1]!
  }
  return kept.join("") + text.slice(from)
}

const NOT_JSON: Fault = {
  path: "",
  detail: "The text is not JSON: a quotation mark, comma or bracket is wrong or missing."
}

/** The value that the text stands for. Takes time in proportion to its length; how long it may be is the caller's. */
export const parse = (text: string, nestsMax: number = NESTS_MAX): Result.Result<unknown, Fault> => {
  const scan = new Scan(text, nestsMax)
  const fault = scan.run()
  if (fault !== undefined) return Result.fail(fault)
  return Result.mapError(parseStrictly(without(text, scan.cuts)), () => NOT_JSON)
}
