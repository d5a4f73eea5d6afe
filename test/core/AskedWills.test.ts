/**
 * A will while the publish hook decides about it: a crash in between does not lose it, and it is never published twice.
 */
import { assert, describe, it } from "@effect/vitest"
import { CoreHarness } from "./CoreHarness.ts"
import { assertForgotten } from "./support/Clients.ts"
import type { ConnectOptions, TestClient } from "./TestClient.ts"

const ACCEPT = { reasonCode: 0 }
const REFUSE = { reasonCode: 0x87 }

const will = (willDelayInterval = 0): ConnectOptions["will"] => ({
  topic: "w",
  payload: new TextEncoder().encode("bye"),
  qos: 2,
  retain: false,
  properties: { willDelayInterval }
})

const kept: ConnectOptions = { version: 5, clean: false, expiry: 60 }

/** A broker that asks about messages, with a durable subscriber that is away and a client that has a will. */
const begun = (options: ConnectOptions = {}): { h: CoreHarness; client: TestClient } => {
  const h = new CoreHarness({ store: "on-time" })
  h.connectDurable("watcher", "w").drop()
  h.install("publish")
  const client = h.connect("c", { ...kept, will: will(), ...options })
  h.answer(ACCEPT)
  assert.deepStrictEqual(client.takeWords(), ["ConnAck 0"])
  return { h, client }
}

/** Another life of the broker, long enough for whatever is due. */
const restart = (h: CoreHarness): void => {
  h.crash()
  h.install("publish")
  h.advance(1_000)
}

const stages = (h: CoreHarness): ReadonlyArray<string> =>
  h.questions.map((question) => (question._tag === "Publish" ? question.stage : question._tag))

const queued = (h: CoreHarness): number => h.session("watcher")?.queue.length ?? 0

describe("a will that a hook decides about", () => {
  it("is asked about again after a crash, until there is an answer, and published once", () => {
    const { client, h } = begun()
    client.drop()
    for (let life = 0; life < 3; life++) {
      assert.deepStrictEqual(stages(h), ["will"])
      assert.strictEqual(queued(h), 0)
      restart(h)
    }
    h.answer(ACCEPT)
    assert.strictEqual(queued(h), 1)
    restart(h)
    assert.deepStrictEqual(stages(h), [])
    assert.strictEqual(queued(h), 1)
    assert.isDefined(h.session("c"))
  })

  it("leaves the store in the batch that routes it", () => {
    const h = new CoreHarness({ store: "manual" })
    h.connectDurable("watcher", "w").drop()
    h.install("publish")
    const client = h.connect("c", { ...kept, will: will() })
    h.answer(ACCEPT)
    client.drop()
    h.commit()
    h.answer(ACCEPT)
    assert.deepStrictEqual(h.store.waitingTags, ["PutOutgoing", "PutSession"])
    assert.strictEqual(h.store.waiting, 1)
  })

  it("is refused once and for all", () => {
    const { client, h } = begun()
    client.drop()
    h.answer(REFUSE)
    restart(h)
    assert.deepStrictEqual(stages(h), [])
    assert.strictEqual(queued(h), 0)
  })

  it("is asked about once, also when its delay or its session ends meanwhile", () => {
    const { client, h } = begun({ will: will(10) })
    client.drop()
    h.advance(11_000)
    assert.deepStrictEqual(stages(h), ["will"])
    h.advance(100_000)
    assert.deepStrictEqual(stages(h), ["will"])
    assert.isUndefined(h.session("c"))
    restart(h)
    assert.deepStrictEqual(stages(h), ["will"])
    h.answer(ACCEPT)
    assert.strictEqual(queued(h), 1)
    assert.isFalse(h.store.memory.sessions.has("c"))
  })

  it("outlives its session, and nothing else of it does", () => {
    for (const answer of [ACCEPT, REFUSE]) {
      const { client, h } = begun()
      client.subscribe("own")
      client.send({ _tag: "Disconnect", reasonCode: 4, properties: { sessionExpiryInterval: 0 } })
      assert.isUndefined(h.session("c"))
      restart(h)
      assert.deepStrictEqual(stages(h), ["will"])
      assert.isUndefined(h.session("c"))
      assert.strictEqual(h.core.subscriptionCount, 1)
      h.answer(answer)
      restart(h)
      assert.deepStrictEqual(stages(h), [])
      assert.strictEqual(queued(h), answer === ACCEPT ? 1 : 0)
      assert.isFalse(h.store.memory.sessions.has("c"))
    }
  })

  it("is published after a crash where no hook asks any more, also when its client comes first", () => {
    const { client, h } = begun()
    client.send({ _tag: "Disconnect", reasonCode: 4, properties: { sessionExpiryInterval: 0 } })
    h.crash()
    const again = h.connect("c", kept)
    h.advance(0)
    assert.strictEqual(queued(h), 1)
    assert.deepStrictEqual(again.takeWords(), ["ConnAck 0"])
  })
})

describe("a client whose former will is asked about", () => {
  const ways: ReadonlyArray<readonly [name: string, options: ConnectOptions]> = [
    ["that comes back", kept],
    ["with a will again", { ...kept, will: will() }],
    ["that begins anew", { ...kept, clean: true }],
    ["that has a session for its connection only", {}]
  ]
  for (const [name, options] of ways) {
    it(`${name} is accepted after the answer, and no will is lost`, () => {
      const { client, h } = begun({ will: will(30) })
      const resumes = options.clean === false
      client.drop()
      // To begin anew ends the former session, and so its will's delay.
      if (resumes) h.advance(31_000)
      const again = h.connect("c", options)
      if (options.will !== undefined) h.answer(ACCEPT, h.questions[1]) // about the new one
      assert.deepStrictEqual(stages(h), ["will"])
      again.publish("t", "early")
      assert.deepStrictEqual(again.take(), [])
      h.answer(ACCEPT)
      assert.deepStrictEqual(again.takeWords(), [resumes ? "ConnAck 0 present" : "ConnAck 0"])
      // What it sent early is handled now.
      assert.deepStrictEqual(stages(h), ["publish"])
      assert.strictEqual(queued(h), 1)
      restart(h)
      assert.deepStrictEqual(stages(h), options.will === undefined ? [] : ["will"])
      assert.strictEqual(queued(h), 1)
    })
  }

  it("waits too when it takes over; whoever is gone by then is not accepted", () => {
    const { client, h } = begun()
    const gone = h.connect("c", kept)
    assert.isTrue(client.closed)
    const second = h.connect("c", kept)
    gone.drop()
    const last = h.connect("c", kept)
    assert.deepStrictEqual([...second.take(), ...last.take()], [])
    assert.deepStrictEqual(stages(h), ["will"])
    h.answer(ACCEPT)
    // The last took over before the store had what the CONNACK of the second says.
    assert.deepStrictEqual(second.take(), [])
    assert.isTrue(second.closed)
    assert.deepStrictEqual(last.takeWords(), ["ConnAck 0 present"])
    last.disconnect()
    h.advance(100_000)
    h.connect("watcher", { clean: true }).disconnect()
    assertForgotten(h)
  })

  it("has the session that is put in its place, in the store too", () => {
    const { client, h } = begun()
    client.send({ _tag: "Disconnect", reasonCode: 4, properties: { sessionExpiryInterval: 0 } })
    const image = { clientId: "c", userName: "", expirySeconds: 60, subscriptions: [], incoming: [], outgoing: [] }
    assert.isUndefined(h.core.loadSession({ ...image, will: undefined }, h.now))
    h.answer(ACCEPT)
    assert.strictEqual(queued(h), 1)
    restart(h)
    assert.deepStrictEqual(stages(h), [])
    assert.deepStrictEqual(h.connect("c", kept).takeWords(), ["ConnAck 0 present"])
  })

  it("of a session that another is put in place of keeps nothing of it in the store", () => {
    const { client, h } = begun()
    client.subscribe("t")
    client.drop()
    h.core.publish({ topic: "t", payload: Uint8Array.of(1), qos: 1, retain: false, properties: undefined }, h.now)
    h.settle()
    assert.deepStrictEqual(stages(h), ["will"])
    assert.strictEqual(h.session("c")?.queue.length, 1)
    const image = { clientId: "c", userName: "", expirySeconds: 60, subscriptions: [], incoming: [], outgoing: [] }
    assert.isUndefined(h.core.loadSession({ ...image, will: undefined }, h.now))
    h.answer(ACCEPT)
    restart(h)
    assert.strictEqual(h.session("c")?.queue.length, 0)
    assert.strictEqual(h.session("c")?.subscriptions.size, 0)
  })

  it("waits for the next answer when that about its own is of no use any more", () => {
    const { client, h } = begun()
    client.drop()
    const again = h.connect("c", kept)
    const image = { clientId: "c", userName: "", expirySeconds: 60, subscriptions: [], incoming: [], outgoing: [] }
    const { properties: _, ...message } = will()!
    const late = { ...message, messageId: 1, properties: undefined, receivedAt: h.now, expiresAt: 0, delaySeconds: 1 }
    assert.isUndefined(h.core.loadSession({ ...image, will: late }, h.now))
    h.settle()
    h.advance(2_000)
    assert.deepStrictEqual(stages(h), ["will", "will"])
    h.answer(ACCEPT)
    h.answer(ACCEPT)
    assert.deepStrictEqual(again.takeWords(), ["ConnAck 0 present"])
    assert.strictEqual(queued(h), 2)
  })

  it("need not wait where nothing is kept", () => {
    const h = new CoreHarness()
    h.install("publish")
    const client = h.connect("c", { ...kept, will: will() })
    h.answer(ACCEPT)
    client.drop()
    assert.deepStrictEqual(h.connect("c", kept).takeWords(), ["ConnAck 0 present"])
    assert.deepStrictEqual(stages(h), ["will"])
  })
})
