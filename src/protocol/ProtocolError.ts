/**
 * What is wrong with bytes or a topic that a peer sent, as plain data.
 *
 * Pure code returns it and never throws it: bad input is ordinary on the packet path, and a stack trace per bad packet
 * would make every attacker expensive. It does not decide what happens next; whoever receives it closes the
 * connection, refuses one filter, or turns it into a typed error of the Effect shell.
 */

/** The MQTT 5.0 reason codes that a fault in received data can have. */
export type ProtocolErrorReasonCode =
  | 0x81 // malformed packet
  | 0x82 // protocol error
  | 0x84 // unsupported protocol version
  | 0x85 // client identifier not valid
  | 0x8f // topic filter invalid
  | 0x90 // topic name invalid
  | 0x93 // receive maximum exceeded
  | 0x94 // topic alias invalid
  | 0x95 // packet too large
  | 0x97 // quota exceeded
  | 0x99 // payload format invalid
  | 0x9a // retain not supported
  | 0x9b // QoS not supported

/** The documented broker error codes: 600 protocol error, 601 invalid topic name (or filter). */
export type ProtocolErrorCode = 600 | 601

export class ProtocolError {
  readonly _tag = "ProtocolError"
  /** What a 5.0 peer is told in CONNACK, DISCONNECT, or an acknowledgement. */
  readonly reasonCode: ProtocolErrorReasonCode
  readonly code: ProtocolErrorCode
  /** A sentence, with the clause of the standard in brackets where there is one. */
  readonly message: string

  constructor(reasonCode: ProtocolErrorReasonCode, message: string, code: ProtocolErrorCode = 600) {
    this.reasonCode = reasonCode
    this.code = code
    this.message = message
  }
}

/** Bytes that cannot be parsed: reason code 0x81. */
export const malformed = (message: string): ProtocolError => new ProtocolError(0x81, message)

/** Bytes that parse, and say what they must not: reason code 0x82. */
export const violation = (message: string): ProtocolError => new ProtocolError(0x82, message)
