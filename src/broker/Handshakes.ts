/**
 * Connections that a listener is still preparing: PROXY header, TLS handshake, WebSocket upgrade.
 *
 * Owns their number, the events that tell how they go, and the SSLClientAuthentication question. Who may come in at all
 * is decided in `Listeners.ts`.
 */
import * as ConnectionId from "../core/ConnectionId.ts"
import type * as Listener from "../transport/Listener.ts"
import type { EventHub } from "./EventHub.ts"
import { type HookRunner, NO_DECISION, yesOrNo } from "./HookRunner.ts"
import type { HooksService } from "./Hooks.ts"
import type { Turn } from "./Turn.ts"

export class Handshakes {
  private readonly hooks: HooksService
  private readonly runner: HookRunner
  private readonly turn: Turn
  private readonly hub: EventHub
  private readonly underway = new Set<string>()

  constructor(hooks: HooksService, runner: HookRunner, turn: Turn, hub: EventHub) {
    this.hooks = hooks
    this.runner = runner
    this.turn = turn
    this.hub = hub
  }

  get size(): number {
    return this.underway.size
  }

  begin(): string {
    const id = this.turn.core.nextConnectionId()
    this.underway.add(id)
    return id
  }

  progress(connectionId: string, message: () => string): void {
    if (this.hub.wants("SSLStatus"))
      this.hub.publish({ _tag: "SSLStatus", connectionId: ConnectionId.fromText(connectionId), message: message() })
  }

  /** Over; a failure is a Connected event with its code. */
  end(connectionId: string, failure: Listener.HandshakeFailure | undefined): void {
    if (!this.underway.delete(connectionId) || failure === undefined) return
    const { code: statusCode, description } = failure
    const { events } = this.turn.core
    if (!events.wants.Connected) return
    events.push({ _tag: "Connected", connectionId: ConnectionId.fromText(connectionId), statusCode, description })
    this.turn.schedule()
  }

  authenticate(certificate: Listener.ClientCertificate, decide: (accepted: boolean) => void): Listener.OpenQuestion {
    const ask = this.hooks.sslClientAuthentication
    if (ask === undefined) {
      decide(certificate.accept)
      return undefined
    }
    const put = (): (() => void) | undefined => {
      const close = this.runner.run(
        () => ask(certificate),
        Date.now(),
        (answer) => {
          const outcome = yesOrNo(answer)
          if ("failure" in outcome) this.reportNoDecision(certificate.connectionId, outcome.failure)
          decide("decision" in outcome && outcome.decision)
        }
      )
      // The runner's deadline may be the next one now.
      this.turn.schedule()
      return close
    }
    if (!this.hub.wants("SSLStatus")) {
      const close = put()
      return close === undefined ? undefined : { close }
    }
    // Who listens to the handshake hears how it went before this is asked.
    let close: (() => void) | undefined
    const immediate = setImmediate(() => {
      close = put()
    })
    return {
      close: () => {
        clearImmediate(immediate)
        close?.()
      }
    }
  }

  private reportNoDecision(connectionId: string, failure: string): void {
    this.hub.publish({
      _tag: "Error",
      connectionId: ConnectionId.fromText(connectionId),
      errorCode: NO_DECISION,
      description: `The SSLClientAuthentication hook gave no decision, so the connection is refused: ${failure}`
    })
  }
}
