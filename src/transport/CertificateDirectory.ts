/**
 * A directory of authorities' certificates in PEM files, as OpenSSL has them (`OpenSSLCADir`).
 *
 * Every file in it is read, whatever its name: the links that OpenSSL finds a certificate by (`9d66eef0.0`) may be
 * there and need not be. Owns the bounds of what is read; what is no file, as a directory, is passed over.
 */
import * as Effect from "effect/Effect"
import type { Stats } from "node:fs"
import * as Fs from "node:fs/promises"
import * as Path from "node:path"
import * as Certificate from "./Certificate.ts"
import { CertificateStoreUnavailable } from "./CertificateError.ts"
import * as CertificateStore from "./CertificateStore.ts"
import { errnoOf } from "./ListenError.ts"

/** An operating system comes with a few hundred, each twice with its link. */
const FILES_MAX = 2_000
/** All files together. */
const BYTES_MAX = 16 * 1024 * 1024

/** Whatever was given instead of a path, a key perhaps, is not shown. */
const fault = (path: string, detail: string) => {
  const store = CertificateStore.nameOf(path, CertificateStore.AUTO, "sslClientCADir")
  return new CertificateStoreUnavailable({ store, detail })
}

/** Fails with the path when Node does. */
const attempt = <A>(path: string, evaluate: () => Promise<A>) =>
  Effect.tryPromise({
    try: evaluate,
    catch: (error) => {
      const errno = error instanceof Error ? errnoOf(error) : String(error)
      return fault(path, `it cannot be read (${errno}). Check the path, and that this program may read it.`)
    }
  })

const tooMuch = (directory: string) => {
  const limit = `more than ${FILES_MAX} files or ${BYTES_MAX / 1024 / 1024} MiB`
  return fault(directory, `it holds ${limit}. Name a directory with those authorities only that may issue.`)
}

/** The directory's files in the order of their names, within the bounds. */
const filesIn = Effect.fnUntraced(function* (directory: string) {
  const names = yield* attempt(directory, () => Fs.readdir(directory))
  if (names.length > FILES_MAX) return yield* tooMuch(directory)
  const files: Array<string> = []
  let bytes = 0
  for (const name of names.sort()) {
    const path = Path.join(directory, name)
    const stats: Stats = yield* attempt(path, () => Fs.stat(path))
    if (!stats.isFile()) continue
    bytes += stats.size
    if (bytes > BYTES_MAX) return yield* tooMuch(directory)
    files.push(path)
  }
  return files
})

/**
 * The certificates in the directory's files in PEM, each once; "" has none. Fails (271) with the path of a file that
 * holds no certificate in PEM, or of the directory when it holds none at all or too much.
 */
export const read: (directory: string) => Effect.Effect<ReadonlyArray<string>, CertificateStoreUnavailable> =
  Effect.fnUntraced(function* (directory) {
    const found = new Set<string>()
    if (directory === "") return []
    for (const path of yield* filesIn(directory)) {
      const certificates = yield* Certificate.readCertificates("sslClientCADir", path)
      for (const certificate of certificates) found.add(certificate.toString())
    }
    if (found.size === 0) return yield* fault(directory, "there is no file in it. Put authorities' PEM files there.")
    return [...found]
  })
