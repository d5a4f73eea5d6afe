/**
 * The status of a server's certificate: asked for at a responder whose answers are OpenSSL's, and shown in handshakes.
 */
import { afterAll, assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Queue from "effect/Queue"
import * as TestClock from "effect/testing/TestClock"
import { spawn } from "node:child_process"
import { X509Certificate } from "node:crypto"
import { readFileSync } from "node:fs"
import * as Http from "node:http"
import type { AddressInfo } from "node:net"
import * as Tls from "node:tls"
import type * as Listener from "../../src/transport/Listener.ts"
import * as OcspMessage from "../../src/transport/OcspMessage.ts"
import * as OcspStaple from "../../src/transport/OcspStaple.ts"
import * as TestCertificates from "./TestCertificates.ts"
import * as Der from "./TestDer.ts"
import * as TestHandler from "./TestHandler.ts"

const files = TestCertificates.folder()
afterAll(() => files.remove())

const ca = TestCertificates.authority("Test CA")
const parsed = (issued: TestCertificates.Issued) => new X509Certificate(issued.certPem)

type Status = "good" | "revoked" | "unknown"

const hasOpenssl = files.openssl("version") !== undefined
if (!hasOpenssl) console.log("skipped: openssl is not on the PATH, and it is the responder here")

/** What OpenSSL answers to a question, signed by somebody. */
const answerTo = (
  question: Buffer,
  certificate: TestCertificates.Issued,
  status: Status,
  signer: TestCertificates.Issued = ca,
  options: ReadonlyArray<string> = ["-ndays", "1"],
  issuer: TestCertificates.Issued = ca
): Buffer => {
  const serial = certificate.certificate.serialNumber
  const known = status === "revoked" ? `R\t400101000000Z\t250101000000Z\t${serial}` : `V\t400101000000Z\t\t${serial}`
  files.write("index.txt", status === "unknown" ? "" : `${known.toUpperCase()}\tunknown\t/CN=x\n`)
  files.write("question.der", question)
  files.write("ca.pem", issuer.certPem)
  files.write("signer.pem", signer.certPem)
  files.write("signer.key", signer.keyPem)
  const who = ["-index", "index.txt", "-CA", "ca.pem", "-rsigner", "signer.pem", "-rkey", "signer.key"]
  files.openssl("ocsp", ...who, "-reqin", "question.der", "-respout", "answer.der", ...options)
  return readFileSync(files.path("answer.der"))
}

interface Responder {
  readonly url: string
  readonly questions: Queue.Queue<Buffer>
  /** What is done with a question. */
  act: (question: Buffer, response: Http.ServerResponse) => void
}

/** A responder, until the scope closes. */
const responding = Effect.fnUntraced(function* () {
  const questions = yield* Queue.unbounded<Buffer>()
  const server = yield* Effect.acquireRelease(
    Effect.callback<Http.Server>((resume) => {
      const made = Http.createServer()
      made.listen(0, "127.0.0.1", () => resume(Effect.succeed(made)))
    }),
    (running) =>
      Effect.sync(() => {
        running.close()
        running.closeAllConnections()
      })
  )
  const { port } = server.address() as AddressInfo // it listens on TCP
  const responder: Responder = { url: `http://127.0.0.1:${port}/status`, questions, act: (_, to) => to.end() }
  server.on("request", (request, response) => {
    const chunks: Array<Buffer> = []
    request.on("data", (chunk: Buffer) => chunks.push(chunk))
    request.on("end", () => {
      const question = Buffer.concat(chunks)
      Queue.offerUnsafe(questions, question)
      responder.act(question, response)
    })
  })
  return responder
})

const issueFor = (responder: string | undefined, hostName = "localhost") =>
  TestCertificates.issue({
    commonName: hostName,
    issuer: ca,
    hostNames: [hostName, "127.0.0.1"],
    ...(responder === undefined ? {} : { responder })
  })

/** The responder's answers about that certificate. */
const says =
  (certificate: TestCertificates.Issued, status: Status, signer?: TestCertificates.Issued): Responder["act"] =>
  (question, response) =>
    response.end(answerTo(question, certificate, status, signer))

type TlsOptions = Partial<Extract<Listener.ListenerOptions, { readonly protocol: 1 }>>

const listen = (test: TestHandler.TestHandler, server: TestCertificates.Issued, options: TlsOptions = {}) =>
  TestHandler.listen({ protocol: 1, sslCertStore: `${server.pem}${ca.certPem}`, sslCheckOCSP: 1, ...options }, test)

/** What a client is shown with the certificate; undefined: nothing. */
const shown = (port: number, options: Tls.ConnectionOptions = {}) =>
  Effect.callback<Buffer | undefined>((resume) => {
    let staple: Buffer | undefined
    const socket = Tls.connect({ port, host: "127.0.0.1", ca: ca.certPem, requestOCSP: true, ...options })
    socket.on("OCSPResponse", (response: Buffer | null) => {
      staple = response ?? undefined
    })
    socket.once("secureConnect", () => resume(Effect.succeed(staple)))
    return Effect.sync(() => socket.destroy())
  })

/** What an answer about a certificate says. */
const reading = (answer: Buffer, certificate: TestCertificates.Issued) =>
  Effect.promise(() => OcspMessage.read(answer, parsed(certificate), parsed(ca), Date.now()))

/** Virtual time that begins now, because certificates and answers have real dates. */
const startClock = TestClock.setTime(Date.now())

describe("OcspMessage", async () => {
  const server = issueFor(undefined)
  const question = await OcspMessage.request(parsed(server), parsed(ca))
  const read = (answer: Buffer, now = Date.now(), certificate = server) =>
    OcspMessage.read(answer, parsed(certificate), parsed(ca), now)

  for (const status of ["good", "revoked", "unknown"] as const) {
    it.skipIf(!hasOpenssl)(`reads that a certificate is ${status}, and until when that holds`, async () => {
      const answer = await read(answerTo(question, server, status))
      assert.isTrue(typeof answer === "object" && answer.status === status)
      const { nextUpdate } = answer as OcspMessage.Answer // it has just been looked at
      assert.isAbove(nextUpdate!, Date.now() + 23 * 3_600_000)
    })
  }

  it.skipIf(!hasOpenssl)("believes whom the issuer has authorised, and nobody else", async () => {
    const wish = { commonName: "Responder", issuer: ca, keyName: "responder" }
    const authorised = TestCertificates.issue({ ...wish, signsStatus: true })
    assert.isTrue(typeof (await read(answerTo(question, server, "good", authorised))) === "object")
    const others = [
      TestCertificates.issue(wish),
      TestCertificates.authority("Test CA", "responder"),
      TestCertificates.issue({ ...wish, issuer: TestCertificates.authority("Other CA", "client"), signsStatus: true })
    ]
    for (const other of others) {
      assert.match(String(await read(answerTo(question, server, "good", other))), /^its signature is not the issuer's/)
    }
  })

  it.skipIf(!hasOpenssl)("believes an issuer that is no root, whether it sends its certificate or not", async () => {
    const issuer = TestCertificates.issue({ commonName: "Below", issuer: ca, authority: true, keyName: "below" })
    const certificate = TestCertificates.issue({ commonName: "localhost", issuer })
    const about = await OcspMessage.request(parsed(certificate), parsed(issuer))
    const answers = (signer: TestCertificates.Issued, ...options: ReadonlyArray<string>) => {
      const answer = answerTo(about, certificate, "good", signer, ["-ndays", "1", ...options], issuer)
      return OcspMessage.read(answer, parsed(certificate), parsed(issuer), Date.now())
    }
    for (const options of [[], ["-resp_no_certs"], ["-resp_key_id"], ["-rsigopt", "rsa_padding_mode:pss"]]) {
      assert.deepInclude(await answers(issuer, ...options), { status: "good" }, options.join(" "))
    }
    const authorised = TestCertificates.issue({ commonName: "R", issuer, keyName: "responder", signsStatus: true })
    assert.deepInclude(await answers(authorised), { status: "good" })
    // The issuer's own issuer may not speak for it, nor whom that one has authorised.
    const above = TestCertificates.issue({ commonName: "R", issuer: ca, keyName: "responder", signsStatus: true })
    for (const other of [ca, above]) assert.match(String(await answers(other)), /^its signature is not the issuer's/)
  })

  it.skipIf(!hasOpenssl)("is not led round in circles by authorities that have signed each other", async () => {
    const first = TestCertificates.authority("One", "one")
    const two = TestCertificates.issue({ commonName: "Two", issuer: first, authority: true, keyName: "two" })
    const one = TestCertificates.issue({ commonName: "One", issuer: two, authority: true, keyName: "one" })
    const signer = TestCertificates.issue({ commonName: "R", issuer: one, keyName: "responder", signsStatus: true })
    files.write("circle.pem", `${one.certPem}${two.certPem}`)
    const answer = answerTo(question, server, "good", signer, ["-ndays", "1", "-rother", "circle.pem"])
    assert.isTrue(
      [one, two].every(({ certificate: { serialNumber } }) => answer.includes(Buffer.from(serialNumber, "hex")))
    )
    assert.match(String(await read(answer)), /^its signature is not the issuer's/)
  })

  it.skipIf(!hasOpenssl)(
    "believes no answer that is old, of the future, about something else, or a refusal",
    async () => {
      const answer = answerTo(question, server, "good")
      assert.strictEqual(await read(answer, Date.now() + 25 * 3_600_000), "it is out of date")
      assert.match(String(await read(answer, Date.now() - 3_600_000)), /future/)
      assert.strictEqual(await read(answer, Date.now(), issueFor(undefined)), "it is about other certificates")
      assert.match(String(await read(Buffer.from("30030a0106", "hex"))), /refuses \(6\)/)
    }
  )

  it.skipIf(!hasOpenssl)(
    "believes an answer that does not say until when for a day, and not one from better days",
    async () => {
      const answer = answerTo(question, server, "good", ca, [])
      assert.deepStrictEqual(await read(answer), { status: "good", nextUpdate: undefined })
      assert.strictEqual(await read(answer, Date.now() + 25 * 3_600_000), "it is out of date")
    }
  )

  it.skipIf(!hasOpenssl)("believes nobody whose authorisation has expired", async () => {
    const wish = { commonName: "Responder", issuer: ca, keyName: "responder", signsStatus: true, from: -2, to: -1 }
    const answer = answerTo(question, server, "good", TestCertificates.issue(wish))
    assert.match(String(await read(answer)), /^its signature is not the issuer's/)
  })

  it.skipIf(!hasOpenssl)(
    "known failure 12: what is cut short or changed is refused in words or thrown, and never believed",
    async () => {
      const answer = answerTo(question, server, "revoked")
      const [, body] = Der.inside(Der.inside(Der.inside(Der.readAll(answer)[0])[1])[0])
      const [signed] = Der.inside(Der.readAll(body!.content)[0])
      const from = answer.indexOf(signed!.raw)
      const attempt = async (bytes: Buffer): Promise<unknown> => {
        try {
          return await read(bytes)
        } catch (error) {
          return error instanceof Error ? error.message : error
        }
      }
      for (let length = 0; length < answer.length; length++) {
        assert.strictEqual(typeof (await attempt(answer.subarray(0, length))), "string", `${length} bytes`)
      }
      for (let at = from; at < from + signed!.raw.length; at++) {
        const changed = Buffer.from(answer)
        changed[at] = changed[at]! ^ 0x01
        assert.strictEqual(typeof (await attempt(changed)), "string", `byte ${at}`)
      }
    }
  )
})

describe("SSLCheckOCSP", () => {
  for (const version of ["TLSv1.2", "TLSv1.3"] as const) {
    it.effect.skipIf(!hasOpenssl)(
      `clients on ${version} are shown the answer, with the certificate that they asked for`,
      () =>
        Effect.gen(function* () {
          yield* startClock
          const responder = yield* responding()
          const [first, second] = [issueFor(responder.url), issueFor(responder.url, "second.example")]
          const secondSerial = Buffer.from(second.certificate.serialNumber, "hex")
          responder.act = (question, response) =>
            says(question.includes(secondSerial) ? second : first, "good")(question, response)
          const named = { sslCertStore: `${second.pem}${ca.certPem}` }
          const listener = yield* listen(yield* TestHandler.make(), first, { sniCertificates: [named] })
          const only = { minVersion: version, maxVersion: version }
          for (const [servername, certificate] of [
            ["localhost", first],
            ["second.example", second]
          ] as const) {
            const staple = yield* shown(listener.localPort, { ...only, servername })
            assert.deepInclude(yield* reading(staple!, certificate), { status: "good" })
          }
          assert.isUndefined(yield* shown(listener.localPort, { ...only, requestOCSP: false }))
        })
    )
  }

  it.live.skipIf(!hasOpenssl)("openssl s_client -status verifies what it is shown", () =>
    Effect.gen(function* () {
      const responder = yield* responding()
      const server = issueFor(responder.url)
      responder.act = says(server, "good")
      const listener = yield* listen(yield* TestHandler.make(), server, { sslCheckOCSP: 2 })
      const output = yield* Effect.callback<string>((resume) => {
        const to = ["-connect", `127.0.0.1:${listener.localPort}`, "-CAfile", files.write("root.pem", ca.certPem)]
        const child = spawn("openssl", ["s_client", ...to, "-status"], { stdio: ["ignore", "pipe", "pipe"] })
        let text = ""
        child.stdout.on("data", (bytes: Buffer) => {
          text += bytes.toString()
        })
        child.once("close", () => resume(Effect.succeed(text)))
      })
      assert.include(output, "OCSP Response Status: successful (0x0)")
      assert.include(output, "Cert Status: good")
    })
  )

  const failures: ReadonlyArray<readonly [string, Responder["act"], RegExp]> = [
    ["answers with an error", (_, response) => response.writeHead(500).end("x"), /status 500/],
    ["answers nonsense", (_, response) => response.end("nonsense"), /malformed/],
    ["answers without end", (_, response) => response.end(Buffer.alloc(100_000)), /longer than 32768 bytes/],
    ["sends it elsewhere", (_, response) => response.writeHead(307, { Location: "/other" }).end(), /redirect/],
    ["goes away", (_, response) => response.destroy(), /fetch failed/],
    ["refuses", (_, response) => response.end(Buffer.from("30030a0106", "hex")), /refuses/]
  ]
  for (const [what, act, words] of failures) {
    it.effect.skipIf(!hasOpenssl)(
      `a responder that ${what}: at 1 that is reported and there is nothing to show, at 2 it is 280`,
      () =>
        Effect.gen(function* () {
          yield* startClock
          const responder = yield* responding()
          responder.act = act
          const server = issueFor(responder.url)
          const test = yield* TestHandler.make()
          const listener = yield* listen(test, server)
          assert.match(yield* Queue.take(test.doubts), words)
          assert.isUndefined(yield* shown(listener.localPort))
          const error = yield* Effect.flip(listen(yield* TestHandler.make(), server, { sslCheckOCSP: 2 }))
          assert.deepInclude(error, { _tag: "CertificateStatusBad", code: 280, why: "unavailable" })
        })
    )
  }

  it.effect.skipIf(!hasOpenssl)("a responder that does not know the certificate is as one that does not answer", () =>
    Effect.gen(function* () {
      yield* startClock
      const responder = yield* responding()
      const server = issueFor(responder.url)
      responder.act = says(server, "unknown")
      const test = yield* TestHandler.make()
      yield* listen(test, server)
      assert.match(yield* Queue.take(test.doubts), /does not know it/)
      const error = yield* Effect.flip(listen(test, server, { sslCheckOCSP: 2 }))
      assert.deepInclude(error, { code: 280, why: "unavailable" })
    })
  )

  it.effect.skipIf(!hasOpenssl)("a responder that says nothing is waited for ten seconds", () =>
    Effect.gen(function* () {
      yield* startClock
      const responder = yield* responding()
      responder.act = () => {}
      const server = issueFor(responder.url)
      const starting = yield* Effect.forkChild(
        Effect.flip(listen(yield* TestHandler.make(), server, { sslCheckOCSP: 2 }))
      )
      yield* Queue.take(responder.questions)
      yield* TestClock.adjust("10 seconds")
      assert.match((yield* Fiber.join(starting)).message, /longer than 10 s/)
    })
  )

  it.live.skipIf(!hasOpenssl)(
    "a certificate without a responder or without its issuer's certificate: 280 at 2, nothing at 1",
    () =>
      Effect.gen(function* () {
        const test = yield* TestHandler.make()
        for (const [server, words] of [
          [issueFor(undefined), /names no responder/],
          [issueFor("ldap://example"), /names no responder/]
        ] as const) {
          assert.isUndefined(yield* shown((yield* listen(test, server)).localPort))
          assert.match((yield* Effect.flip(listen(test, server, { sslCheckOCSP: 2 }))).message, words)
        }
        const alone = { sslCertStore: issueFor("http://127.0.0.1:1/").pem }
        const error = yield* Effect.flip(listen(test, issueFor(undefined), { ...alone, sslCheckOCSP: 2 }))
        assert.match(error.message, /issuer's certificate is not there/)
        assert.strictEqual(yield* Queue.size(test.doubts), 0)
      })
  )

  it.live.skipIf(!hasOpenssl)(
    "a revoked certificate is 280 at either level; also as a replacement, and then the old one stays",
    () =>
      Effect.gen(function* () {
        const responder = yield* responding()
        const [good, revoked] = [issueFor(responder.url), issueFor(responder.url)]
        responder.act = says(good, "good")
        const listener = yield* listen(yield* TestHandler.make(), good)
        responder.act = says(revoked, "revoked")
        for (const sslCheckOCSP of [1, 2] as const) {
          const error = yield* Effect.flip(listen(yield* TestHandler.make(), revoked, { sslCheckOCSP }))
          assert.deepInclude(error, { _tag: "CertificateStatusBad", code: 280, why: "revoked" })
        }
        const replacement = { sslCertStore: `${revoked.pem}${ca.certPem}` }
        assert.strictEqual((yield* Effect.flip(TestHandler.replace(listener, replacement))).code, 280)
        const staple = yield* shown(listener.localPort)
        assert.deepInclude(yield* reading(staple!, good), { status: "good" })
        const renewed = issueFor(responder.url)
        responder.act = says(renewed, "good")
        yield* TestHandler.replace(listener, { sslCertStore: `${renewed.pem}${ca.certPem}` })
        const next = yield* shown(listener.localPort)
        assert.deepInclude(yield* reading(next!, renewed), { status: "good" })
      })
  )

  it.effect.skipIf(!hasOpenssl)(
    "a responder that did not answer is asked again after five minutes, and clients are shown its answer",
    () =>
      Effect.gen(function* () {
        yield* startClock
        const responder = yield* responding()
        responder.act = (_, response) => response.writeHead(503).end()
        const server = issueFor(responder.url)
        const listener = yield* listen(yield* TestHandler.make(), server)
        yield* Queue.take(responder.questions)
        responder.act = says(server, "good")
        yield* TestClock.adjust("4 minutes")
        assert.strictEqual(yield* Queue.size(responder.questions), 0)
        yield* TestClock.adjust("1 minute")
        yield* Queue.take(responder.questions)
        yield* Effect.repeat(shown(listener.localPort), { until: (staple) => staple !== undefined })
      })
  )

  /** Two certificates, a responder that never answers, and which of them it is asked about: the second? */
  const asking = Effect.fnUntraced(function* () {
    yield* startClock
    const responder = yield* responding()
    responder.act = (_, response) => response.writeHead(503).end()
    const [first, second] = [issueFor(responder.url), issueFor(responder.url, "second.example")]
    const serial = Buffer.from(second.certificate.serialNumber, "hex")
    const test = yield* TestHandler.make()
    // Who asked has been answered when that is reported, and waits for the next time.
    const asked = Effect.all([Queue.take(responder.questions), Queue.take(test.doubts)]).pipe(
      Effect.map(([question]) => question.includes(serial))
    )
    return { test, first, second, asked }
  })

  it.effect.skipIf(!hasOpenssl)(
    "while a listener is stopped nobody is asked about its certificate, and again when it listens again",
    () =>
      Effect.gen(function* () {
        const { asked, first, second, test } = yield* asking()
        const stopped = yield* listen(test, first)
        yield* listen(test, second)
        assert.deepStrictEqual([yield* asked, yield* asked], [false, true])
        stopped.stopAccepting()
        for (let round = 0; round < 3; round++) {
          yield* TestClock.adjust("5 minutes")
          assert.isTrue(yield* asked)
        }
        yield* listen(test, first, { port: stopped.localPort })
        assert.isFalse(yield* asked)
        yield* TestClock.adjust("5 minutes")
        assert.sameMembers([yield* asked, yield* asked], [true, false])
      })
  )

  it.effect.skipIf(!hasOpenssl)("a listener that could not be bound leaves nobody behind who asks", () =>
    Effect.gen(function* () {
      const { asked, first, second, test } = yield* asking()
      const error = yield* Effect.flip(
        Effect.flatMap(listen(test, second), ({ localPort }) => listen(test, first, { port: localPort }))
      )
      assert.strictEqual(error._tag, "AddressInUse")
      assert.deepStrictEqual([yield* asked, yield* asked], [true, false])
      for (let round = 0; round < 3; round++) {
        yield* TestClock.adjust("5 minutes")
        assert.isTrue(yield* asked)
      }
    })
  )

  it.effect.skipIf(!hasOpenssl)(
    "an answer is renewed at half of its time, is shown until it is out of date, and then not any more",
    () =>
      Effect.gen(function* () {
        const now = Date.now()
        const hours = (count: number) => TestClock.setTime(now + count * 3_600_000)
        yield* hours(0)
        const responder = yield* responding()
        const server = issueFor(responder.url)
        const doubts: Array<string> = []
        const report = (description: string) => void doubts.push(description)
        responder.act = says(server, "good")
        const staple = yield* OcspStaple.make(parsed(server), parsed(ca), 2, report)
        const find = (after: number) => OcspStaple.find([staple!], parsed(server).raw, now + after * 3_600_000)
        const first = find(0)
        yield* hours(11)
        yield* OcspStaple.refresh(staple!, report)
        assert.strictEqual(yield* Queue.size(responder.questions), 1)
        responder.act = (_, response) => response.destroy()
        yield* hours(12.1)
        yield* OcspStaple.refresh(staple!, report)
        assert.strictEqual(yield* Queue.size(responder.questions), 2)
        assert.match(doubts[0]!, /cannot be renewed/)
        assert.strictEqual(find(23), first)
        assert.isNull(find(25))
        responder.act = says(server, "revoked")
        yield* hours(13)
        yield* OcspStaple.refresh(staple!, report)
        assert.match(doubts[1]!, /is revoked/)
        assert.notStrictEqual(find(13), first, "clients are told what the authority says")
        assert.isNull(OcspStaple.find([staple!], parsed(ca).raw, now))
      })
  )
})
