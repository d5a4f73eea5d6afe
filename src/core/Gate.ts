/**
 * What one connection may not be shown yet, because the store has not confirmed it.
 *
 * Owns order: acknowledgements in one lane, QoS 2 deliveries in another, each first in, first out. A gate belongs to a
 * connection and dies with it: the bytes are dropped, the state that they spoke of is in the session.
 */
import type { Packet } from "../protocol/Packet.ts"
import { type AckType, PUBACK } from "./AckType.ts"
import type { Outgoing } from "./Outgoing.ts"

/** An acknowledgement in few words: with a store most of what waits is one. */
export interface GatedAck {
  readonly sequence: number
  readonly ack: AckType
  readonly packetId: number
  readonly reasonCode: number
  readonly released: ((now: number) => void) | undefined
}

export interface GatedPacket {
  readonly sequence: number
  readonly ack: 0
  readonly packet: Packet
  /** Runs when the packet is released, before its bytes are appended. */
  readonly released: ((now: number) => void) | undefined
}

export interface GatedDelivery {
  readonly sequence: number
  readonly outgoing: Outgoing
}

export class Gate {
  readonly packets: Array<GatedPacket | GatedAck> = []
  readonly deliveries: Array<GatedDelivery> = []
  /** How many PUBACKs wait. */
  pubAcks = 0
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
    this.packets.push({ sequence: behindLast(this.packets, sequence), ack: 0, packet, released })
  }

  pushAck(
    sequence: number,
    ack: AckType,
    packetId: number,
    reasonCode: number,
    released: ((now: number) => void) | undefined
  ): void {
    if (ack === PUBACK) this.pubAcks++
    this.packets.push({ sequence: behindLast(this.packets, sequence), ack, packetId, reasonCode, released })
  }

  pushDelivery(sequence: number, outgoing: Outgoing): void {
    this.deliveries.push({ sequence: behindLast(this.deliveries, sequence), outgoing })
    this.deliveryBytes += outgoing.message.bytes
  }

  /** The packets that may be shown now that everything up to `durable` is stored, taken out in order. */
  releasePackets(durable: number): ReadonlyArray<GatedPacket | GatedAck> {
    const released = releaseFrom(this.packets, durable)
    for (const { ack } of released) if (ack === PUBACK) this.pubAcks--
    return released
  }

  releaseDeliveries(durable: number): ReadonlyArray<GatedDelivery> {
    const released = releaseFrom(this.deliveries, durable)
    for (const { outgoing } of released) this.deliveryBytes -= outgoing.message.bytes
    return released
  }
}

/** What was pushed before must be released before. */
const behindLast = (lane: ReadonlyArray<{ readonly sequence: number }>, sequence: number): number => {
  const last = lane.length === 0 ? 0 : lane[lane.length - 1]!.sequence
  return sequence > last ? sequence : last
}

const releaseFrom = <Item extends { readonly sequence: number }>(lane: Array<Item>, durable: number): Array<Item> => {
  let count = 0
  while (count < lane.length && lane[count]!.sequence <= durable) count++
  return lane.splice(0, count)
}
