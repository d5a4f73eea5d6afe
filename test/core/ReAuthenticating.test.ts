/**
 * A connected 5.0 client that authenticates again [MQTT-4.12.1].
 */
import { assert, describe, it } from "@effect/vitest"
import type { Packet } from "../../src/protocol/Packet.ts"
import {
  ACCEPT,
  AGAIN,
  CONTINUE,
  METHOD,
  asked,
  auth,
  authenticated,
  begin,
  bytes,
  withHook
} from "./support/Authentication.ts"
import { assertForgotten, kept, only, present, ready, subscriber } from "./support/Clients.ts"

describe("authenticating again", () => {
  it("in one step: AUTH says success, with the data", () => {
    const h = withHook()
    const client = authenticated(h)
    client.send(auth(AGAIN, bytes(1)))
    assert.deepInclude(asked(h), { clientId: "a", method: METHOD, data: bytes(1), step: 0, again: true })
    h.answer({ reasonCode: 0, authenticationData: bytes(2) })
    const { properties, reasonCode } = only(client, "Auth")
    assert.strictEqual(reasonCode, 0)
    assert.deepStrictEqual(present(properties), { authenticationMethod: METHOD, authenticationData: bytes(2) })
  })

  it("in several steps, during which everything else goes on [MQTT-4.12.1-1]", () => {
    const h = withHook()
    const client = authenticated(h)
    client.subscribe("t")
    client.send(auth(AGAIN))
    h.answer({ reasonCode: CONTINUE, authenticationData: bytes(1) })
    client.publish("t", "x", { qos: 1 })
    client.ping()
    assert.deepStrictEqual(client.takeWords(), ["SubAck 1 [2]", "Auth", 'Publish t "x" q1 #1', "PubAck 2", "PingResp"])
    client.send(auth(CONTINUE, bytes(2)))
    assert.deepInclude(asked(h), { step: 1, data: bytes(2), again: true })
    h.answer(ACCEPT)
    assert.strictEqual(only(client, "Auth").reasonCode, 0)
  })

  it("as often as the client likes; each time begins at step 0", () => {
    const h = withHook()
    const client = authenticated(h)
    for (let time = 0; time < 3; time++) {
      client.send(auth(AGAIN))
      assert.strictEqual(asked(h).step, 0)
      h.answer({ reasonCode: CONTINUE })
      client.send(auth(CONTINUE))
      assert.strictEqual(asked(h).step, 1)
      h.answer(ACCEPT)
      assert.deepStrictEqual(client.takeWords(), ["Auth", "Auth"])
    }
  })

  it("does not ask for the session again, and changes nothing of it", () => {
    const h = withHook()
    h.install("sessionRequest")
    const client = begin(h, "a", kept(5))
    h.answer(ACCEPT)
    h.answer(ACCEPT)
    client.subscribe("t")
    client.take()
    client.send(auth(AGAIN))
    h.answer(ACCEPT)
    assert.deepStrictEqual(client.takeWords(), ["Auth"])
    assert.strictEqual(h.questions.length, 0)
    assert.strictEqual(h.session("a")?.subscriptions.size, 1)
  })

  it("that fails ends the connection with DISCONNECT and its code, at any step [MQTT-4.12.1-2]", () => {
    for (const steps of [0, 1]) {
      for (const [answer, code] of [
        [0x87, 0x87],
        [0x8c, 0x8c],
        [0x86, 0x87], // only CONNACK has "bad user name or password"
        [0x80, 0x80]
      ] as const) {
        const h = withHook()
        const watcher = subscriber(h, "w", {}, "#")
        const will = { topic: "w", payload: bytes(1), qos: 0, retain: false } as const
        const client = authenticated(h, "a", { will })
        client.send(auth(AGAIN))
        for (let step = 0; step < steps; step++) {
          h.answer({ reasonCode: CONTINUE })
          client.send(auth(CONTINUE))
        }
        client.take()
        h.answer({ reasonCode: answer, reasonString: "no" })
        const disconnect = only(client, "Disconnect")
        assert.strictEqual(disconnect.reasonCode, code)
        assert.strictEqual(disconnect.properties?.reasonString, "no")
        assert.isTrue(client.closed)
        assert.strictEqual(watcher.takePayloads().length, 1)
      }
    }
  })

  const faults: ReadonlyArray<readonly [title: string, packets: ReadonlyArray<Packet>]> = [
    ["with another method [MQTT-4.12.1-1]", [auth(AGAIN, undefined, "OTHER")]],
    ["that goes on where nothing began", [auth(CONTINUE)]],
    ["that says success", [auth(0)]],
    ["without a method", [{ _tag: "Auth", reasonCode: AGAIN, properties: {} }]]
  ]
  for (const [title, packets] of faults) {
    it(`${title} is a protocol error`, () => {
      const h = withHook()
      const client = authenticated(h)
      client.send(...packets)
      assert.deepStrictEqual(client.takeWords(), ["Disconnect 0x82"])
      assert.isTrue(client.closed)
      assert.strictEqual(h.questions.length, 0)
    })
  }

  it("while it is underway is a protocol error; after it, it is not", () => {
    const h = withHook()
    const client = authenticated(h)
    client.send(auth(AGAIN))
    h.answer({ reasonCode: CONTINUE })
    client.take()
    client.send(auth(AGAIN))
    assert.deepStrictEqual(client.takeWords(), ["Disconnect 0x82"])
    const other = authenticated(h, "b")
    other.send(auth(AGAIN), auth(AGAIN))
    assert.strictEqual(h.questions.length, 1)
    h.answer(ACCEPT)
    h.answer(ACCEPT)
    assert.deepStrictEqual(other.takeWords(), ["Auth", "Auth"])
  })

  it("with another method half-way is a protocol error", () => {
    const h = withHook()
    const client = authenticated(h)
    client.send(auth(AGAIN))
    h.answer({ reasonCode: CONTINUE })
    client.take()
    client.send(auth(CONTINUE, undefined, "OTHER"))
    assert.deepStrictEqual(client.takeWords(), ["Disconnect 0x82"])
  })

  it("is not for clients that named no method in CONNECT [MQTT-4.12.0-7]", () => {
    const h = withHook()
    for (const code of [CONTINUE, AGAIN] as const) {
      const client = ready(h, "a", { version: 5 })
      client.send(auth(code))
      assert.deepStrictEqual(client.takeWords(), ["Disconnect 0x82"])
    }
    assert.strictEqual(h.questions.length, 0)
  })

  it("does not outlive the connection: the next one begins with its own method, or none", () => {
    const h = withHook()
    authenticated(h, "a", kept(5)).drop()
    const client = ready(h, "a", kept(5))
    client.send(auth(AGAIN))
    assert.deepStrictEqual(client.takeWords().slice(-1), ["Disconnect 0x82"])
  })

  it("waits for no timeout of CONNECT, and an answer after the end does nothing", () => {
    const h = withHook({ connectTimeoutSeconds: 10 })
    const client = authenticated(h)
    client.send(auth(AGAIN))
    h.advance(60_000)
    h.answer({ reasonCode: CONTINUE })
    h.advance(60_000)
    assert.isFalse(client.closed)
    client.send(auth(CONTINUE))
    const [ask] = h.questions
    client.drop()
    h.answer({ reasonCode: 0x87 }, ask)
    assertForgotten(h)
  })
})
