/**
 * What tests of enhanced authentication repeat: clients that name a method, and the question to the hook.
 */
import { assert } from "@effect/vitest"
import type { Authenticate } from "../../../src/core/Question.ts"
import type { CoreConfig } from "../../../src/core/CoreConfig.ts"
import type { Packet } from "../../../src/protocol/Packet.ts"
import { CoreHarness } from "../CoreHarness.ts"
import type { ConnectOptions, TestClient } from "../TestClient.ts"
import { only } from "./Clients.ts"

export const METHOD = "SCRAM"
export const ACCEPT = { reasonCode: 0 }
export const CONTINUE = 0x18
export const AGAIN = 0x19

export const bytes = (...values: ReadonlyArray<number>) => new Uint8Array(values)

export const withHook = (config: Partial<CoreConfig> = {}): CoreHarness => {
  const h = new CoreHarness({ config })
  h.core.installed.authenticate = true
  return h
}

/** A client whose CONNECT names the method; nobody has answered yet. */
export const begin = (h: CoreHarness, clientId = "a", options: ConnectOptions = {}, data?: Uint8Array): TestClient =>
  h.connect(clientId, {
    version: 5,
    ...options,
    properties: { ...options.properties, authenticationMethod: METHOD, authenticationData: data }
  })

/** One that has proved itself in one step. */
export const authenticated = (h: CoreHarness, clientId = "a", options: ConnectOptions = {}): TestClient => {
  const client = begin(h, clientId, options)
  h.answer(ACCEPT)
  only(client, "ConnAck")
  return client
}

export const auth = (reasonCode: 0 | 0x18 | 0x19, data?: Uint8Array, method = METHOD): Packet => ({
  _tag: "Auth",
  reasonCode,
  properties: { authenticationMethod: method, authenticationData: data }
})

/** The one open question of this kind, without its number. */
export const asked = (h: CoreHarness): Omit<Authenticate, "_tag" | "questionId"> => {
  assert.strictEqual(h.questions.length, 1)
  const question = h.questions[0]!
  if (question._tag !== "Authenticate") return assert.fail(`asked for ${question._tag}`)
  const { _tag: _, questionId: __, ...rest } = question
  return rest
}
