/** What the fuzz run found, each without it. */
import { assert, describe, it } from "@effect/vitest"
import * as Encoder from "../../src/protocol/Encoder.ts"
import { CoreHarness } from "../core/CoreHarness.ts"

describe("a session that has ended", () => {
  it("keeps no message: a cached route may refer to it until its topic is used again", () => {
    const harness = new CoreHarness({ config: { inflightMax: 1 } })
    const client = harness.connect("sleeper", { clean: false })
    client.subscribe("w/#")
    const session = harness.session("sleeper")
    assert.isDefined(session)
    const publisher = harness.connect("publisher")
    // Twice: a route is cached at the second use of its topic.
    for (const payload of ["1", "2", "3"]) publisher.publish("w/1", payload, { qos: 1 })
    client.publish("elsewhere", "unreleased", { qos: 2 })
    client.drop()
    assert.strictEqual(session.inflight.size, 1)
    assert.strictEqual(session.queue.length, 2)
    assert.strictEqual(session.incomingSize, 1)

    harness.connect("sleeper", { clean: true })
    assert.notStrictEqual(harness.session("sleeper"), session)
    assert.strictEqual(session.inflight.size, 0)
    assert.deepStrictEqual(session.inflight.inOrder(), [])
    assert.strictEqual(session.queue.length, 0)
    assert.strictEqual(session.queue.bytes, 0)
    assert.strictEqual(session.incomingSize, 0)
    assert.strictEqual(session.subscriptions.size, 0)
  })
})

describe("a Maximum Packet Size that has no room for a CONNACK", () => {
  it("ends the connection: nothing may be sent, and no session begins unheard [MQTT-3.1.2-24]", () => {
    const harness = new CoreHarness()
    const whole = harness.connect("a", { version: 5 })
    const connAck = whole.take()[0]!
    const size = Encoder.byteLength(connAck, 5)
    for (const maximumPacketSize of [1, 4, size - 1]) {
      const client = harness.connect("b", { version: 5, properties: { maximumPacketSize } })
      client.publish("t", "x", { qos: 1 })
      assert.deepStrictEqual(client.take(), [])
      assert.isTrue(client.closed)
      assert.isUndefined(harness.session("b"))
    }
    const fits = harness.connect("b", { version: 5, properties: { maximumPacketSize: size } })
    assert.deepStrictEqual(fits.takeWords().length, 1)
    assert.isFalse(fits.closed)
  })
})
