/**
 * What a broker holds, as plain records at one moment: the documented fields of connections, listeners, sessions and
 * retained messages.
 */
import type { IncomingState, OutgoingState } from "../core/MessageState.ts"
import type { Message } from "../core/Message.ts"
import type { Outgoing } from "../core/Outgoing.ts"
import type { ServerConnection } from "../core/ServerConnection.ts"
import type { Session } from "../core/Session.ts"
import type { ProtocolVersion, QoS } from "../protocol/Packet.ts"
import type { Properties } from "../protocol/Property.ts"
import type { Listener, Protocol } from "../transport/Listener.ts"

export interface ListenerSnapshot {
  readonly protocol: Protocol
  readonly localHost: string
  readonly localPort: number
  /** False after `stopListening`. */
  readonly listening: boolean
}

export interface ConnectionSnapshot {
  readonly connectionId: string
  /** "" before CONNECT. */
  readonly clientId: string
  readonly userName: string
  readonly protocol: Protocol
  readonly protocolVersion: ProtocolVersion
  readonly localHost: string
  readonly localPort: number
  readonly remoteHost: string
  readonly remotePort: number
  /** Whether the operating system probes the connection. */
  readonly keepAlive: boolean
  /** Bytes that wait for its socket. */
  readonly bufferedBytes: number
}

export interface SubscriptionSnapshot {
  readonly topicFilter: string
  readonly grantedQos: QoS
  readonly noLocal: boolean
  readonly retainAsPublished: boolean
  readonly retainHandling: 0 | 1 | 2
}

export interface SessionSnapshot {
  readonly clientId: string
  readonly userName: string
  readonly connected: boolean
  /** Seconds that it outlives its connection; 0xFFFFFFFF: for ever. */
  readonly expirySeconds: number
  readonly subscriptions: ReadonlyArray<SubscriptionSnapshot>
  readonly incomingMessageCount: number
  readonly outgoingMessageCount: number
}

export interface MessageSnapshot<State> {
  readonly messageId: number
  readonly topic: string
  readonly qos: QoS
  readonly retain: boolean
  /** 0 before one is given. */
  readonly packetId: number
  readonly state: State
}

export interface SessionDetail extends SessionSnapshot {
  readonly incomingMessages: ReadonlyArray<MessageSnapshot<IncomingState>>
  readonly outgoingMessages: ReadonlyArray<MessageSnapshot<OutgoingState>>
}

/** An application message. Its payload is shared with the broker: read it, do not change it. */
export interface BrokerMessage {
  readonly messageId: number
  readonly topic: string
  readonly payload: Uint8Array
  readonly qos: QoS
  readonly retain: boolean
  readonly properties: Properties | undefined
  /** Milliseconds since the epoch. */
  readonly receivedAt: number
}

export const ofListener = ({ listening, localHost, localPort, protocol }: Listener): ListenerSnapshot => ({
  protocol,
  localHost,
  localPort,
  listening
})

export const ofConnection = (connection: ServerConnection): ConnectionSnapshot => {
  const { clientId, id: connectionId, info, userName, version: protocolVersion } = connection
  const { localHost, localPort, protocol, remoteHost, remotePort, tcpKeepAlive: keepAlive } = info
  const bufferedBytes = connection.outbox.bytes + connection.bufferedBytes
  return {
    connectionId,
    clientId,
    userName,
    protocol,
    protocolVersion,
    localHost,
    localPort,
    remoteHost,
    remotePort,
    keepAlive,
    bufferedBytes
  }
}

export const ofSession = (session: Session): SessionSnapshot => ({
  clientId: session.clientId,
  userName: session.userName,
  connected: session.connected,
  expirySeconds: session.expirySeconds,
  subscriptions: Array.from(session.subscriptions.values(), (subscription) => ({
    topicFilter: subscription.filter,
    grantedQos: subscription.qos,
    noLocal: subscription.noLocal,
    retainAsPublished: subscription.retainAsPublished,
    retainHandling: subscription.retainHandling
  })),
  incomingMessageCount: session.incomingSize,
  outgoingMessageCount: session.inflight.size + session.queue.length
})

const ofOutgoing = ({ message, messageId, packetId, qos, retain, state }: Outgoing) => ({
  messageId,
  topic: message.topic,
  qos,
  retain,
  packetId,
  state
})

export const detailOf = (session: Session): SessionDetail => ({
  ...ofSession(session),
  incomingMessages:
    session.incomingSize === 0
      ? []
      : Array.from(session.incoming.values(), ({ message, packetId, state }) => ({
          messageId: message.messageId,
          topic: message.topic,
          qos: message.qos,
          retain: message.retain,
          packetId,
          state
        })),
  outgoingMessages: [...session.inflight.inOrder().map(ofOutgoing), ...Array.from(session.queue, ofOutgoing)]
})

/** For a message that the core keeps. */
export const ofKept = (message: Message): BrokerMessage => {
  const { messageId, payload, properties, qos, receivedAt, retain, topic } = message
  return { messageId, topic, payload, qos, retain, properties, receivedAt }
}

/** For a message on its way: its bytes are only valid now, so they are copied. */
export const ofPassing = (message: Message): BrokerMessage => ({
  ...ofKept(message),
  payload: Uint8Array.from(message.payload)
})
