/**
 * The four-byte replies to the packets of one chunk, written in one piece. There is one gathering place for all
 * connections of a process, because a chunk is walked to its end before the next is read.
 */

/** Where replies go: a connection of the generator, or a socket. */
interface Sink {
  readonly write: (bytes: Buffer) => unknown
}

/** The most a chunk can hold, and as no packet is answered by a longer one, also the most its replies can. */
export const chunkBytesMax = 256 * 1024

const gathered = Buffer.allocUnsafeSlow(chunkBytesMax)
let length = 0

/** Add a PUBACK, PUBREC, PUBREL or PUBCOMP (by its first byte) for the packet id at `bytes[idAt]`. */
export const acknowledge = (firstByte: number, bytes: Uint8Array, idAt: number): void => {
  gathered[length] = firstByte
  gathered[length + 1] = 2
  gathered[length + 2] = bytes[idAt]!
  gathered[length + 3] = bytes[idAt + 1]!
  length += 4
}

/** Write a copy of what was added since the last time. */
export const send = (sink: Sink): void => {
  if (length === 0) return
  sink.write(Buffer.from(gathered.subarray(0, length)))
  length = 0
}
