/**
 * A QoS 2 message that a client has begun to hand over: kept from PUBLISH, routed once, at PUBREL.
 */
import type { Message } from "./Message.ts"
import type { IncomingState } from "./MessageState.ts"

export class IncomingMessage {
  readonly packetId: number
  readonly message: Message
  /** The journal sequence that must be durable before a PUBREC for it is visible; 0: none. */
  readonly sequence: number
  /** The client has said of a PUBLISH of it that it is a duplicate. */
  dup: boolean
  state: IncomingState = 7

  constructor(packetId: number, message: Message, sequence: number, dup: boolean) {
    this.packetId = packetId
    this.message = message
    this.sequence = sequence
    this.dup = dup
  }
}
