/**
 * What is asked about a certificate at its authority's responder, and what the answer says (OCSP, RFC 6960).
 *
 * Owns the two messages and whether an answer can be believed: it is about that certificate, its issuer or somebody
 * whom the issuer authorised has signed it, and it is of now. Who asks, and when again, is in `OcspStaple.ts`.
 */
import { createHash, verify, X509Certificate } from "node:crypto"
import * as Der from "./Der.ts"

export interface Answer {
  readonly status: "good" | "revoked" | "unknown"
  /** Milliseconds since the epoch; undefined: there may be a newer one at any time. */
  readonly nextUpdate: number | undefined
}

/** SHA-1, which is how every responder finds a certificate; nothing depends on its strength. */
const SHA1_ALGORITHM = Buffer.from("300906052b0e03021a0500", "hex")
const BASIC_RESPONSE = Buffer.from("2b0601050507300101", "hex")
/** The purpose of a responder's own certificate. */
const OCSP_SIGNING = "1.3.6.1.5.5.7.3.9"
/** How far clocks may be apart, in milliseconds. */
const CLOCK_MILLIS = 5 * 60_000
/** How long an answer is believed that does not say itself: somebody may have kept it from better days. */
const AGE_MILLIS_MAX = 24 * 60 * 60_000

/** Hashes by the algorithm that a signature names: RSA and ECDSA, as object identifiers in hex. */
const hashes = new Map([
  ["2a864886f70d010105", "sha1"],
  ["2a864886f70d01010b", "sha256"],
  ["2a864886f70d01010c", "sha384"],
  ["2a864886f70d01010d", "sha512"],
  ["2a8648ce3d040302", "sha256"],
  ["2a8648ce3d040303", "sha384"],
  ["2a8648ce3d040304", "sha512"]
])

const sha1 = (bytes: Buffer): Buffer => createHash("sha1").update(bytes).digest()

/** The first fields of a certificate; its version, which may be left out, is not among them. */
const fieldsOf = ({ raw }: X509Certificate): ReadonlyArray<Der.Value> => {
  const [signed] = Der.inside(Der.readAll(raw)[0])
  const fields = Der.inside(signed)
  return fields[0]?.tag === Der.context(0) ? fields.slice(1) : fields
}

/** How a certificate is called here: hashes of its issuer's name and key, and its number. */
const identityOf = (certificate: X509Certificate, issuer: X509Certificate): ReadonlyArray<Buffer> => {
  const [serial] = fieldsOf(certificate)
  const [, , , , subject, publicKey] = fieldsOf(issuer)
  const key = Der.bits(Der.inside(publicKey)[1])
  return [Der.write(Der.OCTET_STRING, sha1(subject!.raw)), Der.write(Der.OCTET_STRING, sha1(key)), serial!.raw]
}

/** The question for the status of a certificate. */
export const request = (certificate: X509Certificate, issuer: X509Certificate): Buffer => {
  const id = Der.write(Der.SEQUENCE, SHA1_ALGORITHM, ...identityOf(certificate, issuer))
  return [1, 2, 3, 4].reduce((inner) => Der.write(Der.SEQUENCE, inner), id)
}

/** The signed part, its signature, and who may have signed. */
const signedBy = (basic: ReadonlyArray<Der.Value>, issuer: X509Certificate, now: number): boolean => {
  const [data, algorithm, signature, certificates] = basic
  const hash = hashes.get(Der.inside(algorithm)[0]?.content.toString("hex") ?? "")
  if (hash === undefined) return false
  const sent = certificates === undefined ? [] : Der.inside(Der.inside(certificates)[0])
  const authorised = sent
    .map(({ raw }) => new X509Certificate(raw))
    .filter((each) => each.checkIssued(issuer) && each.verify(issuer.publicKey))
    .filter(({ validFromDate, validToDate }) => validFromDate.getTime() <= now && now <= validToDate.getTime())
    .filter((each) => each.raw.equals(issuer.raw) || each.keyUsage?.includes(OCSP_SIGNING))
  return [issuer, ...authorised].some((each) => verify(hash, data!.raw, each.publicKey, Der.bits(signature)))
}

const statuses = new Map<number, Answer["status"]>([
  [0x80, "good"],
  [0xa1, "revoked"],
  [0x82, "unknown"]
])

/**
 * Reads a responder's answer.
 *
 * @param now milliseconds since the epoch
 * @returns what it says about the certificate, or why it cannot be believed. Throws when it is malformed.
 */
export const read = (
  bytes: Buffer,
  certificate: X509Certificate,
  issuer: X509Certificate,
  now: number
): Answer | string => {
  const [outcome, wrapped] = Der.inside(Der.readAll(bytes)[0])
  if (outcome?.content[0] !== 0) return `the responder refuses (${outcome?.content[0]})`
  const [kind, body] = Der.inside(Der.inside(wrapped)[0])
  if (kind === undefined || body === undefined || !kind.content.equals(BASIC_RESPONSE)) return "it is of no known kind"
  const basic = Der.inside(Der.readAll(body.content)[0])
  if (!signedBy(basic, issuer, now)) return "its signature is not the issuer's"
  const wanted = identityOf(certificate, issuer)
  const responses = Der.inside(Der.inside(basic[0]).find(({ tag }) => tag === Der.SEQUENCE))
  for (const response of responses) {
    const [id, status, thisUpdate, next] = Der.inside(response)
    const [, ...identity] = Der.inside(id)
    if (!wanted.every((part, index) => identity[index]?.raw.equals(part))) continue
    const found = statuses.get(status?.tag ?? 0)
    const nextUpdate = next?.tag === Der.context(0) ? Der.time(Der.inside(next)[0]) : undefined
    if (found === undefined) return "its status is of no known kind"
    const since = Der.time(thisUpdate)
    if (since > now + CLOCK_MILLIS) return "it is of the future: set this machine's clock"
    if ((nextUpdate ?? since + AGE_MILLIS_MAX) <= now) return "it is out of date"
    return { status: found, nextUpdate }
  }
  return "it is about other certificates"
}
