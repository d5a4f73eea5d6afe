/**
 * Everything one broker core holds, for the handlers that act on it.
 *
 * Owns the collections and the lists that the shell drains. Behaviour is in the modules that take a `CoreState`;
 * `BrokerCore` forwards the world's calls to them.
 */
import * as ConnectionId from "./ConnectionId.ts"
import type { CoreConfig } from "./CoreConfig.ts"
import { CoreEvents } from "./CoreEvent.ts"
import { Deadlines } from "./Deadlines.ts"
import { Journal } from "./Journal.ts"
import { Message } from "./Message.ts"
import type { MemoryUse } from "./MessageList.ts"
import { OutboxPool } from "./Outbox.ts"
import * as Orphan from "./Orphan.ts"
import type { PageRequest } from "./PageRequest.ts"
import type { Answer, Installed, Question } from "./Question.ts"
import type { RetainedWalk } from "./RetainedWalk.ts"
import { RetainedTree } from "./RetainedTree.ts"
import { Router } from "./Router.ts"
import type { ServerConnection } from "./ServerConnection.ts"
import type { Session } from "./Session.ts"
import { Slab } from "./Slab.ts"

export interface CoreOptions {
  readonly config: CoreConfig
  /** False: the store keeps nothing, so nothing is journalled and no acknowledgement waits. */
  readonly journal: boolean
  /** Whether the store can be asked for waiting messages: then long queues are not kept in memory. */
  readonly pages: boolean
  /** In front of client ids that the broker assigns; the shell draws it at random. */
  readonly idSeed: string
  /** The last ones that were given in the same process before; undefined: none were. */
  readonly lastIds?: LastIds | undefined
  /** Makes outbox buffers; their contents need not be zero. */
  readonly allocate: (bytes: number) => Uint8Array
}

/** What the numbers of connections and messages go on from. */
export interface LastIds {
  readonly connection: number
  readonly message: number
}

/** Counters since the start; plain numbers, read by the shell's metrics. */
export interface Stats {
  connectionsTotal: number
  bytesReceived: number
  bytesSent: number
  messagesReceived: number
  messagesSent: number
  messagesDropped: number
  protocolErrors: number
}

/** A close the shell should carry out: `drain` true after what is written is flushed, false at once. */
export interface Close {
  readonly connection: ServerConnection
  readonly drain: boolean
}

/** A bug that was met. */
export interface CaughtDefect {
  /** The connection that it cost; "": nobody who is connected. */
  readonly connectionId: ConnectionId.ConnectionId | ""
  readonly defect: unknown
}

/** A question that was put: what to do with its answer. */
export interface OpenQuestion {
  /** Who waits for it; undefined: nobody does. */
  readonly connection: ServerConnection | undefined
  readonly answered: (answer: Answer, now: number) => void
}

/** A will in the store that a hook decides about, and who goes on when it has. */
export interface AskedWill {
  readonly session: Session
  /** They do not throw. */
  readonly waiting: Array<(now: number) => void>
}

/** How exact deadlines are, in milliseconds: keep alive, expiry and the like are in whole seconds. */
const DEADLINE_GRANULARITY_MILLIS = 100

export class CoreState {
  readonly config: CoreConfig
  readonly idSeed: string
  readonly installed: Installed = { authenticate: false, sessionRequest: false, subscribe: false, publish: false }
  readonly events = new CoreEvents()
  readonly journal: Journal
  readonly pages: boolean
  /** What waits in memory for all sessions together. */
  readonly queueMemory: MemoryUse = { bytes: 0 }
  readonly router = new Router()
  readonly retained = new RetainedTree<Message>()
  /** Sessions that are still to get retained messages. */
  readonly retainedWalks = new Map<Session, RetainedWalk>()
  /** Those of them that go on in the next turn. */
  readonly retainedDue = new Set<RetainedWalk>()
  readonly sessions = new Map<string, Session>()
  /** By their names in the store: sessions that have ended, and of whose messages some are still for others. */
  readonly orphans = new Map<string, Orphan.Orphan>()
  /** Removed, and shown until whoever was told of it has looked. */
  readonly departing = new Set<Session>()
  readonly connections = new Map<string, ServerConnection>()
  /** Messages: those that are retained and expire. */
  readonly deadlines = new Deadlines<ServerConnection | Session | Message>(DEADLINE_GRANULARITY_MILLIS)
  readonly pool: OutboxPool
  readonly slab = new Slab()
  /** The message being routed straight from the bytes it arrived in: one object for all of them. */
  readonly passing = new Message()
  readonly stats: Stats = {
    connectionsTotal: 0,
    bytesReceived: 0,
    bytesSent: 0,
    messagesReceived: 0,
    messagesSent: 0,
    messagesDropped: 0,
    protocolErrors: 0
  }

  readonly dirty: Array<ServerConnection> = []
  readonly closes: Array<Close> = []
  readonly readingChanges: Array<ServerConnection> = []
  /** For the shell to put to the hooks. */
  readonly questions: Array<Question> = []
  /** The numbers of those whose answer nobody waits for any more. */
  readonly forgotten: Array<number> = []
  readonly pageRequests: Array<PageRequest> = []
  readonly defects: Array<CaughtDefect> = []
  /** Those that wait for their answer, by their number. */
  readonly openQuestions = new Map<number, OpenQuestion>()
  /** Connections with something behind their gate, or not read because the journal is too long. */
  readonly gated = new Set<ServerConnection>()
  /**
   * Sessions whose removal is not durable yet, by client id: the journal sequence of it, oldest first. A crash would
   * bring them back, so no client may be told before that it has a new one.
   */
  readonly removals = new Map<string, number>()
  /** By client id; their sessions may have ended. */
  readonly askedWills = new Map<string, AskedWill>()
  /** Connections that hold a packet back until the store accepts work again. */
  readonly refused = new Set<ServerConnection>()

  /** Connections whose queue overflowed under the policy "disconnect": ended when the call at hand is done. */
  readonly overflowing: Array<ServerConnection> = []
  /** Publishers that need not wait for a reader any more: their input goes on when the call at hand is done. */
  readonly continuing: Array<ServerConnection> = []

  /** Packets and deliveries handled in this turn of the shell. */
  work = 0
  /** When so much is done, what is left goes on later. */
  workMax: number
  /** Turns of the shell so far: which of those that go on is first depends on it. */
  turns = 0
  /** Connections whose input goes on in the next turn, because this one has done enough. */
  readonly deferred = new Set<ServerConnection>()
  /** Sessions whose queue goes on in the next turn. */
  readonly pumpsDue = new Set<Session>()

  /** The connection whose input is being handled: who is paused when a consumer falls behind. */
  current: ServerConnection | undefined = undefined
  /** Bytes that sockets have not accepted, all connections together. */
  bufferedBytes = 0
  retainedBytes = 0
  shuttingDown = false
  private messageIds = 0
  private connectionIds = 0
  private questionIds = 0
  private connectNumbers = 0
  private clientIds = 0
  private orphanNumbers = 0

  constructor(options: CoreOptions) {
    this.config = options.config
    this.workMax = Math.max(1, options.config.workPerTurnMax)
    this.idSeed = options.idSeed
    this.connectionIds = options.lastIds?.connection ?? 0
    this.messageIds = options.lastIds?.message ?? 0
    this.journal = new Journal(options.journal)
    this.pages = options.journal && options.pages
    this.pool = new OutboxPool(options.allocate)
  }

  get lastIds(): LastIds {
    return { connection: this.connectionIds, message: this.messageIds }
  }

  nextMessageId(): number {
    return ++this.messageIds
  }

  nextConnectionId(): ConnectionId.ConnectionId {
    return ConnectionId.fromNumber(++this.connectionIds)
  }

  nextConnectNumber(): number {
    return ++this.connectNumbers
  }

  nextQuestionId(): number {
    return ++this.questionIds
  }

  nextClientId(): string {
    return `${this.idSeed}-${++this.clientIds}`
  }

  /** A name in the store that no other session has, also not one from before a restart. */
  nextOrphan(): string {
    return Orphan.nameOf(++this.orphanNumbers)
  }

  sawOrphan(number: number): void {
    if (number > this.orphanNumbers) this.orphanNumbers = number
  }

  sawMessageId(messageId: number): void {
    if (messageId > this.messageIds) this.messageIds = messageId
  }

  /** The number that a message had elsewhere, where nothing here has it. */
  adoptMessageId(messageId: number): number {
    this.messageIds = Math.max(this.messageIds + 1, messageId)
    return this.messageIds
  }

  /** The connection has bytes to be taken at the end of the turn. */
  touch(connection: ServerConnection): void {
    if (connection.outbox.dirty) return
    connection.outbox.dirty = true
    this.dirty.push(connection)
  }

  /** A session's client has taken what waited for it, has room in its socket again, or is gone: it gets more. */
  resumeRetained(session: Session): void {
    const walk = this.retainedWalks.get(session)
    if (walk !== undefined && !walk.asking) this.retainedDue.add(walk)
  }

  /** The session has ended: nobody comes back who would go on with what it was still to get. */
  forgetRetained(session: Session): void {
    const walk = this.retainedWalks.get(session)
    if (walk === undefined) return
    this.retainedWalks.delete(session)
    this.retainedDue.delete(walk)
  }

  /** The deadlines of the connection are looked at by then; if they are anyway, nothing changes. */
  checkBy(connection: ServerConnection, at: number): void {
    if (connection.checkAt <= at) return
    connection.checkAt = at
    this.deadlines.schedule(connection, at)
  }

  readingChanged(connection: ServerConnection): void {
    if (connection.readingChanged) return
    connection.readingChanged = true
    this.readingChanges.push(connection)
  }

  pause(connection: ServerConnection, why: number): void {
    if (connection.pause(why)) this.readingChanged(connection)
  }

  unpause(connection: ServerConnection, why: number, now: number): void {
    if (connection.unpause(why, now)) this.readingChanged(connection)
  }
}
