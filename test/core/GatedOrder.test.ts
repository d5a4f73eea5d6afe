import { assert, describe, it } from "@effect/vitest"
import { CoreHarness } from "./CoreHarness.ts"
import type { ConnectOptions } from "./TestClient.ts"

const durable: ConnectOptions = { clean: false }

const manual = (): CoreHarness => new CoreHarness({ store: "manual" })

describe("order behind the gate", () => {
  it("keeps every acknowledgement behind the earlier ones of its connection", () => {
    const harness = manual()
    harness.connectDurable("s", "stored/#")
    const client = harness.connect("p")
    client.take()
    client.publish("stored/1", "", { qos: 1, packetId: 1 })
    client.publish("nobody", "", { qos: 1, packetId: 2 })
    client.publish("nobody", "", { qos: 2, packetId: 3 })
    client.subscribe("x") // packet id 1 of its own counter
    client.pubRel(3)
    client.publish("stored/2", "", { qos: 1, packetId: 4 })
    client.unsubscribe("x")
    assert.deepStrictEqual(client.take(), [])
    harness.commit(1)
    assert.deepStrictEqual(client.takeWords(), ["PubAck 1", "PubAck 2", "PubRec 3", "SubAck 1 [2]", "PubComp 3"])
    harness.commit()
    assert.deepStrictEqual(client.takeWords(), ["PubAck 4", "UnsubAck 2 []"])
  })

  it("lets PINGRESP and QoS 0 through", () => {
    const harness = manual()
    harness.connectDurable("s", "stored")
    const client = harness.connect("p")
    client.subscribe("live")
    client.take()
    client.publish("stored", "", { qos: 1, packetId: 1 })
    client.ping()
    client.publish("live", "now")
    assert.deepStrictEqual(client.takeWords(), ["PingResp", 'Publish live "now" q0'])
    harness.commit()
    assert.deepStrictEqual(client.takeWords(), ["PubAck 1"])
  })

  it("keeps QoS 2 deliveries in order among themselves, and delays neither QoS 0 nor QoS 1", () => {
    const harness = manual()
    const subscriber = harness.connectDurable("s", "#")
    const publisher = harness.connect("p")
    for (const id of [1, 2]) publisher.publish("two", `${id}`, { qos: 2, packetId: id })
    publisher.pubRel(1)
    publisher.publish("one", "1", { qos: 1, packetId: 3 })
    publisher.publish("zero", "0")
    assert.deepStrictEqual(subscriber.takeWords(), ['Publish one "1" q1 #2', 'Publish zero "0" q0'])
    publisher.pubRel(2)
    harness.commit(1)
    assert.deepStrictEqual(subscriber.takeWords(), ['Publish two "1" q2 #1'])
    publisher.publish("one", "2", { qos: 1, packetId: 4 })
    assert.deepStrictEqual(subscriber.takeWords(), ['Publish one "2" q1 #4'])
    harness.commit()
    assert.deepStrictEqual(subscriber.takeWords(), ['Publish two "2" q2 #3'])
  })

  it("delays a QoS 2 delivery behind no acknowledgement, and an acknowledgement behind no delivery", () => {
    const harness = manual()
    const both = harness.connectDurable("both", "mine")
    harness.connectDurable("s", "stored")
    const publisher = harness.connect("p")
    publisher.publish("mine", "m", { qos: 2, packetId: 1 })
    publisher.pubRel(1) // batch 1: a delivery to `both` waits
    both.publish("nobody", "", { qos: 1, packetId: 8 })
    assert.deepStrictEqual(both.takeWords(), ["PubAck 8"])
    both.publish("stored", "", { qos: 1, packetId: 9 }) // batch 2: an acknowledgement waits
    harness.commit(1)
    assert.deepStrictEqual(both.takeWords(), ['Publish mine "m" q2 #1'])
    harness.commit()
    assert.deepStrictEqual(both.takeWords(), ["PubAck 9"])
  })

  it("lets nothing precede a pending CONNACK, and then handles what came meanwhile", () => {
    const harness = manual()
    harness.connectDurable("c", "t", "q/#").drop()
    harness.commit()
    const publisher = harness.connect("p")
    publisher.publish("q/1", "queued", { qos: 1 })
    harness.commit()
    const client = harness.connect("c", durable)
    client.ping()
    client.publish("t", "own", { qos: 1, packetId: 5 })
    publisher.publish("t", "live")
    publisher.publish("q/2", "meanwhile", { qos: 1 })
    assert.deepStrictEqual(client.take(), [])
    harness.commit(1)
    const [first, ...others] = client.takeWords()
    assert.strictEqual(first, "ConnAck 0 present")
    assert.deepStrictEqual(others.slice(0, 2), ['Publish q/1 "queued" q1 #1', 'Publish q/2 "meanwhile" q1 #2'])
    assert.include(others, "PingResp")
    assert.notInclude(others, "PubAck 5")
    harness.commit()
    assert.deepStrictEqual(client.takeWords(), ["PubAck 5"])
  })

  it("handles what came in one chunk with CONNECT, when the CONNACK is released", () => {
    const harness = manual()
    const client = harness.open()
    client.send(
      {
        _tag: "Connect",
        protocolVersion: 4,
        clientId: "c",
        cleanStart: false,
        keepAliveSeconds: 0,
        userName: undefined,
        password: undefined,
        will: undefined,
        properties: undefined
      },
      { _tag: "PingReq" },
      client.publication("nobody", "", { qos: 1, packetId: 3 })
    )
    assert.deepStrictEqual(client.take(), [])
    harness.commit()
    assert.deepStrictEqual(client.takeWords(), ["ConnAck 0", "PingResp", "PubAck 3"])
  })

  it("drops the bytes of a connection that was taken over, and not what they spoke of", () => {
    const harness = manual()
    const subscriber = harness.connectDurable("s", "t")
    const publisher = harness.connect("p")
    publisher.publish("t", "m", { qos: 2, packetId: 1 })
    publisher.pubRel(1)
    subscriber.subscribe("other")
    const second = harness.connect("s", durable)
    assert.deepStrictEqual(subscriber.takeWords(), [])
    assert.isTrue(subscriber.closed)
    harness.commit()
    assert.deepStrictEqual(subscriber.takeWords(), [])
    assert.deepStrictEqual(second.takeWords(), ["ConnAck 0 present", 'Publish t "m" q2 #1 dup'])
    assert.isTrue(harness.session("s")?.subscriptions.has("other"))
    second.pubRec(1)
    second.drop()
    const third = harness.connect("s", durable)
    harness.commit()
    assert.deepStrictEqual(third.takeWords(), ["ConnAck 0 present", "PubRel 1"])
  })

  it("drops a CONNACK that waits when its connection is taken over", () => {
    const harness = manual()
    const first = harness.connect("c", durable)
    const second = harness.connect("c", durable)
    harness.commit()
    assert.isTrue(first.closed)
    assert.deepStrictEqual(first.take(), [])
    assert.deepStrictEqual(second.takeWords(), ["ConnAck 0 present"])
    assert.strictEqual(harness.session("c")?.connection, second.connection)
  })

  it("computes redelivery when the CONNACK is released, not when the client connects", () => {
    const harness = manual()
    const subscriber = harness.connectDurable("s", "t")
    const publisher = harness.connect("p")
    publisher.publish("t", "1", { qos: 1 })
    subscriber.drop()
    const again = harness.connect("s", durable)
    publisher.publish("t", "2", { qos: 1 })
    harness.commit()
    assert.deepStrictEqual(again.takeWords(), ["ConnAck 0 present", 'Publish t "1" q1 #1 dup', 'Publish t "2" q1 #2'])
  })

  it("keeps a QoS 1 message for a session that is resumed and will end with this connection", () => {
    const harness = manual()
    const first = harness.connect("s", { version: 5, clean: false, expiry: 60 })
    harness.commit()
    first.subscribe("t")
    harness.commit()
    first.drop()
    harness.commit()
    const again = harness.connect("s", { version: 5, clean: false })
    const publisher = harness.connect("p")
    publisher.publish("t", "meanwhile", { qos: 1 })
    harness.commit()
    assert.deepStrictEqual(again.takeWords(), ["ConnAck 0 present", 'Publish t "meanwhile" q1 #1'])
  })
})

describe("a store that answers when it likes", () => {
  /** Three publishes whose PUBACKs need the sequences 1, 2 and 3 beyond what is stored. */
  const threeWaiting = () => {
    const harness = manual()
    harness.connectDurable("s", "t")
    const publisher = harness.connect("p")
    harness.commit()
    publisher.take()
    const base = harness.core.journal.durable
    for (const id of [1, 2, 3]) publisher.publish("t", "", { qos: 1, packetId: id })
    assert.deepStrictEqual(publisher.take(), [])
    return { harness, publisher, base }
  }

  it("late: everything waits, nothing is lost", () => {
    const { base, harness, publisher } = threeWaiting()
    harness.advance(3_600_000)
    assert.deepStrictEqual(publisher.take(), [])
    harness.stored(base + 3)
    assert.deepStrictEqual(publisher.takeWords(), ["PubAck 1", "PubAck 2", "PubAck 3"])
  })

  it("repeated and older: shows nothing twice, and nothing too early", () => {
    const { base, harness, publisher } = threeWaiting()
    harness.stored(base)
    harness.stored(0)
    harness.stored(-1)
    assert.deepStrictEqual(publisher.take(), [])
    harness.stored(base + 2)
    assert.deepStrictEqual(publisher.takeWords(), ["PubAck 1", "PubAck 2"])
    harness.stored(base + 1)
    harness.stored(base + 2)
    harness.stored(base)
    assert.deepStrictEqual(publisher.take(), [])
    harness.stored(base + 3)
    harness.stored(base + 3)
    assert.deepStrictEqual(publisher.takeWords(), ["PubAck 3"])
  })

  it("beyond what it was given: believes it for what it was given only", () => {
    const { base, harness, publisher } = threeWaiting()
    harness.stored(base + 1_000_000)
    assert.deepStrictEqual(publisher.takeWords(), ["PubAck 1", "PubAck 2", "PubAck 3"])
    publisher.publish("t", "", { qos: 1, packetId: 4 })
    assert.deepStrictEqual(publisher.take(), [])
    // Appended within a turn whose journal was not taken yet.
    harness.together(() => {
      publisher.publish("t", "", { qos: 1, packetId: 5 })
      harness.core.stored(base + 1_000_000, harness.now)
    })
    assert.deepStrictEqual(publisher.takeWords(), ["PubAck 4"])
    harness.commit()
    assert.deepStrictEqual(publisher.takeWords(), ["PubAck 5"])
  })

  it("in the middle of a batch: never shows what is not covered", () => {
    const harness = manual()
    harness.connectDurable("s", "t")
    const publisher = harness.connect("p")
    harness.commit()
    publisher.take()
    const base = harness.core.journal.durable
    harness.together(() => {
      for (const id of [1, 2, 3]) publisher.publish("t", "", { qos: 1, packetId: id })
    })
    harness.stored(base + 2)
    assert.deepStrictEqual(publisher.takeWords(), ["PubAck 1", "PubAck 2"])
    harness.stored(base + 3)
    assert.deepStrictEqual(publisher.takeWords(), ["PubAck 3"])
  })

  it("never: nobody is told anything, and who needs no store is served", () => {
    const { harness, publisher } = threeWaiting()
    const waiting = harness.connect("late", durable)
    const reader = harness.connect("r")
    reader.subscribe("live")
    publisher.publish("live", "m")
    assert.deepStrictEqual(reader.takeWords(), ["ConnAck 0", "SubAck 1 [2]", 'Publish live "m" q0'])
    harness.advance(24 * 3_600_000)
    assert.deepStrictEqual(publisher.take(), [])
    assert.deepStrictEqual(waiting.take(), [])
    waiting.drop()
    publisher.drop()
    harness.commit()
    assert.deepStrictEqual(publisher.take(), [])
    assert.deepStrictEqual(waiting.take(), [])
  })
})
