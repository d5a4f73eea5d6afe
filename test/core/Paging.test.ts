/**
 * Queues whose middle is in the store only: what is delivered, what stays in memory, and what becomes of the rest.
 */
import { assert, describe, it } from "@effect/vitest"
import type { CoreConfig } from "../../src/core/CoreConfig.ts"
import type { PageRequest } from "../../src/core/PageRequest.ts"
import { CoreHarness } from "./CoreHarness.ts"
import { all, kept, ready, subscriber } from "./support/Clients.ts"
import type { TestClient } from "./TestClient.ts"

/** About 30 short messages. */
const MEMORY = 8_000

const pagingHarness = (config: Partial<CoreConfig> = {}, store: "on-time" | "manual" = "on-time"): CoreHarness =>
  new CoreHarness({ store, pages: true, config: { queueMemoryBytesMax: MEMORY, ...config } })

const numbers = (first: number, last: number): Array<string> =>
  Array.from({ length: last - first + 1 }, (_, index) => `${first + index}`)

/** Someone subscribed to "t" who went away, and a publisher. */
const withAbsent = (h: CoreHarness, options = kept(4)): TestClient => {
  const client = subscriber(h, "a", options, "t")
  client.drop()
  return ready(h, "p", { version: 5 })
}

const publish = (client: TestClient, first: number, last: number): void => {
  for (const text of numbers(first, last)) client.publish("t", text, { qos: 1 })
  client.take()
}

/** Everything that comes, each acknowledged before the next is looked at, but for the one with packet id `except`. */
const receiveAll = (client: TestClient, except?: number): ReadonlyArray<string> => {
  const payloads: Array<string> = []
  for (;;) {
    const packets = all(client, "Publish")
    if (packets.length === 0) return payloads
    for (const { packetId, payload } of packets) {
      payloads.push(new TextDecoder().decode(payload))
      if (packetId !== undefined && packetId !== except) client.pubAck(packetId)
    }
  }
}

describe("many queues after a restart", () => {
  it("are in memory up to a part of what all may have; the rest is counted, and read when its client comes", () => {
    const h = pagingHarness({ queueMemoryBytesMax: 1_000_000, queuesMemoryBytesMax: 8 * 20_000 })
    const names = numbers(1, 50).map((number) => `c${number}`)
    for (const name of names) subscriber(h, name, kept(4), "t").drop()
    publish(ready(h, "p"), 1, 10)
    h.crash()
    assert.isBelow(h.state.queueMemory.bytes, 21_000)
    const unread = names.filter((name) => (h.session(name)?.queue.memoryBytes ?? 0) === 0)
    assert.isAbove(unread.length, 40)
    for (const name of names) {
      assert.strictEqual(h.session(name)?.queue.length, 10)
      assert.deepStrictEqual(receiveAll(h.connect(name, kept(4))), numbers(1, 10))
    }
    assert.strictEqual(h.state.queueMemory.bytes, 0)
  })
})

describe("a queue longer than its memory", () => {
  it("has its ends in memory, the rest in the store, and is delivered in order", () => {
    const h = pagingHarness({ inflightMax: 3 })
    const publisher = withAbsent(h)
    publish(publisher, 1, 500)
    const { queue } = h.session("a")!
    assert.strictEqual(queue.length, 500)
    assert.isAtMost(queue.memoryBytes, MEMORY)
    assert.isAbove(queue.stored?.count ?? 0, 400)
    assert.strictEqual(h.state.queueMemory.bytes, queue.memoryBytes)
    const client = h.connect("a", kept(4))
    assert.isAtMost(queue.memoryBytes, MEMORY)
    assert.deepStrictEqual(receiveAll(client), numbers(1, 500))
    assert.strictEqual(queue.length, 0)
    assert.isUndefined(queue.stored)
    assert.strictEqual(queue.bytes, 0)
    assert.strictEqual(h.state.queueMemory.bytes, 0)
    assert.strictEqual(h.store.memory.sessions.get("a")?.outgoing.size, 0)
  })

  it("keeps the order of what comes while it is read", () => {
    const h = pagingHarness({ inflightMax: 2 })
    const publisher = withAbsent(h)
    publish(publisher, 1, 100)
    const client = h.connect("a", kept(4))
    const payloads: Array<string> = []
    for (let next = 101; next <= 300; next++) {
      publish(publisher, next, next)
      for (const { packetId, payload } of all(client, "Publish")) {
        payloads.push(new TextDecoder().decode(payload))
        client.pubAck(packetId!)
      }
    }
    payloads.push(...receiveAll(client))
    assert.deepStrictEqual(payloads, numbers(1, 300))
    assert.isUndefined(h.session("a")?.queue.stored)
  })

  it("waits for what the store has not kept yet", () => {
    const h = pagingHarness({}, "manual")
    const client = h.connectDurable("a", "t")
    client.drop()
    const publisher = ready(h, "p")
    h.commit()
    publish(publisher, 1, 100)
    h.connect("a", kept(4))
    const again = h.clients.at(-1)!
    while (h.store.waiting > 0) {
      h.commit(1)
      for (const { packetId } of all(again, "Publish").filter(({ packetId }) => packetId !== undefined)) {
        again.pubAck(packetId!)
      }
    }
    h.commit()
    assert.strictEqual(h.session("a")?.queue.length, 0)
    assert.strictEqual(h.store.memory.sessions.get("a")?.outgoing.size, 0)
  })

  it("is not read into memory by a restart, and is delivered after it", () => {
    const h = pagingHarness({ inflightMax: 3 })
    publish(withAbsent(h), 1, 500)
    h.crash()
    const { queue } = h.session("a")!
    assert.strictEqual(queue.length, 500)
    assert.isAtMost(queue.memoryBytes, MEMORY)
    publish(ready(h, "p"), 501, 520)
    assert.deepStrictEqual(receiveAll(h.connect("a", kept(4))), numbers(1, 520))
  })

  it("leaves all queues to the store when together they have no room", () => {
    const h = pagingHarness({ queueMemoryBytesMax: 1_000_000, queuesMemoryBytesMax: 20_000 })
    const names = ["a", "b", "c", "d"]
    for (const name of names) subscriber(h, name, kept(4), "t").drop()
    publish(ready(h, "p"), 1, 200)
    assert.isAtMost(h.state.queueMemory.bytes, 20_000)
    for (const name of names) assert.deepStrictEqual(receiveAll(h.connect(name, kept(4))), numbers(1, 200))
    assert.strictEqual(h.state.queueMemory.bytes, 0)
  })

  it("counts what is in the store against its limits", () => {
    const h = pagingHarness({ queueMessagesMax: 50 })
    publish(withAbsent(h), 1, 80)
    assert.strictEqual(h.session("a")?.queue.length, 50)
    assert.strictEqual(h.core.stats.messagesDropped, 30)
    assert.deepStrictEqual(receiveAll(h.connect("a", kept(4))), numbers(1, 50))
  })

  it("drops its oldest also where they are in the store only", () => {
    const h = pagingHarness({ queueMessagesMax: 50, queueOverflow: "drop-oldest" })
    publish(withAbsent(h), 1, 200)
    const { queue } = h.session("a")!
    assert.strictEqual(queue.length, 50)
    assert.strictEqual(h.core.stats.messagesDropped, 150)
    assert.strictEqual(h.store.memory.sessions.get("a")?.outgoing.size, 50)
    assert.deepStrictEqual(receiveAll(h.connect("a", kept(4))), numbers(151, 200))
  })

  it("has messages at QoS 0 in it, in order, and none overtakes those in the store", () => {
    const h = pagingHarness({ queueQos0: true, inflightMax: 2 })
    subscriber(h, "a", kept(4), "t").drop()
    const publisher = ready(h, "p")
    for (const text of numbers(1, 200)) publisher.publish("t", text, { qos: 0 })
    for (const text of numbers(201, 300)) publisher.publish("t", text, { qos: 1 })
    assert.strictEqual(h.session("a")?.queue.atQos0, 200)
    const received: Array<string> = []
    h.together(() => {
      h.connect("a", kept(4))
      h.commit()
      publisher.publish("t", "last", { qos: 0 })
    })
    received.push(...receiveAll(h.clients.at(-1)!))
    assert.deepStrictEqual(received, [...numbers(1, 300), "last"])
    assert.strictEqual(h.session("a")?.queue.atQos0, 0)
  })

  it("drops what has expired when it is read", () => {
    const h = pagingHarness()
    const publisher = withAbsent(h, kept(5))
    for (const text of numbers(1, 60)) {
      const messageExpiryInterval = Number(text) % 2 === 0 ? 10 : 1_000
      publisher.publish("t", text, { qos: 1, properties: { messageExpiryInterval } })
    }
    h.advance(20_000)
    const odd = numbers(1, 60).filter((text) => Number(text) % 2 === 1)
    assert.deepStrictEqual(receiveAll(h.connect("a", kept(5))), odd)
    assert.strictEqual(h.core.stats.messagesDropped, 30)
    assert.strictEqual(h.store.memory.sessions.get("a")?.outgoing.size, 0)
  })

  it("drops what waits by a subscription that is refused when its client comes back (row 15)", () => {
    const h = pagingHarness()
    subscriber(h, "a", kept(4), "t", "u").drop()
    const publisher = ready(h, "p")
    for (const text of numbers(1, 60)) publisher.publish(Number(text) % 2 === 0 ? "u" : "t", text, { qos: 1 })
    h.install("subscribe")
    const client = h.connect("a", kept(4))
    while (h.questions.length > 0) {
      const [question] = h.questions
      assert.strictEqual(question?._tag, "Subscribe")
      h.answer({ reasonCode: question?._tag === "Subscribe" && question.topicFilter === "u" ? 0x87 : 2 })
    }
    const odd = numbers(1, 60).filter((text) => Number(text) % 2 === 1)
    assert.deepStrictEqual(receiveAll(client), odd)
    assert.strictEqual(h.store.memory.sessions.get("a")?.outgoing.size, 0)
  })

  it("is in order after a restart though a part of it is in memory as well", () => {
    const h = pagingHarness({ inflightMax: 3 })
    subscriber(h, "a", kept(5), "t", "$share/g/s").drop()
    const publisher = ready(h, "p")
    publish(publisher, 1, 100)
    publisher.publish("s", "shared", { qos: 1 })
    publish(publisher, 101, 150)
    h.crash()
    const { queue } = h.session("a")!
    assert.isAbove(queue.stored?.count ?? 0, 50)
    assert.deepStrictEqual(receiveAll(h.connect("a", kept(5))), [...numbers(1, 100), "shared", ...numbers(101, 150)])
  })

  it("is asked for one page after the other, and by nobody who is away", () => {
    const h = pagingHarness({ inflightMax: 10 }, "manual")
    const client = h.connectDurable("a", "t")
    client.drop()
    publish(ready(h, "p"), 1, 200)
    h.commit()
    h.together(() => {
      assert.strictEqual(h.core.pageRequests.length, 0)
      h.connect("a", kept(4))
      const again = h.clients.at(-1)!
      h.commit()
      for (let round = 0; round < 12; round++) {
        again.flush()
        for (const { packetId } of all(again, "Publish")) again.pubAck(packetId!)
      }
      assert.strictEqual(h.core.pageRequests.length, 1)
      assert.strictEqual(h.session("a")?.queue.head.length, 0)
    })
  })

  it("goes to another member as far as it came by a shared subscription and was not dropped", () => {
    for (const crash of [false, true]) {
      const h = pagingHarness({ inflightMax: 3, queueMessagesMax: 90, queueOverflow: "drop-oldest" })
      subscriber(h, "a", { version: 5, clean: false, expiry: 60 }, "$share/g/s", "t").drop()
      const publisher = ready(h, "p")
      for (const text of numbers(1, 100)) publisher.publish(Number(text) % 2 === 0 ? "s" : "t", text, { qos: 1 })
      const { stored } = h.session("a")!.queue
      assert.isAbove(stored?.count ?? 0, 50)
      assert.isAtMost(h.state.queueMemory.bytes, MEMORY)
      if (crash) h.crash()
      const second = subscriber(h, "b", kept(5), "$share/g/s")
      h.advance(61_000)
      assert.isUndefined(h.session("a"))
      const even = numbers(crash ? 1 : 11, 100).filter((text) => Number(text) % 2 === 0)
      assert.deepStrictEqual(receiveAll(second).slice(crash ? -45 : 0), even.slice(-45))
      assert.strictEqual(h.state.queueMemory.bytes, 0)
    }
  })

  it("is left to the store whatever it came by", () => {
    const h = pagingHarness({ inflightMax: 3 })
    subscriber(h, "a", kept(5), "t", "$share/g/s").drop()
    const publisher = ready(h, "p")
    publisher.publish("s", "first", { qos: 1 })
    publish(publisher, 1, 500)
    publisher.publish("s", "last", { qos: 1 })
    const { queue } = h.session("a")!
    assert.isAtMost(queue.memoryBytes, MEMORY)
    assert.deepStrictEqual(receiveAll(h.connect("a", kept(5))), ["first", ...numbers(1, 500), "last"])
    assert.strictEqual(h.state.queueMemory.bytes, 0)
  })

  it("is delivered to a client that comes back without a durable session, which then leaves the store", () => {
    const h = pagingHarness({ inflightMax: 3 })
    publish(withAbsent(h, kept(5)), 1, 100)
    const client = h.connect("a", { version: 5, clean: false })
    assert.isDefined(h.session("a")?.queue.stored)
    assert.isTrue(h.store.memory.sessions.has("a"))
    assert.deepStrictEqual(receiveAll(client), numbers(1, 100))
    assert.isFalse(h.store.memory.sessions.has("a"))
  })

  it("ends with such a client's connection, and with the broker's", () => {
    for (const crash of [false, true]) {
      const h = pagingHarness({ inflightMax: 3 })
      publish(withAbsent(h, kept(5)), 1, 100)
      const client = h.connect("a", { version: 5, clean: false })
      client.take()
      if (crash) h.crash()
      else client.drop()
      assert.isUndefined(h.session("a"))
      assert.isFalse(h.store.memory.sessions.has("a"))
      assert.strictEqual(h.state.queueMemory.bytes, 0)
    }
  })

  it("is gone with its session: an answer that comes late is nobody's", () => {
    const h = pagingHarness()
    publish(withAbsent(h), 1, 100)
    const requests: Array<PageRequest> = []
    h.together(() => {
      h.connect("a", kept(4))
      h.commit() // its CONNACK, and what is in memory
      requests.push(...h.core.pageRequests.splice(0))
    })
    const [request] = requests
    assert.isDefined(request)
    const records = h.store.memory.queued(request)
    assert.isAbove(records.length, 0)
    h.connect("a", { clean: true }).drop()
    const again = subscriber(h, "a", kept(4), "t")
    assert.isFalse(h.core.isWanted(request))
    h.core.pageRead(request, records, h.now)
    h.settle()
    publish(h.connect("q"), 200, 205)
    assert.deepStrictEqual(receiveAll(again), numbers(200, 205))
    assert.strictEqual(h.state.queueMemory.bytes, 0)
  })
})

describe("what is in memory", () => {
  it("is bounded also when a page comes on top of what is new", () => {
    const h = pagingHarness({ inflightMax: 1 })
    const publisher = withAbsent(h)
    publish(publisher, 1, 100)
    const { queue } = h.session("a")!
    let most = 0
    h.together(() => {
      h.connect("a", kept(4))
      h.commit()
      const [request] = h.core.pageRequests.splice(0)
      assert.isUndefined(request, "the head is long enough")
    })
    const client = h.clients.at(-1)!
    for (let next = 101; next <= 400; next++) {
      publish(publisher, next, next)
      // Half as fast as they come.
      if (next % 2 === 0) for (const { packetId } of all(client, "Publish")) client.pubAck(packetId!)
      most = Math.max(most, queue.memoryBytes)
    }
    assert.isAtMost(most, MEMORY + 500)
    assert.strictEqual(h.state.queueMemory.bytes, queue.memoryBytes)
  })

  it("is enough for a client that is there, when others have taken what there is for all", () => {
    const h = pagingHarness({ queueMemoryBytesMax: 100_000, queuesMemoryBytesMax: 20_000, inflightMax: 2 })
    subscriber(h, "idle", kept(4), "t").drop()
    const publisher = ready(h, "p")
    publish(publisher, 1, 70)
    const client = subscriber(h, "a", kept(4), "u")
    for (const text of numbers(1, 50)) publisher.publish("u", text, { qos: 1 })
    // Nothing was left to the store, to be read back at the next acknowledgement.
    assert.isAbove(h.state.queueMemory.bytes, 20_000)
    assert.isUndefined(h.session("a")?.queue.stored)
    assert.deepStrictEqual(receiveAll(client), numbers(1, 50))
  })
})

describe("a store that has lost messages", () => {
  it("is noticed, counted, and the rest delivered", () => {
    const h = pagingHarness({ inflightMax: 3 })
    const publisher = withAbsent(h)
    publish(publisher, 1, 100)
    const { outgoing } = h.store.memory.sessions.get("a")!
    const { count } = h.session("a")!.queue.stored!
    const first = 100 - count + 1
    for (const order of [...outgoing.keys()].slice(first - 1, first + 9)) outgoing.delete(order)
    const received = receiveAll(h.connect("a", kept(4)))
    assert.strictEqual(received.length, 90)
    assert.strictEqual(h.core.stats.messagesDropped, 10)
    assert.strictEqual(h.session("a")?.queue.length, 0)
  })

  it("is not taken to have lost what was left to it after it was asked; what is lost does not come back", () => {
    const h = pagingHarness({ inflightMax: 3 })
    const publisher = withAbsent(h)
    publish(publisher, 1, 100)
    const { queue } = h.session("a")!
    const asked = queue.stored!.count
    const head = queue.head.length
    h.together(() => {
      h.connect("a", kept(4))
      for (let turns = 0; turns < 3; turns++) h.turn()
    })
    const client = h.clients.at(-1)!
    const received: Array<string> = []
    h.together(() => {
      // Until it asks for what follows: that part of the disk gives nothing now.
      while (h.core.pageRequests.length === 0) {
        for (const { packetId, payload } of all(client, "Publish")) {
          received.push(new TextDecoder().decode(payload))
          client.pubAck(packetId!)
        }
        client.flush()
      }
      const [request] = h.core.pageRequests.splice(0)
      for (let next = 101; next <= 200; next++) publisher.publish("t", `${next}`, { qos: 1 })
      assert.isAbove(queue.stored!.through, request!.through)
      assert.strictEqual(h.core.pageRead(request!, [], h.now), 0)
    })
    received.push(...receiveAll(client))
    assert.deepStrictEqual(received, [...numbers(1, head), ...numbers(head + asked + 1, 200)])
    assert.strictEqual(h.core.stats.messagesDropped, asked)
    assert.strictEqual(h.store.memory.sessions.get("a")?.outgoing.size, 0)
    assert.isUndefined(queue.stored)
  })
})

describe("an exchange underway whose order is between those that wait", () => {
  const image = (from: CoreHarness) => {
    publish(withAbsent(from, kept(5)), 1, 100)
    const { after, through } = from.session("a")!.queue.stored!
    const stored = from.store.memory.queued({ clientId: "a", after, through, bytesMax: 1_000_000 })
    const whole = from.core.sessionImage("a", stored, from.now)!
    // As a session JSON may have it.
    const outgoing = whole.outgoing.map((one, at) => (at === 70 ? { ...one, packetId: 7, state: 2 as const } : one))
    return { ...whole, outgoing }
  }

  it("is sent again once, and not as one that waits besides", () => {
    for (const crash of [false, true]) {
      const h = pagingHarness({ inflightMax: 3 })
      assert.isUndefined(h.core.loadSession(image(pagingHarness()), h.now))
      h.settle()
      if (crash) h.crash()
      assert.isAbove(h.session("a")?.queue.stored?.count ?? 0, 50)
      const client = h.connect("a", kept(5))
      // All others come while it is not acknowledged: it is in the store when they are read.
      const received = receiveAll(client, 7)
      assert.deepStrictEqual(received, ["71", ...numbers(1, 70), ...numbers(72, 100)])
      client.pubAck(7)
      assert.strictEqual(h.session("a")?.queue.bytes, 0)
      assert.strictEqual(h.core.stats.messagesDropped, 0)
      assert.strictEqual(h.store.memory.sessions.get("a")?.outgoing.size, 0)
    }
  })

  it("is in the image as what it is", () => {
    const h = pagingHarness()
    assert.isUndefined(h.core.loadSession(image(pagingHarness()), h.now))
    h.settle()
    const { after, through } = h.session("a")!.queue.stored!
    const stored = h.store.memory.queued({ clientId: "a", after, through, bytesMax: 1_000_000 })
    const again = h.core.sessionImage("a", stored, h.now)
    assert.deepStrictEqual(
      again?.outgoing.map(({ packetId }) => packetId).filter((packetId) => packetId !== 0),
      [7]
    )
    assert.strictEqual(again?.outgoing.length, 100)
  })
})

describe("the image of a session", () => {
  it("has what is only in the store, or is not given", () => {
    const h = pagingHarness()
    publish(withAbsent(h), 1, 100)
    assert.isUndefined(h.core.sessionImage("a", [], h.now))
    const { after, through } = h.session("a")!.queue.stored!
    const stored = h.store.memory.queued({ clientId: "a", after, through, bytesMax: 1_000_000 })
    assert.isUndefined(h.core.sessionImage("a", stored.slice(1), h.now))
    const image = h.core.sessionImage("a", stored, h.now)!
    assert.deepStrictEqual(
      image.outgoing.map(({ payload }) => new TextDecoder().decode(payload)),
      numbers(1, 100)
    )
    const to = pagingHarness({ inflightMax: 3 })
    assert.isUndefined(to.core.loadSession(image, to.now))
    to.settle()
    assert.isAtMost(to.session("a")!.queue.memoryBytes, MEMORY)
    assert.deepStrictEqual(receiveAll(to.connect("a", kept(4))), numbers(1, 100))
  })
})
