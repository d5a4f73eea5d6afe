/**
 * The broker under test, and everything that the shell does for it: sockets, the turn, the journal driver, the timer,
 * the hooks. And its crashes: a new core on what the store had kept.
 *
 * Every call into the core goes through `call`, which looks at what came of it.
 */
import type { Question, SubscribeRequest } from "../../src/core/Question.ts"
import { BrokerCore, type LocalSubscription } from "../../src/core/BrokerCore.ts"
import { tags } from "../../src/core/CoreEvent.ts"
import type { CoreState } from "../../src/core/CoreState.ts"
import type { Session } from "../../src/core/Session.ts"
import type { QoS } from "../../src/protocol/Packet.ts"
import { ProtocolError } from "../../src/protocol/ProtocolError.ts"
import * as DropPolicy from "./DropPolicy.ts"
import type { Ledger, Publication } from "./Ledger.ts"
import { Link, type Peer } from "./Link.ts"
import { SimulatedStore } from "./SimulatedStore.ts"
import type { World } from "./World.ts"

const INFO = {
  remoteHost: "192.0.2.1",
  remotePort: 50_000,
  localHost: "192.0.2.2",
  localPort: 1883,
  protocol: 0,
  tcpKeepAlive: false
} as const

/** Counted beside the core, since its last start. */
interface Tally {
  opened: number
  received: number
  accepted: number
  dropped: number
}

const GONE = { statusCode: 0, description: "OK" } as const

export class SimulatedBroker {
  core: BrokerCore
  readonly store: SimulatedStore
  /** Those on which something can still move. */
  readonly links = new Set<Link>()
  questions: Array<Question> = []
  private linkCount = 0
  private tally: Tally = { opened: 0, received: 0, accepted: 0, dropped: 0 }
  private local: LocalSubscription | undefined = undefined
  /** What the in-process subscriber got from this core. */
  private readonly seen = new Set<number>()
  private readonly seenTwice = new Set<number>()
  /** In-process messages that are not durable yet. */
  private published: Array<{ readonly publication: Publication; readonly sequence: number }> = []
  private readonly aged = new WeakSet<Session>()
  private readonly world: World
  private readonly ledger: Ledger

  constructor(world: World, ledger: Ledger) {
    this.world = world
    this.ledger = ledger
    this.store = new SimulatedStore(world)
    this.core = this.makeCore()
    this.subscribeLocal()
  }

  /** What is inside the core. */
  get state(): CoreState {
    // Private on purpose: the shell must not reach in.
    return (this.core as unknown as { readonly core: CoreState }).core
  }

  // Connections.

  readonly open = (peer: Peer): Link => {
    const connection = this.call((core) => core.open(INFO, this.world.now))
    const link = new Link(++this.linkCount, connection, peer)
    connection.driver = link
    this.links.add(link)
    this.tally.opened++
    return link
  }

  /** Up to `count` bytes of a client arrive. Whether anything could. */
  receive(link: Link, count: number): boolean {
    if (link.gone || !link.reading || link.silent) return false
    if (link.toBroker.length === 0) {
      if (link.finished) this.closed(link)
      return link.finished
    }
    const bytes = link.toBroker.take(count)
    const { connection } = link
    const { phase } = connection
    if (phase !== "ending" && phase !== "closed") this.tally.received += bytes.length
    const { config, journal } = this.core
    const before = journal.sequence
    const { session } = connection
    const refusing = journal.enabled && journal.storage !== "ok"
    const held = session?.incomingSize ?? 0
    const subscribed = session?.subscriptions.size ?? 0
    this.call((core) => core.receive(connection, bytes, this.world.now))
    const over = journal.waitingBytes > config.journalBytesMax && journal.sequence !== before
    // Connections that this input ended left their own records behind it.
    const stopped = connection.paused || this.core.closes.length > 0
    this.world.check(!over || stopped, () => `${link.name} is read though the journal is full.`)
    if (refusing && session !== undefined && connection.session === session) {
      const same = session.incomingSize <= held && (!session.durable || session.subscriptions.size <= subscribed)
      this.world.check(same, () => `${link.name} was given what the store cannot keep.`)
    }
    const ended = phase === "connected" && connection.phase === "ending"
    if (link.will !== undefined && link.toBroker.length === 0 && ended) {
      link.will.takenBack = this.world.moment()
    }
    return true
  }

  /** The socket takes up to `count` bytes, and says so. Whether anything moved. */
  accept(link: Link, count: number): boolean {
    if (link.gone) return false
    const accepted = link.accept(count)
    this.tally.accepted += accepted
    if (accepted > 0) this.call((core) => core.flushed(link.connection, link.socket.length, this.world.now))
    if (link.asked && link.socket.length === 0) this.closed(link)
    return accepted > 0
  }

  /** The client gets up to `count` bytes, and the end behind the last. Whether anything moved. */
  deliver(link: Link, count: number): boolean {
    if (link.abandoned) return false
    if (link.toClient.length > 0) {
      link.peer.received(link, link.toClient.take(count))
      return true
    }
    const over = link.gone || (link.asked && link.socket.length === 0)
    if (over && !link.silent) link.peer.ended(link)
    return over
  }

  /** The transport is gone. */
  readonly closed = (link: Link): void => {
    if (link.gone) return
    link.endedAt = Math.min(link.endedAt, this.world.now)
    this.call((core) => core.closed(link.connection, GONE, this.world.now))
    link.gone = true
    link.socket.clear()
    link.toBroker.clear()
  }

  /** The operator ends a connection. */
  expel(link: Link): void {
    this.world.trace(() => `${link.name} is expelled`)
    this.call((core) => core.disconnect(link.connection, 0x98, this.world.now))
  }

  forgetOver(): void {
    for (const link of this.links) if (link.over) this.links.delete(link)
  }

  // Turns and time.

  /** One turn of the shell; whether it did anything. */
  turn(): boolean {
    const { core } = this
    this.call((each) => each.turn(this.world.now))
    let busy = core.questions.length > 0 || core.unfinished
    this.questions.push(...core.questions.splice(0))
    this.store.take(core)
    if (core.pageRequests.length > 0) busy = true
    this.store.wish(core)
    const { closes, dirty, readingChanges } = core
    for (const connection of dirty.splice(0)) {
      this.flush(connection.driver as Link) // put there by `open`
      busy = true
    }
    for (const { connection, drain } of closes.splice(0)) {
      const link = connection.driver as Link
      link.asked = true
      link.closeBy = this.world.now + (drain ? core.config.drainTimeoutSeconds * 1_000 : 0)
      link.reading = true
      if (!drain) this.closed(link)
      busy = true
    }
    for (const connection of readingChanges.splice(0)) {
      connection.readingChanged = false
      const link = connection.driver as Link
      link.reading = connection.reading || link.asked
      busy = true
    }
    core.events.take()
    for (const session of core.departing) core.depart(session)
    return busy
  }

  private flush(link: Link): void {
    const { connection } = link
    const { outbox } = connection
    const chunks = outbox.take()
    if (link.gone || chunks.length === 0) return
    for (const chunk of chunks) link.socket.push(chunk)
    // An open window takes it all within the call, as a kernel with room does.
    if (link.window > 0) this.tally.accepted += link.accept(link.window)
    const bufferedBytes = link.socket.length
    if (bufferedBytes === 0) outbox.recycle()
    this.call((core) => core.flushed(connection, bufferedBytes, this.world.now))
  }

  /** Lets time pass. A `late` timer is not heard before the end of it. */
  advance(millis: number, late: boolean): void {
    const { world } = this
    const until = world.now + millis
    for (let ticks = 0; !late && this.core.deadline() <= until; ticks++) {
      world.check(ticks < 10_000, () => "The core wants to be called again and again at the same time.")
      world.now = Math.max(world.now, this.core.deadline())
      this.call((core) => core.tick(world.now))
    }
    world.now = until
    if (this.core.deadline() <= until) this.call((core) => core.tick(until))
    for (const link of this.links) if (link.closeBy <= until) this.closed(link)
  }

  /** The store takes a step. */
  work(): void {
    this.call((core) => {
      this.store.work(core)
      this.store.read(core)
    })
    if (this.published.length === 0) return
    const { durable } = this.core.journal
    for (const { publication, sequence } of this.published) {
      if (sequence <= durable) this.ledger.settle(publication, "acknowledged")
    }
    this.published = this.published.filter(({ sequence }) => sequence > durable)
  }

  /** Answers the question at `index`. */
  answer(index: number): void {
    const { random, calm } = this.world
    const [question] = this.questions.splice(index, 1)
    if (question === undefined) return
    const refuses = !calm && random.chance(0.1)
    let reasonCode = refuses ? 0x87 : 0
    if (question._tag === "Subscribe") reasonCode = grantOf(question)
    else if (question._tag === "Publish" && refuses) {
      const publication = this.ledger.read(question.payload)
      if (publication !== undefined) this.ledger.deny(publication)
    }
    this.world.trace(() => `${question._tag} of ${question.clientId} is answered with ${reasonCode}`)
    this.call((core) => core.answered(question.questionId, { reasonCode }, this.world.now))
  }

  // In-process clients.

  publish(topic: string, qos: QoS): void {
    const { world } = this
    const draft = { publisher: "broker", kind: "local", topic, qos, mayExpire: false } as const
    const publication = this.ledger.begin(draft)
    world.trace(() => `in-process message ${publication.number}`)
    const parts = { topic, payload: publication.payload, qos, retain: false }
    const error = this.call((core) => core.publish(parts, world.now))
    if (error !== undefined) world.violated(error.message)
    if (world.scenario.journal) this.published.push({ publication, sequence: this.core.publishedSequence() })
    else this.ledger.settle(publication, "acknowledged")
  }

  private subscribeLocal(): void {
    if (!this.world.scenario.local) return
    const subscription = this.core.subscribeLocal("#", (message) => {
      const publication = this.ledger.read(message.payload)
      if (publication === undefined) return
      const { number, qos, repeated } = publication
      const again = this.seen.has(number) && (qos !== 1 || !repeated) && this.world.crashedAt < publication.begun
      if (again) this.seenTwice.add(number)
      this.seen.add(number)
    })
    if (subscription instanceof ProtocolError) this.world.violated(subscription.message)
    else this.local = subscription
  }

  /** The in-process subscriber goes; what it got must have been everything, once. */
  unsubscribeLocal(): void {
    const { local, world } = this
    if (local === undefined) return
    local.unsubscribe()
    this.local = undefined
    world.check(this.seenTwice.size === 0, () => `In process, ${[...this.seenTwice]} came twice.`)
    for (const { begun, denied, fate, kind, number, payload } of this.ledger.publications) {
      if (fate !== "acknowledged" || denied || kind === "will" || payload.length === 0) continue
      const owed = begun > world.crashedAt
      world.check(!owed || this.seen.has(number), () => `In process, message ${number} did not come.`)
    }
  }

  // Crashes.

  /** The process dies, and a new one starts on what the store kept. What is on the wires already still arrives. */
  crash(): void {
    const { world } = this
    this.account()
    for (const link of this.links) {
      link.gone = true
      link.endedAt = Math.min(link.endedAt, world.now)
      link.socket.clear()
      link.toBroker.clear()
    }
    for (const { publication } of this.published) this.ledger.settle(publication, "abandoned")
    this.published = []
    this.questions = []
    this.local = undefined
    this.store.restart()
    world.crashedAt = world.moment()
    this.tally = { opened: 0, received: 0, accepted: 0, dropped: 0 }
    this.core = this.makeCore()
    const records = this.store.memory.records()
    world.trace(() => `the broker crashes, and restores ${records.length} records`)
    this.call((core) => {
      for (const record of records) core.restore(record, world.now)
      core.restored(world.now)
    })
    this.subscribeLocal()
  }

  /** The core's counters say what happened. */
  account(): void {
    const { stats } = this.core
    const { accepted, dropped, opened, received } = this.tally
    const { world } = this
    world.check(stats.connectionsTotal === opened, () => `${stats.connectionsTotal} connections counted of ${opened}.`)
    world.check(stats.bytesReceived === received, () => `${stats.bytesReceived} bytes counted of ${received}.`)
    world.check(stats.bytesSent === accepted, () => `${stats.bytesSent} bytes counted as sent of ${accepted}.`)
    world.check(stats.messagesDropped === dropped, () => `${stats.messagesDropped} drops counted of ${dropped}.`)
    world.check(stats.protocolErrors === 0, () => `${stats.protocolErrors} protocol errors counted.`)
  }

  private makeCore(): BrokerCore {
    const { config, events, hooks, journal, pages } = this.world.scenario
    // Full of rubbish, as the shell's buffers are.
    const allocate = (bytes: number) => new Uint8Array(bytes).fill(0xee)
    const core = new BrokerCore({ config, journal, pages, idSeed: "seed", allocate })
    for (const tag of events ? tags : (["MessageDropped", "ProtocolFailure", "SessionRemoved"] as const))
      core.events.want(tag, true)
    if (hooks) {
      core.installed.sessionRequest = true
      core.installed.subscribe = true
      core.installed.publish = true
    }
    this.listen(core)
    return core
  }

  /** Looks at drops when they happen: later, the queue that was full may have room again. */
  private listen(core: BrokerCore): void {
    const { events } = core
    const push = events.push.bind(events)
    events.push = (event) => {
      if (event._tag === "MessageDropped") {
        this.tally.dropped++
        this.world.trace(() => `dropped for ${event.clientId}: ${event.topic} QoS ${event.qos}, ${event.reason}`)
        this.ledger.dropped(event.clientId, event.topic)
        DropPolicy.check(this.world, this.state, event)
      } else if (event._tag === "SessionRemoved") {
        for (const { clientId, filters, shared } of this.world.scenario.profiles) {
          if (shared && clientId === event.clientId) this.ledger.groups.ended(filters[0]!)
        }
      } else if (event._tag === "ProtocolFailure") {
        this.world.violated(`The broker calls what ${event.clientId} did an error: ${event.description}`)
      }
      push(event)
    }
  }

  /** Packet ids begin near their end, so that they come round. */
  private age(): void {
    for (const session of this.core.sessions.values()) {
      if (this.aged.has(session)) continue
      this.aged.add(session)
      // Private on purpose; there is no other way to get there within a short run.
      if (session.inflight.size === 0) (session.inflight as unknown as { lastId: number }).lastId = 65_530
    }
  }

  private call<Result>(what: (core: BrokerCore) => Result): Result {
    const { core } = this
    const result = what(core)
    for (const { defect } of core.defects) throw defect
    if (this.world.scenario.lateIds) this.age()
    for (const { connection } of core.closes) {
      const link = connection.driver as Link | undefined // not yet there while it is opened
      if (link !== undefined) link.endedAt = Math.min(link.endedAt, this.world.now)
    }
    return result
  }
}

/** Always the same for the same client and filter: it is asked again when the client comes back. */
const grantOf = ({ clientId, requestedQos, topicFilter }: SubscribeRequest): number => {
  let hash = clientId.charCodeAt(clientId.length - 1)
  for (let at = 0; at < topicFilter.length; at++) hash = hash * 31 + topicFilter.charCodeAt(at)
  if (hash % 10 === 0) return 0x87
  return hash % 10 < 4 ? Math.min(requestedQos, hash % 3) : requestedQos
}
