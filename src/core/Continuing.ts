/**
 * What connections waited for has come: a hook's answer, the store's word, room in a reader's socket. They go on.
 *
 * Owns what comes first then: what it means to the connection, what it may be shown, and only then its further input.
 * That a connection waits is decided elsewhere (`Holding.ts`, `Gate.ts`, `SlowConsumer.ts`).
 */
import * as ReasonCode from "../protocol/ReasonCode.ts"
import * as Connecting from "./Connecting.ts"
import type { CoreState } from "./CoreState.ts"
import * as Defect from "./Defect.ts"
import * as Disconnection from "./Disconnection.ts"
import * as Holding from "./Holding.ts"
import * as Input from "./Input.ts"
import type { StorageState } from "./Journal.ts"
import * as Orphans from "./Orphans.ts"
import * as Output from "./Output.ts"
import type { Answer } from "./Question.ts"
import { PAUSED_BY_JOURNAL, type ServerConnection } from "./ServerConnection.ts"
import * as Transmission from "./Transmission.ts"

/** A hook has decided. */
export const answered = (core: CoreState, questionId: number, answer: Answer, now: number): void => {
  const question = core.openQuestions.get(questionId)
  if (question === undefined) return
  const { connection } = question
  core.openQuestions.delete(questionId)
  if (connection === undefined) Defect.guard(core, undefined, now, () => question.answered(answer, now))
  else {
    connection.questionId = 0
    goOn(core, connection, (later) => question.answered(answer, later), now)
  }
}

/** Everything up to this sequence is durable. */
export const stored = (core: CoreState, sequence: number, now: number): void => {
  core.journal.stored(sequence)
  for (const [clientId, removal] of core.removals) {
    if (removal > core.journal.durable) break
    core.removals.delete(clientId)
  }
  for (const connection of core.gated) Defect.guard(core, connection, now, () => release(core, connection, now))
  if (core.journal.waitingBytes > core.config.journalBytesMax) return
  for (const connection of core.gated) {
    if (!connection.gated) core.gated.delete(connection)
    core.unpause(connection, PAUSED_BY_JOURNAL, now)
  }
}

/** How the store is. As soon as it accepts work again, what was held back meanwhile is handled. */
export const storageState = (core: CoreState, state: StorageState, now: number): void => {
  core.journal.storage = state
  if (state !== "ok") return
  Orphans.proceed(core)
  for (const connection of [...core.refused]) {
    const { resume } = connection
    connection.resume = undefined
    connection.heldSince = 0
    core.refused.delete(connection)
    goOn(core, connection, (later) => resume?.(later), now)
  }
}

/** What a call left to do: publishers whose reader has caught up go on, sessions that overflowed are ended. */
export const settle = (core: CoreState, now: number): void => {
  const { continuing, overflowing } = core
  while (continuing.length > 0 || overflowing.length > 0) {
    // Who has waited longest is first, or of many who share a reader some would get several times what others get.
    for (const publisher of continuing) Input.proceed(core, publisher, now) // one may add others
    continuing.length = 0
    for (const connection of overflowing.splice(0)) {
      Defect.guard(core, connection, now, () =>
        Disconnection.end(core, connection, ReasonCode.QuotaExceeded, "The queue of this session is full.", now)
      )
    }
  }
}

/** What a connection waited for has come: what that means to it, then its input. */
const goOn = (core: CoreState, connection: ServerConnection, resume: (now: number) => void, now: number): void => {
  Holding.letGo(core, connection, now)
  core.current = connection
  Defect.guard(core, connection, now, () => resume(now))
  core.current = undefined
  Input.proceed(core, connection, now)
}

/** Shows a connection what has become durable. */
const release = (core: CoreState, connection: ServerConnection, now: number): void => {
  const { durable } = core.journal
  const wasConnected = connection.phase === "connected"
  const packets = connection.gate.releasePackets(durable)
  core.journal.gated -= packets.length
  for (const packet of packets) Output.release(core, connection, packet, now)
  for (const { outgoing } of connection.gate.releaseDeliveries(durable)) {
    Transmission.writePublish(core, connection, outgoing, false, now)
  }
  if (!wasConnected && connection.phase === "connected") {
    Holding.letGo(core, connection, now)
    Connecting.redeliver(core, connection, now)
    Input.proceed(core, connection, now)
  }
}
