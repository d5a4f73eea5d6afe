/**
 * What one connection may not be shown yet, because the store has not confirmed it.
 *
 * Owns order: acknowledgements in one lane, QoS 2 deliveries in another, each first in, first out. A gate belongs to a
 * connection and dies with it: the bytes are dropped, the state that they spoke of is in the session.
 */
import type { Packet } from "../protocol/Packet.ts"
import type { Outgoing } from "./Outgoing.ts"

export interface GatedPacket {
  readonly sequence: number
  readonly packet: Packet
  /** Runs when the packet is released, before its bytes are appended. */
  readonly released: ((now: number) => void) | undefined
}

export interface GatedDelivery {
  readonly sequence: number
  readonly outgoing: Outgoing
}

export class Gate {
  readonly packets: Array<GatedPacket> = []
  readonly deliveries: Array<GatedDelivery> = []
  /** What the deliveries will take in the outbox, roughly: the outbox's bound counts them. */
  deliveryBytes = 0

  get isEmpty(): boolean {
    return this.packets.length === 0 && this.deliveries.length === 0
  }

  /** Whether a packet that needs `sequence` must wait: for the store, or behind an earlier one. */
  holdsPacket(sequence: number, durable: number): boolean {
    return sequence > durable || this.packets.length > 0
  }

  holdsDelivery(sequence: number, durable: number): boolean {
    return sequence > durable || this.deliveries.length > 0
  }

  pushPacket(sequence: number, packet: Packet, released: ((now: number) => void) | undefined): void {
    const last = this.packets.at(-1)?.sequence ?? 0
    this.packets.push({ sequence: Math.max(sequence, last), packet, released })
  }

  pushDelivery(sequence: number, outgoing: Outgoing): void {
    const last = this.deliveries.at(-1)?.sequence ?? 0
    this.deliveries.push({ sequence: Math.max(sequence, last), outgoing })
    this.deliveryBytes += outgoing.message.bytes
  }

  /** The packets that may be shown now that everything up to `durable` is stored, taken out in order. */
  releasePackets(durable: number): ReadonlyArray<GatedPacket> {
    return releaseFrom(this.packets, durable)
  }

  releaseDeliveries(durable: number): ReadonlyArray<GatedDelivery> {
    const released = releaseFrom(this.deliveries, durable)
    for (const { outgoing } of released) this.deliveryBytes -= outgoing.message.bytes
    return released
  }
}

const releaseFrom = <Item extends { readonly sequence: number }>(lane: Array<Item>, durable: number): Array<Item> => {
  let count = 0
  while (count < lane.length && lane[count]!.sequence <= durable) count++
  return lane.splice(0, count)
}
