/**
 * From the core's questions to the hooks, and back with an answer that the core can trust.
 *
 * Owns what a failed, late or nonsensical hook means: refused, and reported as an Error event.
 */
import type * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type { BrokerCore } from "../core/BrokerCore.ts"
import type * as Question from "../core/Question.ts"
import * as Encodable from "../protocol/Encodable.ts"
import * as ReasonCode from "../protocol/ReasonCode.ts"
import type { EventHub } from "./EventHub.ts"
import { type HookRunner, NO_DECISION, type Outcome } from "./HookRunner.ts"
import * as Hooks from "./Hooks.ts"

/** Questions put in one turn when hooks answer at once; after so many, everything else has its turn. */
const AT_ONCE_MAX = 256

export class QuestionDriver {
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
    for (const questionId of this.core.forgotten.splice(0)) this.cancel(questionId)
    const { questions } = this.core
    let through = Number.POSITIVE_INFINITY
    // A hook that answers at once lets the core ask again, about the next message of the same client for example.
    for (let count = 0; count < AT_ONCE_MAX; ) {
      if (this.hub.drain()) through = this.lastDeferred
      const later = questions.findIndex(({ questionId }) => questionId > through)
      const due = questions.splice(0, later === -1 ? questions.length : later)
      if (due.length === 0) break
      count += due.length
      for (const question of due) this.run(question, now)
    }
    this.lastDeferred = questions.at(-1)?.questionId ?? 0
  }

  private run(question: Question.Question, now: number): void {
    // Its client may be gone already.
    if (!this.core.isAsked(question.questionId)) return
    const cancel = this.runner.run(
      () => this.put(question),
      now,
      (outcome) => this.answered(question, outcome)
    )
    if (cancel !== undefined) this.open.set(question.questionId, cancel)
  }

  /** Nobody waits for the answer any more: the hook need not go on. */
  private cancel(questionId: number): void {
    this.open.get(questionId)?.()
    this.open.delete(questionId)
  }

  private put(question: Question.Question): Effect.Effect<Hooks.Decision, unknown> {
    switch (question._tag) {
      case "SessionRequest": {
        const { _tag: _, questionId: __, password, ...request } = question
        return this.hooks.sessionRequest!({
          ...request,
          password: password === undefined ? undefined : Redacted.make(password)
        })
      }
      case "Authenticate": {
        const { _tag: _, questionId: __, data, ...request } = question
        return this.hooks.authenticate!({ ...request, data: data === undefined ? undefined : Redacted.make(data) })
      }
      case "Subscribe": {
        const { _tag: _, questionId: __, ...request } = question
        return this.hooks.subscribe!(request)
      }
      case "Publish": {
        const { _tag: _, questionId: __, ...request } = question
        return this.hooks.publish!(request)
      }
    }
  }

  private answered(question: Question.Question, outcome: Outcome<Hooks.Decision>): void {
    this.open.delete(question.questionId)
    const checked = "failure" in outcome ? outcome : check(question, outcome.decision)
    const refusal = question._tag === "SessionRequest" ? ReasonCode.ServerUnavailable : ReasonCode.UnspecifiedError
    if ("failure" in checked && this.hub.wants("Error")) {
      this.hub.publish({
        _tag: "Error",
        connectionId: question.connectionId,
        errorCode: NO_DECISION,
        description: `The ${question._tag} hook gave no decision, so the request is refused: ${checked.failure}`
      })
    }
    this.core.answered(question.questionId, "failure" in checked ? Hooks.refuse(refusal) : checked.decision, Date.now())
    this.schedule()
  }
}

/** A copy of a decision, or what is wrong with it. It comes from outside: its type is a promise, not a fact. */
const check = (question: Question.Question, decision: Hooks.Decision): Outcome<Hooks.Decision> => {
  try {
    const { authenticationData, reasonCode, reasonString } = decision
    const failure = codeFault(question, reasonCode) ?? textFault(reasonString, authenticationData)
    return failure === undefined ? { decision: { authenticationData, reasonCode, reasonString } } : { failure }
  } catch (_error) {
    // Nothing at all, or an object that throws when it is looked at.
    return { failure: "its answer is no decision: make it with accept, grant, refuse, authenticated or proceed" }
  }
}

const codeFault = (question: Question.Question, reasonCode: unknown): string | undefined => {
  const acceptedMax = question._tag === "Subscribe" ? ReasonCode.GrantedQoS2 : ReasonCode.Success
  const known =
    typeof reasonCode === "number" &&
    Number.isInteger(reasonCode) &&
    ((question._tag === "Authenticate" && reasonCode === ReasonCode.ContinueAuthentication) ||
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
