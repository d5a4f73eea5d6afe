/**
 * The broker's listeners, and who is let in through them.
 *
 * Owns admission: the limits that hold for all listeners together, and the ConnectionRequest hook. Everything here
 * happens on the raw connection, before a byte of it is read.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as ReasonCode from "../protocol/ReasonCode.ts"
import * as Listener from "../transport/Listener.ts"
import * as SocketErrno from "../transport/SocketErrno.ts"
import * as TcpListener from "../transport/TcpListener.ts"
import type { BrokerSettings } from "./BrokerConfig.ts"
import * as BrokerError from "./BrokerError.ts"
import type { RefusalReason } from "./BrokerEvent.ts"
import type { EventHub } from "./EventHub.ts"
import type { HookRunner, Outcome } from "./HookRunner.ts"
import type { HooksService } from "./Hooks.ts"
import type { Turn } from "./Turn.ts"
import * as Wait from "./Wait.ts"

/** "Action impossible in control's present state": a question without an answer. */
const NO_DECISION = 211

/** Where a connection's listener is known only after it was made. */
interface Entry {
  listener: Listener.Listener | undefined
}

export class Listeners {
  /** Connections refused since the start. */
  refused = 0
  /** Set when the broker closes: nobody is let in any more. */
  closed = false
  private readonly listeners = new Set<Listener.Listener>()
  /** Raw connections whose admission is undecided. */
  private undecided = 0
  private readonly settings: BrokerSettings
  private readonly hooks: HooksService
  private readonly runner: HookRunner
  private readonly turn: Turn
  private readonly hub: EventHub

  constructor(settings: BrokerSettings, hooks: HooksService, runner: HookRunner, turn: Turn, hub: EventHub) {
    this.settings = settings
    this.hooks = hooks
    this.runner = runner
    this.turn = turn
    this.hub = hub
  }

  get all(): Iterable<Listener.Listener> {
    return this.listeners
  }

  stopAccepting(): void {
    for (const listener of this.listeners) this.stop(listener)
  }

  closeConnections(): void {
    for (const listener of this.listeners) listener.closeConnections()
  }

  /**
   * Listens until the scope closes; then says goodbye to the connections that came in here, and waits for them as long
   * as a shutdown does.
   */
  start(options: Listener.ListenerOptions): Effect.Effect<Listener.Listener, BrokerError.BrokerError, Scope.Scope> {
    return Effect.gen({ self: this }, function* () {
      const config = yield* decode(options)
      const entry: Entry = { listener: undefined }
      const listener = yield* TcpListener.make(config, this.handler(entry)).pipe(Effect.mapError(BrokerError.of))
      entry.listener = listener
      this.listeners.add(listener)
      this.tell("ListenerStarted", listener)
      yield* Effect.addFinalizer(() => this.close(listener))
      return listener
    })
  }

  private close(listener: Listener.Listener): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.stop(listener)
      const now = Date.now()
      for (const driver of this.turn.drivers) {
        if (driver.listener !== listener) continue
        this.turn.core.disconnect(driver.connection, ReasonCode.ServerShuttingDown, now)
      }
      this.turn.schedule()
      return Wait.until((done) => this.turn.whenGone(listener, done), this.settings.shutdownTimeoutSeconds * 1_000)
    }).pipe(Effect.andThen(Effect.sync(() => this.listeners.delete(listener))))
  }

  private stop(listener: Listener.Listener): void {
    if (!listener.listening) return
    listener.stopAccepting()
    this.tell("ListenerStopped", listener)
  }

  private tell(_tag: "ListenerStarted" | "ListenerStopped", listener: Listener.Listener): void {
    const { localHost, localPort, protocol } = listener
    this.hub.publish({ _tag, protocol, localHost, localPort })
    const verb = _tag === "ListenerStarted" ? "Listening on" : "Stopped listening on"
    const message = `${verb} ${Listener.url(listener)}`
    this.hub.publish({ _tag: "Log", connectionId: "", logLevel: 1, message, logType: "Info" })
  }

  private handler(entry: Entry): Listener.ListenerHandler {
    return {
      admit: (peer, decide) => this.admit(peer, decide),
      accepted: (connection) => {
        if (this.closed || entry.listener === undefined) connection.destroy()
        else this.turn.accept(entry.listener, connection)
      },
      acceptFailed: (errno) =>
        this.hub.publish({
          _tag: "Error",
          connectionId: "",
          errorCode: SocketErrno.codeOf(errno),
          description: `A connection could not be accepted: ${SocketErrno.describe(errno)}`
        })
    }
  }

  private admit(peer: Listener.Peer, decide: (accepted: boolean) => void): void {
    const refusal = this.refusal()
    const ask = this.hooks.connectionRequest
    if (refusal !== undefined) this.refuse(peer, refusal, decide)
    else if (ask === undefined) decide(true)
    else {
      this.undecided++
      const { localHost, localPort, protocol, remoteHost, remotePort } = peer
      const request = { remoteHost, remotePort, localHost, localPort, protocol }
      this.runner.run(
        () => ask(request),
        Date.now(),
        (outcome) => {
          this.undecided--
          if (this.allows(outcome)) decide(true)
          else this.refuse(peer, "hook", decide)
        }
      )
      // The runner's deadline may be the next one now.
      this.turn.schedule()
    }
  }

  private refusal(): RefusalReason | undefined {
    const { connectionsMax, handshakesMax } = this.settings
    if (this.closed) return "shutting-down"
    if (this.turn.drivers.size + this.undecided >= connectionsMax) return "connections-max"
    return this.undecided >= handshakesMax ? "handshakes-max" : undefined
  }

  private allows(outcome: Outcome<boolean>): boolean {
    if ("decision" in outcome) return outcome.decision === true
    this.hub.publish({
      _tag: "Error",
      connectionId: "",
      errorCode: NO_DECISION,
      description: `The ConnectionRequest hook gave no decision, so the connection is refused: ${outcome.failure}`
    })
    return false
  }

  private refuse(peer: Listener.Peer, reason: RefusalReason, decide: (accepted: boolean) => void): void {
    this.refused++
    const { protocol, remoteHost, remotePort } = peer
    this.hub.publish({ _tag: "ConnectionRefused", remoteHost, remotePort, protocol, reason })
    decide(false)
  }
}

const decode = (options: Listener.ListenerOptions): Effect.Effect<Listener.ListenerConfig, BrokerError.BrokerError> =>
  Schema.decodeUnknownEffect(Listener.ListenerConfig)(options, { onExcessProperty: "error", errors: "all" }).pipe(
    Effect.mapError((error) =>
      BrokerError.of(new BrokerError.InvalidSetting({ detail: `a listener: ${error.message}` }))
    )
  )
