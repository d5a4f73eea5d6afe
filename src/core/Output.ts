/**
 * Packets towards one client: now, or when the store has confirmed what they promise.
 *
 * Owns the choice between outbox and gate. What a packet says is its sender's business.
 */
import * as Encoder from "../protocol/Encoder.ts"
import type { Packet } from "../protocol/Packet.ts"
import type { Properties } from "../protocol/Property.ts"
import * as AckType from "./AckType.ts"
import type { CoreState } from "./CoreState.ts"
import type { GatedAck, GatedPacket } from "./Gate.ts"
import { PAUSED_BY_JOURNAL, type ServerConnection } from "./ServerConnection.ts"

const ACK_BYTES = 4

/** Appends a packet to the outbox. */
export const send = (core: CoreState, connection: ServerConnection, packet: Packet): void => {
  const { outbox, version } = connection
  const size = Encoder.byteLength(packet, version)
  if (size > connection.sendBytesMax) {
    sendShortened(core, connection, packet)
    return
  }
  const at = outbox.reserve(size)
  Encoder.encodeInto(packet, version, outbox.buffer, at)
  core.touch(connection)
}

/** A reason string or user property that makes a packet too large for the client is left out [MQTT-3.2.2-19]. */
const sendShortened = (core: CoreState, connection: ServerConnection, packet: Packet): void => {
  const { outbox, version } = connection
  const properties: Properties | undefined = "properties" in packet ? packet.properties : undefined
  if (properties === undefined) return
  const { reasonString: _, userProperties: __, ...rest } = properties
  const shorter = { ...packet, properties: rest } as Packet // the same packet with fewer optional properties
  const size = Encoder.byteLength(shorter, version)
  if (size > connection.sendBytesMax) return
  const at = outbox.reserve(size)
  Encoder.encodeInto(shorter, version, outbox.buffer, at)
  core.touch(connection)
}

/** Sends a packet when everything up to `sequence` is durable (0: now), behind earlier ones that wait. */
export const sendWhenDurable = (
  core: CoreState,
  connection: ServerConnection,
  sequence: number,
  packet: Packet,
  released: ((now: number) => void) | undefined,
  now: number
): void => {
  if (!isHeld(core, connection, sequence)) {
    released?.(now)
    send(core, connection, packet)
    return
  }
  connection.gate.pushPacket(sequence, packet, released)
  core.journal.gated++
  waitForStore(core, connection)
}

/** PUBACK, PUBREC, PUBREL or PUBCOMP that promises nothing new: now, unless earlier ones wait. */
export const acknowledge = (
  core: CoreState,
  connection: ServerConnection,
  type: AckType.AckType,
  packetId: number,
  reasonCode = 0
): void => {
  if (connection.gated) acknowledgeWhenDurable(core, connection, 0, type, packetId, reasonCode)
  else writeAck(core, connection, type, packetId, reasonCode)
}

/**
 * The same when everything up to `sequence` is durable, behind earlier ones that wait. Without a journal, and at reason
 * code 0, this is four bytes into the outbox.
 */
export const acknowledgeWhenDurable = (
  core: CoreState,
  connection: ServerConnection,
  sequence: number,
  type: AckType.AckType,
  packetId: number,
  reasonCode: number,
  released?: () => void
): void => {
  if (!isHeld(core, connection, sequence)) {
    released?.()
    writeAck(core, connection, type, packetId, reasonCode)
    return
  }
  connection.gate.pushAck(sequence, type, packetId, reasonCode, released)
  core.journal.gated++
  waitForStore(core, connection)
}

const writeAck = (
  core: CoreState,
  connection: ServerConnection,
  type: AckType.AckType,
  packetId: number,
  reasonCode: number
): void => {
  if (reasonCode === 0 || connection.version !== 5) {
    const { outbox } = connection
    const at = outbox.reserve(ACK_BYTES)
    Encoder.writeAck(outbox.buffer, at, type, packetId)
    core.touch(connection)
  } else {
    // The cast: callers pass a code of that packet.
    send(core, connection, { _tag: AckType.tags[type], packetId, reasonCode, properties: undefined } as Packet)
  }
}

/** What the gate has let through. */
export const release = (
  core: CoreState,
  connection: ServerConnection,
  gated: GatedPacket | GatedAck,
  now: number
): void => {
  gated.released?.(now)
  if (gated.ack === 0) send(core, connection, gated.packet)
  else writeAck(core, connection, gated.ack, gated.packetId, gated.reasonCode)
}

const isHeld = ({ journal }: CoreState, connection: ServerConnection, sequence: number): boolean =>
  journal.enabled &&
  (sequence > journal.durable || connection.gated) &&
  connection.gate.holdsPacket(sequence, journal.durable)

/** The connection has something behind its gate: above the journal's bound it is not read. */
export const waitForStore = (core: CoreState, connection: ServerConnection): void => {
  core.gated.add(connection)
  if (core.journal.waitingBytes > core.config.journalBytesMax) core.pause(connection, PAUSED_BY_JOURNAL)
}

/** The connection made the journal longer without waiting for it (a retained QoS 0, an answer): the bound holds too. */
export const waitForRoom = (core: CoreState, connection: ServerConnection): void => {
  if (core.journal.waitingBytes > core.config.journalBytesMax && !connection.hasEnded) waitForStore(core, connection)
}
