/**
 * The three delivery protocols in both directions, packet by packet, over one connection and over several.
 */
import { assert, describe, it } from "@effect/vitest"
import { CoreHarness } from "./CoreHarness.ts"
import type { TestClient } from "./TestClient.ts"
import { all, kept, only, ready, subscriber, versions } from "./support/Clients.ts"

const byVersion = (version: 3 | 4 | 5, five: string, older: string): string => (version === 5 ? five : older)

/** A publisher and a subscriber to "t" at QoS 2, each of this version, both sessions kept. */
const pair = (version: 3 | 4 | 5, config = {}) => {
  const h = new CoreHarness({ config })
  return {
    h,
    client: subscriber(h, "a", kept(version), "t"),
    publisher: ready(h, "p", kept(version))
  }
}

describe("from a client", () => {
  for (const version of versions) {
    it(`QoS 0 is not answered (version ${version})`, () => {
      const { client, publisher } = pair(version)
      publisher.publish("t", "x")
      assert.deepStrictEqual(publisher.take(), [])
      assert.deepStrictEqual(client.takeWords(), ['Publish t "x" q0'])
    })

    it(`QoS 1 is answered with PUBACK, and each copy is delivered (version ${version})`, () => {
      const { client, publisher } = pair(version)
      for (const dup of [false, true]) {
        publisher.publish("t", "x", { qos: 1, packetId: 65_535, dup })
        assert.deepStrictEqual(publisher.takeWords(), ["PubAck 65535"])
      }
      // DUP is of the connection it came by, and not passed on [MQTT-3.3.1-3].
      assert.deepStrictEqual(client.takeWords(), ['Publish t "x" q1 #1', 'Publish t "x" q1 #2'])
    })

    it(`QoS 2 comes once, at PUBREL; each duplicate gets its PUBREC (version ${version}, known failure 31)`, () => {
      const { client, publisher } = pair(version)
      publisher.publish("t", "x", { qos: 2, packetId: 7 })
      for (let times = 0; times < 4; times++) publisher.publish("t", "other", { qos: 2, packetId: 7, dup: true })
      assert.deepStrictEqual(publisher.takeWords(), Array(5).fill("PubRec 7"))
      assert.deepStrictEqual(client.take(), [])
      publisher.pubRel(7)
      assert.deepStrictEqual(publisher.takeWords(), ["PubComp 7"])
      assert.deepStrictEqual(client.takeWords(), ['Publish t "x" q2 #1'])
      publisher.pubRel(7)
      assert.deepStrictEqual(publisher.takeWords(), [byVersion(version, "PubComp 7 0x92", "PubComp 7")])
      assert.deepStrictEqual(client.take(), [])
      // The id is free for a new message, whatever its DUP flag says.
      publisher.publish("t", "next", { qos: 2, packetId: 7, dup: true })
      publisher.pubRel(7)
      assert.deepStrictEqual(publisher.takeWords(), ["PubRec 7", "PubComp 7"])
      assert.deepStrictEqual(client.takePayloads(), ["next"])
    })

    it(`QoS 2 goes on over a new connection, also after a long time (version ${version}) (known failure 31)`, () => {
      const { h, client, publisher } = pair(version)
      publisher.publish("t", "x", { qos: 2, packetId: 7 })
      publisher.publish("t", "y", { qos: 2, packetId: 8 })
      publisher.drop()
      h.advance(86_400_000)
      const again = ready(h, "p", kept(version))
      again.publish("t", "x", { qos: 2, packetId: 7, dup: true })
      again.pubRel(7)
      again.pubRel(8)
      assert.deepStrictEqual(again.takeWords(), ["PubRec 7", "PubComp 7", "PubComp 8"])
      assert.deepStrictEqual(client.takePayloads(), ["x", "y"])
    })

    it(`a clean session knows nothing of QoS 2 messages before it (version ${version})`, () => {
      const { h, client, publisher } = pair(version)
      publisher.publish("t", "x", { qos: 2, packetId: 7 })
      const clean = ready(h, "p", { version })
      clean.pubRel(7)
      assert.deepStrictEqual(clean.takeWords(), [byVersion(version, "PubComp 7 0x92", "PubComp 7")])
      assert.deepStrictEqual(client.take(), [])
    })
  }

  it("5.0 is told that nobody subscribes, and older clients are not", () => {
    const h = new CoreHarness()
    for (const version of versions) {
      const publisher = ready(h, "p", { version })
      publisher.publish("nobody", "x", { qos: 1 })
      assert.deepStrictEqual(publisher.takeWords(), [byVersion(version, "PubAck 1 0x10", "PubAck 1")])
    }
  })

  it("Receive Maximum counts what is not acknowledged, QoS 2 until PUBCOMP [MQTT-3.3.4-7, -9]", () => {
    for (const version of versions) {
      const { h, publisher } = pair(version, { receiveMaximum: 2 })
      for (let round = 1; round < 10; round++) {
        publisher.publish("t", "x", { qos: 2, packetId: round })
        publisher.publish("t", "y", { qos: 1, packetId: 1_000 + round })
        publisher.pubRel(round)
      }
      publisher.publish("t", "x", { qos: 2, packetId: 1 })
      publisher.publish("t", "x", { qos: 2, packetId: 2 })
      publisher.take()
      publisher.publish("t", "x", { qos: 2, packetId: 2, dup: true }) // no third one
      assert.deepStrictEqual(publisher.takeWords(), ["PubRec 2"])
      publisher.publish("t", "x") // QoS 0 does not count [MQTT-3.3.4-8]
      publisher.ping()
      assert.deepStrictEqual(publisher.takeWords(), ["PingResp"])
      publisher.publish("t", "x", { qos: 1, packetId: 3 })
      assert.deepStrictEqual(publisher.takeWords(), version === 5 ? ["Disconnect 0x93"] : [])
      assert.isTrue(publisher.closed)
      assert.strictEqual(h.session("p")?.incomingSize, 2)
    }
  })

  it("QoS 2 ids that are never released do not pile up (known failure 6)", () => {
    const h = new CoreHarness({ config: { receiveMaximum: 100 } })
    const client = ready(h, "p", { version: 4 })
    h.together(() => {
      for (let packetId = 1; packetId <= 1_000; packetId++) client.publish("t", "x", { qos: 2, packetId })
    })
    assert.isTrue(client.closed)
    assert.strictEqual(all(client, "PubRec").length, 100)
    assert.strictEqual(h.core.sessions.size, 0)
  })

  it("a PUBREC, PUBREL or PUBCOMP that fits nothing is answered or ignored, never fatal", () => {
    for (const version of versions) {
      const { publisher } = pair(version)
      publisher.pubAck(1)
      publisher.pubComp(2)
      assert.deepStrictEqual(publisher.take(), [])
      publisher.pubRec(3)
      assert.deepStrictEqual(publisher.takeWords(), [byVersion(version, "PubRel 3 0x92", "PubRel 3")])
      publisher.pubRel(4)
      assert.deepStrictEqual(publisher.takeWords(), [byVersion(version, "PubComp 4 0x92", "PubComp 4")])
      publisher.ping()
      only(publisher, "PingResp")
    }
  })

  it("a PUBREC that refuses is never answered with PUBREL [MQTT-4.3.3-4]", () => {
    const { client } = pair(5)
    client.pubRec(3, 0x80)
    assert.deepStrictEqual(client.take(), [])
  })
})

describe("to a client", () => {
  for (const version of versions) {
    it(`QoS is the lower of message and subscription [MQTT-3.8.4-8] (version ${version})`, () => {
      const h = new CoreHarness()
      const clients = ([0, 1, 2] as const).map((qos) => subscriber(h, `a${qos}`, { version }, { filter: "t", qos }))
      const publisher = ready(h, "p", { version })
      for (const qos of [0, 1, 2] as const) {
        const packetId = publisher.publish("t", "x", { qos })
        if (qos === 2) publisher.pubRel(packetId)
        assert.deepStrictEqual(
          clients.map((client) => only(client, "Publish").qos),
          [0, Math.min(qos, 1), qos]
        )
      }
    })

    it(`QoS 2 takes its four steps (version ${version})`, () => {
      const { h, client, publisher } = pair(version)
      publisher.publish("t", "x", { qos: 2, packetId: 9 })
      publisher.pubRel(9)
      assert.deepStrictEqual(client.takeWords(), ['Publish t "x" q2 #1'])
      client.pubComp(1) // too early: ignored
      client.pubAck(1) // of the other protocol: ignored
      client.pubRec(1)
      assert.deepStrictEqual(client.takeWords(), ["PubRel 1"])
      client.pubRec(1) // asked again
      assert.deepStrictEqual(client.takeWords(), ["PubRel 1"])
      client.pubComp(1)
      client.pubComp(1)
      assert.deepStrictEqual(client.take(), [])
      assert.strictEqual(h.session("a")!.inflight.size, 0)
    })

    it(`is sent again after a new connection, with DUP and its ids, in order [MQTT-4.4.0-1] (${version})`, () => {
      const { h, client, publisher } = pair(version)
      for (const name of ["one", "two", "three", "four", "five"]) publisher.publish("t", name, { qos: 1 })
      publisher.publish("t", "six", { qos: 2, packetId: 106 })
      publisher.publish("t", "seven", { qos: 2, packetId: 107 })
      for (const packetId of [106, 107]) publisher.pubRel(packetId)
      client.take()
      client.pubAck(2) // out of order
      client.pubRec(6)
      client.drop()
      publisher.publish("t", "eight", { qos: 1 })
      publisher.publish("t", "zero")
      const again = h.connect("a", kept(version))
      const words = again.takeWords().slice(1)
      assert.deepStrictEqual(
        words.filter((word) => word.startsWith("Publish")),
        [
          'Publish t "one" q1 #1 dup',
          'Publish t "three" q1 #3 dup',
          'Publish t "four" q1 #4 dup',
          'Publish t "five" q1 #5 dup',
          'Publish t "seven" q2 #7 dup',
          'Publish t "eight" q1 #8'
        ]
      )
      assert.deepStrictEqual(
        words.filter((word) => !word.startsWith("Publish")),
        ["PubRel 6"]
      )
      again.pubComp(6)
      for (const packetId of [1, 3, 4, 5, 8]) again.pubAck(packetId)
      again.pubRec(7)
      again.pubComp(7)
      assert.deepStrictEqual(again.takeWords(), ["PubRel 7"])
      assert.strictEqual(h.session("a")!.inflight.size, 0)
    })

    it(`is not sent again while the connection lives [MQTT-4.4.0-1] (version ${version})`, () => {
      const { h, client, publisher } = pair(version)
      publisher.publish("t", "x", { qos: 1 })
      client.take()
      h.advance(86_400_000)
      assert.deepStrictEqual(client.take(), [])
    })
  }

  it("a PUBREC of 0x80 or above ends the exchange, without PUBREL, and frees its place [MQTT-4.3.3-4]", () => {
    const h = new CoreHarness()
    const client = subscriber(h, "a", { version: 5, properties: { receiveMaximum: 1 } }, "t")
    const publisher = ready(h, "p")
    for (const packetId of [1, 2]) {
      publisher.publish("t", `${packetId}`, { qos: 2, packetId })
      publisher.pubRel(packetId)
    }
    assert.deepStrictEqual(client.takeWords(), ['Publish t "1" q2 #1'])
    client.pubRec(1, 0x97)
    assert.deepStrictEqual(client.takeWords(), ['Publish t "2" q2 #2'])
    client.pubRec(2, 0x80)
    assert.deepStrictEqual(client.take(), [])
    assert.strictEqual(h.session("a")!.inflight.size, 0)
  })

  it("a PUBACK of 0x80 or above acknowledges too", () => {
    const { h, client, publisher } = pair(5)
    publisher.publish("t", "x", { qos: 1 })
    client.pubAck(1, 0x80)
    assert.strictEqual(h.session("a")!.inflight.size, 0)
  })
})

describe("the client's Receive Maximum", () => {
  const limited = (h: CoreHarness, receiveMaximum: number) =>
    h.connect("a", { version: 5, clean: false, expiry: 600, properties: { receiveMaximum } })

  it("is never exceeded; QoS 0 and other packets pass [MQTT-3.3.4-9, MQTT-3.3.4-10]", () => {
    const h = new CoreHarness()
    const client = limited(h, 2)
    client.subscribe("t")
    client.take()
    const publisher = ready(h, "p")
    for (let index = 1; index <= 6; index++) publisher.publish("t", `${index}`, { qos: 1 })
    publisher.publish("t", "zero")
    client.ping()
    assert.deepStrictEqual(client.takeWords(), [
      'Publish t "1" q1 #1',
      'Publish t "2" q1 #2',
      'Publish t "zero" q0',
      "PingResp"
    ])
    client.pubAck(2)
    assert.deepStrictEqual(client.takeWords(), ['Publish t "3" q1 #3'])
    client.pubAck(2) // again: frees nothing
    client.pubAck(60_000)
    assert.deepStrictEqual(client.take(), [])
    client.send(
      { _tag: "PubAck", packetId: 1, reasonCode: 0, properties: undefined },
      { _tag: "PubAck", packetId: 3, reasonCode: 0, properties: undefined }
    )
    assert.deepStrictEqual(client.takeWords(), ['Publish t "4" q1 #4', 'Publish t "5" q1 #5'])
  })

  it("counts a QoS 2 message until PUBCOMP: PUBREC does not free its place", () => {
    const h = new CoreHarness()
    const client = limited(h, 1)
    client.subscribe("t")
    client.take()
    const publisher = ready(h, "p")
    for (const packetId of [1, 2]) {
      publisher.publish("t", `${packetId}`, { qos: 2, packetId })
      publisher.pubRel(packetId)
    }
    client.pubRec(1)
    assert.deepStrictEqual(client.takeWords(), ['Publish t "1" q2 #1', "PubRel 1"])
    client.pubComp(1)
    assert.deepStrictEqual(client.takeWords(), ['Publish t "2" q2 #2'])
  })

  it("of a new connection holds for what is sent again, too [MQTT-3.3.4-9]", () => {
    const h = new CoreHarness()
    const client = limited(h, 10)
    client.subscribe("t")
    const publisher = ready(h, "p")
    for (let index = 1; index <= 5; index++) publisher.publish("t", `${index}`, { qos: 1 })
    client.drop()
    publisher.publish("t", "6", { qos: 1 })
    const again = limited(h, 2)
    const expected = ['"1" q1 #1 dup', '"2" q1 #2 dup', '"3" q1 #3 dup', '"4" q1 #4 dup', '"5" q1 #5 dup', '"6" q1 #6']
    const received = again.takeWords().slice(1)
    publisher.publish("t", "7", { qos: 1 })
    for (let acknowledged = 1; acknowledged <= 6; acknowledged++) {
      assert.strictEqual(received.length, Math.min(acknowledged + 1, 7))
      again.pubAck(acknowledged)
      received.push(...again.takeWords())
    }
    assert.deepStrictEqual(
      received,
      [...expected, '"7" q1 #7'].map((word) => `Publish t ${word}`)
    )
  })

  it("knows what the client answers before it was sent again", () => {
    const h = new CoreHarness()
    const client = limited(h, 10)
    client.subscribe("t")
    const publisher = ready(h, "p")
    for (let index = 1; index <= 3; index++) publisher.publish("t", `${index}`, { qos: 1 })
    publisher.publish("t", "4", { qos: 2, packetId: 50 })
    publisher.pubRel(50)
    client.drop()
    const again = limited(h, 1)
    again.take()
    again.pubAck(3)
    again.pubRec(4)
    assert.deepStrictEqual(again.takeWords(), ["PubRel 4"])
    again.pubComp(4)
    again.pubAck(1)
    assert.deepStrictEqual(again.takeWords(), ['Publish t "2" q1 #2 dup'])
    again.pubAck(2)
    assert.deepStrictEqual(again.take(), [])
    assert.strictEqual(h.session("a")!.inflight.size, 0)
    publisher.publish("t", "5", { qos: 1 })
    assert.deepStrictEqual(again.takePayloads(), ["5"])
  })
})

describe("packet ids", () => {
  const publishes = (client: TestClient) => all(client, "Publish").map(({ packetId }) => packetId!)

  it("go round after 65,535 and skip those in use [MQTT-2.2.1-4]", () => {
    const { h, client, publisher } = pair(4, { inflightMax: 10 })
    const stuck = [1, 2, 3]
    for (let index = 0; index < 3; index++) publisher.publish("t", "stuck", { qos: 1 })
    assert.deepStrictEqual(publishes(client), stuck)
    const seen: Array<number> = []
    for (let count = 0; count < 70_000; count++) {
      publisher.publish("t", "x", { qos: 1 })
      const [packetId] = publishes(client)
      seen.push(packetId!)
      client.pubAck(packetId!)
    }
    assert.isTrue(seen.every((packetId) => packetId > 3 && packetId <= 65_535))
    assert.isTrue(seen.some((packetId, at) => packetId < seen[at - 1]!))
    assert.strictEqual(h.session("a")!.inflight.size, 3)
  })

  it("are those of each client alone, and of each direction", () => {
    const { h, client, publisher } = pair(4)
    const other = subscriber(h, "b", {}, "t")
    publisher.publish("t", "x", { qos: 1 })
    client.pubAck(1)
    client.publish("t", "y", { qos: 2, packetId: 2 })
    client.pubRel(2)
    assert.deepStrictEqual(client.takeWords(), ['Publish t "x" q1 #1', "PubRec 2", 'Publish t "y" q2 #2', "PubComp 2"])
    assert.deepStrictEqual(publishes(other), [1, 2])
  })
})
