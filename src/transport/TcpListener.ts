/**
 * Listening on TCP: a scoped resource around a `net.Server` of its own.
 *
 * Only what is plain comes through here: PROXY headers, rates and lingering are for `StagedListener.ts`.
 *
 * Closing the scope stops accepting and destroys what is left of its connections; whoever wants a gentler end says
 * goodbye to them first. Stopping to accept leaves them alone.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Net from "node:net"
import * as Bind from "./Bind.ts"
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
  private readonly config: TcpListenerConfig

  constructor(config: TcpListenerConfig, handler: ListenerHandler) {
    this.handler = handler
    this.config = config
    this.tcpKeepAlive = Bind.probes(config)
    this.server = Net.createServer(Bind.serverOptions(config))
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
    if (this.config.tcpKeepAliveIntervalMillis > 0) Bind.probe(socket, this.config)
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
  listener.bound(yield* Bind.listen(listener.server, config))
  return listener
})
