/**
 * Copies small byte ranges into shared blocks, so that keeping a 100-byte message costs neither its own typed array
 * (about 100 ns and 100 bytes) nor a hold on the 64-KiB chunk that it arrived in.
 *
 * A block lives while anything in it does, so one kept message can hold 8 KiB; what is kept for long is copied to a
 * block of its own (`Message.own`).
 */

const BLOCK_BYTES = 8 * 1024
/** From here on a range gets a block of its own. */
const LARGE_BYTES = 2 * 1024

export class Slab {
  /** The block that the last `copy` went to. */
  block = new Uint8Array(0)
  private length = 0

  /** Copies `source[start, end)` into `block` and returns where it begins there. */
  copy(source: Uint8Array, start: number, end: number): number {
    const size = end - start
    if (size >= LARGE_BYTES) {
      this.block = source.slice(start, end)
      this.length = size
      return 0
    }
    if (this.length + size > this.block.length) {
      this.block = new Uint8Array(BLOCK_BYTES)
      this.length = 0
    }
    const at = this.length
    const { block } = this
    for (let from = start, to = at; from < end; from++, to++) block[to] = source[from]!
    this.length = at + size
    return at
  }
}
