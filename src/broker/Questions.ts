/**
 * From the core's questions to the hooks, and back with an answer that the core can trust.
 *
 * Owns what a failed, late or nonsensical hook means: refused, and reported as an Error event.
 */
import type * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type * as Ask from "../core/Ask.ts"
import type { BrokerCore } from "../core/BrokerCore.ts"
import * as ReasonCode from "../protocol/ReasonCode.ts"
import type { EventHub } from "./EventHub.ts"
import type { HookRunner, Outcome } from "./HookRunner.ts"
import * as Hooks from "./Hooks.ts"

/** "Action impossible in control's present state": a question without an answer. */
const NO_DECISION = 211

export class Questions {
  private readonly core: BrokerCore
  private readonly hooks: Hooks.HooksService
  private readonly runner: HookRunner
  private readonly hub: EventHub
  private readonly schedule: () => void

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

  /** Asks what the core wants to know. */
  drain(now: number): void {
    // A hook that answers at once may let the core ask again: those wait for the next round.
    const asks = this.core.asks.splice(0)
    for (const ask of asks) {
      this.runner.run(
        () => this.put(ask),
        now,
        (outcome) => this.answered(ask, outcome)
      )
    }
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
    const failure = "failure" in outcome ? outcome.failure : complaint(ask, outcome.decision)
    const refusal = ask._tag === "SessionRequest" ? ReasonCode.ServerUnavailable : ReasonCode.UnspecifiedError
    const answer = "decision" in outcome && failure === undefined ? outcome.decision : Hooks.refuse(refusal)
    if (failure !== undefined && this.hub.wants("Error")) {
      this.hub.publish({
        _tag: "Error",
        connectionId: ask.connectionId,
        errorCode: NO_DECISION,
        description: `The ${ask._tag} hook gave no decision, so the request is refused: ${failure}`
      })
    }
    this.core.answered(ask.askId, answer, Date.now())
    this.schedule()
  }
}

/** What is wrong with a decision; undefined: nothing. It comes from outside: its type is a promise, not a fact. */
const complaint = (ask: Ask.Ask, decision: Hooks.Decision | undefined): string | undefined => {
  const reasonCode: unknown = decision?.reasonCode
  const acceptedMax = ask._tag === "Subscribe" ? ReasonCode.GrantedQoS2 : ReasonCode.Success
  const known =
    typeof reasonCode === "number" &&
    Number.isInteger(reasonCode) &&
    ((ask._tag === "Authenticate" && reasonCode === ReasonCode.ContinueAuthentication) ||
      (reasonCode >= 0 && reasonCode <= acceptedMax) ||
      (reasonCode >= 0x80 && reasonCode <= 0xff))
  return known ? undefined : `its answer has no usable reason code (${String(reasonCode)})`
}
