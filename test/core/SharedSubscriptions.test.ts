/**
 * `$share/name/filter`: one of the sessions that share gets each message.
 */
import { assert, describe, it } from "@effect/vitest"
import { CoreHarness } from "./CoreHarness.ts"
import type { TestClient } from "./TestClient.ts"
import { all, assertForgotten, kept, only, ready, subscriber, versions } from "./support/Clients.ts"

const names = (client: TestClient): ReadonlyArray<string> => client.takePayloads()

describe("a shared subscription", () => {
  for (const version of versions.slice(1)) {
    it(`gives each message to one member, and all of them get some (version ${version}) [MQTT-4.8.2-3]`, () => {
      const h = new CoreHarness()
      const members = ["a", "b", "c"].map((id) => subscriber(h, id, { version }, "$share/g/t/+"))
      const publisher = ready(h, "p")
      const sent = Array.from({ length: 30 }, (_, index) => String(index))
      for (const payload of sent) publisher.publish("t/x", payload)
      const received = members.map(names)
      assert.isTrue(received.every(({ length }) => length > 0))
      assert.deepStrictEqual(received.flat().sort(), [...sent].sort())
    })
  }

  it("is one group for each name and filter; others get their own copy", () => {
    const h = new CoreHarness()
    const client = subscriber(h, "a", {}, "$share/g/t", "$share/h/t", "$share/g/#", "t")
    const other = subscriber(h, "b", {}, "t")
    ready(h, "p").publish("t", "x")
    assert.strictEqual(names(client).length, 4)
    assert.strictEqual(names(other).length, 1)
  })

  it("has the QoS, identifier and RETAIN of the member that gets it", () => {
    const h = new CoreHarness()
    subscriber(h, "a", {}, { filter: "$share/g/t", qos: 0 })
    subscriber(h, "b", { version: 5 }, { filter: "$share/g/t", qos: 2, retainAsPublished: true })
    const publisher = ready(h, "p")
    for (let index = 0; index < 2; index++) publisher.publish("t", "x", { qos: 1, retain: true })
    const [a, b] = h.clients.slice(0, 2).map((client) => only(client, "Publish"))
    assert.deepInclude(a, { qos: 0, retain: false })
    assert.deepInclude(b, { qos: 1, retain: true })
  })

  it("never brings retained messages when it begins", () => {
    const h = new CoreHarness()
    ready(h, "p").publish("t", "kept", { retain: true })
    const client = subscriber(h, "a", {}, "$share/g/t")
    assert.deepStrictEqual(client.take(), [])
  })

  it("ends only by its whole name (known failure 20)", () => {
    const h = new CoreHarness()
    const client = subscriber(h, "a", { version: 5 }, "$share/g/t", "t")
    client.unsubscribe("$share/h/t", "t")
    assert.deepStrictEqual(only(client, "UnsubAck").reasonCodes, [0x11, 0])
    const publisher = ready(h, "p")
    publisher.publish("t", "x")
    assert.deepStrictEqual(names(client), ["x"])
    client.unsubscribe("$share/g/t")
    assert.deepStrictEqual(only(client, "UnsubAck").reasonCodes, [0])
    publisher.publish("t", "x")
    assert.deepStrictEqual(names(client), [])
    assert.strictEqual(h.core.subscriptionCount, 0)
  })

  it("prefers members that are there, and keeps messages when none is", () => {
    const h = new CoreHarness()
    const away = subscriber(h, "away", kept(4), { filter: "$share/g/t", qos: 1 })
    away.drop()
    const here = subscriber(h, "here", {}, { filter: "$share/g/t", qos: 1 })
    const publisher = ready(h, "p")
    for (let index = 0; index < 4; index++) publisher.publish("t", `${index}`, { qos: 1 })
    assert.deepStrictEqual(names(here), ["0", "1", "2", "3"])
    for (let index = 1; index <= 4; index++) here.pubAck(index)
    here.drop()
    publisher.publish("t", "later", { qos: 1 })
    assert.deepStrictEqual(h.connect("away", kept(4)).takePayloads(), ["later"])
  })

  it("hands what an ended session had not acknowledged at QoS 1 to another, and never QoS 2 [MQTT-4.8.2-5]", () => {
    const h = new CoreHarness()
    const first = subscriber(h, "a", {}, "$share/g/t")
    const publisher = ready(h, "p")
    publisher.publish("t", "one", { qos: 1 })
    publisher.publish("t", "two", { qos: 2, packetId: 9 })
    publisher.pubRel(9)
    assert.deepStrictEqual(names(first), ["one", "two"])
    const second = subscriber(h, "b", {}, "$share/g/t")
    first.drop()
    assert.deepStrictEqual(
      all(second, "Publish").map(({ payload }) => payload.length),
      [3]
    )
  })

  it("with a negative acknowledgement is not given to another [MQTT-4.8.2-6]", () => {
    const h = new CoreHarness()
    const first = subscriber(h, "a", { version: 5 }, "$share/g/t")
    ready(h, "p").publish("t", "one", { qos: 1 })
    const second = subscriber(h, "b", { version: 5 }, "$share/g/t")
    first.pubAck(1, 0x80)
    first.drop()
    assert.deepStrictEqual(second.take(), [])
  })

  it("leaves nothing behind", () => {
    const h = new CoreHarness()
    const clients = Array.from({ length: 100 }, (_, index) =>
      subscriber(h, `a${index}`, { version: 5, expiry: index % 3 }, `$share/g${index % 7}/t/#`)
    )
    const publisher = ready(h, "p")
    for (const client of clients) {
      publisher.publish("t/x", "x", { qos: 1 })
      client.drop()
    }
    publisher.drop()
    h.advance(10_000)
    assertForgotten(h)
  })
})
