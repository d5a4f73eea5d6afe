/**
 * A bug of the broker, planted wherever the core is called: it costs one connection, and everything else goes on.
 */
import { assert, describe, it } from "@effect/vitest"
import { CoreHarness, type HarnessOptions } from "./CoreHarness.ts"
import { kept, ready, subscriber } from "./support/Clients.ts"
import type { TestClient } from "./TestClient.ts"

const planted = (): never => {
  throw new Error("planted")
}

/** The decoder fails at a PUBLISH to "boom". */
const plantInInput = ({ connection: { decoder } }: TestClient): void => {
  const next = decoder.next.bind(decoder)
  decoder.next = () => {
    const packet = next()
    return packet?._tag === "Publish" && packet.topic === "boom" ? planted() : packet
  }
}

/** The victim is cut off and told of, nothing is left of its turn, and another client is served. */
const assertOnly = (h: CoreHarness, victim: TestClient, count = 1): void => {
  assert.deepStrictEqual(
    h.defects.map(({ connectionId, defect }) => `${connectionId} ${defect}`),
    Array.from({ length: count }, () => `${victim.connection.id} Error: planted`)
  )
  assert.isTrue(victim.closed)
  assert.isUndefined(h.state.current)
  assert.strictEqual(h.state.workMax, h.core.config.workPerTurnMax)
  const other = subscriber(h, "other", { version: 5 }, "t")
  other.publish("t", "served")
  assert.deepStrictEqual(other.takePayloads(), ["served"])
}

const harness = (options: HarnessOptions = {}): CoreHarness => new CoreHarness({ ...options, defects: true })

describe("a bug that is met", () => {
  it("in a chunk costs who sent it", () => {
    const h = harness()
    const victim = ready(h, "a")
    plantInInput(victim)
    victim.publish("boom", "x")
    assertOnly(h, victim)
    assert.isUndefined(h.session("a"))
  })

  it("where a will is routed leaves nobody waiting for it", () => {
    const h = harness({ store: "on-time" })
    h.install("publish")
    const will = { topic: "w", payload: new Uint8Array(1), qos: 1, retain: false, properties: undefined } as const
    h.connect("a", { ...kept(5), will })
    h.answer({ reasonCode: 0 })
    h.clients[0]!.drop()
    const again = h.connect("a", kept(5))
    assert.deepStrictEqual(again.takeWords(), [])
    const { nextMessageId } = h.state
    h.state.nextMessageId = planted
    h.answer({ reasonCode: 0 })
    h.state.nextMessageId = nextMessageId
    assert.lengthOf(h.defects, 1)
    assert.deepStrictEqual(again.takeWords(), ["ConnAck 0 present"])
  })

  it("behind the budget of a turn costs who sent it, and the others have their parts", () => {
    const h = harness({ config: { workPerTurnMax: 10 } })
    const [victim, other] = [ready(h, "a"), ready(h, "b")]
    plantInInput(victim)
    h.together(() => {
      victim.send(...Array.from({ length: 50 }, (_, at) => victim.publication(at === 49 ? "boom" : "t", "x")))
      other.send(...Array.from({ length: 50 }, () => other.publication("t", "x")))
    })
    assertOnly(h, victim)
    assert.strictEqual(h.core.stats.messagesReceived, 49 + 50 + 1)
  })

  it("when the store has kept something costs the one whose acknowledgement it was", () => {
    const h = harness({ store: "manual" })
    const [victim, other] = [ready(h, "a"), ready(h, "b")]
    for (const client of [victim, other]) client.publish("kept", "x", { qos: 1, retain: true })
    victim.connection.gate.releasePackets = planted
    h.commit()
    assert.deepStrictEqual(other.takeWords(), ["PubAck 1"])
    assertOnly(h, victim)
  })

  it("in an answer costs the one that waited for it", () => {
    const h = harness()
    h.install("subscribe")
    const victim = ready(h, "a")
    victim.subscribe("t")
    h.session("a")!.putSubscription = planted
    h.answer({ reasonCode: 0 })
    h.core.installed.subscribe = false
    assertOnly(h, victim)
  })

  it("in an answer that no connection waits for costs nobody", () => {
    const h = harness({ store: "on-time" })
    ready(h, "p").publish("r", "x", { retain: true })
    h.install("publish")
    const client = ready(h, "a")
    client.subscribe("r")
    client.take()
    Object.defineProperty(h.session("a")!, "subscriptions", { get: planted })
    h.answer({ reasonCode: 0 })
    assert.deepStrictEqual(
      h.defects.map(({ connectionId }) => connectionId),
      [""]
    )
    client.ping()
    assert.deepStrictEqual(client.takeWords(), ["PingResp"])
  })

  it("when the store accepts work again costs the one whose packet was held", () => {
    const h = harness({ store: "on-time" })
    const victim = ready(h, "a")
    h.storageState("full")
    victim.publish("t", "x", { qos: 1 })
    h.state.router.route = planted
    h.storageState("ok")
    Reflect.deleteProperty(h.state.router, "route")
    assertOnly(h, victim)
  })

  it("when a socket has room costs its connection", () => {
    const h = harness({ config: { inflightMax: 1 } })
    const victim = subscriber(h, "a", kept(4), "t")
    const publisher = ready(h, "p")
    for (const text of ["1", "2"]) publisher.publish("t", text, { qos: 1 })
    Object.defineProperty(victim.connection, "unsent", { get: planted })
    victim.accept()
    assertOnly(h, victim)
  })

  it("at a deadline costs whose it was, and the others' are looked at", () => {
    const h = harness()
    const [victim, late] = [ready(h, "a", { keepAliveSeconds: 5 }), ready(h, "b", { keepAliveSeconds: 5 })]
    Object.defineProperty(victim.connection, "keepAliveMillis", { get: planted })
    h.advance(10_000)
    assert.isTrue(late.closed)
    assertOnly(h, victim)
  })

  it("among retained messages costs who is to have them, once", () => {
    const h = harness({ config: { workPerTurnMax: 1 } })
    ready(h, "p").publish("r", "x", { retain: true })
    const victim = ready(h, "a", kept(4))
    h.together(() => {
      victim.subscribe("r")
      for (let turns = 0; h.state.retainedDue.size === 0 && turns < 10; turns++) h.turn()
      h.state.retained.matches = planted
    })
    Reflect.deleteProperty(h.state.retained, "matches")
    assert.strictEqual(h.state.retainedWalks.size, 0)
    assertOnly(h, victim)
  })

  it("while a connection ends leaves nothing of it", () => {
    const h = harness()
    const victim = ready(h, "a")
    Object.defineProperty(h.session("a")!, "will", { get: planted, set: planted })
    victim.disconnect()
    assert.isTrue(victim.closed)
    assert.isFalse(h.core.connections.has(victim.connection.id))
    assertOnly(h, victim)
  })
})
