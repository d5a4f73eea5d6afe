/**
 * What every listener is: a `net.Server` of its own that is bound to an address, and the connections that came in
 * there.
 *
 * What becomes of a raw connection is for the kinds of listeners to say: `TcpListener.ts`, `StagedListener.ts`.
 *
 * Closing the scope stops accepting and destroys what is left of its connections; whoever wants a gentler end says
 * goodbye to them first. Stopping to accept leaves them alone.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Net from "node:net"
import * as Bind from "./Bind.ts"
import type { Endpoint } from "./Endpoint.ts"
import * as ListenError from "./ListenError.ts"
import type { Listener, ListenerHandler, OpenQuestion, Protocol } from "./Listener.ts"
import type { ListenerConfig } from "./ListenerConfig.ts"

/** A connection that says when it is gone. */
export interface OwnConnection extends Endpoint {
  onGone: ((connection: Endpoint) => void) | undefined
}

export abstract class ServerListener implements Listener {
  readonly protocol: Protocol
  localHost = ""
  localPort = 0
  listening = false
  protected readonly handler: ListenerHandler
  private readonly server: Net.Server
  private readonly connections = new Set<Endpoint>()

  constructor(config: ListenerConfig, handler: ListenerHandler) {
    this.protocol = config.protocol
    this.handler = handler
    this.server = Net.createServer(Bind.serverOptions(config))
    this.server.on("connection", (socket) => {
      if (config.tcpKeepAliveIntervalMillis > 0) Bind.probe(socket, config)
      this.connected(socket)
    })
  }

  stopAccepting(): void {
    this.listening = false
    this.server.close()
  }

  closeConnections(): void {
    for (const connection of this.connections) connection.destroy()
  }

  /** Binds the address, and accepts until the scope closes. Fails with the reason when that is not possible. */
  open(config: ListenerConfig): Effect.Effect<this, ListenError.BindError, Scope.Scope> {
    return Effect.gen({ self: this }, function* () {
      yield* Effect.addFinalizer(() =>
        Effect.sync(() => {
          this.stopAccepting()
          this.closeConnections()
        })
      )
      const { address, port } = yield* Bind.listen(this.server, config)
      this.localHost = address
      this.localPort = port
      this.listening = true
      this.server.on("error", (error) => this.handler.acceptFailed(ListenError.errnoOf(error)))
      return this
    })
  }

  /** A raw connection, paused: nobody has been asked about it. */
  protected abstract connected(socket: Net.Socket): void

  /** Asks about a connection until its socket closes. A paused one only closes by us: its client's end is not seen. */
  protected ask(
    socket: Net.Socket,
    question: (decide: (accepted: boolean) => void) => OpenQuestion,
    decided: (accepted: boolean) => void
  ): void {
    let open: OpenQuestion
    open = question((accepted) => {
      if (open !== undefined) socket.removeListener("close", open.close)
      decided(accepted)
    })
    if (open !== undefined) socket.once("close", open.close)
  }

  /** It belongs to this listener until it is gone. */
  protected keep(connection: OwnConnection): void {
    this.connections.add(connection)
    connection.onGone = this.gone
  }

  private readonly gone = (connection: Endpoint): void => {
    this.connections.delete(connection)
  }
}
