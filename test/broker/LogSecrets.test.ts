/**
 * What is secret is in no line of the log, at no level, in no form: passwords, authentication data, key material; and
 * payloads, unless they were asked for.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Stream from "effect/Stream"
import * as Tls from "node:tls"
import { inspect } from "node:util"
import * as Broker from "../../src/broker/Broker.ts"
import * as BrokerLogger from "../../src/broker/BrokerLogger.ts"
import * as Hooks from "../../src/broker/Hooks.ts"
import * as Encoder from "../../src/protocol/Encoder.ts"
import type { Packet } from "../../src/protocol/Packet.ts"
import * as TestCertificates from "../transport/TestCertificates.ts"
import * as TestHandler from "../transport/TestHandler.ts"
import * as RawClient from "./RawClient.ts"
import { brokerLayer } from "./support.ts"

const { ca, client, server } = TestCertificates.standard()

/** The second line of a key's PEM: enough of it to know it by. */
const keyLine = server.keyPem.split("\n")[1]!

const secrets = {
  password: "open-sesame-1",
  authenticationData: "shared-secret-2",
  challenge: "challenge-3",
  storePassword: "store-password-4",
  key: keyLine
}

const payloads = { payload: "grandmother's recipe 5", will: "last words 6", retained: "kept words 7" }

/** The forms in which bytes end up in a text. */
const formsOf = (secret: string): ReadonlyArray<string> => {
  const bytes = Buffer.from(secret)
  // Base64 of a part depends on where it begins: this is what all three have in common with a whole one.
  return [secret, bytes.toString("hex"), bytes.toString("base64").slice(0, -4), [...bytes].join(",")]
}

const assertHidden = (text: string, hidden: Readonly<Record<string, string>>, where = "it"): void => {
  for (const [name, secret] of Object.entries(hidden)) {
    for (const form of formsOf(secret)) assert.isFalse(text.includes(form), `${where} shows ${name} as ${form}`)
  }
}

const hooks: Hooks.HooksService = {
  sessionRequest: ({ userName }) => Effect.succeed(userName === "eve" ? Hooks.refuse(0x86) : Hooks.accept),
  authenticate: ({ step }) =>
    Effect.succeed(
      step === 0 ? Hooks.proceed(Buffer.from(secrets.challenge)) : Hooks.authenticated(Buffer.from(secrets.challenge))
    ),
  publish: ({ topic }) => (topic === "fails" ? Effect.fail("down") : Effect.succeed(Hooks.accept))
}

const listeners = [
  { port: 0 },
  {
    protocol: 1,
    port: 0,
    sslCertStore: TestCertificates.pfx([server], secrets.storePassword),
    sslCertStorePassword: secrets.storePassword
  }
] as const

const properties = undefined

/** A PFX with nothing encrypted in it: in base64 the key is there to read. */
const openPfx = TestCertificates.pfx([server], "").toString("base64")

const tooShort = TestCertificates.issue({ commonName: "short", keyName: "short", keyBits: 512 }).pem

/** Everything that is wrong with certificates which are given as their contents, each in a listener of its own. */
const faults: Readonly<Record<string, object>> = {
  "a subject that is not there": { sslCertSubject: "CN=nobody" },
  "PEM text as a PEM file": { sslCertStoreType: 6 },
  "PEM text as a PFX file": { sslCertStoreType: 2 },
  "PEM text as a certificate file": { sslCertStoreType: 8 },
  "PEM text as a PFX": { sslCertStoreType: 3 },
  "PEM text as what Node cannot open": { sslCertStoreType: 5 },
  "one line of the key as a PEM file": { sslCertStoreType: 6, sslCertStore: keyLine },
  "a PFX in base64 as a PFX file": { sslCertStoreType: 2, sslCertStore: openPfx, sslCertStorePassword: "" },
  "a PFX with another password": {
    sslCertStore: TestCertificates.pfx([server], secrets.storePassword),
    sslCertStorePassword: secrets.password
  },
  "a PFX that is cut off": { sslCertStore: openPfx.slice(0, -100) },
  "a key without its first dashes": {
    sslCertStore: server.certPem,
    sslCertKey: server.keyPem.replace("-----BEGIN", "")
  },
  "a key without its first line": { sslCertStore: server.certPem, sslCertKey: server.keyPem.slice(28) },
  "a key without line breaks": { sslCertStore: server.certPem, sslCertKey: server.keyPem.replaceAll("\n", "") },
  "a key of one line": { sslCertStore: server.certPem, sslCertKey: keyLine },
  "a key that is damaged": { sslCertStore: server.certPem, sslCertKey: server.keyPem.replace("MII", "AAA") },
  "a key without its certificate": { sslCertStore: server.keyPem },
  "a key of another certificate": { sslCertStore: `${server.keyPem}${client.certPem}` },
  "a store of no known kind": { sslCertStore: new TextEncoder().encode(keyLine) },
  "authorities that are a key": { sslCACerts: server.keyPem },
  "authorities that are a damaged key": { sslCACerts: server.keyPem.replace("-----BEGIN", "") },
  "client authorities that are a key": { sslClientCACerts: server.keyPem },
  "a directory that is a key": { sslClientCADir: server.keyPem },
  "revocation lists that are a key": { sslClientCRLs: server.keyPem },
  "revocation lists that are damaged": { sslClientCRLs: "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n" },
  "a key that OpenSSL finds too short": { sslCertStore: tooShort },
  "a certificate for a name, as a PEM file": { sniCertificates: [{ sslCertStoreType: 6, sslCertStore: server.pem }] },
  "a certificate for a name, with a short key": { sniCertificates: [{ sslCertStore: tooShort }] },
  "a misspelt field": { sslCertStorePasword: secrets.storePassword },
  "a field of the wrong kind": { sslCertKey: { pem: server.keyPem } }
}

const hiddenInFaults = { ...secrets, shortKey: tooShort.split("\n")[1]! }

/** Given to a new listener, and as the replacement of another's. */
const refuseCertificates = Effect.gen(function* () {
  const broker = yield* Broker.Broker
  const { localPort } = yield* broker.addListener({ protocol: 1, port: 0, sslCertStore: server.pem })
  for (const [what, fault] of Object.entries(faults)) {
    const certificates = { sslCertStore: server.pem, ...fault }
    const failures = [
      yield* Effect.flip(broker.addListener({ protocol: 1, port: 0, ...certificates })),
      yield* Effect.flip(broker.replaceCertificates(localPort, certificates))
    ]
    for (const failure of failures) {
      const texts = [failure.message, String(failure), JSON.stringify(failure), inspect(failure, { depth: 9 })]
      assertHidden(texts.join("\n"), hiddenInFaults, what)
    }
  }
  assertHidden(JSON.stringify(yield* broker.listeners), hiddenInFaults)
})

/** Everything that has a secret in it. */
const everything = Effect.gen(function* () {
  const broker = yield* Broker.Broker
  const [plain, secure] = (yield* broker.listeners).map(({ localPort }) => localPort)
  const password = Buffer.from(secrets.password)
  const will = { topic: "w", payload: Buffer.from(payloads.will), qos: 1, retain: true, properties } as const

  const refused = yield* RawClient.open(plain!)
  yield* refused.send(RawClient.connectPacket({ userName: "eve", password }))
  yield* refused.expect("ConnAck")
  yield* refused.ended

  const client = yield* RawClient.open(plain!)
  const method = (data: string) => ({ authenticationMethod: "m", authenticationData: Buffer.from(data) })
  const connect = { clientId: "a", userName: "ann", password, will, properties: method(secrets.authenticationData) }
  yield* client.send(RawClient.connectPacket(connect))
  yield* client.expect("Auth")
  const step: Packet = { _tag: "Auth", reasonCode: 0x18, properties: method(secrets.authenticationData) }
  yield* client.send(step)
  yield* client.expect("ConnAck")
  yield* client.send(RawClient.publish("t", payloads.retained, 1, true))
  yield* client.expect("PubAck")
  yield* RawClient.subscribe(client, "#", 1)
  yield* client.expect("Publish")
  yield* client.send(RawClient.publish("fails", payloads.payload, 1, false, 2))
  yield* client.expect("PubAck")
  yield* client.send(RawClient.publish("t", payloads.payload, 1, false, 3))
  yield* client.expect("Publish")
  yield* client.expect("PubAck")
  // A CONNECT that is cut short in its password, and bytes that are no packet at all.
  const broken = yield* RawClient.open(plain!)
  const whole = Encoder.encode(RawClient.connectPacket({ userName: "ann", password }), 5)
  broken.socket.write(Buffer.concat([Buffer.from([0x10, whole.length - 5]), whole.subarray(2, -3)]))
  yield* broken.expect("ConnAck")
  yield* broken.ended
  const rubbish = yield* RawClient.open(plain!)
  rubbish.socket.write(`POST / HTTP/1.1\r\nAuthorization: ${secrets.password}\r\n\r\n${payloads.payload}`)
  yield* rubbish.ended

  const tls = Tls.connect({ port: secure!, host: "127.0.0.1", ca: ca.certPem })
  tls.write(Encoder.encode(RawClient.connectPacket({ clientId: "tls", userName: "ann", password }), 5))
  yield* TestHandler.dataOf(tls, 4)
  const stranger = yield* RawClient.open(secure!)
  stranger.socket.write(secrets.password.repeat(10))
  yield* stranger.ended
  yield* refuseCertificates

  client.socket.destroy()
  tls.destroy()
  yield* broker.shutdown
})

/** All lines of that: of Log and Error events, and of Effect's logging. */
const linesOf = Effect.fnUntraced(function* (settings: object) {
  const lines: Array<string> = []
  const logger = Logger.make<unknown, void>((entry) => {
    lines.push(String(entry.message), JSON.stringify(entry.message))
  })
  yield* Effect.gen(function* () {
    const broker = yield* Broker.Broker
    yield* broker.eventsOf("Log", "Error", "SSLStatus").pipe(
      Stream.runForEach((event) => Effect.sync(() => void lines.push(JSON.stringify(event)))),
      Effect.forkScoped({ startImmediately: true })
    )
    yield* everything
  }).pipe(
    Effect.scoped,
    Effect.provide(
      BrokerLogger.layer.pipe(
        Layer.provideMerge(brokerLayer({ hooks, settings: { listeners, ...settings } })),
        Layer.provideMerge(Logger.layer([logger]))
      )
    )
  )
  return lines.join("\n")
})

describe("a line of the log", () => {
  for (const logLevel of [0, 1, 2, 3]) {
    it.live(`has no secret and no payload in it, at level ${logLevel}, as it is by default`, () =>
      Effect.gen(function* () {
        const lines = yield* linesOf({ logLevel })
        assertHidden(lines, { ...secrets, ...payloads })
        // The lines that could have them are there.
        assert.include(lines, "Error")
        assert.strictEqual(lines.includes("received CONNECT"), logLevel === 3)
        assert.strictEqual(lines.includes('received PUBLISH \\"t\\"'), logLevel === 3)
        assert.strictEqual(lines.includes("sent AUTH"), logLevel === 3)
      })
    )
  }

  it.live("has payloads in it where that was asked for, and secrets never", () =>
    Effect.gen(function* () {
      const lines = yield* linesOf({ logLevel: 3, maskSensitiveData: false })
      assertHidden(lines, secrets)
      assert.include(lines, payloads.payload)
    })
  )
})
