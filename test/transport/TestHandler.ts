/**
 * A listener's handler that lets everybody in, unless told otherwise, and keeps what it is told.
 */
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import * as Net from "node:net"
import type * as Listener from "../../src/transport/Listener.ts"
import * as ListenerConfig from "../../src/transport/ListenerConfig.ts"
import * as StagedListener from "../../src/transport/StagedListener.ts"

export interface TestHandler {
  readonly handler: Listener.ListenerHandler
  readonly connections: Queue.Queue<Listener.TransportConnection>
  readonly failures: Queue.Queue<Listener.HandshakeFailure>
  readonly refusedHeaders: Queue.Queue<Listener.Peer>
  /** What was told about the listener's own certificate. */
  readonly doubts: Queue.Queue<string>
  /** Everything in the order in which it was told. */
  readonly log: Array<string>
  readonly certificates: Array<Listener.ClientCertificate>
  /** Ids of handshakes that are not over. */
  readonly underway: Set<string>
}

export const make: (overrides?: Partial<Listener.ListenerHandler>) => Effect.Effect<TestHandler> = Effect.fnUntraced(
  function* (overrides: Partial<Listener.ListenerHandler> = {}) {
    const connections = yield* Queue.unbounded<Listener.TransportConnection>()
    const failures = yield* Queue.unbounded<Listener.HandshakeFailure>()
    const refusedHeaders = yield* Queue.unbounded<Listener.Peer>()
    const doubts = yield* Queue.unbounded<string>()
    const log: Array<string> = []
    const certificates: Array<Listener.ClientCertificate> = []
    const underway = new Set<string>()
    let ids = 0
    const handler: Listener.ListenerHandler = {
      admit: (_peer, decide) => {
        log.push("admit")
        decide(true)
        return undefined
      },
      accepted: (connection) => {
        log.push("accepted")
        Queue.offerUnsafe(connections, connection)
      },
      acceptFailed: () => {},
      tlsImpaired: (_code, description) => Queue.offerUnsafe(doubts, description),
      preparing: () => {
        log.push("preparing")
        const id = String(++ids)
        underway.add(id)
        return id
      },
      progress: (_id, message) => log.push(message()),
      authenticate: (certificate, decide) => {
        log.push("authenticate")
        certificates.push(certificate)
        decide(certificate.accept)
        return undefined
      },
      prepared: (id, failure) => {
        underway.delete(id)
        if (failure !== undefined) Queue.offerUnsafe(failures, failure)
      },
      headerRefused: (peer) => Queue.offerUnsafe(refusedHeaders, peer),
      ...overrides
    }
    return { handler, connections, failures, refusedHeaders, doubts, log, certificates, underway }
  }
)

/** A listener of any protocol on a free port. */
export const listen = (options: Listener.ListenerOptions, { handler }: TestHandler) =>
  ListenerConfig.decode({ port: 0, ...options }).pipe(
    Effect.orDie,
    Effect.flatMap((config) => StagedListener.make(config, handler))
  )

/** Loads certificates again, and puts them in use. */
export const replace = (listener: Listener.Listener, replaced: Listener.CertificatesOptions = {}) =>
  Effect.flatten(listener.loadCertificates!(replaced))

/** A TCP connection, closed with the scope. */
export const dial = (
  port: number,
  options: Partial<Net.TcpNetConnectOpts> = {}
): Effect.Effect<Net.Socket, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.callback<Net.Socket>((resume) => {
      const socket = Net.connect({ port, host: "127.0.0.1", ...options })
      socket.on("error", () => {})
      socket.once("connect", () => resume(Effect.succeed(socket)))
    }),
    (socket) => Effect.sync(() => socket.destroy())
  )

export const closed = (socket: Net.Socket): Effect.Effect<void> =>
  Effect.callback((resume) => {
    socket.resume()
    if (socket.closed) resume(Effect.void)
    else socket.once("close", () => resume(Effect.void))
  })

/** The first bytes that come, at least so many. */
export const dataOf = (socket: Net.Socket, bytes: number): Effect.Effect<Buffer> =>
  Effect.callback((resume) => {
    const chunks: Array<Buffer> = []
    let length = 0
    const onData = (chunk: Buffer) => {
      chunks.push(chunk)
      length += chunk.length
      if (length < bytes) return
      socket.removeListener("data", onData)
      resume(Effect.succeed(Buffer.concat(chunks)))
    }
    socket.on("data", onData)
  })

export interface Heard {
  readonly bytes: Queue.Queue<Buffer>
  readonly ends: Queue.Queue<string | undefined>
  readonly drains: Array<number>
}

/** Resumes a connection and keeps what it says. */
export const hear: (connection: Listener.TransportConnection) => Effect.Effect<Heard> = Effect.fnUntraced(
  function* (connection) {
    const bytes = yield* Queue.unbounded<Buffer>()
    const ends = yield* Queue.unbounded<string | undefined>()
    const drains: Array<number> = []
    connection.sink = {
      onData: (chunk) => Queue.offerUnsafe(bytes, Buffer.from(chunk)),
      onDrain: () => drains.push(connection.writableLength),
      onClose: (errno) => Queue.offerUnsafe(ends, errno)
    }
    connection.resume()
    return { bytes, ends, drains }
  }
)
