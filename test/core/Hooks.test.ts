/**
 * Questions to installed hooks: what is asked, who waits, what an answer does, and answers nobody needs any more.
 */
import { assert, describe, it } from "@effect/vitest"
import type { Question } from "../../src/core/Question.ts"
import { CoreHarness } from "./CoreHarness.ts"
import { all, assertForgotten, kept, only, ready, subscriber, versions } from "./support/Clients.ts"

const ACCEPT = { reasonCode: 0 }

/** The one open question, without its number. */
const asked = <T extends Question["_tag"]>(
  h: CoreHarness,
  tag: T
): Omit<Extract<Question, { readonly _tag: T }>, "questionId"> => {
  assert.strictEqual(h.questions.length, 1)
  const question = h.questions[0]!
  assert.isAbove(question.questionId, 0)
  assert.strictEqual(question._tag, tag)
  const { questionId: _, ...rest } = question as Extract<Question, { readonly _tag: T }> // its tag was just looked at
  return rest
}

describe("without hooks", () => {
  it("nothing is asked", () => {
    const h = new CoreHarness()
    const client = subscriber(h, "a", {}, "t")
    for (const qos of [0, 1, 2] as const) client.publish("t", "x", { qos })
    assert.strictEqual(h.questions.length, 0)
    assert.deepStrictEqual(client.readingChanges, [])
  })
})

describe("the session request", () => {
  it("says who wants in, and whether there is a session", () => {
    for (const version of versions) {
      const h = new CoreHarness()
      h.install("sessionRequest")
      const password = new Uint8Array([1, 2, 3])
      const client = h.connect("a", { ...kept(version), userName: "user", password })
      assert.deepStrictEqual(asked(h, "SessionRequest"), {
        _tag: "SessionRequest",
        connectionId: client.connection.id,
        clientId: "a",
        userName: "user",
        password,
        protocolVersion: version,
        isNew: false,
        sessionExists: false
      })
      h.answer(ACCEPT)
      client.drop()
      h.connect("a", { version, clean: true })
      const question = asked(h, "SessionRequest")
      assert.deepInclude(question, { userName: "", password: undefined, isNew: true, sessionExists: true })
    }
  })

  it("gives names as they were sent, to who would make a topic filter of them (known failure 17)", () => {
    const h = new CoreHarness()
    h.install("sessionRequest", "publish", "subscribe")
    const client = h.connect("+/#", { version: 5, userName: "a/../#" })
    const names = { clientId: "+/#", userName: "a/../#" }
    assert.deepInclude(asked(h, "SessionRequest"), names)
    h.answer(ACCEPT)
    client.publish("t", "x")
    assert.deepInclude(asked(h, "Publish"), names)
    h.answer(ACCEPT)
    client.subscribe("t")
    assert.deepInclude(asked(h, "Subscribe"), names)
  })

  it("knows the assigned client identifier", () => {
    const h = new CoreHarness()
    h.install("sessionRequest")
    const client = h.connect("", { version: 5 })
    const question = asked(h, "SessionRequest")
    h.answer(ACCEPT)
    const assigned = only(client, "ConnAck").properties?.assignedClientIdentifier
    assert.strictEqual(question.clientId, assigned)
  })

  it("refuses with the code of the answer, in the words of each version", () => {
    for (const [code, older] of [
      [0x86, 0x86], // return code 4
      [0x87, 0x87], // 5
      [0x85, 0x85], // 2
      [0x89, 0x88], // 3
      [0x8a, 0x87],
      [0x9f, 0x88]
    ] as const) {
      for (const version of versions) {
        const h = new CoreHarness()
        h.install("sessionRequest")
        const client = h.connect("a", { version })
        h.answer({ reasonCode: code })
        const connAck = only(client, "ConnAck")
        assert.strictEqual(connAck.reasonCode, version === 5 ? code : older)
        assert.isFalse(connAck.sessionPresent)
        assert.isTrue(client.closed)
        assertForgotten(h)
      }
    }
  })

  it("that is answered with a code CONNACK does not have becomes unspecified", () => {
    const h = new CoreHarness()
    h.install("sessionRequest")
    const client = h.connect("a", { version: 5 })
    h.answer({ reasonCode: 0x8e })
    assert.strictEqual(only(client, "ConnAck").reasonCode, 0x80)
  })

  it("that is refused does not touch the session, its owner or its will", () => {
    const h = new CoreHarness()
    const owner = subscriber(h, "a", kept(4), "t")
    h.install("sessionRequest")
    const thief = h.connect("a", { clean: true })
    h.answer({ reasonCode: 0x87 })
    assert.isTrue(thief.closed)
    assert.isFalse(owner.closed)
    owner.publish("t", "x")
    assert.deepStrictEqual(owner.takePayloads(), ["x"])
  })

  it("is made before anything else the client sent is looked at", () => {
    const h = new CoreHarness()
    const watcher = subscriber(h, "w", {}, "t")
    h.install("sessionRequest")
    const client = h.open()
    h.together(() => {
      client.connect("a")
      client.subscribe("u")
      client.publish("t", "x")
      client.ping()
    })
    assert.isFalse(client.connection.reading)
    h.advance(60_000) // the connect timeout is over: the answer has a limit of its own
    assert.deepStrictEqual(client.take(), [])
    assert.deepStrictEqual(watcher.take(), [])
    h.answer(ACCEPT)
    assert.deepStrictEqual(client.takeWords(), ["ConnAck 0", "SubAck 1 [2]", "PingResp"])
    assert.deepStrictEqual(watcher.takePayloads(), ["x"])
    assert.isTrue(client.connection.reading)
  })

  it("does not let more in than there is room for, however many were asked about (known failure 6)", () => {
    const h = new CoreHarness({ config: { sessionsMax: 2 } })
    h.install("sessionRequest")
    const clients = ["a", "b", "c", "d"].map((id) => h.connect(id, { version: 5 }))
    for (const _ of clients) h.answer(ACCEPT)
    assert.deepStrictEqual(
      clients.map((client) => client.takeWords()),
      [["ConnAck 0"], ["ConnAck 0"], [`ConnAck ${0x97}`], [`ConnAck ${0x97}`]]
    )
    assert.strictEqual(h.core.sessions.size, 2)
  })

  it("starts keep alive when it is answered", () => {
    const h = new CoreHarness()
    h.install("sessionRequest")
    const client = h.connect("a", { version: 5, keepAliveSeconds: 4 })
    h.advance(100_000)
    h.answer(ACCEPT)
    h.advance(5_999)
    assert.isFalse(client.closed)
    h.advance(101)
    assert.deepStrictEqual(client.takeWords(), ["ConnAck 0", "Disconnect 0x8d"])
  })
})

describe("the subscribe request", () => {
  it("is made for each filter in turn, and the SUBACK has every answer", () => {
    const h = new CoreHarness()
    h.install("subscribe")
    const client = ready(h, "a", { version: 5, userName: "user" })
    client.subscribe({ filter: "one", qos: 1 }, "bad/#/filter", { filter: "two", qos: 2 }, "$share//x", "three")
    const who = { connectionId: client.connection.id, clientId: "a", userName: "user" }
    const rest = { _tag: "Subscribe", ...who, stage: "subscribe", shareName: "" } as const
    assert.deepStrictEqual(asked(h, "Subscribe"), { ...rest, topicFilter: "one", filter: "one", requestedQos: 1 })
    h.answer({ reasonCode: 1 })
    assert.deepStrictEqual(asked(h, "Subscribe"), { ...rest, topicFilter: "two", filter: "two", requestedQos: 2 })
    h.answer({ reasonCode: 0x87 })
    assert.deepStrictEqual(client.take(), [])
    assert.deepStrictEqual(asked(h, "Subscribe"), { ...rest, topicFilter: "three", filter: "three", requestedQos: 2 })
    h.answer({ reasonCode: 0 })
    assert.deepStrictEqual(only(client, "SubAck").reasonCodes, [1, 0x8f, 0x87, 0x8f, 0])
    for (const topic of ["one", "two", "three"]) client.publish(topic, topic)
    assert.deepStrictEqual(client.takePayloads(), ["one", "three"])
  })

  it("may be granted less, never more, and that is the QoS messages come at", () => {
    for (const version of versions) {
      for (const requested of [0, 1, 2] as const) {
        for (const granted of [0, 1, 2] as const) {
          const h = new CoreHarness()
          h.install("subscribe")
          const client = ready(h, "a", { version })
          client.subscribe({ filter: "t", qos: requested })
          h.answer({ reasonCode: granted })
          const expected = Math.min(requested, granted)
          assert.deepStrictEqual(client.takeWords(), [`SubAck 1 [${expected}]`])
          h.core.publish({ topic: "t", payload: new Uint8Array(1), qos: 2, retain: false }, h.now)
          h.settle()
          assert.strictEqual(only(client, "Publish").qos, expected)
        }
      }
    }
  })

  it("that is refused says 0x80 before 5.0, a SUBACK code in 5.0, and brings no retained messages", () => {
    for (const [version, code, told] of [
      [4, 0x87, 0x80],
      [5, 0x87, 0x87],
      [5, 0x8a, 0x80]
    ] as const) {
      const h = new CoreHarness()
      ready(h, "p").publish("t", "kept", { retain: true })
      h.install("subscribe")
      const client = ready(h, "a", { version })
      client.subscribe("t")
      h.answer({ reasonCode: code })
      assert.deepStrictEqual(client.takeWords(), [`SubAck 1 [${told}]`])
      assert.strictEqual(h.core.subscriptionCount, 0)
    }
  })
})

describe("the publish request", () => {
  it("has the whole message, and lets it through untouched", () => {
    const h = new CoreHarness()
    const watcher = subscriber(h, "w", { version: 5 }, "t")
    h.install("publish")
    const client = ready(h, "a", { version: 5, userName: "user" })
    const properties = { contentType: "text/plain", userProperties: [["a", "b"]] as const }
    client.publish("t", "x", { qos: 1, retain: true, properties })
    const question = asked(h, "Publish")
    assert.deepInclude(question, {
      _tag: "Publish",
      connectionId: client.connection.id,
      clientId: "a",
      userName: "user",
      topic: "t",
      qos: 1,
      retain: true
    })
    assert.deepInclude(question.properties, properties)
    assert.deepStrictEqual(watcher.take(), [])
    h.answer(ACCEPT)
    assert.deepStrictEqual(client.takeWords(), ["PubAck 1"])
    const publish = only(watcher, "Publish")
    assert.deepInclude(publish.properties, properties)
    assert.strictEqual(h.core.retained.size, 1)
  })

  it("that is refused is acknowledged, with the reason in 5.0, and goes nowhere", () => {
    for (const version of versions) {
      const h = new CoreHarness()
      const watcher = subscriber(h, "w", {}, "#")
      h.install("publish")
      const client = ready(h, "a", { version })
      const reason = version === 5 ? " 0x87" : ""
      client.publish("t", "x", { retain: true })
      h.answer({ reasonCode: 0x87 })
      assert.deepStrictEqual(client.take(), [])
      client.publish("t", "x", { qos: 1, packetId: 1, retain: true })
      h.answer({ reasonCode: 0x87 })
      assert.deepStrictEqual(client.takeWords(), [`PubAck 1${reason}`])
      client.publish("t", "x", { qos: 2, packetId: 2, retain: true })
      h.answer({ reasonCode: 0x87 })
      assert.deepStrictEqual(client.takeWords(), [`PubRec 2${reason}`])
      client.pubRel(2) // as an older client will
      client.take()
      client.publish("t", "allowed", { qos: 2, packetId: 2 })
      h.answer(ACCEPT)
      client.pubRel(2)
      h.answer(ACCEPT)
      assert.deepStrictEqual(client.takeWords(), ["PubRec 2", "PubComp 2"])
      assert.deepStrictEqual(watcher.takePayloads(), ["allowed"])
      assert.strictEqual(h.core.retained.size, 0)
    }
  })

  it("that is refused with a code of another packet becomes unspecified", () => {
    const h = new CoreHarness()
    h.install("publish")
    const client = ready(h, "a", { version: 5 })
    for (const qos of [1, 2] as const) {
      client.publish("t", "x", { qos })
      h.answer({ reasonCode: 0x8a })
    }
    assert.deepStrictEqual(client.takeWords(), ["PubAck 1 0x80", "PubRec 2 0x80"])
  })

  it("is made once for a QoS 2 message, not for its duplicates", () => {
    const h = new CoreHarness()
    h.install("publish")
    const client = ready(h, "a")
    client.publish("t", "x", { qos: 2, packetId: 1 })
    h.answer(ACCEPT)
    client.publish("t", "x", { qos: 2, packetId: 1, dup: true })
    assert.strictEqual(h.questions.length, 0)
    assert.deepStrictEqual(client.takeWords(), ["PubRec 1", "PubRec 1"])
  })

  it("is not made for in-process messages, nor for what is refused anyway", () => {
    const h = new CoreHarness()
    const watcher = subscriber(h, "w", {}, "#")
    h.install("publish")
    h.core.publish({ topic: "local", payload: new Uint8Array(0), qos: 0, retain: false }, h.now)
    h.settle()
    ready(h, "b").publish("$SYS/x", "x", { qos: 1 })
    assert.strictEqual(h.questions.length, 0)
    assert.strictEqual(watcher.takePayloads().length, 1)
  })
})

describe("while a question is open", () => {
  it("the client's packets wait in order, and nobody else does", () => {
    const h = new CoreHarness()
    const watcher = subscriber(h, "w", {}, "t")
    h.install("publish")
    const client = ready(h, "a", { version: 5 })
    const other = ready(h, "b", { version: 5 })
    client.send(
      client.publication("t", "one", { qos: 1, packetId: 1 }),
      client.publication("t", "two", { qos: 1, packetId: 2 }),
      { _tag: "PingReq" },
      client.publication("t", "three", { qos: 1, packetId: 3 })
    )
    other.publish("t", "other", { qos: 1 })
    assert.strictEqual(h.questions.length, 2)
    other.ping()
    assert.deepStrictEqual(other.take(), []) // waits too: for its own question
    h.answer(ACCEPT, h.questions[1])
    assert.deepStrictEqual(other.takeWords(), ["PubAck 1", "PingResp"])
    h.answer({ reasonCode: 0x87 })
    assert.deepStrictEqual(client.takeWords(), ["PubAck 1 0x87"])
    h.answer(ACCEPT)
    assert.deepStrictEqual(client.takeWords(), ["PubAck 2", "PingResp"])
    h.answer(ACCEPT)
    assert.deepStrictEqual(client.takeWords(), ["PubAck 3"])
    assert.deepStrictEqual(watcher.takePayloads(), ["other", "two", "three"])
    assert.strictEqual(client.connection.reading, true)
  })

  it("messages reach the client that waits", () => {
    const h = new CoreHarness()
    const client = subscriber(h, "a", {}, "t")
    h.install("publish")
    client.publish("u", "x")
    h.core.publish({ topic: "t", payload: new Uint8Array([65]), qos: 1, retain: false }, h.now)
    h.settle()
    assert.deepStrictEqual(client.takePayloads(), ["A"])
  })

  it("keep alive and idle time stand still, and begin anew with the answer", () => {
    for (const config of [{}, { idleTimeoutSeconds: 6 }]) {
      const h = new CoreHarness({ config })
      h.install("publish")
      const keepAliveSeconds = "idleTimeoutSeconds" in config ? 0 : 4 // 6 s either way
      const client = ready(h, "a", { version: 5, keepAliveSeconds })
      client.publish("t", "x")
      h.advance(100_000)
      assert.isFalse(client.closed)
      h.answer(ACCEPT)
      h.advance(5_999)
      assert.isFalse(client.closed)
      h.advance(101)
      assert.isTrue(client.closed)
    }
  })
})

describe("an answer that comes too late", () => {
  it("does nothing, whatever ended the connection", () => {
    for (const hook of ["sessionRequest", "subscribe", "publish"] as const) {
      for (const end of ["drop", "disconnect", "shutdown"] as const) {
        const h = new CoreHarness()
        const watcher = subscriber(h, "w", {}, "#")
        const options = { will: undefined }
        const client = hook === "sessionRequest" ? h.open() : ready(h, "a", options)
        h.install(hook)
        if (hook === "sessionRequest") client.connect("a")
        else if (hook === "subscribe") client.subscribe("t")
        else client.publish("t", "x", { qos: 1, retain: true })
        assert.strictEqual(h.questions.length, 1)
        if (end === "drop") client.drop()
        else if (end === "disconnect") h.core.disconnect(client.connection, 0x98, h.now)
        else h.core.shutdown(h.now)
        h.settle()
        assert.isTrue(client.closed)
        h.answer(ACCEPT)
        assert.deepStrictEqual(client.take(), [])
        assert.deepStrictEqual(watcher.take(), [])
        assert.isFalse(h.core.sessions.has("a"))
        assert.strictEqual(h.core.retained.size, 0)
        watcher.drop()
        assertForgotten(h)
      }
    }
  })

  it("does nothing for the connection that took over", () => {
    const h = new CoreHarness()
    h.install("subscribe")
    const old = ready(h, "a", kept(4))
    old.subscribe("t")
    const young = ready(h, "a", kept(4))
    h.answer({ reasonCode: 2 })
    assert.deepStrictEqual(young.take(), [])
    assert.strictEqual(h.core.subscriptionCount, 0)
  })

  it("does nothing the second time, nor for a question that was never asked", () => {
    const h = new CoreHarness()
    h.install("publish")
    const client = ready(h, "a")
    client.publish("t", "x", { qos: 1 })
    const question = h.questions[0]!
    h.answer(ACCEPT)
    h.core.answered(question.questionId, ACCEPT, h.now)
    h.core.answered(0, ACCEPT, h.now)
    h.core.answered(99_999, ACCEPT, h.now)
    h.settle()
    assert.strictEqual(all(client, "PubAck").length, 1)
  })
})
