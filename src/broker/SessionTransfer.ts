/**
 * Sessions out of a running broker and into it, as the documented JSON.
 *
 * Owns what a refusal of the core means to the caller. The document is `storage/SessionJson.ts`, the session
 * `core/SessionImage.ts`.
 */
import * as Effect from "effect/Effect"
import type { BrokerCore } from "../core/BrokerCore.ts"
import type { Limit, Refusal } from "../core/SessionImage.ts"
import type { PutOutgoing } from "../core/StoreOperation.ts"
import * as SessionJson from "../storage/SessionJson.ts"
import type { BrokerSettings } from "./BrokerConfig.ts"
import * as BrokerError from "./BrokerError.ts"
import type { JournalDriver } from "./JournalDriver.ts"
import type { QueueReader } from "./QueueReader.ts"
import type { Turn } from "./Turn.ts"

const limitsOf = (settings: BrokerSettings): SessionJson.Limits => ({
  ...settings,
  charactersMax: settings.sessionJsonCharactersMax
})

/** How often the part of a queue that only the store has is read, while messages come and go. */
const ATTEMPTS_MAX = 10

export const save: (
  parts: { readonly core: BrokerCore; readonly settings: BrokerSettings; readonly queues: QueueReader },
  clientId: string
) => Effect.Effect<string, BrokerError.BrokerError> = Effect.fnUntraced(function* (
  { core, queues, settings },
  clientId
) {
  const limits = limitsOf(settings)
  let waiting: ReadonlyArray<PutOutgoing> = []
  for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
    const image = core.sessionImage(clientId, waiting, Date.now())
    if (image !== undefined) return yield* SessionJson.encode(image, limits).pipe(Effect.mapError(BrokerError.of))
    const part = core.sessionOf(clientId)?.queue.stored
    if (part === undefined) return yield* BrokerError.of(new BrokerError.NoSuchSession({ clientId }))
    // Looked at before it is read: it may be far larger than memory.
    if (part.bytes > limits.charactersMax) {
      return yield* BrokerError.of(SessionJson.tooLong(limits.charactersMax))
    }
    waiting = yield* queues
      .readPart(clientId, part)
      .pipe(Effect.mapError(({ message }) => BrokerError.of(new BrokerError.StorageUnavailable({ detail: message }))))
  }
  const advice = "Disconnect its client, or try again when fewer are published."
  const detail = `The session's messages come and go faster than they can be read. ${advice}`
  return yield* BrokerError.of(new BrokerError.StorageUnavailable({ detail }))
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
  const image = yield* SessionJson.decode(json, limitsOf(settings), now).pipe(
    Effect.mapError((error) =>
      error._tag === "TooMany" ? limitReached(error.limit, error.path) : BrokerError.of(error)
    )
  )
  const refusal = core.loadSession(image, now)
  if (refusal !== undefined) return yield* toError(refusal, image.clientId)
  turn.schedule()
  yield* journal.whenDurable(core.publishedSequence())
})

/** Where in the document it is, and what there is too much of. */
const TOO_MUCH: Readonly<Record<Limit | SessionJson.TooMany["limit"], readonly [path: string, what: string]>> = {
  sessionsMax: ["", "There are as many sessions as are allowed."],
  sessionExpirySecondsMax: ["", "Sessions end with their connection here, and a loaded one has none."],
  subscriptionsPerSessionMax: ["Subscriptions", "The session has more subscriptions than one may have."],
  receiveMaximum: ["IncomingMessages", "The session has more incoming messages than one may have."],
  queueMessagesMax: ["OutgoingMessages", "The session has more waiting messages than one may have."],
  queueBytesMax: ["OutgoingMessages", "The session's waiting messages are larger than allowed."],
  userPropertiesMax: ["", "The message has more user properties than one may have."]
}

const limitReached = (limit: keyof typeof TOO_MUCH, at?: string): BrokerError.BrokerError => {
  const [path, what] = TOO_MUCH[limit]
  const where = at ?? path
  const detail = where === "" ? what : `At ${where}: ${what}`
  return BrokerError.of(new BrokerError.LimitReached({ limit, detail }))
}

const toError = (refusal: Refusal, clientId: string): BrokerError.BrokerError => {
  if (refusal === "connected") return BrokerError.of(new BrokerError.SessionConnected({ clientId }))
  if (refusal !== "store") return limitReached(refusal)
  return BrokerError.of(new BrokerError.StorageRefuses({ detail: "The session could not be kept." }))
}
