/**
 * A session saved in every state of a QoS 1 and a QoS 2 exchange, loaded into a new broker: the exchange is completed
 * there, and everybody gets each message as often as its QoS says.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as SessionImage from "../../src/core/SessionImage.ts"
import * as SessionJson from "../../src/storage/SessionJson.ts"
import { CoreHarness, type HarnessOptions } from "./CoreHarness.ts"
import { kept, ready, subscriber } from "./support/Clients.ts"
import type { TestClient } from "./TestClient.ts"

const limits = {
  charactersMax: 1_000_000,
  topicLevelsMax: 200,
  subscriptionsPerSessionMax: 1_000,
  queueMessagesMax: 1_000,
  userPropertiesMax: 100
}

/** Through its JSON, as between two processes. */
const carried = Effect.fnUntraced(function* (from: CoreHarness, clientId: string) {
  const image = from.core.sessionImage(clientId, [], from.now)
  assert.isDefined(image)
  const json = yield* SessionJson.encode(image, limits)
  return { json, image: yield* SessionJson.decode(json, limits, from.now) }
})

const load = (to: CoreHarness, image: SessionImage.SessionImage): void => {
  assert.isUndefined(to.core.loadSession(image, to.now))
  to.settle()
}

type Direction = "IncomingMessages" | "OutgoingMessages"
interface Field {
  readonly State: number
  readonly DUP: boolean
  readonly PacketId: number
  readonly QoS: number
}

const messagesOf = (json: string, direction: Direction): ReadonlyArray<Field> =>
  (JSON.parse(json) as Record<Direction, ReadonlyArray<Field>>)[direction]

/** A subscriber of "t" that is brought to a state of an outgoing exchange, and how it goes on at the new broker. */
interface Case {
  readonly state: number
  readonly qos: 1 | 2
  readonly reach: (harness: CoreHarness, client: TestClient) => void
  /** What the new broker sends behind its CONNACK. */
  readonly sent: string
  readonly answer: (client: TestClient) => void
}

const acknowledge = (client: TestClient): void => client.pubAck(1)

const receive = (client: TestClient): void => {
  client.pubRec(1)
  assert.deepStrictEqual(client.takeWords(), ["PubRel 1"])
  client.pubComp(1)
}

const complete = (client: TestClient): void => client.pubComp(1)

const drop = (_: CoreHarness, client: TestClient): void => client.drop()
const nothing = (): void => {}

const outgoing: ReadonlyArray<Case> = [
  { state: 1, qos: 1, reach: drop, sent: 'Publish t "x" q1 #1', answer: acknowledge },
  { state: 1, qos: 2, reach: drop, sent: 'Publish t "x" q2 #1', answer: receive },
  { state: 2, qos: 1, reach: nothing, sent: 'Publish t "x" q1 #1 dup', answer: acknowledge },
  { state: 3, qos: 2, reach: nothing, sent: 'Publish t "x" q2 #1 dup', answer: receive },
  { state: 4, qos: 2, reach: (_, client) => client.pubRec(1), sent: "PubRel 1", answer: complete },
  {
    state: 5,
    qos: 2,
    reach: (harness, client) => {
      client.pubRec(1)
      harness.commit()
    },
    sent: "PubRel 1",
    answer: complete
  }
]

const stores: ReadonlyArray<HarnessOptions> = [{}, { store: "on-time" }]

describe("a session saved with an outgoing message", () => {
  for (const { answer, qos, reach, sent, state } of outgoing) {
    it.effect(`at QoS ${qos} in state ${state} completes on a new broker`, () =>
      Effect.gen(function* () {
        for (const options of stores) {
          const from = new CoreHarness({ store: "manual" })
          const client = from.connectDurable("a", "t")
          const publisher = ready(from, "p")
          if (state === 1) reach(from, client)
          const packetId = publisher.publish("t", "x", { qos })
          if (qos === 2) publisher.pubRel(packetId)
          from.commit()
          if (state !== 1) reach(from, client)
          const { image, json } = yield* carried(from, "a")
          const [saved] = messagesOf(json, "OutgoingMessages")
          assert.deepInclude(saved, { State: state, QoS: qos, DUP: false, PacketId: state === 1 ? -1 : 1 })

          const to = new CoreHarness(options)
          load(to, image)
          const again = to.connect("a", { clean: false })
          assert.deepStrictEqual(again.takeWords(), ["ConnAck 0 present", sent])
          answer(again)
          assert.deepStrictEqual(again.take(), [])
          again.drop()
          assert.deepStrictEqual(to.connect("a", { clean: false }).takeWords(), ["ConnAck 0 present"])
        }
      })
    )
  }

  it.effect("says DUP once it was sent again, and keeps it", () =>
    Effect.gen(function* () {
      const from = new CoreHarness()
      subscriber(from, "a", kept(4), "t")
      const publisher = ready(from, "p")
      publisher.publish("t", "first", { qos: 1 })
      from.clients[0]!.drop()
      from.connect("a", { clean: false })
      publisher.publish("t", "second", { qos: 1 })
      const { image, json } = yield* carried(from, "a")
      const to = new CoreHarness()
      load(to, image)
      const twice = yield* carried(to, "a")
      for (const document of [json, twice.json]) {
        assert.deepStrictEqual(
          messagesOf(document, "OutgoingMessages").map(({ DUP }) => DUP),
          [true, false]
        )
      }
      assert.strictEqual(twice.json, json)
    })
  )
})

/** A publisher with a session, and what of "t" the new broker's subscriber gets after the client has finished. */
interface IncomingCase {
  readonly state: number
  readonly qos: 1 | 2
  readonly reach: (harness: CoreHarness, client: TestClient) => void
  readonly finish: (client: TestClient) => void
  readonly routedBefore: number
}

const publishAtQos1 = (client: TestClient): void => {
  client.publish("t", "x", { qos: 1, packetId: 7, dup: true })
  assert.deepStrictEqual(client.takeWords(), ["PubAck 7"])
}

const publishAgain = (client: TestClient): void => {
  client.publish("t", "x", { qos: 2, packetId: 7, dup: true })
  assert.deepStrictEqual(client.takeWords(), ["PubRec 7"])
  client.pubRel(7)
  assert.deepStrictEqual(client.takeWords(), ["PubComp 7"])
}

const releaseAgain = (client: TestClient): void => {
  client.pubRel(7)
  assert.deepStrictEqual(client.takeWords(), ["PubComp 7"])
}

const commit = (harness: CoreHarness): void => harness.commit()

const incoming: ReadonlyArray<IncomingCase> = [
  // Routed when it came, and again when its client sends it again: QoS 1 says at least once.
  { state: 6, qos: 1, reach: nothing, finish: publishAtQos1, routedBefore: 1 },
  { state: 7, qos: 2, reach: nothing, finish: publishAgain, routedBefore: 0 },
  { state: 8, qos: 2, reach: commit, finish: publishAgain, routedBefore: 0 },
  { state: 8, qos: 2, reach: commit, finish: releaseAgain, routedBefore: 0 },
  {
    state: 9,
    qos: 2,
    reach: (harness, client) => {
      harness.commit()
      client.pubRel(7)
    },
    finish: releaseAgain,
    routedBefore: 1
  }
]

describe("a session saved with an incoming message", () => {
  for (const { finish, qos, reach, routedBefore, state } of incoming) {
    it.effect(`at QoS ${qos} in state ${state} completes on a new broker, by ${finish.name}`, () =>
      Effect.gen(function* () {
        for (const options of stores) {
          const from = new CoreHarness({ store: "manual" })
          const watcher = from.connectDurable("w", "t")
          const client = from.connectDurable("a")
          client.publish("t", "x", { qos, packetId: 7 })
          reach(from, client)
          const { image, json } = yield* carried(from, "a")
          const saved = messagesOf(json, "IncomingMessages")
          if (qos === 1) assert.deepStrictEqual(saved, [])
          else assert.deepInclude(saved[0], { State: state, QoS: 2, DUP: false, PacketId: 7 })
          from.commit()
          assert.strictEqual(watcher.takePayloads().length, routedBefore)

          const to = new CoreHarness(options)
          const other = subscriber(to, "w", {}, "t")
          load(to, image)
          const again = to.connect("a", { clean: false })
          assert.deepStrictEqual(again.takeWords(), ["ConnAck 0 present"])
          finish(again)
          const routed = other.takePayloads().length + (qos === 1 ? 0 : routedBefore)
          assert.strictEqual(routed, 1)
          assert.strictEqual(to.session("a")?.incomingSize, 0)
        }
      })
    )
  }
})

describe("loading", () => {
  const saved = Effect.fnUntraced(function* (version: 3 | 4 | 5) {
    const from = new CoreHarness()
    const client = subscriber(from, "a", { ...kept(version), userName: "ann" }, { filter: "t/#", qos: 2 })
    client.drop()
    ready(from, "p").publish("t/1", "one", { qos: 1 })
    return (yield* carried(from, "a")).image
  })

  it.effect("is refused for a connected client, whose session stays as it was", () =>
    Effect.gen(function* () {
      const image = yield* saved(4)
      const to = new CoreHarness({ events: ["SessionRemoved"] })
      const client = subscriber(to, "a", kept(4), "u")
      assert.strictEqual(to.core.loadSession(image, to.now), "connected")
      client.publish("u", "x")
      assert.deepStrictEqual(client.takePayloads(), ["x"])
      assert.deepStrictEqual(to.takeEvents(), [])
    })
  )

  it.effect("replaces the session of a client that is away, subscriptions and all", () =>
    Effect.gen(function* () {
      const to = new CoreHarness({ events: ["SessionRemoved"], store: "on-time" })
      subscriber(to, "a", { ...kept(4), userName: "ann" }, "u").drop()
      const publisher = ready(to, "p")
      publisher.publish("u", "old", { qos: 1 })
      load(to, yield* saved(4))
      assert.deepStrictEqual(
        to.takeEvents().map((event) => `${event._tag} ${"clientId" in event ? event.clientId : ""}`),
        ["SessionRemoved a"]
      )
      publisher.publish("u", "not subscribed any more", { qos: 1 })
      publisher.publish("t/2", "two", { qos: 1 })
      const again = to.connect("a", { ...kept(4), userName: "ann" })
      assert.deepStrictEqual(again.takePayloads(), ["one", "two"])
      to.crash()
      assert.deepStrictEqual([...(to.session("a")?.subscriptions.keys() ?? [])], ["t/#"])
    })
  )

  it.effect("is one batch for the store: all of it survives a crash, or nothing", () =>
    Effect.gen(function* () {
      const to = new CoreHarness({ store: "manual" })
      load(to, yield* saved(4))
      assert.strictEqual(to.store.log.length, 1)
      const restarted = (applied: number) => {
        to.crash(applied)
        return to.session("a")?.queue.length
      }
      assert.strictEqual(restarted(1), 1)
    })
  )

  for (const [config, refusal] of [
    [{ sessionsMax: 1 }, "sessionsMax"],
    [{ sessionExpirySecondsMax: 0 }, "sessionExpirySecondsMax"],
    [{ subscriptionsPerSessionMax: 0 }, "subscriptionsPerSessionMax"],
    [{ queueMessagesMax: 0 }, "queueMessagesMax"],
    [{ queueBytesMax: 3 }, "queueBytesMax"]
  ] as const) {
    it.effect(`keeps to ${refusal}`, () =>
      Effect.gen(function* () {
        const to = new CoreHarness({ config })
        ready(to, "b")
        assert.strictEqual(to.core.loadSession(yield* saved(4), to.now), refusal)
        assert.isUndefined(to.session("a"))
      })
    )
  }

  it.effect("keeps to receiveMaximum, and is refused while the store takes nothing", () =>
    Effect.gen(function* () {
      const from = new CoreHarness()
      const client = ready(from, "a", kept(4))
      for (const packetId of [1, 2]) client.publish("t", "x", { qos: 2, packetId })
      const { image } = yield* carried(from, "a")
      const small = new CoreHarness({ config: { receiveMaximum: 1 } })
      assert.strictEqual(small.core.loadSession(image, small.now), "receiveMaximum")
      const full = new CoreHarness({ store: "manual" })
      full.storageState("full")
      assert.strictEqual(full.core.loadSession(image, full.now), "store")
      assert.deepStrictEqual(full.operations, [])
    })
  )

  it.effect("gives messages numbers that no other message has", () =>
    Effect.gen(function* () {
      const to = new CoreHarness()
      const client = ready(to, "p", kept(4))
      for (let packetId = 1; packetId <= 5; packetId++) client.publish("x", "x", { qos: 2, packetId })
      load(to, yield* saved(4))
      load(to, { ...(yield* saved(4)), clientId: "b" })
      const ids = ["p", "a", "b"].flatMap((clientId) => {
        const image = to.core.sessionImage(clientId, [], to.now)
        return [...(image?.incoming ?? []), ...(image?.outgoing ?? [])].map(({ messageId }) => messageId)
      })
      assert.strictEqual(new Set(ids).size, 7)
    })
  )

  it.effect("starts the expiry of the session when it is loaded", () =>
    Effect.gen(function* () {
      const from = new CoreHarness()
      ready(from, "a", { version: 5, clean: false, expiry: 60 }).drop()
      const { image } = yield* carried(from, "a")
      const to = new CoreHarness({ events: ["SessionRemoved"] })
      load(to, image)
      to.advance(59_000)
      assert.isDefined(to.session("a"))
      to.advance(1_200)
      assert.isUndefined(to.session("a"))
    })
  )

  it.effect("takes along a will that waits, with what is left of its delay", () =>
    Effect.gen(function* () {
      const from = new CoreHarness()
      const will = {
        topic: "w",
        payload: new Uint8Array([1, 2]),
        qos: 1,
        retain: false,
        properties: { willDelayInterval: 30, contentType: "x" }
      } as const
      ready(from, "a", { version: 5, clean: false, expiry: 600, will }).drop()
      from.advance(10_000)
      const { image } = yield* carried(from, "a")
      assert.deepInclude(image.will, { topic: "w", delaySeconds: 20, properties: { contentType: "x" } })
      const to = new CoreHarness()
      const watcher = subscriber(to, "w", {}, "w")
      load(to, image)
      to.advance(19_000)
      assert.deepStrictEqual(watcher.take(), [])
      to.advance(1_200)
      assert.strictEqual(watcher.takePayloads().length, 1)
    })
  )
})

describe("whose session it is", () => {
  it("another user name does not inherit it: not its messages, not its subscriptions (known failure 18)", () => {
    for (const version of [4, 5] as const) {
      const h = new CoreHarness({ events: ["SessionRemoved"] })
      subscriber(h, "a", { ...kept(version), userName: "ann" }, "t").drop()
      const publisher = ready(h, "p")
      publisher.publish("t", "secret", { qos: 1 })
      const bob = h.connect("a", { ...kept(version), userName: "bob" })
      assert.deepStrictEqual(bob.takeWords(), ["ConnAck 0"])
      assert.deepStrictEqual(
        h.takeEvents().map((event) => `${event._tag} ${"clientId" in event ? event.clientId : ""}`),
        ["SessionRemoved a"]
      )
      publisher.publish("t", "another", { qos: 1 })
      assert.deepStrictEqual(bob.take(), [])
      bob.drop()
      const anonymous = h.connect("a", kept(version))
      assert.deepStrictEqual(anonymous.takeWords(), ["ConnAck 0"])
    }
  })

  it("the user who made it resumes it, and so does anybody when that is configured", () => {
    const h = new CoreHarness()
    subscriber(h, "a", { ...kept(4), userName: "ann" }, "t").drop()
    const ann = h.connect("a", { ...kept(4), userName: "ann" })
    assert.deepStrictEqual(ann.takeWords(), ["ConnAck 0 present"])
    const loose = new CoreHarness({ config: { sessionsBoundToUserNames: false } })
    subscriber(loose, "a", { ...kept(4), userName: "ann" }, "t").drop()
    const bob = loose.connect("a", { ...kept(4), userName: "bob" })
    assert.deepStrictEqual(bob.takeWords(), ["ConnAck 0 present"])
  })

  it.effect("a loaded one keeps its user, and without one is the first client's that comes, also after a restart", () =>
    Effect.gen(function* () {
      const from = new CoreHarness()
      subscriber(from, "a", { ...kept(4), userName: "ann" }, "t").drop()
      subscriber(from, "b", kept(4), "t").drop()
      const to = new CoreHarness({ store: "on-time" })
      load(to, (yield* carried(from, "a")).image)
      load(to, (yield* carried(from, "b")).image)
      to.crash()
      const wrong = to.connect("a", { ...kept(4), userName: "eve" })
      assert.deepStrictEqual(wrong.takeWords(), ["ConnAck 0"])
      const first = to.connect("b", { ...kept(4), userName: "bob" })
      assert.deepStrictEqual(first.takeWords(), ["ConnAck 0 present"])
      first.drop()
      const second = to.connect("b", { ...kept(4), userName: "eve" })
      assert.deepStrictEqual(second.takeWords(), ["ConnAck 0"])
    })
  )
})
