/**
 * What is told of messages to a client that does not read, over TCP.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as Broker from "../../src/broker/Broker.ts"
import { type Seen, settled, turn } from "./EventRecorder.ts"
import * as RawClient from "./RawClient.ts"
import { brokerLayer, port } from "./support.ts"

/** As much as no kernel takes for a reader that does not read. */
const MEGABYTES = 16

const TAGS = ["MessageSending", "OutgoingMessageStatus", "MessageSent", "MessageDropped", "Disconnected"] as const

/** What is told of a message that the socket has not been given, */
const waiting = ["OutgoingMessageStatus 1"]

/** and of one that it has, before the client has acknowledged it. */
const whole = (qos: number): ReadonlyArray<string> => {
  const state = [10, 2, 3][qos]
  return [...waiting, "MessageSending", `OutgoingMessageStatus ${state}`, ...(qos === 0 ? ["MessageSent"] : [])]
}

/** When the socket has been given all. */
const all = Array.from({ length: MEGABYTES }, (_, index) => whole(index % 3))

/** What was told of each message, in the order in which they were first heard of. */
const stories = (seen: ReadonlyArray<Seen>): ReadonlyArray<ReadonlyArray<string>> => {
  const found = new Map<unknown, Array<string>>()
  for (const { _tag, messageId, state } of seen) {
    if (messageId === undefined) continue
    const story = found.get(messageId) ?? []
    story.push(state === undefined ? _tag : `${_tag} ${state}`)
    found.set(messageId, story)
  }
  return [...found.values()]
}

const count = (seen: ReadonlyArray<Seen>, tag: string): number => seen.filter(({ _tag }) => _tag === tag).length

/** A reader that has stopped reading, and is sent megabytes of QoS 0, 1, 2, 0, …, each in a turn of its own. */
const behind = Effect.gen(function* () {
  const broker = yield* Broker.Broker
  const reader = yield* RawClient.connect(yield* port, { clientId: "reader" })
  yield* RawClient.subscribe(reader, "#", 2)
  const [connection] = yield* broker.connections
  const seen: Array<Seen> = []
  yield* broker.eventsOf(...TAGS).pipe(
    Stream.runForEach((event) => Effect.sync(() => void seen.push({ ...event }))),
    Effect.forkScoped({ startImmediately: true })
  )
  reader.socket.pause()
  for (let index = 0; index < MEGABYTES; index++) {
    yield* broker.publish({ topic: `${index}`, payload: Buffer.alloc(1_000_000), qos: (index % 3) as 0 | 1 | 2 })
    yield* turn
  }
  yield* settled
  const sending = count(seen, "MessageSending")
  assert.isAbove(sending, 0)
  assert.isBelow(sending, MEGABYTES)
  const expected = all.map((story, index) => (index < sending ? story : waiting))
  assert.deepStrictEqual(stories(seen), expected)
  return { broker, connectionId: connection!.connectionId, reader, seen, sending }
})

const run = <A, E>(test: Effect.Effect<A, E, Broker.Broker>) =>
  test.pipe(Effect.provide(brokerLayer({ settings: { outboxBytesMax: 64_000_000 } })))

describe("a message to a client that does not read", () => {
  it.live("is told as sending when it reads again, in the order of the messages", () =>
    Effect.gen(function* () {
      const { reader, seen } = yield* behind
      reader.socket.resume()
      for (let index = 0; index < MEGABYTES; index++) {
        assert.strictEqual((yield* reader.expect("Publish")).topic, `${index}`)
      }
      yield* settled
      const sending = seen.filter(({ _tag }) => _tag === "MessageSending").map(({ messageId }) => messageId)
      const gathered = seen.filter(({ state }) => state === 1).map(({ messageId }) => messageId)
      assert.deepStrictEqual(sending, gathered)
      assert.deepStrictEqual(stories(seen), all)
    }).pipe(Effect.scoped, run)
  )

  it.live("is told as dropped and nothing else when it is interrupted, and the others as sending", () =>
    Effect.gen(function* () {
      const { broker, connectionId, reader, seen, sending } = yield* behind
      const dropped = yield* broker.interrupt(connectionId)
      assert.isAbove(dropped, 0)
      reader.socket.resume()
      const topics: Array<string> = []
      while (topics.at(-1) !== "end") {
        if (topics.length === MEGABYTES - dropped) yield* broker.publish({ topic: "end", payload: "" })
        topics.push((yield* reader.expect("Publish")).topic)
      }
      yield* settled
      assert.strictEqual(count(seen, "MessageDropped"), dropped)
      const expected = all.map((story, index) => (index >= sending && index % 3 === 0 ? waiting : story))
      assert.deepStrictEqual(stories(seen), [...expected, whole(0)])
    }).pipe(Effect.scoped, run)
  )

  it.live("is told of no more when the client is lost", () =>
    Effect.gen(function* () {
      const { reader, seen, sending } = yield* behind
      reader.socket.resetAndDestroy()
      while (count(seen, "Disconnected") === 0) yield* turn
      yield* settled
      assert.strictEqual(count(seen, "MessageSending"), sending)
      assert.strictEqual(seen.at(-1)?._tag, "Disconnected")
    }).pipe(Effect.scoped, run)
  )

  it.live("is told as sending when the broker ends the connection, and gives the socket all that is left", () =>
    Effect.gen(function* () {
      const { broker, connectionId, seen } = yield* behind
      yield* broker.disconnect(connectionId)
      yield* settled
      assert.deepStrictEqual(stories(seen), all)
    }).pipe(Effect.scoped, run)
  )
})
