/**
 * One run: many clients against one broker, one thing at a time, in an order that only the seed decides; then
 * everything is brought to rest and judged, then everybody leaves and nothing may be left.
 */
import type { QoS } from "../../src/protocol/Packet.ts"
import * as Invariants from "./Invariants.ts"
import { Ledger } from "./Ledger.ts"
import type { Link } from "./Link.ts"
import * as Scenario from "./Scenario.ts"
import type { Member } from "./SharedGroups.ts"
import { SimulatedBroker } from "./SimulatedBroker.ts"
import { SimulatedClient } from "./SimulatedClient.ts"
import { Violation, World } from "./World.ts"

export interface Options {
  readonly seed: number
  /** Steps before everything is brought to rest; left out: as the seed says. */
  readonly steps?: number | undefined
  /** Gets a line for everything that happens. */
  readonly log?: ((line: string) => void) | undefined
}

export interface Outcome {
  readonly seed: number
  /** The promise that was broken; undefined: none was. */
  readonly violation: string | undefined
  readonly stack: string | undefined
  /** At which step it ended. */
  readonly steps: number
  /** Published. */
  readonly messages: number
  /** PUBLISH packets sent to clients since the last crash. */
  readonly delivered: number
  readonly crashed: boolean
}

/** Runs a seed; whatever goes wrong is in the outcome. */
export const run = (options: Options): Outcome => {
  const simulation = new Simulation(options)
  let violation: string | undefined
  let stack: string | undefined
  try {
    simulation.run()
  } catch (error) {
    // Whatever is thrown is a finding: the core promises to throw on nothing.
    violation = error instanceof Violation ? error.message : `Something was thrown: ${error}`
    stack = error instanceof Error ? error.stack : undefined
  }
  const { broker, ledger, world } = simulation
  return {
    seed: options.seed,
    violation,
    stack,
    steps: world.step,
    messages: ledger.publications.length,
    delivered: broker.core.stats.messagesSent,
    crashed: world.crashedAt > 0
  }
}

/** How long things may take to come to rest. */
const ROUNDS_MAX = 500
const ALL = Number.POSITIVE_INFINITY

class Simulation {
  readonly world: World
  readonly ledger: Ledger
  readonly broker: SimulatedBroker
  private readonly clients: ReadonlyArray<SimulatedClient>
  private lastMoves: ReadonlyArray<string> = []

  constructor({ log, seed, steps }: Options) {
    const scenario = Scenario.scenarioOf(seed, steps)
    this.world = new World(scenario, log)
    this.ledger = new Ledger(this.world)
    this.broker = new SimulatedBroker(this.world, this.ledger)
    this.clients = scenario.profiles.map((profile) => new SimulatedClient(this.world, this.ledger, profile))
    this.world.trace(() => JSON.stringify(scenario))
  }

  run(): void {
    const { broker, world } = this
    for (; world.step < world.scenario.steps; world.step++) {
      this.move()
      Invariants.always(world, broker.state)
    }
    world.calm = true
    world.trace(() => "the faults are over")
    this.rest()
    this.judge()
    this.leave()
    broker.account()
    Invariants.atEnd(world, broker.state, broker.store.memory)
  }

  // The random part.

  /** One thing happens. */
  private move(): void {
    const { broker, world } = this
    const { random, scenario } = world
    world.now += random.below(4)
    if (random.chance(scenario.crashes)) broker.crash()
    if (random.chance(scenario.freezes)) this.freeze()
    const dice = random.below(100)
    if (dice < 24) this.moveInput()
    else if (dice < 48) this.moveOutput()
    else if (dice < 62) broker.turn()
    else if (dice < 88) this.act(random.pick(this.clients))
    else if (dice < 96) this.moveStore()
    else if (dice < 98) this.wait()
    else if (scenario.local) broker.publish(random.pick(["t/0", "u/0"]), random.below(3) as QoS) // 0, 1 or 2
    if (broker.questions.length > 0 && random.chance(0.3)) broker.answer(random.below(broker.questions.length))
    broker.forgetOver()
  }

  private pickLink(may: (link: Link) => boolean): Link | undefined {
    const links = [...this.broker.links].filter(may)
    return links.length === 0 ? undefined : this.world.random.pick(links)
  }

  /** All of it, a part, or a few bytes, so that packets are cut anywhere. */
  private share(length: number): number {
    const { random } = this.world
    const dice = random.below(10)
    if (dice < 6) return length
    return dice < 8 ? random.between(1, Math.max(1, length)) : random.between(1, 8)
  }

  private moveInput(): void {
    const link = this.pickLink(
      ({ finished, gone, silent, toBroker }) => !gone && !silent && (finished || toBroker.length > 0)
    )
    if (link === undefined) this.broker.turn()
    else this.broker.receive(link, this.share(link.toBroker.length))
  }

  private moveOutput(): void {
    const { broker, world } = this
    const link = this.pickLink(
      ({ asked, gone, socket, toClient }) => asked || gone || socket.length + toClient.length > 0
    )
    if (link === undefined) {
      broker.turn()
      return
    }
    if (link.window < 100_000 && !link.silent) link.window += world.random.pick([0, 1, 50, 2_000])
    broker.accept(link, this.share(link.socket.length))
    broker.deliver(link, this.share(link.toClient.length))
  }

  /** A socket takes little or nothing for a while, or all again. */
  private freeze(): void {
    const link = this.pickLink(({ gone, silent }) => !gone && !silent)
    if (link === undefined) return
    link.window = this.world.random.pick([0, 0, 100, ALL, ALL])
    this.world.trace(() => `${link.name} takes ${link.window} bytes`)
    if (link.window === ALL) this.broker.accept(link, ALL)
  }

  private moveStore(): void {
    const { broker, world } = this
    const { random, scenario } = world
    const { store } = broker
    if (store.state !== "ok" || store.stalled) {
      if (random.chance(0.15)) {
        store.state = "ok"
        store.stalled = false
      }
    } else if (random.chance(scenario.storeTrouble)) {
      if (random.chance(0.4)) store.stalled = true
      else store.state = random.pick(["full", "failed"] as const)
    }
    broker.work()
  }

  private wait(): void {
    const { random, scenario } = this.world
    const long = scenario.longWaits && random.chance(0.15)
    const millis = long ? random.between(1_000, 40_000) : random.between(1, 1_500)
    this.world.trace(() => `${millis} ms pass`)
    this.broker.advance(millis, random.chance(0.2))
    for (const client of this.clients) client.tick()
  }

  private act(client: SimulatedClient): void {
    const { broker, world } = this
    const { random, scenario } = world
    if (client.link === undefined) {
      // Not drawn where it is never so: other seeds stay what they were.
      if (scenario.cleanStarts > 0 && random.chance(scenario.cleanStarts)) client.startClean()
      client.connect(broker.open)
      return
    }
    if (random.chance(scenario.cuts)) {
      client.cut(broker.closed)
      return
    }
    if (!client.mayAct) {
      broker.turn()
      return
    }
    const { filters, topics } = client.profile
    // A session without subscriptions makes for a quiet run.
    const dice = client.life?.filters.length === 0 && filters.length > 0 ? random.below(70) + 30 : random.below(100)
    if (dice < 50) {
      const count = random.chance(0.2) ? random.between(2, 10) : 1
      for (let index = 0; index < count && topics.length > 0; index++) this.publish(client, random.pick(topics))
    } else if (dice < 65) {
      if (filters.length > 0) {
        const chosen = random.chance(0.3) ? [random.pick(filters), random.pick(filters)] : [random.pick(filters)]
        client.subscribe(chosen, random.pick(client.profile.shared ? [1, 2] : [0, 1, 2, 2]))
      }
    } else if (dice < 69) {
      const subscribed = client.life?.filters ?? []
      if (subscribed.length > 0) client.unsubscribe(random.pick(subscribed))
    } else if (dice < 90) client.answer()
    else if (dice < 93) client.ping()
    else if (dice < 95) client.disconnect()
    else if (dice < 96)
      client.connect(broker.open) // takes over
    else if (dice < 97) client.startClean()
    else if (dice < 98 && random.chance(0.2) && !client.link.gone) broker.expel(client.link)
  }

  private publish(client: SimulatedClient, topic: string): void {
    const { random } = this.world
    client.publish(topic, Scenario.isRetainedTopic(topic) ? random.pick([1, 2]) : random.pick([0, 1, 1, 2, 2]))
  }

  // Bringing it to rest.

  /** No more faults: everybody who has something to lose comes back, and everything that is underway arrives. */
  private rest(): void {
    const { broker, world } = this
    broker.store.state = "ok"
    broker.store.stalled = false
    for (const link of broker.links) {
      link.window = ALL
      // Nobody is at the other end, and by now the network has said so.
      if (link.silent || (link.abandoned && !link.finished)) broker.closed(link)
    }
    let quiet = 0
    let moved = true
    for (let round = 0; quiet < 5; round++) {
      if (!moved) this.pass(500)
      world.check(round < ROUNDS_MAX, () => `It does not come to rest: ${this.busyness()}`)
      for (const client of this.clients) {
        if (client.link === undefined && client.mustReturn) client.connect(broker.open)
      }
      moved = this.round()
      Invariants.always(world, broker.state)
      // Pings go on for ever.
      if (!this.isDone()) quiet = 0
      else if (!moved) quiet++
    }
  }

  /** Everything moves that can. Whether anything did. */
  private round(): boolean {
    const { broker } = this
    const moved: Array<string> = []
    for (const link of broker.links) {
      if (broker.receive(link, ALL)) moved.push(`from ${link.name}`)
      if (broker.accept(link, ALL)) moved.push(`out to ${link.name}`)
      if (broker.deliver(link, ALL)) moved.push(`to ${link.name}`)
    }
    for (const client of this.clients) client.answer()
    while (broker.questions.length > 0) broker.answer(0)
    if (broker.turn()) moved.push("a turn")
    if (!broker.store.idle) moved.push("the store")
    broker.work()
    broker.forgetOver()
    this.lastMoves = moved
    return moved.length > 0
  }

  private pass(millis: number): void {
    this.broker.advance(millis, false)
    for (const client of this.clients) client.tick()
  }

  private isDone(): boolean {
    if (this.broker.core.journal.bytes > 0) return false
    return this.clients.every(({ idle, link, mustReturn, ready }) => (link === undefined ? !mustReturn : ready && idle))
  }

  private busyness(): string {
    const busy = this.clients.filter(({ idle, link, mustReturn, ready }) =>
      link === undefined ? mustReturn : !(ready && idle)
    )
    return [...busy.map(({ state }) => state), ...this.lastMoves].join("; ")
  }

  private judge(): void {
    const { broker, ledger, world } = this
    Invariants.atRest(world, broker.state, broker.store.memory)
    for (const publication of ledger.publications) {
      const { fate, kind, link, qos } = publication
      if (kind !== "message" || qos > 0 || fate !== "underway") continue
      const client = this.clients.find(({ clientId }) => clientId === publication.publisher)
      if (client?.ready === true && client.link === link) ledger.settle(publication, "acknowledged")
    }
    broker.unsubscribeLocal()
    if (!world.scenario.hooks) {
      const away = (clientId: string) => broker.core.sessions.has(clientId)
      ledger.groups.judge(ledger, this.clients.map(memberOf), away)
    }
    for (const { clientId, life, ready } of this.clients) {
      if (life === undefined || life.over || !ready) continue
      const missing = new Map<string, Array<number>>()
      for (const { number, topic } of life.missing(true)) {
        const numbers = missing.get(topic) ?? []
        numbers.push(number)
        missing.set(topic, numbers)
      }
      for (const [topic, numbers] of missing) {
        const drops = ledger.dropsOf(clientId, topic)
        const which = () => `${clientId} did not get ${numbers} on ${topic}, and ${drops} were counted as dropped.`
        world.check(numbers.length <= drops, which)
      }
    }
  }

  // The end.

  /** Everybody leaves, one way or another, and no session outlives its time. */
  private leave(): void {
    const { broker, clients, world } = this
    for (const [index, client] of clients.entries()) {
      if (index % 3 === 2) client.cut(broker.closed)
      else if (client.ready) client.disconnect()
    }
    for (let round = 0; round < 20; round++) this.round()
    for (const link of broker.links) broker.closed(link)
    for (let round = 0; round < 20; round++) this.round()
    const { sessionExpirySecondsMax } = world.scenario.config
    broker.advance(sessionExpirySecondsMax * 1_000 + 1_000, false)
    // What they leave to others is read page by page.
    const isLeft = () => broker.state.orphans.size > 0 || broker.core.journal.bytes > 0
    for (let round = 0; round < 20 || (isLeft() && round < ROUNDS_MAX); round++) this.round()
  }
}

const memberOf = ({ life, profile, ready }: SimulatedClient): Member => {
  const { clientId, filters, maximumPacketSize } = profile
  return { clientId, filters, life, ready, maximumPacketSize }
}
