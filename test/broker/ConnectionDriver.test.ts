/**
 * What waits for a socket that is busy, and what an interrupt leaves of it: a driver over a socket that is none.
 */
import { assert, describe, it } from "@effect/vitest"
import { ConnectionDriver } from "../../src/broker/ConnectionDriver.ts"
import { BrokerCore } from "../../src/core/BrokerCore.ts"
import { defaults } from "../../src/core/CoreConfig.ts"
import * as Encoder from "../../src/protocol/Encoder.ts"
import type { Packet } from "../../src/protocol/Packet.ts"
import { FakeTransport, fakeListener } from "./FakeTransport.ts"
import { connectPacket } from "./RawClient.ts"

const NOW = 1_700_000_000_000

const wish = { noLocal: false, retainAsPublished: false, retainHandling: 0, qos: 2 } as const

/** A core whose turns are taken by hand, and one client of it, subscribed to everything. */
const start = () => {
  const core = new BrokerCore({
    config: defaults,
    journal: false,
    pages: false,
    idSeed: "seed",
    allocate: (bytes) => new Uint8Array(bytes)
  })
  const transport = new FakeTransport()
  const ignored = () => {}
  const turnover = { core, schedule: ignored, changeReading: ignored, released: ignored, lookBy: ignored }
  const driver = new ConnectionDriver(turnover, fakeListener, transport, NOW)
  const send = (...packets: ReadonlyArray<Packet>): void =>
    transport.sink.onData(Buffer.concat(packets.map((packet) => Encoder.encode(packet, 5))))
  const flush = (): void => {
    core.dirty.length = 0
    driver.flush(NOW)
  }
  /** A message to the client, in a turn of its own. */
  const publish = (topic: string, qos: 0 | 1 | 2): void => {
    core.publish({ topic, payload: Buffer.from(topic), qos, retain: false }, NOW)
    flush()
  }
  send(connectPacket(), {
    _tag: "Subscribe",
    packetId: 1,
    subscriptions: [{ ...wish, filter: "#" }],
    properties: undefined
  })
  flush()
  return { core, driver, flush, publish, send, transport }
}

const bytesOf = (transport: FakeTransport): number => transport.writes.reduce((sum, { length }) => sum + length, 0)

describe("interrupt", () => {
  it("counts what it throws away neither as sent nor as waiting", () => {
    const { core, driver, publish, transport } = start()
    transport.accepting = false
    publish("written", 0)
    for (const qos of [0, 1, 0, 2] as const) publish("waits", qos)
    assert.strictEqual(driver.interrupt(NOW), 2)
    const accepted = bytesOf(transport) - transport.writableLength
    assert.strictEqual(core.stats.bytesSent, accepted)
    transport.accepting = true
    transport.drain()
    assert.strictEqual(core.stats.bytesSent, bytesOf(transport))
    assert.strictEqual(driver.connection.bufferedBytes, 0)
  })
})
