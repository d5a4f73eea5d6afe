import { assert, describe, it } from "@effect/vitest"
import * as ReasonCode from "../../src/protocol/ReasonCode.ts"

/** The codes per packet of the standard, written down a second time; see the table about 89, 8C and 9B. */
const codes: Readonly<Record<ReasonCode.Carrier, string>> = {
  ConnAck: "00 80 81 82 83 84 85 86 87 88 89 8a 8c 90 95 97 99 9a 9b 9c 9d 9f",
  PubAck: "00 10 80 83 87 90 91 97 99",
  PubRec: "00 10 80 83 87 90 91 97 99",
  PubRel: "00 92",
  PubComp: "00 92",
  SubAck: "00 01 02 80 83 87 8f 91 97 9e a1 a2",
  UnsubAck: "00 11 80 83 87 8f 91",
  Disconnect: "00 04 80 81 82 83 87 89 8b 8c 8d 8e 8f 90 93 94 95 96 97 98 99 9a 9b 9c 9d 9e 9f a0 a1 a2",
  Auth: "00 18 19"
}

const carriers = Object.keys(codes) as ReadonlyArray<ReasonCode.Carrier> // a record over the carriers

const hex = (list: ReadonlyArray<number>): string => list.map((code) => code.toString(16).padStart(2, "0")).join(" ")

const allowed = (carrier: ReasonCode.Carrier, sender: "client" | "server"): string =>
  hex(Array.from({ length: 256 }, (_, code) => code).filter((code) => ReasonCode.isAllowed(carrier, sender, code)))

describe("ReasonCode", () => {
  for (const carrier of carriers) {
    it(`lists the codes of ${carrier}`, () => {
      assert.strictEqual(hex(ReasonCode.codes(carrier)), codes[carrier])
    })
  }

  it("knows which side sends what", () => {
    for (const carrier of carriers.filter((one) => one !== "Disconnect" && one !== "Auth")) {
      for (const sender of ["client", "server"] as const) assert.strictEqual(allowed(carrier, sender), codes[carrier])
    }
    assert.strictEqual(allowed("Auth", "client"), "18 19")
    assert.strictEqual(allowed("Auth", "server"), "00 18")
    const client = "00 04 80 81 82 83 89 8c 90 93 94 95 96 97 98 99 9b"
    assert.strictEqual(allowed("Disconnect", "client"), client)
    assert.strictEqual(allowed("Disconnect", "server"), codes.Disconnect.replace(" 04", ""))
  })

  it("has every code once, named as its constant", () => {
    const constants: Readonly<Record<string, unknown>> = ReasonCode
    const numbers = ReasonCode.table.map(({ code }) => code)
    assert.strictEqual(new Set(numbers).size, numbers.length)
    for (const { code, name } of ReasonCode.table) assert.strictEqual(constants[name], code)
    assert.strictEqual(ReasonCode.NormalDisconnection, 0)
    assert.strictEqual(ReasonCode.GrantedQoS0, 0)
  })

  it("is a failure from 0x80 on", () => {
    assert.isFalse(ReasonCode.isFailure(ReasonCode.GrantedQoS2))
    assert.isFalse(ReasonCode.isFailure(0x7f))
    assert.isTrue(ReasonCode.isFailure(ReasonCode.UnspecifiedError))
    assert.isTrue(ReasonCode.isFailure(ReasonCode.WildcardSubscriptionsNotSupported))
  })

  it("describes codes for people", () => {
    assert.strictEqual(ReasonCode.describe(0x87), "not authorized (0x87)")
    assert.strictEqual(ReasonCode.describe(0), "success (0x00)")
    assert.strictEqual(ReasonCode.describe(0xee), "unknown reason code (0xEE)")
  })

  it("maps the return codes of 3.1.1 there and back", () => {
    for (const returnCode of [0, 1, 2, 3, 4, 5]) {
      const code = ReasonCode.fromConnAckReturnCode(returnCode)
      assert.isDefined(code)
      assert.strictEqual(ReasonCode.toConnAckReturnCode(code!), returnCode)
    }
    assert.isUndefined(ReasonCode.fromConnAckReturnCode(6))
    assert.isUndefined(ReasonCode.fromConnAckReturnCode(255))
  })

  it("never tells an older client that a refusal is a success", () => {
    for (const code of ReasonCode.codes("ConnAck")) {
      assert.strictEqual(ReasonCode.toConnAckReturnCode(code) === 0, code === 0, hex([code]))
    }
    for (const code of ReasonCode.codes("SubAck")) {
      assert.strictEqual(ReasonCode.toSubAckReturnCode(code), Math.min(code, 0x80))
    }
  })
})
