/**
 * Questions the core puts to installed hooks, and what may be answered.
 *
 * Who is who: `Asking.ts` puts a question into `CoreState.questions` and remembers who asked in `openQuestions`; the
 * connection that it is about waits (`Holding.ts`), no other does. The shell's `QuestionDriver` takes it to the hook of
 * its kind, and brings the answer to `BrokerCore.answered`; `Continuing.ts` gives that to who asked.
 */
import type { ConnectionId } from "./ConnectionId.ts"
import type { ProtocolVersion, QoS } from "../protocol/Packet.ts"
import type { Properties } from "../protocol/Property.ts"

export interface SessionRequest {
  readonly _tag: "SessionRequest"
  readonly questionId: number
  readonly connectionId: ConnectionId
  readonly clientId: string
  readonly userName: string
  readonly password: Uint8Array | undefined
  readonly protocolVersion: ProtocolVersion
  /** Clean session / clean start, as the manual says. */
  readonly isNew: boolean
  readonly sessionExists: boolean
}

export interface SubscribeRequest {
  readonly _tag: "Subscribe"
  readonly questionId: number
  readonly connectionId: ConnectionId
  readonly clientId: string
  readonly userName: string
  /** "resume": the session has it already, and its client comes back. */
  readonly stage: "subscribe" | "resume"
  /** As it was sent: with `$share/name/` for a shared subscription. */
  readonly topicFilter: string
  /** Without `$share/name/`: what decides which messages it means. */
  readonly filter: string
  /** Of a shared subscription; "": it is not one. */
  readonly shareName: string
  readonly requestedQos: QoS
}

/** Why a message is asked about. */
export type PublishStage = "publish" | "release" | "connect" | "will" | "retained"

/**
 * Asked after topic aliases are resolved, and never for in-process messages. A message at QoS 2 is asked about when it
 * comes and again when it is released, a will when its client connects and again when it is to be published, a retained
 * message (unless `recheckRetained` is off) for each new subscription that is to have it: rights may have been taken
 * away in between. The payload is the broker's own: it is read, not changed.
 */
export interface PublishRequest {
  readonly _tag: "Publish"
  readonly questionId: number
  /**
   * publish: PUBLISH, release: PUBREL, connect: the will of a CONNECT, will: a will that is due, retained: a retained
   * message that a new subscription is to have.
   */
  readonly stage: PublishStage
  /** "" for a will that is due and a retained message: the connection that they came by may have ended. */
  readonly connectionId: ConnectionId | ""
  /** Who published it, whenever that was. */
  readonly clientId: string
  readonly userName: string
  readonly topic: string
  readonly payload: Uint8Array
  readonly qos: QoS
  readonly retain: boolean
  readonly properties: Properties | undefined
}

/** One step of enhanced authentication, at CONNECT or of a connected client [MQTT-4.12]. */
export interface Authenticate {
  readonly _tag: "Authenticate"
  readonly questionId: number
  readonly connectionId: ConnectionId
  readonly clientId: string
  readonly userName: string
  readonly method: string
  readonly data: Uint8Array | undefined
  /** 0 for the first step, then one more for each. */
  readonly step: number
  /** The client is connected and authenticates again. */
  readonly again: boolean
}

export type Question = Authenticate | SessionRequest | SubscribeRequest | PublishRequest

/**
 * 0 accepts (for a subscription 0, 1 or 2 is the QoS granted, for authentication 0x18 asks for more); 0x80 and above
 * refuses with that reason code.
 */
export interface Answer {
  readonly reasonCode: number
  /** Sent to 5.0 clients that did not decline problem information. */
  readonly reasonString?: string | undefined
  /** Of an authentication step: goes to the client. */
  readonly authenticationData?: Uint8Array | undefined
}

/** Which questions have a hook; written by the shell before the first connection. */
export interface Installed {
  authenticate: boolean
  sessionRequest: boolean
  subscribe: boolean
  publish: boolean
}
