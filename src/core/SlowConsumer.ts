/**
 * One frozen reader must cost the others nothing; a fast publisher must not outrun a healthy one.
 *
 * Owns when a publisher is not read (its consumer is healthy and behind), when a message is not appended (the outbox
 * is full), and when a reader is given up. Dropping and queueing themselves are `Dropping.ts` and `Queueing.ts`.
 */
import type { CoreState } from "./CoreState.ts"
import { PAUSED_BY_CONSUMER, PAUSED_BY_OUTPUT, type ServerConnection } from "./ServerConnection.ts"

/** A consumer is healthy if its socket accepted bytes within this time. */
const HEALTHY_MILLIS = 1_000
/**
 * Publishers wait this long, or `pauseMillisMax` if that is less, for a reader that accepts nothing meanwhile: a frozen
 * one costs the others a quarter of a second once, not a whole one (beside it 1→10 ran at 86 % for three seconds). A
 * busy reader that is only late has this long, and then a full outbox, before anything is dropped.
 */
const STALLED_MILLIS = 250
/** Publishers wait from here on: enough to keep a socket busy (a kernel buffer is 2.5 MB), far from the bound. */
const BEHIND_BYTES = 1024 * 1024

const behindBytes = (core: CoreState): number => Math.min(BEHIND_BYTES, core.config.outboxBytesMax / 2)

/** Whether a reader is up to date enough to be given more without anybody waiting for it. */
export const hasRoom = (core: CoreState, connection: ServerConnection): boolean =>
  connection.waitingBytes <= behindBytes(core) && core.bufferedBytes <= core.config.bufferedBytesMax

/** Whether a reader has so much to take that more can wait: `flushed` says when that has changed. */
export const isBehind = (core: CoreState, connection: ServerConnection): boolean =>
  connection.waitingBytes > behindBytes(core) ||
  (connection.bufferedBytes > 0 && core.bufferedBytes > core.config.bufferedBytesMax)

/** Whether bytes may be appended for this reader. Pauses the publisher whose input is being handled if it is behind. */
export const admits = (core: CoreState, connection: ServerConnection, now: number): boolean => {
  const waiting = connection.outbox.bytes + connection.bufferedBytes
  if (waiting <= behindBytes(core) && core.bufferedBytes <= core.config.bufferedBytesMax) return true
  return admitsBehind(core, connection, waiting, now)
}

const admitsBehind = (core: CoreState, connection: ServerConnection, waiting: number, now: number): boolean => {
  if (waiting > core.config.outboxBytesMax) return false
  if (core.bufferedBytes > core.config.bufferedBytesMax) return connection.bufferedBytes === 0
  const publisher = core.current
  if (publisher !== undefined && publisher !== connection && !connection.hopeless && isHealthy(connection, now)) {
    wait(core, publisher, connection, now)
  }
  return true
}

const isHealthy = (connection: ServerConnection, now: number): boolean =>
  connection.bufferedBytes === 0 || now - connection.acceptedAt <= HEALTHY_MILLIS

const wait = (core: CoreState, publisher: ServerConnection, consumer: ServerConnection, now: number): void => {
  consumer.waiters ??= new Set()
  if (consumer.waiters.has(publisher)) return
  consumer.waiters.add(publisher)
  publisher.waitsFor++
  core.pause(publisher, PAUSED_BY_CONSUMER)
  if (consumer.waitersSince === 0) {
    consumer.waitersSince = now
    consumer.acceptedBefore = consumer.accepted
    core.checkBy(consumer, waitDeadline(core, consumer))
  }
}

/** The reader caught up, was given up, or is gone: those who waited are read again. */
export const release = (core: CoreState, consumer: ServerConnection, now: number): void => {
  consumer.waitersSince = 0
  if (consumer.waiters === undefined) return
  for (const publisher of consumer.waiters) {
    publisher.waitsFor--
    if (publisher.waitsFor > 0) continue
    core.unpause(publisher, PAUSED_BY_CONSUMER, now)
    core.continuing.push(publisher)
  }
  consumer.waiters = undefined
}

/** The shell's report after a write and whenever a socket accepted bytes. Returns whether there is room again. */
export const flushed = (core: CoreState, connection: ServerConnection, bufferedBytes: number, now: number): boolean => {
  const accepted = connection.outbox.handedOver - bufferedBytes
  // A socket that had nothing to accept begins to be slow now, however long ago its last bytes went.
  if (accepted > connection.accepted || bufferedBytes === 0 || connection.bufferedBytes === 0) {
    connection.acceptedAt = now
  }
  core.bufferedBytes += bufferedBytes - connection.bufferedBytes
  connection.bufferedBytes = bufferedBytes
  core.stats.bytesSent += accepted - connection.accepted
  connection.accepted = accepted
  const room = connection.outbox.bytes + bufferedBytes <= behindBytes(core) / 2
  if (room) {
    connection.hopeless = false
    if (connection.waiters !== undefined) release(core, connection, now)
    core.unpause(connection, PAUSED_BY_OUTPUT, now)
  }
  return room
}

/**
 * Called when its input was handled: a client that asks and asks and never reads the answers is not read either. No
 * message gets here, they are dropped or queued from half of this on, so that peers cannot lock each other.
 */
export const boundAnswers = (core: CoreState, connection: ServerConnection): void => {
  if (connection.waitingBytes > 2 * core.config.outboxBytesMax) core.pause(connection, PAUSED_BY_OUTPUT)
}

/** When publishers have waited long enough for a reader; Infinity: none waits. */
export const waitDeadline = (core: CoreState, consumer: ServerConnection): number => {
  if (consumer.waitersSince === 0) return Number.POSITIVE_INFINITY
  const { pauseMillisMax } = core.config
  const stalled = consumer.accepted === consumer.acceptedBefore
  return consumer.waitersSince + (stalled ? Math.min(STALLED_MILLIS, pauseMillisMax) : pauseMillisMax)
}

/** Called when a deadline of a connection may have come. */
export const stopWaiting = (core: CoreState, consumer: ServerConnection, now: number): void => {
  if (now < waitDeadline(core, consumer)) return
  consumer.hopeless = true
  release(core, consumer, now)
}
