/**
 * The documented TLS settings in the words of Node and OpenSSL.
 *
 * Owns the translation of protocols, groups and signature algorithms; that of cipher suites is in `CipherList.ts`. A
 * value that this runtime's OpenSSL does not have is an error that names it: a list with a gap would be weaker than its
 * owner thinks.
 */
import * as Effect from "effect/Effect"
import { constants } from "node:crypto"
import * as Tls from "node:tls"
import { TlsSettingUnsupported } from "./CertificateError.ts"
import * as CipherList from "./CipherList.ts"
import type { NegotiatedTls } from "./Listener.ts"
import type { TlsConfig } from "./ListenerConfig.ts"

type Version = "TLSv1" | "TLSv1.1" | "TLSv1.2" | "TLSv1.3"

/** Oldest first: bits of `SSLEnabledProtocols`, and how OpenSSL leaves one out. */
const versions: ReadonlyArray<{ readonly bits: number; readonly version: Version; readonly without: number }> = [
  { bits: 0xc0, version: "TLSv1", without: constants.SSL_OP_NO_TLSv1 },
  { bits: 0x300, version: "TLSv1.1", without: constants.SSL_OP_NO_TLSv1_1 },
  { bits: 0xc00, version: "TLSv1.2", without: constants.SSL_OP_NO_TLSv1_2 },
  { bits: 0x3000, version: "TLSv1.3", without: constants.SSL_OP_NO_TLSv1_3 }
]

/** `ecdhe_secp256r1` is `P-256`, `ffdhe_2048` is `ffdhe2048`. */
const opensslGroup = (name: string): string => {
  const curves: Readonly<Record<string, string>> = {
    ecdhe_x25519: "X25519",
    ecdhe_x448: "X448",
    ecdhe_secp256r1: "P-256",
    ecdhe_secp384r1: "P-384",
    ecdhe_secp521r1: "P-521"
  }
  return curves[name] ?? name.replace(/^ffdhe_/, "ffdhe")
}

/** `sha256-rsa` (TLS 1.2) is `RSA+SHA256`; `rsa_pss_sha256` stands for both kinds of RSA-PSS keys. */
const opensslSignature = (name: string): string => {
  const [, hash, kind] = /^(sha\d+)-(rsa|dsa|ecdsa)$/.exec(name) ?? []
  if (hash !== undefined && kind !== undefined) return `${kind.toUpperCase()}+${hash.toUpperCase()}`
  const [, pss] = /^rsa_pss_(sha\d+)$/.exec(name) ?? []
  return pss === undefined ? name : `rsa_pss_rsae_${pss}:rsa_pss_pss_${pss}`
}

const protocols = Effect.fnUntraced(function* (mask: number) {
  const enabled = versions.filter(({ bits }) => (mask & bits) !== 0)
  const [oldest] = enabled
  if (oldest === undefined) {
    const detail = "it names no version from TLS 1.0 on. Add up 192, 768, 3072 and 12288; 15360 is TLS 1.2 and 1.3."
    return yield* new TlsSettingUnsupported({ setting: `SSLEnabledProtocols ${mask}`, detail })
  }
  const newest = enabled.at(-1)!
  const between = versions.slice(versions.indexOf(oldest), versions.indexOf(newest))
  const left = between.filter((each) => !enabled.includes(each)).reduce((options, { without }) => options | without, 0)
  return { minVersion: oldest.version, maxVersion: newest.version, left }
})

/** Whether OpenSSL takes these options; `setting` is whom to blame. */
const accepted = (setting: string, value: string, options: Tls.SecureContextOptions) =>
  Effect.try({
    try: () => void Tls.createSecureContext(options),
    catch: () =>
      new TlsSettingUnsupported({ setting, detail: `it takes no ${JSON.stringify(value)}. Check the names.` })
  })

const ciphers = Effect.fnUntraced(function* (list: string, minVersion: Version) {
  const setting = "SSLEnabledCipherSuites (OpenSSLCipherList)"
  const { rules, unknown } = CipherList.parse(list)
  const useless = rules.length === 0 && unknown.length === 0 ? [JSON.stringify(list)] : unknown
  if (useless.length > 0) {
    const detail = `it has no use for ${useless.join(", ")}. Leave it out, or set "*" for all that are safe.`
    return yield* new TlsSettingUnsupported({ setting, detail })
  }
  // OpenSSL 3 allows TLS 1.0 and 1.1 only at its lowest level of security: who enables them has decided so.
  const isOld = minVersion === "TLSv1" || minVersion === "TLSv1.1"
  const hasLevel = rules.some((rule) => rule.startsWith("@SECLEVEL"))
  const options = { ciphers: (isOld && !hasLevel ? [...rules, "@SECLEVEL=0"] : rules).join(":") }
  yield* accepted(setting, list, options)
  return options.ciphers
})

/** Everything but certificates and keys. */
export const contextOptions = (config: TlsConfig): Effect.Effect<Tls.SecureContextOptions, TlsSettingUnsupported> =>
  Effect.gen(function* () {
    const { left, maxVersion, minVersion } = yield* protocols(config.sslEnabledProtocols)
    const groups = CipherList.items(config.sslSupportedGroups).map(opensslGroup).join(":")
    const sigalgs = CipherList.items(config.sslSignatureAlgorithms).map(opensslSignature).join(":")
    if (groups !== "") yield* accepted("SupportedGroups", config.sslSupportedGroups, { ecdhCurve: groups })
    if (sigalgs !== "") yield* accepted("SignatureAlgorithms", config.sslSignatureAlgorithms, { sigalgs })
    const renegotiation = config.sslEnableRenegotiation ? 0 : constants.SSL_OP_NO_RENEGOTIATION
    const tickets = config.reuseSSLSession ? 0 : constants.SSL_OP_NO_TICKET
    return {
      minVersion,
      maxVersion,
      ciphers: yield* ciphers(config.sslEnabledCipherSuites, minVersion),
      honorCipherOrder: true,
      secureOptions: left | renegotiation | tickets | constants.SSL_OP_NO_COMPRESSION,
      ...(groups === "" ? {} : { ecdhCurve: groups }),
      ...(sigalgs === "" ? {} : { sigalgs })
    }
  })

const strengthOf = (suite: string): number => {
  if (suite.includes("CHACHA20")) return 256
  if (suite.includes("3DES")) return 168
  return Number(/_(?:AES|ARIA|CAMELLIA)_(\d+)/.exec(suite)?.[1] ?? 0)
}

/** There are few different ones, whatever the number of connections. */
const known = new Map<string, NegotiatedTls>()

/** What the handshake of a socket agreed on. */
export const negotiated = (socket: Tls.TLSSocket): NegotiatedTls => {
  const { name: cipher, standardName: cipherSuite } = socket.getCipher()
  const version = socket.getProtocol() ?? ""
  const key = `${version} ${cipher}`
  const exchange = /^TLS_([A-Z]+)_\w*WITH_/.exec(cipherSuite)?.[1] ?? ""
  const found = known.get(key) ?? {
    version,
    cipher,
    cipherStrength: strengthOf(cipherSuite),
    cipherSuite,
    keyExchange: exchange
  }
  known.set(key, found)
  return found
}
