import { afterEach, assert, beforeEach, describe, it, vi } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as BrokerConfig from "../../src/broker/BrokerConfig.ts"
import { EventHub } from "../../src/broker/EventHub.ts"
import { HookRunner } from "../../src/broker/HookRunner.ts"
import { JournalDriver } from "../../src/broker/JournalDriver.ts"
import { QuestionDriver } from "../../src/broker/QuestionDriver.ts"
import { QueueReader } from "../../src/broker/QueueReader.ts"
import { Turn } from "../../src/broker/Turn.ts"
import { BrokerCore } from "../../src/core/BrokerCore.ts"
import { type CoreConfig, defaults } from "../../src/core/CoreConfig.ts"
import * as Encoder from "../../src/protocol/Encoder.ts"
import type { Packet } from "../../src/protocol/Packet.ts"
import * as MemoryStorage from "../../src/storage/MemoryStorage.ts"
import { FakeTransport, fakeListener } from "./FakeTransport.ts"
import { connectPacket, publish } from "./RawClient.ts"

const PACKET_TYPE_DISCONNECT = 0xe0

const start = (config: Partial<CoreConfig> = {}) => {
  const core = new BrokerCore({
    config: { ...defaults, ...config },
    journal: false,
    pages: false,
    idSeed: "seed",
    allocate: (bytes) => Buffer.allocUnsafeSlow(bytes)
  })
  const turn = new Turn(core)
  const hub = new EventHub(core.events, { ...BrokerConfig.defaults, eventsBufferMax: 10 })
  const runner = new HookRunner(10, Effect.runFork)
  const storage = MemoryStorage.make(new MemoryStorage.MemoryStore())
  const journal = new JournalDriver(core, storage, hub, Effect.runFork, turn.schedule)
  const defects: Array<unknown> = []
  const questions = new QuestionDriver(core, {}, runner, hub, turn.schedule)
  const queues = new QueueReader(core, storage, journal, Effect.runFork, turn.schedule)
  turn.begin({ questions, runner, journal, queues, hub, reportDefect: ({ defect }) => void defects.push(defect) })
  const open = () => {
    const transport = new FakeTransport()
    turn.accept(fakeListener, transport)
    return transport
  }
  return { core, turn, defects, open }
}

const give = (transport: FakeTransport, ...packets: ReadonlyArray<Packet>) =>
  transport.sink.onData(Buffer.concat(packets.map((packet) => Encoder.encode(packet, 5))))

const filter = { filter: "a", qos: 0, noLocal: false, retainAsPublished: false, retainHandling: 0 } as const
const subscribe: Packet = { _tag: "Subscribe", packetId: 1, subscriptions: [filter], properties: undefined }

/** One round of the event loop. */
const round = () => vi.advanceTimersByTime(0)

/** A client whose connection the broker has closed while it takes bytes, or does not. */
const dismissed = (accepting: boolean, config: Partial<CoreConfig> = {}) => {
  const { core, open, turn } = start(config)
  const client = open()
  give(client, connectPacket())
  round()
  client.accepting = accepting
  core.disconnect(core.connections.get("1")!, 0x98, Date.now())
  turn.schedule()
  round()
  return { client, core, turn }
}

describe("Turn", () => {
  beforeEach(() =>
    vi.useFakeTimers({ toFake: ["setImmediate", "clearImmediate", "setTimeout", "clearTimeout", "Date"] })
  )
  afterEach(() => vi.useRealTimers())

  it("writes once for everything that happened in a round", () => {
    const { open } = start()
    const client = open()
    give(client, connectPacket(), subscribe)
    give(client, publish("a", "1"), publish("a", "2"))
    give(client, { _tag: "PingReq" })
    assert.strictEqual(client.writes.length, 0)
    round()
    assert.strictEqual(client.writes.length, 1)
    round()
    assert.strictEqual(client.writes.length, 1)
  })

  it("bytes that wait in a socket are not written over", () => {
    const { core, open, turn } = start()
    const client = open()
    client.accepting = false
    give(client, connectPacket(), subscribe)
    round()
    const [written] = client.writes
    const before = Buffer.from(written!)
    core.publish({ topic: "a", payload: Buffer.alloc(500, 7), qos: 0, retain: false }, Date.now())
    turn.schedule()
    round()
    assert.isTrue(written!.equals(before))
    const { connections } = core
    assert.isAbove(connections.get("1")!.bufferedBytes, 500 + client.writableLength)
    client.drain() // what waited is given to it now
    assert.strictEqual(client.writes.length, 2)
    assert.strictEqual(connections.get("1")!.bufferedBytes, client.writableLength)
    client.drain()
    assert.strictEqual(connections.get("1")!.bufferedBytes, 0)
  })

  it("a broker's close says goodbye, ends, and ignores what still comes", () => {
    const { client, core } = dismissed(true)
    assert.strictEqual(client.writes.at(-1)![0], PACKET_TYPE_DISCONNECT)
    assert.isTrue(client.ended)
    assert.isFalse(client.destroyed)
    assert.isTrue(client.reading)
    const received = core.stats.bytesReceived
    give(client, { _tag: "PingReq" })
    assert.strictEqual(core.stats.bytesReceived, received)
  })

  it("a peer that does not close its half is cut off two seconds after the last byte", () => {
    const { client, core, turn } = dismissed(false, { drainTimeoutSeconds: 30 })
    vi.advanceTimersByTime(10_000)
    client.drain()
    round()
    vi.advanceTimersByTime(1_900)
    assert.isFalse(client.destroyed)
    vi.advanceTimersByTime(200)
    assert.isTrue(client.destroyed)
    assert.strictEqual(turn.drivers.size, 0)
    assert.strictEqual(core.connections.size, 0)
  })

  it("a peer that does not even take the goodbye is cut off after the drain timeout", () => {
    const { client } = dismissed(false, { drainTimeoutSeconds: 5 })
    vi.advanceTimersByTime(4_900)
    assert.isFalse(client.destroyed)
    vi.advanceTimersByTime(200)
    assert.isTrue(client.destroyed)
  })

  it("the one timer follows the earliest deadline", () => {
    const { open } = start({ connectTimeoutSeconds: 10 })
    const silent = open()
    const alive = open()
    give(alive, connectPacket({ keepAliveSeconds: 2 }))
    round()
    vi.advanceTimersByTime(2_900)
    assert.isFalse(alive.ended)
    vi.advanceTimersByTime(400)
    assert.isTrue(alive.ended)
    assert.isFalse(silent.ended)
    vi.advanceTimersByTime(7_000)
    assert.isTrue(silent.ended)
  })

  it("reads and pauses as the core wishes", () => {
    const { core, open, turn } = start()
    const client = open()
    assert.isTrue(client.reading)
    const connection = core.connections.get("1")!
    for (const wish of [false, true]) {
      connection.reading = wish
      core.readingChanges.push(connection)
      turn.schedule()
      round()
      assert.strictEqual(client.reading, wish)
    }
  })

  it("a bug in the core costs the connection that met it, not the process", () => {
    // Met in the chunk's own call, or in the turn that goes on with it.
    for (const workPerTurnMax of [100, 2]) {
      const { core, defects, open } = start({ workPerTurnMax })
      const victim = open()
      const other = open()
      const { decoder } = core.connections.get("1")!
      const next = decoder.next.bind(decoder)
      decoder.next = () => {
        const packet = next()
        if (packet?._tag === "PingReq") throw new Error("bug")
        return packet
      }
      give(victim, connectPacket({ clientId: "a" }), publish("a", "1"), publish("a", "2"), { _tag: "PingReq" })
      give(other, connectPacket({ clientId: "b" }))
      vi.advanceTimersByTime(10)
      assert.isTrue(victim.destroyed)
      assert.deepStrictEqual(defects.map(String), ["Error: bug"])
      assert.strictEqual(core.connections.size, 1)
      assert.strictEqual(other.writes.length, 1)
    }
  })

  it("after it has stopped there is neither immediate nor timer", () => {
    const { open, turn } = start()
    give(open(), connectPacket({ keepAliveSeconds: 5 }))
    round()
    turn.schedule()
    turn.stop()
    turn.schedule()
    assert.strictEqual(vi.getTimerCount(), 0)
  })
})
