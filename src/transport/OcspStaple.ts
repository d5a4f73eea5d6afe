/**
 * What a certificate's authority says about it, kept to be shown to clients with the certificate (OCSP stapling): the
 * documented SSLCheckOCSP, of a server's own certificate.
 *
 * Owns asking the responder that the certificate names, with bounds on time and size, and asking again in time. What
 * is asked and answered is in `OcspMessage.ts`.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type { X509Certificate } from "node:crypto"
import { CertificateStatusBad } from "./CertificateError.ts"
import * as DistinguishedName from "./DistinguishedName.ts"
import type * as OcspMessage from "./OcspMessage.ts"

/** 0 nobody is asked; 1 a certificate that is revoked is refused; 2 so is one whose authority does not answer. */
export type Level = 0 | 1 | 2

const ANSWER_SECONDS_MAX = 10
/** Real ones have one or two thousand; each handshake carries it. */
const ANSWER_BYTES_MAX = 32 * 1024

const MINUTE = 60_000
const DAY = 24 * 60 * MINUTE
/** Until somebody who did not answer is asked again. */
const RETRY_MILLIS = 5 * MINUTE

export interface Staple {
  readonly certificate: X509Certificate
  readonly issuer: X509Certificate
  readonly url: string
  /** The answer as it came; undefined: there is none that is valid. */
  response: Buffer | undefined
  /** Milliseconds since the epoch. */
  validUntil: number
  askAgainAt: number
}

/** The responder that a certificate names. */
const responderOf = ({ infoAccess }: X509Certificate): string | undefined =>
  /^OCSP - URI:(https?:\/\/\S+)$/m.exec(infoAccess ?? "")?.[1]

const nameOf = ({ subject }: X509Certificate): string => DistinguishedName.fromNode(subject)

const body = async (response: Response): Promise<Buffer> => {
  const chunks: Array<Uint8Array> = []
  let bytes = 0
  for await (const chunk of response.body ?? []) {
    bytes += chunk.length
    if (bytes > ANSWER_BYTES_MAX) throw new Error(`its answer is longer than ${ANSWER_BYTES_MAX} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

/** Nobody is led elsewhere, and no connection is kept: the next question is hours away. */
const options = {
  method: "POST",
  headers: { "Content-Type": "application/ocsp-request", Accept: "application/ocsp-response", Connection: "close" },
  redirect: "error"
} as const

const post = async (url: string, request: Buffer, signal: AbortSignal): Promise<Buffer> => {
  const response = await fetch(url, { ...options, body: new Uint8Array(request), signal })
  if (response.ok) return body(response)
  await response.body?.cancel()
  throw new Error(`it answers with status ${response.status}`)
}

/** What `fetch` fails with says little, and its cause what it was. */
const reasonOf = (error: unknown): string => {
  const { cause, message } = error instanceof Error ? error : new Error(String(error))
  return cause instanceof Error ? `${message} (${cause.message})` : message
}

/** Asks, and keeps an answer that can be believed. Fails with a reason in words. */
const ask = (staple: Staple): Effect.Effect<OcspMessage.Answer, string> =>
  Effect.gen(function* () {
    const { certificate, issuer, url } = staple
    const Message = yield* Effect.promise(() => import("./OcspMessage.ts"))
    const bytes = yield* Effect.tryPromise({
      try: async (signal) => post(url, await Message.request(certificate, issuer), signal),
      catch: reasonOf
    })
    const now = yield* Clock.currentTimeMillis
    const answer = yield* Effect.tryPromise({
      try: () => Message.read(bytes, certificate, issuer, now),
      catch: (error) => `its answer is malformed (${reasonOf(error)})`
    })
    if (typeof answer === "string") return yield* Effect.fail(`its answer cannot be believed: ${answer}`)
    staple.response = bytes
    staple.validUntil = answer.nextUpdate ?? now + DAY
    // Halfway, so that there is time for more than one attempt.
    const wait = Math.min(Math.max((staple.validUntil - now) / 2, MINUTE), DAY / 2)
    staple.askAgainAt = now + wait
    return answer
  }).pipe(
    // To read the answer too: what is in it is somebody else's.
    Effect.timeoutOrElse({
      duration: `${ANSWER_SECONDS_MAX} seconds`,
      orElse: () => Effect.fail(`it takes longer than ${ANSWER_SECONDS_MAX} s`)
    }),
    Effect.mapError((reason) => `the responder ${staple.url} was asked, and ${reason}`)
  )

/**
 * Asks about a certificate for the first time. Fails when it is revoked, and at level 2 when that cannot be found out.
 *
 * @param report is told why it could not be found out at level 1
 */
export const make = Effect.fnUntraced(function* (
  certificate: X509Certificate,
  issuer: X509Certificate | undefined,
  level: Level,
  report: (description: string) => void
) {
  const subject = nameOf(certificate)
  const unavailable = (detail: string) => new CertificateStatusBad({ subject, why: "unavailable", detail })
  const url = responderOf(certificate)
  if (url === undefined || issuer === undefined) {
    const detail = url === undefined ? "it names no responder" : "its issuer's certificate is not there (sslCACerts)"
    return level === 2 ? yield* unavailable(detail) : undefined
  }
  const staple: Staple = { certificate, issuer, url, response: undefined, validUntil: 0, askAgainAt: 0 }
  const answer = yield* Effect.result(ask(staple))
  if (answer._tag === "Success" && answer.success.status === "revoked") {
    return yield* new CertificateStatusBad({ subject, why: "revoked", detail: `the responder ${url} says so` })
  }
  const detail = answer._tag === "Failure" ? answer.failure : `the responder ${url} does not know it`
  if (answer._tag === "Success" && answer.success.status === "good") return staple
  if (level === 2) return yield* unavailable(detail)
  report(unavailable(detail).message)
  staple.askAgainAt = (yield* Clock.currentTimeMillis) + RETRY_MILLIS
  return staple
})

/** Asks again if it is time. What clients are shown stays until it is out of date. */
export const refresh = (staple: Staple, report: (description: string) => void): Effect.Effect<void> =>
  Effect.gen(function* () {
    const now = yield* Clock.currentTimeMillis
    if (now < staple.askAgainAt) return
    staple.askAgainAt = now + RETRY_MILLIS
    const { status } = yield* ask(staple)
    if (status !== "good") report(`The certificate ${nameOf(staple.certificate)} is ${status}: ${staple.url} says so.`)
  }).pipe(
    Effect.catch((reason) =>
      Effect.sync(() => report(`The status of ${nameOf(staple.certificate)} cannot be renewed: ${reason}`))
    )
  )

/** Keeps staples up to date for ever; `current` are those in use. */
export const keep = (
  current: () => ReadonlyArray<Staple>,
  report: (description: string) => void
): Effect.Effect<never> =>
  Effect.sleep(MINUTE).pipe(
    Effect.andThen(Effect.suspend(() => Effect.forEach(current(), (staple) => refresh(staple, report)))),
    Effect.forever
  )

/** What to show with a certificate (in DER); null: nothing. */
export const find = (staples: ReadonlyArray<Staple>, certificate: Buffer, now: number): Buffer | null => {
  const staple = staples.find((each) => each.certificate.raw.equals(certificate))
  return staple?.response !== undefined && now < staple.validUntil ? staple.response : null
}
