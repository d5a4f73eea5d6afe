/**
 * The documented Log event, and the same lines through Effect's logging: levels, types, and nothing that is secret.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Stream from "effect/Stream"
import * as Broker from "../../src/broker/Broker.ts"
import type { Log } from "../../src/broker/BrokerEvent.ts"
import * as BrokerLogger from "../../src/broker/BrokerLogger.ts"
import * as Hooks from "../../src/broker/Hooks.ts"
import * as Frames from "../../src/core/Frames.ts"
import type { Packet } from "../../src/protocol/Packet.ts"
import * as RawClient from "./RawClient.ts"
import { brokerLayer, port } from "./support.ts"

const SECRET = "p4ssw0rd"
const PAYLOAD = "grandmother's recipe"

/** The life of a client, with everything that may be logged in it. */
const live = Effect.gen(function* () {
  const broker = yield* Broker.Broker
  const bound = yield* port
  const client = yield* RawClient.connect(bound, {
    clientId: "ann's",
    userName: "ann",
    password: Buffer.from(SECRET),
    protocolVersion: 4
  })
  yield* RawClient.subscribe(client, "t/#", 1)
  yield* client.send(RawClient.publish("t/1", PAYLOAD, 1, false, 9))
  yield* client.expect("Publish")
  yield* client.expect("PubAck")
  yield* client.send({ _tag: "Unsubscribe", packetId: 5, filters: ["t/#"], properties: undefined })
  yield* client.expect("UnsubAck")
  yield* client.send({ _tag: "Disconnect", reasonCode: 0, properties: undefined })
  yield* client.ended
  const broken = yield* RawClient.open(bound)
  broken.socket.write(Buffer.from("c0", "hex"))
  broken.socket.write(Buffer.from("01", "hex"))
  yield* broken.ended
  yield* broker.stopListening
})

/** A broker's Log events, from now on. */
const logged = Effect.gen(function* () {
  const broker = yield* Broker.Broker
  const lines: Array<Log> = []
  yield* broker.eventsOf("Log").pipe(
    Stream.runForEach((line) => Effect.sync(() => void lines.push(line))),
    Effect.forkScoped({ startImmediately: true })
  )
  return { broker, lines }
})

const logOf = (settings: { readonly logLevel?: number; readonly maskSensitiveData?: boolean }) =>
  Effect.gen(function* () {
    const { broker, lines } = yield* logged
    yield* live
    yield* broker.shutdown
    return lines
  }).pipe(Effect.scoped, Effect.provide(brokerLayer({ settings })))

const kinds = (lines: ReadonlyArray<Log>): ReadonlyArray<string> =>
  [...new Set(lines.map(({ logLevel, logType }) => `${logLevel} ${logType}`))].sort()

describe("Log events", () => {
  it.live("level 0: none at all", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* logOf({ logLevel: 0 }), [])
    })
  )

  it.live("level 1, the default: what concerns the broker, of type Info", () =>
    Effect.gen(function* () {
      const lines = yield* logOf({})
      assert.deepStrictEqual(kinds(lines), ["1 Info"])
      assert.match(lines[0]!.message, /^Error 600 of client "": /)
      assert.match(lines[0]!.connectionId, /^\d+$/)
      assert.match(lines.at(-1)!.message, /^Stopped listening on 127\.0\.0\.1:\d+/)
      assert.strictEqual(lines.at(-1)!.connectionId, "")
    })
  )

  it.live("level 2: sessions too, in order", () =>
    Effect.gen(function* () {
      const lines = yield* logOf({ logLevel: 2 })
      assert.deepStrictEqual(kinds(lines), ["1 Info", "2 Session"])
      const [first] = lines
      const ofFirst = lines.filter(({ connectionId }) => connectionId === first!.connectionId)
      assert.deepStrictEqual(
        ofFirst.map(({ message }) => message),
        [
          "Connected",
          '"ann\'s" of user "ann" began a session (version 4)',
          '"ann\'s" asked for "t/#" at QoS 1, answer 1',
          '"ann\'s" left "t/#"',
          "Disconnected"
        ]
      )
      assert.isTrue(lines.some(({ message }) => message === 'The session of "ann\'s" was removed'))
    })
  )

  it.live("level 2: says who may not publish what, and which message nobody could be given", () =>
    Effect.gen(function* () {
      const { lines } = yield* logged
      const client = yield* RawClient.connect(yield* port, { clientId: "a" })
      yield* client.send(RawClient.publish("secret", PAYLOAD, 1), RawClient.publish("t", PAYLOAD, 1, true, 2))
      yield* client.expect("PubAck")
      yield* client.expect("PubAck")
      yield* RawClient.ping(client)
      const told = lines.filter(({ message }) => message.includes(" at QoS "))
      assert.deepStrictEqual(
        told.map(({ connectionId, logLevel, logType, message }) => [connectionId, logLevel, logType, message]),
        [
          ["1", 2, "Session", '"a" may not publish on "secret" at QoS 1: 135 (publish)'],
          ["", 2, "Session", 'A message on "t" at QoS 1: not-retained']
        ]
      )
    }).pipe(
      Effect.scoped,
      Effect.provide(
        brokerLayer({
          settings: { logLevel: 2, retainedMessagesMax: 0 },
          hooks: { publish: ({ topic }) => Effect.succeed(topic === "secret" ? Hooks.refuse() : Hooks.accept) }
        })
      )
    )
  )

  it.live("level 3: every packet too, in both directions, masked", () =>
    Effect.gen(function* () {
      const lines = yield* logOf({ logLevel: 3 })
      assert.deepStrictEqual(kinds(lines), ["1 Info", "2 Session", "3 Frame"])
      const frames = lines.filter(({ logType }) => logType === "Frame").map(({ message }) => message)
      assert.deepStrictEqual(frames.slice(0, 4), [
        'received CONNECT version 4 client "ann\'s" user "ann" password *** clean keep alive 0 s',
        "sent CONNACK 0",
        'received SUBSCRIBE #1 "t/#" QoS 1',
        "sent SUBACK #1 1"
      ])
      assert.include(frames, `received PUBLISH "t/1" QoS 1 #9, ${PAYLOAD.length} bytes`)
      assert.include(frames, `sent PUBLISH "t/1" QoS 1 #1, ${PAYLOAD.length} bytes`)
      assert.include(frames, "sent PUBACK #9")
      assert.include(frames, "received DISCONNECT")
      const everything = JSON.stringify(lines)
      assert.notInclude(everything, SECRET)
      assert.notInclude(everything, PAYLOAD)
    })
  )

  it.live("MaskSensitiveData off: payloads are shown, passwords never", () =>
    Effect.gen(function* () {
      const everything = JSON.stringify(yield* logOf({ logLevel: 3, maskSensitiveData: false }))
      assert.include(everything, PAYLOAD)
      assert.notInclude(everything, SECRET)
    })
  )

  it.live("the level can be changed while somebody listens", () =>
    Effect.gen(function* () {
      const { broker, lines } = yield* logged
      const bound = yield* port
      const client = yield* RawClient.connect(bound)
      assert.deepStrictEqual(lines, [])
      yield* broker.config("LogLevel=3")
      yield* RawClient.ping(client)
      yield* broker.config("LogLevel=0")
      yield* RawClient.ping(client)
      yield* broker.stopListening
      assert.deepStrictEqual(
        lines.map(({ message }) => message),
        ["received PINGREQ", "sent PINGRESP"]
      )
    }).pipe(Effect.provide(brokerLayer()))
  )
})

describe("BrokerLogger", () => {
  it.live("logs the same lines through Effect, with their level and annotations", () =>
    Effect.gen(function* () {
      const seen: Array<string> = []
      const logger = Logger.make<unknown, void>(({ logLevel, message }) => {
        seen.push(`${logLevel} ${String(message)}`)
      })
      const layer = BrokerLogger.layer.pipe(
        Layer.provideMerge(brokerLayer({ settings: { logLevel: 3 } })),
        Layer.provide(Logger.layer([logger]))
      )
      yield* Effect.provide(live, layer)
      assert.isTrue(seen.some((line) => line.startsWith("Info Error 600 of client")))
      assert.isTrue(seen.some((line) => line === "Debug Connected"))
      assert.isTrue(seen.some((line) => line === "Trace sent CONNACK 0"))
    })
  )

  /** A Logger that keeps its messages. */
  const keeping = (seen: Array<string>) =>
    Logger.layer([Logger.make<unknown, void>(({ message }) => void seen.push(String(message)))])

  const listeners = Array.from({ length: 20 }, () => ({ port: 0 }))

  it.live("writes what was published when its scope closes, although nobody has yielded to it since", () =>
    Effect.gen(function* () {
      const broker = yield* Broker.Broker
      for (const count of [listeners.length, 0]) {
        const seen: Array<string> = []
        yield* Effect.scoped(
          Effect.andThen(
            Layer.build(BrokerLogger.layer),
            // A line for each that listens yet, all at once.
            Effect.sync(() => Effect.runSync(broker.stopListening))
          )
        ).pipe(Effect.provide(keeping(seen)))
        assert.strictEqual(seen.length, count)
      }
    }).pipe(Effect.provide(brokerLayer({ settings: { listeners } })))
  )

  it.live("logged: the log of a broker ends after the broker, with its last goodbye", () =>
    Effect.gen(function* () {
      const seen: Array<string> = []
      const layer = BrokerLogger.logged(brokerLayer({ settings: { logLevel: 2 } })).pipe(Layer.provide(keeping(seen)))
      const client = yield* Effect.gen(function* () {
        return yield* RawClient.connect(yield* port, { clientId: "last" })
      }).pipe(Effect.provide(layer))
      yield* client.expect("Disconnect")
      yield* client.ended
      assert.strictEqual(seen[0], "Connected")
      assert.match(seen[2]!, /^Stopped listening on 127\.0\.0\.1:/)
      const goodbye = "Disconnected: The broker is shutting down. (0)"
      assert.sameMembers(seen.slice(3), ['The session of "last" was removed', goodbye])
    })
  )

  it.live("logged: a broker that cannot start is an error, and nobody waits", () =>
    Effect.gen(function* () {
      const taken = yield* port
      const layer = BrokerLogger.logged(brokerLayer({ settings: { listeners: [{ port: taken }] } }))
      assert.strictEqual((yield* Effect.flip(Effect.scoped(Layer.build(layer)))).code, 10048)
    }).pipe(Effect.provide(brokerLayer()))
  )

  it.live("logged: whoever else uses that broker layer has the same broker", () =>
    Effect.gen(function* () {
      const own = brokerLayer()
      const other = Layer.effectDiscard(
        Effect.gen(function* () {
          yield* (yield* Broker.Broker).setRetainedMessage({ topic: "t", payload: "x" })
        })
      ).pipe(Layer.provide(own))
      const found = yield* Effect.gen(function* () {
        return yield* (yield* Broker.Broker).retainedMessage("t")
      }).pipe(Effect.provide(Layer.provideMerge(other, BrokerLogger.logged(own))))
      assert.isDefined(found)
    })
  )
})

describe("packets in words", () => {
  const payload = (bytes: Uint8Array): Packet => ({
    _tag: "Publish",
    topic: "t",
    payload: bytes,
    qos: 0,
    retain: true,
    dup: false,
    packetId: undefined,
    properties: undefined
  })

  it("show payloads that are no text in digits, and of long ones the beginning", () => {
    assert.strictEqual(
      Frames.describe(payload(Uint8Array.of(0xff, 1)), true),
      'PUBLISH "t" QoS 0 retain, 2 bytes: ff01'
    )
    const long = Frames.describe(payload(Buffer.alloc(10_000, "x")), true)
    assert.isBelow(long.length, 400)
    assert.include(long, "10000 bytes")
  })

  it("have no line breaks in them that a client could forge lines with", () => {
    const words = Frames.describe({ ...payload(Buffer.from("a\nb")), topic: "t\nError 1" } as Packet, true)
    assert.notInclude(words, "\n")
  })

  it("say what every other packet is about", () => {
    const properties = undefined
    const packets: ReadonlyArray<readonly [Packet, string]> = [
      [{ _tag: "PubRec", packetId: 3, reasonCode: 0x97, properties }, "PUBREC #3 151"],
      [{ _tag: "PubComp", packetId: 3, reasonCode: 0, properties }, "PUBCOMP #3"],
      [{ _tag: "Unsubscribe", packetId: 4, filters: ["a", "b"], properties }, 'UNSUBSCRIBE #4 "a", "b"'],
      [{ _tag: "ConnAck", sessionPresent: true, reasonCode: 0, properties }, "CONNACK 0 session present"],
      [
        {
          _tag: "Auth",
          reasonCode: 0x18,
          properties: { authenticationMethod: "m", authenticationData: Buffer.from(SECRET) }
        },
        "AUTH 24"
      ]
    ]
    for (const [packet, words] of packets) assert.strictEqual(Frames.describe(packet, true), words)
  })
})
