/**
 * Whether a client may publish a message: put to the hook when it comes, when it is released, for wills, and for
 * retained messages when they go to a new subscription.
 *
 * Owns what the question and the event of a refusal say. What happens to the message is the asker's business. Nothing
 * is asked but while the hook is installed.
 */
import type { QoS } from "../protocol/Packet.ts"
import type { Properties } from "../protocol/Property.ts"
import * as Asking from "./Asking.ts"
import type { CoreState } from "./CoreState.ts"
import type { Answer, PublishRequest, PublishStage } from "./Question.ts"
import type { ServerConnection } from "./ServerConnection.ts"
import type { Session } from "./Session.ts"
import type { Origin } from "./StoreOperation.ts"

interface Publication {
  readonly topic: string
  readonly payload: Uint8Array
  readonly qos: QoS
  readonly retain: boolean
  readonly properties?: Properties | undefined
}

type Answered = (answer: Answer, now: number) => void

const request = (
  questionId: number,
  stage: PublishStage,
  who: Pick<PublishRequest, "connectionId" | "clientId" | "userName">,
  { payload, properties, qos, retain, topic }: Publication
): PublishRequest => ({ _tag: "Publish", questionId, stage, ...who, topic, payload, qos, retain, properties })

/** Asks for a connection, which waits for the answer. `topic` is what the alias of the publication stands for. */
export const ask = (
  core: CoreState,
  connection: ServerConnection,
  stage: "publish" | "release" | "connect",
  publication: Publication,
  topic: string,
  answered: Answered
): void => {
  const { clientId, id: connectionId, userName } = connection
  const { payload, properties, qos, retain } = publication
  const resolved = { topic, payload, qos, retain, properties }
  const make = (questionId: number) => request(questionId, stage, { connectionId, clientId, userName }, resolved)
  Asking.ask(core, connection, make, answered)
}

/** Asks for a will that is due; nobody waits for it. */
export const askForWill = (core: CoreState, session: Session, will: Publication, answered: Answered): void =>
  askFor(core, "will", session, will, answered)

/** Asks for a retained message that a new subscription is to have. */
export const askForRetained = (core: CoreState, origin: Origin, message: Publication, answered: Answered): void =>
  askFor(core, "retained", origin, message, answered)

const askFor = (
  core: CoreState,
  stage: PublishStage,
  { clientId, userName }: Origin,
  publication: Publication,
  answered: Answered
): void => {
  const who = { connectionId: "", clientId, userName } as const
  Asking.askUnattended(core, (questionId) => request(questionId, stage, who, publication), answered)
}

/** Tells that a message goes nowhere, or not to a new subscription. */
export const refused = (
  core: CoreState,
  stage: PublishStage,
  connectionId: PublishRequest["connectionId"],
  { clientId, userName }: Origin,
  { qos, retain, topic }: Pick<Publication, "qos" | "retain" | "topic">,
  reasonCode: number
): void => {
  if (!core.events.wants.PublishRefused) return
  const who = { connectionId, clientId, userName }
  core.events.push({ _tag: "PublishRefused", ...who, stage, topic, qos, retain, reasonCode })
}
