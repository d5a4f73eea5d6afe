/**
 * What time does to connections: connect timeout, keep alive, idle timeout, frozen readers, publishers that waited
 * long enough.
 *
 * Nothing is stored per packet but "last received": a deadline that comes too early is looked at and set again.
 */
import * as ReasonCode from "../protocol/ReasonCode.ts"
import type { CoreState } from "./CoreState.ts"
import * as Defect from "./Defect.ts"
import * as Disconnection from "./Disconnection.ts"
import * as RetainedMessages from "./RetainedMessages.ts"
import { ServerConnection } from "./ServerConnection.ts"
import { Session } from "./Session.ts"
import * as Sessions from "./Sessions.ts"
import * as SlowConsumer from "./SlowConsumer.ts"

/** How much later than asked a drain may be looked at: spares a busy connection from rescheduling at each flush. */
const DRAIN_SLACK_MILLIS = 1_000

/** Schedules the next look at a connection. */
export const watch = (core: CoreState, connection: ServerConnection, now: number): void => {
  const at = nextCheck(core, connection, now)
  connection.checkAt = at
  if (at === Number.POSITIVE_INFINITY) core.deadlines.cancel(connection)
  else core.deadlines.schedule(connection, at)
}

/** Its socket has bytes that it does not accept: the drain timeout runs. */
export const watchDrain = (core: CoreState, connection: ServerConnection, now: number): void => {
  if (connection.checkAt <= now + core.config.drainTimeoutSeconds * 1_000 + DRAIN_SLACK_MILLIS) return
  if (connection.hasEnded) return
  watch(core, connection, now)
}

/** Every deadline that has come. */
export const tick = (core: CoreState, now: number): void => {
  core.deadlines.expire(now, (item) => {
    const connection = item instanceof ServerConnection ? item : undefined
    Defect.guard(core, connection, now, () => {
      if (item instanceof ServerConnection) check(core, item, now)
      else if (item instanceof Session) Sessions.check(core, item, now)
      else RetainedMessages.expire(core, item)
    })
  })
}

const check = (core: CoreState, connection: ServerConnection, now: number): void => {
  if (connection.hasEnded) return
  const { config } = core
  SlowConsumer.stopWaiting(core, connection, now)
  if (isOverdue(now, connectDeadline(core, connection))) {
    const reason = { statusCode: 0, description: "No CONNECT arrived within the connect timeout." }
    Disconnection.close(core, connection, true, now, reason)
  } else if (isOverdue(now, keepAliveDeadline(connection))) {
    // [MQTT-3.1.2-22]
    Disconnection.end(
      core,
      connection,
      ReasonCode.KeepAliveTimeout,
      "Nothing arrived for 1.5 times the keep alive.",
      now
    )
  } else if (isOverdue(now, drainDeadline(core, connection))) {
    Disconnection.abandon(core, connection, `Its socket accepted nothing for ${config.drainTimeoutSeconds} s.`, now)
  } else if (isOverdue(now, idleDeadline(core, connection))) {
    Disconnection.end(core, connection, ReasonCode.AdministrativeAction, "The connection was idle too long.", now)
  } else if (isOverdue(now, storageDeadline(core, connection))) {
    const reason = { statusCode: 0, description: "The store was full for too long." }
    Disconnection.close(core, connection, true, now, reason)
  } else watch(core, connection, now)
}

const isOverdue = (now: number, deadline: number): boolean => now >= deadline

const never = Number.POSITIVE_INFINITY

const nextCheck = (core: CoreState, connection: ServerConnection, now: number): number => {
  const next = Math.min(
    connectDeadline(core, connection),
    keepAliveDeadline(connection),
    idleDeadline(core, connection),
    drainDeadline(core, connection),
    storageDeadline(core, connection),
    SlowConsumer.waitDeadline(core, connection)
  )
  if (next !== never) return next
  // Paused by us, its keep alive and idle time stand still: look again after one more period.
  if (connection.phase === "connected" && connection.keepAliveMillis > 0) return now + connection.keepAliveMillis
  return core.config.idleTimeoutSeconds > 0 ? now + core.config.idleTimeoutSeconds * 1_000 : never
}

/** Until a complete CONNECT is there, with all it must prove; a question to a hook has its own limit, in the shell. */
const connectDeadline = (core: CoreState, connection: ServerConnection): number =>
  connection.phase === "awaiting-connect" || (connection.phase === "connecting" && !connection.holding)
    ? connection.openedAt + core.config.connectTimeoutSeconds * 1_000
    : never

/** Keep alive does not run while we do not read. */
const keepAliveDeadline = (connection: ServerConnection): number =>
  connection.phase === "connected" && connection.keepAliveMillis > 0 && !connection.paused
    ? connection.receivedAt + connection.keepAliveMillis
    : never

const idleDeadline = (core: CoreState, connection: ServerConnection): number =>
  core.config.idleTimeoutSeconds > 0 && !connection.paused
    ? Math.max(connection.receivedAt, connection.acceptedAt) + core.config.idleTimeoutSeconds * 1_000
    : never

const drainDeadline = (core: CoreState, connection: ServerConnection): number =>
  connection.bufferedBytes > 0 ? connection.acceptedAt + core.config.drainTimeoutSeconds * 1_000 : never

const storageDeadline = (core: CoreState, connection: ServerConnection): number =>
  connection.heldSince > 0 ? connection.heldSince + core.config.drainTimeoutSeconds * 1_000 : never
