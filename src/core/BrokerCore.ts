/**
 * The broker as one synchronous object: bytes, answers and time go in; bytes, questions, closes, store operations and
 * events come out.
 *
 * Owns what every call has in common: it never throws on anything a client sends, and what it sets going has come to
 * rest when it returns (`Continuing.settle`). What it does is forwarded to the module of each concept; only what comes
 * from this process, not from a client, is checked here: messages, retained messages and subscribers. It knows no
 * socket, clock or store: the shell hands over the time, empties the lists after each call, and reports back.
 */
import * as ConnectionId from "./ConnectionId.ts"
import { Decoder } from "../protocol/Decoder.ts"
import { ProtocolError } from "../protocol/ProtocolError.ts"
import * as ReasonCode from "../protocol/ReasonCode.ts"
import * as Topic from "../protocol/Topic.ts"
import * as Continuing from "./Continuing.ts"
import { type CoreOptions, CoreState } from "./CoreState.ts"
import * as Defect from "./Defect.ts"
import * as Disconnection from "./Disconnection.ts"
import * as Dropping from "./Dropping.ts"
import * as Input from "./Input.ts"
import type { StorageState } from "./Journal.ts"
import { Message, type Parts } from "./Message.ts"
import { Orphan } from "./Orphan.ts"
import * as Orphans from "./Orphans.ts"
import { Outbox } from "./Outbox.ts"
import type { PageRequest } from "./PageRequest.ts"
import type { Answer } from "./Question.ts"
import * as Redelivery from "./Redelivery.ts"
import * as RetainedDelivery from "./RetainedDelivery.ts"
import * as RetainedMessages from "./RetainedMessages.ts"
import * as Routing from "./Routing.ts"
import * as Sending from "./Sending.ts"
import { type ConnectionInfo, ServerConnection } from "./ServerConnection.ts"
import { Session } from "./Session.ts"
import * as SessionImage from "./SessionImage.ts"
import * as Sessions from "./Sessions.ts"
import * as SlowConsumer from "./SlowConsumer.ts"
import type { PutOutgoing, StoreRecord } from "./StoreOperation.ts"
import * as Supervision from "./Supervision.ts"
import type { ThrownAway } from "./Unhanded.ts"
import * as Workload from "./Workload.ts"

export interface LocalSubscription {
  readonly unsubscribe: () => void
}

const input = Input.proceedDeferred
const queues = Redelivery.proceedDue
const retained = RetainedDelivery.proceedDue
/**
 * What a turn may have left to the next. Whoever is later gets what the earlier leave of the budget: they take turns at
 * being first, input in every other one.
 */
const orders = [
  [input, retained, queues],
  [retained, input, queues],
  [input, queues, retained],
  [queues, input, retained]
]

export class BrokerCore {
  private readonly core: CoreState

  constructor(options: CoreOptions) {
    this.core = new CoreState(options)
  }

  // What the shell reads and empties after each call.

  get config() {
    return this.core.config
  }
  get installed() {
    return this.core.installed
  }
  get events() {
    return this.core.events
  }
  get lastIds() {
    return this.core.lastIds
  }
  get stats() {
    return this.core.stats
  }
  get journal() {
    return this.core.journal
  }
  get dirty() {
    return this.core.dirty
  }
  get closes() {
    return this.core.closes
  }
  get readingChanges() {
    return this.core.readingChanges
  }
  get questions() {
    return this.core.questions
  }
  get defects() {
    return this.core.defects
  }
  get forgotten() {
    return this.core.forgotten
  }
  get pageRequests() {
    return this.core.pageRequests
  }

  // Snapshots.

  get connections(): ReadonlyMap<string, ServerConnection> {
    return this.core.connections
  }
  get sessions(): ReadonlyMap<string, Session> {
    return this.core.sessions
  }
  /** Sessions whose removal is being told: they are gone for everybody but who looks at them. */
  get departing(): ReadonlySet<Session> {
    return this.core.departing
  }
  get retained() {
    return this.core.retained
  }
  get subscriptionCount(): number {
    return this.core.router.size
  }

  /** The id of a connection that is not open yet: pass it to `open`. */
  nextConnectionId(): ConnectionId.ConnectionId {
    return this.core.nextConnectionId()
  }

  /** A transport is up. */
  open(info: ConnectionInfo, now: number): ServerConnection {
    const { core } = this
    const { packetBytesBeforeConnectMax, packetBytesMax, topicLevelsMax, userPropertiesMax } = core.config
    const decoder = new Decoder({
      sender: "client",
      packetBytesMax: Math.min(packetBytesBeforeConnectMax, packetBytesMax),
      topicLevelsMax,
      userPropertiesMax
    })
    const id = info.connectionId === undefined ? core.nextConnectionId() : ConnectionId.fromText(info.connectionId)
    const connection = new ServerConnection(id, info, decoder, new Outbox(core.pool), now)
    core.connections.set(connection.id, connection)
    core.stats.connectionsTotal++
    Supervision.watch(core, connection, now)
    if (core.events.wants.Connected) {
      core.events.push({ _tag: "Connected", connectionId: connection.id, statusCode: 0, description: "OK" })
    }
    return connection
  }

  /** Call it at the beginning of every turn: what the one before left to do goes on. */
  turn(now: number): void {
    const { core } = this
    Workload.begin(core)
    core.turns++
    for (const proceed of orders[core.turns % orders.length]!) proceed(core, now)
    this.settle(now)
  }

  /** Whether a turn has left something to the next. */
  get unfinished(): boolean {
    const { deferred, pumpsDue, retainedDue } = this.core
    return deferred.size > 0 || retainedDue.size > 0 || pumpsDue.size > 0
  }

  /** Bytes from a client, in any chunking. They belong to the core from now on. */
  receive(connection: ServerConnection, bytes: Uint8Array, now: number): void {
    if (connection.hasEnded) return
    const { core } = this
    connection.receivedAt = now
    core.stats.bytesReceived += bytes.length
    connection.decoder.push(bytes)
    Input.proceed(core, connection, now)
    this.settle(now)
  }

  /**
   * After a write, and whenever the socket accepted bytes: how many it has not accepted. `heldBytes`: how many of them
   * it has not even been given.
   */
  flushed(connection: ServerConnection, bufferedBytes: number, now: number, heldBytes = 0): void {
    const { core } = this
    if (connection.phase === "closed") return
    Defect.guard(core, connection, now, () => {
      const { unhanded } = connection
      if (unhanded !== undefined) Sending.handed(core, connection, unhanded, heldBytes)
      const room = SlowConsumer.flushed(core, connection, bufferedBytes, now)
      if (bufferedBytes > 0) Supervision.watchDrain(core, connection, now)
      const { session } = connection
      if (!room || session === undefined) return
      if (session.queue.length > 0 || connection.unsent !== undefined) Redelivery.pump(core, session, now)
      if (core.retainedWalks.size > 0) core.resumeRetained(session)
    })
    this.settle(now)
  }

  /** An interrupt threw messages at QoS 0 away, of what was taken from the connection's outbox. Call `flushed` then. */
  interrupted(connection: ServerConnection, thrown: ReadonlyArray<ThrownAway>): void {
    const { clientId, outbox, unhanded } = connection
    if (unhanded !== undefined) unhanded.takeOut(thrown, outbox.handedOver)
    for (const { bytes, topic } of thrown) {
      outbox.handedOver -= bytes
      Dropping.drop(this.core, clientId, topic, 0, "interrupted")
    }
  }

  /** The transport is gone. Repeating it changes nothing. */
  closed(
    connection: ServerConnection,
    reason: { readonly statusCode: number; readonly description: string },
    now: number
  ): void {
    Defect.guard(this.core, connection, now, () => Disconnection.gone(this.core, connection, reason, now))
    this.settle(now)
  }

  /** Whether somebody waits for the answer to a question. */
  isAsked(questionId: number): boolean {
    return this.core.openQuestions.has(questionId)
  }

  /** A hook's decision comes back. */
  answered(questionId: number, answer: Answer, now: number): void {
    Continuing.answered(this.core, questionId, answer, now)
    this.settle(now)
  }

  /** Everything up to this sequence is durable. */
  stored(sequence: number, now: number): void {
    Continuing.stored(this.core, sequence, now)
    this.settle(now)
  }

  /** Whether somebody still waits for what was asked of the store. */
  isWanted(request: PageRequest): boolean {
    return request.reader.pageRequest === request
  }

  /**
   * The answer of the store: messages in their order, none when there are no more. Returns how many of those that it
   * has been told of it does not have: it is damaged.
   */
  pageRead(request: PageRequest, records: ReadonlyArray<PutOutgoing>, now: number): number {
    const { core } = this
    const { reader, through } = request
    if (!this.isWanted(request)) return 0
    let lost = 0
    if (reader instanceof Orphan) Defect.guard(core, undefined, now, () => Orphans.pageRead(core, reader, records, now))
    else {
      Defect.guard(core, reader.connection, now, () => {
        lost = Redelivery.pageRead(core, reader, through, records, now)
      })
    }
    this.settle(now)
    return lost
  }

  storageState(state: StorageState, now: number): void {
    Continuing.storageState(this.core, state, now)
    this.settle(now)
  }

  /** One record of the store, before the first connection. */
  restore(record: StoreRecord, now: number): void {
    Sessions.restore(this.core, record, now)
  }

  /** The last record of the store has been restored. */
  restored(now: number): void {
    Orphans.restored(this.core, now)
    this.settle(now)
  }

  /** Looks at the deadlines that have come. */
  tick(now: number): void {
    Supervision.tick(this.core, now)
    this.settle(now)
  }

  /** When `tick` has something to do next, in milliseconds since the epoch; Infinity: nothing is due. */
  deadline(): number {
    return this.core.deadlines.next()
  }

  /** An in-process message: an error when its topic is not a topic name. */
  publish(parts: Parts, now: number): ProtocolError | undefined {
    const { core } = this
    const error = Topic.validateName(parts.topic, core.config.topicLevelsMax)
    if (error !== undefined) return error
    const { topic, qos, retain, properties } = parts
    const message = { topic, payload: parts.payload.slice(), qos, retain, properties }
    Routing.route(core, Message.fromParts(message, core.nextMessageId(), undefined, now), now)
    this.settle(now)
    return undefined
  }

  /** Whoever was told of the removal of a session has had time to look at it. */
  depart(session: Session): void {
    if (this.core.departing.delete(session)) session.forget()
  }

  /** The session of a client, also while its removal is being told. */
  sessionOf(clientId: string): Session | undefined {
    const session = this.core.sessions.get(clientId)
    return session ?? [...this.core.departing].find((each) => each.clientId === clientId)
  }

  /**
   * The session as it is now, connected or not; its payloads are views of the core's bytes. Undefined when `stored` is
   * not that part of its queue which is only in the store, or there is no such session.
   */
  sessionImage(
    clientId: string,
    stored: ReadonlyArray<PutOutgoing>,
    now: number
  ): SessionImage.SessionImage | undefined {
    const session = this.sessionOf(clientId)
    return session === undefined ? undefined : SessionImage.take(session, stored, now)
  }

  /** Puts a session in, whole, in place of the one that its client id has; or says why not, and nothing has changed. */
  loadSession(image: SessionImage.SessionImage, now: number): SessionImage.Refusal | undefined {
    const refusal = SessionImage.put(this.core, image, now)
    this.settle(now)
    return refusal
  }

  /** A retained message that nobody is sent: what is wrong with it, or why there is no room for it. */
  setRetained(
    parts: Parts,
    now: number
  ): ProtocolError | "store" | "retainedMessagesMax" | "retainedBytesMax" | undefined {
    const { core } = this
    const { payload, properties, qos, topic } = parts
    const error = Topic.validateName(topic, core.config.topicLevelsMax)
    if (error !== undefined) return error
    if (core.journal.refusing) return "store"
    const content = { topic, payload: payload.slice(), qos, retain: true, properties }
    const message = Message.fromParts(content, core.nextMessageId(), undefined, now)
    const former = core.retained.get(topic)
    const bytes = core.retainedBytes + message.bytes - (former === undefined ? 0 : RetainedMessages.weightOf(former))
    if (RetainedMessages.set(core, message) === ReasonCode.Success) return undefined
    return bytes > core.config.retainedBytesMax ? "retainedBytesMax" : "retainedMessagesMax"
  }

  /** Whether there was one. */
  removeRetained(topic: string): boolean {
    const { core } = this
    const found = core.retained.get(topic) !== undefined
    RetainedMessages.remove(core, topic)
    return found
  }

  /** What an in-process message waits for when it must be durable. */
  publishedSequence(): number {
    return this.core.journal.sequence
  }

  /** An in-process subscriber: `sink` gets every message that matches, in order, at the QoS it was published with. */
  subscribeLocal(filter: string, sink: (message: Message) => void): LocalSubscription | ProtocolError {
    const { core } = this
    const error = Topic.validateFilter(filter, core.config.topicLevelsMax)
    if (error !== undefined) return error
    if (Topic.parseShared(filter) !== undefined) {
      return new ProtocolError(0x8f, "In-process subscriptions cannot be shared ones.", 601)
    }
    const session = new Session("")
    session.sink = sink
    const subscription = {
      filter,
      qos: 2,
      noLocal: false,
      retainAsPublished: true,
      retainHandling: 0,
      subscriptionIdentifier: 0
    } as const
    core.router.subscribe(session, subscription)
    return { unsubscribe: () => core.router.unsubscribe(session, filter) }
  }

  /** Ends one connection; a 5.0 client is told the reason code. */
  disconnect(connection: ServerConnection, reasonCode: number, now: number): void {
    this.end(connection, reasonCode, ReasonCode.describe(reasonCode), now)
    this.settle(now)
  }

  /** Ends every connection and refuses new sessions. */
  shutdown(now: number): void {
    const { core } = this
    core.shuttingDown = true
    for (const connection of [...core.connections.values()]) {
      this.end(connection, ReasonCode.ServerShuttingDown, "The broker is shutting down.", now)
    }
    this.settle(now)
  }

  private settle(now: number): void {
    Continuing.settle(this.core, now)
  }

  private end(connection: ServerConnection, reasonCode: number, description: string, now: number): void {
    const { core } = this
    Defect.guard(core, connection, now, () => Disconnection.end(core, connection, reasonCode, description, now))
  }
}
