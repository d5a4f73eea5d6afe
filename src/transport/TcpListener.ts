/**
 * Listening on TCP: a connection is handed over as soon as it is admitted.
 *
 * Only what is plain comes through here: PROXY headers, rates and lingering are for `StagedListener.ts`.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type * as Net from "node:net"
import * as Bind from "./Bind.ts"
import { peerOf } from "./Endpoint.ts"
import type * as ListenError from "./ListenError.ts"
import type { Listener, ListenerHandler, TcpListenerConfig } from "./Listener.ts"
import { ServerListener } from "./ServerListener.ts"
import { TcpConnection } from "./TcpConnection.ts"

class TcpListener extends ServerListener {
  private readonly tcpKeepAlive: boolean

  constructor(config: TcpListenerConfig, handler: ListenerHandler) {
    super(config, handler)
    this.tcpKeepAlive = Bind.probes(config)
  }

  protected connected(socket: Net.Socket): void {
    const connection = new TcpConnection(socket, { ...peerOf(socket, 0), tcpKeepAlive: this.tcpKeepAlive })
    this.keep(connection)
    this.ask(
      socket,
      (decide) => this.handler.admit(connection, decide),
      (accepted) => {
        // It may have gone while the question was open, or the listener closed.
        if (!connection.isOpen) return
        if (accepted) this.handler.accepted(connection)
        else connection.destroy()
      }
    )
  }
}

/** Binds the address and starts to accept. Fails with the reason and the address when that is not possible. */
export const make = (
  config: TcpListenerConfig,
  handler: ListenerHandler
): Effect.Effect<Listener, ListenError.ListenError, Scope.Scope> =>
  Effect.suspend(() => new TcpListener(config, handler).open(config))
