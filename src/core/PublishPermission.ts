/**
 * Whether a client may publish a message: put to the hook when it comes, when it is released, and for wills.
 *
 * Owns what the question says. What happens to the message is the asker's business. Called only while the hook is
 * installed.
 */
import type { QoS } from "../protocol/Packet.ts"
import type { Properties } from "../protocol/Property.ts"
import type { Answer, PublishRequest } from "./Ask.ts"
import type { CoreState } from "./CoreState.ts"
import * as Question from "./Question.ts"
import type { ServerConnection } from "./ServerConnection.ts"
import type { Session } from "./Session.ts"

interface Publication {
  readonly topic: string
  readonly payload: Uint8Array
  readonly qos: QoS
  readonly retain: boolean
  readonly properties?: Properties | undefined
}

type Answered = (answer: Answer, now: number) => void

const request = (
  askId: number,
  stage: PublishRequest["stage"],
  who: Pick<PublishRequest, "connectionId" | "clientId" | "userName">,
  { payload, properties, qos, retain, topic }: Publication
): PublishRequest => ({ _tag: "Publish", askId, stage, ...who, topic, payload, qos, retain, properties })

/** Asks for a connection, which waits for the answer. `topic` is what the alias of the publication stands for. */
export const ask = (
  core: CoreState,
  connection: ServerConnection,
  stage: "publish" | "release" | "connect",
  publication: Publication,
  topic: string,
  answered: Answered,
  now: number
): void => {
  const { clientId, id: connectionId, userName } = connection
  const { payload, properties, qos, retain } = publication
  const resolved = { topic, payload, qos, retain, properties }
  const make = (askId: number) => request(askId, stage, { connectionId, clientId, userName }, resolved)
  Question.ask(core, connection, make, answered, now)
}

/** Asks for a will that is due; nobody waits for it. */
export const askForWill = (core: CoreState, session: Session, will: Publication, answered: Answered): void => {
  const { clientId, userName } = session
  Question.askUnattended(
    core,
    (askId) => request(askId, "will", { connectionId: "", clientId, userName }, will),
    answered
  )
}
