/**
 * One message on its way to one session: its place in the queue, its packet id, its documented state.
 */
import type { QoS } from "../protocol/Packet.ts"
import type { Message } from "./Message.ts"
import type { OutgoingState } from "./MessageState.ts"

export class Outgoing {
  readonly messageId: number
  /** Grows within a session: its place in the order of delivery, and its name in the store. */
  readonly order: number
  readonly message: Message
  readonly qos: QoS
  readonly retain: boolean
  readonly subscriptionIdentifiers: ReadonlyArray<number> | undefined
  state: OutgoingState = 1
  /** The shared subscription it came by: it may be given to another member when this session ends. */
  sharedFilter: string | undefined = undefined
  /** 0 before one is allocated. */
  packetId = 0
  /** Its place among what the journal has yet to give to the store; -1: it is not there. */
  journalPlace = -1

  constructor(
    messageId: number,
    order: number,
    message: Message,
    qos: QoS,
    retain: boolean,
    subscriptionIdentifiers: ReadonlyArray<number> | undefined
  ) {
    this.messageId = messageId
    this.order = order
    this.message = message
    this.qos = qos
    this.retain = retain
    this.subscriptionIdentifiers = subscriptionIdentifiers
  }
}
