/**
 * What waits for a socket that is busy, what is told of it and when, and what an interrupt leaves of it: drivers over
 * sockets that are none.
 */
import { assert, describe, it } from "@effect/vitest"
import { ConnectionDriver } from "../../src/broker/ConnectionDriver.ts"
import { BrokerCore } from "../../src/core/BrokerCore.ts"
import { type CoreConfig, defaults } from "../../src/core/CoreConfig.ts"
import type { CoreEvent, CoreEventTag, Frame } from "../../src/core/CoreEvent.ts"
import { DecodedPublish, Decoder } from "../../src/protocol/Decoder.ts"
import * as Encoder from "../../src/protocol/Encoder.ts"
import type { Connect, Packet, QoS } from "../../src/protocol/Packet.ts"
import { FakeTransport, fakeListener } from "./FakeTransport.ts"
import { connectPacket } from "./RawClient.ts"

const NOW = 1_700_000_000_000

const TOLD = ["MessageSending", "OutgoingMessageStatus", "MessageSent", "MessageDropped", "Disconnected"] as const

const wish = { noLocal: false, retainAsPublished: true, retainHandling: 2, qos: 2 } as const

const subscribe: Packet = {
  _tag: "Subscribe",
  packetId: 1,
  subscriptions: [{ ...wish, filter: "#" }],
  properties: undefined
}

const acknowledge = (_tag: "PubAck" | "PubRec" | "PubComp", packetId: number): Packet =>
  ({ _tag, packetId, reasonCode: 0, properties: undefined }) as Packet // one of the three

/** A connection whose socket takes what it is told to take. */
class Peer {
  readonly transport = new FakeTransport()
  readonly driver: ConnectionDriver
  constructor(core: BrokerCore) {
    const ignored = () => {}
    const turnover = { core, schedule: ignored, changeReading: ignored, released: ignored, lookBy: ignored }
    this.driver = new ConnectionDriver(turnover, fakeListener, this.transport, NOW)
  }
  readonly send = (...packets: ReadonlyArray<Packet>): void =>
    this.transport.sink.onData(Buffer.concat(packets.map((packet) => Encoder.encode(packet, 5))))
  /** The topics of the messages that the socket was given, in order; "" when only the alias was sent. */
  get written(): ReadonlyArray<string> {
    const limits = { packetBytesMax: 268_435_460, topicLevelsMax: 100, userPropertiesMax: 100 }
    const decoder = new Decoder({ sender: "server", version: 5, ...limits })
    decoder.push(Buffer.concat(this.transport.writes))
    const topics: Array<string> = []
    for (let packet = decoder.next(); packet !== undefined; packet = decoder.next()) {
      if (packet instanceof DecodedPublish) topics.push(packet.topic)
    }
    return topics
  }
}

/** A core whose turns are taken by hand, told of by the topics of its messages. */
const start = (events: ReadonlyArray<CoreEventTag> = TOLD, config: Partial<CoreConfig> = {}) => {
  const core = new BrokerCore({
    config: { ...defaults, ...config },
    journal: false,
    pages: false,
    idSeed: "seed",
    allocate: (bytes) => new Uint8Array(bytes)
  })
  for (const tag of events) core.events.want(tag, true)
  const topics = new Map<number, string>()
  const flush = (): void => {
    for (const { driver } of core.dirty.splice(0)) (driver as ConnectionDriver).flush(NOW)
  }
  /** Its socket is busy with so many bytes. */
  const connect = (options: Partial<Connect> = {}, unsent = 0): Peer => {
    const peer = new Peer(core)
    peer.transport.writableLength = unsent
    peer.send(connectPacket({ clientId: "a", ...options }), subscribe)
    flush()
    return peer
  }
  /** Does not flush. */
  const gather = (topic: string, qos: QoS, payload: Uint8Array = new Uint8Array(1), retain = false): void => {
    core.publish({ topic, payload, qos, retain }, NOW)
    topics.set(core.lastIds.message, topic)
  }
  const publish = (topic: string, qos: QoS): void => {
    gather(topic, qos)
    flush()
  }
  const word = (event: CoreEvent | Frame): string => {
    if (event._tag === "MessageDropped") return `${event.reason} ${event.topic}`
    if (!("messageId" in event)) return event._tag
    const dup = "dup" in event && event.dup ? " dup" : ""
    const what = "state" in event ? event.state : event._tag.slice("Message".length).toLowerCase()
    return `${what} ${topics.get(event.messageId)}${dup}`
  }
  /** What was told since the last call. */
  const told = (): ReadonlyArray<string> => core.events.take().map(word)
  const close = (): void => {
    for (const { connection, drain } of core.closes.splice(0)) (connection.driver as ConnectionDriver).close(drain, NOW)
  }
  return { close, connect, core, flush, gather, publish, told }
}

/** The socket of a client is busy with a first message. */
const busy = (events?: ReadonlyArray<CoreEventTag>, options?: Partial<Connect>, config?: Partial<CoreConfig>) => {
  const broker = start(events, config)
  const peer = broker.connect(options)
  peer.transport.accepting = false
  broker.publish("first", 0)
  broker.told()
  return { ...broker, ...peer, peer }
}

const bytesOf = (transport: FakeTransport): number => transport.writes.reduce((sum, { length }) => sum + length, 0)

describe("messages", () => {
  it("are told as sending when a socket that takes them is given them", () => {
    const { connect, publish, told } = start()
    const { driver } = connect()
    for (const qos of [0, 1, 2] as const) publish(`qos${qos}`, qos)
    assert.deepStrictEqual(told(), [
      ...["1 qos0", "sending qos0", "10 qos0", "sent qos0"],
      ...["1 qos1", "sending qos1", "2 qos1"],
      ...["1 qos2", "sending qos2", "3 qos2"]
    ])
    assert.isUndefined(driver.connection.unhanded)
  })

  it("that wait for a busy one are not, until it is given them", () => {
    const { driver, publish, send, told, transport } = busy()
    for (const qos of [0, 1, 2] as const) publish(`qos${qos}`, qos)
    send({ _tag: "PingReq" })
    assert.deepStrictEqual(told(), ["1 qos0", "1 qos1", "1 qos2"])
    transport.drain()
    assert.deepStrictEqual(told(), [
      ...["sending qos0", "10 qos0", "sent qos0"],
      ...["sending qos1", "2 qos1"],
      ...["sending qos2", "3 qos2"]
    ])
    assert.isUndefined(driver.connection.unhanded)
    send(acknowledge("PubAck", 1), acknowledge("PubRec", 2), acknowledge("PubComp", 2))
    assert.deepStrictEqual(told(), ["10 qos1", "sent qos1", "4 qos2", "5 qos2", "10 qos2", "sent qos2"])
  })

  it("are told with what their packet said, of which the retain flag is a part", () => {
    const { core, flush, gather, transport } = busy(["MessageSending"])
    for (const [qos, retain] of [
      [0, true],
      [0, false],
      [1, true]
    ] as const) {
      gather("t", qos, new Uint8Array(1), retain)
      flush()
    }
    transport.drain()
    const events = core.events.take().map((event) => ({ ...event, messageId: 0 }))
    const about = { _tag: "MessageSending", connectionId: "1", clientId: "a", messageId: 0, dup: false }
    assert.deepStrictEqual(events as ReadonlyArray<object>, [
      { ...about, qos: 0, retain: true, packetId: -1 },
      { ...about, qos: 0, retain: false, packetId: -1 },
      { ...about, qos: 1, retain: true, packetId: 1 }
    ])
  })

  it("of one turn that is too much for one write are told as far as the socket has them", () => {
    const { connect, flush, gather, told } = start(["MessageSending"])
    const { transport } = connect()
    transport.accepting = false
    for (let megabyte = 0; megabyte < 7; megabyte++) gather(`${megabyte}`, 0, new Uint8Array(1_000_000))
    flush()
    assert.deepStrictEqual(
      told(),
      ["0", "1", "2", "3", "4"].map((topic) => `sending ${topic}`)
    )
    transport.drain()
    assert.deepStrictEqual(told(), ["sending 5", "sending 6"])
  })
})

describe("messages that wait", () => {
  it("are only told as dropped when an interrupt throws them away; those behind them when they are sent", () => {
    const { driver, peer, publish, told, transport } = busy()
    for (const [index, qos] of ([0, 1, 0, 0, 2, 0, 1] as const).entries()) publish(`${index}`, qos)
    told()
    assert.strictEqual(driver.interrupt(NOW), 4)
    assert.deepStrictEqual(
      told(),
      ["0", "2", "3", "5"].map((topic) => `interrupted ${topic}`)
    )
    publish("behind", 0)
    assert.deepStrictEqual(told(), ["1 behind"])
    transport.drain()
    assert.deepStrictEqual(told(), [
      ...["sending 1", "2 1", "sending 4", "3 4", "sending 6", "2 6"],
      ...["sending behind", "10 behind", "sent behind"]
    ])
    assert.deepStrictEqual(peer.written, ["first", "1", "4", "6", "behind"])
    assert.isUndefined(driver.connection.unhanded)
  })

  it("are told as sent when an interrupt must leave them for their topic alias", () => {
    const options = { properties: { topicAliasMaximum: 10 } } as Partial<Connect> // the others are optional
    const { driver, peer, publish, told, transport } = busy(undefined, options, { topicAliasMaximum: 10 })
    for (const topic of ["x", "x", "y", "x"]) publish(topic, 0)
    told()
    assert.strictEqual(driver.interrupt(NOW), 2)
    assert.strictEqual(told().length, 2)
    transport.drain()
    assert.deepStrictEqual(told(), [...["sending x", "10 x", "sent x"], ...["sending y", "10 y", "sent y"]])
    assert.deepStrictEqual(peer.written, ["first", "x", "y"])
  })

  it("of the turn at hand are told when an interrupt gives them to an idle socket", () => {
    const { connect, gather, told } = start()
    const { driver } = connect()
    gather("goes", 0)
    gather("stays", 1)
    assert.strictEqual(driver.interrupt(NOW), 1)
    assert.deepStrictEqual(told(), ["1 goes", "1 stays", "interrupted goes", "sending stays", "2 stays"])
  })

  it("are not told as sending after a client has acknowledged what it cannot have", () => {
    const { driver, publish, send, told, transport } = busy()
    for (const [topic, qos] of [
      ["one", 1],
      ["two", 2],
      ["half", 2],
      ["good", 1]
    ] as const) {
      publish(topic, qos)
    }
    told()
    send(acknowledge("PubAck", 1), acknowledge("PubRec", 2), acknowledge("PubComp", 2), acknowledge("PubRec", 3))
    assert.deepStrictEqual(told(), ["10 one", "sent one", "4 two", "5 two", "10 two", "sent two", "4 half", "5 half"])
    transport.drain()
    assert.deepStrictEqual(told(), ["sending good", "2 good"])
    assert.isUndefined(driver.connection.unhanded)
  })

  it("once more after a reconnection are told as duplicates, but for those that the client has acknowledged", () => {
    const { connect, publish, told } = start()
    const kept = { cleanStart: false, properties: { sessionExpiryInterval: 100 } } as Partial<Connect> // as above
    const former = connect(kept)
    for (const topic of ["had", "lost"]) publish(topic, 1)
    former.transport.destroy()
    told()
    const { send, transport } = connect(kept, 1)
    assert.deepStrictEqual(told(), [])
    send(acknowledge("PubAck", 1))
    assert.deepStrictEqual(told(), ["10 had dup", "sent had"])
    transport.drain()
    assert.deepStrictEqual(told(), ["sending lost dup", "2 lost dup"])
  })

  it("are told when the broker closes the connection, and gives its socket all that is left to send", () => {
    const { close, core, driver, peer, publish, told } = busy()
    for (const qos of [0, 1] as const) publish(`qos${qos}`, qos)
    told()
    core.disconnect(driver.connection, 0x98, NOW)
    assert.deepStrictEqual(told(), ["Disconnected"])
    close()
    assert.deepStrictEqual(told(), ["sending qos0", "10 qos0", "sent qos0", "sending qos1", "2 qos1"])
    assert.deepStrictEqual(peer.written, ["first", "qos0", "qos1"])
    assert.isUndefined(driver.connection.unhanded)
  })

  it("are not told of any more when the connection is lost", () => {
    for (const qos of [0, 1, 2] as const) {
      const { core, driver, flush, gather, publish, told, transport } = busy()
      publish("held", qos)
      gather("gathered", qos)
      told()
      transport.destroy()
      flush()
      assert.deepStrictEqual(told(), ["Disconnected"])
      assert.isUndefined(driver.connection.unhanded)
      assert.strictEqual(core.connections.size, 0)
    }
  })

  it("are not told of when the socket is gone before anybody has said so", () => {
    for (const qos of [0, 1, 2] as const) {
      const { connect, core, gather, flush, told } = start()
      const { transport } = connect()
      told()
      gather("late", qos)
      const { bytesSent } = core.stats
      transport.isOpen = false
      flush()
      assert.deepStrictEqual(
        told().filter((word) => !word.startsWith("1 ")),
        []
      )
      assert.strictEqual(core.stats.bytesSent, bytesSent)
      transport.destroy()
      assert.deepStrictEqual(told(), ["Disconnected"])
    }
  })

  it("are told to who listens when they are sent, of those written while somebody listened", () => {
    const listeners = ["MessageSending", "MessageSent"] as const
    const { core, driver, publish, told, transport } = busy(listeners)
    const listen = (wanted: boolean): void => {
      for (const tag of listeners) core.events.want(tag, wanted)
    }
    publish("first kept", 1)
    listen(false)
    for (const qos of [0, 1] as const) publish("unheard", qos)
    listen(true)
    publish("second", 0)
    core.events.want("MessageSending", false)
    assert.strictEqual(driver.interrupt(NOW), 2)
    publish("third", 0)
    transport.drain()
    assert.deepStrictEqual(told(), ["sent third"])
    core.events.want("MessageSending", true)
    publish("fourth", 1)
    listen(false)
    transport.drain()
    assert.deepStrictEqual(told(), [])
    assert.isUndefined(driver.connection.unhanded)
  })

  it("are not kept in mind while nobody listens", () => {
    for (const events of [[], ["MessageReceiving", "MessageDropped"]] as const) {
      const { driver, publish, told } = busy(events)
      for (const qos of [0, 1, 2] as const) publish("t", qos)
      assert.isUndefined(driver.connection.unhanded)
      assert.deepStrictEqual(told(), [])
    }
  })
})

describe("interrupt", () => {
  it("counts what it throws away neither as sent nor as waiting", () => {
    const { core, driver, publish, transport } = busy()
    for (const qos of [0, 1, 0, 2] as const) publish("waits", qos)
    assert.strictEqual(driver.interrupt(NOW), 2)
    assert.strictEqual(core.stats.bytesSent, bytesOf(transport) - transport.writableLength)
    transport.accepting = true
    transport.drain()
    assert.strictEqual(core.stats.bytesSent, bytesOf(transport))
    assert.strictEqual(driver.connection.bufferedBytes, 0)
  })
})
