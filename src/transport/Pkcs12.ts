/**
 * What is in a PKCS#12 store (PFX): Node can use one, but not list it, and takes the first key of several.
 *
 * node-forge reads the form, which need not be DER, and derives keys in the way that is PKCS#12's own; the rest is for
 * Node's cryptography. Certificates are handed on as the bytes that they are, because encoded again their signatures
 * may not fit; keys as well, encrypted or not, so that keys of any kind work. Whether the password is right and OpenSSL
 * would open the store is asked before (`Certificate.ts`): the authentication code is not looked at.
 */
import Forge from "node-forge"
import { createDecipheriv, getCipherInfo, pbkdf2 } from "node:crypto"
import { promisify } from "node:util"

export interface Contents {
  /** Private keys, PKCS#8 in DER; those that are encrypted are so with the store's password. */
  readonly keys: ReadonlyArray<Buffer>
  /** Certificates in DER. */
  readonly certificates: ReadonlyArray<Buffer>
}

/** Of a whole store: half a second in which OpenSSL, and all else, stands still. The usual ones have 6,000. */
export const ITERATIONS_MAX = 2_000_000

type Asn1 = Forge.asn1.Asn1

const parse = (bytes: Uint8Array): Asn1 => Forge.asn1.fromDer(Buffer.from(bytes).toString("latin1"))

const derOf = (value: Asn1): Buffer => Buffer.from(Forge.asn1.toDer(value).getBytes(), "latin1")

const inside = (value: Asn1 | undefined): ReadonlyArray<Asn1> => {
  if (!Array.isArray(value?.value)) throw new Error("a structure is missing")
  return value.value
}

/** Of a string, which may be in parts. */
const bytesOf = (value: Asn1 | undefined): Buffer =>
  typeof value?.value === "string" ? Buffer.from(value.value, "latin1") : Buffer.concat(inside(value).map(bytesOf))

const numberOf = (value: Asn1 | undefined): number => Number(`0x${bytesOf(value).toString("hex")}`)

const identifierOf = (value: Asn1 | undefined): string => Forge.asn1.derToOid(bytesOf(value).toString("latin1"))

const names: Readonly<Record<string, string>> = Forge.pki.oids

/** The name of an object identifier, itself where it has none. */
const nameOf = (value: Asn1 | undefined): string => names[identifierOf(value)] ?? identifierOf(value)

/** Ciphers with keys of PKCS#12's own, of which OpenSSL 3 still has these. */
const ownCiphers: Readonly<Record<string, string>> = {
  "pbeWithSHAAnd3-KeyTripleDES-CBC": "des-ede3-cbc",
  "pbeWithSHAAnd2-KeyTripleDES-CBC": "des-ede-cbc"
}

/** Forge takes ten microseconds for one, in which everything else stands still. */
const OWN_ITERATIONS_MAX = 100_000

const deriveOwn = (password: string | null, parameters: Asn1 | undefined, use: number, length: number): Buffer => {
  const [salt, count] = inside(parameters)
  const iterations = numberOf(count)
  if (iterations > OWN_ITERATIONS_MAX) throw new Error(`triple DES with more than ${OWN_ITERATIONS_MAX} iterations`)
  const saltBytes = new Forge.util.ByteStringBuffer(bytesOf(salt).toString("latin1"))
  return Buffer.from(Forge.pkcs12.generateKey(password, saltBytes, use, iterations, length).getBytes(), "latin1")
}

interface Secret {
  readonly cipher: string
  readonly key: Buffer
  readonly iv: Buffer
}

const derive = promisify(pbkdf2)

/** PBES2 with PBKDF2. The password is text in UTF-8 here, and UTF-16 in the others. */
const secretOfPbes2 = async (parameters: Asn1 | undefined, password: string): Promise<Secret> => {
  const [derivation, scheme] = inside(parameters)
  const [kind, settings] = inside(derivation)
  if (nameOf(kind) !== "pkcs5PBKDF2") throw new Error(`a key derivation that is not known here, ${nameOf(kind)}`)
  const [salt, count, ...more] = inside(settings)
  const last = more.at(-1)
  const digest = Array.isArray(last?.value) ? nameOf(inside(last)[0]).replace(/^hmacWith/, "") : "SHA1"
  const [identifier, iv] = inside(scheme)
  const cipher = identifierOf(identifier)
  const length = getCipherInfo(cipher)?.keyLength
  if (length === undefined) throw new Error(`a cipher that is not known here, ${nameOf(identifier)}`)
  const key = await derive(password, bytesOf(salt), numberOf(count), length, digest)
  return { cipher, key, iv: bytesOf(iv) }
}

const secretOf = async (algorithm: Asn1 | undefined, password: string | null): Promise<Secret> => {
  const [identifier, parameters] = inside(algorithm)
  const name = nameOf(identifier)
  if (name === "pkcs5PBES2") return secretOfPbes2(parameters, password ?? "")
  const cipher = ownCiphers[name]
  if (cipher === undefined) throw new Error(`an encryption that is not known here, ${name}`)
  const { ivLength = 0, keyLength = 0 } = getCipherInfo(cipher) ?? {}
  const [key, iv] = [deriveOwn(password, parameters, 1, keyLength), deriveOwn(password, parameters, 2, ivLength)]
  return { cipher, key, iv }
}

const decrypt = async (algorithm: Asn1 | undefined, bytes: Buffer, password: string | null): Promise<Asn1> => {
  const { cipher, iv, key } = await secretOf(algorithm, password)
  const decipher = createDecipheriv(cipher, key, iv)
  return parse(Buffer.concat([decipher.update(bytes), decipher.final()]))
}

/** The bags of a part of the store; none of one for the owner of some key, which OpenSSL passes over too. */
const bagsOf = async (part: Asn1, password: string): Promise<ReadonlyArray<Asn1>> => {
  const [type, content] = inside(part)
  const [data] = inside(content)
  if (nameOf(type) === "data") return inside(parse(bytesOf(data)))
  if (nameOf(type) !== "encryptedData") return []
  const [, encrypted] = inside(data)
  const [, algorithm, bytes] = inside(encrypted)
  const attempt = (text: string | null) => decrypt(algorithm, bytesOf(bytes), text)
  // Programs disagree whether no password is an empty one.
  return inside(await (password === "" ? attempt("").catch(() => attempt(null)) : attempt(password)))
}

const none: Contents = { keys: [], certificates: [] }

const contentsOf = (bag: Asn1): Contents => {
  const [type, content] = inside(bag)
  const [value] = inside(content)
  switch (nameOf(type)) {
    case "keyBag":
    case "pkcs8ShroudedKeyBag":
      return { ...none, keys: value === undefined ? [] : [derOf(value)] }
    case "certBag": {
      const [kind, certificate] = inside(value)
      return nameOf(kind) === "x509Certificate" ? { ...none, certificates: [bytesOf(inside(certificate)[0])] } : none
    }
    case "safeContentsBag":
      return joined(inside(value))
    default:
      return none
  }
}

const joined = (bags: ReadonlyArray<Asn1>): Contents => {
  const contents = bags.map(contentsOf)
  return {
    keys: contents.flatMap(({ keys }) => keys),
    certificates: contents.flatMap(({ certificates }) => certificates)
  }
}

const partsOf = (store: Asn1): ReadonlyArray<Asn1> => {
  const [, safe] = inside(store)
  const [, content] = inside(safe)
  return inside(parse(bytesOf(inside(content)[0])))
}

/** Lists a store. Rejects when it cannot be read here. */
export const list = async (store: Uint8Array, password: string): Promise<Contents> => {
  const bags = await Promise.all(partsOf(parse(store)).map((part) => bagsOf(part, password)))
  return joined(bags.flat())
}

const { Type } = Forge.asn1

/** In every algorithm, and beside the authentication code, the count is the number that follows a salt. */
const countsIn = (value: Asn1): number => {
  if (!Array.isArray(value.value)) return 0
  return value.value.reduce((sum, each, index, all) => {
    const isCount = each.type === Type.INTEGER && all[index - 1]?.type === Type.OCTETSTRING
    return sum + (isCount ? numberOf(each) : countsIn(each))
  }, 0)
}

/** How many iterations it takes to open a store, as far as can be seen from outside; 0: it cannot be read here. */
export const iterations = (store: Uint8Array): number => {
  try {
    const whole = parse(store)
    return partsOf(whole).reduce((sum, part) => {
      const [type, content] = inside(part)
      return sum + countsIn(part) + (nameOf(type) === "data" ? countsIn(parse(bytesOf(inside(content)[0]))) : 0)
    }, countsIn(whole))
  } catch (_error) {
    return 0
  }
}

/** Whether a store says itself that its password is wrong; also when it is damaged, or in a form unknown here. */
export const hasAuthenticationCode = (store: Uint8Array): boolean => {
  try {
    return inside(parse(store)).length !== 2
  } catch (_error) {
    return true
  }
}
