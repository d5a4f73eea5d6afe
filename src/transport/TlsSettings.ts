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

/** Those that have a name in TLS 1.3 too, so that nothing is in the one list twice: OpenSSL 3.0 refuses that. */
const shared: Readonly<Record<string, string>> = {
  "sha256-ecdsa": "ecdsa_secp256r1_sha256",
  "sha384-ecdsa": "ecdsa_secp384r1_sha384",
  "sha512-ecdsa": "ecdsa_secp521r1_sha512",
  "sha256-rsa": "rsa_pkcs1_sha256",
  "sha384-rsa": "rsa_pkcs1_sha384",
  "sha512-rsa": "rsa_pkcs1_sha512"
}

/** `sha224-rsa` (TLS 1.2) is `RSA+SHA224`; `rsa_pss_sha256` stands for both kinds of RSA-PSS keys. */
const opensslSignatures = (name: string): ReadonlyArray<string> => {
  const [, hash, kind] = /^(sha\d+)-(rsa|dsa|ecdsa)$/.exec(name) ?? []
  if (hash !== undefined && kind !== undefined) return [shared[name] ?? `${kind}+${hash}`.toUpperCase()]
  const [, pss] = /^rsa_pss_(sha\d+)$/.exec(name) ?? []
  return pss === undefined ? [name] : [`rsa_pss_rsae_${pss}`, `rsa_pss_pss_${pss}`]
}

/** What a kind of list, of which OpenSSL has one for all versions, is called and made of. */
interface Kind {
  readonly setting: string
  readonly option: "ecdhCurve" | "sigalgs"
  readonly translate: (name: string) => ReadonlyArray<string>
  /** What is usual in TLS 1.2, and in TLS 1.3: the documented defaults, but for what is broken. */
  readonly usual: readonly [tls12: string, tls13: string]
}

const GROUPS: Kind = {
  setting: "SupportedGroups",
  option: "ecdhCurve",
  translate: (name) => [opensslGroup(name)],
  usual: [
    "ecdhe_secp256r1,ecdhe_secp384r1,ecdhe_secp521r1",
    // The first resists quantum computers: who restricts TLS 1.2 does not mean to lose it.
    `X25519MLKEM768,ecdhe_x25519,ecdhe_x448,ecdhe_secp256r1,ecdhe_secp384r1,ecdhe_secp521r1,
    ffdhe_2048,ffdhe_3072,ffdhe_4096,ffdhe_6144,ffdhe_8192`
  ]
}

const SIGNATURES: Kind = {
  setting: "SignatureAlgorithms",
  option: "sigalgs",
  translate: opensslSignatures,
  usual: [
    "sha512-ecdsa,sha512-rsa,sha384-ecdsa,sha384-rsa,sha256-ecdsa,sha256-rsa",
    `rsa_pss_sha256,rsa_pss_sha384,rsa_pss_sha512,
    ecdsa_secp256r1_sha256,ecdsa_secp384r1_sha384,ecdsa_secp521r1_sha512,ed25519,ed448`
  ]
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

/** Whether OpenSSL takes these options. */
const takes = (options: Tls.SecureContextOptions): boolean => {
  try {
    Tls.createSecureContext(options)
    return true
  } catch {
    return false
  }
}

/** Fails when it does not; `setting` is whom to blame. */
const accepted = (setting: string, value: string, options: Tls.SecureContextOptions) =>
  takes(options)
    ? Effect.void
    : Effect.fail(
        new TlsSettingUnsupported({ setting, detail: `it takes no ${JSON.stringify(value)}. Check the names.` })
      )

/** The one list for the versions that are enabled, TLS 1.3 first; none: what the runtime has. */
const listOf = Effect.fnUntraced(function* (
  { option, setting, translate, usual }: Kind,
  texts: readonly [tls12: string, tls13: string],
  enabled: readonly [tls12: boolean, tls13: boolean]
) {
  const translated = (text: string) => CipherList.items(text).flatMap(translate)
  const named = texts.map(translated)
  for (const [at, names] of named.entries()) {
    const options = { [option]: names.join(":") }
    if (names.length > 0) yield* accepted(`TLS1${at + 2}${setting}`, texts[at]!, options)
  }
  const [older = [], newest = []] = named.map((names, at) => (enabled[at] ? names : []))
  if (older.length + newest.length === 0) return {}
  const has = (name: string) => takes({ [option]: name })
  const instead = (at: 0 | 1) => (enabled[at] ? translated(usual[at]).filter(has) : [])
  const all = [...(newest.length > 0 ? newest : instead(1)), ...(older.length > 0 ? older : instead(0))]
  return { [option]: [...new Set(all)].join(":") }
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
    const enabled = [minVersion !== "TLSv1.3", maxVersion === "TLSv1.3"] as const
    const groups = [config.tls12SupportedGroups, config.tls13SupportedGroups] as const
    const signatures = [config.tls12SignatureAlgorithms, config.tls13SignatureAlgorithms] as const
    const renegotiation = config.sslEnableRenegotiation ? 0 : constants.SSL_OP_NO_RENEGOTIATION
    const tickets = config.reuseSSLSession ? 0 : constants.SSL_OP_NO_TICKET
    return {
      minVersion,
      maxVersion,
      ciphers: yield* ciphers(config.sslEnabledCipherSuites, minVersion),
      honorCipherOrder: true,
      secureOptions: left | renegotiation | tickets | constants.SSL_OP_NO_COMPRESSION,
      // Without it OpenSSL has no use for the DHE suites of a list. They cost a server more than its client, so those
      // of the runtime's own list, where elliptic curves do the same, stay off.
      ...(config.sslEnabledCipherSuites === "*" ? {} : { dhparam: "auto" }),
      ...(yield* listOf(GROUPS, groups, enabled)),
      ...(yield* listOf(SIGNATURES, signatures, enabled))
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
