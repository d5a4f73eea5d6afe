/**
 * The broker's listeners, and who is let in through them.
 *
 * Owns admission: the limits that hold for all listeners together, and the ConnectionRequest hook. Everything here
 * happens on the raw connection, before a byte of it is read. What follows until it is ready is in `Handshakes.ts`.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as ReasonCode from "../protocol/ReasonCode.ts"
import * as ListenerDefaults from "../settings/ListenerDefaults.ts"
import type * as Listener from "../transport/Listener.ts"
import type { ListenError } from "../transport/ListenError.ts"
import * as ListenerConfig from "../transport/ListenerConfig.ts"
import * as SocketErrno from "../transport/SocketErrno.ts"
import * as TcpListener from "../transport/TcpListener.ts"
import type { BrokerSettings } from "./BrokerConfig.ts"
import * as BrokerError from "./BrokerError.ts"
import type { RefusalReason } from "./BrokerEvent.ts"
import type { EventHub } from "./EventHub.ts"
import { Handshakes } from "./Handshakes.ts"
import { type HookRunner, NO_DECISION, type Outcome, yesOrNo } from "./HookRunner.ts"
import type { HooksService } from "./Hooks.ts"
import type { Turn } from "./Turn.ts"
import * as Wait from "./Wait.ts"

/** An address that was asked for: stopped and started again, another listener is there. */
interface Place {
  readonly options: Listener.ListenerOptions
  readonly scope: Scope.Closeable
  /** The last one; undefined: it is being made. */
  listener: Listener.Listener | undefined
  /** Those before it may still have connections. */
  former: ReadonlyArray<Listener.Listener>
  /** What was replaced of the certificates of the configuration. */
  replaced: Listener.CertificatesOptions
}

export class Listeners {
  /** Connections refused since the start. */
  refused = 0
  /** Set when the broker closes: nobody is let in any more. */
  closed = false
  private readonly places = new Set<Place>()
  /** One address is bound at a time: two that start again would fail against each other. */
  private readonly binding = Semaphore.makeUnsafe(1)
  /** How often listening was stopped: who binds meanwhile stops too. */
  private stops = 0
  /** Raw connections whose admission is undecided. */
  private undecided = 0
  private readonly settings: BrokerSettings
  private readonly hooks: HooksService
  private readonly runner: HookRunner
  private readonly turn: Turn
  private readonly hub: EventHub
  private readonly handshakes: Handshakes
  /** One after the other: the certificates that were asked for last are those that are left. */
  private readonly replacing = Semaphore.makeUnsafe(1)

  constructor(settings: BrokerSettings, hooks: HooksService, runner: HookRunner, turn: Turn, hub: EventHub) {
    this.settings = settings
    this.hooks = hooks
    this.runner = runner
    this.turn = turn
    this.hub = hub
    this.handshakes = new Handshakes(hooks, runner, turn, hub)
  }

  get all(): ReadonlyArray<Listener.Listener> {
    return Array.from(this.places, ({ listener }) => listener).filter((listener) => listener !== undefined)
  }

  stopAccepting(): void {
    this.stops++
    for (const listener of this.all) this.stop(listener)
  }

  closeConnections(): void {
    for (const place of this.places) for (const listener of listenersOf(place)) listener.closeConnections()
  }

  /**
   * Listens until the scope closes; then says goodbye to the connections that came in here, and waits for them as long
   * as a shutdown does.
   */
  start(options: Listener.ListenerOptions): Effect.Effect<Listener.Listener, BrokerError.BrokerError, Scope.Scope> {
    return Effect.gen({ self: this }, function* () {
      const { stops } = this
      const scope = yield* Scope.make()
      const place: Place = { options, scope, listener: undefined, former: [], replaced: {} }
      this.places.add(place)
      // Whoever binds this address just now sees first that the place is gone, and lets go of it.
      const letGo = (exit: Exit.Exit<unknown, unknown>) => this.binding.withPermit(Scope.close(scope, exit))
      yield* Effect.addFinalizer((exit) => this.close(place).pipe(Effect.andThen(letGo(exit))))
      return yield* this.binding
        .withPermit(this.open(place, options, stops))
        .pipe(Effect.onError(() => Effect.sync(() => this.places.delete(place))))
    })
  }

  /** Listens again wherever that was stopped, on the same port. Fails when that is not possible somewhere. */
  resume(): Effect.Effect<void, BrokerError.BrokerError> {
    return Effect.suspend(() => {
      const { stops } = this
      const again = (place: Place) => {
        if (place.listener?.listening !== false || this.stops !== stops || !this.places.has(place)) return Effect.void
        return this.open(place, { ...place.options, port: place.listener.localPort }, stops).pipe(
          Effect.catch((error) => (this.places.has(place) ? Effect.fail(error) : Effect.void))
        )
      }
      return Effect.suspend(() => Effect.partition([...this.places], again)).pipe(
        this.binding.withPermit,
        // Certificates that are being loaded are for the listener that there was.
        this.replacing.withPermit,
        Effect.flatMap(([, [failure]]) => (failure === undefined ? Effect.void : Effect.fail(failure)))
      )
    })
  }

  /** Of an attempt that fails or is interrupted nothing is left in the scope of its place. */
  private open(
    place: Place,
    options: Listener.ListenerOptions,
    stops: number
  ): Effect.Effect<Listener.Listener, BrokerError.BrokerError> {
    return Effect.uninterruptibleMask((restore) =>
      Effect.gen({ self: this }, function* () {
        const scope = yield* Scope.fork(place.scope)
        return yield* restore(this.bind(place, options)).pipe(
          Scope.provide(scope),
          Effect.flatMap((listener) => this.put(place, listener, stops)),
          Effect.onError((cause) => Scope.close(scope, Exit.failCause(cause)))
        )
      })
    )
  }

  private bind(
    place: Place,
    options: Listener.ListenerOptions
  ): Effect.Effect<Listener.Listener, BrokerError.BrokerError, Scope.Scope> {
    return Effect.gen({ self: this }, function* () {
      const configured = ListenerDefaults.apply(this.settings.listenerDefaults, options)
      const config = yield* decode(ListenerConfig.withCertificates(configured, place.replaced))
      return yield* Effect.mapError(this.listen(config, place), BrokerError.of)
    })
  }

  /** The address is bound; what happened meanwhile holds for it as for the others. */
  private put(
    place: Place,
    listener: Listener.Listener,
    stops: number
  ): Effect.Effect<Listener.Listener, BrokerError.BrokerError> {
    return Effect.suspend(() => {
      if (this.closed || !this.places.has(place)) return Effect.fail(BrokerError.of(new BrokerError.ShutDown()))
      place.former = listenersOf(place).filter((each) =>
        [...this.turn.drivers].some((driver) => driver.listener === each)
      )
      place.listener = listener
      this.tell("ListenerStarted", listener)
      if (this.stops !== stops) this.stop(listener)
      return Effect.succeed(listener)
    })
  }

  /** Loads certificates anew; connections stay. Fails, and changes nothing anywhere, when one is not good. */
  replaceCertificates(
    localPort: number,
    replaced: Listener.CertificatesOptions,
    localHost: string | undefined
  ): Effect.Effect<void, BrokerError.BrokerError> {
    return Effect.gen({ self: this }, function* () {
      const loaded: Array<Effect.Effect<void>> = []
      for (const place of [...this.places]) {
        const { listener } = place
        if (listener?.localPort !== localPort || listener.certificate === undefined) continue
        if (listener.loadCertificates === undefined) continue
        if (localHost !== undefined && listener.localHost !== localHost) continue
        const use = yield* Effect.mapError(listener.loadCertificates(replaced), BrokerError.of)
        const remember = Effect.sync(() => {
          place.replaced = ListenerConfig.withCertificates(place.replaced, replaced)
        })
        loaded.push(Effect.andThen(use, remember))
      }
      if (loaded.length > 0) return yield* Effect.uninterruptible(Effect.all(loaded, { discard: true }))
      const where = localHost === undefined ? `port ${localPort}` : `${localHost}, port ${localPort},`
      const detail = `there is no listener with TLS on ${where} whose certificates could be replaced.`
      return yield* BrokerError.of(new BrokerError.InvalidSetting({ detail }))
    }).pipe(this.replacing.withPermit)
  }

  /** Code for what a listener does not use is not loaded. */
  private listen(
    config: ListenerConfig.ListenerConfig,
    place: Place
  ): Effect.Effect<Listener.Listener, ListenError, Scope.Scope> {
    if (config.protocol === 0 && ListenerConfig.isPlain(config)) return TcpListener.make(config, this.handler(place))
    // Packets need not align with frames, but most clients send each in one. What is the largest may be set any time.
    const { settings } = this
    const whole: ListenerConfig.ListenerConfig =
      "frameBytesMax" in config && config.frameBytesMax === 0
        ? {
            ...config,
            get frameBytesMax() {
              return settings.packetBytesMax
            }
          }
        : config
    return Effect.promise(() => import("../transport/StagedListener.ts")).pipe(
      Effect.flatMap((StagedListener) => StagedListener.make(whole, this.handler(place)))
    )
  }

  private close(place: Place): Effect.Effect<void> {
    return Effect.suspend(() => {
      const listeners = listenersOf(place)
      for (const listener of listeners) this.stop(listener)
      const now = Date.now()
      for (const driver of this.turn.drivers) {
        if (!listeners.includes(driver.listener)) continue
        this.turn.core.disconnect(driver.connection, ReasonCode.ServerShuttingDown, now)
      }
      this.turn.schedule()
      const millis = this.settings.shutdownTimeoutSeconds * 1_000
      return Effect.forEach(listeners, (listener) => Wait.until((done) => this.turn.whenGone(listener, done), millis), {
        concurrency: "unbounded",
        discard: true
      })
    }).pipe(Effect.andThen(Effect.sync(() => this.places.delete(place))))
  }

  private stop(listener: Listener.Listener): void {
    if (!listener.listening) return
    listener.stopAccepting()
    this.tell("ListenerStopped", listener)
  }

  private tell(_tag: "ListenerStarted" | "ListenerStopped", listener: Listener.Listener): void {
    const { localHost, localPort, protocol } = listener
    this.hub.publish({ _tag, protocol, localHost, localPort })
  }

  private handler(place: Place): Listener.ListenerHandler {
    return {
      admit: (peer, decide) => this.admit(peer, decide),
      accepted: (connection) => {
        if (this.closed || place.listener === undefined) connection.destroy()
        else this.turn.accept(place.listener, connection)
      },
      acceptFailed: (errno) =>
        this.hub.publish({
          _tag: "Error",
          connectionId: "",
          errorCode: SocketErrno.codeOf(errno),
          description: `A connection could not be accepted: ${SocketErrno.describe(errno)}`
        }),
      tlsImpaired: (errorCode, description) =>
        this.hub.publish({ _tag: "Error", connectionId: "", errorCode, description }),
      preparing: (peer) => {
        const refusal = this.refusal()
        if (refusal === undefined) return this.handshakes.begin()
        this.count(peer, refusal)
        return undefined
      },
      progress: (connectionId, message) => this.handshakes.progress(connectionId, message),
      authenticate: (certificate, decide) => this.handshakes.authenticate(certificate, decide),
      prepared: (connectionId, failure) => this.handshakes.end(connectionId, failure),
      headerRefused: (peer) => this.count(peer, "proxy-header")
    }
  }

  private admit(peer: Listener.Peer, decide: (accepted: boolean) => void): Listener.OpenQuestion {
    const refusal = this.refusal()
    const ask = this.hooks.connectionRequest
    if (refusal !== undefined) {
      this.refuse(peer, refusal, decide)
      return undefined
    }
    if (ask === undefined) {
      decide(true)
      return undefined
    }
    this.undecided++
    const { localHost, localPort, protocol, remoteHost, remotePort } = peer
    const request = { remoteHost, remotePort, localHost, localPort, protocol }
    const interrupt = this.runner.run(
      () => ask(request),
      Date.now(),
      (outcome) => {
        this.undecided--
        if (this.allows(peer, yesOrNo(outcome))) decide(true)
        else this.refuse(peer, "hook", decide)
      }
    )
    // The runner's deadline may be the next one now.
    this.turn.schedule()
    if (interrupt === undefined) return undefined
    return {
      close: () => {
        this.undecided--
        interrupt()
      }
    }
  }

  private refusal(): RefusalReason | undefined {
    const { connectionsMax, handshakesMax } = this.settings
    if (this.closed) return "shutting-down"
    const preparing = this.undecided + this.handshakes.size
    if (this.turn.drivers.size + preparing >= connectionsMax) return "connections-max"
    return preparing >= handshakesMax ? "handshakes-max" : undefined
  }

  private allows({ remoteHost, remotePort }: Listener.Peer, outcome: Outcome<boolean>): boolean {
    if ("decision" in outcome) return outcome.decision
    const who = `${remoteHost} port ${remotePort}`
    this.hub.publish({
      _tag: "Error",
      connectionId: "",
      errorCode: NO_DECISION,
      description: `The ConnectionRequest hook gave no decision, so ${who} is refused: ${outcome.failure}`
    })
    return false
  }

  private refuse(peer: Listener.Peer, reason: RefusalReason, decide: (accepted: boolean) => void): void {
    this.count(peer, reason)
    decide(false)
  }

  private count({ protocol, remoteHost, remotePort }: Listener.Peer, reason: RefusalReason): void {
    this.refused++
    this.hub.publish({ _tag: "ConnectionRefused", remoteHost, remotePort, protocol, reason })
  }
}

const listenersOf = ({ former, listener }: Place): ReadonlyArray<Listener.Listener> =>
  listener === undefined ? former : [...former, listener]

const decode = (
  options: Listener.ListenerOptions
): Effect.Effect<ListenerConfig.ListenerConfig, BrokerError.BrokerError> =>
  ListenerConfig.decode(options).pipe(
    Effect.mapError((error) =>
      BrokerError.of(new BrokerError.InvalidSetting({ detail: `a listener: ${error.message}` }))
    )
  )
