/**
 * Puts questions to the shell, and remembers who asked until the answer comes (`Continuing.ts`).
 *
 * An answer for a connection that ended meanwhile finds no open question and does nothing.
 */
import type { CoreState } from "./CoreState.ts"
import * as Holding from "./Holding.ts"
import type { Answer, Question } from "./Question.ts"
import type { ServerConnection } from "./ServerConnection.ts"

/** The connection's input waits until `answered` has run. */
export const ask = (
  core: CoreState,
  connection: ServerConnection,
  make: (questionId: number) => Question,
  answered: (answer: Answer, now: number) => void
): void => {
  const questionId = core.nextQuestionId()
  connection.questionId = questionId
  Holding.hold(core, connection)
  core.openQuestions.set(questionId, { connection, answered })
  core.questions.push(make(questionId))
}

/** A question that no connection waits for. */
export const askUnattended = (
  core: CoreState,
  make: (questionId: number) => Question,
  answered: (answer: Answer, now: number) => void
): void => {
  const questionId = core.nextQuestionId()
  core.openQuestions.set(questionId, { connection: undefined, answered })
  core.questions.push(make(questionId))
}

/** The connection ended: nobody waits for the answer any more. */
export const forget = (core: CoreState, connection: ServerConnection): void => {
  if (connection.questionId === 0) return
  core.openQuestions.delete(connection.questionId)
  core.forgotten.push(connection.questionId)
  connection.questionId = 0
}
