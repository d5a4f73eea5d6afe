/**
 * `$share/name/filter`: one of the sessions that share gets each message. What happens to messages of sessions that end
 * is in `SharedReassignment.test.ts`, the cache of routes in
 * `SharedRoutes.test.ts`.
 */
import { assert, describe, it } from "@effect/vitest"
import type { CoreConfig } from "../../src/core/CoreConfig.ts"
import { CoreHarness } from "./CoreHarness.ts"
import type { TestClient } from "./TestClient.ts"
import { all, assertForgotten, kept, only, present, ready, subscriber, versions } from "./support/Clients.ts"
import { members, payloads, source, summary, upTo } from "./support/Sharing.ts"

describe("a shared subscription", () => {
  for (const version of versions) {
    for (const qos of [0, 1, 2] as const) {
      it(`gives each message to one member, in turn (version ${version}, QoS ${qos}) [MQTT-4.8.2-3]`, () => {
        const h = new CoreHarness()
        const group = members(h, 3, { version }, "$share/g/t/+")
        const { client, send } = source(h, "t/x")
        send(9, { qos })
        if (qos === 2) for (let packetId = 1; packetId <= 9; packetId++) client.pubRel(packetId)
        assert.deepStrictEqual(group.map(payloads), [
          ["0", "3", "6"],
          ["1", "4", "7"],
          ["2", "5", "8"]
        ])
      })
    }
  }

  it("goes on with whoever comes and goes", () => {
    const h = new CoreHarness()
    const [a, b] = members(h, 2, {}, "$share/g/t") as [TestClient, TestClient]
    const { send } = source(h, "t")
    send(4)
    const c = subscriber(h, "c", {}, "$share/g/t")
    send(6)
    a.drop()
    send(4)
    b.unsubscribe("$share/g/t")
    send(2)
    c.drop()
    send(3) // nobody is left
    const received = [a, b, c].map(payloads)
    assert.deepStrictEqual(
      received.flat().sort((x, y) => Number(x) - Number(y)),
      upTo(16)
    )
    assert.deepStrictEqual(
      received.map(({ length }) => length),
      [4, 6, 6]
    )
    assert.deepStrictEqual(received[2]!.slice(-2), ["14", "15"])
  })

  it("is one group for each name and filter; others get their own copy", () => {
    const h = new CoreHarness()
    const client = subscriber(h, "a", {}, "$share/g/t", "$share/h/t", "$share/g/#", "t")
    const other = subscriber(h, "b", {}, "t")
    source(h, "t").send(1)
    assert.strictEqual(payloads(client).length, 4)
    assert.strictEqual(payloads(other).length, 1)
  })

  it("gives copies of its own beside other subscriptions of a member, each as that subscription says", () => {
    const h = new CoreHarness()
    const client = ready(h, "a", { version: 5 })
    const wishes = [
      { filter: "t", qos: 0, identifier: 1 },
      { filter: "$share/g/t", qos: 1, identifier: 2 },
      { filter: "$share/h/+", qos: 2, identifier: 3 }
    ] as const
    for (const { filter, qos, identifier } of wishes) {
      const subscription = { filter, qos, noLocal: false, retainAsPublished: false, retainHandling: 0 } as const
      const properties = { subscriptionIdentifiers: [identifier] }
      client.send({ _tag: "Subscribe", packetId: 1, subscriptions: [subscription], properties })
    }
    client.take()
    const { client: publisher, send } = source(h, "t")
    send(1, { qos: 2 })
    publisher.pubRel(1)
    const copies = all(client, "Publish").map(({ properties, qos }) => ({ qos, ...present(properties) }))
    assert.deepStrictEqual(
      copies.sort((a, b) => a.qos - b.qos),
      wishes.map(({ qos, identifier }) => ({ qos, subscriptionIdentifiers: [identifier] }))
    )
  })

  it("has the QoS and RETAIN of the member that gets it", () => {
    const h = new CoreHarness()
    const a = subscriber(h, "a", {}, { filter: "$share/g/t", qos: 0 })
    const b = subscriber(h, "b", { version: 5 }, { filter: "$share/g/t", qos: 2, retainAsPublished: true })
    const c = subscriber(h, "c", { version: 5 }, { filter: "$share/g/t", qos: 1 })
    source(h, "t").send(3, { qos: 1, retain: true })
    assert.deepInclude(only(a, "Publish"), { qos: 0, retain: false, packetId: undefined })
    assert.deepInclude(only(b, "Publish"), { qos: 1, retain: true, packetId: 1 })
    assert.deepInclude(only(c, "Publish"), { qos: 1, retain: false, packetId: 1 })
  })

  it("that is made again has the new options, and is still one place in the group", () => {
    const h = new CoreHarness()
    const a = subscriber(h, "a", {}, { filter: "$share/g/t", qos: 0 })
    const b = subscriber(h, "b", {}, { filter: "$share/g/t", qos: 0 })
    a.subscribe({ filter: "$share/g/t", qos: 1 })
    only(a, "SubAck")
    assert.strictEqual(h.core.subscriptionCount, 2)
    source(h, "t").send(4, { qos: 1 })
    assert.deepStrictEqual(summary(a), ["0 q1", "2 q1"])
    assert.deepStrictEqual(summary(b), ["1 q0", "3 q0"])
  })

  it("matches by the filter behind its name", () => {
    const cases: ReadonlyArray<readonly [filter: string, topic: string, matches: boolean]> = [
      ["$share/g/t/+/x", "t/a/x", true],
      ["$share/g/t/+/x", "t/a/y", false],
      ["$share/g/#", "t/a", true],
      ["$share/g/+", "t", true],
      ["$share/g//finance", "/finance", true],
      ["$share/g//finance", "finance", false],
      ["$share/g//", "/", true],
      ["$share/$g/t", "t", true],
      ["$share/g/$SYS/#", "$SYS/x", true],
      ["$share/g/#", "$SYS/x", false],
      ["$share/g/+/x", "$SYS/x", false],
      ["$share/g/$share/h/t", "$share/h/t", true],
      ["$share/g/$share/h/t", "t", false],
      ["$share/g/t", "$share/g/t", false],
      ["$SHARE/g/t", "$SHARE/g/t", true], // an ordinary filter
      ["$SHARE/g/t", "t", false]
    ]
    for (const [filter, topic, matches] of cases) {
      const h = new CoreHarness()
      const client = subscriber(h, "a", {}, filter)
      // In process: clients may not publish to $SYS.
      h.core.publish({ topic, payload: new Uint8Array(1), qos: 0, retain: false }, h.now)
      h.settle()
      assert.strictEqual(all(client, "Publish").length, matches ? 1 : 0, `${filter} ${topic}`)
    }
  })

  it("also gets what the broker publishes, wills, and its members' own messages", () => {
    const h = new CoreHarness()
    const client = subscriber(h, "a", { version: 5 }, { filter: "$share/g/t", qos: 1 })
    client.publish("t", "own")
    const will = { topic: "t", payload: new TextEncoder().encode("will"), qos: 1, retain: false } as const
    ready(h, "b", { will }).drop()
    h.core.publish({ topic: "t", payload: new TextEncoder().encode("local"), qos: 1, retain: false }, h.now)
    h.settle()
    assert.deepStrictEqual(payloads(client), ["own", "will", "local"])
  })

  it("does not give a member's will to the session that ends with it", () => {
    const h = new CoreHarness()
    const will = { topic: "t", payload: new TextEncoder().encode("will"), qos: 1, retain: false } as const
    const dying = subscriber(h, "a", { will }, "$share/g/t")
    const other = subscriber(h, "b", {}, "$share/g/t")
    dying.drop()
    assert.deepStrictEqual(payloads(other), ["will"])
  })

  it("never brings retained messages when it begins, whatever Retain Handling says", () => {
    for (const retainHandling of [0, 1, 2] as const) {
      const h = new CoreHarness()
      const publisher = ready(h, "p")
      publisher.publish("t", "kept", { retain: true })
      publisher.publish("$share/g/t", "of that name", { retain: true })
      const client = subscriber(h, "a", { version: 5 }, { filter: "$share/g/t", retainHandling })
      client.subscribe({ filter: "$share/g/t", retainHandling }) // again: no longer new
      assert.deepStrictEqual(client.takeWords(), ["SubAck 2 [2]"])
      client.subscribe("t")
      assert.deepStrictEqual(client.takeWords(), ["SubAck 3 [2]", 'Publish t "kept" q0 retain'])
    }
  })

  it("with No Local is a protocol error [MQTT-3.8.3-4]", () => {
    const h = new CoreHarness()
    const client = ready(h, "a", { version: 5 })
    client.subscribe("t", { filter: "$share/g/t", noLocal: true })
    assert.deepStrictEqual(client.takeWords(), ["Disconnect 0x82"])
    assert.isTrue(client.closed)
    assert.strictEqual(h.core.subscriptionCount, 0)
  })

  it("ends only by its whole name (known failure 20)", () => {
    for (const version of versions) {
      const h = new CoreHarness()
      const client = subscriber(h, "a", { version }, "$share/g/t", "t")
      client.unsubscribe("$share/h/t", "$share/g/t/", "t", "$share/g")
      const codes = only(client, "UnsubAck").reasonCodes
      assert.deepStrictEqual([...codes], version === 5 ? [0x11, 0x11, 0, 0x11] : [])
      const { send } = source(h, "t")
      send(1)
      assert.deepStrictEqual(payloads(client), ["0"])
      client.unsubscribe("$share/g/t")
      assert.deepStrictEqual([...only(client, "UnsubAck").reasonCodes], version === 5 ? [0] : [])
      send(1)
      assert.deepStrictEqual(payloads(client), [])
      assert.strictEqual(h.core.subscriptionCount, 0)
    }
  })

  it("and a normal one of the same text do not end each other (known failure 20)", () => {
    const h = new CoreHarness()
    const client = subscriber(h, "a", { version: 5 }, "t", "$share/g/t")
    const { send } = source(h, "t")
    client.unsubscribe("t")
    only(client, "UnsubAck")
    send(1)
    assert.deepStrictEqual(payloads(client), ["0"])
    client.subscribe("t")
    client.unsubscribe("$share/g/t")
    client.unsubscribe("$share/g/t")
    client.take()
    send(1)
    assert.deepStrictEqual(payloads(client), ["1"])
  })
})

describe("members that cannot take a message", () => {
  it("because they are away are passed over, and have their turn when they are back", () => {
    const h = new CoreHarness()
    const [away, here] = members(h, 2, kept(4), "$share/g/t") as [TestClient, TestClient]
    away.drop()
    const { send } = source(h, "t")
    send(4, { qos: 1 })
    assert.deepStrictEqual(payloads(here), ["0", "1", "2", "3"])
    const back = h.connect("m0", kept(4))
    send(4, { qos: 1 })
    assert.strictEqual(payloads(back).length, 2)
    assert.strictEqual(payloads(here).length, 2)
  })

  it("because their window is full are passed over until they acknowledge", () => {
    const h = new CoreHarness()
    const small = subscriber(h, "a", { version: 5, properties: { receiveMaximum: 1 } }, "$share/g/t")
    const large = subscriber(h, "b", {}, "$share/g/t")
    const { send } = source(h, "t")
    send(5, { qos: 1 })
    assert.deepStrictEqual(payloads(small), ["0"])
    assert.deepStrictEqual(payloads(large), ["1", "2", "3", "4"])
    send(1) // QoS 0 needs no window
    assert.deepStrictEqual(payloads(small), ["5"])
    small.pubAck(1)
    send(2, { qos: 1 })
    assert.strictEqual(payloads(small).length, 1)
  })

  it("because their socket is behind are passed over, and nobody waits for them", () => {
    const h = new CoreHarness({ config: { outboxBytesMax: 20_000 } })
    const [frozen, healthy] = members(h, 2, {}, "$share/g/t") as [TestClient, TestClient]
    const publisher = ready(h, "p")
    frozen.freeze()
    const sent = Array.from({ length: 50 }, (_, index) => `${index} ${"x".repeat(1_000)}`)
    for (const payload of sent) publisher.publish("t", payload)
    assert.isTrue(publisher.reading)
    assert.deepStrictEqual(publisher.readingChanges, [])
    frozen.accept()
    const received = [...payloads(frozen), ...payloads(healthy)]
    assert.sameMembers(received, sent)
    assert.strictEqual(h.core.stats.messagesDropped, 0)
  })

  it("because they all are away: one keeps everything, in order", () => {
    const h = new CoreHarness()
    const group = members(h, 3, kept(4), { filter: "$share/g/t", qos: 1 })
    for (const member of group) member.drop()
    source(h, "t").send(20, { qos: 1 })
    assert.deepStrictEqual(
      group.map((_, index) => payloads(h.connect(`m${index}`, kept(4)))).filter(({ length }) => length > 0),
      [upTo(20)]
    )
  })

  it("because all windows are full: one keeps everything, in order, and takes no turn before that is sent", () => {
    const h = new CoreHarness({ config: { inflightMax: 1 } })
    const [a, b] = members(h, 2, {}, "$share/g/t") as [TestClient, TestClient]
    const { send } = source(h, "t")
    send(6, { qos: 1 })
    assert.deepStrictEqual([payloads(a), payloads(b)], [["0"], ["1"]])
    b.pubAck(1)
    send(1, { qos: 1 })
    send(2) // QoS 0 neither overtakes what waits, nor waits
    assert.deepStrictEqual(payloads(b), ["6", "7", "8"])
    const rest: Array<string> = []
    for (let packetId = 1; packetId <= 5; packetId++) {
      a.pubAck(packetId)
      rest.push(...payloads(a))
    }
    assert.deepStrictEqual(rest, ["2", "3", "4", "5"])
  })

  it("prefer to keep it with one that is connected, and with one that can", () => {
    const h = new CoreHarness({ config: { inflightMax: 1 } })
    subscriber(h, "away", kept(4), "$share/g/t").drop()
    const here = subscriber(h, "here", {}, "$share/g/t")
    source(h, "t").send(3, { qos: 1 })
    assert.deepStrictEqual(payloads(here), ["0"])
    here.pubAck(1)
    here.pubAck(2)
    assert.deepStrictEqual(payloads(here), ["1", "2"])
  })

  it("and have only QoS 0 keep nothing; one that has QoS 1 does, whoever came first", () => {
    const h = new CoreHarness()
    subscriber(h, "zero", kept(4), { filter: "$share/g/t", qos: 0 }).drop()
    subscriber(h, "one", kept(4), { filter: "$share/g/t", qos: 1 }).drop()
    source(h, "t").send(3, { qos: 1 })
    assert.deepStrictEqual(payloads(h.connect("zero", kept(4))), [])
    assert.deepStrictEqual(payloads(h.connect("one", kept(4))), ["0", "1", "2"])
  })

  it("at QoS 0 are given nothing, unless the broker keeps QoS 0", () => {
    for (const queueQos0 of [false, true]) {
      const h = new CoreHarness({ config: { queueQos0 } })
      subscriber(h, "a", kept(4), "$share/g/t").drop()
      source(h, "t").send(3)
      assert.deepStrictEqual(payloads(h.connect("a", kept(4))), queueQos0 ? ["0", "1", "2"] : [])
      assert.strictEqual(h.core.stats.messagesDropped, 0)
    }
  })

  it("at all: the message is counted, and told without a client", () => {
    const h = new CoreHarness({ events: ["MessageDropped"] })
    subscriber(h, "zero", kept(4), { filter: "$share/g/t", qos: 0 }).drop()
    const { client, send } = source(h, "t")
    send(1, { qos: 1 })
    const dropped = { _tag: "MessageDropped", clientId: "", topic: "t", qos: 1, reason: "offline" } as const
    assert.deepStrictEqual(h.takeEvents(), [dropped])
    assert.strictEqual(h.core.stats.messagesDropped, 1)
    assert.deepStrictEqual(client.takeWords(), ["PubAck 1"])
  })

  it("yet, because their CONNACK waits for the store, keep their place, also if they end with it", () => {
    const h = new CoreHarness({ store: "manual" })
    h.connectDurable("a", "$share/g/t").drop()
    h.commit()
    const client = h.connect("a", { version: 5, clean: false })
    source(h, "t").send(1, { qos: 1 })
    assert.deepStrictEqual(client.take(), [])
    h.commit()
    assert.deepStrictEqual(client.takeWords(), ["ConnAck 0 present", 'Publish t "0" q1 #1'])
  })
})

describe("the queue of a group that is away", () => {
  const offline = (config: Partial<CoreConfig>) => {
    const h = new CoreHarness({ config, events: ["MessageDropped"] })
    for (const member of members(h, 2, kept(4), { filter: "$share/g/t", qos: 1 })) member.drop()
    const { client, send } = source(h, "t")
    const received = () => ["m0", "m1"].map((id) => payloads(h.connect(id, kept(4))))
    return { h, client, send, received }
  }

  for (const [queueOverflow, expected] of [
    ["drop-newest", ["0", "1", "2"]],
    ["drop-oldest", ["2", "3", "4"]],
    ["disconnect", ["0", "1", "2"]]
  ] as const) {
    it(`is one member's and holds what one queue holds, and then ${queueOverflow}`, () => {
      const { h, client, send, received } = offline({ queueMessagesMax: 3, queueOverflow })
      send(3, { qos: 1 })
      assert.strictEqual(h.core.stats.messagesDropped, 0)
      send(2, { qos: 1 })
      assert.strictEqual(h.core.stats.messagesDropped, 2)
      const dropped = { _tag: "MessageDropped", clientId: "m0", topic: "t", qos: 1, reason: "queue-full" } as const
      assert.deepStrictEqual(h.takeEvents(), [dropped, dropped])
      assert.strictEqual(all(client, "PubAck").length, 5)
      assert.deepStrictEqual(received(), [[...expected], []])
    })
  }

  it("has the bound in bytes, too", () => {
    const { h, client, received } = offline({ queueBytesMax: 1_000 })
    for (const digit of upTo(5)) client.publish("t", digit.repeat(300), { qos: 1 })
    assert.strictEqual(h.core.stats.messagesDropped, 2)
    assert.deepStrictEqual(
      received().map((each) => each.map((payload) => payload.slice(0, 1))),
      [["0", "1", "2"], []]
    )
  })

  it("drops what expires while it waits", () => {
    const { h, client, send, received } = offline({})
    client.publish("t", "short", { qos: 1, properties: { messageExpiryInterval: 5 } })
    send(1, { qos: 1 })
    h.advance(5_000)
    assert.deepStrictEqual(received(), [["0"], []])
    assert.strictEqual(h.core.stats.messagesDropped, 1)
  })

  it("is the other's when its member's session has ended", () => {
    const h = new CoreHarness()
    const [first, second] = [5, 1_000].map((expiry, index) =>
      subscriber(h, `m${index}`, { version: 5, clean: false, expiry }, { filter: "$share/g/t", qos: 1 })
    ) as [TestClient, TestClient]
    first.drop()
    second.drop()
    const { send } = source(h, "t")
    send(3, { qos: 1 })
    h.advance(10_000)
    send(2, { qos: 1 })
    assert.isUndefined(h.session("m0"))
    const back = h.connect("m1", { version: 5, clean: false, expiry: 1_000 })
    assert.deepStrictEqual(payloads(back), upTo(5))
  })
})

describe("many members", () => {
  const COUNT = 10_000

  it("each get one of as many messages, and leave nothing behind", () => {
    const h = new CoreHarness()
    const clients: Array<TestClient> = []
    h.together(() => {
      for (let index = 0; index < COUNT; index++) {
        const client = h.connect(`m${index}`)
        client.subscribe({ filter: "$share/g/t", qos: 1 })
        clients.push(client)
      }
    })
    assert.strictEqual(h.core.subscriptionCount, COUNT)
    const publisher = ready(h, "p")
    h.together(() => {
      for (let index = 0; index < COUNT; index++) publisher.publish("t", `${index}`, { qos: 1 })
    })
    const received = clients.map(payloads)
    assert.isTrue(received.every(({ length }) => length === 1))
    assert.strictEqual(new Set(received.flat()).size, COUNT)
    publisher.drop()
    h.together(() => {
      for (const client of clients.slice(1)) client.drop()
    })
    // Nobody acknowledged anything: all is with the last member now, as far as its window and queue go.
    const session = h.session("m0")!
    assert.strictEqual(session.inflight.size + session.queue.length, 2_000)
    clients[0]!.drop()
    assertForgotten(h)
  })

  it("in many groups leave nothing behind", () => {
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
