/**
 * Rows of the table of chunks on their way to the broker's side, a page at a time: the blobs one behind the other, and
 * a flat list of numbers that says where they are and whose. Runs in the worker; `SqliteLoad.ts` reads what it makes.
 *
 * A store of many sessions has a chunk for nearly every message, and for each row an array is made and for each blob a
 * buffer: 2.4 µs besides what SQLite takes. So SQLite puts small rows together, thousands to a page, for half of that.
 * What cannot be put together is read row by row: large blobs, and what does not have the type of its column or cannot
 * be read at all, so that damage shows as it does elsewhere.
 */
import type { DatabaseSync, SQLInputValue, StatementSync } from "node:sqlite"
import { SqliteBytes } from "./SqliteBytes.ts"
import { SqliteFailure } from "./SqliteFailure.ts"
import { iterate } from "./SqliteRows.ts"
import * as SqliteSchema from "./SqliteSchema.ts"

export interface ChunkPage {
  readonly table: "chunk"
  readonly bytes: Uint8Array<ArrayBuffer>
  /**
   * `CHUNK_COLUMNS` for each chunk, one behind the other. From a typed array the engine would take each as a
   * floating-point number, and keep a box for it in whatever holds one, as long as the broker runs.
   */
  readonly numbers: ReadonlyArray<number>
}

export const CHUNK_COLUMNS = 8
/** Where its entries are in the bytes, */
export const START = 0
export const END = 1
/** and its marks; both 0: it has none. */
export const MARKS_START = 2
export const MARKS_END = 3
export const SESSION = 4
/** The orders of its first message and of its last. */
export const FIRST = 5
export const LAST = 6
/** What it points into; 0: nothing. */
export const POOL = 7

/** At most so many rows are put together, */
const BULK_ROWS = 4_096
/** and only if none of them has a blob of more bytes than this. */
const BULK_BYTES = 512
/** Of rows that are read one by one a page has about so many bytes. */
const PAGE_BYTES = 512 * 1024

/** In the order of `chunk_place` to its last column, or SQLite would sort, and with each row its blobs. */
const rowsOf = (entries: string, states: string): string => `
  SELECT ${entries} AS entries, ${states} AS states, session, first, last, pool
  FROM chunk LEFT JOIN mark ON mark.chunk = chunk.id
  WHERE (session, first) >= (?, ?) ORDER BY session, first, last, pool, chunk.id LIMIT ${BULK_ROWS} OFFSET ?`

const ROWS = rowsOf("entries", "states")

const digits = (blob: string): string =>
  `CASE WHEN typeof(${blob}) = 'blob' AND length(${blob}) <= ${BULK_BYTES} THEN hex(${blob}) END`

/**
 * Blobs are hexadecimal digits on the way: what putting texts together makes of bytes that are 0, SQLite does not say.
 * A blob that is not small has no length here.
 */
const BULK = `
  SELECT
    json_group_array(octet_length(entries) / 2), json_group_array(octet_length(states) / 2),
    json_group_array(session), json_group_array(first), json_group_array(last), json_group_array(coalesce(pool, 0)),
    unhex(group_concat(entries || states, ''))
  FROM (${rowsOf(digits("entries"), `CASE WHEN states IS NULL THEN '' ELSE ${digits("states")} END`)})`

/** What follows: the rows from this session and order on, without the first of them. */
type Place = readonly [session: SQLInputValue, first: SQLInputValue, without: number]

const BEGINNING: Place = [-(2n ** 63n), -(2n ** 63n), 0]

/** All chunks, session by session, in the order of their first messages. */
export function* chunkPages(database: DatabaseSync): Generator<ChunkPage, undefined, void> {
  const bulk = database.prepare(BULK)
  bulk.setReturnArrays(true)
  const rows = database.prepare(ROWS)
  let place = BEGINNING
  let left = SqliteSchema.numberOf(database, "SELECT count(*) FROM chunk")
  while (left > 0) {
    const before = left
    for (const page of group(bulk, rows, place)) {
      left -= page.numbers.length / CHUNK_COLUMNS
      place = placeAfter(place, page)
      yield page
    }
    // Every row is met once, unless the index is in no order.
    if (left === before || left < 0) throw new SqliteFailure("corrupt", "It has messages that cannot be found.")
  }
  return undefined
}

function* group(bulk: StatementSync, rows: StatementSync, place: Place): Generator<ChunkPage, undefined, void> {
  const page = together(bulk, place)
  if (page !== undefined) {
    yield page
    return undefined
  }
  let collected = new ChunkRows()
  for (const columns of iterate(rows, ...place)) {
    collected.add(columns)
    if (collected.length >= PAGE_BYTES) {
      yield collected.page()
      collected = new ChunkRows()
    }
  }
  if (collected.count > 0) yield collected.page()
  return undefined
}

const placeAfter = ([session, first, without]: Place, { numbers }: ChunkPage): Place => {
  const last = numbers.length - CHUNK_COLUMNS
  const lastSession = numbers[last + SESSION]!
  const lastFirst = numbers[last + FIRST]!
  let at = last
  while (at >= 0 && numbers[at + SESSION] === lastSession && numbers[at + FIRST] === lastFirst) at -= CHUNK_COLUMNS
  const same = (last - at) / CHUNK_COLUMNS
  const isOnePlace = at < 0 && lastSession === session && lastFirst === first
  return [lastSession, lastFirst, isOnePlace ? without + same : same]
}

/** Undefined: these rows cannot be, or there are none. */
const together = (bulk: StatementSync, place: Place): ChunkPage | undefined => {
  let columns: ReadonlyArray<unknown>
  try {
    columns = bulk.get(...place) as unknown as ReadonlyArray<unknown> // arrays, as was asked for
  } catch {
    return undefined // reading them one by one says it again
  }
  const bytes = columns.at(-1)
  if (!(bytes instanceof Uint8Array)) return undefined
  const lists = columns.slice(0, -1).map((text) => JSON.parse(String(text)) as ReadonlyArray<unknown>) // arrays
  if (!lists.every((list) => list.every(Number.isSafeInteger))) return undefined
  const numbers = inRows(lists as ReadonlyArray<ReadonlyArray<number>>) // checked
  if (!isInOrder(numbers)) return undefined
  return { table: "chunk", bytes: bytes as ChunkPage["bytes"], numbers } // SQLite's own copy, for nobody else
}

const inRows = ([entries = [], states = [], ...others]: ReadonlyArray<ReadonlyArray<number>>): Array<number> => {
  const numbers: Array<number> = []
  let end = 0
  for (const [row, length] of entries.entries()) {
    const start = end
    end += length
    numbers.push(start, end)
    const marks = states[row]!
    numbers.push(marks === 0 ? 0 : end, marks === 0 ? 0 : end + marks)
    end += marks
    for (const list of others) numbers.push(list[row]!)
  }
  return numbers
}

/** SQLite puts rows together in the order in which it meets them, and does not promise to. */
const isInOrder = (numbers: ReadonlyArray<number>): boolean => {
  for (let at = CHUNK_COLUMNS; at < numbers.length; at += CHUNK_COLUMNS) {
    const before = at - CHUNK_COLUMNS
    const sessions = numbers[at + SESSION]! - numbers[before + SESSION]!
    if (sessions < 0 || (sessions === 0 && numbers[at + FIRST]! < numbers[before + FIRST]!)) return false
  }
  return true
}

/** Rows on their way into a page: entries, marks, session, first and last order, pool. */
export class ChunkRows {
  private readonly bytes = new SqliteBytes()
  private readonly numbers: Array<number> = []

  get count(): number {
    return this.numbers.length / CHUNK_COLUMNS
  }

  /** Of the blobs, in bytes. */
  get length(): number {
    return this.bytes.at
  }

  add([entries, marks, session, first, last, pool]: ReadonlyArray<unknown>): void {
    this.addBlob(entries)
    this.addBlob(marks)
    for (const value of [session, first, last, pool ?? 0]) {
      this.numbers.push(typeof value === "number" ? value : Number.NaN)
    }
  }

  page(): ChunkPage {
    const { bytes, numbers } = this
    return { table: "chunk", bytes: bytes.bytes.subarray(0, bytes.at), numbers }
  }

  private addBlob(blob: unknown): void {
    const { bytes, numbers } = this
    if (!(blob instanceof Uint8Array)) {
      numbers.push(0, 0)
      return
    }
    numbers.push(bytes.at)
    bytes.reserve(blob.length)
    bytes.copy(blob)
    numbers.push(bytes.at)
  }
}
