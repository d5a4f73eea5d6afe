import { assert, describe, it } from "@effect/vitest"
import { tags } from "../../src/core/CoreEvent.ts"
import { CoreHarness } from "./CoreHarness.ts"
import { DurablePublisher, DurableSubscriber } from "./DurableClients.ts"
import { random } from "./Random.ts"

interface Setting {
  readonly publishQos: 1 | 2
  readonly subscribeQos: 1 | 2
  readonly version: 4 | 5
  readonly messages: number
  /** How many messages the publisher has underway at once. */
  readonly window: number
  /** Whether somebody listens to what happens to messages. */
  readonly events?: boolean | undefined
}

/** A publisher, a broker, a store and a subscriber, moved one step at a time. */
class World {
  readonly harness: CoreHarness
  readonly publisher: DurablePublisher
  readonly subscriber: DurableSubscriber
  private readonly setting: Setting

  constructor(setting: Setting) {
    const { events, messages, publishQos, subscribeQos, version, window } = setting
    this.setting = setting
    this.harness = new CoreHarness({ store: "manual", ...(events === true ? { events: tags } : {}) })
    this.publisher = new DurablePublisher(this.harness, version, publishQos, messages, window)
    this.subscriber = new DurableSubscriber(this.harness, version, subscribeQos)
    this.publisher.mayBegin = () => this.subscriber.subscribed
  }

  /** Applies one batch without saying so. */
  apply(): boolean {
    return this.harness.store.apply() !== undefined
  }

  /** Says what was applied. */
  confirm(): boolean {
    const { applied, log } = this.harness.store
    const sequence = log[applied - 1]?.sequence ?? 0
    if (sequence <= this.harness.core.journal.durable) return false
    this.harness.stored(sequence)
    return true
  }

  crash(applied: number): void {
    this.harness.crash(applied)
    this.publisher.crashed()
    this.subscriber.crashed()
  }

  /** Goes on with a store that answers at once, until nobody has anything to do. */
  finish(withPublisher = true): void {
    for (let busy = true, steps = 0; busy; steps++) {
      if (steps > 10_000) throw new Error("It does not come to an end.")
      busy = withPublisher && this.publisher.step()
      if (this.subscriber.step()) busy = true
      if (this.harness.store.waiting > 0) busy = true
      this.harness.commit()
      if (this.confirm()) busy = true
    }
  }

  /** What holds at every moment. */
  check(what: string): void {
    const { publishQos, subscribeQos } = this.setting
    const { received } = this.subscriber
    if (publishQos === 2 && subscribeQos === 2) {
      assert.strictEqual(new Set(received).size, received.length, `${what}: delivered twice: ${received}`)
    }
    const firsts = [...new Set(received)].map(Number)
    assert.deepStrictEqual(
      firsts,
      firsts.toSorted((a, b) => a - b),
      `${what}: out of order`
    )
  }

  /** What holds when `finish` is done. */
  checkEnd(what: string): void {
    this.check(what)
    const { publisher, subscriber } = this
    assert.strictEqual(publisher.done.size, this.setting.messages, what)
    for (const payload of publisher.taken) assert.include(subscriber.received, payload, `${what}: lost`)
    for (const { clientId } of [publisher, subscriber]) {
      const session = this.harness.session(clientId)
      assert.strictEqual(session?.incomingSize, 0, what)
      assert.strictEqual(session?.inflight.size, 0, what)
      assert.strictEqual(session?.queue.length, 0, what)
      const kept = this.harness.store.memory.sessions.get(clientId)
      assert.strictEqual(kept?.incoming.size, 0, what)
      assert.strictEqual(kept?.outgoing.size, 0, what)
    }
  }

  /** The publisher never comes back: what it was told is done must arrive all the same. */
  checkWithoutPublisher(what: string): void {
    this.finish(false)
    this.check(what)
    for (const payload of this.publisher.done) assert.include(this.subscriber.received, payload, `${what}: lost`)
  }
}

const settings: ReadonlyArray<Setting> = ([1, 2] as const).flatMap((publishQos) =>
  ([1, 2] as const).map((subscribeQos) => ({
    publishQos,
    subscribeQos,
    version: publishQos === subscribeQos ? (5 as const) : (4 as const),
    messages: 1,
    window: 1
  }))
)

const nameOf = ({ publishQos, subscribeQos }: Setting): string => `QoS ${publishQos} in, QoS ${subscribeQos} out`

/**
 * One step of a schedule in which the store is `lag` batches behind, and says so `silence` steps late. False when there
 * was nothing to do.
 */
const scheduledStep = (world: World, step: number, lag: number, silence: number): boolean => {
  const { store } = world.harness
  const moved = [
    step % 2 === 0 ? world.publisher.step() : world.subscriber.step(),
    store.waiting > lag && world.apply(),
    step % (silence + 1) === 0 && world.confirm()
  ]
  if (moved.includes(true)) return true
  // Everybody waits: the other client, or the store, has the word.
  return world.publisher.step() || world.subscriber.step() || world.apply() || world.confirm()
}

const worldAfter = (setting: Setting, steps: number, lag: number, silence: number): World => {
  const world = new World(setting)
  for (let step = 0; step < steps; step++) scheduledStep(world, step, lag, silence)
  return world
}

const lengthOf = (setting: Setting, lag: number, silence: number): number => {
  const world = new World(setting)
  let steps = 0
  while (scheduledStep(world, steps, lag, silence)) steps++
  world.checkEnd("without a crash")
  return steps
}

describe("a crash at every point", () => {
  for (const setting of settings) {
    it(`${nameOf(setting)}: every step, every prefix of what was journalled`, () => {
      let crashes = 0
      for (const [lag, silence] of [
        [0, 0],
        [1, 0],
        [3, 0],
        [0, 2]
      ] as const) {
        const length = lengthOf(setting, lag, silence)
        for (let steps = 0; steps <= length; steps++) {
          const { applied, log } = worldAfter(setting, steps, lag, silence).harness.store
          for (let kept = applied; kept <= log.length; kept++) {
            for (const publisherReturns of [true, false]) {
              const what = `lag ${lag}, silence ${silence}, step ${steps} of ${length}, ${kept} batches kept`
              const world = worldAfter(setting, steps, lag, silence)
              world.crash(kept)
              crashes++
              if (publisherReturns) {
                world.finish()
                world.checkEnd(what)
              } else world.checkWithoutPublisher(what)
            }
          }
        }
      }
      assert.isAbove(crashes, 100)
    })
  }
})

describe("crashes and lost connections at any time", () => {
  for (const setting of settings) {
    it(`${nameOf(setting)}: generated schedules`, () => {
      let crashes = 0
      let reconnects = 0
      for (let seed = 1; seed <= 150; seed++) {
        const next = random(seed)
        const version = next(2) === 0 ? 4 : 5
        const varied = { version, window: 1 + next(4), events: next(2) === 0 } as const
        const world = new World({ ...setting, ...varied, messages: 6 })
        const what = `seed ${seed}`
        for (let step = 0; step < 120; step++) {
          const choice = next(100)
          // Another one on each connection: a lower one than before, too.
          if (version === 5) world.subscriber.receiveMaximum = 1 + next(5)
          if (choice < 30) world.publisher.step()
          else if (choice < 60) world.subscriber.step()
          else if (choice < 70) {
            // Several chunks in one turn: their operations are one batch.
            world.harness.together(() => {
              for (let count = 0; count < 4; count++) next(2) === 0 ? world.publisher.step() : world.subscriber.step()
            })
          } else if (choice < 82) world.apply()
          else if (choice < 93) world.confirm()
          else if (choice < 97) {
            const client = next(2) === 0 ? world.publisher : world.subscriber
            if (next(2) === 0) client.drop()
            else client.reconnect()
            reconnects++
          } else if (choice === 97) {
            const { applied, log } = world.harness.store
            world.crash(applied + next(log.length - applied + 1))
            crashes++
          }
          if (step % 10 === 0) world.check(what)
        }
        world.finish()
        world.checkEnd(what)
      }
      assert.isAbove(crashes, 50)
      assert.isAbove(reconnects, 200)
    })
  }
})

describe("what a restarted broker knows", () => {
  it("sends again with DUP and the original id what was underway, in the order it was queued", () => {
    const harness = new CoreHarness({ store: "on-time" })
    const subscriber = harness.connect("s", { clean: false })
    subscriber.subscribe({ filter: "t", qos: 2 })
    const publisher = harness.connect("p")
    for (const id of [1, 2, 3]) {
      publisher.publish("t", `two ${id}`, { qos: 2, packetId: id })
      publisher.pubRel(id)
    }
    publisher.publish("t", "one", { qos: 1 })
    subscriber.take()
    subscriber.pubRec(2)
    subscriber.drop()
    publisher.publish("t", "later", { qos: 1 })
    harness.crash()
    const again = harness.connect("s", { clean: false })
    assert.deepStrictEqual(again.takeWords(), [
      "ConnAck 0 present",
      "PubRel 2",
      'Publish t "two 1" q2 #1 dup',
      'Publish t "two 3" q2 #3 dup',
      'Publish t "one" q1 #4 dup',
      'Publish t "later" q1 #5'
    ])
  })

  it("remembers retained messages, subscriptions with their options, and delayed wills", () => {
    const harness = new CoreHarness({ store: "on-time" })
    const options = { version: 5, clean: false, expiry: 1_000 } as const
    const subscriber = harness.connect("s", options)
    subscriber.subscribe({ filter: "will", qos: 1 }, { filter: "own", qos: 1, noLocal: true })
    const publisher = harness.connect("p", {
      ...options,
      will: {
        topic: "will",
        payload: new TextEncoder().encode("gone"),
        qos: 1,
        retain: false,
        properties: { willDelayInterval: 10 }
      }
    })
    publisher.publish("kept", "retained", { qos: 1, retain: true, properties: { contentType: "text" } })
    harness.crash()
    const again = harness.connect("s", options)
    again.publish("own", "unheard", { qos: 1 })
    again.subscribe("kept")
    harness.advance(9_000)
    assert.deepStrictEqual(again.takeWords(), [
      "ConnAck 0 present",
      "PubAck 1",
      'Publish kept "retained" q1 #1 retain',
      "SubAck 2 [2]"
    ])
    harness.advance(1_100)
    assert.deepStrictEqual(again.takeWords(), ['Publish will "gone" q1 #2'])
    harness.crash()
    const third = harness.connect("s", options)
    harness.advance(60_000)
    assert.notInclude(third.takePayloads().slice(2), "gone") // published once: not due again after a second restart
  })

  it("ends a session whose time is over, counted from when its connection ended", () => {
    const harness = new CoreHarness({ store: "on-time" })
    harness.connect("s", { version: 5, clean: false, expiry: 100 }).drop()
    harness.connect("stays", { version: 5, clean: false, expiry: 100 })
    harness.advance(60_000)
    harness.crash()
    harness.advance(41_000)
    assert.isUndefined(harness.session("s"))
    assert.isDefined(harness.session("stays")) // its connection ended with the crash
    harness.advance(60_000)
    assert.isUndefined(harness.session("stays"))
    assert.strictEqual(harness.store.memory.sessions.size, 0)
  })

  it("forgets a durable session that was resumed to end with its connection", () => {
    const harness = new CoreHarness({ store: "on-time" })
    const first = harness.connect("s", { version: 5, clean: false, expiry: 100 })
    first.subscribe("t")
    first.drop()
    const publisher = harness.connect("p")
    publisher.publish("t", "m", { qos: 2, packetId: 1 })
    publisher.pubRel(1)
    const again = harness.connect("s", { version: 5, clean: false })
    again.pubRec(1)
    again.pubComp(1)
    assert.deepStrictEqual(again.takePayloads(), ["m"])
    harness.crash()
    const third = harness.connect("s", { version: 5, clean: false, expiry: 100 })
    assert.deepStrictEqual(third.takeWords(), ["ConnAck 0"])
  })

  it("keeps nothing of sessions that end with their connection", () => {
    const harness = new CoreHarness({ store: "on-time" })
    const client = harness.connect("s")
    client.subscribe("t")
    client.publish("t", "m", { qos: 2, packetId: 1 })
    client.pubRel(1)
    assert.deepStrictEqual(harness.operations, [])
    harness.crash()
    assert.strictEqual(harness.core.sessions.size, 0)
  })

  it("does not send a QoS 1 message of the queue twice because its id was not stored", () => {
    const harness = new CoreHarness({ store: "manual" })
    harness.connect("s", { clean: false }).subscribe("t")
    harness.commit()
    harness.connect("s", { clean: false }).drop()
    const publisher = harness.connect("p")
    publisher.publish("t", "m", { qos: 1 })
    harness.commit()
    const subscriber = harness.connect("s", { clean: false })
    harness.commit(1) // CONNACK is released, the id of the message is not stored
    assert.deepStrictEqual(subscriber.takePayloads(), ["m"])
    harness.crash()
    const again = harness.connect("s", { clean: false })
    harness.commit()
    assert.deepStrictEqual(again.takeWords(), ["ConnAck 0 present", 'Publish t "m" q1 #1'])
  })
})
