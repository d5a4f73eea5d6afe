/**
 * One client's connection as the core sees it: what was negotiated, what waits in each direction, who is behind.
 *
 * Owns plain state. `BrokerCore` creates it; the handlers (`Connecting`, `Publishing`, …) move it. The session
 * outlives it.
 */
import type { ConnectionId } from "./ConnectionId.ts"
import type { Decoder } from "../protocol/Decoder.ts"
import type { ProtocolVersion } from "../protocol/Packet.ts"
import { Gate } from "./Gate.ts"
import type { Outbox } from "./Outbox.ts"
import type { Outgoing } from "./Outgoing.ts"
import type { OutgoingAliases } from "./OutgoingAliases.ts"
import type { Answer } from "./Question.ts"
import type { Route } from "./Router.ts"
import type { Session } from "./Session.ts"
import type { Unhanded } from "./Unhanded.ts"

/** How the connection came in; the documented Connection fields. */
export interface ConnectionInfo {
  readonly remoteHost: string
  readonly remotePort: number
  readonly localHost: string
  readonly localPort: number
  /** 0 TCP, 1 TLS, 2 WebSocket, 3 secure WebSocket. */
  readonly protocol: 0 | 1 | 2 | 3
  /** Whether the TCP keep-alive probe is on. */
  readonly tcpKeepAlive: boolean
  /** The id that it was given before it was open, while a handshake was underway. */
  readonly connectionId?: string | undefined
  /** Who its certificate says that it is; then CONNECT has no say in that. */
  readonly userName?: string | undefined
  readonly tls?: NegotiatedTls | undefined
}

/** What TLS agreed on; the documented `SSLNegotiated…` settings of a connection. */
export interface NegotiatedTls {
  readonly version: string
  readonly cipher: string
  readonly cipherStrength: number
  readonly cipherSuite: string
  readonly keyExchange: string
}

export interface AuthenticationOutcome {
  /** With the data for CONNACK. */
  readonly succeeded: (data: Uint8Array | undefined, now: number) => void
  readonly refused: (answer: Answer, now: number) => void
}

export interface Authentication {
  readonly method: string
  /** Steps taken so far. */
  step: number
  /** The client's next AUTH is expected. */
  underway: boolean
  /** What CONNECT does with the end of its exchange; undefined from then on, and for those of a connected client. */
  outcome: AuthenticationOutcome | undefined
}

/**
 * awaiting-connect: nothing but CONNECT is legal. connecting: CONNECT is being decided or waits for the store.
 * connected: CONNACK is released. ending: a close was asked for, input is ignored. closed: the transport is gone.
 */
export type Phase = "awaiting-connect" | "connecting" | "connected" | "ending" | "closed"

/** Why a connection is not read. */
export const PAUSED_BY_CONSUMER = 1
export const PAUSED_BY_JOURNAL = 2
export const PAUSED_BY_HOLDING = 4
export const PAUSED_BY_OUTPUT = 8
export const PAUSED_BY_WORK = 16

export class ServerConnection {
  /** A decimal number, unique in this broker process. */
  readonly id: ConnectionId
  readonly info: ConnectionInfo
  readonly decoder: Decoder
  readonly outbox: Outbox
  /** The shell's own object for this connection: from a dirty outbox to its socket without a look-up. */
  driver: unknown = undefined
  phase: Phase = "awaiting-connect"
  version: ProtocolVersion = 4
  session: Session | undefined = undefined
  /** How many CONNECTs the broker had got when this one's came, itself included. */
  connectNumber = 0
  clientId = ""
  userName = ""
  /** Client's Keep Alive × 1.5, in milliseconds; 0: off. */
  keepAliveMillis = 0
  receivedAt: number
  /** When the transport came up. */
  readonly openedAt: number
  /** Input waits: a question is open, or CONNACK waits for the store. */
  holding = false
  /** An enhanced authentication that is underway, or was completed [MQTT-4.12]. */
  authentication: Authentication | undefined = undefined
  /** Goes with CONNACK. */
  authenticationData: Uint8Array | undefined = undefined
  /** Continues what an open question interrupted. */
  resume: ((now: number) => void) | undefined = undefined
  /** The open question; 0: none. */
  questionId = 0

  /** Client's Receive Maximum, at most `inflightMax`. */
  sendMaximum = 0
  /** Client's Maximum Packet Size. */
  sendBytesMax = Number.POSITIVE_INFINITY
  /** Client's Request Problem Information: reason strings and user properties are welcome [MQTT-3.1.2-29]. */
  problemInformation = true
  /** The session expiry that CONNECT asked for: DISCONNECT may not make 0 non-zero. */
  requestedExpirySeconds = 0
  /** Since when a packet is held back because the store is full; 0: none is. */
  heldSince = 0
  /** What topic aliases from the client stand for. */
  aliases: Array<string | undefined> | undefined = undefined
  /** Topic aliases towards the client; undefined: it allows none. */
  outgoingAliases: OutgoingAliases | undefined = undefined
  /** Of a resumed session: exchanges whose PUBLISH has not been sent again yet, oldest first. */
  unsent: Set<Outgoing> | undefined = undefined
  /** While somebody listens: PUBLISH packets that the socket has not been given yet. */
  unhanded: Unhanded | undefined = undefined

  lastTopic = ""
  lastRoute: Route | undefined = undefined

  /** Bytes handed to the socket that it has not accepted yet; reported by the shell. */
  bufferedBytes = 0
  /** When the socket last accepted bytes, or last had nothing to accept. */
  acceptedAt: number
  /** Publishers that are not read until this connection's reader has caught up. */
  waiters: Set<ServerConnection> | undefined = undefined
  /** When the first of them began to wait; 0: nobody waits. */
  waitersSince = 0
  /** Waiting for this reader did not help within `pauseMillisMax`: drop instead, until it has caught up. */
  hopeless = false
  /** How many readers this publisher waits for. */
  waitsFor = 0
  /** Bytes that the socket has accepted so far. */
  accepted = 0
  /** The same when publishers began to wait for it. */
  acceptedBefore = 0
  /** When its deadlines are looked at next, in milliseconds since the epoch. */
  checkAt = Number.POSITIVE_INFINITY
  private pauses = 0
  /** Whether the shell should read from the socket. */
  reading = true
  /** Whether it is on the core's list of reading changes. */
  readingChanged = false

  private openGate: Gate | undefined = undefined

  constructor(id: ConnectionId, info: ConnectionInfo, decoder: Decoder, outbox: Outbox, now: number) {
    this.id = id
    this.info = info
    this.decoder = decoder
    this.outbox = outbox
    this.openedAt = now
    this.receivedAt = now
    this.acceptedAt = now
  }

  /** A close was asked for, or the transport is gone: what still comes in is ignored, and nothing ends it again. */
  get hasEnded(): boolean {
    return this.phase === "ending" || this.phase === "closed"
  }

  /** Made on first use: without a journal nothing ever waits. */
  get gate(): Gate {
    this.openGate ??= new Gate()
    return this.openGate
  }

  get gated(): boolean {
    return this.openGate !== undefined && !this.openGate.isEmpty
  }

  /** QoS 1 messages whose PUBACK waits for the store. */
  get unacknowledged(): number {
    return this.openGate === undefined ? 0 : this.openGate.pubAcks
  }

  /** What its gate will let into the outbox. */
  get gatedBytes(): number {
    return this.openGate === undefined ? 0 : this.openGate.deliveryBytes
  }

  /** Everything that waits for this reader. */
  get waitingBytes(): number {
    return this.outbox.bytes + this.bufferedBytes
  }

  get paused(): boolean {
    return this.pauses !== 0
  }

  /** Returns whether `reading` changed. */
  pause(why: number): boolean {
    this.pauses |= why
    const changed = this.reading
    this.reading = false
    return changed
  }

  /** Returns whether `reading` changed. The client could not be heard meanwhile: its silence is counted from now. */
  unpause(why: number, now: number): boolean {
    this.pauses &= ~why
    if (this.pauses !== 0 || this.reading) return false
    this.reading = true
    this.receivedAt = now
    return true
  }

  /** What waits there is not shown any more. Returns how many packets that were. */
  dropGate(): number {
    const dropped = this.openGate?.packets.length ?? 0
    this.openGate = undefined
    return dropped
  }
}
