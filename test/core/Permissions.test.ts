/**
 * Rights that are asked for more than once, because they may have been taken away in between: messages at PUBREL,
 * wills, subscriptions of a client that comes back.
 */
import { assert, describe, it } from "@effect/vitest"
import type { PublishRequest, SubscribeRequest } from "../../src/core/Question.ts"
import { CoreHarness, type HarnessOptions } from "./CoreHarness.ts"
import { kept, only, ready, subscriber, versions } from "./support/Clients.ts"
import type { ConnectOptions } from "./TestClient.ts"

const ACCEPT = { reasonCode: 0 }
const REFUSE = { reasonCode: 0x87 }

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)

const will = (options: Partial<NonNullable<ConnectOptions["will"]>> = {}): ConnectOptions["will"] => ({
  topic: "w",
  payload: bytes("bye"),
  qos: 1,
  retain: false,
  properties: undefined,
  ...options
})

/** The stage and topic of the open questions about messages. */
const stages = (h: CoreHarness): ReadonlyArray<string> =>
  h.questions.map((question) => (question._tag === "Publish" ? `${question.stage} ${question.topic}` : question._tag))

describe("a message at QoS 2", () => {
  const begun = (version: 3 | 4 | 5, options: HarnessOptions = {}) => {
    const h = new CoreHarness(options)
    const watcher = subscriber(h, "w", {}, "#")
    h.install("publish")
    const client = ready(h, "a", { ...kept(version), userName: "user" })
    client.publish("t", "x", { qos: 2, packetId: 7, retain: true })
    assert.deepStrictEqual(stages(h), ["publish t"])
    h.answer(ACCEPT)
    assert.deepStrictEqual(client.takeWords(), ["PubRec 7"])
    client.pubRel(7)
    return { h, watcher, client }
  }

  it("is asked about again when it is released, as it was asked about first", () => {
    for (const version of versions) {
      const { client, h, watcher } = begun(version)
      const question = h.questions[0] as PublishRequest // the only thing that has a hook
      assert.deepInclude(question, {
        stage: "release",
        connectionId: client.connection.id,
        clientId: "a",
        userName: "user",
        topic: "t",
        qos: 2,
        retain: true
      })
      assert.deepStrictEqual(question.payload, bytes("x"))
      assert.deepStrictEqual(client.take(), [])
      h.answer(ACCEPT)
      assert.deepStrictEqual(client.takeWords(), ["PubComp 7"])
      assert.deepStrictEqual(watcher.takePayloads(), ["x"])
      assert.strictEqual(h.core.retained.size, 1)
    }
  })

  it("that is not permitted any more is finished and goes nowhere, retained or not (known failure 15)", () => {
    for (const store of ["none", "on-time"] as const) {
      for (const version of versions) {
        const { client, h, watcher } = begun(version, { store })
        h.answer(REFUSE)
        assert.deepStrictEqual(client.takeWords(), ["PubComp 7"])
        assert.isFalse(client.closed)
        assert.deepStrictEqual(watcher.takePayloads(), [])
        assert.strictEqual(h.core.retained.size, 0)
        assert.strictEqual(h.session("a")?.incomingSize, 0)
      }
    }
  })

  it("whose client went away while the question was open is asked about when it is released again", () => {
    const { client, h, watcher } = begun(4)
    client.drop()
    h.answer(ACCEPT)
    assert.deepStrictEqual(watcher.take(), [])
    const again = ready(h, "a", { ...kept(4), userName: "user" })
    again.pubRel(7)
    assert.deepStrictEqual(stages(h), ["release t"])
    h.answer(ACCEPT)
    assert.deepStrictEqual(again.takeWords(), ["PubComp 7"])
    assert.deepStrictEqual(watcher.takePayloads(), ["x"])
  })
})

describe("a refused message", () => {
  it("closes the connection of a client that cannot be told, where that is configured", () => {
    for (const version of versions) {
      for (const qos of [0, 1, 2] as const) {
        const h = new CoreHarness({ config: { refusedPublish: "close" }, events: ["Disconnected"] })
        const watcher = subscriber(h, "w", {}, "#")
        h.install("publish")
        const client = ready(h, "a", { version })
        client.publish("t", "x", { qos, packetId: 1 })
        h.answer({ reasonCode: 0x87, reasonString: "not yours" })
        assert.strictEqual(client.closed, version !== 5)
        const told = version === 5 && qos > 0 ? [`${qos === 1 ? "PubAck" : "PubRec"} 1 0x87`] : []
        assert.deepStrictEqual(client.takeWords(), told)
        assert.deepStrictEqual(watcher.take(), [])
        if (version !== 5) assert.deepInclude(h.takeEvents()[0], { _tag: "Disconnected", description: "not yours" })
      }
    }
  })

  it("to $SYS closes it as well, and without a hook (known failure 27)", () => {
    const h = new CoreHarness({ config: { refusedPublish: "close" } })
    const client = ready(h, "a")
    client.publish("$SYS/x", "x")
    assert.isTrue(client.closed)
  })

  it("at its release closes it after the exchange has ended", () => {
    const h = new CoreHarness({ config: { refusedPublish: "close" } })
    h.install("publish")
    const client = ready(h, "a", kept(4))
    client.publish("t", "x", { qos: 2, packetId: 1 })
    h.answer(ACCEPT)
    client.pubRel(1)
    h.answer(REFUSE)
    assert.deepStrictEqual(client.takeWords(), ["PubRec 1", "PubComp 1"])
    assert.isTrue(client.closed)
    assert.strictEqual(h.session("a")?.incomingSize, 0)
  })
})

describe("who runs the broker", () => {
  /** What is told of refusals, without what is the same in all of them. */
  const told = (h: CoreHarness): ReadonlyArray<string> =>
    h.takeEvents().map((event) => {
      if (event._tag !== "PublishRefused") return event._tag
      const { clientId, connectionId, qos, reasonCode, retain, stage, topic, userName } = event
      assert.deepStrictEqual([clientId, userName], ["a", "user"])
      return `${stage} "${connectionId}" ${topic} q${qos}${retain ? " retain" : ""} 0x${reasonCode.toString(16)}`
    })

  it("is told of every refused message: who, where to, and with which code", () => {
    for (const version of versions) {
      const h = new CoreHarness({ events: ["PublishRefused"] })
      h.install("publish")
      const client = ready(h, "a", { version, userName: "user" })
      const { id } = client.connection
      client.publish("zero", "x")
      h.answer(REFUSE)
      client.publish("one", "x", { qos: 1, retain: true })
      h.answer({ reasonCode: 0x99 })
      client.publish("two", "x", { qos: 2, packetId: 7 })
      h.answer(ACCEPT)
      client.pubRel(7)
      h.answer(REFUSE)
      client.publish("$SYS/x", "x", { qos: 1 }) // nobody is asked
      assert.deepStrictEqual(told(h), [
        `publish "${id}" zero q0 0x87`,
        `publish "${id}" one q1 retain 0x99`,
        `release "${id}" two q2 0x87`,
        `publish "${id}" $SYS/x q1 0x87`
      ])
    }
  })

  it("is told of a refused will, at its CONNECT and when it is due", () => {
    const h = new CoreHarness({ events: ["PublishRefused"] })
    h.install("publish")
    const refused = h.connect("a", { userName: "user", will: will({ retain: true }) })
    h.answer(REFUSE)
    assert.deepStrictEqual(told(h), [`connect "${refused.connection.id}" w q1 retain 0x87`])
    const accepted = h.connect("a", { userName: "user", will: will() })
    h.answer(ACCEPT)
    accepted.drop()
    h.answer(REFUSE)
    assert.deepStrictEqual(told(h), ['will "" w q1 0x87'])
  })

  it("is told what an alias stands for, and of a store that is full", () => {
    const h = new CoreHarness({ events: ["PublishRefused"], store: "manual" })
    h.install("publish")
    const client = ready(h, "a", { version: 5, userName: "user" })
    client.publish("t", "x", { properties: { topicAlias: 1 } })
    h.answer(ACCEPT)
    client.publish("", "x", { properties: { topicAlias: 1 } })
    h.answer(REFUSE)
    h.storageState("full")
    client.publish("", "x", { qos: 1, properties: { topicAlias: 1 } })
    const { id } = client.connection
    assert.deepStrictEqual(told(h), [`publish "${id}" t q0 0x87`, `publish "${id}" t q1 0x97`])
  })
})

describe("the topic of a question", () => {
  it("is what the alias stands for, never the empty text that was sent (known failure 19)", () => {
    const h = new CoreHarness()
    h.install("publish")
    const client = ready(h, "a", { version: 5 })
    client.publish("secret", "x", { properties: { topicAlias: 1 } })
    h.answer(REFUSE)
    client.publish("", "x", { properties: { topicAlias: 1 } })
    assert.deepStrictEqual(stages(h), ["publish secret"])
  })
})

describe("a will", () => {
  it("is asked about at CONNECT, and refused there refuses the client", () => {
    for (const version of versions) {
      const h = new CoreHarness()
      h.install("publish")
      const client = h.connect("a", { version, will: will({ retain: true }), userName: "user" })
      assert.deepInclude(h.questions[0], {
        stage: "connect",
        connectionId: client.connection.id,
        clientId: "a",
        userName: "user",
        topic: "w",
        qos: 1,
        retain: true
      })
      h.answer(REFUSE)
      assert.strictEqual(only(client, "ConnAck").reasonCode, 0x87)
      assert.isTrue(client.closed)
      assert.isUndefined(h.session("a"))
    }
  })

  it("is asked about after who may connect", () => {
    const h = new CoreHarness()
    h.install("sessionRequest", "publish")
    const client = h.connect("a", { will: will() })
    assert.deepStrictEqual(stages(h), ["SessionRequest"])
    h.answer(ACCEPT)
    assert.deepStrictEqual(stages(h), ["connect w"])
    h.answer(ACCEPT)
    assert.deepStrictEqual(client.takeWords(), ["ConnAck 0"])
  })

  const connected = (version: 3 | 4 | 5, options: Partial<ConnectOptions> = {}) => {
    const h = new CoreHarness()
    const watcher = subscriber(h, "watcher", {}, "w")
    h.install("publish")
    const client = h.connect("a", { version, will: will(), userName: "user", ...options })
    h.answer(ACCEPT)
    client.take()
    return { h, watcher, client }
  }

  it("is asked about again when it is due, and published if that is still allowed (known failure 15)", () => {
    for (const version of versions) {
      for (const answer of [ACCEPT, REFUSE]) {
        const { client, h, watcher } = connected(version)
        client.drop()
        assert.deepInclude(h.questions[0], {
          stage: "will",
          connectionId: "",
          clientId: "a",
          userName: "user",
          topic: "w"
        })
        assert.deepStrictEqual(watcher.take(), [])
        h.answer(answer)
        assert.deepStrictEqual(watcher.takePayloads(), answer === ACCEPT ? ["bye"] : [])
        assert.strictEqual(h.questions.length, 0)
      }
    }
  })

  it("that waits for its delay is asked about when that is over", () => {
    const { client, h, watcher } = connected(5, {
      ...kept(5),
      will: will({ properties: { willDelayInterval: 10 } })
    })
    client.drop()
    assert.strictEqual(h.questions.length, 0)
    h.advance(10_200)
    assert.deepStrictEqual(stages(h), ["will w"])
    h.answer(ACCEPT)
    assert.deepStrictEqual(watcher.takePayloads(), ["bye"])
  })

  it("asks nobody when there is none, or no hook", () => {
    const h = new CoreHarness()
    const watcher = subscriber(h, "watcher", {}, "w")
    ready(h, "a", { will: will() }).drop()
    assert.deepStrictEqual(watcher.takePayloads(), ["bye"])
    h.install("publish")
    ready(h, "b").drop()
    assert.strictEqual(h.questions.length, 0)
  })
})

describe("a client that comes back", () => {
  const away = (options: HarnessOptions = {}, ...filters: ReadonlyArray<string>) => {
    const h = new CoreHarness(options)
    subscriber(h, "a", { ...kept(4), userName: "user" }, ...filters).drop()
    h.install("subscribe")
    return { h, publisher: ready(h, "p") }
  }
  const back = (h: CoreHarness) => h.connect("a", { ...kept(4), userName: "user" })

  it("is asked about each of its subscriptions before its CONNACK", () => {
    const { h } = away({}, "$share/g/one/#", "two")
    const client = back(h)
    const asked: Array<Partial<SubscribeRequest>> = []
    for (; h.questions.length > 0; h.answer({ reasonCode: 2 })) {
      assert.deepStrictEqual(client.take(), [])
      const { filter, requestedQos, shareName, stage, topicFilter } = h.questions[0] as SubscribeRequest
      asked.push({ stage, topicFilter, filter, shareName, requestedQos })
    }
    assert.sameDeepMembers(asked, [
      { stage: "resume", topicFilter: "$share/g/one/#", filter: "one/#", shareName: "g", requestedQos: 2 },
      { stage: "resume", topicFilter: "two", filter: "two", shareName: "", requestedQos: 2 }
    ])
    assert.deepStrictEqual(client.takeWords(), ["ConnAck 0 present"])
  })

  it("gets nothing by a subscription that is not permitted any more (known failure 15)", () => {
    for (const store of ["none", "on-time"] as const) {
      const { h, publisher } = away({ store, events: ["Unsubscribed", "MessageDropped"] }, "open", "secret/#")
      for (const topic of ["open", "secret/1", "open"]) publisher.publish(topic, topic, { qos: 1 })
      const client = back(h)
      for (; h.questions.length > 0; ) {
        h.answer((h.questions[0] as SubscribeRequest).filter === "open" ? ACCEPT : REFUSE)
      }
      assert.deepStrictEqual(client.takePayloads(), ["open", "open"])
      assert.deepStrictEqual(
        h.takeEvents().map((event) => ("topicFilter" in event ? event.topicFilter : "topic" in event && event.topic)),
        ["secret/#", "secret/1"]
      )
      publisher.publish("secret/2", "x", { qos: 1 })
      assert.deepStrictEqual(client.take(), [])
      if (store === "on-time") {
        h.crash()
        assert.deepStrictEqual([...(h.session("a")?.subscriptions.keys() ?? [])], ["open"])
      }
    }
  })

  it("keeps a subscription at the QoS that it may have now", () => {
    const { h, publisher } = away({}, "t")
    const client = back(h)
    h.answer({ reasonCode: 0 })
    publisher.publish("t", "x", { qos: 1 })
    assert.deepStrictEqual(client.takeWords(), ["ConnAck 0 present", 'Publish t "x" q0'])
  })

  it("is asked about nothing with a clean start, another user name, or when that is configured", () => {
    const { h } = away({}, "t")
    assert.deepStrictEqual(h.connect("a", { userName: "user" }).takeWords(), ["ConnAck 0"])
    const other = away({}, "t")
    assert.deepStrictEqual(other.h.connect("a", { ...kept(4), userName: "eve" }).takeWords(), ["ConnAck 0"])
    const trusting = away({ config: { recheckSubscriptions: false } }, "t")
    assert.deepStrictEqual(back(trusting.h).takeWords(), ["ConnAck 0 present"])
  })

  it("and goes again while it is asked about leaves everything as it was", () => {
    const { h } = away({}, "t")
    back(h).drop()
    h.answer(REFUSE)
    assert.deepStrictEqual([...(h.session("a")?.subscriptions.keys() ?? [])], ["t"])
  })
})

describe("a shared subscription", () => {
  it("is asked about with the filter inside of it (known failure 20)", () => {
    const h = new CoreHarness()
    h.install("subscribe")
    ready(h, "a", { version: 5 }).subscribe("$share/g/#")
    assert.deepInclude(h.questions[0], { topicFilter: "$share/g/#", filter: "#", shareName: "g" })
  })
})
