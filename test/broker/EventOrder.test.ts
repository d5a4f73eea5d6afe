/**
 * The documented events in their documented order, every field of them, over TCP: what happens from a connection's
 * request to its end, and to messages in both directions.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import * as Hooks from "../../src/broker/Hooks.ts"
import type { Connect } from "../../src/protocol/Packet.ts"
import * as MemoryStorage from "../../src/storage/MemoryStorage.ts"
import * as RawClient from "./RawClient.ts"
import { recorded, run, type Seen, settled, tags, until } from "./EventRecorder.ts"
import { collect, port } from "./support.ts"

const away: Partial<Connect> = { clientId: "a", protocolVersion: 4, cleanStart: false }

/** A client whose CONNECT is refused, until all three events have been told of it. */
const refused = Effect.fnUntraced(function* (seen: Array<Seen>) {
  yield* recorded(seen)
  const client = yield* RawClient.open(yield* port)
  yield* client.send(RawClient.connectPacket())
  yield* client.expect("ConnAck")
  yield* client.ended
  yield* until(seen, 3)
})

/** What is left of a QoS 2 exchange after its PUBLISH: a writer's part, and a reader's. */
const release = Effect.fnUntraced(function* (writer: RawClient.RawClient, packetId: number) {
  yield* writer.expect("PubRec")
  yield* writer.send({ _tag: "PubRel", packetId, reasonCode: 0, properties: undefined })
  yield* writer.expect("PubComp")
})
const complete = Effect.fnUntraced(function* (reader: RawClient.RawClient, packetId: number) {
  yield* reader.send({ _tag: "PubRec", packetId, reasonCode: 0, properties: undefined })
  yield* reader.expect("PubRel")
  yield* reader.send({ _tag: "PubComp", packetId, reasonCode: 0, properties: undefined })
})

describe("a connection", () => {
  it.live("from its request to its end", () =>
    run((seen) =>
      Effect.gen(function* () {
        yield* recorded(seen)
        const bound = yield* port
        const client = yield* RawClient.connect(bound, { clientId: "a", userName: "ann", password: Buffer.from("x") })
        yield* RawClient.subscribe(client, "t", 1)
        yield* client.send({ _tag: "Unsubscribe", packetId: 2, filters: ["t"], properties: undefined })
        yield* client.expect("UnsubAck")
        yield* client.send({ _tag: "Disconnect", reasonCode: 0, properties: undefined })
        yield* client.ended
        yield* until(seen, 7)
        const [connectionRequest, connected, sessionRequest, subscribe, unsubscribed, removed, disconnected] = seen
        assert.deepStrictEqual(tags(seen), [
          "ConnectionRequest",
          "Connected",
          "SessionRequest",
          "Subscribe",
          "Unsubscribed",
          "SessionRemoved",
          "Disconnected"
        ])
        const connectionId = "1"
        const ids = { connectionId, clientId: "a" }
        assert.deepInclude(connectionRequest, { remoteHost: "127.0.0.1", localHost: "127.0.0.1", localPort: bound })
        assert.deepEqual(connected, { _tag: "Connected", connectionId, statusCode: 0, description: "OK" })
        assert.deepInclude(sessionRequest, { ...ids, userName: "ann", isNew: true, sessionExists: false })
        assert.deepInclude(subscribe, { ...ids, topicFilter: "t", requestedQos: 1 })
        assert.deepEqual(unsubscribed, { _tag: "Unsubscribed", ...ids, topicFilter: "t" })
        assert.deepInclude(removed, { _tag: "SessionRemoved", clientId: "a" })
        assert.deepEqual(disconnected, { _tag: "Disconnected", ...ids, statusCode: 0, description: "OK" })
      })
    )
  )

  it.live("of a client that says everything in one write is told and asked in the same order", () =>
    run((seen) =>
      Effect.gen(function* () {
        yield* recorded(seen)
        const client = yield* RawClient.open(yield* port)
        const wish = { filter: "t", qos: 0, noLocal: false, retainAsPublished: false, retainHandling: 0 } as const
        yield* client.send(
          RawClient.connectPacket(),
          { _tag: "Subscribe", packetId: 1, subscriptions: [wish], properties: undefined },
          RawClient.publish("t", "x"),
          { _tag: "Disconnect", reasonCode: 0, properties: undefined }
        )
        yield* until(seen, 12)
        assert.deepStrictEqual(tags(seen), [
          "ConnectionRequest",
          "Connected",
          "SessionRequest",
          "Subscribe",
          "MessageReceiving",
          "OutgoingMessageStatus",
          "MessageReceived",
          "SessionRemoved",
          "Disconnected",
          // Its socket is given the message behind all that the write asked for, and then closed.
          "MessageSending",
          "OutgoingMessageStatus",
          "MessageSent"
        ])
      })
    )
  )

  it.live("that is refused at its request is nothing more", () =>
    run(
      (seen) =>
        Effect.gen(function* () {
          yield* recorded(seen)
          const client = yield* RawClient.open(yield* port)
          yield* client.ended
          yield* settled
          assert.deepStrictEqual(tags(seen), ["ConnectionRequest"])
        }),
      (seen) => ({
        hooks: {
          connectionRequest: () => {
            seen.push({ _tag: "ConnectionRequest" })
            return Effect.succeed(false)
          }
        }
      })
    )
  )

  it.live("whose session is refused", () =>
    run(
      (seen) =>
        Effect.gen(function* () {
          yield* refused(seen)
          assert.deepStrictEqual(tags(seen), ["Connected", "SessionRequest", "Disconnected"])
          assert.deepInclude(seen[2], { clientId: "test", statusCode: 0, description: "not today" })
        }),
      (seen) => ({
        hooks: {
          sessionRequest: () => {
            seen.push({ _tag: "SessionRequest" })
            return Effect.succeed(Hooks.refuse(0x87, "not today"))
          }
        }
      })
    )
  )

  it.live("whose hook fails is refused, and that is an Error of this connection", () =>
    run(
      (seen) =>
        Effect.gen(function* () {
          yield* refused(seen)
          assert.deepStrictEqual(tags(seen), ["Connected", "Error", "Disconnected"])
          assert.deepInclude(seen[1], { connectionId: "1", errorCode: 211 })
          assert.match(String(seen[1]?.description), /SessionRequest hook .*the database is away/)
        }),
      () => ({ hooks: { sessionRequest: () => Effect.fail("the database is away") } })
    )
  )

  it.live("that breaks the protocol: an Error with 600, or 601 for a topic, and its end with the same", () =>
    Effect.gen(function* () {
      for (const [bytes, code] of [
        ["c00100", 600],
        ["30040001230000", 601]
      ] as const) {
        yield* run((seen) =>
          Effect.gen(function* () {
            yield* recorded(seen)
            const client = yield* RawClient.connect(yield* port)
            client.socket.write(Buffer.from(bytes, "hex"))
            yield* client.expect("Disconnect")
            yield* client.ended
            yield* until(seen, 6)
            assert.deepStrictEqual(tags(seen), [
              "ConnectionRequest",
              "Connected",
              "SessionRequest",
              "Error",
              "SessionRemoved",
              "Disconnected"
            ])
            assert.deepInclude(seen[3], { connectionId: "1", errorCode: code })
            assert.deepInclude(seen[5], { statusCode: code, description: seen[3]?.description })
          })
        )
      }
    })
  )

  it.live("that is reset has the system's code", () =>
    run((seen) =>
      Effect.gen(function* () {
        yield* recorded(seen)
        const client = yield* RawClient.connect(yield* port, away)
        client.socket.resetAndDestroy()
        yield* until(seen, 4)
        assert.deepInclude(seen[3], { _tag: "Disconnected", clientId: "a", statusCode: 10054 })
      })
    )
  )

  it.live("that is taken over ends before the other's session goes on", () =>
    run((seen) =>
      Effect.gen(function* () {
        const broker = yield* recorded(seen)
        const order = yield* collect(broker.eventsOf("Disconnected", "SessionStarted"), 3)
        const bound = yield* port
        const first = yield* RawClient.connect(bound, away)
        first.socket.pause() // it does not close its half: its transport stays for a while
        yield* RawClient.connect(bound, away)
        yield* until(seen, 7)
        const told = seen.map((event) => `${event._tag} ${"connectionId" in event ? event.connectionId : ""}`)
        assert.deepStrictEqual(told, [
          "ConnectionRequest ",
          "Connected 1",
          "SessionRequest 1",
          "ConnectionRequest ",
          "Connected 2",
          "SessionRequest 2",
          "Disconnected 1"
        ])
        assert.deepInclude(seen[5], { isNew: false, sessionExists: true })
        assert.deepStrictEqual(
          (yield* Fiber.join(order)).map(({ _tag, connectionId }) => `${_tag} ${connectionId}`),
          ["SessionStarted 1", "Disconnected 1", "SessionStarted 2"]
        )
      })
    )
  )

  // A session that ends with its connection is told first, as at every such end.
  for (const [what, cleanStart, ends] of [
    ["outlives it", false, ["Disconnected 1", "SessionRemoved "]],
    ["ends with it", true, ["SessionRemoved ", "Disconnected 1"]]
  ] as const) {
    it.live(
      `whose session ${what}, and that a clean start takes over: both end before the other's session starts`,
      () =>
        run((seen) =>
          Effect.gen(function* () {
            const broker = yield* recorded(seen)
            const order = yield* collect(broker.eventsOf("SessionStarted", "SessionRemoved", "Disconnected"), 4)
            const bound = yield* port
            const first = yield* RawClient.connect(bound, { ...away, cleanStart })
            first.socket.pause() // it does not close its half: its transport stays for a while
            yield* RawClient.connect(bound, { ...away, cleanStart: true })
            const told = (yield* Fiber.join(order)).map(
              (event) => `${event._tag} ${"connectionId" in event ? event.connectionId : ""}`
            )
            assert.deepStrictEqual(told, ["SessionStarted 1", ...ends, "SessionStarted 2"])
          })
        )
    )
  }
})

describe("SessionRemoved", () => {
  it.live("comes while the session can still be looked at, and saved", () =>
    run((seen) =>
      Effect.gen(function* () {
        const broker = yield* recorded(seen)
        const looked: Array<string> = []
        yield* broker.eventsOf("SessionRemoved").pipe(
          Stream.runForEach(({ clientId }) =>
            Effect.gen(function* () {
              const ids = (yield* broker.sessions).map((session) => session.clientId)
              const detail = yield* broker.session(clientId)
              looked.push(`${ids.join()} ${detail?.subscriptions.length} ${detail?.outgoingMessages.length}`)
              looked.push(yield* Effect.orDie(broker.saveSession(clientId)))
            })
          ),
          Effect.forkScoped({ startImmediately: true })
        )
        const client = yield* RawClient.connect(yield* port, { clientId: "a", protocolVersion: 4 })
        yield* RawClient.subscribe(client, "t", 1)
        yield* broker.publish({ topic: "t", payload: "x", qos: 1 })
        yield* client.expect("Publish")
        client.socket.destroy()
        yield* until(looked, 2)
        assert.strictEqual(looked[0], "a 1 1")
        assert.deepInclude(JSON.parse(looked[1]!), { ClientId: "a", Subscriptions: [{ Topic: "t", QoS: 1 }] })
        yield* settled
        assert.deepStrictEqual(yield* broker.sessions, [])
        assert.isUndefined(yield* broker.session("a"))
      })
    )
  )
})

/** `tag state` of the events about messages, for one client. */
const story = (seen: ReadonlyArray<Seen>, clientId: string): ReadonlyArray<string> =>
  seen.flatMap((event) =>
    "messageId" in event && event.clientId === clientId
      ? [`${event._tag}${"state" in event ? ` ${event.state}` : ""}${"packetId" in event ? ` #${event.packetId}` : ""}`]
      : []
  )

describe("messages", () => {
  const incoming = {
    0: ["MessageReceiving #-1", "MessageReceived"],
    1: ["MessageReceiving #7", "IncomingMessageStatus 6 #7", "IncomingMessageStatus 10 #7", "MessageReceived"],
    2: [
      "MessageReceiving #7",
      "IncomingMessageStatus 7 #7",
      "IncomingMessageStatus 8 #7",
      "IncomingMessageStatus 9 #7",
      "IncomingMessageStatus 10 #7",
      "MessageReceived"
    ]
  }
  const outgoing = {
    0: ["OutgoingMessageStatus 1 #-1", "MessageSending #-1", "OutgoingMessageStatus 10 #-1", "MessageSent"],
    1: [
      "OutgoingMessageStatus 1 #-1",
      "MessageSending #1",
      "OutgoingMessageStatus 2 #1",
      "OutgoingMessageStatus 10 #1",
      "MessageSent"
    ],
    2: [
      "OutgoingMessageStatus 1 #-1",
      "MessageSending #1",
      "OutgoingMessageStatus 3 #1",
      "OutgoingMessageStatus 4 #1",
      "OutgoingMessageStatus 5 #1",
      "OutgoingMessageStatus 10 #1",
      "MessageSent"
    ]
  }

  for (const qos of [0, 1, 2] as const) {
    for (const kept of [false, true]) {
      it.live(`at QoS ${qos} go through their states in order${kept ? ", behind a store" : ""}`, () =>
        run(
          (seen) =>
            Effect.gen(function* () {
              yield* recorded(seen)
              const bound = yield* port
              const reader = yield* RawClient.connect(bound, { ...away, clientId: "reader" })
              yield* RawClient.subscribe(reader, "t", qos)
              const writer = yield* RawClient.connect(bound, { ...away, clientId: "writer" })
              yield* writer.send(RawClient.publish("t", "x", qos, false, 7))
              if (qos === 1) yield* writer.expect("PubAck")
              if (qos === 2) yield* release(writer, 7)
              const { packetId = 0 } = yield* reader.expect("Publish")
              if (qos === 1) yield* reader.send({ _tag: "PubAck", packetId, reasonCode: 0, properties: undefined })
              if (qos === 2) yield* complete(reader, packetId)
              yield* RawClient.ping(reader)
              yield* settled
              assert.deepStrictEqual(story(seen, "writer"), incoming[qos])
              assert.deepStrictEqual(story(seen, "reader"), outgoing[qos])
              for (const event of seen) {
                if (!("qos" in event)) continue
                const connectionId = event.clientId === "reader" ? "1" : "2"
                assert.deepInclude(event as object, { connectionId, qos, dup: false, retain: false })
              }
            }),
          () => (kept ? { storage: MemoryStorage.layerKeeping(new MemoryStorage.MemoryStore()) } : {})
        )
      )
    }
  }

  it.live("that are duplicates say so in every event about them", () =>
    run(
      (seen) =>
        Effect.gen(function* () {
          yield* recorded(seen)
          const bound = yield* port
          const writer = yield* RawClient.connect(bound, { ...away, clientId: "writer" })
          yield* writer.send({ ...RawClient.publish("t", "x", 2, true, 7), dup: true } as ReturnType<
            typeof RawClient.publish
          >)
          yield* release(writer, 7)
          const reader = yield* RawClient.connect(bound, { ...away, clientId: "reader" })
          yield* RawClient.subscribe(reader, "t", 2)
          yield* reader.expect("Publish")
          reader.socket.destroy()
          const again = yield* RawClient.connect(bound, { ...away, clientId: "reader" })
          const { dup, packetId = 0, retain } = yield* again.expect("Publish")
          assert.deepStrictEqual([dup, retain], [true, true])
          yield* complete(again, packetId)
          yield* RawClient.ping(again)
          yield* settled
          const marked = seen.flatMap((event) =>
            "dup" in event
              ? [`${event.clientId} ${"state" in event ? event.state : "-"} ${event.dup} ${event.retain}`]
              : []
          )
          assert.deepStrictEqual(marked, [
            "writer - true true",
            ...[7, 8, 9, 10].map((state) => `writer ${state} true true`),
            "reader 1 false true",
            "reader - false true",
            "reader 3 false true",
            "reader - true true",
            ...[3, 4, 5, 10].map((state) => `reader ${state} true true`)
          ])
        }),
      () => ({})
    )
  )
})
