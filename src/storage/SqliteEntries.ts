/**
 * From a page of chunks to the messages that are in them, checked. `SqliteBatch.ts` owns their form.
 *
 * One reader goes over all chunks of a page: many have one message only, which costs less than a reader of its own.
 */
import type { OutgoingState } from "../core/MessageState.ts"
import type { PutOutgoing, StoredMessage } from "../core/StoreOperation.ts"
import type { QoS } from "../protocol/Packet.ts"
import { IDENTIFIERS, POOLED, type PoolReader, RETAIN, SHARED_FILTER } from "./SqliteBatch.ts"
import * as SqliteChunks from "./SqliteChunks.ts"
import { damaged } from "./SqliteFailure.ts"
import * as SqliteMark from "./SqliteMark.ts"
import { MessageReader } from "./SqliteMessage.ts"

const outgoingStates: ReadonlyArray<number> = [1, 2, 3, 4, 5, 10] satisfies ReadonlyArray<OutgoingState>

export class EntryReader {
  private readonly page: SqliteChunks.ChunkPage
  private readonly messages: MessageReader

  constructor(page: SqliteChunks.ChunkPage) {
    this.page = page
    this.messages = new MessageReader(page.bytes)
  }

  /** Appends the messages that are still there of the chunk whose numbers begin at `at`. Throws SqliteFailure. */
  read(at: number, clientId: string, pool: PoolReader | undefined, found: Array<PutOutgoing>): void {
    const { messages, page } = this
    const { numbers } = page
    const first = numbers[at + SqliteChunks.FIRST]!
    const last = numbers[at + SqliteChunks.LAST]!
    const marks = this.readMarks(at)
    messages.seek(numbers[at + SqliteChunks.START]!, numbers[at + SqliteChunks.END]!)
    for (let order = first; order <= last; order++) {
      const entry = this.readEntry(clientId, order, pool)
      if (entry === undefined) throw damaged(`a message for ${clientId}`)
      if (marks === undefined) found.push(entry)
      else if (!SqliteMark.isGone(marks, order - first)) {
        const mark = SqliteMark.get(marks, order - first)
        if (mark !== undefined && !outgoingStates.includes(mark.state)) throw damaged(`a message for ${clientId}`)
        found.push(mark === undefined ? entry : { ...entry, ...mark })
      }
    }
  }

  private readMarks(at: number): Uint8Array | undefined {
    const { bytes, numbers } = this.page
    const end = numbers[at + SqliteChunks.MARKS_END]!
    if (end === 0) return undefined
    const count = numbers[at + SqliteChunks.LAST]! - numbers[at + SqliteChunks.FIRST]! + 1
    return SqliteMark.read(bytes.subarray(numbers[at + SqliteChunks.MARKS_START]!, end), count)
  }

  private readEntry(clientId: string, order: number, pool: PoolReader | undefined): PutOutgoing | undefined {
    const { messages } = this
    const { reader } = messages
    const flags = reader.uint8()
    const qos = flags & 0x03
    const state = reader.uint8()
    const packetId = reader.uint16()
    const subscriptionIdentifiers = (flags & IDENTIFIERS) === 0 ? undefined : this.readIdentifiers()
    const sharedFilter = (flags & SHARED_FILTER) === 0 ? undefined : reader.text()
    const message = (flags & POOLED) === 0 ? messages.read() : this.readPooled(pool)
    if (message === undefined || reader.error !== undefined || qos > 2 || !outgoingStates.includes(state)) {
      return undefined
    }
    const entry: PutOutgoing = {
      _tag: "PutOutgoing",
      clientId,
      order,
      message,
      qos: qos as QoS, // checked
      retain: (flags & RETAIN) !== 0,
      packetId,
      state: state as OutgoingState, // checked
      subscriptionIdentifiers
    }
    return sharedFilter === undefined ? entry : { ...entry, sharedFilter }
  }

  private readIdentifiers(): ReadonlyArray<number> {
    const { reader } = this.messages
    const identifiers: Array<number> = []
    for (let left = reader.uint32(); left > 0 && reader.error === undefined; left--) identifiers.push(reader.uint32())
    return identifiers
  }

  private readPooled(pool: PoolReader | undefined): StoredMessage | undefined {
    return pool?.at(this.messages.reader.uint32())
  }
}
