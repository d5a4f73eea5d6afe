/**
 * What holds inside the core: always, when everything has come to rest, and when everybody is gone.
 */
import { OBJECT_BYTES } from "../../src/core/Content.ts"
import type { CoreState } from "../../src/core/CoreState.ts"
import type { ServerConnection } from "../../src/core/ServerConnection.ts"
import type { Session } from "../../src/core/Session.ts"
import type { MemoryStore } from "../../src/storage/MemoryStorage.ts"
import * as DropPolicy from "./DropPolicy.ts"
import type { World } from "./World.ts"

/** Answers to what one chunk of input can ask, and the PUBRELs of a resumed session. */
const ANSWER_BYTES_MAX = 2_000

/** What a frame is besides what it says, with the properties that the simulated clients use. */
const FRAME_BYTES_MAX = 60

/** At every moment. */
export const always = (world: World, core: CoreState): void => {
  const { config } = core
  let buffered = 0
  let subscriptions = 0
  for (const connection of core.connections.values()) {
    buffered += connection.bufferedBytes
    checkConnection(world, core, connection)
  }
  world.check(
    core.bufferedBytes === buffered,
    () => `bufferedBytes is ${core.bufferedBytes}, and should be ${buffered}.`
  )
  for (const session of core.sessions.values()) {
    subscriptions += session.subscriptions.size
    checkSession(world, core, session)
  }
  const total = subscriptions + (world.scenario.local ? 1 : 0)
  if (!world.calm) world.check(core.router.size === total, () => `The router has ${core.router.size} of ${total}.`)
  world.check(core.sessions.size <= config.sessionsMax, () => `${core.sessions.size} sessions.`)
  world.check(core.retained.size <= config.retainedMessagesMax, () => `${core.retained.size} retained messages.`)
  world.check(core.retainedBytes <= config.retainedBytesMax, () => `${core.retainedBytes} retained bytes.`)
  const timers = core.connections.size + core.sessions.size + core.askedWills.size + core.retained.size
  world.check(core.deadlines.size <= timers, () => `${core.deadlines.size} deadlines for ${timers}.`)
  for (const connection of core.gated) checkKnown(world, core, connection, "gated")
  for (const connection of core.refused) checkKnown(world, core, connection, "refused")
  for (const connection of core.deferred) checkKnown(world, core, connection, "to go on")
  for (const { connection } of core.openQuestions.values()) {
    if (connection !== undefined) checkKnown(world, core, connection, "asked about")
  }
  world.check(core.overflowing.length === 0, () => "A session overflowed, and its connection was not ended.")
  world.check(core.current === undefined, () => "A connection is still handled.")
  if (!core.journal.enabled) world.check(core.journal.sequence === 0, () => "Journalled in memory mode.")
}

const checkKnown = (world: World, core: CoreState, connection: ServerConnection, what: string): void => {
  const known = core.connections.get(connection.id) === connection && connection.phase !== "ending"
  world.check(known, () => `Connection ${connection.id} of ${connection.clientId} ended and is ${what}.`)
}

const checkConnection = (world: World, core: CoreState, connection: ServerConnection): void => {
  const { clientId, phase, session, waitingBytes } = connection
  const { outboxBytesMax } = core.config
  // One frame may cross the bound in the outbox, and one behind the gate.
  const most = 2 * (outboxBytesMax + DropPolicy.frameBytesMax(world)) + ANSWER_BYTES_MAX
  world.check(waitingBytes <= most, () => `${waitingBytes} bytes wait for ${clientId}.`)
  world.check(connection.unacknowledged >= 0, () => `${clientId} has ${connection.unacknowledged} unacknowledged.`)
  if (session === undefined) return
  world.check(session.owner === connection, () => `${clientId} has a session that another connection has.`)
  world.check(phase === "connecting" || phase === "connected", () => `${clientId} is ${phase} and has a session.`)
  world.check(connection.reading !== connection.paused, () => `${clientId} is paused and read.`)
}

const checkSession = (world: World, core: CoreState, session: Session): void => {
  const { clientId, connection, inflight, incomingSize, owner, queue, subscriptions } = session
  const { inflightMax, queueBytesMax, queueMessagesMax, queueOverflow, receiveMaximum, subscriptionsPerSessionMax } =
    core.config
  // Those dropped unread are still in the store, and come back when the broker crashes before they are read.
  const unread = world.scenario.pages && queueOverflow === "drop-oldest" && world.crashedAt > 0
  world.check(unread || queue.length <= queueMessagesMax, () => `${queue.length} messages queue for ${clientId}.`)
  // A message that was read from the store has a frame again, which weighs more than what it says.
  const frames = world.scenario.pages ? queue.length * FRAME_BYTES_MAX : 0
  world.check(unread || queue.bytes <= queueBytesMax + frames, () => `${queue.bytes} bytes queue for ${clientId}.`)
  const memory = core.config.queueMemoryBytesMax + 2 * (DropPolicy.frameBytesMax(world) + OBJECT_BYTES)
  const bounded = !world.scenario.pages || !session.kept
  world.check(bounded || queue.memoryBytes <= memory, () => `${queue.memoryBytes} bytes in memory for ${clientId}.`)
  world.check(inflight.size <= inflightMax, () => `${inflight.size} messages are on the way to ${clientId}.`)
  world.check(incomingSize <= receiveMaximum, () => `${incomingSize} messages are on the way from ${clientId}.`)
  world.check(subscriptions.size <= subscriptionsPerSessionMax, () => `${subscriptions.size} of ${clientId}.`)
  world.check(core.sessions.get(clientId) === session, () => `The session of ${clientId} has another name.`)
  if (owner !== undefined) {
    world.check(owner.session === session, () => `${clientId} is owned by a connection without session.`)
    world.check(connection === undefined || connection === owner, () => `${clientId} has two connections.`)
  } else {
    world.check(connection === undefined, () => `${clientId} has a connection and no owner.`)
    world.check(session.durable, () => `The session of ${clientId} outlived its connection.`)
  }
}

/** Everything has come to rest; those who came back are connected. */
export const atRest = (world: World, core: CoreState, store: MemoryStore): void => {
  for (const session of core.sessions.values()) {
    const { clientId, inflight, queue } = session
    let bytes = 0
    for (const { message } of queue) bytes += message.bytes
    if (queue.stored === undefined)
      world.check(queue.bytes === bytes, () => `The queue of ${clientId} says ${queue.bytes} bytes and has ${bytes}.`)
    if (!session.connected) continue
    world.check(queue.length === 0, () => `${queue.length} messages still queue for ${clientId}.`)
    world.check(inflight.size === 0, () => `${inflight.size} packet ids are still in use towards ${clientId}.`)
    world.check(session.incomingSize === 0, () => `${session.incomingSize} packet ids are still in use by ${clientId}.`)
  }
  for (const connection of core.connections.values()) checkConnectionAtRest(world, connection)
  const { bytes, durable, sequence } = core.journal
  world.check(bytes === 0 && durable === sequence, () => `${bytes} bytes of journal, ${durable} of ${sequence} kept.`)
  const inQueues = [...core.sessions.values()].reduce((sum, { queue }) => sum + queue.memoryBytes, 0)
  world.check(core.queueMemory.bytes === inQueues, () => `${core.queueMemory.bytes} bytes counted of ${inQueues}.`)
  const { bufferedBytes, deferred, gated, openQuestions, pumpsDue, refused, retainedWalks } = core
  // Those of clients that are away with half a queue go on when they come back.
  const walks = [...retainedWalks.keys()].filter(({ connected }) => connected)
  const due = deferred.size + pumpsDue.size
  const left = [gated.size, refused.size, openQuestions.size, bufferedBytes, due, walks.length]
  world.check(
    left.every((size) => size === 0),
    () => `Left: gated, refused, questions, buffered bytes, due, walks: ${left}.`
  )
  let retained = 0
  core.retained.match("#", (_, message) => {
    const { bytes, origin } = message
    retained += bytes + (origin === undefined ? 0 : origin.clientId.length + origin.userName.length)
  })
  world.check(
    core.retainedBytes === retained,
    () => `retainedBytes is ${core.retainedBytes}, and should be ${retained}.`
  )
  if (core.journal.enabled) checkStore(world, core, store)
}

const checkConnectionAtRest = (world: World, connection: ServerConnection): void => {
  const { clientId } = connection
  const left = [connection.gated, connection.holding, connection.paused, connection.unsent !== undefined]
  world.check(
    !left.includes(true),
    () => `${clientId} is still gated ${left[0]}, held ${left[1]}, paused ${left[2]}, to be sent to ${left[3]}.`
  )
  world.check(connection.unhanded === undefined, () => `Of ${clientId} there still is something to be told.`)
  const counts = [connection.unacknowledged, connection.waitsFor, connection.waitersSince, connection.outbox.bytes]
  world.check(
    counts.every((count) => count === 0),
    () => `${clientId} still has unacknowledged, waits for, waiters since, outbox bytes: ${counts}.`
  )
}

/** The store keeps exactly what the core has: no more, no less. */
const checkStore = (world: World, core: CoreState, store: MemoryStore): void => {
  for (const session of core.sessions.values()) {
    if (!session.durable) continue
    const { clientId } = session
    const kept = store.sessions.get(clientId)
    if (kept === undefined) {
      world.violated(`The store has no session of ${clientId}.`)
      continue
    }
    const names = (filters: Iterable<string>) => [...filters].sort().join(" ")
    const inCore = names(session.subscriptions.keys())
    const inStore = names(kept.subscriptions.keys())
    world.check(inCore === inStore, () => `${clientId} is subscribed to ${inCore}, in the store to ${inStore}.`)
    for (const [filter, subscription] of session.subscriptions) {
      const same = kept.subscriptions.get(filter)?.qos === subscription.qos
      world.check(same, () => `The store has another QoS of ${filter} of ${clientId}.`)
    }
    const outgoing = session.queue.length + session.inflight.size
    world.check(kept.outgoing.size === outgoing, () => `${kept.outgoing.size} of ${outgoing} kept for ${clientId}.`)
    // In state 9 a message is routed and out of the store; its id is held until the client is told.
    const incoming = [...session.incoming.values()].filter(({ state }) => state !== 9).length
    world.check(kept.incoming.size === incoming, () => `${kept.incoming.size} of ${incoming} kept from ${clientId}.`)
    world.check(kept.session.expirySeconds === session.expirySeconds, () => `${clientId} expires in the store.`)
  }
  for (const clientId of store.sessions.keys()) {
    world.check(core.sessions.has(clientId), () => `The store has a session of ${clientId}, and the core has none.`)
  }
  const retained = store.retained.size
  world.check(retained === core.retained.size, () => `${retained} of ${core.retained.size} retained messages kept.`)
}

/** Everybody is gone, and every session expired. */
export const atEnd = (world: World, core: CoreState, store: MemoryStore): void => {
  const left: Record<string, number> = {
    connections: core.connections.size,
    sessions: core.sessions.size,
    orphans: core.orphans.size,
    subscriptions: core.router.size,
    "sessions in the store": store.sessions.size,
    "deadlines that are not retained messages'": Math.max(0, core.deadlines.size - core.retained.size),
    questions: core.openQuestions.size,
    gated: core.gated.size,
    deferred: core.deferred.size,
    refused: core.refused.size,
    "walks through retained messages": core.retainedWalks.size + core.retainedDue.size,
    "buffered bytes": core.bufferedBytes,
    "dirty connections": core.dirty.length,
    closes: core.closes.length,
    "reading changes": core.readingChanges.length,
    "journal bytes": core.journal.waitingBytes,
    "bytes of queues": core.queueMemory.bytes,
    pageRequests: core.pageRequests.length
  }
  for (const [what, count] of Object.entries(left)) world.check(count === 0, () => `At the end: ${count} ${what}.`)
}
