/**
 * Messages that a shared subscription gave to a session that ends, and what a restarted broker knows of them
 * [MQTT-4.8.2-4] to [MQTT-4.8.2-6].
 */
import { assert, describe, it } from "@effect/vitest"
import { CoreHarness } from "./CoreHarness.ts"
import type { ConnectOptions, TestClient } from "./TestClient.ts"
import { all, kept, only, ready, subscriber, versions } from "./support/Clients.ts"
import { payloads, source, summary } from "./support/Sharing.ts"

describe("when a member's session ends", () => {
  const two = (options: ConnectOptions = {}) => {
    const h = new CoreHarness()
    const leaving = subscriber(h, "leaving", options, "$share/g/t")
    const { client, send } = source(h, "t")
    return { h, leaving, client, send, join: () => subscriber(h, "other", {}, "$share/g/t") }
  }

  for (const version of versions) {
    it(`QoS 1 it had not acknowledged goes to another, in order, as new (version ${version})`, () => {
      const { leaving, send, join } = two({ version })
      send(4, { qos: 1 })
      leaving.pubAck(2)
      const other = join()
      leaving.drop()
      assert.deepStrictEqual(summary(other), ["0 q1", "2 q1", "3 q1"])
    })
  }

  it("QoS 2 that was sent is never given to another, released or not [MQTT-4.8.2-4, MQTT-4.8.2-5]", () => {
    const { client, h, join, leaving, send } = two()
    send(3, { qos: 2 })
    for (const packetId of [1, 2, 3]) client.pubRel(packetId)
    assert.deepStrictEqual(payloads(leaving), ["0", "1", "2"])
    leaving.pubRec(1)
    leaving.pubRec(2)
    leaving.pubComp(2)
    const other = join()
    leaving.drop()
    assert.deepStrictEqual(other.take(), [])
    assert.strictEqual(h.core.stats.messagesDropped, 0)
  })

  it("QoS 2 stays with a session that is only away [MQTT-4.8.2-4]", () => {
    const { client, h, join, leaving, send } = two(kept(4))
    send(1, { qos: 2 })
    client.pubRel(1)
    assert.deepStrictEqual(payloads(leaving), ["0"])
    const other = join()
    leaving.drop()
    assert.deepStrictEqual(other.take(), [])
    assert.deepStrictEqual(h.connect("leaving", kept(4)).takeWords().slice(1), ['Publish t "0" q2 #1 dup'])
  })

  it("what waited in its queue goes to another, QoS 2 too: it was never sent", () => {
    const { client, h, join, leaving, send } = two({ version: 5, properties: { receiveMaximum: 1 } })
    send(1, { qos: 1 })
    send(1, { qos: 2, packetId: 9 })
    client.pubRel(9)
    send(1, { qos: 1 })
    assert.deepStrictEqual(payloads(leaving), ["0"])
    const other = join()
    leaving.disconnect()
    assert.deepStrictEqual(summary(other), ["0 q1", "1 q2", "2 q1"])
    assert.strictEqual(h.core.stats.messagesDropped, 0)
  })

  it("whatever ends it: expiry, a clean start, DISCONNECT that asks for it, a takeover", () => {
    const expiring = { version: 5, clean: false, expiry: 10 } as const
    const ends: ReadonlyArray<(h: CoreHarness, leaving: TestClient) => void> = [
      (h, leaving) => {
        leaving.drop()
        h.advance(11_000)
      },
      (h, leaving) => {
        leaving.drop()
        h.connect("leaving", { version: 5, clean: true })
      },
      (_, leaving) => leaving.disconnect(0, { sessionExpiryInterval: 0 }),
      (h) => void h.connect("leaving", { version: 5, clean: true })
    ]
    for (const [index, end] of ends.entries()) {
      const { h, leaving, send, join } = two(expiring)
      send(2, { qos: 1 })
      const other = join()
      end(h, leaving)
      assert.deepStrictEqual(summary(other), ["0 q1", "1 q1"], `${index}`)
    }
  })

  it("nothing goes to another that came by a normal subscription, or is acknowledged, or has expired", () => {
    const h = new CoreHarness()
    const leaving = subscriber(h, "leaving", {}, "$share/g/t", "n")
    const { client, send } = source(h, "t")
    client.publish("n", "normal", { qos: 1 })
    send(1, { qos: 1 })
    client.publish("t", "short", { qos: 1, properties: { messageExpiryInterval: 1 } })
    leaving.pubAck(2)
    h.advance(1_000)
    const other = subscriber(h, "other", {}, "$share/g/t", "n")
    leaving.drop()
    assert.deepStrictEqual(summary(other), [])
  })

  it("the last one's messages end with it", () => {
    const { h, leaving, send, join } = two()
    send(3, { qos: 1 })
    leaving.drop()
    assert.deepStrictEqual(join().take(), [])
    assert.strictEqual(h.core.subscriptionCount, 1)
  })

  it("they wait with another that is away or full, under its limits", () => {
    const h = new CoreHarness({ config: { queueMessagesMax: 2 } })
    const leaving = subscriber(h, "leaving", {}, "$share/g/t")
    subscriber(h, "away", kept(4), "$share/g/t").drop()
    source(h, "t").send(3, { qos: 1 })
    assert.strictEqual(payloads(leaving).length, 3)
    leaving.drop()
    assert.deepStrictEqual(payloads(h.connect("away", kept(4))), ["0", "1"])
    assert.strictEqual(h.core.stats.messagesDropped, 1)
  })

  it("a client that had unsubscribed still hands over what it had not acknowledged", () => {
    const { leaving, send, join } = two()
    send(2, { qos: 1 })
    leaving.take()
    const other = join()
    leaving.unsubscribe("$share/g/t")
    only(leaving, "UnsubAck")
    assert.deepStrictEqual(other.take(), [])
    leaving.drop()
    assert.deepStrictEqual(summary(other), ["0 q1", "1 q1"])
  })

  for (const [answer, qos] of [
    ["PUBACK", 1],
    ["PUBREC", 2]
  ] as const) {
    it(`what it refused with ${answer} is not given to another [MQTT-4.8.2-6]`, () => {
      const { client, h, join, leaving, send } = two({ version: 5 })
      send(1, { qos })
      if (qos === 2) client.pubRel(1)
      const other = join()
      if (qos === 1) leaving.pubAck(1, 0x80)
      else leaving.pubRec(1, 0x97)
      leaving.drop()
      assert.deepStrictEqual(other.take(), [])
      assert.strictEqual(h.session("other")?.inflight.size, 0)
    })
  }
})

describe("a shared subscription after a restart", () => {
  it("is there, with its turns, its options and its other groups", () => {
    const h = new CoreHarness({ store: "on-time" })
    for (const id of ["a", "b"]) {
      subscriber(h, id, kept(5), { filter: "$share/g/t", qos: 1, retainAsPublished: true }, "$share/h/t").drop()
    }
    h.crash()
    assert.strictEqual(h.core.subscriptionCount, 4)
    const [a, b] = ["a", "b"].map((id) => ready(h, id, kept(5))) as [TestClient, TestClient]
    source(h, "t").send(4, { qos: 1, retain: true })
    for (const client of [a, b]) {
      const received = all(client, "Publish")
      assert.strictEqual(received.length, 4)
      assert.strictEqual(received.filter(({ retain }) => retain).length, 2) // those of `g`
    }
  })

  it("has what waited, and gives it to another when that session ends", () => {
    const h = new CoreHarness({ store: "on-time" })
    const expiring = { version: 5, clean: false, expiry: 60 } as const
    const first = subscriber(h, "a", expiring, "$share/g/t")
    const { client, send } = source(h, "t")
    send(2, { qos: 1 })
    send(1, { qos: 2, packetId: 9 })
    client.pubRel(9)
    assert.deepStrictEqual(payloads(first), ["0", "1", "2"])
    first.drop()
    send(1, { qos: 1 })
    subscriber(h, "b", kept(5), "$share/g/t").drop()
    h.crash()
    h.advance(61_000)
    assert.isUndefined(h.session("a"))
    const second = h.connect("b", kept(5))
    assert.deepStrictEqual(summary(second), ["0 q1", "1 q1", "3 q1"])
    // And the store knows who has them now.
    h.crash()
    assert.deepStrictEqual(summary(h.connect("b", kept(5))), ["0 q1 dup", "1 q1 dup", "3 q1 dup"])
  })

  it("does not count a member that was not durable", () => {
    const h = new CoreHarness({ store: "on-time" })
    subscriber(h, "a", {}, "$share/g/t")
    h.crash()
    assert.strictEqual(h.core.subscriptionCount, 0)
  })
})
