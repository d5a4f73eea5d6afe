/**
 * Why a listener could not start: one typed error for each cause that its user can do something about.
 *
 * Each names the address, carries the documented code, and says what to do next.
 */
import * as Schema from "effect/Schema"
import * as CertificateError from "./CertificateError.ts"
import * as SocketErrno from "./SocketErrno.ts"

const address = { host: Schema.String, port: Schema.Int }

export class AddressInUse extends Schema.TaggedError<AddressInUse>()("AddressInUse", {
  code: Schema.tag(10048),
  ...address
}) {
  override get message(): string {
    return (
      `Cannot listen on ${describe(this)}: the address is in use. ` +
      "Stop the program that holds it, or choose another port (0 takes any free one)."
    )
  }
}

export class AccessDenied extends Schema.TaggedError<AccessDenied>()("AccessDenied", {
  code: Schema.tag(10013),
  ...address
}) {
  override get message(): string {
    return (
      `Cannot listen on ${describe(this)}: access denied. ` +
      "Ports below 1024 may need privileges; choose a higher one, or grant the program the right to bind it."
    )
  }
}

export class AddressNotAvailable extends Schema.TaggedError<AddressNotAvailable>()("AddressNotAvailable", {
  code: Schema.tag(10049),
  ...address
}) {
  override get message(): string {
    return (
      `Cannot listen on ${describe(this)}: this machine has no such address. ` +
      "Give one of its own addresses, 0.0.0.0 for all of IPv4, or :: for all."
    )
  }
}

export class HostNotFound extends Schema.TaggedError<HostNotFound>()("HostNotFound", {
  code: Schema.Literals([11001, 11002, 11003, 11004]),
  ...address
}) {
  override get message(): string {
    return (
      `Cannot listen on ${describe(this)}: the host has no address of the wanted kind. ` +
      "Check its spelling, or give an address."
    )
  }
}

const socketErrorCodes = [...new Set(Object.values(SocketErrno.table).map(([code]) => code))]

/** Everything else that the operating system may say. */
export class SocketFailed extends Schema.TaggedError<SocketFailed>()("SocketFailed", {
  code: Schema.Literals(socketErrorCodes),
  errno: Schema.String,
  ...address
}) {
  override get message(): string {
    return `Cannot listen on ${describe(this)}: ${SocketErrno.describe(this.errno)}.`
  }
}

export const reasons = [
  AddressInUse,
  AccessDenied,
  AddressNotAvailable,
  HostNotFound,
  SocketFailed,
  ...CertificateError.reasons
] as const

export type BindError = AddressInUse | AccessDenied | AddressNotAvailable | HostNotFound | SocketFailed

export type ListenError = BindError | CertificateError.CertificateError

/** An address as people write it: IPv6 in brackets. */
const describe = (address: { readonly host: string; readonly port: number }): string =>
  address.host.includes(":") ? `[${address.host}]:${address.port}` : `${address.host}:${address.port}`

/** The name of a failure that Node reports, or its message when it has none. */
export const errnoOf = (error: Error): string =>
  "code" in error && typeof error.code === "string" ? error.code : error.message

export const fromNode = (error: Error, host: string, port: number): BindError => {
  const errno = errnoOf(error)
  const code = SocketErrno.codeOf(errno)
  switch (code) {
    case 10048:
      return new AddressInUse({ host, port })
    case 10013:
      return new AccessDenied({ host, port })
    case 10049:
      return new AddressNotAvailable({ host, port })
    case 11001:
    case 11002:
    case 11003:
    case 11004:
      return new HostNotFound({ code, host, port })
    default:
      return new SocketFailed({ code, errno, host, port })
  }
}
