/**
 * From the core's questions to the hooks, and back with an answer that the core can trust.
 *
 * Owns what a failed, late or nonsensical hook means: refused, and reported as an Error event.
 */
import type * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type * as Ask from "../core/Ask.ts"
import type { BrokerCore } from "../core/BrokerCore.ts"
import * as Encodable from "../protocol/Encodable.ts"
import * as ReasonCode from "../protocol/ReasonCode.ts"
import type { EventHub } from "./EventHub.ts"
import { type HookRunner, NO_DECISION, type Outcome } from "./HookRunner.ts"
import * as Hooks from "./Hooks.ts"

/** Questions put in one turn when hooks answer at once; after so many, everything else has its turn. */
const AT_ONCE_MAX = 256

export class Questions {
  private readonly core: BrokerCore
  private readonly hooks: Hooks.HooksService
  private readonly runner: HookRunner
  private readonly hub: EventHub
  private readonly schedule: () => void
  /** How to interrupt the hooks that are deciding, by the number of their question. */
  private readonly open = new Map<number, () => void>()
  /** The last question that was there when events were told in the round before. */
  private lastDeferred = 0

  constructor(core: BrokerCore, hooks: Hooks.HooksService, runner: HookRunner, hub: EventHub, schedule: () => void) {
    this.core = core
    this.hooks = hooks
    this.runner = runner
    this.hub = hub
    this.schedule = schedule
    core.installed.sessionRequest = hooks.sessionRequest !== undefined
    core.installed.authenticate = hooks.authenticate !== undefined
    core.installed.subscribe = hooks.subscribe !== undefined
    core.installed.publish = hooks.publish !== undefined
  }

  /**
   * Asks what the core wants to know. What happened before a question is told before it, and who listens has a round
   * of the event loop to hear of it: Connected comes before SessionRequest.
   */
  drain(now: number): void {
    for (const askId of this.core.forgotten.splice(0)) this.cancel(askId)
    const { asks } = this.core
    let through = Number.POSITIVE_INFINITY
    // A hook that answers at once lets the core ask again, about the next message of the same client for example.
    for (let count = 0; count < AT_ONCE_MAX; ) {
      if (this.hub.drain()) through = this.lastDeferred
      const later = asks.findIndex(({ askId }) => askId > through)
      const due = asks.splice(0, later === -1 ? asks.length : later)
      if (due.length === 0) break
      count += due.length
      for (const ask of due) this.run(ask, now)
    }
    this.lastDeferred = asks.at(-1)?.askId ?? 0
  }

  private run(ask: Ask.Ask, now: number): void {
    // Its client may be gone already.
    if (!this.core.isAsked(ask.askId)) return
    const cancel = this.runner.run(
      () => this.put(ask),
      now,
      (outcome) => this.answered(ask, outcome)
    )
    if (cancel !== undefined) this.open.set(ask.askId, cancel)
  }

  /** Nobody waits for the answer any more: the hook need not go on. */
  private cancel(askId: number): void {
    this.open.get(askId)?.()
    this.open.delete(askId)
  }

  private put(ask: Ask.Ask): Effect.Effect<Hooks.Decision, unknown> {
    switch (ask._tag) {
      case "SessionRequest": {
        const { _tag: _, askId: __, password, ...request } = ask
        return this.hooks.sessionRequest!({
          ...request,
          password: password === undefined ? undefined : Redacted.make(password)
        })
      }
      case "Authenticate": {
        const { _tag: _, askId: __, data, ...request } = ask
        return this.hooks.authenticate!({ ...request, data: data === undefined ? undefined : Redacted.make(data) })
      }
      case "Subscribe": {
        const { _tag: _, askId: __, ...request } = ask
        return this.hooks.subscribe!(request)
      }
      case "Publish": {
        const { _tag: _, askId: __, ...request } = ask
        return this.hooks.publish!(request)
      }
    }
  }

  private answered(ask: Ask.Ask, outcome: Outcome<Hooks.Decision>): void {
    this.open.delete(ask.askId)
    const checked = "failure" in outcome ? outcome : check(ask, outcome.decision)
    const refusal = ask._tag === "SessionRequest" ? ReasonCode.ServerUnavailable : ReasonCode.UnspecifiedError
    if ("failure" in checked && this.hub.wants("Error")) {
      this.hub.publish({
        _tag: "Error",
        connectionId: ask.connectionId,
        errorCode: NO_DECISION,
        description: `The ${ask._tag} hook gave no decision, so the request is refused: ${checked.failure}`
      })
    }
    this.core.answered(ask.askId, "failure" in checked ? Hooks.refuse(refusal) : checked.decision, Date.now())
    this.schedule()
  }
}

/** A copy of a decision, or what is wrong with it. It comes from outside: its type is a promise, not a fact. */
const check = (ask: Ask.Ask, decision: Hooks.Decision): Outcome<Hooks.Decision> => {
  try {
    const { authenticationData, reasonCode, reasonString } = decision
    const failure = codeFault(ask, reasonCode) ?? textFault(reasonString, authenticationData)
    return failure === undefined ? { decision: { authenticationData, reasonCode, reasonString } } : { failure }
  } catch (_error) {
    // Nothing at all, or an object that throws when it is looked at.
    return { failure: "its answer is no decision: make it with accept, grant, refuse, authenticated or proceed" }
  }
}

const codeFault = (ask: Ask.Ask, reasonCode: unknown): string | undefined => {
  const acceptedMax = ask._tag === "Subscribe" ? ReasonCode.GrantedQoS2 : ReasonCode.Success
  const known =
    typeof reasonCode === "number" &&
    Number.isInteger(reasonCode) &&
    ((ask._tag === "Authenticate" && reasonCode === ReasonCode.ContinueAuthentication) ||
      (reasonCode >= 0 && reasonCode <= acceptedMax) ||
      (reasonCode >= 0x80 && reasonCode <= 0xff))
  return known ? undefined : `its answer has no usable reason code (${String(reasonCode)})`
}

/** What goes to the client with it must be possible on the wire. */
const textFault = (reasonString: string | undefined, authenticationData: Uint8Array | undefined) => {
  if (reasonString === undefined && authenticationData === undefined) return undefined
  const properties = { authenticationMethod: "", authenticationData, reasonString }
  const fault = Encodable.encodable({ _tag: "Auth", reasonCode: ReasonCode.ContinueAuthentication, properties }, 5)
  return fault === undefined ? undefined : "its reason string or authentication data cannot be sent to a client"
}
