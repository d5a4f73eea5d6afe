/**
 * The documented TCP/IP codes by the names of this runtime: nothing is in the table that Node cannot report.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Dns from "node:dns"
import * as Os from "node:os"
import { getSystemErrorMap } from "node:util"
import * as SocketErrno from "../../src/transport/SocketErrno.ts"

const known: ReadonlySet<unknown> = new Set<unknown>([
  ...Object.keys(Os.constants.errno),
  ...Array.from(getSystemErrorMap().values(), ([name]) => name),
  // Names of the resolver come from another library.
  ...Object.values<unknown>(Dns)
])

describe("SocketErrno", () => {
  for (const [name, [code, text]] of Object.entries(SocketErrno.table)) {
    it(`${name} is a name that Node has, and ${code}`, () => {
      // Some systems lack some: those have no meaning there and are never reported.
      const elsewhere = ["ESOCKTNOSUPPORT", "EPFNOSUPPORT", "ETOOMANYREFS", "EAI_NODATA", "EAI_AGAIN", "EAI_FAIL"]
      assert.isTrue(known.has(name) || elsewhere.includes(name), `${name} is nothing that Node reports`)
      assert.isTrue((code >= 10_004 && code <= 10_070) || (code >= 11_001 && code <= 11_004))
      assert.strictEqual(SocketErrno.codeOf(name), code)
      assert.strictEqual(SocketErrno.describe(name), `${text} (${name})`)
    })
  }

  it("has every name that listening, accepting, connecting and looking up a host can fail with", () => {
    // What the manual pages of bind, listen, accept, connect and getaddrinfo list for TCP, as Node names them.
    const socket =
      "EACCES EPERM EADDRINUSE EADDRNOTAVAIL EAFNOSUPPORT EAGAIN EWOULDBLOCK EALREADY EBADF ECONNABORTED " +
      "ECONNREFUSED ECONNRESET EFAULT EHOSTDOWN EHOSTUNREACH EINPROGRESS EINTR EINVAL EISCONN EMFILE " +
      "ENETDOWN ENETRESET ENETUNREACH ENFILE ENOBUFS ENODEV ENOMEM ENOPROTOOPT ENOSR ENOTCONN ENOTSOCK " +
      "ENOTSUP EOPNOTSUPP EPIPE EPROTO EPROTONOSUPPORT EPROTOTYPE ETIMEDOUT ENONET ECANCELED"
    const resolver = Array.from(getSystemErrorMap().values(), ([name]) => name).filter((name) => /^EAI_/.test(name))
    const elsewhere = ["EAI_OVERFLOW", "EAI_SERVICE"] // of service names, and we give numbers
    for (const name of [...socket.split(" "), ...resolver, "ENOTFOUND"]) {
      assert.isTrue(SocketErrno.isErrno(name) || elsewhere.includes(name), name)
    }
  })

  it("a name that is not there is an invalid argument, and says its name", () => {
    assert.strictEqual(SocketErrno.codeOf("EWHATEVER"), 10_022)
    assert.strictEqual(SocketErrno.describe("EWHATEVER"), "EWHATEVER")
  })
})
