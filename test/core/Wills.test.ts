/**
 * The last will: published for every end of a connection but a normal DISCONNECT, at the time it asks for.
 */
import { assert, describe, it } from "@effect/vitest"
import type { Will } from "../../src/protocol/Packet.ts"
import { CoreHarness } from "./CoreHarness.ts"
import { all, assertForgotten, hex, kept, present, ready, subscriber, versions } from "./support/Clients.ts"

const payload = new TextEncoder().encode("gone")
const make = (will: Partial<Will> = {}): Will => ({
  topic: "w",
  payload,
  qos: 0,
  retain: false,
  properties: undefined,
  ...will
})
const delayed = (willDelayInterval: number, will: Partial<Will> = {}): Will =>
  make({ ...will, properties: { willDelayInterval } })

/** A broker with somebody who watches for wills; `seen` says how many have come since it was last asked. */
const watched = (options: ConstructorParameters<typeof CoreHarness>[0] = {}) => {
  const h = new CoreHarness(options)
  const watcher = subscriber(h, "watcher", { version: 5 }, { filter: "w/#", retainAsPublished: true })
  return { h, watcher, seen: () => watcher.takePayloads().length }
}

describe("a will", () => {
  for (const version of versions) {
    it(`is published when the connection breaks, times out or errs [MQTT-3.1.2-8] (${version})`, () => {
      const { h, seen } = watched()
      const options = { version, keepAliveSeconds: 10, will: make() }
      ready(h, "a", options).drop()
      assert.strictEqual(seen(), 1)
      ready(h, "a", options)
      h.advance(16_000)
      assert.strictEqual(seen(), 1)
      ready(h, "a", options).sendBytes(hex("f0 00"))
      assert.strictEqual(seen(), 1)
      const taken = ready(h, "a", options)
      const taking = ready(h, "a", { version })
      assert.isTrue(taken.closed)
      assert.strictEqual(seen(), 1)
      taking.drop()
      assert.strictEqual(seen(), 0)
      const ended = ready(h, "a", options)
      h.core.disconnect(ended.connection, 0x98, h.now)
      h.settle()
      assert.strictEqual(seen(), 1)
    })

    it(`is taken back by DISCONNECT, and never published later [MQTT-3.1.2-10] (version ${version})`, () => {
      const { h, seen } = watched()
      for (const options of [{ version }, kept(version)]) {
        ready(h, "a", { ...options, will: make() }).disconnect()
        h.advance(1_000_000)
        ready(h, "a", options).drop()
        h.advance(1_000_000)
        assert.strictEqual(seen(), 0)
      }
    })

    it(`has the QoS, RETAIN and topic it was given (version ${version})`, () => {
      for (const qos of [0, 1, 2] as const) {
        const { h, watcher } = watched()
        ready(h, "a", { version, will: make({ topic: "w/x", qos, retain: true }) }).drop()
        const id = qos === 0 ? "" : " #1"
        assert.deepStrictEqual(watcher.takeWords(), [`Publish w/x "gone" q${qos}${id} retain`])
        const late = ready(h, "late", { version })
        late.subscribe("w/x")
        assert.strictEqual(all(late, "Publish")[0]?.retain, true)
      }
    })

    it(`is of one connection: the next has its own or none (version ${version})`, () => {
      const { h, watcher, seen } = watched()
      ready(h, "a", { ...kept(version), will: make() }).disconnect()
      ready(h, "a", kept(version)).drop()
      assert.strictEqual(seen(), 0)
      const other = make({ payload: new TextEncoder().encode("other") })
      ready(h, "a", { ...kept(version), will: other }).drop()
      assert.deepStrictEqual(watcher.takePayloads(), ["other"])
    })
  }

  it("goes after DISCONNECT with 0x04 and every other code but 0x00 [MQTT-3.14.4-3]", () => {
    const { h, seen } = watched()
    ready(h, "a", { version: 5, will: make() }).disconnect(4)
    assert.strictEqual(seen(), 1)
    for (const reasonCode of [0x80, 0x81, 0x82, 0x93, 0x97] as const) {
      const client = ready(h, "a", { version: 5, will: make() })
      client.send({ _tag: "Disconnect", reasonCode, properties: undefined })
      assert.isTrue(client.closed)
      assert.deepStrictEqual(client.take(), [])
      assert.strictEqual(seen(), 1)
    }
  })

  it("carries its properties, and not its delay [MQTT-3.1.3-10]", () => {
    const { h, watcher } = watched()
    const properties = {
      payloadFormatIndicator: 1,
      messageExpiryInterval: 100,
      contentType: "text/plain",
      responseTopic: "reply",
      correlationData: new Uint8Array([1, 2]),
      userProperties: [["k", "v"]]
    } as const
    const will = make({ properties: { ...properties, willDelayInterval: 5 } })
    ready(h, "a", { version: 5, expiry: 60, will }).drop()
    h.advance(5_101)
    assert.deepStrictEqual(present(all(watcher, "Publish")[0]?.properties), properties)
  })

  it("is not for the client itself when that is gone, and is kept for it when it comes back", () => {
    const { h } = watched()
    const client = subscriber(h, "a", { ...kept(4), will: make({ qos: 1 }) }, "w")
    client.drop()
    assert.deepStrictEqual(h.connect("a", kept(4)).takeWords(), ["ConnAck 0 present", 'Publish w "gone" q1 #1'])
  })

  it("with nothing in it is published, and deletes what was retained", () => {
    const { h, watcher } = watched()
    ready(h, "p").publish("w", "x", { retain: true })
    watcher.take()
    ready(h, "a", { will: make({ payload: new Uint8Array(0), retain: true }) }).drop()
    assert.deepStrictEqual(watcher.takeWords(), ['Publish w "" q0 retain'])
    assert.strictEqual(h.core.retained.size, 0)
  })

  it("of a connection that never was accepted is not published (known failure 7)", () => {
    const { h, seen } = watched()
    h.install("sessionRequest")
    const client = h.connect("a", { will: make() })
    h.answer({ reasonCode: 0x87 })
    assert.isTrue(client.closed)
    h.connect("b", { will: make() }).drop()
    assert.strictEqual(seen(), 0)
    assert.strictEqual(h.core.sessions.size, 1)
  })

  it("deeper than the limit is refused in CONNECT (known failure 5)", () => {
    const { h, seen } = watched()
    for (const topic of ["w/".repeat(200), "/".repeat(65_535)]) {
      const client = h.connect("a", { version: 5, will: make({ topic }) })
      assert.deepStrictEqual(client.takeWords(), [`ConnAck ${0x90}`])
      assert.isTrue(client.closed)
    }
    ready(h, "a", { version: 5, will: make({ topic: `w/${"x/".repeat(198)}x` }) }).drop()
    assert.strictEqual(seen(), 1)
  })

  it("is published by a shutdown", () => {
    const { h } = watched()
    ready(h, "a", { will: make({ topic: "kept", retain: true }) })
    h.core.shutdown(h.now)
    h.settle()
    assert.isDefined(h.core.retained.get("kept"))
  })
})

describe("a will's delay", () => {
  it("runs from the end of the connection [MQTT-3.1.3-9]", () => {
    const { h, seen } = watched()
    ready(h, "a", { version: 5, expiry: 60, will: delayed(10) }).drop()
    h.advance(9_999)
    assert.strictEqual(seen(), 0)
    h.advance(101)
    assert.strictEqual(seen(), 1)
    h.advance(100_000)
    assert.strictEqual(seen(), 0)
  })

  it("is over when the session ends, if that is earlier", () => {
    const { h, seen } = watched()
    ready(h, "a", { version: 5, expiry: 10, will: delayed(60) }).drop()
    h.advance(9_999)
    assert.strictEqual(seen(), 0)
    h.advance(101)
    assert.strictEqual(seen(), 1)
    assert.isFalse(h.core.sessions.has("a"))
  })

  it("does not count when the session ends with its connection (known failure 33)", () => {
    const { h, seen } = watched()
    ready(h, "a", { version: 5, will: delayed(60) }).drop()
    assert.strictEqual(seen(), 1)
    ready(h, "a", { version: 5, expiry: 60, will: delayed(60) }).disconnect(4, { sessionExpiryInterval: 0 })
    assert.strictEqual(seen(), 1)
  })

  it("is time to come back in: then nothing is published", () => {
    const { h, seen } = watched()
    ready(h, "a", { version: 5, expiry: 60, will: delayed(10) }).drop()
    h.advance(9_900)
    const again = ready(h, "a", { version: 5, clean: false, expiry: 60 })
    h.advance(100_000)
    again.disconnect()
    h.advance(100_000)
    assert.strictEqual(seen(), 0)
  })

  it("is over at once when the session is replaced by a clean one", () => {
    const { h, seen } = watched()
    ready(h, "a", { version: 5, expiry: 60, will: delayed(10) }).drop()
    ready(h, "a", { version: 5, clean: true, expiry: 60 })
    assert.strictEqual(seen(), 1)
  })

  it("and a takeover: sent when the delay is 0, the start clean, or the old session at its end", () => {
    for (const [delay, expiry, clean, expected] of [
      [0, 60, false, 1],
      [10, 60, true, 1],
      [10, 0, false, 1],
      [10, 60, false, 0]
    ] as const) {
      const { h, seen } = watched()
      ready(h, "a", { version: 5, expiry, will: delayed(delay) })
      ready(h, "a", { version: 5, clean, expiry: 60 })
      h.advance(100_000)
      assert.strictEqual(seen(), expected, `delay ${delay}, expiry ${expiry}, clean ${clean}`)
    }
  })

  it("counts for DISCONNECT 0x04, and its message expiry begins with its publication", () => {
    const { h, watcher } = watched()
    const will = make({ properties: { willDelayInterval: 10, messageExpiryInterval: 5 } })
    ready(h, "a", { version: 5, expiry: 60, will }).disconnect(4)
    h.advance(9_999)
    assert.deepStrictEqual(watcher.take(), [])
    h.advance(101)
    assert.strictEqual(all(watcher, "Publish")[0]?.properties?.messageExpiryInterval, 5)
  })

  it("does not keep anything once it is over", () => {
    const { h, watcher } = watched()
    for (let index = 0; index < 100; index++) {
      ready(h, `a${index}`, { version: 5, expiry: index % 7, will: delayed(index % 11) }).drop()
    }
    h.advance(20_000)
    assert.strictEqual(all(watcher, "Publish").length, 100)
    watcher.drop()
    assertForgotten(h)
  })
})
