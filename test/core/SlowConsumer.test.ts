import { assert, describe, it } from "@effect/vitest"
import type { CoreConfig } from "../../src/core/CoreConfig.ts"
import { CoreHarness } from "./CoreHarness.ts"
import type { TestClient } from "./TestClient.ts"

const KIB = 1_024

/** Small enough that a few hundred messages of 1 KiB reach every bound. */
const config: Partial<CoreConfig> = { outboxBytesMax: 100 * KIB }

/** 1 KiB that begins with its number. */
const payload = (number: number): Uint8Array => {
  const bytes = new Uint8Array(KIB).fill(0x2e)
  bytes.set(new TextEncoder().encode(`${number} `))
  return bytes
}

const numbers = (client: TestClient): Array<number> =>
  client.takePayloads().map((text) => Number(text.slice(0, text.indexOf(" "))))

const upTo = (count: number): Array<number> => Array.from({ length: count }, (_, index) => index)

/** Sends as chunks of ten packets, as a socket would deliver them. */
const flood = (publisher: TestClient, topic: string, from: number, to: number, qos: 0 | 1 | 2 = 0): void => {
  for (let first = from; first < to; first += 10) {
    const count = Math.min(10, to - first)
    publisher.send(...upTo(count).map((index) => publisher.publication(topic, payload(first + index), { qos })))
  }
}

const subscriber = (harness: CoreHarness, clientId: string, qos: 0 | 1 | 2 = 0): TestClient => {
  const client = harness.connect(clientId)
  client.subscribe({ filter: "t", qos })
  client.take()
  return client
}

/** A subscriber that has stopped to read, and who publishes to it. */
const frozenReader = (more: Partial<CoreConfig> = {}, qos: 0 | 1 | 2 = 0) => {
  const harness = new CoreHarness({ config: { ...config, ...more }, events: ["MessageDropped"] })
  const frozen = subscriber(harness, "frozen", qos)
  const publisher = harness.connect("p")
  frozen.freeze()
  return { harness, frozen, publisher }
}

/** What a reader gets that takes two messages for each further one that comes, and everything in the end. */
const thaw = (reader: TestClient, publisher: TestClient, from: number, to: number): Array<number> => {
  const received: Array<number> = []
  for (let next = from; next < to; next++) {
    reader.accept(2 * KIB)
    flood(publisher, "t", next, next + 1, 1)
    received.push(...numbers(reader))
  }
  reader.accept()
  received.push(...numbers(reader))
  return received
}

/** The longest time, in milliseconds, that the client was not read while `step` ran `times` times 50 ms apart. */
const longestPause = (harness: CoreHarness, client: TestClient, times: number, step: () => void): number => {
  let longest = 0
  let since = client.reading ? undefined : harness.now
  for (let time = 0; time < times; time++) {
    harness.advance(50)
    step()
    if (client.reading) since = undefined
    else since ??= harness.now
    if (since !== undefined) longest = Math.max(longest, harness.now - since)
  }
  return longest
}

describe("a healthy consumer that is slower than its publisher", () => {
  it("is given next what waited longest, whoever sent it", () => {
    const harness = new CoreHarness({ config })
    const reader = subscriber(harness, "r")
    const first = harness.connect("p")
    const others = upTo(5).map((index) => harness.connect(`p${index}`))
    reader.freeze()
    flood(first, "t", 1_000, 1_051)
    for (const [index, publisher] of others.entries()) flood(publisher, "t", 10 * index, 10 * index + 10)
    reader.accept()
    const received = numbers(reader)
    assert.deepStrictEqual(
      received.filter((number) => number < 1_000 && number % 10 > 0),
      upTo(50).filter((number) => number % 10 > 0)
    )
    assert.lengthOf(received, 101)
  })

  it("loses nothing: the publisher is not read until it has caught up", () => {
    const harness = new CoreHarness({ config })
    const reader = subscriber(harness, "r")
    const publisher = harness.connect("p")
    reader.freeze()
    flood(publisher, "t", 0, 1_000)
    assert.isFalse(publisher.reading)
    const received: Array<number> = []
    for (let round = 0; round < 400 && received.length < 1_000; round++) {
      harness.advance(20)
      reader.accept(5 * KIB)
      assert.isAtMost(reader.connection.waitingBytes, 100 * KIB)
      received.push(...numbers(reader))
    }
    assert.deepStrictEqual(received, upTo(1_000))
    assert.strictEqual(harness.core.stats.messagesDropped, 0)
    assert.isAbove(publisher.readingChanges.length, 10)
    reader.accept()
    assert.isTrue(publisher.reading)
  })

  it("pauses only who sends to it", () => {
    const harness = new CoreHarness({ config })
    const reader = subscriber(harness, "r")
    const publisher = harness.connect("p")
    const other = harness.connect("o")
    reader.freeze()
    flood(publisher, "t", 0, 70)
    assert.isFalse(publisher.reading)
    assert.isTrue(other.reading)
    other.publish("elsewhere", "m", { qos: 1 })
    assert.deepStrictEqual(other.takeWords(), ["ConnAck 0", "PubAck 1"])
  })

  it("does not pause a client that sends to itself", () => {
    const harness = new CoreHarness({ config })
    const client = subscriber(harness, "c")
    client.freeze()
    flood(client, "t", 0, 300)
    assert.isTrue(client.reading)
    assert.isAtMost(client.connection.waitingBytes, 102 * KIB)
    assert.isAbove(harness.core.stats.messagesDropped, 100)
  })

  it("lets its publishers go when it leaves", () => {
    for (const leave of ["drop", "disconnect"] as const) {
      const harness = new CoreHarness({ config })
      const reader = subscriber(harness, "r")
      const publishers = ["p", "q"].map((id) => harness.connect(id))
      reader.freeze()
      for (const publisher of publishers) flood(publisher, "t", 0, 60)
      for (const publisher of publishers) assert.isFalse(publisher.reading)
      reader[leave]()
      for (const publisher of publishers) assert.isTrue(publisher.reading)
    }
  })

  it("reads a publisher again only when every consumer it waits for has caught up", () => {
    const harness = new CoreHarness({ config })
    const readers = ["r", "s"].map((id) => subscriber(harness, id))
    const publisher = harness.connect("p")
    for (const reader of readers) reader.freeze()
    flood(publisher, "t", 0, 60)
    readers[0]!.accept()
    assert.isFalse(publisher.reading)
    readers[1]!.accept()
    assert.isTrue(publisher.reading)
    for (const reader of readers) assert.deepStrictEqual(numbers(reader), upTo(60))
  })

  it("is healthy also when it was idle before the burst", () => {
    const harness = new CoreHarness({ config })
    const reader = subscriber(harness, "r")
    const publisher = harness.connect("p")
    harness.advance(1_000_000)
    reader.freeze()
    for (let chunk = 0; chunk < 20; chunk++) {
      flood(publisher, "t", chunk * 10, chunk * 10 + 10)
      harness.advance(10)
    }
    assert.isFalse(publisher.reading)
    const received: Array<number> = []
    for (let round = 0; round < 100; round++) {
      reader.accept(10 * KIB)
      harness.advance(10)
      received.push(...numbers(reader))
    }
    assert.deepStrictEqual(received, upTo(200))
    assert.strictEqual(harness.core.stats.messagesDropped, 0)
  })
})

describe("a frozen consumer", () => {
  it("that accepts nothing while others wait for it is waited for 250 ms, not a whole second", () => {
    const harness = new CoreHarness({ config })
    const frozen = subscriber(harness, "frozen")
    const publisher = harness.connect("p")
    harness.advance(500)
    frozen.freeze()
    flood(publisher, "t", 0, 300)
    assert.isFalse(publisher.reading)
    harness.advance(200)
    assert.isFalse(publisher.reading)
    harness.advance(200)
    assert.isTrue(publisher.reading)
  })

  it("keeps nobody from being read once it is known to be frozen", () => {
    const { harness, publisher } = frozenReader()
    publisher.publish("t", payload(0))
    harness.advance(1_500)
    flood(publisher, "t", 1, 300)
    assert.deepStrictEqual(publisher.readingChanges, [])
  })

  it("is waited for again when it has caught up", () => {
    const harness = new CoreHarness({ config })
    const reader = subscriber(harness, "r")
    const publisher = harness.connect("p")
    reader.freeze()
    flood(publisher, "t", 0, 300)
    harness.advance(2_000)
    reader.accept()
    reader.take()
    const dropped = harness.core.stats.messagesDropped
    reader.freeze()
    flood(publisher, "t", 0, 300)
    assert.isFalse(publisher.reading)
    const received: Array<number> = []
    for (let round = 0; round < 100; round++) {
      reader.accept(10 * KIB)
      harness.advance(10)
      received.push(...numbers(reader))
    }
    assert.deepStrictEqual(received, upTo(300))
    assert.strictEqual(harness.core.stats.messagesDropped, dropped)
  })

  it("is closed for its keep alive no later because somebody waits for it", () => {
    const harness = new CoreHarness({ config })
    const reader = harness.connect("r", { keepAliveSeconds: 1 })
    reader.subscribe({ filter: "t", qos: 0 })
    const publisher = harness.connect("p")
    harness.advance(1_400)
    reader.freeze()
    flood(publisher, "t", 0, 60)
    assert.isFalse(publisher.reading)
    harness.advance(200)
    assert.strictEqual(reader.ended, "drain")
    assert.isTrue(publisher.reading)
  })

  it("costs its publisher one pause, and the others no message", () => {
    const harness = new CoreHarness({ config, events: ["MessageDropped"] })
    const frozen = subscriber(harness, "frozen")
    const healthy = subscriber(harness, "healthy")
    const publisher = harness.connect("p")
    frozen.freeze()
    flood(publisher, "t", 0, 3_000)
    const longest = longestPause(harness, publisher, 100, () => {})
    assert.isAtMost(longest, 1_100)
    assert.isAbove(longest, 0)
    assert.strictEqual(publisher.readingChanges.filter((reading) => !reading).length, 1)
    assert.deepStrictEqual(numbers(healthy), upTo(3_000))
    assert.isAtMost(frozen.connection.waitingBytes, 102 * KIB)
    const dropped = harness.takeEvents()
    assert.strictEqual(harness.core.stats.messagesDropped, dropped.length)
    assert.isAbove(dropped.length, 2_880)
    for (const event of dropped) {
      if (event._tag !== "MessageDropped") assert.fail(event._tag)
      assert.deepStrictEqual([event.clientId, event.reason, event.qos], ["frozen", "outbox-full", 0])
    }
    harness.advance(31_000)
    assert.isTrue(frozen.closed)
    assert.isFalse(healthy.closed)
  })

  it("gets what fitted when it thaws, in order, and then everything again", () => {
    const { frozen, harness, publisher } = frozenReader()
    flood(publisher, "t", 0, 300)
    harness.advance(2_000)
    frozen.accept()
    const got = numbers(frozen)
    assert.deepStrictEqual(got, upTo(got.length))
    assert.isAbove(got.length, 90)
    flood(publisher, "t", 300, 400)
    assert.deepStrictEqual(
      numbers(frozen),
      upTo(100).map((index) => index + 300)
    )
    assert.strictEqual(harness.core.stats.messagesDropped, 300 - got.length)
  })

  for (const qos of [1, 2] as const) {
    it(`keeps QoS ${qos} in its queue, in order, and loses none that fits there`, () => {
      const { frozen, harness, publisher } = frozenReader({ inflightMax: 500, queueMessagesMax: 400 }, qos)
      flood(publisher, "t", 0, 450, 1)
      harness.advance(2_000)
      assert.isTrue(publisher.reading)
      assert.strictEqual(publisher.take().length, 451) // CONNACK, and every PUBACK
      assert.isAtMost(frozen.connection.waitingBytes, 102 * KIB)
      assert.isAbove(harness.session("frozen")!.queue.length, 300)
      frozen.accept()
      assert.deepStrictEqual(numbers(frozen), upTo(450))
      assert.strictEqual(harness.core.stats.messagesDropped, 0)
    })
  }

  it("gets what was queued before what came later, while it thaws bit by bit", () => {
    const { frozen, harness, publisher } = frozenReader({ inflightMax: 2_000, queueMessagesMax: 2_000 }, 1)
    flood(publisher, "t", 0, 300, 1)
    harness.advance(2_000)
    assert.deepStrictEqual(thaw(frozen, publisher, 300, 400), upTo(400))
  })

  it("gets again what was underway before what is new, when it comes back as slow as it was", () => {
    const harness = new CoreHarness({ config: { ...config, queueMessagesMax: 2_000 } })
    const options = { clean: false }
    harness.connect("slow", options).subscribe({ filter: "t", qos: 1 })
    const publisher = harness.connect("p")
    flood(publisher, "t", 0, 150, 1)
    const again = harness.open()
    again.freeze()
    again.connect("slow", options)
    assert.deepStrictEqual(thaw(again, publisher, 150, 250), upTo(250))
  })

  it("drops what its queue does not hold, by policy, and counts it", () => {
    const { frozen, harness, publisher } = frozenReader({ queueMessagesMax: 50 }, 1)
    flood(publisher, "t", 0, 400, 1)
    harness.advance(2_000)
    const dropped = harness.takeEvents().length
    assert.isAbove(dropped, 200)
    assert.strictEqual(harness.core.stats.messagesDropped, dropped)
    frozen.accept()
    assert.deepStrictEqual(numbers(frozen), upTo(400 - dropped))
  })

  it("never keeps a publisher from being read because of its queue", () => {
    const harness = new CoreHarness({ config: { ...config, inflightMax: 5, queueMessagesMax: 50 } })
    const reader = subscriber(harness, "r", 1) // takes everything, acknowledges nothing
    const publisher = harness.connect("p")
    flood(publisher, "t", 0, 500, 1)
    assert.deepStrictEqual(publisher.readingChanges, [])
    assert.strictEqual(harness.core.stats.messagesDropped, 500 - 55)
    assert.deepStrictEqual(numbers(reader), upTo(5))
  })
})

describe("two peers that publish to each other and do not read before they have written", () => {
  it("do not lock each other", () => {
    const harness = new CoreHarness({ config })
    const [one, two] = ["one", "two"].map((id) => {
      const client = harness.connect(id)
      client.subscribe({ filter: id, qos: 0 })
      client.take()
      return client
    }) as [TestClient, TestClient]
    for (const client of [one, two]) client.freeze()
    for (let chunk = 0; chunk < 50; chunk++) {
      flood(one, "two", chunk * 10, chunk * 10 + 10)
      flood(two, "one", chunk * 10, chunk * 10 + 10)
    }
    assert.isFalse(one.reading)
    assert.isFalse(two.reading)
    harness.advance(2_500)
    assert.isTrue(one.reading)
    assert.isTrue(two.reading)
    assert.strictEqual(harness.core.stats.messagesReceived, 1_000) // both could write everything
    for (const client of [one, two]) {
      client.accept()
      const got = numbers(client)
      assert.isAbove(got.length, 90)
      assert.deepStrictEqual(got, upTo(got.length))
    }
  })
})

describe("all outboxes together", () => {
  it("drop what is not for an empty socket when they hold too much", () => {
    const harness = new CoreHarness({ config: { ...config, bufferedBytesMax: 100 * KIB } })
    const frozen = ["a", "b", "c"].map((id) => subscriber(harness, id))
    const healthy = subscriber(harness, "healthy")
    const publisher = harness.connect("p")
    for (const client of frozen) client.freeze()
    flood(publisher, "t", 0, 500)
    harness.advance(2_000)
    assert.isAtMost(harness.state.bufferedBytes, 140 * KIB)
    assert.deepStrictEqual(numbers(healthy), upTo(500))
    const waiting = frozen.reduce((sum, { connection }) => sum + connection.waitingBytes, 0)
    assert.strictEqual(waiting, harness.state.bufferedBytes)
    for (const client of frozen) client.accept()
    assert.strictEqual(harness.state.bufferedBytes, 0)
    flood(publisher, "t", 500, 510)
    for (const client of frozen) assert.deepStrictEqual(numbers(client).slice(-10), upTo(510).slice(-10))
  })
})

describe("a client that asks and does not read the answers", () => {
  it("is not read beyond twice the bound, until it reads", () => {
    const harness = new CoreHarness({ config: { outboxBytesMax: 10 * KIB } })
    const client = harness.connect("c")
    client.take()
    client.freeze()
    const pings = Uint8Array.from({ length: 1_000 }, (_, index) => (index % 2 === 0 ? 0xc0 : 0))
    for (let chunk = 0; chunk < 100; chunk++) client.sendBytes(pings.slice())
    assert.isFalse(client.reading)
    assert.isAtMost(client.connection.waitingBytes, 22 * KIB)
    client.accept()
    for (let round = 0; round < 100 && client.bufferedBytes > 0; round++) client.accept()
    assert.strictEqual(client.take().length, 50_000)
    assert.isTrue(client.reading)
  })

  it("is given up after the drain timeout", () => {
    const harness = new CoreHarness({ config: { outboxBytesMax: 10 * KIB } })
    const client = harness.connect("c")
    client.freeze()
    for (let chunk = 0; chunk < 100; chunk++) {
      client.sendBytes(Uint8Array.from({ length: 1_000 }, (_, index) => (index % 2 === 0 ? 0xc0 : 0)))
    }
    harness.advance(32_000)
    assert.isTrue(client.closed)
    assert.strictEqual(client.ended, "at-once")
  })
})

describe("the bytes a slow reader gets", () => {
  it("are the bytes that were meant for it, however its socket takes them", () => {
    const harness = new CoreHarness({ config })
    const readers = ["a", "b", "c"].map((id) => subscriber(harness, id))
    const publisher = harness.connect("p")
    readers.forEach((reader) => {
      reader.freeze()
    })
    const sent: Array<string> = []
    const received: Array<Array<string>> = readers.map(() => [])
    for (let round = 0; round < 200; round++) {
      // Large ones are shared between the readers' outboxes, small ones are copied.
      const size = round % 3 === 0 ? 9_000 + round : 10 + round
      const text = String.fromCharCode(97 + (round % 26)).repeat(size)
      sent.push(text)
      publisher.publish("t", text)
      harness.advance(10)
      readers.forEach((reader, index) => {
        reader.accept(1_000 * (index + 1) + round * 37)
        received[index]!.push(...reader.takePayloads())
      })
    }
    readers.forEach((reader, index) => {
      reader.accept()
      received[index]!.push(...reader.takePayloads())
    })
    assert.strictEqual(harness.core.stats.messagesDropped, 0)
    received.forEach((got) => {
      assert.strictEqual(got.length, sent.length)
      assert.isTrue(got.every((text, index) => text === sent[index]))
    })
  })
})
