/**
 * How many parts the document of a session may have: reading them holds up the broker.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as SessionJson from "../../src/storage/SessionJson.ts"

const limits = (charactersMax: number): SessionJson.Limits => ({
  charactersMax,
  topicLevelsMax: 200,
  subscriptionsPerSessionMax: 1_000,
  queueMessagesMax: 2_000,
  userPropertiesMax: 256
})

describe("a session with more parts than can be read in a moment", () => {
  const UserProperties = Array.from({ length: 256 }, () => ["k", "v"])
  const message = { MessageId: 1, Topic: "t", Payload: "", QoS: 1, DUP: false, Retain: false, PacketId: -1, State: 1 }
  const text = JSON.stringify({
    ClientId: "a",
    Subscriptions: [],
    IncomingMessages: [],
    OutgoingMessages: Array.from({ length: 1_700 }, () => ({ ...message, Properties: { UserProperties } }))
  })

  it.effect("is neither read nor written, unless documents may be longer", () =>
    Effect.gen(function* () {
      const few = limits(64 * 1024 * 1024)
      const unread = yield* Effect.flip(SessionJson.decode(text, few, 0))
      assert.include(unread.message, "More than 419430 objects")
      const image = yield* SessionJson.decode(text, limits(100_000_000), 0)
      const unwritten = yield* Effect.flip(SessionJson.encode(image, few))
      assert.include(unwritten.message, "sessionJsonCharactersMax")
      yield* SessionJson.encode(image, limits(100_000_000))
    })
  )
})
