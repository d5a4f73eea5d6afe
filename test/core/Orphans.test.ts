/**
 * Sessions that end with messages of shared subscriptions that only the store has: who gets them, whatever happens
 * meanwhile.
 */
import { assert, describe, it } from "@effect/vitest"
import type { CoreConfig } from "../../src/core/CoreConfig.ts"
import { CoreHarness } from "./CoreHarness.ts"
import { all, kept, ready, subscriber } from "./support/Clients.ts"
import { type TestClient, text } from "./TestClient.ts"

/** About 30 short messages. */
const MEMORY = 8_000
const SHARED = "$share/g/s"
const EXPIRING = { version: 5, clean: false, expiry: 60 } as const

const harness = (config: Partial<CoreConfig> = {}, store: "on-time" | "manual" = "on-time"): CoreHarness =>
  new CoreHarness({ store, pages: true, config: { queueMemoryBytesMax: MEMORY, ...config } })

const numbers = (first: number, last: number): Array<string> =>
  Array.from({ length: last - first + 1 }, (_, index) => `${first + index}`)

/** Commits what there is until nothing comes of it any more. */
const commitAll = (h: CoreHarness): void => {
  do h.commit()
  while (h.store.waiting > 0)
}

/** A client that connects and subscribes, whatever the store waits for. */
const joins = (h: CoreHarness, clientId: string, filter = SHARED, options = kept(5)): TestClient => {
  const client = h.connect(clientId, options)
  commitAll(h)
  client.subscribe(filter)
  commitAll(h)
  client.take()
  return client
}

const publish = (h: CoreHarness, first: number, last: number, topic = "s"): void => {
  const client = ready(h, "publisher", { version: 5 })
  for (const number of numbers(first, last)) client.publish(topic, number, { qos: 1 })
  commitAll(h)
  client.drop()
}

/** A member that is away with a long queue, of which most is only in the store. */
const withLongQueue = (h: CoreHarness, last = 300): void => {
  joins(h, "a", SHARED, EXPIRING).drop()
  commitAll(h)
  publish(h, 1, last)
  assert.isAbove(h.session("a")?.queue.stored?.count ?? 0, last / 2)
}

/** Everything that comes, each acknowledged before the next is looked at. */
const receiveAll = (h: CoreHarness, client: TestClient): ReadonlyArray<string> => {
  const payloads: Array<string> = []
  commitAll(h)
  for (;;) {
    const packets = all(client, "Publish")
    if (packets.length === 0) return payloads
    for (const { packetId, payload } of packets) {
      payloads.push(text(payload))
      client.pubAck(packetId!)
    }
    commitAll(h)
  }
}

/** Nothing of an orphan is left anywhere. */
const assertNoOrphans = (h: CoreHarness, ...sessions: ReadonlyArray<string>): void => {
  assert.strictEqual(h.state.orphans.size, 0)
  assert.deepStrictEqual([...h.store.memory.sessions.keys()].sort(), sessions)
  assert.deepStrictEqual([...h.core.sessions.keys()].sort(), sessions)
}

const ends: Readonly<Record<string, (h: CoreHarness) => void>> = {
  expiry: (h) => h.advance(61_000),
  "a clean start": (h) => {
    const client = h.connect("a", { version: 5, clean: true })
    commitAll(h)
    client.disconnect()
  },
  "a DISCONNECT that asks for it": (h) => {
    const client = h.connect("a", EXPIRING)
    commitAll(h)
    client.disconnect(0, { sessionExpiryInterval: 0 })
  }
}

describe("a long queue of a shared subscription", () => {
  it("takes no more memory than another", () => {
    const h = harness({ queueMessagesMax: 5_000 })
    withLongQueue(h, 2_000)
    assert.strictEqual(h.session("a")?.queue.length, 2_000)
    assert.isAtMost(h.state.queueMemory.bytes, MEMORY)
  })

  for (const [how, end] of Object.entries(ends)) {
    for (const store of ["on-time", "manual"] as const) {
      it(`goes to a member that is away, once and in order, when the session ends by ${how} (${store})`, () => {
        const h = harness({ inflightMax: 3 }, store)
        withLongQueue(h)
        joins(h, "b").drop()
        end(h)
        commitAll(h)
        assert.isAtMost(h.state.queueMemory.bytes, MEMORY)
        assertNoOrphans(h, "b")
        assert.deepStrictEqual(receiveAll(h, h.connect("b", kept(5))), numbers(1, 300))
        assert.strictEqual(h.core.stats.messagesDropped, 0)
        assert.strictEqual(h.state.queueMemory.bytes, 0)
        assert.strictEqual(h.store.memory.sessions.get("b")?.outgoing.size, 0)
      })
    }

    it(`goes to members that are there, once, when the session ends by ${how}`, () => {
      const h = harness({ inflightMax: 3 })
      withLongQueue(h)
      const [b, c] = [subscriber(h, "b", kept(5), SHARED), subscriber(h, "c", { version: 5 }, SHARED)]
      end(h)
      const found: Array<string> = []
      for (let before = -1; found.length > before; ) {
        before = found.length
        found.push(...receiveAll(h, b), ...receiveAll(h, c))
      }
      assert.deepStrictEqual(
        found.sort((one, other) => Number(one) - Number(other)),
        numbers(1, 300)
      )
      c.drop()
      assertNoOrphans(h, "b")
    })
  }

  it("is neither lost nor doubled whenever the broker dies", () => {
    let batches = 0
    for (let committed = 0; committed <= batches; committed++) {
      const h = harness({ inflightMax: 3 }, "manual")
      withLongQueue(h)
      joins(h, "b").drop()
      commitAll(h)
      const before = h.store.log.length
      h.advance(61_000)
      h.commit(committed)
      h.crash()
      h.advance(1_000) // it was away for long enough before
      commitAll(h)
      assertNoOrphans(h, "b")
      assert.deepStrictEqual(receiveAll(h, h.connect("b", kept(5))), numbers(1, 300), `${committed} batches`)
      if (committed > 0) continue
      const whole = harness({ inflightMax: 3 }, "manual")
      withLongQueue(whole)
      joins(whole, "b").drop()
      commitAll(whole)
      assert.strictEqual(whole.store.log.length, before)
      whole.advance(61_000)
      commitAll(whole)
      batches = whole.store.log.length - before
    }
    assert.isAbove(batches, 8)
  })

  it("goes on after each of several deaths where it was, and one from before keeps its name", () => {
    const h = harness({ inflightMax: 3, queueMessagesMax: 5_000 }, "manual")
    joins(h, "c", "$share/other/s").drop()
    commitAll(h)
    withLongQueue(h, 600)
    for (const filter of [SHARED, "$share/other/s"]) joins(h, "b", filter).drop()
    commitAll(h)
    h.advance(61_000)
    h.commit(3)
    for (let life = 0; life < 3; life++) {
      h.crash()
      assert.strictEqual(h.state.orphans.size, 1)
      h.commit(2)
    }
    const client = h.connect("c", { version: 5, clean: true })
    assert.strictEqual(h.state.orphans.size, 2)
    commitAll(h)
    client.disconnect()
    commitAll(h)
    assertNoOrphans(h, "b")
    assert.deepStrictEqual(receiveAll(h, h.connect("b", kept(5))), [...numbers(1, 600), ...numbers(1, 600)])
  })

  it("of two sessions that end at once is read one page after the other", () => {
    const h = harness({ queueMessagesMax: 2_000 }, "manual")
    for (const name of ["a", "c"]) {
      joins(h, name, `$share/${name}/s`, EXPIRING).drop()
      commitAll(h)
    }
    publish(h, 1, 300)
    for (const name of ["a", "c"]) joins(h, "b", `$share/${name}/s`).drop()
    commitAll(h)
    h.together(() => {
      h.advance(61_000)
      assert.deepStrictEqual([h.state.orphans.size, h.core.pageRequests.length], [2, 1])
    })
    for (let pages = 0; h.state.orphans.size > 0; pages++) {
      assert.isBelow(pages, 100)
      const shown = h.core.sessions.size
      h.commit(1)
      assert.strictEqual(h.core.sessions.size, shown)
      assert.isAtMost(h.core.pageRequests.length, 1)
    }
    commitAll(h)
    assert.deepStrictEqual(receiveAll(h, h.connect("b", kept(5))), [...numbers(1, 300), ...numbers(1, 300)])
  })

  it("is given from memory by a broker whose store cannot be asked any more", () => {
    const options = { store: "manual" as const, pages: true, config: { queueMemoryBytesMax: MEMORY, inflightMax: 3 } }
    const h = new CoreHarness(options)
    withLongQueue(h)
    joins(h, "b").drop()
    commitAll(h)
    h.advance(61_000)
    h.commit(3)
    options.pages = false
    h.crash()
    commitAll(h)
    assertNoOrphans(h, "b")
    assert.deepStrictEqual(receiveAll(h, h.connect("b", kept(5))), numbers(1, 300))
  })
})

describe("the client id of a session that has ended", () => {
  it("is free for another as soon as the store knows, and what that has is not touched", () => {
    const h = harness({ inflightMax: 3 }, "manual")
    withLongQueue(h)
    joins(h, "b").drop()
    commitAll(h)
    const client = h.connect("a", { version: 5, clean: true, expiry: 1_000 })
    assert.deepStrictEqual(client.take(), [])
    h.commit(2)
    assert.strictEqual(all(client, "ConnAck")[0]?.sessionPresent, false)
    assert.strictEqual(h.state.orphans.size, 1)
    client.subscribe("t")
    const publisher = h.connect("p", { version: 5 })
    publisher.publish("t", "new", { qos: 1 })
    commitAll(h)
    assert.strictEqual(h.state.orphans.size, 0)
    assert.deepStrictEqual(receiveAll(h, client), ["new"])
    client.drop()
    publisher.publish("t", "later", { qos: 1 })
    publisher.drop()
    commitAll(h)
    h.crash()
    assertNoOrphans(h, "a", "b")
    assert.deepStrictEqual(receiveAll(h, h.connect("a", kept(5))), ["later"])
    assert.deepStrictEqual(receiveAll(h, h.connect("b", kept(5))), numbers(1, 300))
  })

  it("is not said to be free before the store knows, whichever connection asks", () => {
    const h = harness({}, "manual")
    withLongQueue(h)
    joins(h, "b").drop()
    commitAll(h)
    h.connect("a", { version: 5, clean: true }).drop()
    const client = h.connect("a", { version: 5, clean: true })
    assert.deepStrictEqual(client.take(), [])
    h.commit(1)
    assert.strictEqual(all(client, "ConnAck").length, 1)
    assert.strictEqual(h.state.orphans.size, 1)
  })

  it("brings nothing back for a client that begins the group anew, also after a crash", () => {
    for (const crash of [false, true]) {
      const h = harness({}, "manual")
      withLongQueue(h)
      const client = h.connect("a", { version: 5, clean: true, expiry: 1_000 })
      client.subscribe(SHARED)
      commitAll(h)
      // Nobody was left: what waited is gone at once.
      assertNoOrphans(h, "a")
      assert.strictEqual(h.session("a")?.subscriptions.size, 1)
      if (crash) h.crash()
      assert.deepStrictEqual(receiveAll(h, crash ? h.connect("a", kept(5)) : client), [])
    }
  })

  it("brings nothing back for a client that begins the group anew when its last member has left", () => {
    const h = harness({}, "manual")
    withLongQueue(h)
    const b = joins(h, "b")
    const client = h.connect("a", { version: 5, clean: true, expiry: 1_000 })
    b.unsubscribe(SHARED)
    client.subscribe(SHARED)
    h.commit(2)
    assert.strictEqual(h.state.orphans.size, 1)
    assert.strictEqual(h.session("a")?.subscriptions.size, 1)
    assert.deepStrictEqual(receiveAll(h, client), [])
    assertNoOrphans(h, "a", "b")
  })
})

describe("of what a session leaves", () => {
  it("QoS 1 underway goes to another at once, and QoS 2 underway to nobody, also after a crash [MQTT-4.8.2-5]", () => {
    for (const crash of [false, true]) {
      const h = harness({ inflightMax: 3 }, "manual")
      const client = joins(h, "a", SHARED, EXPIRING)
      const publisher = h.connect("p", { version: 5 })
      publisher.publish("s", "one", { qos: 1 })
      publisher.publish("s", "two", { qos: 2, packetId: 9 })
      commitAll(h)
      publisher.pubRel(9)
      commitAll(h)
      publish(h, 1, 100)
      assert.deepStrictEqual(client.takePayloads(), ["one", "two", "1"])
      joins(h, "b").drop()
      commitAll(h)
      client.disconnect(0, { sessionExpiryInterval: 0 })
      assert.strictEqual(h.session("b")?.queue.length, 2)
      h.commit(1)
      if (crash) h.crash()
      commitAll(h)
      assert.deepStrictEqual(receiveAll(h, h.connect("b", kept(5))), ["one", "1", ...numbers(2, 100)])
    }
  })

  it("what came by other subscriptions, or has expired, ends with it", () => {
    const h = harness({ inflightMax: 3 })
    subscriber(h, "a", EXPIRING, SHARED, "t").drop()
    const publisher = ready(h, "p", { version: 5 })
    for (const number of numbers(1, 100)) {
      publisher.publish("s", number, { qos: 1 })
      publisher.publish("t", `own ${number}`, { qos: 1 })
      publisher.publish("s", `short ${number}`, { qos: 1, properties: { messageExpiryInterval: 1 } })
    }
    publisher.drop()
    subscriber(h, "b", kept(5), SHARED, "t").drop()
    h.advance(61_000)
    assertNoOrphans(h, "b")
    assert.deepStrictEqual(receiveAll(h, h.connect("b", kept(5))), numbers(1, 100))
    assert.strictEqual(h.core.stats.messagesDropped, 0)
  })

  it("what nobody who is left can have is dropped and counted, and what is for a group of nobody vanishes", () => {
    const h = harness()
    subscriber(h, "a", EXPIRING, SHARED, "$share/alone/s").drop()
    publish(h, 1, 100)
    subscriber(h, "b", kept(5), { filter: SHARED, qos: 0 }).drop()
    h.want("MessageDropped")
    h.advance(61_000)
    assertNoOrphans(h, "b")
    assert.strictEqual(h.core.stats.messagesDropped, 100)
    for (const event of h.takeEvents()) assert.deepInclude(event, { _tag: "MessageDropped", reason: "offline" })
  })

  it("what nobody is to have goes in the batch that ends it, which makes room in a store that is full", () => {
    const h = harness({}, "manual")
    withLongQueue(h)
    h.storageState("full")
    h.advance(61_000)
    assert.deepStrictEqual(h.store.waitingTags, ["RemoveSession"])
    commitAll(h)
    assertNoOrphans(h)
  })

  it("what somebody is to have waits while the store is full, and what is before it makes room", () => {
    const h = harness({}, "manual")
    const client = joins(h, "a", SHARED, EXPIRING)
    client.subscribe("$share/alone/t")
    commitAll(h)
    client.drop()
    publish(h, 1, 100, "t")
    publish(h, 1, 100)
    joins(h, "b").drop()
    commitAll(h)
    h.storageState("full")
    h.advance(61_000)
    commitAll(h)
    assert.strictEqual(h.session("b")?.queue.length, 0)
    const left = [...h.store.memory.sessions.values()].flatMap(({ outgoing }) => [...outgoing.values()])
    assert.deepStrictEqual(
      left.map(({ sharedFilter }) => sharedFilter),
      numbers(1, 100).map(() => SHARED)
    )
    h.storageState("ok")
    commitAll(h)
    assertNoOrphans(h, "b")
    assert.deepStrictEqual(receiveAll(h, h.connect("b", kept(5))), numbers(1, 100))
  })

  it("nothing is given away while the store could not keep it", () => {
    const h = harness({}, "manual")
    withLongQueue(h)
    joins(h, "b").drop()
    commitAll(h)
    h.advance(61_000)
    h.commit(2)
    h.storageState("full")
    const { length } = h.session("b")!.queue
    commitAll(h)
    assert.isAtMost(h.session("b")!.queue.length, length)
    h.storageState("ok")
    commitAll(h)
    assertNoOrphans(h, "b")
    assert.deepStrictEqual(receiveAll(h, h.connect("b", kept(5))), numbers(1, 300))
  })
})
