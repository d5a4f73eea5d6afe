/**
 * Questions that an embedding program may answer: who may connect, authenticate, start a session, subscribe, publish.
 *
 * Owns the port. Each hook is an effect that decides; one that is not given allows everything and costs nothing. A
 * hook that fails, dies, takes longer than `hookTimeoutSeconds` or answers nonsense refuses: the broker fails closed,
 * and reports it as an Error event; one whose client has gone is interrupted. ConnectionRequest cannot be: of a
 * connection that is not read its end is not seen either, so that it takes its place of `handshakesMax` until the hook
 * has answered. Hooks get what they need from the scope they are made in. How a question of the core comes here is said
 * in `core/Question.ts`.
 *
 * Names come as clients sent them: a client id or user name may have `#`, `+` or `/` in it, so a topic filter that is
 * made of one must be looked at before it is trusted.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"
import type * as Question from "../core/Question.ts"
import type { QoS } from "../protocol/Packet.ts"
import * as ReasonCode from "../protocol/ReasonCode.ts"
import type { ClientCertificate, Peer } from "../transport/Listener.ts"

/**
 * A raw connection, before a byte of it is read. Its client may have gone: answer soon, or what many of them leave
 * behind fills `handshakesMax`.
 */
export interface ConnectionRequest extends Peer {}

/**
 * A client of a listener with `sslAuthenticateClients` has shown its certificate, or none (then it is empty). `accept`
 * says whether it could be verified, `status` why not. On secure WebSocket this comes before the upgrade.
 */
export interface SSLClientAuthentication extends ClientCertificate {}

/** A CONNECT. */
export interface SessionRequest extends Omit<Question.SessionRequest, "_tag" | "questionId" | "password"> {
  readonly password: Redacted.Redacted<Uint8Array> | undefined
}

/** One step of an enhanced authentication (AUTH of MQTT 5.0). */
export interface Authenticate extends Omit<Question.Authenticate, "_tag" | "questionId" | "data"> {
  readonly data: Redacted.Redacted<Uint8Array> | undefined
}

/** One topic filter of a SUBSCRIBE. */
export interface SubscribeRequest extends Omit<Question.SubscribeRequest, "_tag" | "questionId"> {}

/** A message from a client, its topic alias resolved. */
export interface PublishRequest extends Omit<Question.PublishRequest, "_tag" | "questionId"> {}

/** Made by `accept`, `grant` and `refuse`. */
export type Decision = Question.Answer

export const accept: Decision = { reasonCode: ReasonCode.Success }

/** Accepts a subscription with at most this QoS. */
export const grant = (qos: QoS): Decision => ({ reasonCode: qos })

/** The last step of an authentication succeeded; the data goes to the client. */
export const authenticated = (authenticationData?: Uint8Array): Decision => ({
  reasonCode: ReasonCode.Success,
  authenticationData
})

/** The authentication needs another step: the client is sent the data and answers. */
export const proceed = (authenticationData?: Uint8Array): Decision => ({
  reasonCode: ReasonCode.ContinueAuthentication,
  authenticationData
})

/**
 * Refuses, with a reason code from 0x80 to 0xFF. 5.0 clients are told the code and the sentence; 3.1 and 3.1.1 clients
 * the nearest code that they know.
 */
export const refuse = (reasonCode: number = ReasonCode.NotAuthorized, reasonString?: string): Decision => ({
  reasonCode,
  reasonString
})

export interface HooksService {
  /** True lets it in; false closes it without a word. */
  readonly connectionRequest?: ((request: ConnectionRequest) => Effect.Effect<boolean, unknown>) | undefined
  /** True lets it in, whatever could be verified. Without this hook only verified certificates are accepted. */
  readonly sslClientAuthentication?: ((request: SSLClientAuthentication) => Effect.Effect<boolean, unknown>) | undefined
  readonly sessionRequest?: ((request: SessionRequest) => Effect.Effect<Decision, unknown>) | undefined
  /** Without it every authentication method is refused with 0x8C, as it should refuse those that it does not know. */
  readonly authenticate?: ((request: Authenticate) => Effect.Effect<Decision, unknown>) | undefined
  readonly subscribe?: ((request: SubscribeRequest) => Effect.Effect<Decision, unknown>) | undefined
  /**
   * Asked at each stage of a message (`stage`), so that rights which were taken away hold from then on: also for wills
   * that are due, and for retained messages when somebody new subscribes (unless `recheckRetained` is off).
   */
  readonly publish?: ((request: PublishRequest) => Effect.Effect<Decision, unknown>) | undefined
}

/** Allows everything unless a layer provides hooks: `Layer.succeed(Hooks.Hooks)({ sessionRequest: … })`. */
export const Hooks: Context.Reference<HooksService> = Context.Reference<HooksService>("effect-mqtt/broker/Hooks", {
  defaultValue: () => ({})
})
