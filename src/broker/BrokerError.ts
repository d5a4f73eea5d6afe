/**
 * Everything a broker's effects can fail with: one error, with a reason that carries the documented code.
 *
 * Failures of hot code and of the operating system become these here, at the border. A client that misbehaves or goes
 * away is not an error of the broker: it is an event (`BrokerEvent.ts`).
 */
import * as Schema from "effect/Schema"
import type * as ProtocolError from "../protocol/ProtocolError.ts"
import * as SettingError from "../settings/SettingError.ts"
import { InvalidSessionJson } from "../storage/SessionJson.ts"
import * as ListenError from "../transport/ListenError.ts"

export { InvalidSetting, SettingFixed, SettingNotApplicable, UnknownSetting } from "../settings/SettingError.ts"

/** What was to be published or sent breaks the protocol. */
export class ProtocolViolation extends Schema.TaggedError<ProtocolViolation>()("ProtocolViolation", {
  code: Schema.tag(600),
  reasonCode: Schema.Int,
  detail: Schema.String
}) {
  override get message(): string {
    return `MQTT protocol error: ${this.detail}`
  }
}

/** A topic name or filter that MQTT does not allow. */
export class InvalidTopic extends Schema.TaggedError<InvalidTopic>()("InvalidTopic", {
  code: Schema.tag(601),
  reasonCode: Schema.Int,
  topic: Schema.String,
  detail: Schema.String
}) {
  override get message(): string {
    return `Invalid topic ${JSON.stringify(this.topic)}: ${this.detail}`
  }
}

export class NotConnected extends Schema.TaggedError<NotConnected>()("NotConnected", {
  code: Schema.tag(212),
  connectionId: Schema.String
}) {
  override get message(): string {
    return (
      `There is no connection ${JSON.stringify(this.connectionId)}: it has ended, or never was. ` +
      "Take connection ids from the connections snapshot or from a Connected event."
    )
  }
}

export class ShutDown extends Schema.TaggedError<ShutDown>()("ShutDown", {
  code: Schema.tag(211)
}) {
  override get message(): string {
    return "The broker has been shut down. Build its layer again for a new one."
  }
}

/** There is no session of that client. */
export class NoSuchSession extends Schema.TaggedError<NoSuchSession>()("NoSuchSession", {
  code: Schema.tag(211),
  clientId: Schema.String
}) {
  override get message(): string {
    return (
      `There is no session of ${JSON.stringify(this.clientId)}: it has ended, or never was. ` +
      "Take client ids from the sessions snapshot."
    )
  }
}

/** What was to be done with a session cannot be while its client is connected. */
export class SessionConnected extends Schema.TaggedError<SessionConnected>()("SessionConnected", {
  code: Schema.tag(211),
  clientId: Schema.String
}) {
  override get message(): string {
    return `The client ${JSON.stringify(this.clientId)} is connected. Disconnect it first; its session is as it was.`
  }
}

/** There is no room for it under the configuration. */
export class LimitReached extends Schema.TaggedError<LimitReached>()("LimitReached", {
  code: Schema.tag(10055),
  /** The name of the setting. */
  limit: Schema.String,
  detail: Schema.String
}) {
  override get message(): string {
    return `${this.detail} Make room, or raise ${this.limit}.`
  }
}

/** The store takes nothing now, so that nothing that must be kept is accepted. */
export class StorageRefuses extends Schema.TaggedError<StorageRefuses>()("StorageRefuses", {
  code: Schema.tag(10069),
  detail: Schema.String
}) {
  override get message(): string {
    return `${this.detail} The store takes nothing now: make room for it, and try again.`
  }
}

/** What the store kept could not be loaded. */
export class StorageUnavailable extends Schema.TaggedError<StorageUnavailable>()("StorageUnavailable", {
  code: Schema.tag(303),
  detail: Schema.String
}) {
  override get message(): string {
    return `The broker cannot start without what its store keeps: ${this.detail}`
  }
}

export const BrokerErrorReason = Schema.Union([
  ProtocolViolation,
  InvalidTopic,
  NotConnected,
  ShutDown,
  NoSuchSession,
  SessionConnected,
  LimitReached,
  StorageRefuses,
  InvalidSessionJson,
  StorageUnavailable,
  ...SettingError.reasons,
  ...ListenError.reasons
])
export type BrokerErrorReason = typeof BrokerErrorReason.Type

export class BrokerError extends Schema.TaggedError<BrokerError>()("BrokerError", {
  reason: BrokerErrorReason
}) {
  /** The documented number of the failure. */
  get code(): BrokerErrorReason["code"] {
    return this.reason.code
  }

  override get message(): string {
    return this.reason.message
  }
}

export const of = (reason: BrokerErrorReason): BrokerError => new BrokerError({ reason })

/** What the core says of a topic, filter or message that was handed to it. */
export const fromProtocol = (error: ProtocolError.ProtocolError, topic: string): BrokerError => {
  const { message: detail, reasonCode } = error
  return of(
    error.code === 601 ? new InvalidTopic({ reasonCode, topic, detail }) : new ProtocolViolation({ reasonCode, detail })
  )
}
