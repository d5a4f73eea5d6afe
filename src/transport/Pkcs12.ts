/**
 * What is in a PKCS#12 store (PFX): Node can use one, but not list it, and takes the first key of several.
 *
 * node-forge reads the store; everything is handed on as bytes that Node's own cryptography reads, so that keys of any
 * kind work. Whether the password is right and OpenSSL would open the store is asked before (`Certificate.ts`).
 */
import Forge from "node-forge"

export interface Contents {
  /** Private keys, PKCS#8 in DER. */
  readonly keys: ReadonlyArray<Buffer>
  /** Certificates in DER. */
  readonly certificates: ReadonlyArray<Buffer>
}

const derOf = (asn1: Forge.asn1.Asn1): Buffer => Buffer.from(Forge.asn1.toDer(asn1).getBytes(), "latin1")

const keyOf = (bag: Forge.pkcs12.Bag): Buffer | undefined => {
  // Keys that forge does not know (elliptic curves) are left as the PKCS#8 that they were.
  if (bag.key) return derOf(Forge.pki.wrapRsaPrivateKey(Forge.pki.privateKeyToAsn1(bag.key)))
  return bag.asn1 ? derOf(bag.asn1) : undefined
}

const certificateOf = (bag: Forge.pkcs12.Bag): Buffer | undefined => {
  if (bag.cert) return derOf(Forge.pki.certificateToAsn1(bag.cert))
  return bag.asn1 ? derOf(bag.asn1) : undefined
}

const oids: Readonly<Record<string, string>> = Forge.pki.oids

/** Lists a store. Throws when forge cannot read it. */
export const list = (store: Uint8Array, password: string): Contents => {
  const asn1 = Forge.asn1.fromDer(Buffer.from(store).toString("latin1"))
  const bags = Forge.pkcs12.pkcs12FromAsn1(asn1, false, password).safeContents.flatMap(({ safeBags }) => safeBags)
  const keys = [oids.keyBag, oids.pkcs8ShroudedKeyBag]
  return {
    keys: bags.filter(({ type }) => keys.includes(type)).flatMap((bag) => keyOf(bag) ?? []),
    certificates: bags.filter(({ type }) => type === oids.certBag).flatMap((bag) => certificateOf(bag) ?? [])
  }
}
