/**
 * A file that only takes up room, to be given up when the disk is full: so that what makes room, deletes, can be
 * written down.
 */
import { closeSync, existsSync, fsyncSync, openSync, rmSync, statfsSync, statSync, writeSync } from "node:fs"
import { randomFillSync } from "node:crypto"
import { dirname } from "node:path"

export const RESERVE_BYTES = 8 * 1024 * 1024
const STEP_BYTES = 1024 * 1024
/** What the log must have to grow in, besides the reserve. */
const LOG_ROOM_BYTES = 4 * 1024 * 1024

export class SqliteReserve {
  private readonly path: string

  constructor(file: string) {
    this.path = `${file}-reserve`
  }

  get exists(): boolean {
    return existsSync(this.path)
  }

  /** What the disk has room for. */
  freeBytes(): number {
    const { bavail, blocks, bsize } = statfsSync(dirname(this.path))
    // Some file systems cannot say.
    return blocks === 0 ? Number.POSITIVE_INFINITY : bavail * bsize
  }

  /** Whether the disk has room for that much and for the log. */
  hasRoom(bytes: number): boolean {
    return this.freeBytes() >= bytes + LOG_ROOM_BYTES
  }

  /** Takes the room up again. False while there is none. */
  take(): boolean {
    let file: number | undefined
    try {
      const held = this.exists ? statSync(this.path).size : 0
      if (held === RESERVE_BYTES) return true
      if (!this.hasRoom(RESERVE_BYTES - Math.min(held, RESERVE_BYTES))) return false
      // Random, because a file system may store zeros in no room at all.
      const bytes = randomFillSync(new Uint8Array(STEP_BYTES))
      file = openSync(this.path, "w", 0o600)
      for (let written = 0; written < RESERVE_BYTES; ) {
        written += writeSync(file, bytes, 0, Math.min(STEP_BYTES, RESERVE_BYTES - written))
      }
      fsyncSync(file) // Some file systems look for the room only now.
      closeSync(file)
      return true
    } catch {
      // Whatever it is: there is no room to be had.
      if (file !== undefined) closeSync(file)
      this.release()
      return false
    }
  }

  release(): void {
    rmSync(this.path, { force: true })
  }
}
