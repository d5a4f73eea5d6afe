/**
 * What every connection is besides how it moves bytes: who is at its ends, how it came in, and whom it tells.
 */
import type * as Net from "node:net"
import type { NegotiatedTls, Origin, Peer, TransportSink } from "./Listener.ts"
import type { Protocol } from "./ListenerConfig.ts"

/** IPv4 addresses of a socket that listens for both families come as `::ffff:1.2.3.4`. */
const plain = (address: string | undefined): string =>
  address === undefined ? "" : address.startsWith("::ffff:") ? address.slice(7) : address

/** Who is at both ends of a socket. */
export const peerOf = (socket: Net.Socket, protocol: Protocol): Peer => ({
  remoteHost: plain(socket.remoteAddress),
  remotePort: socket.remotePort ?? 0,
  localHost: plain(socket.localAddress),
  localPort: socket.localPort ?? 0,
  protocol
})

const silent: TransportSink = { onData: () => {}, onDrain: () => {}, onClose: () => {} }

export abstract class Endpoint implements Origin {
  readonly remoteHost: string
  readonly remotePort: number
  readonly localHost: string
  readonly localPort: number
  readonly protocol: Protocol
  readonly connectionId: string | undefined
  readonly userName: string | undefined
  readonly tls: NegotiatedTls | undefined
  readonly tcpKeepAlive: boolean
  sink: TransportSink = silent

  constructor(origin: Origin) {
    this.remoteHost = origin.remoteHost
    this.remotePort = origin.remotePort
    this.localHost = origin.localHost
    this.localPort = origin.localPort
    this.protocol = origin.protocol
    this.connectionId = origin.connectionId
    this.userName = origin.userName
    this.tls = origin.tls
    this.tcpKeepAlive = origin.tcpKeepAlive
  }

  abstract destroy(): void
}
