import { assert, describe, it } from "@effect/vitest"
import { CoreHarness } from "./CoreHarness.ts"
import type { TestClient } from "./TestClient.ts"

/** Deadlines are looked at in buckets of this many milliseconds: up to so much later, never earlier. */
const SLACK = 100

const KIB = new Uint8Array(1_024)

/** The milliseconds from now until the client is closed, at most `most`. */
const closedAfter = (harness: CoreHarness, client: TestClient, most = 200_000): number => {
  const from = harness.now
  while (!client.closed && harness.now - from < most) harness.advance(SLACK)
  assert.isTrue(client.closed, `not closed within ${most} ms`)
  return harness.now - from
}

const assertAbout = (actual: number, expected: number): void => {
  assert.isAtLeast(actual, expected)
  assert.isAtMost(actual, expected + 2 * SLACK)
}

describe("connect timeout", () => {
  it("closes a transport that sends no CONNECT, without a word", () => {
    const harness = new CoreHarness()
    const silent = harness.open()
    assertAbout(closedAfter(harness, silent), 10_000)
    assert.deepStrictEqual(silent.take(), [])
    assert.strictEqual(harness.core.connections.size, 0)
  })

  it("is not prolonged by a CONNECT that comes byte by byte", () => {
    const harness = new CoreHarness({ config: { connectTimeoutSeconds: 3 } })
    const slow = harness.open()
    for (const byte of [0x10, 0x12, 0, 4, 0x4d]) {
      slow.sendBytes(Uint8Array.of(byte))
      harness.advance(500)
    }
    assertAbout(closedAfter(harness, slow), 500)
  })

  it("does not run for a connection that waits for a hook or for the store", () => {
    const harness = new CoreHarness({ store: "manual" })
    const stored = harness.connect("c", { clean: false })
    harness.install("sessionRequest")
    const asked = harness.connect("d")
    harness.advance(3_600_000)
    assert.isFalse(stored.closed)
    assert.isFalse(asked.closed)
    harness.answer({ reasonCode: 0 })
    harness.commit()
    assert.deepStrictEqual(asked.takeWords(), ["ConnAck 0"])
    assert.deepStrictEqual(stored.takeWords(), ["ConnAck 0"])
  })
})

describe("keep alive", () => {
  for (const version of [3, 4, 5] as const) {
    it(`closes version ${version} after 1.5 times the keep alive without a byte`, () => {
      const harness = new CoreHarness()
      const client = harness.connect("c", { version, keepAliveSeconds: 20 })
      client.take()
      harness.advance(15_000)
      client.ping()
      assertAbout(closedAfter(harness, client), 30_000)
      assert.deepStrictEqual(client.takeWords(), version === 5 ? ["PingResp", "Disconnect 0x8d"] : ["PingResp"])
    })
  }

  it("is kept also when it is shorter than the connect timeout", () => {
    const harness = new CoreHarness()
    assertAbout(closedAfter(harness, harness.connect("c", { keepAliveSeconds: 1 })), 1_500)
  })

  it("counts any packet, and the parts of one", () => {
    const harness = new CoreHarness()
    const client = harness.connect("c", { keepAliveSeconds: 2 })
    client.publish("t", "m")
    harness.advance(2_900)
    client.sendBytes(Uint8Array.of(0x30, 20, 0, 1))
    harness.advance(2_900)
    assert.isFalse(client.closed)
    assertAbout(closedAfter(harness, client), 100)
  })

  it("is not proved by what the broker sends", () => {
    const harness = new CoreHarness()
    const client = harness.connect("c", { keepAliveSeconds: 2 })
    client.subscribe("t")
    const publisher = harness.connect("p")
    for (let half = 0; half < 5; half++) {
      harness.advance(500)
      publisher.publish("t", "m")
    }
    assertAbout(closedAfter(harness, client), 500)
  })

  it("is off at 0", () => {
    const harness = new CoreHarness()
    const client = harness.connect("c", { keepAliveSeconds: 0 })
    harness.advance(1_000_000_000)
    assert.isFalse(client.closed)
    assert.strictEqual(harness.core.deadline(), Number.POSITIVE_INFINITY)
  })

  it("is at most what the broker grants, and that is what it told", () => {
    const harness = new CoreHarness({ config: { keepAliveSecondsMax: 4 } })
    const client = harness.connect("c", { version: 5, keepAliveSeconds: 1_000 })
    const [connAck] = client.take()
    assert.strictEqual(connAck?._tag === "ConnAck" && connAck.properties?.serverKeepAlive, 4)
    assertAbout(closedAfter(harness, client), 6_000)
  })

  it("does not run while the broker does not read, and begins anew when it reads again", () => {
    const harness = new CoreHarness()
    harness.install("subscribe")
    const client = harness.connect("c", { keepAliveSeconds: 2 })
    harness.advance(2_000)
    client.subscribe("t")
    assert.isFalse(client.reading)
    harness.advance(100_000)
    assert.isFalse(client.closed)
    harness.answer({ reasonCode: 0 })
    assert.isTrue(client.reading)
    harness.advance(2_800)
    assert.isFalse(client.closed)
    assertAbout(closedAfter(harness, client), 200)
  })

  it("publishes the will", () => {
    const harness = new CoreHarness()
    const reader = harness.connect("r")
    reader.subscribe("will")
    const will = { topic: "will", payload: new TextEncoder().encode("gone"), qos: 0, retain: false } as const
    harness.connect("c", { keepAliveSeconds: 2, will })
    harness.advance(2_900)
    assert.deepStrictEqual(reader.takePayloads(), [])
    harness.advance(300)
    assert.deepStrictEqual(reader.takePayloads(), ["gone"])
  })
})

describe("idle timeout", () => {
  const idle = () => new CoreHarness({ config: { idleTimeoutSeconds: 10 } })

  it("closes a connection that has seen no byte either way", () => {
    const harness = idle()
    const client = harness.connect("c", { version: 5 })
    client.subscribe("t")
    client.take()
    const publisher = harness.connect("p")
    harness.advance(8_000)
    publisher.publish("t", "m")
    harness.advance(8_000)
    assert.isFalse(client.closed)
    assert.isFalse(publisher.closed)
    assertAbout(closedAfter(harness, client), 2_000)
    assert.deepStrictEqual(client.takeWords(), ['Publish t "m" q0', "Disconnect 0x98"])
    assert.isTrue(publisher.closed)
  })

  it("stands still while the broker does not read, and goes on afterwards", () => {
    const harness = idle()
    harness.install("subscribe")
    const client = harness.connect("c")
    client.subscribe("t")
    harness.advance(100_000)
    assert.isFalse(client.closed)
    harness.answer({ reasonCode: 0 })
    assert.isAtMost(closedAfter(harness, client), 20_000 + SLACK)
  })
})

describe("drain timeout", () => {
  /** A subscriber whose socket takes nothing, with a message waiting since now. */
  const frozen = (harness: CoreHarness) => {
    const reader = harness.connect("r", { version: 5 })
    reader.subscribe("t")
    const publisher = harness.connect("p")
    reader.freeze()
    return { publisher, reader }
  }

  it("closes a reader that accepts nothing for so long at once, without waiting for its socket", () => {
    const harness = new CoreHarness({ events: ["Disconnected"] })
    const { publisher, reader } = frozen(harness)
    publisher.publish("t", KIB)
    assertAbout(closedAfter(harness, reader), 30_000)
    assert.strictEqual(reader.ended, "at-once")
    const [event] = harness.takeEvents()
    assert.strictEqual(event?._tag === "Disconnected" && event.description, "Its socket accepted nothing for 30 s.")
    assert.strictEqual(harness.state.bufferedBytes, 0)
  })

  it("begins when bytes begin to wait, not when the last ones went", () => {
    const harness = new CoreHarness()
    const { publisher, reader } = frozen(harness)
    harness.advance(100_000)
    publisher.publish("t", KIB)
    harness.advance(29_000)
    assert.isFalse(reader.closed)
    assert.isAtMost(closedAfter(harness, reader), 2_500)
  })

  it("begins anew with every byte that is accepted", () => {
    const harness = new CoreHarness()
    const { publisher, reader } = frozen(harness)
    publisher.publish("t", KIB)
    for (let round = 0; round < 10; round++) {
      harness.advance(20_000)
      reader.accept(10)
    }
    assert.isFalse(reader.closed)
    harness.advance(28_000)
    assert.isFalse(reader.closed)
    assert.isAtMost(closedAfter(harness, reader), 3_500)
  })

  it("is over when the socket has taken everything", () => {
    const harness = new CoreHarness()
    const { publisher, reader } = frozen(harness)
    publisher.publish("t", KIB)
    harness.advance(20_000)
    reader.accept()
    harness.advance(1_000_000)
    assert.isFalse(reader.closed)
    assert.strictEqual(harness.core.deadline(), Number.POSITIVE_INFINITY)
  })

  it("holds for a connection with keep alive, too", () => {
    const harness = new CoreHarness({ config: { drainTimeoutSeconds: 5 } })
    const reader = harness.connect("r", { keepAliveSeconds: 600 })
    reader.subscribe("t")
    reader.freeze()
    harness.connect("p").publish("t", KIB)
    assert.isAtMost(closedAfter(harness, reader), 6_500)
  })
})

/** Everything by which the core could remember a connection. */
const leftovers = ({ state }: CoreHarness) => ({
  connections: state.connections.size,
  gated: state.gated.size,
  openQuestions: state.openQuestions.size,
  refused: state.refused.size,
  deadlines: state.deadlines.size,
  bufferedBytes: state.bufferedBytes,
  sessions: state.sessions.size,
  subscriptions: state.router.size,
  overflowing: state.overflowing.length,
  closes: state.closes.length,
  dirty: state.dirty.length,
  questions: state.questions.length
})

const nothingLeft = {
  connections: 0,
  gated: 0,
  openQuestions: 0,
  refused: 0,
  deadlines: 0,
  bufferedBytes: 0,
  sessions: 0,
  subscriptions: 0,
  overflowing: 0,
  closes: 0,
  dirty: 0,
  questions: 0
}

describe("a connection that ends leaves nothing behind", () => {
  /** Each brings a connection into a state in which something in the core knows of it. */
  const situations: Record<string, (harness: CoreHarness) => TestClient> = {
    "before CONNECT": (harness) => harness.open(),
    "with half a CONNECT": (harness) => {
      const client = harness.open()
      client.sendBytes(Uint8Array.of(0x10, 100, 0, 4))
      return client
    },
    connected: (harness) => harness.connect("c", { keepAliveSeconds: 10 }),
    "with subscriptions and exchanges": (harness) => {
      const client = harness.connect("c")
      client.subscribe("t", "u/+", "#")
      client.publish("t", "1", { qos: 1 })
      client.publish("t", "2", { qos: 2 })
      return client
    },
    "asked about its session": (harness) => {
      harness.install("sessionRequest")
      return harness.connect("c")
    },
    "asked about a subscription": (harness) => {
      const client = harness.connect("c")
      harness.install("subscribe")
      client.subscribe("t")
      return client
    },
    "asked about a message": (harness) => {
      const client = harness.connect("c")
      harness.install("publish")
      client.publish("t", "m", { qos: 1 })
      return client
    },
    "with acknowledgements behind the gate": (harness) => {
      const client = harness.connect("c")
      client.publish("t", "m", { qos: 1, retain: true })
      return client
    },
    "held because the store is full": (harness) => {
      const client = harness.connect("c")
      harness.storageState("full")
      client.publish("t", "m", { qos: 1 })
      return client
    },
    "with bytes that its socket does not take": (harness) => {
      const client = harness.connect("c")
      client.subscribe("t")
      client.freeze()
      client.publish("t", KIB)
      return client
    },
    "with a message too long for its queue": (harness) => {
      const client = harness.connect("c", { version: 5, properties: { receiveMaximum: 1 } })
      client.subscribe("t")
      for (let count = 0; count < 5; count++) client.publish("t", "m", { qos: 1 })
      return client
    }
  }
  const endings: Record<string, (client: TestClient, harness: CoreHarness) => void> = {
    "its transport goes away": (client) => client.drop(),
    "it sends nonsense": (client) => {
      client.sendBytes(Uint8Array.of(0xff, 0xff, 0xff, 0xff, 0xff))
      client.drop()
    },
    "it says DISCONNECT": (client) => {
      client.disconnect()
      client.drop()
    },
    "the broker ends it": (client, harness) => {
      harness.core.disconnect(client.connection, 0x98, harness.now)
      harness.settle()
      client.drop()
    },
    "the broker shuts down": (client, harness) => {
      harness.core.shutdown(harness.now)
      harness.settle()
      client.drop()
    },
    "it is taken over": (client, harness) => {
      harness.core.installed.sessionRequest = false
      harness.connect("c").drop()
      client.drop()
    },
    "nothing is heard of it": (client, harness) => {
      harness.advance(100_000)
      client.drop()
    }
  }
  for (const [situation, bring] of Object.entries(situations)) {
    it(situation, () => {
      for (const [ending, end] of Object.entries(endings)) {
        const queueOverflow = situation.includes("queue") ? "disconnect" : "drop-newest"
        const config = { queueMessagesMax: 2, queueOverflow, idleTimeoutSeconds: 60 } as const
        const harness = new CoreHarness({ store: "manual", config })
        const client = bring(harness)
        end(client, harness)
        harness.questions.length = 0
        assert.deepStrictEqual(leftovers(harness), nothingLeft, ending)
        assert.strictEqual(harness.core.deadline(), Number.POSITIVE_INFINITY, ending)
        // What comes too late finds nobody, and does no harm.
        harness.commit()
        harness.core.answered(1, { reasonCode: 0 }, harness.now)
        harness.core.receive(client.connection, Uint8Array.of(0xc0, 0), harness.now)
        harness.core.flushed(client.connection, 100, harness.now)
        harness.core.closed(client.connection, { statusCode: 0, description: "again" }, harness.now)
        harness.storageState("ok")
        harness.advance(100_000)
        assert.deepStrictEqual(leftovers(harness), nothingLeft, `${ending}, late`)
      }
    })
  }
})
