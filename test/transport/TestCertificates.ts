/**
 * Certificates for tests, made by the test run: authorities, servers, clients, each as PEM and as PFX.
 *
 * Keys are made once and shared by certificates, because making one takes longer than everything else here.
 */
import Forge from "node-forge"
import { spawnSync } from "node:child_process"
import { generateKeyPairSync } from "node:crypto"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Der from "./TestDer.ts"

interface Key {
  readonly pem: string
  readonly pair: Forge.pki.rsa.KeyPair
}

const makeKey = (modulusLength: number): Key => {
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength })
  const pem = privateKey.export({ type: "pkcs8", format: "pem" }).toString()
  const forgeKey = Forge.pki.privateKeyFromPem(privateKey.export({ type: "pkcs1", format: "pem" }).toString())
  return { pem, pair: { privateKey: forgeKey, publicKey: Forge.pki.setRsaPublicKey(forgeKey.n, forgeKey.e) } }
}

const keys = new Map<string, Key>()

const keyFor = (name: string, bits: number): Key => {
  const found = keys.get(name) ?? makeKey(bits)
  keys.set(name, found)
  return found
}

export interface Issued {
  readonly certPem: string
  readonly keyPem: string
  /** Key and certificate in one text. */
  readonly pem: string
  readonly certificate: Forge.pki.Certificate
  readonly key: Forge.pki.rsa.PrivateKey
}

export interface Wish {
  readonly commonName: string
  readonly organization?: string
  readonly issuer?: Issued
  readonly authority?: boolean
  readonly hostNames?: ReadonlyArray<string>
  /** Days from now; default yesterday and in a month. */
  readonly from?: number
  readonly to?: number
  /** Whom to ask for its status. */
  readonly responder?: string
  /** It may sign what such a responder answers. */
  readonly signsStatus?: boolean
  /** Certificates with the same have the same key. */
  readonly keyName?: string
  /** Of that key. */
  readonly keyBits?: number
}

const days = (count: number): Date => new Date(Date.now() + count * 86_400_000)
let serial = 0

/** An extension that names a responder; forge has no form of its own for it. */
const naming = (responder: string) => {
  const access = Der.write(
    Der.SEQUENCE,
    Buffer.from("06082b06010505073001", "hex"),
    Der.write(0x86, Buffer.from(responder))
  )
  return { id: "1.3.6.1.5.5.7.1.1", value: Der.write(Der.SEQUENCE, access).toString("latin1") }
}

const extensions = ({ authority = false, hostNames = [], responder, signsStatus = false }: Wish) => [
  { name: "basicConstraints", cA: authority },
  ...(responder === undefined ? [] : [naming(responder)]),
  ...(signsStatus ? [{ name: "extKeyUsage", "1.3.6.1.5.5.7.3.9": true }] : []),
  ...(hostNames.length === 0
    ? []
    : [
        {
          name: "subjectAltName",
          altNames: hostNames.map((name) => (/^[\d.]+$/.test(name) ? { type: 7, ip: name } : { type: 2, value: name }))
        }
      ])
]

export const issue = (wish: Wish): Issued => {
  const { commonName, from = -1, issuer, keyBits = 2048, keyName = "leaf", organization = "Test", to = 30 } = wish
  const { pair, pem } = keyFor(keyName, keyBits)
  const certificate = Forge.pki.createCertificate()
  certificate.publicKey = pair.publicKey
  certificate.serialNumber = `01${(++serial).toString(16).padStart(6, "0")}`
  certificate.validity.notBefore = days(from)
  certificate.validity.notAfter = days(to)
  const subject = [
    { name: "countryName", value: "US" },
    { name: "organizationName", value: organization },
    { name: "commonName", value: commonName }
  ]
  certificate.setSubject(subject)
  certificate.setIssuer(issuer === undefined ? subject : issuer.certificate.subject.attributes)
  certificate.setExtensions(extensions(wish))
  certificate.sign(issuer === undefined ? pair.privateKey : issuer.key, Forge.md.sha256.create())
  const certPem = Forge.pki.certificateToPem(certificate)
  return { certPem, keyPem: pem, pem: `${pem}${certPem}`, certificate, key: pair.privateKey }
}

export const authority = (commonName: string, keyName = "authority"): Issued =>
  issue({ commonName, authority: true, keyName })

/** An authority, and what it issued for this machine and for a client. */
export const standard = () => {
  const ca = authority("Test CA")
  const server = issue({ commonName: "localhost", issuer: ca, hostNames: ["localhost", "127.0.0.1"] })
  const client = issue({ commonName: "client-1", issuer: ca, keyName: "client" })
  return { ca, server, client }
}

const derOf = (asn1: Forge.asn1.Asn1): string => Forge.asn1.toDer(asn1).getBytes()

/** The parts of an ASN.1 value that is made of parts. */
const parts = (asn1: Forge.asn1.Asn1): Array<Forge.asn1.Asn1> => asn1.value as Array<Forge.asn1.Asn1>

const { Class, Type } = Forge.asn1

/** Puts the contents of several stores with one password into the first, and renews its authentication code. */
const merge = (stores: ReadonlyArray<Forge.asn1.Asn1>, password: string): Forge.asn1.Asn1 => {
  const [first] = stores
  const octets = (store: Forge.asn1.Asn1) => parts(parts(parts(store)[1]!)[1]!)[0]!
  const contents = stores.flatMap((store) => parts(Forge.asn1.fromDer(octets(store).value as string)))
  const all = derOf(Forge.asn1.create(Class.UNIVERSAL, Type.SEQUENCE, true, contents))
  octets(first!).value = all
  const [digest, salt, iterations] = parts(parts(first!)[2]!)
  const saltBytes = new Forge.util.ByteStringBuffer(salt!.value as string)
  const count = Forge.asn1.derToInteger(iterations!.value as string)
  const key = Forge.pkcs12.generateKey(password, saltBytes, 3, count, 20)
  const mac = Forge.hmac.create()
  mac.start(Forge.md.sha1.create(), key)
  mac.update(all)
  parts(digest!)[1]!.value = mac.getMac().getBytes()
  return first!
}

/** A PFX with these certificates and their keys; `chain` goes with the first. */
export const pfx = (
  issued: ReadonlyArray<Issued>,
  password: string,
  chain: ReadonlyArray<Issued> = [],
  algorithm: "aes256" | "3des" = "aes256"
): Buffer => {
  const stores = issued.map(({ certificate, key }, index) => {
    const certificates = index === 0 ? [certificate, ...chain.map((each) => each.certificate)] : [certificate]
    return Forge.pkcs12.toPkcs12Asn1(key, certificates, password, { algorithm })
  })
  return Buffer.from(derOf(stores.length === 1 ? stores[0]! : merge(stores, password)), "latin1")
}

export interface Folder {
  readonly path: (name: string) => string
  readonly write: (name: string, content: string | Uint8Array) => string
  /** Runs openssl in it; undefined: there is none, or it failed. */
  readonly openssl: (...args: ReadonlyArray<string>) => string | undefined
  readonly remove: () => void
}

export const folder = (): Folder => {
  const root = mkdtempSync(join(tmpdir(), "effect-mqtt-certificates-"))
  const path = (name: string) => join(root, name)
  return {
    path,
    write: (name, content) => {
      writeFileSync(path(name), content)
      return path(name)
    },
    openssl: (...args) => {
      const { status, stdout } = spawnSync("openssl", args, { cwd: root, encoding: "utf8" })
      return status === 0 ? stdout : undefined
    },
    remove: () => rmSync(root, { recursive: true, force: true })
  }
}

/** An authority's list of what it has revoked; undefined: there is no openssl to make it. */
export const revocations = (files: Folder, ca: Issued, ...revoked: ReadonlyArray<Issued>): string | undefined => {
  files.write("index.txt", "")
  files.write("crlnumber", "01")
  files.write("ca.pem", ca.certPem)
  files.write("ca.key", ca.keyPem)
  const settings = "database=index.txt\ncrlnumber=crlnumber\ndefault_md=sha256\ndefault_crl_days=5\n"
  files.write("ca.cnf", `[ca]\ndefault_ca=d\n[d]\n${settings}`)
  const by = ["-config", "ca.cnf", "-cert", "ca.pem", "-keyfile", "ca.key"]
  for (const { certPem } of revoked) files.openssl("ca", ...by, "-revoke", files.write("revoked.pem", certPem))
  const made = files.openssl("ca", ...by, "-gencrl", "-out", "crl.pem")
  if (made === undefined) console.log("skipped: there is no openssl on the PATH that makes revocation lists")
  return made === undefined ? undefined : readFileSync(files.path("crl.pem"), "utf8")
}
