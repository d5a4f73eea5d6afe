/**
 * What every way of listening has in common: the connection it hands over, and who it asks. Its configuration is in
 * `ListenerConfig.ts`.
 *
 * A transport moves bytes and knows nothing of what they mean. A listener asks its handler about every raw connection
 * before it reads a byte of it, and before TLS; then, where there is a handshake (TLS, WebSocket), tells how it goes
 * and asks about the client's certificate; then hands the connection over paused. From then on the connection talks to
 * its sink.
 */
import type * as Effect from "effect/Effect"
import type { ListenError } from "./ListenError.ts"
import type { CertificatesConfig, CertificatesOptions, Protocol } from "./ListenerConfig.ts"

export {
  CertificatesConfig,
  type CertificatesOptions,
  ListenerConfig,
  type ListenerOptions,
  Protocol,
  TcpListenerConfig
} from "./ListenerConfig.ts"

/** A raw connection that asks to come in. */
export interface Peer {
  readonly remoteHost: string
  readonly remotePort: number
  readonly localHost: string
  readonly localPort: number
  readonly protocol: Protocol
}

/** Who a connection tells. One object instead of three closures: there may be a hundred thousand connections. */
export interface TransportSink {
  /** The bytes are the sink's to keep. */
  onData(bytes: Uint8Array): void
  /** The socket accepted bytes that had to wait: `writableLength` has shrunk. */
  onDrain(): void
  /** Once, and nothing after it. `errno` is the operating system's name of the failure; undefined: an orderly end. */
  onClose(errno: string | undefined): void
  /**
   * Most bytes that may be gathered of a message that is incomplete, where messages have to be gathered (WebSocket).
   * Asked while bytes come; once it is undefined, for good, only the transport's own limit holds.
   */
  readonly gatheredBytesMax?: number | undefined
}

/** What TLS agreed on: the documented `SSLNegotiated…` settings. */
export interface NegotiatedTls {
  /** `TLSv1.3`. */
  readonly version: string
  /** OpenSSL's name of the cipher suite. */
  readonly cipher: string
  /** Bits. */
  readonly cipherStrength: number
  /** The standard name of the cipher suite. */
  readonly cipherSuite: string
  /** `ECDHE`, `DHE` or `RSA`; "" in TLS 1.3, where it is not part of the cipher suite. */
  readonly keyExchange: string
}

/** How a connection came in. */
export interface Origin extends Peer {
  /** The id that its handshake had; without one the core gives it. */
  readonly connectionId?: string | undefined
  /** Who its certificate says that it is, where that is wanted (`sslCertUserName`). */
  readonly userName?: string | undefined
  readonly tls?: NegotiatedTls | undefined
  /** Whether the TCP keep-alive probe is on. */
  readonly tcpKeepAlive: boolean
}

export interface TransportConnection extends Origin {
  /** Set before the first `resume`. */
  sink: TransportSink
  /** False as soon as the peer is known to be gone, which is before `onClose`: what is written then reaches nobody. */
  readonly isOpen: boolean
  /** Bytes given to `write` that the operating system has not accepted; 0: it keeps no reference to them either. */
  readonly writableLength: number
  /** Writes all of them together. The bytes must not change until `writableLength` is 0. */
  write(chunks: ReadonlyArray<Uint8Array>): void
  pause(): void
  /** A connection is handed over paused. */
  resume(): void
  /** Closes in order, after everything written has been sent; the peer decides when `onClose` follows. */
  end(): void
  /** Closes at once. `onClose` follows. */
  destroy(): void
}

/** A client's certificate: the documented fields of the question about it. */
export interface ClientCertificate {
  readonly connectionId: string
  /** The certificate in DER, as base64; "" when the client presented none. */
  readonly certEncoded: string
  /** The same as bytes. */
  readonly certEncodedB: Uint8Array
  readonly certSubject: string
  readonly certIssuer: string
  /** "OK", or why it could not be verified. */
  readonly status: string
  /** Whether it could be verified. */
  readonly accept: boolean
}

/** Why a connection did not get through its handshake, with the documented code. */
export interface HandshakeFailure {
  readonly code: 276 | 280 | 281
  readonly description: string
}

/** A question that is open. Closing it says that nobody wants the answer any more: it is not given then. */
export type OpenQuestion = { readonly close: () => void } | undefined

export interface ListenerHandler {
  /** Decides about a raw connection of which nothing has been read; `decide` is called once, now or later. */
  admit(peer: Peer, decide: (accepted: boolean) => void): OpenQuestion
  /** An admitted connection, paused: set its sink and resume it. */
  accepted(connection: TransportConnection): void
  /**
   * A connection could not be accepted; the listener goes on. Not told where Node's event loop closes a connection that
   * there is no file descriptor for, which it does on Linux.
   */
  acceptFailed(errno: string): void
  /**
   * Not about a connection: the status of the listener's certificate is bad, or could not be found out (280); or the
   * secrets of connections can no longer be written down (270). The listener goes on.
   */
  tlsImpaired(code: 270 | 280, description: string): void
  /** A handshake begins. Returns its connection id; undefined: there is no room for it. It counts until it is over. */
  preparing(peer: Peer): string | undefined
  /** How a handshake goes, in words. */
  progress(connectionId: string, message: () => string): void
  /** Decides about a client's certificate; `decide` is called once, now or later. */
  authenticate(certificate: ClientCertificate, decide: (accepted: boolean) => void): OpenQuestion
  /** A handshake is over: `accepted` comes next, or there was a failure, or (neither) it counts as never begun. */
  prepared(connectionId: string, failure: HandshakeFailure | undefined): void
  /** A connection without a valid PROXY protocol header was closed. */
  headerRefused(peer: Peer): void
}

export interface Listener {
  readonly protocol: Protocol
  /** The bound address. */
  readonly localHost: string
  readonly localPort: number
  readonly listening: boolean
  /** Where its certificate comes from, if it has one. */
  readonly certificate?: CertificatesConfig | undefined
  readonly sslAuthenticateClients?: boolean | undefined
  /** Frees the address and accepts nobody any more; connections stay. */
  stopAccepting(): void
  /** Destroys every connection that came in here and is still there. */
  closeConnections(): void
  /**
   * With TLS: loads certificates again, those it has with what is given in place of theirs. Nothing changes until the
   * effect that this succeeds with puts them in use: connections stay, new ones see them.
   */
  loadCertificates?(replaced: CertificatesOptions): Effect.Effect<Effect.Effect<void>, ListenError>
}

/** The URL of a listener, as one gives it to a client. */
export const url = (listener: Pick<Listener, "protocol" | "localHost" | "localPort">): string => {
  const scheme = ["mqtt", "mqtts", "ws", "wss"][listener.protocol]
  const host = listener.localHost.includes(":") ? `[${listener.localHost}]` : listener.localHost
  return `${scheme}://${host}:${listener.localPort}`
}
