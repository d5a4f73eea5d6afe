/**
 * A store that keeps the broker waiting while clients go on: what waits is bounded, and nothing of it is lost or comes
 * twice, even if the store's thread dies over it.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { join } from "node:path"
import * as Broker from "../../src/broker/Broker.ts"
import { BrokerStorage } from "../../src/storage/BrokerStorage.ts"
import * as SqliteStorage from "../../src/storage/SqliteStorage.ts"
import * as RawClient from "../broker/RawClient.ts"
import { brokerLayer, port } from "../broker/support.ts"
import { directory } from "./Directory.ts"

const PUBLISHERS = 4
const MESSAGES = 200
const PAYLOAD_BYTES = 4_000
const JOURNAL_BYTES_MAX = 100_000
/** What one connection may bring before it is not read any more: what the system hands over at once. */
const READ_BYTES = 70_000

const payloadOf = (number: number): Buffer => {
  const payload = Buffer.alloc(PAYLOAD_BYTES, number & 0xff)
  payload.writeUInt32BE(number)
  return payload
}

const publishAll = (client: RawClient.RawClient, topic: string) =>
  client.send(
    ...Array.from({ length: MESSAGES }, (_, index) =>
      RawClient.publish(topic, payloadOf(index), 1 + (index % 2) === 1 ? 1 : 2, false, index + 1)
    )
  )

/** Finishes every exchange of the publisher. Returns the packet ids in the order of their last acknowledgements. */
const acknowledged = Effect.fnUntraced(function* (client: RawClient.RawClient) {
  const done: Array<number> = []
  while (done.length < MESSAGES) {
    const packet = yield* client.receive
    if (packet._tag === "PubRec") {
      const { packetId } = packet
      yield* client.send({ _tag: "PubRel", packetId, reasonCode: 0, properties: undefined })
    } else if (packet._tag === "PubAck" || packet._tag === "PubComp") done.push(packet.packetId)
    else assert.fail(`a publisher got ${packet._tag}`)
  }
  return done
})

/** The numbers that arrive on each topic and QoS, in their order. */
const received = Effect.fnUntraced(function* (client: RawClient.RawClient) {
  const numbers = new Map<string, Array<number>>()
  for (let count = 0; count < PUBLISHERS * MESSAGES; ) {
    const packet = yield* client.receive
    if (packet._tag === "PubRel") {
      yield* client.send({ _tag: "PubComp", packetId: packet.packetId, reasonCode: 0, properties: undefined })
      continue
    }
    if (packet._tag !== "Publish") return assert.fail(`the subscriber got ${packet._tag}`)
    const number = Buffer.from(packet.payload).readUInt32BE()
    assert.isTrue(payloadOf(number).equals(packet.payload))
    const key = `${packet.topic} ${packet.qos}`
    numbers.set(key, [...(numbers.get(key) ?? []), number])
    count++
    const _tag = packet.qos === 1 ? "PubAck" : "PubRec"
    yield* client.send({ _tag, packetId: packet.packetId!, reasonCode: 0, properties: undefined })
  }
  return numbers
})

const every = (first: number): ReadonlyArray<number> =>
  Array.from({ length: MESSAGES / 2 }, (_, index) => first + 2 * index)

describe("a broker whose store stalls", () => {
  it.live(
    "stops reading at journalBytesMax, says how much waits, and loses and repeats nothing",
    () =>
      Effect.gen(function* () {
        const store = yield* SqliteStorage.open({ file: join(yield* directory, "store.db"), durability: "none" })
        const { commit, ...service } = store.service
        let gate: Deferred.Deferred<void> | undefined
        const storage = Layer.succeed(BrokerStorage)({
          ...service,
          commit: (operations, sequence) =>
            Effect.suspend(() =>
              Effect.andThen(gate === undefined ? Effect.void : Deferred.await(gate), commit(operations, sequence))
            )
        })
        yield* Effect.gen(function* () {
          const broker = yield* Broker.Broker
          const bound = yield* port
          const properties = { sessionExpiryInterval: 1_000 }
          const subscriber = yield* RawClient.connect(bound, { clientId: "s", properties })
          yield* RawClient.subscribe(subscriber, "#", 2)
          const publishers = yield* Effect.forEach([1, 2, 3, 4], (number) =>
            RawClient.connect(bound, { clientId: `p${number}`, properties })
          )
          assert.lengthOf(publishers, PUBLISHERS)
          const other = yield* RawClient.connect(bound, { clientId: "other" })
          const waiting = Effect.map(broker.stats, ({ journalBytes }) => journalBytes)
          while ((yield* waiting) > 0) yield* RawClient.ping(other)
          gate = yield* Deferred.make<void>()
          for (const [index, publisher] of publishers.entries()) yield* publishAll(publisher, `t/${index}`)
          while ((yield* waiting) <= JOURNAL_BYTES_MAX) yield* RawClient.ping(other)
          // Whoever has nothing to be kept goes on, and gives the others time to come with more.
          for (let times = 0; times < 100; times++) yield* RawClient.ping(other)
          assert.isAtMost(yield* waiting, JOURNAL_BYTES_MAX + PUBLISHERS * READ_BYTES)
          yield* Effect.promise(() => store.thread.kill())
          yield* Deferred.succeed(gate, undefined)
          gate = undefined
          const [numbers, ...done] = yield* Effect.all([received(subscriber), ...publishers.map(acknowledged)], {
            concurrency: "unbounded"
          })
          for (const ids of done) assert.lengthOf(new Set(ids), MESSAGES)
          assert.lengthOf(numbers, 2 * PUBLISHERS)
          for (const [key, found] of numbers) assert.deepStrictEqual(found, every(key.endsWith("1") ? 0 : 1), key)
          assert.isAtLeast(store.thread.starts, 2)
          while ((yield* waiting) > 0) yield* RawClient.ping(other)
        }).pipe(
          Effect.scoped,
          Effect.provide(brokerLayer({ storage, settings: { journalBytesMax: JOURNAL_BYTES_MAX } }))
        )
      }),
    300_000
  )
})
