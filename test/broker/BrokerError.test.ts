import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as BrokerError from "../../src/broker/BrokerError.ts"
import { ProtocolError } from "../../src/protocol/ProtocolError.ts"

describe("BrokerError", () => {
  it("600 and 601 are the documented protocol error and invalid topic name", () => {
    const violation = BrokerError.fromProtocol(new ProtocolError(0x82, "no."), "t")
    const invalid = BrokerError.fromProtocol(new ProtocolError(0x90, "no wildcard.", 601), "a/#")
    assert.deepStrictEqual([violation.code, violation.reason._tag], [600, "ProtocolViolation"])
    assert.deepStrictEqual([invalid.code, invalid.reason._tag], [601, "InvalidTopic"])
    assert.include(invalid.message, "a/#")
  })

  it.effect("a reason can be caught by its name", () =>
    Effect.gen(function* () {
      const failing = Effect.fail(BrokerError.of(new BrokerError.NotConnected({ connectionId: "7" })))
      const caught = yield* Effect.catchReason(failing, "BrokerError", "NotConnected", (reason) =>
        Effect.succeed(reason.connectionId)
      )
      assert.strictEqual(caught, "7")
    })
  )

  it("survives JSON", () => {
    const codec = Schema.toCodecJson(BrokerError.BrokerError)
    const error = BrokerError.of(new BrokerError.InvalidSetting({ detail: "x" }))
    const again = Schema.decodeUnknownSync(codec)(Schema.encodeUnknownSync(codec)(error))
    assert.strictEqual(again.reason._tag, "InvalidSetting")
    assert.strictEqual(again.message, error.message)
  })
})
