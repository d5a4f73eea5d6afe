/**
 * A packet that arrived only in part: its pieces are collected and joined once, when the last byte is there.
 *
 * Memory follows the bytes that arrived, never the length a header claims. Small pieces are copied into blocks, so
 * that neither a 64-KiB chunk stays alive for three bytes nor a packet sent byte by byte becomes a million objects;
 * large ones are kept as they are. No byte is copied more than twice.
 */

/** Pieces below this size are copied into a block, in bytes. */
const copyBelow = 4096

const blockBytesMin = 512
const blockBytesMax = 16_384

export class PartialFrame {
  /** Length of the whole packet, fixed header included; 0 while the header is not complete. */
  frameBytes = 0
  /** Bytes collected so far. */
  bytes = 0
  /** Bytes copied so far, in blocks and in the join: the cost of the chunking. */
  copiedBytes = 0
  /** Pieces that are complete, in order; the block being filled comes behind them. */
  private readonly pieces: Array<Uint8Array> = []
  private block: Uint8Array | undefined = undefined
  private blockEnd = 0

  /** The first bytes of the packet, as many as are in one piece: the fixed header, or all there is of it so far. */
  head(): Uint8Array {
    return this.pieces[0] ?? this.block!.subarray(0, this.blockEnd)
  }

  /** Takes the bytes of `chunk` between `start` and `end`, which are part of the packet. */
  append(chunk: Uint8Array, start: number, end: number): void {
    this.bytes += end - start
    if (end - start >= copyBelow) {
      this.closeBlock()
      this.pieces.push(chunk.subarray(start, end))
      return
    }
    this.copiedBytes += end - start
    let at = start
    while (at < end) {
      if (this.block === undefined || this.blockEnd === this.block.length) this.openBlock()
      const block = this.block!
      const copied = Math.min(end - at, block.length - this.blockEnd)
      block.set(chunk.subarray(at, at + copied), this.blockEnd)
      this.blockEnd += copied
      at += copied
    }
  }

  private openBlock(): void {
    this.closeBlock()
    // As large as what is collected already: few blocks for a long packet, and at most twice the memory of its bytes.
    this.block = new Uint8Array(Math.min(Math.max(this.bytes, blockBytesMin), blockBytesMax))
    this.blockEnd = 0
  }

  private closeBlock(): void {
    if (this.block === undefined) return
    this.pieces.push(this.block.subarray(0, this.blockEnd))
    this.block = undefined
  }

  /** The whole packet in one array, from index 0; called once, when all of it is there. */
  join(): Uint8Array {
    if (this.pieces.length === 0) return this.block!
    this.closeBlock()
    const frame = new Uint8Array(this.bytes)
    let at = 0
    for (const piece of this.pieces) {
      frame.set(piece, at)
      at += piece.length
    }
    this.copiedBytes += at
    return frame
  }
}
