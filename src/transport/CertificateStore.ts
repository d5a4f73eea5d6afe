/**
 * The documented kinds of certificate stores: their numbers, how to tell one from another, and which Node can open.
 *
 * Knows forms, not contents: those are read in `Certificate.ts`.
 */

/** Find out what it is. */
export const AUTO = 99

export type Format = "pfx" | "pem" | "certificate" | { readonly fault: string }

const openable = new Map<number, Format>([
  [2, "pfx"],
  [3, "pfx"],
  [6, "pem"],
  [7, "pem"]
])

/** What Node has no means to open, by number. */
const others = new Map([
  [0, "a certificate store of a Windows user (cstUser)"],
  [1, "a certificate store of a Windows machine (cstMachine)"],
  [4, "a Java key store file (cstJKSFile)"],
  [5, "a Java key store (cstJKSBlob)"],
  [10, "an SSH public key (cstSSHPublicKeyBlob)"],
  [11, "a PKCS#7 file (cstP7BFile)"],
  [12, "a PKCS#7 store (cstP7BBlob)"],
  [13, "an SSH public key file (cstSSHPublicKeyFile)"],
  [14, "a PuTTY private key file (cstPPKFile)"],
  [15, "a PuTTY private key (cstPPKBlob)"],
  [16, "an XML key file (cstXMLFile)"],
  [17, "an XML key (cstXMLBlob)"],
  [18, "a JSON web key file (cstJWKFile)"],
  [19, "a JSON web key (cstJWKBlob)"],
  [20, "a security key (cstSecurityKey)"],
  [21, "a Bouncy Castle key store file (cstBCFKSFile)"],
  [22, "a Bouncy Castle key store (cstBCFKSBlob)"]
])

/** The kinds that name a file; of a string that is to be looked at, what is no PEM text and not plainly base64. */
export const isPath = (type: number, store: string | Uint8Array): boolean => {
  if (typeof store !== "string") return false
  if (type === AUTO) return !store.includes("-----BEGIN ") && !/^MII[A-Za-z0-9+/=\s]{200,}$/.test(store)
  return [2, 4, 6, 8, 11, 13, 14, 16, 18, 21].includes(type)
}

/** How a store is called that has no path. */
const IN_MEMORY = "(given in memory)"

/** Longer ones are called by no name, though they are opened. */
const SHOWN_PATH_LENGTH_MAX = 255

/** One short line, and not the base64 of something in DER: that may be a key, whatever type it was given with. */
const looksLikePath = (text: string): boolean =>
  text.length <= SHOWN_PATH_LENGTH_MAX &&
  !/\p{Cc}|-----/u.test(text) &&
  !/^M[A-Za-z0-9+/=]{40,}$|[A-Za-z0-9+=]{65,}/.test(text)

/** How a store is called in messages: its path, or else what it is. Never its contents. */
export const nameOf = (store: string | Uint8Array, type = AUTO, unnamed = IN_MEMORY): string =>
  typeof store === "string" && isPath(type, store) && looksLikePath(store) ? store : unnamed

/** What to do about a text that was taken for a path and is not that of a file; undefined: it does look like one. */
export const pathFault = (text: string, type: number): string | undefined => {
  if (looksLikePath(text)) return undefined
  return type === AUTO
    ? "it is neither the path of a file nor whole. Give it from its first -----BEGIN to its last -----END, or a path."
    : `it is text, and type ${type} takes the path of a file. Give type 7 for PEM text, 3 for a PFX, or ${AUTO}.`
}

const cannotOpen = (what: string): Format => ({
  fault: `it is ${what}, which Node cannot open. Convert it to PKCS#12 (.pfx) or PEM, and give that.`
})

const beginsWith = (bytes: Buffer, ...start: ReadonlyArray<number>): boolean =>
  start.every((byte, index) => bytes[index] === byte)

/** DER: what follows the outermost length. */
const firstInside = (bytes: Buffer): number | undefined => {
  const length = bytes[1] ?? 0
  return bytes[length < 0x80 ? 2 : 2 + (length & 0x7f)]
}

const detect = (bytes: Buffer): Format => {
  const text = bytes.subarray(0, 65_536).toString("latin1").trimStart()
  if (/-----BEGIN (?:PKCS7|CMS)-----/.test(text)) return cannotOpen("a PKCS#7 store")
  if (text.includes("-----BEGIN ")) return "pem"
  if (beginsWith(bytes, 0xfe, 0xed, 0xfe, 0xed)) return cannotOpen("a Java key store (JKS)")
  if (text.startsWith("PuTTY-User-Key-File")) return cannotOpen("a PuTTY private key (PPK)")
  if (/^(?:ssh-|ecdsa-)/.test(text)) return cannotOpen("an SSH public key")
  if (text.startsWith("{")) return cannotOpen("a JSON web key (JWK)")
  if (text.startsWith("<")) return cannotOpen("an XML key")
  if (text.startsWith("MII")) return detect(binary(bytes))
  // DER: a PFX begins with its version, a certificate with another sequence, PKCS#7 with an object identifier.
  if (bytes[0] === 0x30) {
    const inside = firstInside(bytes)
    if (inside === 0x02) return "pfx"
    if (inside === 0x30) return "certificate"
    if (inside === 0x06) return cannotOpen("a PKCS#7 store")
  }
  return { fault: "it is no kind of store that is known here. Give a PKCS#12 (.pfx) or PEM file." }
}

/** What a store is, by its number or by its look. */
export const formatOf = (type: number, bytes: Buffer): Format => {
  if (type === AUTO) return detect(bytes)
  if (type === 8 || type === 9) return bytes.includes("-----BEGIN ") ? "pem" : "certificate"
  const known = openable.get(type)
  if (known !== undefined) return known
  const name = others.get(type)
  return name === undefined
    ? { fault: `there is no store type ${type}. Give 2 or 3 for PFX, 6 or 7 for PEM, or ${AUTO} to find out.` }
    : cannotOpen(name)
}

/** A binary store that may have been given as base64. */
export const binary = (bytes: Buffer): Buffer =>
  bytes[0] === 0x30 ? bytes : Buffer.from(bytes.toString("latin1"), "base64")

export interface PemBlocks {
  readonly keys: ReadonlyArray<string>
  readonly certificates: ReadonlyArray<string>
  /** Lists of what is revoked. */
  readonly lists: ReadonlyArray<string>
  /** Whether one of these has a beginning and no end. */
  readonly isCutOff: boolean
}

const KEY = /PRIVATE KEY$/
const CERTIFICATE = /^(?:X509 |TRUSTED )?CERTIFICATE$/
const LIST = /^X509 CRL$/

/** What there is in a PEM text, in its order; whatever else is in it is passed over. */
export const pemBlocks = (text: string): PemBlocks => {
  // Each from one beginning to the next, so that those without an end cost no more than their length.
  const parts = text.split(/(?=-----BEGIN )/)
  const blocks = parts.flatMap((part) => [/^-----BEGIN ([A-Z0-9 ]+)-----[\s\S]*?-----END \1-----/.exec(part) ?? []])
  const of = (kind: RegExp) =>
    blocks.flatMap(([block, label]) => (label !== undefined && kind.test(label) ? [`${block}\n`] : []))
  const found = { keys: of(KEY), certificates: of(CERTIFICATE), lists: of(LIST) }
  const begun = parts.filter((part) => {
    const label = /^-----BEGIN ([A-Z0-9 ]+)-----/.exec(part)?.[1] ?? ""
    return [KEY, CERTIFICATE, LIST].some((kind) => kind.test(label))
  })
  return { ...found, isCutOff: begun.length > found.keys.length + found.certificates.length + found.lists.length }
}

/** What to do about a PFX that is encrypted too weakly or at too much expense. */
export const reexport = (store: string, why: string, options = ""): string => {
  const file = store.startsWith("(") ? "store.pfx" : store
  return (
    `${why}. Export it again: openssl pkcs12 ${options}-in ${JSON.stringify(file)} -nodes -out all.pem && ` +
    "openssl pkcs12 -export -in all.pem -out new.pfx && rm all.pem"
  )
}
