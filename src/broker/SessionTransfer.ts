/**
 * Sessions out of a running broker and into it, as the documented JSON.
 *
 * Owns what a refusal of the core means to the caller. The document is `storage/SessionJson.ts`, the session
 * `core/SessionImage.ts`.
 */
import * as Effect from "effect/Effect"
import type { BrokerCore } from "../core/BrokerCore.ts"
import type { Limit, Refusal } from "../core/SessionImage.ts"
import * as SessionJson from "../storage/SessionJson.ts"
import type { BrokerSettings } from "./BrokerConfig.ts"
import * as BrokerError from "./BrokerError.ts"
import type { JournalDriver } from "./JournalDriver.ts"
import type { Turn } from "./Turn.ts"

const limitsOf = ({ sessionJsonCharactersMax, topicLevelsMax }: BrokerSettings): SessionJson.Limits => ({
  charactersMax: sessionJsonCharactersMax,
  topicLevelsMax
})

export const save = (
  core: BrokerCore,
  settings: BrokerSettings,
  clientId: string
): Effect.Effect<string, BrokerError.BrokerError> =>
  Effect.suspend(() => {
    const image = core.sessionImage(clientId, Date.now())
    if (image === undefined) return Effect.fail(BrokerError.of(new BrokerError.NoSuchSession({ clientId })))
    return SessionJson.encode(image, limitsOf(settings)).pipe(Effect.mapError(BrokerError.of))
  })

export const load: (
  parts: {
    readonly core: BrokerCore
    readonly settings: BrokerSettings
    readonly turn: Turn
    readonly journal: JournalDriver
  },
  json: string
) => Effect.Effect<void, BrokerError.BrokerError> = Effect.fnUntraced(function* (parts, json) {
  const { core, journal, settings, turn } = parts
  const now = Date.now()
  const image = yield* SessionJson.decode(json, limitsOf(settings), now).pipe(Effect.mapError(BrokerError.of))
  const refusal = core.loadSession(image, now)
  if (refusal !== undefined) return yield* toError(refusal, image.clientId)
  turn.schedule()
  yield* journal.whenDurable(core.publishedSequence())
})

const WHAT: Readonly<Record<Limit, string>> = {
  sessionsMax: "There are as many sessions as are allowed.",
  sessionExpirySecondsMax: "Sessions end with their connection here, and a loaded one has none.",
  subscriptionsPerSessionMax: "The session has more subscriptions than one may have.",
  receiveMaximum: "The session has more incoming messages than one may have.",
  queueMessagesMax: "The session has more waiting messages than one may have.",
  queueBytesMax: "The session's waiting messages are larger than allowed."
}

const toError = (refusal: Refusal, clientId: string): BrokerError.BrokerError => {
  if (refusal === "connected") return BrokerError.of(new BrokerError.SessionConnected({ clientId }))
  if (refusal !== "store")
    return BrokerError.of(new BrokerError.LimitReached({ limit: refusal, detail: WHAT[refusal] }))
  return BrokerError.of(new BrokerError.StorageRefuses({ detail: "The session could not be kept." }))
}
