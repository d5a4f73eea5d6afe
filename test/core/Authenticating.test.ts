/**
 * Enhanced authentication of 5.0: the AUTH exchange that CONNECT begins [MQTT-4.12.0]. Those of a connected client are
 * in `ReAuthenticating.test.ts`.
 */
import { assert, describe, it } from "@effect/vitest"
import type { Packet } from "../../src/protocol/Packet.ts"
import { CoreHarness } from "./CoreHarness.ts"
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

describe("the AUTH exchange of CONNECT", () => {
  it("may be over with its first step: CONNACK has the method and the data [MQTT-4.12.0-1]", () => {
    const h = withHook()
    const client = begin(h, "a", { userName: "user" }, bytes(1, 2))
    assert.deepStrictEqual(asked(h), {
      connectionId: client.connection.id,
      clientId: "a",
      userName: "user",
      method: METHOD,
      data: bytes(1, 2),
      step: 0,
      again: false
    })
    assert.deepStrictEqual(client.take(), [])
    h.answer({ reasonCode: 0, authenticationData: bytes(3) })
    const { properties, reasonCode, sessionPresent } = only(client, "ConnAck")
    assert.deepStrictEqual([reasonCode, sessionPresent], [0, false])
    assert.deepInclude(properties, { authenticationMethod: METHOD, authenticationData: bytes(3) })
    client.ping()
    only(client, "PingResp")
  })

  it("may take several steps, each side's data going to the other [MQTT-4.12.0-2, MQTT-4.12.0-3]", () => {
    const h = withHook()
    const client = begin(h, "a", {}, bytes(0))
    for (let step = 0; step < 5; step++) {
      assert.deepInclude(asked(h), { step, data: bytes(step), again: false })
      h.answer({ reasonCode: CONTINUE, authenticationData: bytes(100 + step) })
      const { properties, reasonCode } = only(client, "Auth")
      assert.strictEqual(reasonCode, CONTINUE)
      const expected = { authenticationMethod: METHOD, authenticationData: bytes(100 + step) }
      assert.deepStrictEqual(present(properties), expected)
      client.send(auth(CONTINUE, bytes(step + 1)))
    }
    h.answer(ACCEPT)
    const { properties } = only(client, "ConnAck")
    assert.strictEqual(properties?.authenticationMethod, METHOD)
    assert.isUndefined(properties?.authenticationData)
    assert.strictEqual(h.core.sessions.size, 1)
  })

  it("may go without data in both directions", () => {
    const h = withHook()
    const client = begin(h)
    assert.isUndefined(asked(h).data)
    h.answer({ reasonCode: CONTINUE })
    assert.deepStrictEqual(present(only(client, "Auth").properties), { authenticationMethod: METHOD })
    client.send(auth(CONTINUE))
    assert.isUndefined(asked(h).data)
  })

  it("may fail at any step: CONNACK says why, and nothing is left [MQTT-4.12.0-4]", () => {
    for (const steps of [0, 1, 3]) {
      const h = withHook()
      const client = begin(h, "a", kept(5))
      for (let step = 0; step < steps; step++) {
        h.answer({ reasonCode: CONTINUE })
        client.send(auth(CONTINUE))
      }
      client.take()
      h.answer({ reasonCode: 0x86, reasonString: "no", authenticationData: bytes(1) })
      const { properties, reasonCode } = only(client, "ConnAck")
      assert.strictEqual(reasonCode, 0x86)
      assert.deepStrictEqual(present(properties), { reasonString: "no" })
      assert.isTrue(client.closed)
      assertForgotten(h)
    }
  })

  it("with a method that is not known is refused with 0x8C, as the hook says or because there is none", () => {
    const h = withHook()
    const client = begin(h)
    h.answer({ reasonCode: 0x8c })
    assert.strictEqual(only(client, "ConnAck").reasonCode, 0x8c)
    assert.isTrue(client.closed)
    const without = new CoreHarness()
    const other = begin(without)
    assert.strictEqual(only(other, "ConnAck").reasonCode, 0x8c)
    assert.isTrue(other.closed)
    assert.strictEqual(without.questions.length, 0)
    assertForgotten(without)
  })

  it("that is refused with a code CONNACK does not have becomes unspecified", () => {
    for (const code of [0x8e, 0x92, 0xff]) {
      const h = withHook()
      const client = begin(h)
      h.answer({ reasonCode: code })
      assert.strictEqual(only(client, "ConnAck").reasonCode, 0x80)
    }
  })

  it("is not for clients without a method, nor before 5.0", () => {
    const h = withHook()
    for (const version of [3, 4, 5] as const) ready(h, `v${version}`, { version })
    assert.strictEqual(h.questions.length, 0)
  })

  it("ends without data for a method that is not there: CONNACK 0x82", () => {
    const h = withHook()
    const client = h.open(5)
    const connect = {
      _tag: "Connect",
      protocolVersion: 5,
      clientId: "a",
      cleanStart: true,
      keepAliveSeconds: 0,
      properties: { authenticationData: bytes(1) }
    } as const
    client.send(connect)
    assert.strictEqual(only(client, "ConnAck").reasonCode, 0x82)
    assert.isTrue(client.closed)
  })
})

describe("faults in the exchange of CONNECT", () => {
  const cases: ReadonlyArray<readonly [title: string, packet: Packet]> = [
    ["another method [MQTT-4.12.0-5]", auth(CONTINUE, bytes(1), "OTHER")],
    ["a method in other letters", auth(CONTINUE, bytes(1), "scram")],
    ["re-authentication before there was any", auth(AGAIN)],
    ["AUTH that says success: only a server does", auth(0)],
    ["AUTH without a method", { _tag: "Auth", reasonCode: CONTINUE, properties: {} }],
    ["PINGREQ [MQTT-3.1.2-30]", { _tag: "PingReq" }],
    ["SUBSCRIBE [MQTT-3.1.2-30]", subscribing("t")],
    ["SUBSCRIBE that is too deep", subscribing("/".repeat(300))],
    ["PUBLISH [MQTT-3.1.2-30]", publishing("t")],
    ["PUBLISH that is too deep", publishing("/".repeat(300))],
    ["a second CONNECT [MQTT-3.1.0-2]", connecting()]
  ]
  for (const [title, packet] of cases) {
    it(`${title}: CONNACK with 0x82, close, and nothing is done`, () => {
      const h = withHook()
      const watcher = subscriber(h, "w", {}, "#")
      const client = begin(h, "a", kept(5))
      h.answer({ reasonCode: CONTINUE })
      only(client, "Auth")
      client.send(packet)
      const { reasonCode, sessionPresent } = only(client, "ConnAck")
      assert.isFalse(sessionPresent)
      assert.isTrue(reasonCode === 0x82 || (reasonCode === 0x90 && title.startsWith("PUBLISH")), `${reasonCode}`)
      assert.isTrue(client.closed)
      assert.strictEqual(h.questions.length, 0)
      assert.deepStrictEqual(watcher.take(), [])
      assert.isUndefined(h.session("a"))
    })
  }

  it("bytes that are no packet: CONNACK with 0x81", () => {
    const h = withHook()
    const client = begin(h)
    h.answer({ reasonCode: CONTINUE })
    only(client, "Auth")
    client.sendBytes(bytes(0xf1, 0x00))
    assert.strictEqual(only(client, "ConnAck").reasonCode, 0x81)
    assert.isTrue(client.closed)
  })

  it("AUTH as the first packet is not even answered [MQTT-3.1.0-1]", () => {
    const h = withHook()
    const client = h.open(5)
    client.send(auth(CONTINUE))
    assert.deepStrictEqual(client.take(), [])
    assert.isTrue(client.closed)
    assertForgotten(h)
  })

  it("the client may give up with DISCONNECT, whatever was asked", () => {
    for (const open of [false, true]) {
      const h = withHook()
      const will = { topic: "w", payload: bytes(1), qos: 0, retain: false } as const
      const watcher = subscriber(h, "w", {}, "#")
      const client = begin(h, "a", { will, ...kept(5) })
      if (!open) h.answer({ reasonCode: CONTINUE })
      client.take()
      client.disconnect(4)
      if (open) h.answer(ACCEPT) // what came meanwhile is looked at now: it was connected for a moment
      assert.isTrue(client.closed)
      assert.deepStrictEqual(watcher.takeWords(), open ? [`Publish w "\u0001" q0`] : [])
      assert.strictEqual(h.questions.length, 0)
    }
  })
})

describe("what comes while the hook is asked", () => {
  it("waits: the next AUTH is not looked at before this one is answered", () => {
    const h = withHook()
    const client = begin(h)
    client.send(auth(CONTINUE, bytes(1)))
    assert.isFalse(client.reading)
    assert.strictEqual(asked(h).step, 0)
    h.answer({ reasonCode: CONTINUE })
    assert.deepInclude(asked(h), { step: 1, data: bytes(1) })
    h.answer(ACCEPT)
    assert.deepStrictEqual(client.takeWords(), ["Auth", "ConnAck 0"])
  })

  it("is lost with the connection, and the answer that comes late does nothing", () => {
    const h = withHook()
    const client = begin(h, "a", kept(5))
    const [ask] = h.questions
    client.drop()
    h.answer(ACCEPT, ask)
    assert.deepStrictEqual(client.take(), [])
    assertForgotten(h)
  })

  it("touches no session before it is over: the old connection stays until then", () => {
    const h = withHook()
    const old = subscriber(h, "a", kept(5), "t")
    const client = begin(h, "a", kept(5))
    h.answer({ reasonCode: CONTINUE })
    ready(h, "p").publish("t", "x")
    only(old, "Publish")
    client.send(auth(CONTINUE))
    h.answer({ reasonCode: 0x87 })
    old.ping()
    only(old, "PingResp")
    const second = begin(h, "a", kept(5))
    h.answer(ACCEPT)
    assert.isTrue(only(second, "ConnAck").sessionPresent)
    assert.deepStrictEqual(old.takeWords(), ["Disconnect 0x8e"])
  })
})

describe("the session request", () => {
  it("is asked after the client has proved itself, and may still refuse", () => {
    for (const reasonCode of [0, 0x87] as const) {
      const h = withHook()
      h.install("sessionRequest")
      const client = begin(h, "a", { userName: "user", password: bytes(9) })
      h.answer({ reasonCode: CONTINUE })
      client.send(auth(CONTINUE))
      assert.strictEqual(asked(h).step, 1)
      h.answer({ reasonCode: 0, authenticationData: bytes(7) })
      assert.strictEqual(h.questions.length, 1)
      assert.deepInclude(h.questions[0], {
        _tag: "SessionRequest",
        clientId: "a",
        userName: "user",
        password: bytes(9)
      })
      h.answer({ reasonCode })
      const packets = client.take().slice(1)
      assert.strictEqual(packets.length, 1)
      const [connAck] = packets
      assert.deepInclude(connAck, { _tag: "ConnAck", reasonCode })
      assert.strictEqual(client.closed, reasonCode !== 0)
      if (connAck?._tag === "ConnAck" && reasonCode === 0) {
        assert.deepInclude(connAck.properties, { authenticationMethod: METHOD, authenticationData: bytes(7) })
      }
    }
  })

  it("is not asked about one that failed", () => {
    const h = withHook()
    h.install("sessionRequest")
    begin(h)
    h.answer({ reasonCode: 0x86 })
    assert.strictEqual(h.questions.length, 0)
  })
})

describe("limits on those who prove themselves", () => {
  it("no more get in than there is room for, however many began (known failure 6)", () => {
    const h = withHook({ sessionsMax: 2 })
    const clients = ["a", "b", "c"].map((id) => begin(h, id))
    while (h.questions.length > 0) h.answer(ACCEPT)
    assert.deepStrictEqual(
      clients.map((client) => only(client, "ConnAck").reasonCode),
      [0, 0, 0x97]
    )
    assert.strictEqual(h.core.sessions.size, 2)
  })

  it("the connect timeout is for all steps together; it stands still only while the hook is asked", () => {
    const h = withHook({ connectTimeoutSeconds: 10 })
    const client = begin(h)
    h.advance(60_000) // the hook has a time limit of its own, in the shell
    assert.isFalse(client.closed)
    h.answer({ reasonCode: CONTINUE })
    h.advance(100)
    assert.isTrue(client.closed)
    assert.deepStrictEqual(client.takeWords(), ["Auth"])
    assertForgotten(h)
  })

  it("a client that goes on and on is closed in time (known failure 24)", () => {
    const h = withHook({ connectTimeoutSeconds: 10 })
    const client = begin(h)
    let steps = 0
    while (!client.closed && steps < 100) {
      h.answer({ reasonCode: CONTINUE })
      h.advance(1_000)
      client.send(auth(CONTINUE))
      steps++
    }
    assert.strictEqual(steps, 10)
    assert.strictEqual(h.questions.length, 0)
    assertForgotten(h)
  })

  it("a client that stops half-way is closed in time (known failure 24)", () => {
    const h = withHook({ connectTimeoutSeconds: 10 })
    const client = begin(h)
    h.advance(9_000)
    h.answer({ reasonCode: CONTINUE })
    h.advance(900)
    assert.isFalse(client.closed)
    h.advance(200)
    assert.isTrue(client.closed)
    assertForgotten(h)
  })

  it("who got in is not held to it any more", () => {
    const h = withHook({ connectTimeoutSeconds: 10 })
    const client = begin(h)
    h.answer({ reasonCode: CONTINUE })
    client.send(auth(CONTINUE))
    h.answer(ACCEPT)
    h.advance(1_000_000)
    assert.isFalse(client.closed)
  })
})

describe("AUTH before 5.0", () => {
  it("is a packet type that does not exist: close without a word [MQTT-2.1.2-1]", () => {
    for (const version of [3, 4] as const) {
      const h = withHook()
      const client = ready(h, "a", { version })
      client.sendBytes(bytes(0xf0, 0x00))
      assert.deepStrictEqual(client.take(), [])
      assert.isTrue(client.closed)
      assertForgotten(h)
    }
  })
})

describe("what is kept of a proof", () => {
  it("is nothing but the method: no CONNECT, no password, no outcome", () => {
    const h = withHook()
    const { connection } = authenticated(h, "a", { userName: "user", password: bytes(1, 2, 3) })
    assert.deepStrictEqual(connection.authentication, { method: METHOD, step: 1, underway: false, outcome: undefined })
  })
})

function subscribing(filter: string): Packet {
  const subscription = { filter, qos: 0, noLocal: false, retainAsPublished: false, retainHandling: 0 } as const
  return { _tag: "Subscribe", packetId: 1, subscriptions: [subscription] }
}

function publishing(topic: string): Packet {
  return { _tag: "Publish", topic, payload: bytes(1), qos: 0, retain: false, dup: false }
}

function connecting(): Packet {
  return { _tag: "Connect", protocolVersion: 5, clientId: "a", cleanStart: true, keepAliveSeconds: 0 }
}
