/**
 * Listening where a connection is not ready as soon as it is accepted: behind a PROXY header, a TLS handshake, a
 * WebSocket upgrade. Also what shapes a connection's output (rate, lingering), for TCP too.
 *
 * Owns the order of the stages and their deadlines: limits and the ConnectionRequest question come first, before a byte
 * is read; each stage then has the handshake timeout. The plain TCP listener (`TcpListener.ts`) pays nothing for this,
 * and what TLS and WebSocket need is only loaded by listeners that use it.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as Net from "node:net"
import { Arrival, failed, type Stages } from "./Arrival.ts"
import * as Bind from "./Bind.ts"
import { TlsSettingUnsupported } from "./CertificateError.ts"
import { peerOf } from "./Endpoint.ts"
import type * as ListenError from "./ListenError.ts"
import type {
  CertificatesOptions,
  HandshakeFailure,
  Listener,
  ListenerHandler,
  NegotiatedTls,
  Origin
} from "./Listener.ts"
import type { CertificatesConfig, ListenerConfig } from "./ListenerConfig.ts"
import * as ProxyHeader from "./ProxyHeader.ts"
import { ServerListener } from "./ServerListener.ts"
import { ShapedConnection } from "./ShapedConnection.ts"
import { TcpConnection } from "./TcpConnection.ts"
import type { TlsStage } from "./TlsStage.ts"
import type { WebSocketConnection } from "./WebSocketConnection.ts"
import type { WebSocketStage } from "./WebSocketStage.ts"

class StagedListener extends ServerListener implements Stages {
  tlsStage: TlsStage | undefined = undefined
  webSocketStage: WebSocketStage | undefined = undefined
  private readonly config: ListenerConfig
  private readonly arrivals = new Set<Arrival>()
  /** Those that have a deadline, in its order: all have the same time. */
  private readonly waiting = new Set<Arrival>()
  private readonly trusted = new Net.BlockList()
  private timer: NodeJS.Timeout | undefined = undefined

  constructor(config: ListenerConfig, handler: ListenerHandler) {
    super(config, handler)
    this.config = config
    for (const network of config.proxyProtocolFrom) {
      const [address, prefix] = network.split("/")
      const family = Net.isIPv4(address!) ? "ipv4" : "ipv6"
      if (prefix === undefined) this.trusted.addAddress(address!, family)
      else this.trusted.addSubnet(address!, Number(prefix), family)
    }
  }

  get certificate(): CertificatesConfig | undefined {
    return this.tlsStage?.certificate
  }

  get sslAuthenticateClients(): boolean {
    return this.tlsStage?.authenticatesClients ?? false
  }

  override stopAccepting(): void {
    super.stopAccepting()
    this.tlsStage?.stopAccepting()
  }

  override closeConnections(): void {
    for (const arrival of this.arrivals) arrival.raw.destroy()
    super.closeConnections()
  }

  loadCertificates(replaced: CertificatesOptions): Effect.Effect<Effect.Effect<void>, ListenError.ListenError> {
    return this.tlsStage === undefined ? Effect.succeed(Effect.void) : this.tlsStage.load(replaced)
  }

  // Stages.

  await(arrival: Arrival, what: string): void {
    arrival.phase = "handshake"
    arrival.waitingFor = what
    arrival.dueAt = Date.now() + this.config.handshakeTimeoutSeconds * 1_000
    this.waiting.delete(arrival)
    this.waiting.add(arrival)
    this.arm()
  }

  hold(arrival: Arrival): void {
    arrival.phase = "undecided"
    this.waiting.delete(arrival)
  }

  progress(arrival: Arrival, message: () => string): void {
    this.handler.progress(arrival.connectionId, message)
  }

  fail(arrival: Arrival, failure: HandshakeFailure, response?: string): void {
    if (arrival.phase === "over") return
    arrival.phase = "over"
    this.progress(arrival, () => failure.description)
    this.handler.prepared(arrival.connectionId, failure)
    // It keeps its deadline: a client that does not take the response is not waited for.
    if (response === undefined) arrival.raw.destroy()
    else arrival.stream.end(response, () => arrival.raw.destroy())
  }

  tlsImpaired(code: 270 | 280, description: string): void {
    this.handler.tlsImpaired(code, description)
  }

  protected connected(socket: Net.Socket): void {
    const arrival = new Arrival(socket, peerOf(socket, this.protocol))
    this.arrivals.add(arrival)
    // What a socket fails with before it is ready is told by its end.
    socket.on("error", () => {})
    socket.on("close", () => this.lost(arrival))
    if (this.isTrusted(arrival)) this.readHeader(arrival)
    else this.admit(arrival)
  }

  private isTrusted({ peer }: Arrival): boolean {
    return this.trusted.check(peer.remoteHost, Net.isIPv6(peer.remoteHost) ? "ipv6" : "ipv4")
  }

  /** Its header comes before the question about it, so that the question is about who it is. */
  private readHeader(arrival: Arrival): void {
    const { raw } = arrival
    const id = this.handler.preparing(arrival.peer)
    if (id === undefined) {
      raw.destroy()
      return
    }
    arrival.connectionId = id
    this.await(arrival, "a PROXY header")
    let received = Buffer.alloc(0)
    const onData = (bytes: Buffer): void => {
      received = Buffer.concat([received, bytes])
      const header = ProxyHeader.parse(received)
      if (header._tag === "Incomplete") return
      raw.pause()
      raw.removeListener("data", onData)
      if (header._tag === "Invalid") {
        this.refuseHeader(arrival)
        return
      }
      this.hold(arrival)
      this.handler.prepared(id, undefined)
      arrival.connectionId = ""
      if (header.addresses !== undefined) arrival.peer = { ...header.addresses, protocol: this.protocol }
      if (received.length > header.bytes) raw.unshift(received.subarray(header.bytes))
      this.admit(arrival)
    }
    raw.on("data", onData)
    raw.resume()
  }

  private refuseHeader(arrival: Arrival): void {
    if (arrival.phase === "over") return
    arrival.phase = "over"
    this.handler.prepared(arrival.connectionId, undefined)
    this.handler.headerRefused(arrival.peer)
    arrival.raw.destroy()
  }

  private admit(arrival: Arrival): void {
    this.ask(
      arrival.raw,
      (decide) => this.handler.admit(arrival.peer, decide),
      (accepted) => {
        // It may have gone while the question was open, or the listener closed.
        if (!arrival.isOpen) return
        if (accepted) this.prepare(arrival)
        else arrival.raw.destroy()
      }
    )
  }

  private prepare(arrival: Arrival): void {
    const { tlsStage, webSocketStage } = this
    if (tlsStage === undefined && webSocketStage === undefined) {
      this.ready(arrival, new TcpConnection(arrival.raw, this.originOf(arrival)))
      return
    }
    const id = this.handler.preparing(arrival.peer)
    if (id === undefined) {
      arrival.raw.destroy()
      return
    }
    arrival.connectionId = id
    if (tlsStage === undefined) this.upgrade(arrival)
    else {
      this.await(arrival, "a TLS handshake")
      tlsStage.begin(arrival, (socket, tls) => this.secured(arrival, socket, tls))
    }
  }

  /** Only those who are let in go on to the next stage: also, a WebSocket upgrade comes after this question. */
  private secured(arrival: Arrival, socket: Net.Socket, tls: NegotiatedTls): void {
    arrival.stream = socket
    arrival.tls = tls
    this.progress(arrival, () => `TLS handshake completed: ${tls.version}, ${tls.cipherSuite}`)
    const proceed = () => {
      if (this.webSocketStage !== undefined) this.upgrade(arrival)
      else this.ready(arrival, new TcpConnection(socket, this.originOf(arrival)))
    }
    const presented = this.tlsStage!.clientCertificate(arrival)
    if (presented === undefined) {
      proceed()
      return
    }
    this.hold(arrival)
    const { certSubject, status } = presented
    this.progress(arrival, () => `Client certificate ${certSubject === "" ? "" : `of ${certSubject} `}(${status})`)
    this.ask(
      arrival.raw,
      (decide) => this.handler.authenticate(presented, decide),
      (accepted) => {
        if (!arrival.isOpen) return
        if (accepted) {
          const fault = this.tlsStage!.identify(arrival)
          if (fault === undefined) proceed()
          else this.fail(arrival, { code: 280, description: fault })
        } else if (certSubject === "") this.fail(arrival, { code: 281, description: `Client certificate: ${status}` })
        else this.fail(arrival, { code: 280, description: `The client certificate was not accepted (${status})` })
      }
    )
  }

  private upgrade(arrival: Arrival): void {
    this.await(arrival, "a WebSocket upgrade")
    this.webSocketStage!.begin(
      arrival,
      () => this.originOf(arrival),
      (connection) => this.ready(arrival, connection)
    )
  }

  private originOf({ connectionId, peer, tls, userName }: Arrival): Origin {
    const tcpKeepAlive = Bind.probes(this.config)
    return { ...peer, connectionId: connectionId === "" ? undefined : connectionId, userName, tls, tcpKeepAlive }
  }

  private ready(arrival: Arrival, connection: TcpConnection | WebSocketConnection): void {
    arrival.phase = "over"
    this.forget(arrival)
    if (arrival.connectionId !== "") this.handler.prepared(arrival.connectionId, undefined)
    this.keep(connection)
    const { linger, lingerSeconds, transferBytesPerSecondMax } = this.config
    const shaped = !linger || lingerSeconds > 0 || transferBytesPerSecondMax > 0
    this.handler.accepted(shaped ? new ShapedConnection(connection, arrival.raw, this.config) : connection)
  }

  private forget(arrival: Arrival): void {
    this.arrivals.delete(arrival)
    this.waiting.delete(arrival)
    if (this.waiting.size === 0) this.disarm()
  }

  /** The raw socket is gone. */
  private lost(arrival: Arrival): void {
    this.forget(arrival)
    if (arrival.phase === "over" || arrival.connectionId === "") {
      arrival.phase = "over"
      return
    }
    if (arrival.waitingFor === "a PROXY header") this.refuseHeader(arrival)
    else this.fail(arrival, failed(`The client went away during ${arrival.waitingFor}`))
  }

  private arm(): void {
    if (this.timer !== undefined) return
    for (const { dueAt } of this.waiting) {
      this.timer = setTimeout(this.elapsed, Math.max(dueAt - Date.now(), 1))
      return
    }
  }

  private disarm(): void {
    clearTimeout(this.timer)
    this.timer = undefined
  }

  private readonly elapsed = (): void => {
    this.timer = undefined
    const now = Date.now()
    for (const arrival of this.waiting) {
      if (arrival.dueAt > now) break
      this.waiting.delete(arrival)
      if (arrival.phase === "over") arrival.raw.destroy()
      else if (arrival.waitingFor === "a PROXY header") this.refuseHeader(arrival)
      else {
        const { handshakeTimeoutSeconds } = this.config
        this.fail(arrival, failed(`The client took longer than ${handshakeTimeoutSeconds} s for ${arrival.waitingFor}`))
      }
    }
    this.arm()
  }
}

/** What the protocol needs besides sockets, loaded only now; certificates are opened before the address is bound. */
const stages = Effect.fnUntraced(function* (config: ListenerConfig, listener: StagedListener) {
  if (config.protocol === 1 || config.protocol === 3) {
    const TlsStage = yield* Effect.tryPromise({
      try: () => import("./TlsStage.ts"),
      catch: (error) =>
        new TlsSettingUnsupported({ setting: "TLS", detail: `${String(error)}. Use a Node with OpenSSL.` })
    })
    listener.tlsStage = yield* TlsStage.make(config, listener)
  }
  if (config.protocol === 2 || config.protocol === 3) {
    const WebSocketStage = yield* Effect.promise(() => import("./WebSocketStage.ts"))
    listener.webSocketStage = yield* WebSocketStage.make(config, listener)
  }
})

/**
 * Binds the address and starts to accept. Fails with the reason when that, or its certificate, is not possible; then
 * nothing of it is left in the scope, which may be that of an address where it is tried again.
 */
export const make: (
  config: ListenerConfig,
  handler: ListenerHandler
) => Effect.Effect<Listener, ListenError.ListenError, Scope.Scope> = Effect.fnUntraced(function* (config, handler) {
  const listener = new StagedListener(config, handler)
  const scope = yield* Scope.fork(yield* Effect.scope)
  return yield* stages(config, listener).pipe(
    Effect.andThen(listener.open(config)),
    Scope.provide(scope),
    Effect.onError((cause) => Scope.close(scope, Exit.failCause(cause)))
  )
})
