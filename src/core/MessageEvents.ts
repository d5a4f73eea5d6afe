/**
 * The per-message events, built from the state the packet path has at hand.
 *
 * Called only while `events.messages` is true; each function looks at its own flag before it builds anything.
 */
import type { QoS } from "../protocol/Packet.ts"
import type { CoreState } from "./CoreState.ts"
import type { MessageMetadata } from "./CoreEvent.ts"
import type { IncomingState, OutgoingState } from "./MessageState.ts"
import type { ServerConnection } from "./ServerConnection.ts"
import type { Session } from "./Session.ts"

/** What the events say of a message, whichever way it goes. */
export interface Subject {
  readonly messageId: number
  readonly qos: QoS
  readonly retain: boolean
  /** 0: none. */
  readonly packetId: number
}

const metadata = (connection: ServerConnection, subject: Subject, dup: boolean): MessageMetadata => ({
  connectionId: connection.id,
  clientId: connection.clientId,
  messageId: subject.messageId,
  dup,
  qos: subject.qos,
  retain: subject.retain,
  packetId: subject.packetId === 0 ? -1 : subject.packetId
})

export const receiving = (core: CoreState, connection: ServerConnection, subject: Subject, dup: boolean): void => {
  if (core.events.wants.MessageReceiving) {
    core.events.push({ _tag: "MessageReceiving", ...metadata(connection, subject, dup) })
  }
}

export const incomingStatus = (
  core: CoreState,
  connection: ServerConnection,
  subject: Subject,
  state: IncomingState,
  dup: boolean
): void => {
  if (core.events.wants.IncomingMessageStatus) {
    core.events.push({ _tag: "IncomingMessageStatus", ...metadata(connection, subject, dup), state })
  }
}

export const received = (core: CoreState, connection: ServerConnection, subject: Subject): void => {
  if (core.events.wants.MessageReceived) {
    core.events.push({
      _tag: "MessageReceived",
      connectionId: connection.id,
      clientId: connection.clientId,
      messageId: subject.messageId
    })
  }
}

export const sending = (core: CoreState, connection: ServerConnection, subject: Subject, dup: boolean): void => {
  if (core.events.wants.MessageSending) {
    core.events.push({ _tag: "MessageSending", ...metadata(connection, subject, dup) })
  }
}

export const outgoingStatus = (
  core: CoreState,
  connection: ServerConnection,
  subject: Subject,
  state: OutgoingState,
  dup: boolean
): void => {
  if (core.events.wants.OutgoingMessageStatus) {
    core.events.push({ _tag: "OutgoingMessageStatus", ...metadata(connection, subject, dup), state })
  }
}

/** State 1, also while there is no connection to name. */
export const waiting = (core: CoreState, session: Session, subject: Subject): void => {
  if (!core.events.wants.OutgoingMessageStatus) return
  const { messageId, qos, retain } = subject
  const { clientId } = session
  const metadata = { clientId, messageId, dup: false, qos, retain, packetId: -1 }
  const connectionId = session.connection?.id ?? ""
  core.events.push({ _tag: "OutgoingMessageStatus", connectionId, ...metadata, state: 1 })
}

export const sent = (core: CoreState, connection: ServerConnection, subject: Subject): void => {
  if (core.events.wants.MessageSent) {
    core.events.push({
      _tag: "MessageSent",
      connectionId: connection.id,
      clientId: connection.clientId,
      messageId: subject.messageId
    })
  }
}
