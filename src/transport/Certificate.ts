/**
 * A server's certificate with its private key and chain, from wherever it is kept.
 *
 * Owns opening the documented store types, choosing a certificate in them, and finding every fault before a listener
 * binds: each is a typed error with its documented code. What TLS does with it is in `TlsStage.ts`.
 */
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { createPrivateKey, type KeyObject, X509Certificate } from "node:crypto"
import type { Stats } from "node:fs"
import * as Fs from "node:fs/promises"
import * as Tls from "node:tls"
import * as CertificateError from "./CertificateError.ts"
import * as CertificateStore from "./CertificateStore.ts"
import * as DistinguishedName from "./DistinguishedName.ts"
import { errnoOf } from "./ListenError.ts"
import type { CertificateConfig } from "./ListenerConfig.ts"

export interface ServerCertificate {
  readonly certificate: X509Certificate
  /** PKCS#8, PEM. */
  readonly key: string
  /** The certificate and those that lead on from it, PEM. */
  readonly chain: string
  /** The next certificate of the chain, if it is there. */
  readonly issuer: X509Certificate | undefined
}

type Found = Effect.Effect<ServerCertificate, CertificateError.CertificateError>

/** What a store holds, before anything is chosen. */
interface Material {
  readonly keys: ReadonlyArray<KeyObject>
  readonly certificates: ReadonlyArray<X509Certificate>
}

const damaged = (store: string, detail: string) => new CertificateError.CertificateStoreUnavailable({ store, detail })

/** All authorities of an operating system have half a megabyte. */
const FILE_BYTES_MAX = 16 * 1024 * 1024

/** Looked at before it is opened: a pipe that nobody writes to would hold up the program for ever, its end included. */
const fileFault = (stats: Stats): string | undefined => {
  if (!stats.isFile()) return "it is no file but a directory, a pipe or a device"
  return stats.size > FILE_BYTES_MAX ? `it is larger than ${FILE_BYTES_MAX / 1024 / 1024} MiB` : undefined
}

/** Text or bytes as they are, or the contents of the file that a string names. */
const read = (store: string | Uint8Array, type: number, name: string) => {
  if (typeof store !== "string" || !CertificateStore.isPath(type, store)) return Effect.succeed(Buffer.from(store))
  const noPath = CertificateStore.pathFault(store, type)
  const unreadable = (reason: string) =>
    damaged(name, noPath ?? `${reason}. Check the path, and that this program may read it.`)
  const attempt = <A>(evaluate: () => Promise<A>) =>
    Effect.tryPromise({
      try: evaluate,
      catch: (error) => {
        const errno = error instanceof Error ? errnoOf(error) : String(error)
        return unreadable(errno === "ENOENT" ? "there is no such file" : `it cannot be read (${errno})`)
      }
    })
  return Effect.flatMap(
    attempt(() => Fs.stat(store)),
    (stats) => {
      const fault = fileFault(stats)
      return fault === undefined ? attempt(() => Fs.readFile(store)) : Effect.fail(unreadable(fault))
    }
  )
}

const wrongPassword = (store: string) =>
  new CertificateError.CredentialsUnusable({
    store,
    why: "password",
    detail: "the password does not open it. Give the one that it was protected with; if it is that, export it again."
  })

/** PKCS#8, and the older form that says so in a header of its own. */
const isEncrypted = (pem: string): boolean => /^-----BEGIN ENCRYPTED |^Proc-Type: 4,ENCRYPTED/m.test(pem)

/**
 * A wrong password makes nonsense of an encrypted key. OpenSSL mostly notices that at the padding, and once in 256
 * times, when the nonsense is padded well, somewhere else: whatever it says is the password's fault, but for a cipher
 * that it does not have.
 */
const keyFrom = (pem: string, passphrase: string, name: string) =>
  Effect.try({
    try: () => createPrivateKey({ key: pem, format: "pem", passphrase }),
    catch: (error) => {
      const code = error instanceof Error ? errnoOf(error) : String(error)
      if (isEncrypted(pem) && code !== "ERR_OSSL_EVP_UNSUPPORTED") return wrongPassword(name)
      const detail = `its private key cannot be read (${code}). Export it again as PKCS#8 PEM.`
      return new CertificateError.CertificateStoreUnavailable({ store: name, detail })
    }
  })

const certificateFrom = (bytes: Buffer | string, name: string) =>
  Effect.try({
    try: () => new X509Certificate(bytes),
    catch: () => damaged(name, "a certificate in it is damaged. Export it again.")
  })

/** What is in a PEM text; fails when a part of it has no end, which everybody else would pass over. */
const blocksOf = (text: string, name: string) => {
  const blocks = CertificateStore.pemBlocks(text)
  return blocks.isCutOff
    ? Effect.fail(damaged(name, "a part of it is cut off: there is a -----BEGIN without its -----END. Copy it whole."))
    : Effect.succeed(blocks)
}

const fromPem = Effect.fnUntraced(function* (text: string, password: string, name: string) {
  const { certificates, keys } = yield* blocksOf(text, name)
  return {
    keys: yield* Effect.forEach(keys, (pem) => keyFrom(pem, password, name)),
    certificates: yield* Effect.forEach(certificates, (pem) => certificateFrom(pem, name))
  }
})

const WEAK = "it is encrypted in a way that OpenSSL 3 no longer accepts (RC2, RC4 or DES)"

/**
 * Why OpenSSL would not use a PFX; undefined: nothing that its contents do not say better.
 *
 * @param hasCode whether it says itself when its password is wrong; if not, that is found like that of a key
 */
const pfxFault = (
  bytes: Buffer,
  password: string,
  hasCode: boolean,
  name: string
): CertificateError.CertificateError | undefined => {
  try {
    Tls.createSecureContext({ pfx: bytes, passphrase: password })
    return undefined
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    if (message.includes("mac verify failure")) return wrongPassword(name)
    if (message.includes("Unsupported PKCS12")) return damaged(name, CertificateStore.reexport(name, WEAK, "-legacy "))
    if (message.includes("Unable to load")) return undefined
    if (!hasCode) return wrongPassword(name)
    return damaged(name, `it is not a PFX (PKCS#12) store (${message}). Check the file and its store type.`)
  }
}

const fromPfx = Effect.fnUntraced(function* (bytes: Buffer, password: string, name: string) {
  const Pkcs12 = yield* Effect.promise(() => import("./Pkcs12.ts"))
  const iterations = Pkcs12.iterations(bytes)
  if (iterations > Pkcs12.ITERATIONS_MAX) {
    const why = `it takes ${iterations} iterations to open, and more than ${Pkcs12.ITERATIONS_MAX} take too long`
    return yield* damaged(name, CertificateStore.reexport(name, why))
  }
  const fault = pfxFault(bytes, password, Pkcs12.hasAuthenticationCode(bytes), name)
  if (fault !== undefined) return yield* fault
  return yield* Effect.tryPromise({
    try: async () => {
      const { certificates, keys } = await Pkcs12.list(bytes, password)
      return {
        keys: keys.map((key) => createPrivateKey({ key, format: "der", type: "pkcs8", passphrase: password })),
        certificates: certificates.map((certificate) => new X509Certificate(certificate))
      }
    },
    catch: (error) => damaged(name, `its contents cannot be listed (${String(error)}). Give them as a PEM file.`)
  })
})

/** Everything in the store, and the key that may be beside it. */
const open = Effect.fnUntraced(function* (config: CertificateConfig, name: string) {
  const { sslCertKey, sslCertStore, sslCertStoreType } = config
  const password = Redacted.value(config.sslCertStorePassword)
  const bytes = yield* read(sslCertStore, sslCertStoreType, name)
  const format = CertificateStore.formatOf(sslCertStoreType, bytes)
  if (typeof format === "object") return yield* damaged(name, format.fault)
  let material: Material
  if (format === "pfx") material = yield* fromPfx(CertificateStore.binary(bytes), password, name)
  else if (format === "pem") material = yield* fromPem(bytes.toString("utf8"), password, name)
  else material = { keys: [], certificates: [yield* certificateFrom(bytes, name)] }
  if (sslCertKey === undefined) return material
  const keyName = CertificateStore.nameOf(sslCertKey)
  const keyBytes = yield* read(sslCertKey, CertificateStore.AUTO, keyName)
  const key = yield* keyFrom(keyBytes.toString("latin1"), password, keyName)
  return { keys: [...material.keys, key], certificates: material.certificates }
})

const hasKey = ({ keys }: Material, certificate: X509Certificate): boolean =>
  keys.some((key) => certificate.checkPrivateKey(key))

const fingerprints = ({ fingerprint, fingerprint256, fingerprint512 }: X509Certificate): ReadonlyArray<string> =>
  [fingerprint, fingerprint256, fingerprint512].map((text) => text.replaceAll(":", ""))

/** The certificates that the wanted subject means; of several kinds of match only the best. */
const matching = (certificates: ReadonlyArray<X509Certificate>, wanted: string): ReadonlyArray<X509Certificate> => {
  if (wanted === "*" || wanted === "") return certificates
  const thumbprint = /^thumbprint=(.+)$/i.exec(wanted)?.[1]?.replaceAll(/[:\s]/g, "").toUpperCase()
  if (thumbprint !== undefined) return certificates.filter((each) => fingerprints(each).includes(thumbprint))
  const match = (each: X509Certificate) => DistinguishedName.match(DistinguishedName.fromNode(each.subject), wanted)
  const exact = certificates.filter((each) => match(each) === "exact")
  return exact.length > 0 ? exact : certificates.filter((each) => match(each) === "part")
}

const choose = (
  material: Material,
  subject: string,
  store: string
): Effect.Effect<X509Certificate, CertificateError.CertificateError> => {
  const { certificates, keys } = material
  if (certificates.length === 0) {
    return Effect.fail(new CertificateError.ServerCertificateMissing({ store, missing: "certificate" }))
  }
  const wanted = matching(certificates, subject)
  if (wanted.length === 0) {
    const found = certificates.map((each) => DistinguishedName.fromNode(each.subject))
    return Effect.fail(new CertificateError.CertificateNotFound({ store, subject, found }))
  }
  const usable = wanted.find((each) => hasKey(material, each))
  if (usable !== undefined) return Effect.succeed(usable)
  if (keys.length === 0) {
    return Effect.fail(new CertificateError.ServerCertificateMissing({ store, missing: "private-key" }))
  }
  const detail = "the private key belongs to another certificate. Give the pair that was made together."
  return Effect.fail(new CertificateError.CredentialsUnusable({ store, why: "key-mismatch", detail }))
}

const isValid = ({ validFromDate, validToDate }: X509Certificate, now: number): boolean =>
  validFromDate.getTime() <= now && now <= validToDate.getTime()

const isSelfIssued = (certificate: X509Certificate): boolean => certificate.subject === certificate.issuer

/** The certificate, its issuer, that one's issuer, as far as they are there. */
const chainOf = (leaf: X509Certificate, others: ReadonlyArray<X509Certificate>, store: string) =>
  Effect.gen(function* () {
    const chain = [leaf]
    for (let last = leaf; !isSelfIssued(last) && chain.length <= others.length; ) {
      const issuer = others.find((each) => last.checkIssued(each))
      if (issuer === undefined) break
      const subject = DistinguishedName.fromNode(issuer.subject)
      const detail = !isValid(issuer, Date.now())
        ? `${subject} is valid from ${issuer.validFrom} to ${issuer.validTo}. Give its successor.`
        : !last.verify(issuer.publicKey)
          ? `${subject} has the name of an issuer, but did not sign what it should have. Give the one that did.`
          : undefined
      if (detail !== undefined) return yield* new CertificateError.CertificateChainInvalid({ store, detail })
      chain.push(issuer)
      last = issuer
    }
    return chain
  })

/** What is in a PEM text, given as itself or as the path of its file, and how to call it. */
const readPem = Effect.fnUntraced(function* (setting: string, textOrPath: string) {
  const name = CertificateStore.nameOf(textOrPath, CertificateStore.AUTO, setting)
  const text = (yield* read(textOrPath, CertificateStore.AUTO, name)).toString("utf8")
  return { name, ...(yield* blocksOf(text, name)) }
})

/** Certificates in PEM, given as text or as the path of a file, each checked, and at least one; "" for none. */
export const readCertificates = Effect.fnUntraced(function* (setting: string, textOrPath: string) {
  if (textOrPath === "") return []
  const { certificates, lists, name } = yield* readPem(setting, textOrPath)
  if (certificates.length === 0) {
    const instead = lists.length > 0 ? " Revocation lists are for sslClientCRLs." : ""
    return yield* damaged(name, `it holds no certificate in PEM form for ${setting}.${instead}`)
  }
  return yield* Effect.forEach(certificates, (pem) => certificateFrom(pem, name))
})

/** Revocation lists in PEM, as `readCertificates` reads certificates. Each of its own: of one text Node reads one. */
export const readRevocationLists = Effect.fnUntraced(function* (setting: string, textOrPath: string) {
  if (textOrPath === "") return []
  const { lists, name } = yield* readPem(setting, textOrPath)
  if (lists.length === 0) return yield* damaged(name, `it holds no revocation list in PEM form for ${setting}.`)
  yield* Effect.try({
    try: () => Tls.createSecureContext({ crl: [...lists] }),
    catch: () => damaged(name, "a revocation list in it is damaged. Get it from its authority again.")
  })
  return lists
})

/** Opens the store and finds the certificate; `authorities` may lead on from it. */
export const load = (config: CertificateConfig, authorities: ReadonlyArray<X509Certificate> = []): Found =>
  Effect.gen(function* () {
    const { sslCertStore, sslCertStoreType, sslCertSubject } = config
    const store = CertificateStore.nameOf(sslCertStore, sslCertStoreType)
    const material = yield* open(config, store)
    const leaf = yield* choose(material, sslCertSubject, store)
    const { issuer, subject, validFrom, validTo } = leaf
    if (!isValid(leaf, Date.now())) {
      const named = DistinguishedName.fromNode(subject)
      return yield* new CertificateError.CertificateExpired({ store, subject: named, validFrom, validTo })
    }
    const others = material.certificates.filter((each) => each !== leaf && !hasKey(material, each))
    const chain = yield* chainOf(leaf, [...others, ...authorities], store)
    if (authorities.length > 0 && chain.length === 1 && !isSelfIssued(leaf)) {
      return yield* new CertificateError.CertificateChainMissing({ store, issuer: DistinguishedName.fromNode(issuer) })
    }
    const key = material.keys.find((each) => leaf.checkPrivateKey(each))!
    return {
      certificate: leaf,
      key: key.export({ type: "pkcs8", format: "pem" }).toString(),
      chain: chain.map(String).join(""),
      issuer: chain[1]
    }
  })
