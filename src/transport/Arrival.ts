/**
 * A raw connection on its way to become a `TransportConnection`: what is known of it so far.
 *
 * Plain state. `StagedListener` moves it from stage to stage and ends it.
 */
import type * as Net from "node:net"
import type { HandshakeFailure, NegotiatedTls, Peer } from "./Listener.ts"

/**
 * `undecided`: somebody is asked. `handshake`: it is up to the client, and has a deadline. `over`: handed on, or gone.
 */
export type Phase = "undecided" | "handshake" | "over"

export class Arrival {
  readonly raw: Net.Socket
  /** Who it is, as the PROXY header says where one is believed. */
  peer: Peer
  /** "" until a handshake begins. */
  connectionId = ""
  /** What bytes come through: the raw socket, or TLS over it. */
  stream: Net.Socket
  tls: NegotiatedTls | undefined = undefined
  /** Who its certificate says that it is. */
  userName: string | undefined = undefined
  phase: Phase = "undecided"
  /** Milliseconds since the epoch. */
  dueAt = Number.POSITIVE_INFINITY
  /** What it is waited for, in a message about its deadline. */
  waitingFor = ""

  constructor(raw: Net.Socket, peer: Peer) {
    this.raw = raw
    this.stream = raw
    this.peer = peer
  }

  get isOpen(): boolean {
    return this.phase !== "over" && !this.raw.destroyed
  }
}

/** What a stage does with its arrival. */
export interface Stages {
  /** The client has until the handshake timeout. `what` is for messages. */
  await(arrival: Arrival, what: string): void
  /** The deadline stands still: somebody else is asked. */
  hold(arrival: Arrival): void
  progress(arrival: Arrival, message: () => string): void
  /** It did not work out: told as an event. The connection is closed, after the response if there is one. */
  fail(arrival: Arrival, failure: HandshakeFailure, response?: string): void
  /** Not about an arrival: see `ListenerHandler`. */
  tlsImpaired(code: 270 | 280, description: string): void
}

/** "Error during handshake". */
export const failed = (description: string): HandshakeFailure => ({ code: 276, description })
