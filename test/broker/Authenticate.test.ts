/**
 * Enhanced authentication through the `authenticate` hook, over TCP.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Redacted from "effect/Redacted"
import * as Broker from "../../src/broker/Broker.ts"
import * as Hooks from "../../src/broker/Hooks.ts"
import type { Packet } from "../../src/protocol/Packet.ts"
import * as RawClient from "./RawClient.ts"
import { brokerLayer, collect, port } from "./support.ts"

const METHOD = "CHALLENGE"

const bytes = (text: string) => new TextEncoder().encode(text)
const text = (data: Uint8Array | undefined) => (data === undefined ? undefined : new TextDecoder().decode(data))

const auth = (reasonCode: 0x18 | 0x19, data?: string, method = METHOD): Packet => ({
  _tag: "Auth",
  reasonCode,
  properties: { authenticationMethod: method, authenticationData: data === undefined ? undefined : bytes(data) }
})

/** A client that has sent a CONNECT with the method. */
const begin = Effect.fnUntraced(function* (bound: number, data?: string, method = METHOD) {
  const client = yield* RawClient.open(bound)
  const properties = {
    authenticationMethod: method,
    authenticationData: data === undefined ? undefined : bytes(data)
  }
  yield* client.send(RawClient.connectPacket({ properties, userName: "ann" }))
  return client
})

/** Asks for a name, then for the answer to a challenge made of it. */
const challenge = ({ data, method, step }: Hooks.Authenticate): Effect.Effect<Hooks.Decision> =>
  Effect.sync(() => {
    if (method !== METHOD) return Hooks.refuse(0x8c)
    const said = data === undefined ? "" : text(Redacted.value(data))
    if (step === 0) return Hooks.proceed(bytes(`challenge for ${said}`))
    return said === "secret" ? Hooks.authenticated(bytes("welcome")) : Hooks.refuse(0x87, "wrong answer")
  })

describe("the authenticate hook", () => {
  it.live("leads a client through its steps, and sees who it is", () => {
    const seen: Array<Hooks.Authenticate> = []
    const authenticate = (request: Hooks.Authenticate) => {
      seen.push(request)
      return challenge(request)
    }
    return Effect.gen(function* () {
      const client = yield* begin(yield* port, "ann")
      const question = yield* client.expect("Auth")
      assert.strictEqual(question.reasonCode, 0x18)
      assert.strictEqual(question.properties?.authenticationMethod, METHOD)
      assert.strictEqual(text(question.properties?.authenticationData), "challenge for ann")
      yield* client.send(auth(0x18, "secret"))
      const connAck = yield* client.expect("ConnAck")
      assert.strictEqual(connAck.reasonCode, 0)
      assert.strictEqual(connAck.properties?.authenticationMethod, METHOD)
      assert.strictEqual(text(connAck.properties?.authenticationData), "welcome")
      yield* RawClient.ping(client)
      const [first, second] = seen
      assert.deepInclude(first, { clientId: "test", userName: "ann", method: METHOD, step: 0, again: false })
      assert.deepInclude(second, { step: 1, again: false })
    }).pipe(Effect.provide(brokerLayer({ hooks: { authenticate } })))
  })

  it.live("refuses with its code and words, and the next client begins anew", () =>
    Effect.gen(function* () {
      const bound = yield* port
      const wrong = yield* begin(bound, "ann")
      yield* wrong.expect("Auth")
      yield* wrong.send(auth(0x18, "guess"))
      const connAck = yield* wrong.expect("ConnAck")
      assert.strictEqual(connAck.reasonCode, 0x87)
      assert.strictEqual(connAck.properties?.reasonString, "wrong answer")
      yield* wrong.ended
      const right = yield* begin(bound, "ann")
      yield* right.expect("Auth")
      yield* right.send(auth(0x18, "secret"))
      assert.strictEqual((yield* right.expect("ConnAck")).reasonCode, 0)
    }).pipe(Effect.provide(brokerLayer({ hooks: { authenticate: challenge } })))
  )

  it.live("refuses methods that it does not know with 0x8C, as a broker without it refuses all", () =>
    Effect.gen(function* () {
      const unknown = Effect.gen(function* () {
        const client = yield* begin(yield* port, "ann", "OTHER")
        const { reasonCode } = yield* client.expect("ConnAck")
        yield* client.ended
        return reasonCode
      })
      assert.strictEqual(yield* unknown.pipe(Effect.provide(brokerLayer({ hooks: { authenticate: challenge } }))), 0x8c)
      assert.strictEqual(yield* unknown.pipe(Effect.provide(brokerLayer())), 0x8c)
    })
  )

  it.live("is asked before sessionRequest, and not for clients that name no method", () => {
    const order: Array<string> = []
    const hooks: Hooks.HooksService = {
      authenticate: () =>
        Effect.sync(() => {
          order.push("authenticate")
          return Hooks.authenticated()
        }),
      sessionRequest: () =>
        Effect.sync(() => {
          order.push("sessionRequest")
          return Hooks.accept
        })
    }
    return Effect.gen(function* () {
      const bound = yield* port
      const client = yield* begin(bound)
      assert.strictEqual((yield* client.expect("ConnAck")).reasonCode, 0)
      assert.deepStrictEqual(order.splice(0), ["authenticate", "sessionRequest"])
      yield* RawClient.connect(bound, { clientId: "plain" })
      assert.deepStrictEqual(order, ["sessionRequest"])
    }).pipe(Effect.provide(brokerLayer({ hooks })))
  })

  it.live("may take its time, and nobody else waits", () =>
    Effect.gen(function* () {
      const gate = yield* Deferred.make<Hooks.Decision>()
      yield* Effect.gen(function* () {
        const bound = yield* port
        const client = yield* begin(bound)
        const other = yield* RawClient.connect(bound, { clientId: "other" })
        yield* RawClient.ping(other)
        yield* Deferred.succeed(gate, Hooks.authenticated())
        assert.strictEqual((yield* client.expect("ConnAck")).reasonCode, 0)
      }).pipe(Effect.provide(brokerLayer({ hooks: { authenticate: () => Deferred.await(gate) } })))
    })
  )

  it.live("is asked again by a connected client, which goes on or is disconnected", () =>
    Effect.gen(function* () {
      const client = yield* begin(yield* port, "ann")
      yield* client.expect("Auth")
      yield* client.send(auth(0x18, "secret"))
      yield* client.expect("ConnAck")
      for (const answer of ["secret", "guess"]) {
        yield* client.send(auth(0x19, "ann"))
        assert.strictEqual((yield* client.expect("Auth")).reasonCode, 0x18)
        yield* RawClient.ping(client)
        yield* client.send(auth(0x18, answer))
        if (answer === "secret") {
          const success = yield* client.expect("Auth")
          assert.strictEqual(success.reasonCode, 0)
          assert.strictEqual(text(success.properties?.authenticationData), "welcome")
        } else {
          const goodbye = yield* client.expect("Disconnect")
          assert.strictEqual(goodbye.reasonCode, 0x87)
          assert.strictEqual(goodbye.properties?.reasonString, "wrong answer")
        }
      }
      yield* client.ended
    }).pipe(Effect.provide(brokerLayer({ hooks: { authenticate: challenge } })))
  )

  it.live("does not show what the client said in a log", () => {
    let shown = ""
    const authenticate = (request: Hooks.Authenticate) =>
      Effect.sync(() => {
        shown = `${JSON.stringify(request)} ${String(request.data)}`
        return Hooks.authenticated()
      })
    return Effect.gen(function* () {
      const client = yield* begin(yield* port, "AAAA")
      yield* client.expect("ConnAck")
      assert.include(shown, METHOD)
      assert.notInclude(shown, "65,65")
      assert.notInclude(shown, "AAAA")
      assert.notInclude(shown, "QUFB") // the same in base64
    }).pipe(Effect.provide(brokerLayer({ hooks: { authenticate } })))
  })

  it.live("answers nobody when its client is gone meanwhile, and the broker goes on", () =>
    Effect.gen(function* () {
      const asked = yield* Deferred.make<void>()
      const gate = yield* Deferred.make<Hooks.Decision>()
      const authenticate = () => Effect.andThen(Deferred.succeed(asked, undefined), Deferred.await(gate))
      yield* Effect.gen(function* () {
        const broker = yield* Broker.Broker
        const bound = yield* port
        const gone = yield* collect(broker.eventsOf("Disconnected"), 1)
        const client = yield* begin(bound)
        yield* Deferred.await(asked)
        client.socket.destroy()
        yield* Fiber.join(gone)
        yield* Deferred.succeed(gate, Hooks.authenticated())
        const other = yield* RawClient.connect(bound, { clientId: "other" })
        yield* RawClient.ping(other)
      }).pipe(Effect.provide(brokerLayer({ hooks: { authenticate } })))
    })
  )
})

describe("an authenticate hook that is broken refuses, and is reported (known failure 22)", () => {
  const broken: ReadonlyArray<readonly [string, () => Effect.Effect<Hooks.Decision, unknown>]> = [
    ["fails", () => Effect.fail(new Error("backend down"))],
    ["dies", () => Effect.die("bug")],
    [
      "throws",
      () => {
        throw new Error("bug")
      }
    ],
    ["answers with a code that is neither success, continue nor a refusal", () => Effect.succeed({ reasonCode: 0x19 })],
    ["answers with a code that is no byte", () => Effect.succeed({ reasonCode: 0x187 })],
    // A program without types may answer anything.
    ["answers nothing", () => Effect.succeed(undefined as unknown as Hooks.Decision)],
    ["does not answer in time", () => Effect.never]
  ]
  for (const [what, hook] of broken) {
    it.live(`when it ${what}: CONNACK with 0x80 at first, DISCONNECT with 0x80 later`, () => {
      let works = false
      const authenticate = () => (works ? Effect.succeed(Hooks.authenticated()) : hook())
      return Effect.gen(function* () {
        const broker = yield* Broker.Broker
        const bound = yield* port
        const errors = yield* collect(broker.eventsOf("Error"), 2)
        const refused = yield* begin(bound)
        assert.strictEqual((yield* refused.expect("ConnAck")).reasonCode, 0x80)
        yield* refused.ended
        works = true
        const client = yield* begin(bound)
        yield* client.expect("ConnAck")
        works = false
        yield* client.send(auth(0x19))
        assert.strictEqual((yield* client.expect("Disconnect")).reasonCode, 0x80)
        yield* client.ended
        for (const error of yield* Fiber.join(errors)) {
          assert.include(error.description, "Authenticate hook gave no decision")
          assert.notStrictEqual(error.connectionId, "")
        }
      }).pipe(Effect.provide(brokerLayer({ hooks: { authenticate }, settings: { hookTimeoutSeconds: 1 } })))
    })
  }
})
