/**
 * Why a listener's certificate cannot be used: one typed error for each cause that its user can do something about,
 * with the documented SSL code, found before the listener binds.
 *
 * What goes wrong later, in a client's handshake, is an event and not an error of the listener.
 */
import * as Schema from "effect/Schema"

/** A TLS setting that this runtime's OpenSSL does not have. */
export class TlsSettingUnsupported extends Schema.TaggedError<TlsSettingUnsupported>()("TlsSettingUnsupported", {
  code: Schema.tag(270),
  setting: Schema.String,
  detail: Schema.String
}) {
  override get message(): string {
    return `This runtime's TLS library does not support ${this.setting}: ${this.detail}`
  }
}

/** The store cannot be read: it is missing, damaged, or of a kind that Node cannot open. */
export class CertificateStoreUnavailable extends Schema.TaggedError<CertificateStoreUnavailable>()(
  "CertificateStoreUnavailable",
  { code: Schema.tag(271), store: Schema.String, detail: Schema.String }
) {
  override get message(): string {
    return `Cannot open the certificate store ${this.store}: ${this.detail}`
  }
}

/** No certificate in the store has the subject that was asked for. */
export class CertificateNotFound extends Schema.TaggedError<CertificateNotFound>()("CertificateNotFound", {
  code: Schema.tag(272),
  store: Schema.String,
  subject: Schema.String,
  found: Schema.Array(Schema.String)
}) {
  override get message(): string {
    return (
      `No certificate in ${this.store} matches the subject ${JSON.stringify(this.subject)}. ` +
      `Choose one of its own (${this.found.join("; ")}), a part of one, or "*" for the first.`
    )
  }
}

/** The password does not open the store or the key, or the key is of another certificate. */
export class CredentialsUnusable extends Schema.TaggedError<CredentialsUnusable>()("CredentialsUnusable", {
  code: Schema.tag(273),
  store: Schema.String,
  why: Schema.Literals(["password", "key-mismatch", "refused"]),
  detail: Schema.String
}) {
  override get message(): string {
    return `Cannot use the credentials in ${this.store}: ${this.detail}`
  }
}

/** The certificates that should lead on from the server's do not. */
export class CertificateChainMissing extends Schema.TaggedError<CertificateChainMissing>()("CertificateChainMissing", {
  code: Schema.tag(274),
  store: Schema.String,
  issuer: Schema.String
}) {
  override get message(): string {
    return (
      `None of the additional certificates for ${this.store} is its issuer's, ${this.issuer}. ` +
      "Give that authority's certificate, or none if clients know it."
    )
  }
}

/** A certificate of the chain is expired, or was not signed by the next one. */
export class CertificateChainInvalid extends Schema.TaggedError<CertificateChainInvalid>()("CertificateChainInvalid", {
  code: Schema.tag(275),
  store: Schema.String,
  detail: Schema.String
}) {
  override get message(): string {
    return `The certificate chain of ${this.store} cannot be verified: ${this.detail}`
  }
}

/** The certificate is not valid today. */
export class CertificateExpired extends Schema.TaggedError<CertificateExpired>()("CertificateExpired", {
  code: Schema.tag(280),
  store: Schema.String,
  subject: Schema.String,
  validFrom: Schema.String,
  validTo: Schema.String
}) {
  override get message(): string {
    return (
      `The certificate ${this.subject} in ${this.store} is valid from ${this.validFrom} to ${this.validTo}, ` +
      "and not now. Renew it, or set this machine's clock."
    )
  }
}

/** Its authority has revoked the certificate, or could not be asked although that is wanted. */
export class CertificateStatusBad extends Schema.TaggedError<CertificateStatusBad>()("CertificateStatusBad", {
  code: Schema.tag(280),
  subject: Schema.String,
  why: Schema.Literals(["revoked", "unavailable"]),
  detail: Schema.String
}) {
  override get message(): string {
    return this.why === "revoked"
      ? `The certificate ${this.subject} is revoked: ${this.detail}. Get a new one from its authority.`
      : `The status of the certificate ${this.subject} cannot be checked: ${this.detail}. ` +
          "Set SSLCheckOCSP to 1 to go on without it, or to 0."
  }
}

/** The store holds no certificate that a server can use: none at all, or none with its private key. */
export class ServerCertificateMissing extends Schema.TaggedError<ServerCertificateMissing>()(
  "ServerCertificateMissing",
  { code: Schema.tag(282), store: Schema.String, missing: Schema.Literals(["certificate", "private-key"]) }
) {
  override get message(): string {
    return this.missing === "certificate"
      ? `There is no certificate in ${this.store}. Add the server's own, followed by those of its authorities.`
      : `There is a certificate in ${this.store}, but no private key. Add it, or name its file as sslCertKey (--key).`
  }
}

export const reasons = [
  TlsSettingUnsupported,
  CertificateStoreUnavailable,
  CertificateNotFound,
  CredentialsUnusable,
  CertificateChainMissing,
  CertificateChainInvalid,
  CertificateExpired,
  CertificateStatusBad,
  ServerCertificateMissing
] as const

export type CertificateError =
  | TlsSettingUnsupported
  | CertificateStoreUnavailable
  | CertificateNotFound
  | CredentialsUnusable
  | CertificateChainMissing
  | CertificateChainInvalid
  | CertificateExpired
  | CertificateStatusBad
  | ServerCertificateMissing
