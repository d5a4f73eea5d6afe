/**
 * Outgoing QoS 1 and 2 exchanges of one session, found by packet id.
 *
 * Owns the allocation of packet ids. A ring indexed by the id's low bits instead of a Map: ids are given out in
 * order, so a slot is nearly always free again when the ring comes round (a Map costs about 100 ns a message for its
 * set, get and delete, the ring about 10).
 */
import type { Outgoing } from "./Outgoing.ts"

const FIRST_SLOTS = 16
const PACKET_ID_MAX = 65_535
const NO_SLOTS: Array<Outgoing | undefined> = []

export class Inflight {
  size = 0
  private slots: Array<Outgoing | undefined> = NO_SLOTS
  private lastId = 0

  get(packetId: number): Outgoing | undefined {
    const { slots } = this
    const found = slots[packetId & (slots.length - 1)]
    return found !== undefined && found.packetId === packetId ? found : undefined
  }

  /** Gives `outgoing` a free packet id and keeps it. False when all 65,535 are taken. */
  allocate(outgoing: Outgoing): boolean {
    if (this.size >= PACKET_ID_MAX) return false
    if (this.size * 2 >= this.slots.length) this.grow()
    let id = this.lastId
    for (;;) {
      id = id === PACKET_ID_MAX ? 1 : id + 1
      const at = id & (this.slots.length - 1)
      if (this.slots[at] !== undefined) continue
      this.slots[at] = outgoing
      outgoing.packetId = id
      this.lastId = id
      this.size++
      return true
    }
  }

  /** Keeps an exchange under the id that it already has (a restored session). */
  restore(outgoing: Outgoing): void {
    while (this.slots.length === 0 || this.slots[outgoing.packetId & (this.slots.length - 1)] !== undefined) {
      if (this.get(outgoing.packetId) !== undefined) return
      this.grow()
    }
    this.slots[outgoing.packetId & (this.slots.length - 1)] = outgoing
    this.lastId = Math.max(this.lastId, outgoing.packetId)
    this.size++
  }

  delete(packetId: number): void {
    if (this.get(packetId) === undefined) return
    this.slots[packetId & (this.slots.length - 1)] = undefined
    this.size--
  }

  clear(): void {
    this.slots = NO_SLOTS
    this.size = 0
  }

  /** In the order in which they were first queued [MQTT-4.6.0-1]. */
  inOrder(): Array<Outgoing> {
    return this.slots.filter((entry) => entry !== undefined).sort((a, b) => a.order - b.order)
  }

  /** Doubling never makes two entries meet: ids that differed in fewer low bits still differ in more. */
  private grow(): void {
    const larger = new Array<Outgoing | undefined>(Math.max(FIRST_SLOTS, this.slots.length * 2)).fill(undefined)
    for (const entry of this.slots) {
      if (entry !== undefined) larger[entry.packetId & (larger.length - 1)] = entry
    }
    this.slots = larger
  }
}
