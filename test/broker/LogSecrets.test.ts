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
import * as Broker from "../../src/broker/Broker.ts"
import * as BrokerLogger from "../../src/broker/BrokerLogger.ts"
import * as Hooks from "../../src/broker/Hooks.ts"
import * as Encoder from "../../src/protocol/Encoder.ts"
import type { Packet } from "../../src/protocol/Packet.ts"
import * as TestCertificates from "../transport/TestCertificates.ts"
import * as TestHandler from "../transport/TestHandler.ts"
import * as RawClient from "./RawClient.ts"
import { brokerLayer } from "./support.ts"

const { ca, server } = TestCertificates.standard()

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

const assertHidden = (text: string, hidden: Readonly<Record<string, string>>): void => {
  for (const [name, secret] of Object.entries(hidden)) {
    for (const form of formsOf(secret)) assert.isFalse(text.includes(form), `${name} is shown as ${form}`)
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
  const wrong = { protocol: 1, port: 0, sslCertStore: server.pem, sslCertSubject: "CN=nobody" } as const
  const failure = yield* Effect.flip(broker.addListener(wrong))
  assertHidden(failure.message, secrets)

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
