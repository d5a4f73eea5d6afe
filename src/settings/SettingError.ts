/**
 * Why a setting was not read or set: each says what there is instead.
 */
import * as Schema from "effect/Schema"

const SHOWN_CHARACTERS = 80

/** A text from outside, quoted, as much of it as a reader needs to know it again. */
export const quote = (text: string): string =>
  JSON.stringify(text.length > SHOWN_CHARACTERS ? `${text.slice(0, SHOWN_CHARACTERS)}…` : text)

/** "Invalid argument": of the wrong type or out of range. */
export class InvalidSetting extends Schema.TaggedError<InvalidSetting>()("InvalidSetting", {
  code: Schema.tag(10022),
  detail: Schema.String
}) {
  override get message(): string {
    return `Invalid broker setting: ${this.detail}`
  }
}

export class UnknownSetting extends Schema.TaggedError<UnknownSetting>()("UnknownSetting", {
  code: Schema.tag(10022),
  name: Schema.String,
  /** Names that look like it, the most alike first. */
  nearest: Schema.Array(Schema.String)
}) {
  override get message(): string {
    return `There is no setting ${quote(this.name)}. Those with the nearest names: ${this.nearest.join(", ")}.`
  }
}

/** "Operation is not supported": a documented setting that has no meaning here. */
export class SettingNotApplicable extends Schema.TaggedError<SettingNotApplicable>()("SettingNotApplicable", {
  code: Schema.tag(10045),
  name: Schema.String,
  reason: Schema.String
}) {
  override get message(): string {
    return `The setting ${this.name} does not apply: ${this.reason}`
  }
}

/** "Action impossible while listening": what a setting changes was made when the broker started. */
export class SettingFixed extends Schema.TaggedError<SettingFixed>()("SettingFixed", {
  code: Schema.tag(213),
  name: Schema.String,
  /** What can be done. */
  instead: Schema.String
}) {
  override get message(): string {
    return `The setting ${this.name} can only be set before the broker starts: ${this.instead}`
  }
}

export const reasons = [InvalidSetting, UnknownSetting, SettingNotApplicable, SettingFixed] as const

export type SettingError = InvalidSetting | UnknownSetting | SettingNotApplicable | SettingFixed
