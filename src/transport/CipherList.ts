/**
 * Lists of cipher suites: documented names, OpenSSL's names, and OpenSSL's own syntax (`HIGH:!aNULL:!MD5`), in any mix.
 *
 * OpenSSL passes over what it does not know, and a list with a gap would be weaker than its owner thinks. So what each
 * item means is found out here, and one that means nothing is said to its owner.
 */
import * as Tls from "node:tls"

/** The cipher part of a name like AES_128_GCM_SHA256, as OpenSSL writes it. */
const bulkOf = (name: string): string => {
  if (name.startsWith("3DES_EDE_CBC")) return "DES-CBC3-SHA"
  const joined = name
    .replace(/^RC4_128_/, "RC4-")
    .replace(/^AES_(\d+)_CBC_/, "AES$1-")
    .replace(/^AES_(\d+)_/, "AES$1-")
  return joined.replace("CHACHA20_POLY1305_SHA256", "CHACHA20-POLY1305").replaceAll("_", "-")
}

/** `TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256` is `ECDHE-RSA-AES128-GCM-SHA256`; names of TLS 1.3 are the same in both. */
const opensslName = (name: string): string => {
  const [, exchange, bulk] = /^TLS_(\w+?)_WITH_(\w+)$/.exec(name) ?? []
  if (exchange === undefined || bulk === undefined) return name
  return exchange === "RSA" ? bulkOf(bulk) : `${exchange.replaceAll("_", "-")}-${bulkOf(bulk)}`
}

/** What OpenSSL calls several suites at once (`man ciphers`). The last row: it has had none of those for years. */
const classes: ReadonlySet<string> = new Set(
  `ALL COMPLEMENTOFALL COMPLEMENTOFDEFAULT HIGH MEDIUM LOW FIPS CBC SSLv3 TLSv1 TLSv1.0 TLSv1.2
  RSA kRSA aRSA DH DHE EDH kDHE kEDH ADH ECDH ECDHE EECDH kECDHE kEECDH AECDH DSS aDSS ECDSA aECDSA NULL eNULL aNULL
  PSK kPSK aPSK kRSAPSK kDHEPSK kECDHEPSK SRP kSRP aSRP
  GOST89 GOST94 GOST12 GOST89MAC aGOST aGOST01 aGOST12 kGOST kGOST18
  AES AES128 AES256 AESGCM AESCCM AESCCM8 CHACHA20 ARIA ARIA128 ARIA256 ARIAGCM CAMELLIA CAMELLIA128 CAMELLIA256
  3DES SEED IDEA RC2 RC4 MD5 SHA SHA1 SHA256 SHA384
  DES EXP EXPORT EXPORT40 EXPORT56 SSLv2 KRB5 kDH kDHr kDHd aDH kECDH kECDHr kECDHe aECDH`.split(/\s+/)
)

/** In lower case. */
const suites: ReadonlySet<string> = new Set(Tls.getCiphers())

/** A class, or a suite as OpenSSL writes it: in capitals, which matter to it. */
const nameOf = (text: string): string | undefined => {
  if (classes.has(text)) return text
  const name = opensslName(text).toUpperCase()
  return suites.has(name.toLowerCase()) ? name : undefined
}

/** An item as OpenSSL understands it; undefined: it would pass it over, or not take it as it is meant. */
const ruleOf = (item: string, index: number): string | undefined => {
  if (/^@(?:STRENGTH|SECLEVEL=[0-5])$/.test(item)) return item
  // It is a word for the beginning only.
  if (item === "DEFAULT" && index === 0) return item
  const operator = /^[-!+]/.exec(item)?.[0] ?? ""
  const names = item.slice(operator.length).split("+").map(nameOf)
  // A suite of TLS 1.3 is there or not: what excludes, orders or intersects is about older versions.
  const isPlain = operator === "" && names.length === 1
  const isUsable = names.every((name) => name !== undefined && (isPlain || !name.startsWith("TLS_")))
  return isUsable ? operator + names.join("+") : undefined
}

/** The items of a list, whatever is between them. */
export const items = (list: string): ReadonlyArray<string> => list.split(/[;,:\s]+/).filter(Boolean)

export interface CipherList {
  /** For the `ciphers` option. */
  readonly rules: ReadonlyArray<string>
  /** Items that mean nothing, as they were written. */
  readonly unknown: ReadonlyArray<string>
}

/** What a list means; `*`: what the runtime thinks safe. */
export const parse = (list: string): CipherList => {
  if (list === "*") return { rules: [Tls.DEFAULT_CIPHERS], unknown: [] }
  const rules = items(list).map((item, index) => ({ item, rule: ruleOf(item, index) }))
  return {
    rules: rules.flatMap(({ rule }) => rule ?? []),
    unknown: rules.flatMap(({ item, rule }) => (rule === undefined ? item : []))
  }
}
