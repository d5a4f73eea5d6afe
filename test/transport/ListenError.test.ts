import { assert, describe, it } from "@effect/vitest"
import * as ListenError from "../../src/transport/ListenError.ts"
import * as SocketErrno from "../../src/transport/SocketErrno.ts"

const failure = (code: string): Error => Object.assign(new Error(`listen ${code}`), { code })

describe("ListenError", () => {
  const cases = [
    ["EADDRINUSE", "AddressInUse", 10048],
    ["EACCES", "AccessDenied", 10013],
    ["EADDRNOTAVAIL", "AddressNotAvailable", 10049],
    ["ENOTFOUND", "HostNotFound", 11001],
    ["EAI_AGAIN", "HostNotFound", 11002],
    ["EMFILE", "SocketFailed", 10024],
    ["EAFNOSUPPORT", "SocketFailed", 10047]
  ] as const
  for (const [errno, tag, code] of cases) {
    it(`${errno} is ${tag} with the documented code ${code} and names the address`, () => {
      const error = ListenError.fromNode(failure(errno), "::1", 1883)
      assert.strictEqual(error._tag, tag)
      assert.strictEqual(error.code, code)
      assert.include(error.message, "[::1]:1883")
    })
  }

  it("a failure without a documented code keeps its name and is an invalid argument", () => {
    const error = ListenError.fromNode(failure("EWHATEVER"), "host", 1)
    assert.strictEqual(error._tag, "SocketFailed")
    assert.strictEqual(error.code, 10022)
    assert.include(error.message, "EWHATEVER")
  })

  it("a name that is also a property of every object is not in the table", () => {
    assert.isFalse(SocketErrno.isErrno("constructor"))
    assert.strictEqual(SocketErrno.codeOf("toString"), SocketErrno.UNKNOWN)
  })
})
