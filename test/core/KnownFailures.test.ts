/**
 * Failures that other brokers, clients and gateways have had, as far as the core can have them: each has a test whose
 * title says `known failure` and its number.
 *
 * Most are beside the tests of what they concern; `where` says in which files, and the first test here looks whether
 * they still are. What follows are cases of theirs that have no better place.
 */
import { assert, describe, it } from "@effect/vitest"
import { readdirSync, readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import * as Encodable from "../../src/protocol/Encodable.ts"
import * as Encoder from "../../src/protocol/Encoder.ts"
import type { Connect, Packet } from "../../src/protocol/Packet.ts"
import { CoreHarness } from "./CoreHarness.ts"
import { all, assertForgotten, hex, kept, only, ready, subscriber, versions } from "./support/Clients.ts"

/** Number, what it is, and the test files that have it. */
const where: ReadonlyArray<readonly [number: number, what: string, files: ReadonlyArray<string>]> = [
  [1, "a length that is only announced allocates", ["core/BadInput", "core/Limits"]],
  [2, "a first packet that is not CONNECT takes memory", ["core/BadInput", "core/Connecting"]],
  [3, "one message bloats memory", ["core/BadInput", "core/Subscriptions", "core/TreeLimits", "core/KnownFailures"]],
  [4, "thousands of user properties", ["core/BadInput", "core/Limits"]],
  [5, "hundreds of topic levels", ["core/BadInput", "core/Subscriptions", "core/Wills", "protocol/Decoder"]],
  [6, "QoS 2 ids that are never released; slots reserved too late", ["core/QoS", "core/Hooks", "core/Authenticating"]],
  [7, "memory lost on the error path of CONNECT", ["core/BadInput", "core/Wills"]],
  [8, "expired sessions, wrong counters", ["core/Session", "core/KnownFailures"]],
  [9, "packets of a server from a client; a topic of length 0", ["core/Connecting", "core/BadInput"]],
  [10, "a length of five bytes; bytes read beyond a chunk", ["core/BadInput", "core/KnownFailures"]],
  [11, "packets that end before their last field", ["core/BadInput"]],
  [12, "crafted packets that throw, or are taken for others", ["core/BadInput", "core/KnownFailures"]],
  [13, "crafted packets that end the process", ["core/BadInput"]],
  [14, "topics of $ that are not $SYS", ["core/Subscriptions", "core/KnownFailures"]],
  [
    20,
    "shared and normal subscriptions mixed up",
    ["core/SharedSubscriptions", "core/Subscriptions", "core/Permissions"]
  ],
  [24, "slots held by clients that say little or wait long", ["core/Connecting", "core/Authenticating"]],
  [25, "one slow reader freezes everybody", ["broker/Broker", "core/KnownFailures"]],
  [26, "a limit of 0", ["core/Limits", "broker/BrokerConfig"]],
  [27, "clients publish topics of the server", ["core/Subscriptions", "core/Permissions"]],
  [31, "duplicates of QoS 2 before PUBREL", ["core/QoS"]],
  [32, "the client's Maximum Packet Size", ["core/Publishing"]],
  [33, "will delay without session expiry", ["core/Wills"]]
]

const folder = fileURLToPath(new URL("..", import.meta.url))

/** The numbers that the titles in a test file name. */
const namedIn = (file: string): ReadonlySet<number> => {
  const named = new Set<number>()
  for (const line of readFileSync(`${folder}${file}.test.ts`, "utf8").split("\n")) {
    if (/^\s*(\*|\/\/)/.test(line)) continue
    const list = /known failures?,? (\d[\d, ]*)/.exec(line)?.[1]
    for (const number of list?.split(",") ?? []) named.add(Number(number))
  }
  return named
}

describe("the list of known failures", () => {
  it("has every number that concerns the core", () => {
    const core = [...Array.from({ length: 14 }, (_, index) => index + 1), 20, 24, 25, 26, 27, 31, 32, 33]
    assert.deepStrictEqual(
      where.map(([number]) => number),
      core
    )
  })

  for (const [number, what, files] of where) {
    it(`finds the tests of ${number}: ${what}`, () => {
      for (const file of files) {
        assert.isTrue(namedIn(file).has(number), `no title in ${file}.test.ts names known failure ${number}`)
      }
    })
  }

  it("is complete: no test of the core names a failure that is not in the list", () => {
    for (const entry of readdirSync(`${folder}core`)) {
      if (!entry.endsWith(".test.ts")) continue
      const file = `core/${entry.slice(0, -".test.ts".length)}`
      const listed = new Set(where.filter(([, , files]) => files.includes(file)).map(([number]) => number))
      // Those of authorization and of races are in lists of their own.
      const unlisted = [...namedIn(file)].filter(
        (number) => !listed.has(number) && where.some(([one]) => one === number)
      )
      assert.deepStrictEqual(unlisted, [], `${file}.test.ts`)
    }
  })
})

describe("one small message (known failure 3)", () => {
  it("that is kept does not keep the bytes it arrived among", () => {
    const h = new CoreHarness()
    subscriber(h, "away", kept(4), { filter: "t", qos: 1 }).drop()
    const publisher = ready(h, "p")
    const packets = [
      publisher.publication("t", "x", { qos: 1, retain: true }),
      publisher.publication("other", new Uint8Array(60_000))
    ]
    publisher.send(...packets)
    const retained = [...h.core.retained.entries()].map(([, message]) => message)
    const queued = [...h.session("away")!.queue].map(({ message }) => message)
    assert.deepStrictEqual([retained.length, queued.length], [1, 1])
    for (const message of [...retained, ...queued]) assert.isBelow(message.payload.buffer.byteLength, 100)
  })
})

describe("the counters (known failure 8)", () => {
  it("come back to where they were, however connections end", () => {
    const h = new CoreHarness({ config: { connectTimeoutSeconds: 5 } })
    const ends: ReadonlyArray<() => void> = [
      () => h.open(4).drop(),
      () => void h.open(4), // the connect timeout
      () => h.open(4).sendBytes(hex("c0 00")),
      () => h.open(4).sendBytes(hex("10 ff ff ff ff 01")),
      () => void h.connect("", { version: 3 }),
      () => h.connect("a").drop(),
      () => h.connect("b").disconnect(),
      () => h.connect("c").sendBytes(hex("10 00")),
      () => void h.connect("d", { keepAliveSeconds: 1 }), // keep alive
      () => void h.connect("e", { version: 5, expiry: 1 }), // taken over by the next, then dropped below
      () => h.connect("e", { version: 5, expiry: 1 }).drop()
    ]
    for (let round = 0; round < 20; round++) for (const end of ends) end()
    h.advance(60_000)
    assert.strictEqual(h.core.stats.connectionsTotal, 20 * ends.length)
    assertForgotten(h)
    const { gated, openQuestions, overflowing, refused } = h.state
    assert.deepStrictEqual([gated.size, overflowing.length, openQuestions.size, refused.size], [0, 0, 0, 0])
    assert.strictEqual(h.state.bufferedBytes, 0)
  })
})

describe("a chunk (known failure 10)", () => {
  it("that ends within a packet is not read beyond its end, whatever lies there", () => {
    const h = new CoreHarness()
    const watcher = subscriber(h, "w", {}, "#")
    const client = ready(h, "a")
    const frame = Encoder.encode(client.publication("t", "payload"), 4)
    for (let length = 1; length < frame.length; length++) {
      // The rest of another message lies behind the chunk, in the same memory.
      const memory = Encoder.encode(client.publication("t", "WRONG!!"), 4)
      memory.set(frame.subarray(0, length))
      client.sendBytes(memory.subarray(0, length))
      assert.deepStrictEqual(watcher.take(), [])
      client.sendBytes(frame.slice(length))
      assert.deepStrictEqual(watcher.takePayloads(), ["payload"])
    }
  })
})

describe("packets of other implementations' failures (known failure 12)", () => {
  it("a length that is split over chunks is one length", () => {
    const h = new CoreHarness()
    const client = subscriber(h, "a", {}, "t")
    const frame = Encoder.encode(client.publication("t", "x".repeat(20_000)), 4)
    for (const byte of frame.subarray(0, 6)) client.sendBytes(Uint8Array.of(byte))
    client.sendBytes(frame.slice(6))
    assert.strictEqual(only(client, "Publish").payload.length, 20_000)
  })

  it("QoS 3, reserved flags and a name that does not fit the level are refused", () => {
    const faults: ReadonlyArray<readonly [title: string, bytes: string, connected: boolean]> = [
      ["QoS 3", "36 06 00 01 74 00 01 78", true],
      ["flags of SUBSCRIBE", "80 06 00 01 00 01 74 00", true],
      ["flags of PUBREL", "60 02 00 01", true],
      ["QoS 3 of a subscription", "82 06 00 01 00 01 74 03", true],
      ["QoS 3 of a will", "10 13 00 04 4d 51 54 54 04 1e 00 00 00 01 61 00 01 77 00 01 78", false],
      ["the reserved flag of CONNECT", "10 0d 00 04 4d 51 54 54 04 03 00 00 00 01 61", false],
      ["MQTT with level 3", "10 0d 00 04 4d 51 54 54 03 02 00 00 00 01 61", false],
      ["MQIsdp with level 4", "10 0f 00 06 4d 51 49 73 64 70 04 02 00 00 00 01 61", false]
    ]
    for (const [title, bytes, connected] of faults) {
      const h = new CoreHarness()
      const client = connected ? ready(h, "a") : h.open(4)
      client.sendBytes(hex(bytes))
      assert.isTrue(client.closed, title)
      assert.isFalse(
        client.take().some((packet) => packet._tag === "ConnAck" && packet.reasonCode === 0),
        title
      )
      assertForgotten(h)
    }
  })

  it("a user property that comes twice, or is empty, is passed on as it came", () => {
    const h = new CoreHarness()
    const client = subscriber(h, "a", { version: 5 }, "t")
    const userProperties = [
      ["k", ""],
      ["k", ""],
      ["", "v"],
      ["k", "v"],
      ["", ""]
    ] as const
    client.publish("t", "x", { properties: { userProperties } })
    assert.deepStrictEqual(only(client, "Publish").properties?.userProperties, userProperties)
  })

  it("a packet that cannot be encoded is refused, and does not become another one", () => {
    const connect = (qos: number): Packet =>
      ({
        _tag: "Connect",
        protocolVersion: 4,
        clientId: "a",
        cleanStart: true,
        keepAliveSeconds: 0,
        will: { topic: "w", payload: new Uint8Array(1), qos, retain: false }
      }) as Connect // A program without types may give any number.
    assert.isUndefined(Encodable.encodable(connect(2), 4))
    for (const qos of [3, 4, -1, 0.5]) assert.isDefined(Encodable.encodable(connect(qos), 4), `${qos}`)
  })
})

describe("topics of $ (known failure 14)", () => {
  it("other than $SYS are topics like others, but for leading wildcards", () => {
    for (const version of versions) {
      const h = new CoreHarness()
      const topics = ["$", "$/", "$x", "$x/y", "$SYSTEM", "$sys", "$share", "$CONTROL/x"]
      const own = subscriber(h, "a", { version }, ...topics)
      const wild = subscriber(h, "b", { version }, "#", "+/+", "+")
      const payload = new Uint8Array(1)
      for (const topic of topics) {
        ready(h, "w", { version, will: { topic, payload, qos: 1, retain: true } }).drop()
        own.publish(topic, "x", { qos: 1 })
      }
      assert.strictEqual(all(own, "Publish").length, 2 * topics.length)
      assert.deepStrictEqual(wild.take(), [])
      assert.strictEqual(h.core.retained.size, topics.length)
      const late = ready(h, "c", { version })
      late.subscribe("$x/#")
      assert.strictEqual(all(late, "Publish").length, 2)
    }
  })
})

describe("a reader that is frozen (known failure 25)", () => {
  it("costs nobody else a message, also when hundreds are frozen and none is read", () => {
    const h = new CoreHarness({ config: { outboxBytesMax: 20_000 } })
    const frozen = Array.from({ length: 100 }, (_, index) => subscriber(h, `f${index}`, {}, "t"))
    const reader = subscriber(h, "r", {}, "t")
    const publisher = ready(h, "p")
    for (const client of frozen) client.freeze()
    let received = 0
    for (let index = 0; index < 500; index++) {
      publisher.publish("t", "x".repeat(1_000))
      h.advance(10)
      received += reader.takePayloads().length
    }
    h.advance(2_000)
    received += reader.takePayloads().length
    assert.strictEqual(received, 500)
    assert.isTrue(publisher.reading)
  })
})
