/**
 * A message is told as being sent when the socket has been given the last byte of its PUBLISH, not when that is written
 * to the outbox: a slow reader's bytes wait in between, and an interrupt may throw them away.
 *
 * Owns what is told then. Which packets the socket has is in `Unhanded.ts`.
 */
import type { CoreState } from "./CoreState.ts"
import * as MessageEvents from "./MessageEvents.ts"
import { outgoingAfter } from "./MessageState.ts"
import type { Outgoing } from "./Outgoing.ts"
import type { ServerConnection } from "./ServerConnection.ts"
import { type Exchange, Unhanded, type UnhandedPacket } from "./Unhanded.ts"

/** A PUBLISH of QoS 0 is in the outbox, as the last that is there. */
export const writtenQos0 = (core: CoreState, connection: ServerConnection, messageId: number, retain: boolean): void =>
  written(core, connection, messageId * 2 + (retain ? 1 : 0))

/** The same of an exchange. */
export const writtenExchange = (
  core: CoreState,
  connection: ServerConnection,
  outgoing: Outgoing,
  dup: boolean
): void => written(core, connection, { outgoing, dup })

const written = (core: CoreState, connection: ServerConnection, packet: UnhandedPacket): void => {
  const { MessageSending, MessageSent, OutgoingMessageStatus } = core.events.wants
  if (!MessageSending && !MessageSent && !OutgoingMessageStatus) return
  const { outbox } = connection
  connection.unhanded ??= new Unhanded()
  connection.unhanded.push(outbox.handedOver + outbox.bytes, packet)
}

/** The socket has been given all that was taken from the outbox, but for the last `heldBytes`. */
export const handed = (core: CoreState, connection: ServerConnection, unhanded: Unhanded, heldBytes: number): void => {
  const through = connection.outbox.handedOver - heldBytes
  for (let packet = unhanded.shift(through); packet !== undefined; packet = unhanded.shift(through)) {
    if (typeof packet === "number") tellQos0(core, connection, packet)
    else tellExchange(core, connection, packet)
  }
  if (unhanded.isEmpty) connection.unhanded = undefined
}

const tellQos0 = (core: CoreState, connection: ServerConnection, packet: number): void => {
  const retain = packet % 2 === 1
  const subject = { messageId: (packet - (retain ? 1 : 0)) / 2, qos: 0, retain, packetId: 0 } as const
  MessageEvents.sending(core, connection, subject, false)
  MessageEvents.outgoingStatus(core, connection, subject, outgoingAfter.sendQos0[1]!, false)
  MessageEvents.sent(core, connection, subject)
}

/**
 * Nothing is told of one that the client has answered: it has it from its former connection, or claims to have what it
 * has not been sent. What follows an answer is told already.
 */
const tellExchange = (core: CoreState, connection: ServerConnection, { dup, outgoing }: Exchange): void => {
  if (outgoing.state !== 2 && outgoing.state !== 3) return
  MessageEvents.sending(core, connection, outgoing, dup)
  MessageEvents.outgoingStatus(core, connection, outgoing, outgoing.state, dup)
}
