/**
 * The certificate of every broker that is measured with TLS, made by this run and removed with it: RSA of 2,048 bits,
 * issued by an authority that is made with it.
 */
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { standard } from "../transport/TestCertificates.ts"

export interface Certificates {
  /** Paths of PEM files. */
  readonly cert: string
  readonly key: string
  /** The PEM that clients trust. */
  readonly authority: string
}

const make = (): Certificates => {
  const { ca, server } = standard()
  const directory = mkdtempSync(join(tmpdir(), "mqtt-bench-"))
  process.once("exit", () => rmSync(directory, { recursive: true, force: true }))
  // mosquitto, started by root, becomes another user before it reads them.
  chmodSync(directory, 0o755)
  const cert = join(directory, "server.pem")
  const key = join(directory, "server.key")
  writeFileSync(cert, server.certPem)
  writeFileSync(key, server.keyPem)
  return { cert, key, authority: ca.certPem }
}

let made: Certificates | undefined

export const certificates = (): Certificates => {
  made ??= make()
  return made
}
