/**
 * What is asked about a certificate at its authority's responder, and what the answer says (OCSP, RFC 6960).
 *
 * pkijs writes and reads both messages, and decides whether the signer may speak for the issuer. Owned here is what it
 * leaves to others: whose word counts, which answer is about the certificate, and whether it is of now. Who asks, and
 * when again, is in `OcspStaple.ts`.
 */
import type { X509Certificate } from "node:crypto"
import { BasicOCSPResponse, Certificate, CertID, id_PKIX_OCSP_Basic, OCSPRequest, OCSPResponse } from "pkijs"

export interface Answer {
  readonly status: "good" | "revoked" | "unknown"
  /** Milliseconds since the epoch; undefined: there may be a newer one at any time. */
  readonly nextUpdate: number | undefined
}

/** How far clocks may be apart, in milliseconds. */
const CLOCK_MILLIS = 5 * 60_000
/** How long an answer is believed that does not say itself: somebody may have kept it from better days. */
const AGE_MILLIS_MAX = 24 * 60 * 60_000

const parse = ({ raw }: X509Certificate): Certificate => Certificate.fromBER(new Uint8Array(raw))

/** SHA-1, by which every responder finds a certificate; nothing depends on its strength. */
const namedBy = (issuer: Certificate) => ({ hashAlgorithm: "SHA-1", issuerCertificate: issuer })

/** The question for the status of a certificate. Rejects when it cannot be put. */
export const request = async (certificate: X509Certificate, issuer: X509Certificate): Promise<Buffer> => {
  const question = new OCSPRequest()
  await question.createForCertificate(parse(certificate), namedBy(parse(issuer)))
  return Buffer.from(question.toSchema(true).toBER())
}

/**
 * Those that the issuer itself has signed. Chains are looked for among the others too, and two that have signed each
 * other have one without end.
 */
const issuedBy = async (issuer: Certificate, sent: ReadonlyArray<Certificate>): Promise<Array<Certificate>> => {
  const issued: Array<Certificate> = []
  for (const each of sent) {
    if (each.issuer.isEqual(issuer.subject) && (await each.verify(issuer).catch(() => false))) issued.push(each)
  }
  return issued
}

/** Why the signature proves nothing; undefined: the issuer has signed, or somebody whom it authorised. */
const signatureFault = async (basic: BasicOCSPResponse, issuer: Certificate): Promise<string | undefined> => {
  // The signer is looked for among those sent, and an issuer that signs itself need not send its certificate.
  basic.certs = [...(await issuedBy(issuer, basic.certs ?? [])), issuer]
  try {
    // An issuer that is no root is no chain by itself: that its own signature counts is said on its own.
    const isValid = await basic.verify({ trustedCerts: [issuer], trustedResponders: [issuer] })
    return isValid ? undefined : "its signature is not the issuer's"
  } catch (error) {
    return `its signature is not the issuer's (${error instanceof Error ? error.message : String(error)})`
  }
}

const statuses: ReadonlyArray<Answer["status"]> = ["good", "revoked", "unknown"]

/**
 * Reads a responder's answer.
 *
 * @param now milliseconds since the epoch. Whether a signer's own certificate is of now, pkijs decides by the clock.
 * @returns what it says about the certificate, or why it cannot be believed. Rejects when it is malformed.
 */
export const read = async (
  bytes: Buffer,
  certificate: X509Certificate,
  issuer: X509Certificate,
  now: number
): Promise<Answer | string> => {
  const { responseBytes, responseStatus } = OCSPResponse.fromBER(new Uint8Array(bytes))
  const outcome = responseStatus.valueBlock.valueDec
  if (outcome !== 0) return `the responder refuses (${outcome})`
  if (responseBytes?.responseType !== id_PKIX_OCSP_Basic) return "it is of no known kind"
  const basic = BasicOCSPResponse.fromBER(responseBytes.response.valueBlock.valueHexView)
  const authority = parse(issuer)
  const fault = await signatureFault(basic, authority)
  if (fault !== undefined) return fault
  const wanted = new CertID()
  await wanted.createForCertificate(parse(certificate), namedBy(authority))
  const response = basic.tbsResponseData.responses.find(({ certID }) => certID.isEqual(wanted))
  if (response === undefined) return "it is about other certificates"
  // Its type says nothing: it is the value of a choice, which is known by its tag.
  const choice: { readonly idBlock: { readonly tagNumber: number } } = response.certStatus
  const status = statuses[choice.idBlock.tagNumber]
  if (status === undefined) return "its status is of no known kind"
  const since = response.thisUpdate.getTime()
  const nextUpdate = response.nextUpdate?.getTime()
  if (since > now + CLOCK_MILLIS) return "it is of the future: set this machine's clock"
  if ((nextUpdate ?? since + AGE_MILLIS_MAX) <= now) return "it is out of date"
  return { status, nextUpdate }
}
