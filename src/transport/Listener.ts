/**
 * What every way of listening has in common: its configuration, the connection it hands over, and who it asks.
 *
 * A transport moves bytes and knows nothing of what they mean. A listener asks its handler about every raw connection
 * before it reads a byte of it (and, later, before TLS), then hands the connection over paused; from then on the
 * connection talks to its sink.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"

/** 0 TCP, 1 TLS, 2 WebSocket, 3 secure WebSocket: the documented numbers. */
export const Protocol = Schema.Literals([0, 1, 2, 3])
export type Protocol = typeof Protocol.Type

const defaulted = <S extends Schema.Top>(schema: S, value: S["Encoded"]) =>
  schema.pipe(Schema.withDecodingDefaultKey(Effect.succeed(value)))

const whole = (name: string, minimum: number, maximum: number) =>
  Schema.Int.check(
    Schema.isBetween({ minimum, maximum }, { message: `${name} must be a whole number from ${minimum} to ${maximum}` })
  )

export const TcpListenerConfig = Schema.Struct({
  protocol: defaulted(Schema.Literal(0), 0),
  /** The address to bind, or a name that resolves to it. Only this machine can reach the default. */
  host: defaulted(Schema.NonEmptyString, "127.0.0.1"),
  /** 0 takes any free port; the listener reports which. */
  port: defaulted(whole("port", 0, 65_535), 1883),
  /** Sends at once instead of waiting for more: output is gathered before it is written. */
  noDelay: defaulted(Schema.Boolean, true),
  /** Whether the operating system probes connections that are idle (`TCPKeepAlive`). */
  tcpKeepAlive: defaulted(Schema.Boolean, false),
  /** Idle seconds before the first probe; 0: the operating system's own. */
  tcpKeepAliveSeconds: defaulted(whole("tcpKeepAliveSeconds", 0, 32_767), 0),
  /** Connections that the operating system holds until they are accepted. */
  backlog: defaulted(whole("backlog", 1, 65_535), 511),
  /** With host "::": refuse IPv4. */
  ipv6Only: defaulted(Schema.Boolean, false)
})
export interface TcpListenerConfig extends Schema.Schema.Type<typeof TcpListenerConfig> {}

/** One member a protocol, told apart by `protocol`. */
export const ListenerConfig = Schema.Union([TcpListenerConfig])
export type ListenerConfig = typeof ListenerConfig.Type

/** What one writes: every field may be left to its default. */
export type ListenerOptions = typeof ListenerConfig.Encoded

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
}

export interface TransportConnection extends Peer {
  /** Whether the TCP keep-alive probe is on. */
  readonly tcpKeepAlive: boolean
  /** Set before the first `resume`. */
  sink: TransportSink
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

export interface ListenerHandler {
  /** Decides about a raw connection of which nothing has been read; `decide` is called once, now or later. */
  admit(peer: Peer, decide: (accepted: boolean) => void): void
  /** An admitted connection, paused: set its sink and resume it. */
  accepted(connection: TransportConnection): void
  /** A connection could not be accepted (out of file descriptors, for one); the listener goes on. */
  acceptFailed(errno: string): void
}

export interface Listener {
  readonly protocol: Protocol
  /** The bound address. */
  readonly localHost: string
  readonly localPort: number
  readonly listening: boolean
  /** Frees the address and accepts nobody any more; connections stay. */
  stopAccepting(): void
  /** Destroys every connection that came in here and is still there. */
  closeConnections(): void
}

/** The URL of a listener, as one gives it to a client. */
export const url = (listener: Pick<Listener, "protocol" | "localHost" | "localPort">): string => {
  const scheme = ["mqtt", "mqtts", "ws", "wss"][listener.protocol]
  const host = listener.localHost.includes(":") ? `[${listener.localHost}]` : listener.localHost
  return `${scheme}://${host}:${listener.localPort}`
}
