/**
 * Messages that the program itself publishes and receives, without a connection.
 */
import { assert, describe, it } from "@effect/vitest"
import type { LocalSubscription } from "../../src/core/BrokerCore.ts"
import type { Message, Parts } from "../../src/core/Message.ts"
import { ProtocolError } from "../../src/protocol/ProtocolError.ts"
import { CoreHarness } from "./CoreHarness.ts"
import { text } from "./TestClient.ts"
import { all, kept, only, present, ready, subscriber, versions } from "./support/Clients.ts"

const bytes = (payload: string): Uint8Array => new TextEncoder().encode(payload)

const publish = (h: CoreHarness, topic: string, payload: string, options: Partial<Parts> = {}) => {
  const error = h.core.publish({ topic, payload: bytes(payload), qos: 0, retain: false, ...options }, h.now)
  h.settle()
  return error
}

const subscribe = (h: CoreHarness, filter: string) => {
  const messages: Array<Message> = []
  const subscription = h.core.subscribeLocal(filter, (message) => messages.push(message))
  assert.isFalse(subscription instanceof ProtocolError)
  const { unsubscribe } = subscription as LocalSubscription // just checked
  return { messages, unsubscribe, payloads: () => messages.map(({ payload }) => text(payload)) }
}

describe("publish", () => {
  for (const version of versions) {
    it(`reaches clients at the lower QoS, and the retained store (version ${version})`, () => {
      const h = new CoreHarness()
      const client = subscriber(h, "a", { version }, { filter: "t", qos: 1 })
      for (const qos of [0, 1, 2] as const) {
        assert.isUndefined(publish(h, "t", "x", { qos, retain: true }))
        assert.strictEqual(only(client, "Publish").qos, Math.min(qos, 1))
      }
      const late = ready(h, "late", { version })
      late.subscribe("t")
      const [kept] = all(late, "Publish")
      assert.deepInclude(kept, { qos: 2, retain: true })
      publish(h, "t", "", { retain: true })
      assert.strictEqual(h.core.retained.size, 0)
    })
  }

  it("waits for clients that are away", () => {
    const h = new CoreHarness()
    subscriber(h, "a", kept(4), "t").drop()
    publish(h, "t", "zero")
    publish(h, "t", "one", { qos: 1 })
    assert.deepStrictEqual(h.connect("a", kept(4)).takePayloads(), ["one"])
  })

  it("keeps its properties, and expires", () => {
    const h = new CoreHarness()
    const client = subscriber(h, "a", { version: 5 }, "t")
    subscriber(h, "away", kept(5), "t").drop()
    const properties = { contentType: "text/plain", messageExpiryInterval: 10, userProperties: [["k", "v"]] as const }
    publish(h, "t", "x", { qos: 1, properties })
    assert.deepStrictEqual(present(only(client, "Publish").properties), properties)
    h.advance(10_000)
    assert.deepStrictEqual(h.connect("away", kept(5)).takePayloads(), [])
  })

  it("of something that is no topic name is an error 601, and nothing else", () => {
    const h = new CoreHarness()
    const watcher = subscriber(h, "w", {}, "#")
    for (const topic of ["", "a/#", "+", "a\0b", "\ud800", "x".repeat(65_536), "/".repeat(200)]) {
      const error = publish(h, topic, "x", { retain: true })
      assert.strictEqual(error?.code, 601, topic)
      assert.strictEqual(error?.reasonCode, 0x90)
    }
    assert.deepStrictEqual(watcher.take(), [])
    assert.strictEqual(h.core.retained.size, 0)
  })

  it("takes a copy: the caller's bytes may change", () => {
    const h = new CoreHarness()
    subscriber(h, "a", kept(4), "t").drop()
    const payload = bytes("right")
    h.core.publish({ topic: "t", payload, qos: 1, retain: true }, h.now)
    payload.fill(0)
    const again = h.connect("a", kept(4))
    again.subscribe("t")
    assert.deepStrictEqual(again.takePayloads(), ["right", "right"])
  })
})

describe("subscribeLocal", () => {
  it("gets what clients and the program publish, in order, as it was published", () => {
    const h = new CoreHarness()
    const local = subscribe(h, "t/+")
    const client = ready(h, "a", { version: 5 })
    client.publish("t/1", "zero", { retain: true })
    client.publish("t/2", "one", { qos: 1, properties: { contentType: "c" } })
    client.publish("t/3", "two", { qos: 2, packetId: 9 })
    client.publish("other", "x")
    assert.deepStrictEqual(local.payloads(), ["zero", "one"])
    client.pubRel(9)
    publish(h, "t/4", "own", { qos: 2 })
    const said = local.messages.map(({ topic, qos, retain }) => [topic, qos, retain])
    assert.deepStrictEqual(said, [
      ["t/1", 0, true],
      ["t/2", 1, false],
      ["t/3", 2, false],
      ["t/4", 2, false]
    ])
    assert.strictEqual(local.messages[1]!.properties?.contentType, "c")
  })

  it("counts as a subscriber, and costs clients nothing", () => {
    const h = new CoreHarness()
    const client = ready(h, "a", { version: 5 })
    const local = subscribe(h, "t")
    client.publish("t", "x", { qos: 1 })
    assert.deepStrictEqual(client.takeWords(), ["PubAck 1"])
    local.unsubscribe()
    client.publish("t", "y", { qos: 1 })
    assert.deepStrictEqual(client.takeWords(), ["PubAck 2 0x10"])
    assert.deepStrictEqual(local.payloads(), ["x"])
    local.unsubscribe()
    assert.strictEqual(h.core.subscriptionCount, 0)
    assert.strictEqual(h.core.sessions.size, 1)
  })

  it("is one subscription each: two are told twice, whatever the filters", () => {
    const h = new CoreHarness()
    const locals = [subscribe(h, "t"), subscribe(h, "t"), subscribe(h, "#")]
    publish(h, "t", "x")
    locals[0]!.unsubscribe()
    publish(h, "t", "y")
    assert.deepStrictEqual(
      locals.map((local) => local.payloads()),
      [["x"], ["x", "y"], ["x", "y"]]
    )
  })

  it("gets bytes that stay as they are", () => {
    const h = new CoreHarness()
    const local = subscribe(h, "t")
    const client = ready(h, "a")
    const frame = Uint8Array.from([0x30, 4, 0, 1, 0x74, 0x78])
    client.sendBytes(frame)
    frame.fill(0)
    for (let index = 0; index < 10; index++) client.publish("t", `${index}`)
    assert.deepStrictEqual(local.payloads(), ["x", "0", "1", "2", "3", "4", "5", "6", "7", "8", "9"])
  })

  it("may publish and unsubscribe while it is told", () => {
    const h = new CoreHarness()
    const watcher = subscriber(h, "w", {}, "#")
    const heard: Array<string> = []
    const subscription = h.core.subscribeLocal("ask", (message) => {
      heard.push(text(message.payload))
      h.core.publish({ topic: "answer", payload: message.payload, qos: 1, retain: false }, h.now)
      ;(subscription as LocalSubscription).unsubscribe()
    })
    const client = ready(h, "a")
    client.publish("ask", "one")
    client.publish("ask", "two")
    assert.deepStrictEqual(heard, ["one"])
    assert.deepStrictEqual([...watcher.takePayloads()].sort(), ["one", "one", "two"])
  })

  it("takes filters, and no others: 601 for what is none, and for shared ones", () => {
    const h = new CoreHarness()
    for (const filter of ["", "a/#/b", "a+", "$share/g/t", "$share//t", "/".repeat(200)]) {
      const error = h.core.subscribeLocal(filter, () => {})
      assert.strictEqual(error instanceof ProtocolError ? error.code : 0, 601, filter)
    }
    assert.strictEqual(h.core.subscriptionCount, 0)
    const local = subscribe(h, "$SYS/#")
    publish(h, "$SYS/x", "x")
    assert.deepStrictEqual(local.payloads(), ["x"])
  })
})
