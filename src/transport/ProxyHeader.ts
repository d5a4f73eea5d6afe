/**
 * The PROXY protocol header, version 1 (a line) and 2 (binary): who a proxy in front of the listener speaks for.
 *
 * Reads bytes and decides nothing: whose header is believed is the listener's. Additional fields (TLVs) are only
 * checked to fit, because nothing here uses them.
 */
import { isIPv4, isIPv6 } from "node:net"

export interface Addresses {
  readonly remoteHost: string
  readonly remotePort: number
  readonly localHost: string
  readonly localPort: number
}

/** `addresses` is undefined when the proxy speaks for itself (a health check), or does not know. */
export type Header =
  | { readonly _tag: "Incomplete" }
  | { readonly _tag: "Invalid"; readonly why: string }
  | { readonly _tag: "Complete"; readonly addresses: Addresses | undefined; readonly bytes: number }

/** Longest line of version 1, with its end. */
const LINE_BYTES_MAX = 107
/** Most bytes after the first 16 of version 2: what proxies in use send fits well. */
const REST_BYTES_MAX = 2_048

const signature = Buffer.from([0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a])
const lineStart = Buffer.from("PROXY ")

const incomplete: Header = { _tag: "Incomplete" }
const invalid = (why: string): Header => ({ _tag: "Invalid", why })

const begins = (bytes: Buffer, start: Buffer): boolean => {
  const length = Math.min(bytes.length, start.length)
  return bytes.subarray(0, length).equals(start.subarray(0, length))
}

const portOf = (text: string): number | undefined =>
  /^(?:0|[1-9]\d{0,4})$/.test(text) && Number(text) <= 65_535 ? Number(text) : undefined

const parseLine = (bytes: Buffer): Header => {
  const end = bytes.subarray(0, LINE_BYTES_MAX).indexOf("\r\n")
  if (end === -1) return bytes.length < LINE_BYTES_MAX ? incomplete : invalid("its line is too long")
  const complete = { _tag: "Complete", bytes: end + 2 } as const
  const [, family, remoteHost = "", localHost = "", remote = "", local = "", ...more] = bytes
    .toString("latin1", 0, end)
    .split(" ")
  if (family === "UNKNOWN") return { ...complete, addresses: undefined }
  const isAddress = family === "TCP4" ? isIPv4 : family === "TCP6" ? isIPv6 : undefined
  const remotePort = portOf(remote)
  const localPort = portOf(local)
  if (isAddress === undefined || more.length > 0) return invalid("its line is malformed")
  if (!isAddress(remoteHost) || !isAddress(localHost)) return invalid("an address in it is malformed")
  if (remotePort === undefined || localPort === undefined) return invalid("a port in it is malformed")
  return { ...complete, addresses: { remoteHost, remotePort, localHost, localPort } }
}

/** Whether the fields that follow the addresses end exactly where the header does. */
const fieldsFit = (bytes: Buffer, from: number, end: number): boolean => {
  let at = from
  while (at + 3 <= end) at += 3 + bytes.readUInt16BE(at + 1)
  return at === end
}

const ipv4At = (bytes: Buffer, at: number): string => bytes.subarray(at, at + 4).join(".")

const ipv6At = (bytes: Buffer, at: number): string => {
  const groups = Array.from({ length: 8 }, (_, index) => bytes.readUInt16BE(at + 2 * index).toString(16))
  // As everybody writes it, with the longest run of zeros left out: a URL's host is put into that form.
  return new URL(`tcp://[${groups.join(":")}]`).hostname.slice(1, -1)
}

const parseBinary = (bytes: Buffer): Header => {
  if (bytes.length < 16) return incomplete
  const command = bytes[12]!
  const family = bytes[13]!
  const rest = bytes.readUInt16BE(14)
  const end = 16 + rest
  if (command >> 4 !== 2) return invalid("its version is not 2")
  if ((command & 0xf) > 1) return invalid("its command is unknown")
  if (rest > REST_BYTES_MAX) return invalid(`it is longer than ${REST_BYTES_MAX} bytes`)
  if (bytes.length < end) return incomplete
  // LOCAL: the proxy itself connects; what follows is to be skipped.
  if ((command & 0xf) === 0) return { _tag: "Complete", addresses: undefined, bytes: end }
  if (family === 0) return { _tag: "Complete", addresses: undefined, bytes: end }
  if (family !== 0x11 && family !== 0x21) return invalid("it is not about TCP over IPv4 or IPv6")
  const size = family === 0x11 ? 4 : 16
  const addressesEnd = 16 + 2 * size + 4
  if (addressesEnd > end) return invalid("its addresses are cut short")
  if (!fieldsFit(bytes, addressesEnd, end)) return invalid("a field in it is longer than the header")
  const addressAt = size === 4 ? ipv4At : ipv6At
  const addresses = {
    remoteHost: addressAt(bytes, 16),
    localHost: addressAt(bytes, 16 + size),
    remotePort: bytes.readUInt16BE(16 + 2 * size),
    localPort: bytes.readUInt16BE(18 + 2 * size)
  }
  return { _tag: "Complete", addresses, bytes: end }
}

/** Reads the header at the start of what a connection has sent so far. */
export const parse = (bytes: Buffer): Header => {
  if (begins(bytes, signature)) return parseBinary(bytes)
  if (begins(bytes, lineStart)) return parseLine(bytes)
  return invalid("there is none")
}
