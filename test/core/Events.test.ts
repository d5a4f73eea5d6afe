/**
 * What the core tells: the documented events with their documented fields, in order, and only while they are wanted.
 */
import { assert, describe, it } from "@effect/vitest"
import * as CoreEvent from "../../src/core/CoreEvent.ts"
import { CoreHarness } from "./CoreHarness.ts"
import { hex, kept, ready, subscriber, versions } from "./support/Clients.ts"

const MESSAGE_EVENTS = [
  "MessageReceiving",
  "IncomingMessageStatus",
  "MessageReceived",
  "MessageSending",
  "OutgoingMessageStatus",
  "MessageSent"
] as const

/** Events as short texts: `Receiving`, `Incoming 6`, … with the client they are about. */
const brief = (events: ReadonlyArray<CoreEvent.CoreEvent>): ReadonlyArray<string> =>
  events.map((event) => {
    const who = "clientId" in event ? event.clientId : event.connectionId
    return "state" in event ? `${event._tag} ${who} ${event.state}` : `${event._tag} ${who}`
  })

describe("connections and sessions", () => {
  it("tell their life, with the documented fields", () => {
    for (const version of versions) {
      const h = new CoreHarness({ events: CoreEvent.tags })
      const options = { ...kept(version), userName: "user" }
      const client = h.connect("a", options)
      const connectionId = client.connection.id
      const started = {
        _tag: "SessionStarted",
        connectionId,
        clientId: "a",
        userName: "user",
        protocolVersion: version
      }
      assert.deepStrictEqual(h.takeEvents(), [
        { _tag: "Connected", connectionId, statusCode: 0, description: "OK" },
        { ...started, sessionPresent: false } as CoreEvent.SessionStarted
      ])
      client.subscribe({ filter: "t", qos: 1 })
      client.unsubscribe("t", "nothing")
      assert.deepStrictEqual(h.takeEvents(), [
        { _tag: "Subscribed", connectionId, clientId: "a", topicFilter: "t", requestedQos: 1, returnCode: 1 },
        { _tag: "Unsubscribed", connectionId, clientId: "a", topicFilter: "t" }
      ])
      client.disconnect()
      assert.deepStrictEqual(h.takeEvents(), [
        { _tag: "Disconnected", connectionId, clientId: "a", statusCode: 0, description: "OK" }
      ])
      const again = h.connect("a", options)
      const [, present] = h.takeEvents()
      assert.deepInclude(present, { _tag: "SessionStarted", sessionPresent: true })
      again.drop()
      h.connect("a", { version, clean: true })
      assert.deepStrictEqual(brief(h.takeEvents()).slice(1), ["Connected 3", "SessionRemoved a", "SessionStarted a"])
    }
  })

  it("tell a session that ends with its connection before the connection's end", () => {
    const h = new CoreHarness({ events: CoreEvent.tags })
    const client = ready(h, "a")
    h.takeEvents()
    client.drop()
    assert.deepStrictEqual(brief(h.takeEvents()), ["SessionRemoved a", "Disconnected a"])
  })

  it("tell every subscription that was asked for, and how it was answered", () => {
    const h = new CoreHarness({ events: ["Subscribed"] })
    h.install("subscribe")
    const client = ready(h, "a", { version: 5 })
    client.subscribe("one", "bad/#/one", { filter: "two", qos: 1 })
    h.answer({ reasonCode: 0 })
    h.answer({ reasonCode: 0x87 })
    const told = h
      .takeEvents()
      .map((event) => (event._tag === "Subscribed" ? [event.topicFilter, event.returnCode] : []))
    assert.deepStrictEqual(told, [
      ["one", 0],
      ["bad/#/one", 0x8f],
      ["two", 0x87]
    ])
  })

  it("tell a fault with its code, 601 for topics, and the connection's end with the same", () => {
    for (const [bytes, code, reasonCode] of [
      ["30 05 00 01 74 80 00", 600, 0x81],
      ["30 04 00 01 23 00", 601, 0x90]
    ] as const) {
      const h = new CoreHarness({ events: ["ProtocolFailure", "Disconnected"] })
      const client = ready(h, "a", { version: 5 })
      client.sendBytes(hex(bytes))
      const [failure, disconnected] = h.takeEvents()
      assert.deepInclude(failure, { _tag: "ProtocolFailure", clientId: "a", errorCode: code, reasonCode })
      assert.deepInclude(disconnected, { _tag: "Disconnected", clientId: "a", statusCode: code })
      assert.strictEqual(
        failure?._tag === "ProtocolFailure" ? failure.description : "",
        disconnected?._tag === "Disconnected" ? disconnected.description : undefined
      )
    }
  })

  it("tell the end of a connection that never got to a session once, with no client", () => {
    const h = new CoreHarness({ events: ["Disconnected"] })
    const client = h.open()
    client.drop()
    h.core.closed(client.connection, { statusCode: 0, description: "OK" }, h.now)
    h.settle()
    assert.deepStrictEqual(brief(h.takeEvents()), ["Disconnected "])
  })
})

describe("incoming messages", () => {
  const incoming = (qos: 0 | 1 | 2) => {
    const h = new CoreHarness({ events: MESSAGE_EVENTS })
    const client = ready(h, "a", { version: 5 })
    const packetId = client.publish("t", "x", { qos, packetId: 7, retain: true, dup: qos > 0 })
    return { h, client, packetId }
  }

  it("at QoS 0 are received and that is all; their packet id is -1", () => {
    const { h, client } = incoming(0)
    const [receiving, received, ...more] = h.takeEvents()
    assert.deepStrictEqual(more, [])
    const messageId = receiving?._tag === "MessageReceiving" ? receiving.messageId : -1
    const ids = { connectionId: client.connection.id, clientId: "a", messageId }
    assert.deepStrictEqual(receiving, {
      _tag: "MessageReceiving",
      ...ids,
      dup: false,
      qos: 0,
      retain: true,
      packetId: -1
    })
    assert.deepStrictEqual(received, { _tag: "MessageReceived", ...ids })
  })

  it("at QoS 1 go through 6 and 10", () => {
    const { h } = incoming(1)
    const events = h.takeEvents()
    assert.deepStrictEqual(brief(events), [
      "MessageReceiving a",
      "IncomingMessageStatus a 6",
      "IncomingMessageStatus a 10",
      "MessageReceived a"
    ])
    assert.deepInclude(events[0], { dup: true, qos: 1, retain: true, packetId: 7 })
    assert.deepInclude(events[1], { qos: 1, retain: true, packetId: 7 })
    assert.strictEqual(new Set(events.map((event) => ("messageId" in event ? event.messageId : 0))).size, 1)
  })

  it("at QoS 2 go through 7, 8, 9 and 10", () => {
    const { h, client } = incoming(2)
    const before = h.takeEvents()
    assert.deepStrictEqual(brief(before), [
      "MessageReceiving a",
      "IncomingMessageStatus a 7",
      "IncomingMessageStatus a 8"
    ])
    client.pubRel(7)
    const after = h.takeEvents()
    assert.deepStrictEqual(brief(after), [
      "IncomingMessageStatus a 9",
      "IncomingMessageStatus a 10",
      "MessageReceived a"
    ])
    const ids = [...before, ...after].map((event) => ("messageId" in event ? event.messageId : 0))
    assert.strictEqual(new Set(ids).size, 1)
  })
})

describe("outgoing messages", () => {
  const outgoing = (qos: 0 | 1 | 2) => {
    const h = new CoreHarness({
      events: ["MessageSending", "OutgoingMessageStatus", "MessageSent"]
    })
    const client = subscriber(h, "a", {}, "t")
    h.core.publish({ topic: "t", payload: new Uint8Array(1), qos, retain: false }, h.now)
    h.settle()
    return { h, client, events: h.takeEvents() }
  }

  it("at QoS 0 are sent at once; their packet id is -1", () => {
    const { events } = outgoing(0)
    assert.deepStrictEqual(brief(events), [
      "OutgoingMessageStatus a 1",
      "MessageSending a",
      "OutgoingMessageStatus a 10",
      "MessageSent a"
    ])
    assert.deepInclude(events[1], { dup: false, qos: 0, retain: false, packetId: -1 })
  })

  it("at QoS 1 go through 1, 2 and 10", () => {
    const { client, events, h } = outgoing(1)
    assert.deepStrictEqual(brief(events), [
      "OutgoingMessageStatus a 1",
      "MessageSending a",
      "OutgoingMessageStatus a 2"
    ])
    assert.deepInclude(events[2], { dup: false, qos: 1, retain: false, packetId: 1 })
    client.pubAck(1)
    assert.deepStrictEqual(brief(h.takeEvents()), ["OutgoingMessageStatus a 10", "MessageSent a"])
  })

  it("at QoS 2 go through 1, 3, 4, 5 and 10", () => {
    const { client, events, h } = outgoing(2)
    assert.deepStrictEqual(brief(events), [
      "OutgoingMessageStatus a 1",
      "MessageSending a",
      "OutgoingMessageStatus a 3"
    ])
    client.pubRec(1)
    assert.deepStrictEqual(brief(h.takeEvents()), ["OutgoingMessageStatus a 4", "OutgoingMessageStatus a 5"])
    client.pubComp(1)
    assert.deepStrictEqual(brief(h.takeEvents()), ["OutgoingMessageStatus a 10", "MessageSent a"])
  })

  it("at QoS 2 that the client refuses are dropped, and neither done nor sent", () => {
    const h = new CoreHarness({ events: ["OutgoingMessageStatus", "MessageSent", "MessageDropped"] })
    const client = subscriber(h, "a", { version: 5 }, "t")
    h.core.publish({ topic: "t", payload: new Uint8Array(1), qos: 2, retain: false }, h.now)
    h.settle()
    h.takeEvents()
    client.pubRec(1, 0x97)
    assert.deepStrictEqual(h.takeEvents(), [
      { _tag: "MessageDropped", clientId: "a", topic: "t", qos: 2, reason: "refused" }
    ])
  })

  it("that wait are told in state 1 once, before they have a packet id", () => {
    const h = new CoreHarness({ events: ["OutgoingMessageStatus"] })
    const client = subscriber(h, "a", { version: 5, properties: { receiveMaximum: 1 } }, "t")
    const publisher = ready(h, "p")
    for (const payload of ["one", "two"]) publisher.publish("t", payload, { qos: 1 })
    const [, , waiting, ...more] = h.takeEvents()
    assert.deepStrictEqual(more, [])
    assert.deepInclude(waiting, { state: 1, packetId: -1 })
    client.pubAck(1)
    assert.deepStrictEqual(brief(h.takeEvents()), ["OutgoingMessageStatus a 10", "OutgoingMessageStatus a 2"])
  })

  it("that wait for a client that is away name no connection", () => {
    const h = new CoreHarness({ events: ["OutgoingMessageStatus"] })
    subscriber(h, "a", kept(4), "t").drop()
    ready(h, "p").publish("t", "x", { qos: 1 })
    const [waiting, ...more] = h.takeEvents()
    assert.deepStrictEqual(more, [])
    assert.deepInclude(waiting, { connectionId: "", clientId: "a", state: 1, qos: 1, packetId: -1 })
    const again = h.connect("a", kept(4))
    const [sent] = h.takeEvents()
    assert.deepInclude(sent, { connectionId: again.connection.id, clientId: "a", state: 2, packetId: 1 })
  })

  it("that are sent again say so", () => {
    const h = new CoreHarness({ events: ["MessageSending", "OutgoingMessageStatus"] })
    subscriber(h, "a", kept(4), "t")
    ready(h, "p").publish("t", "x", { qos: 1 })
    h.takeEvents()
    h.connect("a", kept(4))
    const events = h.takeEvents()
    assert.deepStrictEqual(brief(events), ["MessageSending a", "OutgoingMessageStatus a 2"])
    assert.isTrue(events.every((event) => "dup" in event && event.dup))
  })

  it("have ids of their own: one message to two clients is two", () => {
    const h = new CoreHarness({ events: ["MessageReceiving", "MessageSending"] })
    for (const id of ["a", "b"]) subscriber(h, id, {}, "t")
    ready(h, "p").publish("t", "x", { qos: 1 })
    const ids = h.takeEvents().map((event) => ("messageId" in event ? event.messageId : 0))
    assert.strictEqual(new Set(ids).size, 3)
  })
})

describe("what waits for the store", () => {
  /** A durable client, and what is told of its messages from now on. */
  const durable = () => {
    const h = new CoreHarness({ store: "manual", events: MESSAGE_EVENTS })
    const client = h.connectDurable("a", "t")
    return { h, client, told: () => brief(h.takeEvents()) }
  }

  it("tells 8 when PUBREC is released, 9 at PUBREL, and 10 when PUBCOMP is released", () => {
    const { client, h, told } = durable()
    client.publish("other", "x", { qos: 2, packetId: 7 })
    assert.deepStrictEqual(told(), ["MessageReceiving a", "IncomingMessageStatus a 7"])
    assert.deepStrictEqual(client.take(), [])
    h.commit()
    assert.deepStrictEqual(told(), ["IncomingMessageStatus a 8"])
    assert.deepStrictEqual(client.takeWords(), ["PubRec 7"])
    client.pubRel(7)
    assert.deepStrictEqual(told(), ["IncomingMessageStatus a 9"])
    assert.deepStrictEqual(client.take(), [])
    h.commit()
    assert.deepStrictEqual(told(), ["IncomingMessageStatus a 10", "MessageReceived a"])
    assert.deepStrictEqual(client.takeWords(), ["PubComp 7"])
  })

  it("tells 10 of QoS 1 when PUBACK is released", () => {
    const { client, h, told } = durable()
    client.publish("other", "x", { qos: 1, packetId: 7, retain: true })
    assert.deepStrictEqual(told(), ["MessageReceiving a", "IncomingMessageStatus a 6"])
    h.commit()
    assert.deepStrictEqual(told(), ["IncomingMessageStatus a 10", "MessageReceived a"])
    assert.deepStrictEqual(client.takeWords(), ["PubAck 7"])
  })

  it("tells 3 when the PUBLISH is released, and 5 when PUBREL is", () => {
    const { client, h, told } = durable()
    h.core.publish({ topic: "t", payload: new Uint8Array(1), qos: 2, retain: false }, h.now)
    h.settle()
    assert.deepStrictEqual(told(), ["OutgoingMessageStatus a 1"])
    h.commit()
    assert.deepStrictEqual(told(), ["MessageSending a", "OutgoingMessageStatus a 3"])
    client.pubRec(1)
    assert.deepStrictEqual(told(), ["OutgoingMessageStatus a 4"])
    h.commit()
    assert.deepStrictEqual(told(), ["OutgoingMessageStatus a 5"])
    client.pubComp(1)
    assert.deepStrictEqual(told(), ["OutgoingMessageStatus a 10", "MessageSent a"])
  })

  it("is not told as sending when a client has acknowledged it before", () => {
    const { client, h, told } = durable()
    h.core.publish({ topic: "t", payload: new Uint8Array(1), qos: 2, retain: false }, h.now)
    h.settle()
    client.pubRec(1)
    assert.deepStrictEqual(told(), ["OutgoingMessageStatus a 1", "OutgoingMessageStatus a 4"])
    h.commit()
    assert.deepStrictEqual(told(), ["OutgoingMessageStatus a 5"])
    client.pubComp(1)
    assert.deepStrictEqual(told(), ["OutgoingMessageStatus a 10", "MessageSent a"])
    assert.isUndefined(client.connection.unhanded)
  })
})

describe("nothing for nobody", () => {
  const everything = (h: CoreHarness): void => {
    const client = subscriber(h, "a", { version: 5 }, "t")
    const publisher = ready(h, "p", { version: 5 })
    for (const qos of [0, 1, 2] as const) publisher.publish("t", "x", { qos, packetId: 9, retain: true })
    publisher.pubRel(9)
    client.pubAck(1)
    client.pubRec(2)
    client.pubComp(2)
    client.unsubscribe("t")
    publisher.publish("$SYS/t", "x")
    client.sendBytes(hex("00 00"))
    publisher.drop()
  }

  it("no event is built that nobody asked for", () => {
    const h = new CoreHarness()
    everything(h)
    assert.isTrue(h.core.events.isEmpty)
    assert.deepStrictEqual(h.takeEvents(), [])
  })

  for (const tag of CoreEvent.tags) {
    it(`who wants ${tag} gets nothing else, and the others behave alike`, () => {
      const h = new CoreHarness({ events: [tag] })
      everything(h)
      const kinds = new Set(h.takeEvents().map(({ _tag }) => _tag))
      assert.deepStrictEqual([...kinds], tag === "MessageDropped" ? [] : [tag])
      assert.deepStrictEqual([h.core.sessions.size, h.core.connections.size], [0, 0])
    })
  }

  it("stops when it is no longer wanted", () => {
    const h = new CoreHarness({ events: ["MessageReceived"] })
    const client = ready(h, "a")
    client.publish("t", "x", { qos: 1 })
    assert.strictEqual(h.takeEvents().length, 1)
    h.core.events.want("MessageReceived", false)
    client.publish("t", "x", { qos: 1 })
    assert.deepStrictEqual(h.takeEvents(), [])
    assert.isFalse(h.core.events.messages)
  })

  it("who listens does not change what is sent", () => {
    const talk = (events: ReadonlyArray<CoreEvent.CoreEventTag>) => {
      const h = new CoreHarness({ events })
      const client = subscriber(h, "a", kept(5), "t")
      const publisher = ready(h, "p", { version: 5 })
      for (const qos of [0, 1, 2] as const) publisher.publish("t", "x", { qos, packetId: 9 })
      publisher.pubRel(9)
      publisher.pubRel(9)
      client.pubRec(2)
      client.drop()
      const again = h.connect("a", kept(5))
      return [publisher.takeWords(), client.takeWords(), again.takeWords()]
    }
    assert.deepStrictEqual(talk(CoreEvent.tags), talk([]))
  })
})
