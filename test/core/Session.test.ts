/**
 * What outlives a connection, and for how long: session present, clean start, expiry, takeover.
 */
import { assert, describe, it } from "@effect/vitest"
import type { Will } from "../../src/protocol/Packet.ts"
import { CoreHarness } from "./CoreHarness.ts"
import { assertForgotten, kept, only, ready, subscriber, versions } from "./support/Clients.ts"

const NEVER = 0xffff_ffff
const will: Will = { topic: "will", payload: new Uint8Array([1]), qos: 0, retain: false, properties: undefined }

const isPresent = (h: CoreHarness, clientId: string, options: Parameters<CoreHarness["connect"]>[1]): boolean =>
  only(h.connect(clientId, options), "ConnAck").sessionPresent

describe("a clean session", () => {
  for (const version of versions) {
    it(`of version ${version} ends with its connection`, () => {
      const h = new CoreHarness()
      const client = subscriber(h, "a", { version }, "t")
      client.drop()
      assertForgotten(h)
      assert.isFalse(isPresent(h, "a", kept(version)))
    })

    it(`of version ${version} begins without what was kept before [MQTT-3.1.2-4]`, () => {
      const h = new CoreHarness()
      const client = subscriber(h, "a", kept(version), "t")
      client.drop()
      ready(h, "p").publish("t", "queued", { qos: 1 })
      const clean = h.connect("a", { ...kept(version), clean: true })
      assert.isFalse(only(clean, "ConnAck").sessionPresent)
      h.clients[1]!.publish("t", "live", { qos: 1 })
      assert.deepStrictEqual(clean.take(), [])
      assert.strictEqual(h.core.subscriptionCount, 0)
    })
  }
})

describe("a session that is kept", () => {
  for (const version of versions) {
    it(`is there again in version ${version}, with its subscriptions and messages [MQTT-3.1.2-5]`, () => {
      const h = new CoreHarness()
      const client = subscriber(h, "a", kept(version), "t/+")
      client.disconnect()
      const publisher = ready(h, "p")
      publisher.publish("t/1", "one", { qos: 1 })
      publisher.publish("t/2", "two", { qos: 2 })
      publisher.pubRel(2)
      const again = h.connect("a", kept(version))
      assert.deepStrictEqual(again.takeWords(), [
        version === 3 ? "ConnAck 0" : "ConnAck 0 present", // 3.1 has no words for it
        'Publish t/1 "one" q1 #1',
        'Publish t/2 "two" q2 #2'
      ])
      publisher.publish("t/3", "three")
      assert.deepStrictEqual(again.takeWords(), ['Publish t/3 "three" q0'])
    })
  }

  it("passes from one version to another", () => {
    const h = new CoreHarness()
    for (const [first, second] of [
      [4, 5],
      [5, 4]
    ] as const) {
      subscriber(h, `a${first}`, kept(first), "t").drop()
      const publisher = ready(h, "p", { version: 5 })
      publisher.publish("t", "x", { qos: 1, properties: { contentType: "text/plain" } })
      const again = h.connect(`a${first}`, kept(second))
      assert.deepStrictEqual(again.takeWords(), ["ConnAck 0 present", 'Publish t "x" q1 #1'])
    }
  })

  it("takes any client identifier, also those that objects have", () => {
    const h = new CoreHarness()
    for (const id of ["__proto__", "constructor", "toString"]) {
      assert.isFalse(isPresent(h, id, kept(4)))
      h.clients.at(-1)!.drop()
      assert.isTrue(isPresent(h, id, kept(4)))
    }
  })
})

describe("session expiry", () => {
  it("counts from the end of the connection, and the session is gone then", () => {
    const h = new CoreHarness({ events: ["SessionRemoved"] })
    const options = { version: 5, clean: false, expiry: 60 } as const
    const client = subscriber(h, "a", options, "t", "u/#")
    h.advance(3_600_000)
    client.drop()
    h.advance(59_999)
    assert.isTrue(isPresent(h, "a", options))
    h.advance(3_600_000) // connected again: nothing runs
    h.clients.at(-1)!.disconnect()
    h.advance(59_999)
    assert.deepStrictEqual(h.takeEvents(), [])
    h.advance(101)
    assert.deepStrictEqual(
      h.takeEvents().map((event) => `${event._tag} ${"clientId" in event ? event.clientId : ""}`),
      ["SessionRemoved a"]
    )
    assertForgotten(h)
    assert.isFalse(isPresent(h, "a", options))
  })

  it("of 0xFFFFFFFF never comes, and 3.1.1 sessions have it", () => {
    const h = new CoreHarness()
    for (const version of versions) {
      ready(h, `a${version}`, kept(version)).drop()
    }
    h.advance(10 * 365 * 86_400_000)
    for (const version of [4, 5] as const) assert.isTrue(isPresent(h, `a${version}`, kept(version)))
    assert.isTrue(h.core.sessions.has("a3"))
  })

  it("keeps a session that began clean, as 5.0 says", () => {
    const h = new CoreHarness()
    ready(h, "a", { version: 5, clean: true, expiry: 10 }).drop()
    assert.isTrue(isPresent(h, "a", { version: 5, clean: false }))
  })

  it("is 0 when absent, whatever it was before", () => {
    const h = new CoreHarness()
    ready(h, "a", { version: 5, clean: false, expiry: NEVER }).drop()
    assert.isTrue(isPresent(h, "a", { version: 5, clean: false }))
    h.clients.at(-1)!.drop()
    assertForgotten(h)
  })

  it("leaves nothing in the store when a kept session is resumed for one connection only", () => {
    const h = new CoreHarness({ store: "on-time" })
    subscriber(h, "a", { version: 5, clean: false, expiry: NEVER }, "t").drop()
    assert.isTrue(isPresent(h, "a", { version: 5, clean: false }))
    h.clients.at(-1)!.drop()
    h.crash()
    assertForgotten(h)
  })

  it("may be changed in DISCONNECT, to shorter, longer and at once [MQTT-3.14.2-2]", () => {
    for (const [from, to, lives, dies] of [
      [60, 10, 9_999, 101],
      [10, 60, 59_999, 101],
      [NEVER, 5, 4_999, 101]
    ] as const) {
      const h = new CoreHarness()
      ready(h, "a", { version: 5, expiry: from }).disconnect(0, { sessionExpiryInterval: to })
      h.advance(lives)
      assert.strictEqual(h.core.sessions.size, 1)
      h.advance(dies)
      assertForgotten(h)
    }
    const h = new CoreHarness()
    ready(h, "a", { version: 5, expiry: 60 }).disconnect(0, { sessionExpiryInterval: 0 })
    assertForgotten(h)
  })

  it("may not be changed from 0 in DISCONNECT: that is a fault, and no DISCONNECT [MQTT-3.14.2-2]", () => {
    const h = new CoreHarness()
    const watcher = subscriber(h, "watcher", {}, "will")
    const client = ready(h, "a", { version: 5, will })
    client.disconnect(0, { sessionExpiryInterval: 60 })
    assert.deepStrictEqual(client.takeWords(), ["Disconnect 0x82"])
    assert.isFalse(h.core.sessions.has("a"))
    assert.strictEqual(watcher.takePayloads().length, 1)
    const zero = ready(h, "b", { version: 5, will })
    zero.disconnect(0, { sessionExpiryInterval: 0 })
    assert.deepStrictEqual(zero.take(), [])
    assert.strictEqual(watcher.takePayloads().length, 0)
  })

  it("is never longer than the broker's cap, in any version and in DISCONNECT", () => {
    const h = new CoreHarness({ config: { sessionExpirySecondsMax: 100 } })
    for (const version of versions) ready(h, `a${version}`, kept(version)).drop()
    ready(h, "b", { version: 5, expiry: 50 }).disconnect(0, { sessionExpiryInterval: NEVER })
    h.advance(99_999)
    assert.strictEqual(h.core.sessions.size, 4)
    h.advance(101)
    assertForgotten(h)
  })

  it("collects every session that expires (known failure 8)", () => {
    const h = new CoreHarness()
    const publisher = ready(h, "p")
    for (let index = 0; index < 500; index++) {
      const options = { version: 5, expiry: 1 + (index % 50) } as const
      subscriber(h, `a${index}`, options, "t", `only/${index}`, "w/+").drop()
    }
    for (let index = 0; index < 10; index++) publisher.publish("t", "x", { qos: 1 })
    h.advance(25_100)
    assert.strictEqual(h.core.sessions.size, 251)
    h.advance(25_000)
    publisher.drop()
    assertForgotten(h)
    assert.strictEqual(h.core.stats.connectionsTotal, 501)
  })
})

describe("takeover", () => {
  it("ends the old connection, with 0x8E in 5.0 [MQTT-3.1.4-3]", () => {
    for (const version of versions) {
      for (const next of versions) {
        const h = new CoreHarness()
        const old = ready(h, "a", { version })
        const young = h.connect("a", { version: next })
        assert.deepStrictEqual(old.takeWords(), version === 5 ? ["Disconnect 0x8e"] : [])
        assert.isTrue(old.closed)
        assert.deepStrictEqual(young.takeWords(), ["ConnAck 0"])
        assert.strictEqual(h.core.connections.size, 1)
        assert.strictEqual(h.core.sessions.size, 1)
      }
    }
  })

  it("hands a kept session over, with what was underway", () => {
    const h = new CoreHarness()
    const old = subscriber(h, "a", kept(4), { filter: "t", qos: 1 })
    const publisher = ready(h, "p")
    publisher.publish("t", "one", { qos: 1 })
    assert.deepStrictEqual(old.takeWords(), ['Publish t "one" q1 #1'])
    const young = h.connect("a", kept(4))
    assert.deepStrictEqual(young.takeWords(), ["ConnAck 0 present", 'Publish t "one" q1 #1 dup'])
    publisher.publish("t", "two", { qos: 1 })
    assert.deepStrictEqual(young.takeWords(), ['Publish t "two" q1 #2'])
  })

  it("does not hand over a session that ends with its connection", () => {
    const h = new CoreHarness()
    const old = subscriber(h, "a", { version: 5, clean: false }, "t")
    const young = h.connect("a", { version: 5, clean: false, expiry: 60 })
    assert.isFalse(only(young, "ConnAck").sessionPresent)
    assert.isTrue(old.closed)
    assert.strictEqual(h.core.subscriptionCount, 0)
  })

  it("is not undone when the old connection closes late (known failure 30)", () => {
    for (const version of versions) {
      const h = new CoreHarness()
      const watcher = subscriber(h, "watcher", {}, "will")
      const old = subscriber(h, "a", { ...kept(version), will }, "t")
      old.freeze()
      ready(h, "p").publish("t", "stuck")
      const young = ready(h, "a", { ...kept(version), will })
      assert.strictEqual(watcher.takePayloads().length, 1) // the old will, which has no delay
      assert.isFalse(old.closed)
      // What the old connection still sends is not heard.
      old.publish("t", "late")
      old.disconnect()
      assert.deepStrictEqual(young.take(), [])
      old.drop()
      assert.strictEqual(h.session("a")?.owner, young.connection)
      h.clients[2]!.publish("t", "live")
      assert.deepStrictEqual(young.takePayloads(), ["live"])
      assert.deepStrictEqual(watcher.take(), [])
      assert.strictEqual(h.core.connections.size, 3)
      young.drop()
      assert.strictEqual(watcher.takePayloads().length, 1)
    }
  })

  it("many times in one turn leaves one connection and one session (known failure 30)", () => {
    const h = new CoreHarness()
    h.together(() => {
      for (let index = 0; index < 100; index++) {
        const version = versions[index % 3]!
        h.connect("a", { ...kept(version), clean: index % 7 === 0 })
      }
    })
    assert.strictEqual(h.core.connections.size, 1)
    assert.strictEqual(h.core.sessions.size, 1)
    const last = h.clients.at(-1)!
    assert.isFalse(last.closed)
    assert.isTrue(h.clients.slice(0, -1).every(({ closed }) => closed))
    last.take()
    last.ping()
    only(last, "PingResp")
  })

  const bothAsked = (version: 3 | 4 | 5) => {
    const h = new CoreHarness()
    h.install("sessionRequest")
    const older = h.connect("a", { version })
    const newer = h.connect("a", { version })
    const [askOlder, askNewer] = [...h.questions]
    return { h, older, newer, askOlder, askNewer }
  }

  it("by a CONNECT that a hook held while its client connected again does not happen: the newer one stays", () => {
    for (const version of versions) {
      const { askNewer, askOlder, h, newer, older } = bothAsked(version)
      h.answer({ reasonCode: 0 }, askNewer)
      assert.deepStrictEqual(newer.takeWords(), ["ConnAck 0"])
      h.answer({ reasonCode: 0 }, askOlder)
      assert.deepStrictEqual(older.takeWords(), [`ConnAck ${0x88}`])
      assert.isTrue(older.closed)
      newer.ping()
      only(newer, "PingResp")
      assert.strictEqual(h.core.sessions.size, 1)
    }
  })

  it("by the newer of two that were asked about happens, and by the older once the newer is gone", () => {
    for (const version of versions) {
      const one = bothAsked(version)
      one.h.answer({ reasonCode: 0 }, one.askOlder)
      one.h.answer({ reasonCode: 0 }, one.askNewer)
      assert.deepStrictEqual([one.older.closed, one.newer.closed], [true, false])
      const other = bothAsked(version)
      other.h.answer({ reasonCode: 0 }, other.askNewer)
      other.newer.disconnect()
      other.h.answer({ reasonCode: 0 }, other.askOlder)
      assert.deepStrictEqual(other.older.takeWords(), ["ConnAck 0"])
    }
  })
})
