/**
 * Retained messages whose publisher may have lost its rights: the publish hook is asked again before a new subscription
 * gets one (known failure 15).
 */
import { assert, describe, it } from "@effect/vitest"
import type { PublishRequest } from "../../src/core/Question.ts"
import * as NaiveTopic from "../protocol/NaiveTopic.ts"
import { CoreHarness, type HarnessOptions } from "./CoreHarness.ts"
import { random } from "./Random.ts"
import { all, kept, only, ready, versions } from "./support/Clients.ts"
import type { TestClient } from "./TestClient.ts"

const ACCEPT = { reasonCode: 0 }
const REFUSE = { reasonCode: 0x87 }

/** A broker with retained messages of a client that has gone, whose hook is installed from now on. */
const holding = (topics: ReadonlyArray<string>, options: HarnessOptions = {}) => {
  const h = new CoreHarness({ store: "on-time", ...options })
  const publisher = ready(h, "p", { userName: "ann" })
  for (const topic of topics) publisher.publish(topic, topic, { qos: 1, retain: true })
  publisher.disconnect()
  h.install("publish")
  return h
}

const asked = (h: CoreHarness): ReadonlyArray<string> =>
  h.questions.map((question) => (question._tag === "Publish" ? `${question.stage} ${question.topic}` : question._tag))

/** Answers until nothing is asked; the topics that were, in their order. */
const answerAll = (h: CoreHarness, permits: (topic: string) => boolean): ReadonlyArray<string> => {
  const topics: Array<string> = []
  while (h.questions.length > 0) {
    assert.strictEqual(h.questions.length, 1)
    const { topic } = h.questions[0] as PublishRequest // the only hook there is
    topics.push(topic)
    h.answer(permits(topic) ? ACCEPT : REFUSE)
  }
  return topics
}

const payloads = (client: TestClient): ReadonlyArray<string> => client.takePayloads().sort()

const numbered = (count: number): ReadonlyArray<string> => Array.from({ length: count }, (_, index) => `t/${index}`)

describe("a retained message", () => {
  it("is asked about as what it is, with who published it, whatever has become of him (known failure 15)", () => {
    for (const version of versions) {
      const h = holding(["t"])
      const client = ready(h, "a", { version })
      client.subscribe("t")
      assert.strictEqual(only(client, "SubAck").reasonCodes[0], 2)
      assert.strictEqual(h.questions.length, 1)
      const { questionId: _, ...question } = h.questions[0] as PublishRequest
      assert.deepStrictEqual(question, {
        _tag: "Publish",
        stage: "retained",
        connectionId: "",
        clientId: "p",
        userName: "ann",
        topic: "t",
        payload: new TextEncoder().encode("t"),
        qos: 1,
        retain: true,
        properties: undefined
      })
      h.answer(ACCEPT)
      assert.deepInclude(only(client, "Publish"), { topic: "t", qos: 1, retain: true })
      assert.strictEqual(h.questions.length, 0)
    }
  })

  it("whose publisher lost its rights is not delivered, told, and still there (known failure 15)", () => {
    for (const restarted of [false, true]) {
      const h = holding(["t/open", "t/secret"], { events: ["PublishRefused"] })
      if (restarted) {
        h.crash()
        h.install("publish")
      }
      const client = ready(h, "a", { version: 5 })
      client.subscribe("t/#")
      only(client, "SubAck")
      assert.sameMembers([...answerAll(h, (topic) => topic === "t/open")], ["t/open", "t/secret"])
      assert.deepStrictEqual(client.takePayloads(), ["t/open"])
      assert.deepStrictEqual(h.takeEvents(), [
        {
          _tag: "PublishRefused",
          connectionId: "",
          clientId: "p",
          userName: "ann",
          stage: "retained",
          topic: "t/secret",
          qos: 1,
          retain: true,
          reasonCode: 0x87
        }
      ])
      assert.strictEqual(h.core.retained.size, 2)
    }
  })

  it("of a will, and of QoS 2, has a publisher too", () => {
    const h = new CoreHarness()
    h.install("publish")
    const will = { topic: "w", payload: new Uint8Array(1), qos: 0, retain: true, properties: undefined } as const
    const dying = h.connect("dying", { userName: "ann", will })
    h.answer(ACCEPT)
    dying.publish("two", "x", { qos: 2, packetId: 1, retain: true })
    h.answer(ACCEPT)
    dying.pubRel(1)
    h.answer(ACCEPT)
    dying.drop()
    h.answer(ACCEPT)
    const client = ready(h, "a")
    client.subscribe("#")
    for (const topic of ["w", "two"]) {
      assert.deepInclude(
        h.questions.find((question) => question._tag === "Publish"),
        { clientId: "dying", userName: "ann" },
        topic
      )
      h.answer(ACCEPT)
    }
    assert.strictEqual(all(client, "Publish").length, 2)
  })

  it("of this program is not asked about, nor one that a store kept without its origin", () => {
    const h = new CoreHarness({ store: "on-time" })
    h.core.publish({ topic: "local", payload: new Uint8Array(1), qos: 0, retain: true }, h.now)
    h.settle()
    const message = { messageId: 9, payload: new Uint8Array(1), qos: 0, retain: true, properties: undefined } as const
    h.core.restore(
      { _tag: "PutRetained", message: { ...message, topic: "old", receivedAt: h.now, expiresAt: 0 } },
      h.now
    )
    h.install("publish")
    const client = ready(h, "a")
    client.subscribe("#")
    assert.strictEqual(h.questions.length, 0)
    assert.sameMembers(
      all(client, "Publish").map(({ topic }) => topic),
      ["local", "old"]
    )
  })

  it("is not asked about without a hook, with the setting off, or for a shared subscription", () => {
    const off = holding(["t"], { config: { recheckRetained: false } })
    const trusting = ready(off, "a")
    trusting.subscribe("t")
    assert.deepStrictEqual([off.questions.length, all(trusting, "Publish").length], [0, 1])
    const h = holding(["t"])
    const shared = ready(h, "a", { version: 5 })
    shared.subscribe("$share/g/t")
    assert.strictEqual(h.questions.length, 0)
    h.core.installed.publish = false
    shared.subscribe("t")
    assert.deepStrictEqual([h.questions.length, all(shared, "Publish").length], [0, 1])
  })
})

describe("many of them", () => {
  it("are asked about one at a time, and nobody waits: not the client, not its neighbours", () => {
    const h = holding(numbered(1_000))
    const client = ready(h, "a", { version: 5 })
    client.subscribe("t/#")
    client.ping()
    assert.deepStrictEqual(client.takeWords(), ["SubAck 1 [2]", "PingResp"])
    assert.strictEqual(h.questions.length, 1)
    const other = ready(h, "b", { version: 5 })
    other.subscribe("t/7")
    only(other, "SubAck")
    assert.deepStrictEqual(asked(h).slice(1), ["retained t/7"])
    h.answer(ACCEPT, h.questions[1])
    assert.deepStrictEqual(other.takePayloads(), ["t/7"])
    assert.strictEqual(new Set(answerAll(h, (topic) => topic !== "t/3")).size, 1_000)
    assert.strictEqual(client.takePayloads().length, 999)
    assert.strictEqual(h.state.retainedWalks.size, 0)
  })

  it("follow the filters of one SUBSCRIBE in turn, each at the QoS and identifier of its own", () => {
    const h = holding(["a", "b"])
    const client = ready(h, "c", { version: 5 })
    client.subscribe({ filter: "b", qos: 0 }, { filter: "+", qos: 1 })
    only(client, "SubAck")
    answerAll(h, () => true)
    assert.sameMembers(client.takeWords(), [
      'Publish b "b" q0 retain',
      'Publish a "a" q1 #1 retain',
      'Publish b "b" q1 #2 retain'
    ])
  })

  it("that come while they are asked about come once, by themselves, and never an older one after a newer", () => {
    const h = holding(numbered(3))
    const client = ready(h, "a")
    client.subscribe("t/#")
    only(client, "SubAck")
    const first = (h.questions[0] as PublishRequest).topic
    const rest = numbered(3).filter((topic) => topic !== first)
    for (const topic of [first, rest[0]!, "t/new"]) {
      h.core.publish({ topic, payload: new TextEncoder().encode("newer"), qos: 0, retain: true }, h.now)
    }
    h.settle()
    assert.deepStrictEqual(client.takePayloads(), ["newer", "newer", "newer"])
    assert.deepStrictEqual(answerAll(h, () => true).slice(1), [rest[1]!])
    assert.deepStrictEqual(client.takePayloads(), [rest[1]!])
  })

  it("that are removed or expire while they are asked about do not come", () => {
    const h = new CoreHarness({ store: "on-time" })
    const publisher = ready(h, "p", { version: 5 })
    for (const topic of ["gone", "stale", "kept"]) {
      const properties = topic === "stale" ? { messageExpiryInterval: 10 } : undefined
      publisher.publish(topic, topic, { retain: true, ...(properties === undefined ? undefined : { properties }) })
    }
    h.install("publish")
    const client = ready(h, "a", { version: 5 })
    client.subscribe("gone", "stale", "kept")
    only(client, "SubAck")
    h.core.removeRetained("gone")
    h.advance(11_000)
    answerAll(h, () => true)
    assert.deepStrictEqual(client.takePayloads(), ["kept"])
  })

  it("stop when the client unsubscribes, and begin anew when it subscribes again", () => {
    const h = holding(numbered(3))
    const client = ready(h, "a")
    client.subscribe("t/#")
    h.answer(ACCEPT)
    assert.strictEqual(client.takePayloads().length, 1)
    client.unsubscribe("t/#")
    client.take()
    answerAll(h, () => true)
    assert.deepStrictEqual(client.take(), [])
    assert.strictEqual(h.state.retainedWalks.size, 0)
    client.subscribe("t/#")
    h.answer(ACCEPT)
    client.subscribe("t/#")
    answerAll(h, () => true)
    // The first of the round before, and then all of them.
    assert.deepStrictEqual(payloads(client), ["t/0", "t/0", "t/1", "t/2"])
  })

  it("go on for a session that outlives its connection, and end with one that does not", () => {
    for (const durable of [true, false]) {
      const h = holding(numbered(3))
      const options = durable ? kept(4) : {}
      const client = ready(h, "a", options)
      client.subscribe("t/#")
      client.drop()
      assert.strictEqual(answerAll(h, () => true).length, durable ? 3 : 1)
      assert.strictEqual(h.state.retainedWalks.size, 0)
      if (!durable) continue
      assert.deepStrictEqual(payloads(h.connect("a", options)), [...numbered(3)])
    }
  })

  it("cannot be made to pile up by a client that subscribes and unsubscribes, or comes and goes", () => {
    const h = holding(numbered(3))
    for (let round = 0; round < 100; round++) {
      const client = ready(h, "a", kept(4))
      client.subscribe("t/#", `t/${round}`)
      client.unsubscribe(`t/${round}`)
      client.drop()
    }
    assert.strictEqual(h.questions.length, 1)
    const [walk] = h.state.retainedWalks.values()
    assert.isAtMost(walk!.pending.size, 1)
  })

  it("are bounded in bytes with their publishers' names, and come back from the store with them", () => {
    const name = "n".repeat(10_000)
    const h = new CoreHarness({ store: "on-time", config: { retainedBytesMax: 25_000 } })
    const publisher = ready(h, "p", { userName: name })
    for (const topic of ["a", "b", "c"]) publisher.publish(topic, "x", { qos: 1, retain: true })
    assert.strictEqual(h.core.retained.size, 2)
    // On their way to the store they count as well.
    const manual = new CoreHarness({ store: "manual" })
    ready(manual, "p", { userName: name }).publish("a", "x", { retain: true })
    assert.isAbove(manual.core.journal.bytes, name.length)
    const { retainedBytes } = h.state
    h.crash()
    assert.strictEqual(h.state.retainedBytes, retainedBytes)
    for (const topic of ["a", "b"]) h.core.removeRetained(topic)
    assert.strictEqual(h.state.retainedBytes, 0)
  })
})

describe("whatever happens in whatever order", () => {
  const TOPICS = ["a", "b", "s/1", "s/2", "t/1", "t/2"]
  const FILTERS = ["#", "a", "s/#", "t/+", "+"]
  /** Of these, the publisher has lost its rights. */
  const isRefused = (topic: string): boolean => topic.startsWith("s/")

  const play = (seed: number): void => {
    const next = random(seed)
    const h = new CoreHarness({ store: next(2) === 0 ? "on-time" : "none" })
    h.install("publish")
    const publisher = ready(h, "p", { version: 5 })
    const reader = ready(h, "r", { version: 5 })
    const filters = new Set<string>()
    const newest = new Map<string, number>()
    let published = 0
    const answer = (): void => {
      const question = h.questions[next(h.questions.length)] as PublishRequest | undefined // there is no other hook
      if (question === undefined) return
      h.answer(question.stage === "retained" && isRefused(question.topic) ? REFUSE : ACCEPT, question)
    }
    const look = (): void => {
      for (const { payload, retain, topic } of all(reader, "Publish")) {
        const number = Number(new TextDecoder().decode(payload))
        assert.isFalse(retain && isRefused(topic), `${topic} came from its store`)
        assert.isAtLeast(number, newest.get(topic) ?? 0, `an older message of ${topic} came after a newer one`)
        newest.set(topic, number)
      }
    }
    for (let step = 0; step < 60; step++) {
      const topic = TOPICS[next(TOPICS.length)]!
      const filter = FILTERS[next(FILTERS.length)]!
      const choice = next(10)
      if (choice < 4) publisher.publish(topic, String(++published), { retain: true })
      else if (choice === 4) h.core.removeRetained(topic)
      else if (choice === 5) {
        reader.unsubscribe(filter)
        filters.delete(filter)
      } else if (choice < 8) {
        reader.subscribe({ filter, qos: 0 })
        filters.add(filter)
      } else answer()
      look()
    }
    while (h.questions.length > 0) answer()
    look()
    for (const [topic, { payload }] of h.core.retained.entries()) {
      const isSubscribed = [...filters].some((filter) => NaiveTopic.matches(filter, topic))
      if (!isSubscribed || isRefused(topic)) continue
      assert.strictEqual(newest.get(topic), Number(new TextDecoder().decode(payload)), topic)
    }
    assert.strictEqual(h.state.retainedWalks.size, 0)
  }

  it("nothing refused comes, nothing older after something newer, and what is permitted comes", () => {
    for (let seed = 1; seed <= 300; seed++) play(seed)
  })
})
