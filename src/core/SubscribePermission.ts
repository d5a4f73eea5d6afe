/**
 * Whether a client may have a subscription: what the question to the hook says. Called only while one is installed.
 */
import type { QoS } from "../protocol/Packet.ts"
import * as Topic from "../protocol/Topic.ts"
import * as Asking from "./Asking.ts"
import type { CoreState } from "./CoreState.ts"
import type { Answer, SubscribeRequest } from "./Question.ts"
import type { ServerConnection } from "./ServerConnection.ts"

/** Asks about one filter; the connection waits for the answer. */
export const ask = (
  core: CoreState,
  connection: ServerConnection,
  stage: SubscribeRequest["stage"],
  topicFilter: string,
  requestedQos: QoS,
  answered: (answer: Answer, now: number) => void
): void => {
  const { clientId, id: connectionId, userName } = connection
  const shared = Topic.parseShared(topicFilter)
  const make = (questionId: number): SubscribeRequest => ({
    _tag: "Subscribe",
    questionId,
    connectionId,
    clientId,
    userName,
    stage,
    topicFilter,
    filter: shared?.filter ?? topicFilter,
    shareName: shared?.group ?? "",
    requestedQos
  })
  Asking.ask(core, connection, make, answered)
}
