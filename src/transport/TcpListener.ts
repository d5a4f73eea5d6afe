/**
 * Listening on TCP: a scoped resource around a `net.Server` of its own.
 *
 * Closing the scope stops accepting and destroys what is left of its connections; whoever wants a gentler end says
 * goodbye to them first. Stopping to accept leaves them alone.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Net from "node:net"
import * as ListenError from "./ListenError.ts"
import type { Listener, ListenerHandler, TcpListenerConfig } from "./Listener.ts"
import { TcpConnection } from "./TcpConnection.ts"

class TcpListener implements Listener {
  readonly protocol = 0
  localHost = ""
  localPort = 0
  listening = false
  readonly server: Net.Server
  private readonly connections = new Set<TcpConnection>()
  private readonly handler: ListenerHandler
  private readonly tcpKeepAlive: boolean

  constructor(config: TcpListenerConfig, handler: ListenerHandler) {
    this.handler = handler
    this.tcpKeepAlive = config.tcpKeepAlive
    this.server = Net.createServer({
      noDelay: config.noDelay,
      keepAlive: config.tcpKeepAlive,
      keepAliveInitialDelay: config.tcpKeepAliveSeconds * 1_000,
      // Nothing is read before the connection is admitted.
      pauseOnConnect: true
    })
    this.server.on("connection", (socket) => this.connected(socket))
  }

  bound(address: Net.AddressInfo): void {
    this.localHost = address.address
    this.localPort = address.port
    this.listening = true
    this.server.on("error", (error) => this.handler.acceptFailed(ListenError.errnoOf(error)))
  }

  stopAccepting(): void {
    this.listening = false
    this.server.close()
  }

  closeConnections(): void {
    for (const connection of this.connections) connection.destroy()
  }

  private connected(socket: Net.Socket): void {
    const connection = new TcpConnection(socket, this.tcpKeepAlive)
    this.connections.add(connection)
    connection.onGone = this.gone
    this.handler.admit(connection, (accepted) => {
      // It may have gone while the question was open, or the listener closed.
      if (!connection.isOpen) return
      if (accepted) this.handler.accepted(connection)
      else connection.destroy()
    })
  }

  private readonly gone = (connection: TcpConnection): void => {
    this.connections.delete(connection)
  }
}

const listen = (config: TcpListenerConfig, listener: TcpListener): Effect.Effect<void, ListenError.ListenError> =>
  Effect.callback((resume) => {
    const { server } = listener
    const onError = (error: Error) => resume(Effect.fail(ListenError.fromNode(error, config.host, config.port)))
    server.once("error", onError)
    server.listen({ host: config.host, port: config.port, backlog: config.backlog, ipv6Only: config.ipv6Only }, () => {
      server.removeListener("error", onError)
      // An address is an object for everything but pipes, which have no port.
      listener.bound(server.address() as Net.AddressInfo)
      resume(Effect.void)
    })
  })

/** Binds the address and starts to accept. Fails with the reason and the address when that is not possible. */
export const make: (
  config: TcpListenerConfig,
  handler: ListenerHandler
) => Effect.Effect<Listener, ListenError.ListenError, Scope.Scope> = Effect.fnUntraced(function* (config, handler) {
  const listener = new TcpListener(config, handler)
  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      listener.stopAccepting()
      listener.closeConnections()
    })
  )
  yield* listen(config, listener)
  return listener
})
