/**
 * What a broker holds, as plain records at one moment: the documented fields of connections, listeners, sessions and
 * retained messages.
 */
import type { ConnectionId } from "../core/ConnectionId.ts"
import * as Redacted from "effect/Redacted"
import type { IncomingState, OutgoingState } from "../core/MessageState.ts"
import type { Message } from "../core/Message.ts"
import type { Outgoing } from "../core/Outgoing.ts"
import type { ServerConnection } from "../core/ServerConnection.ts"
import type { Session } from "../core/Session.ts"
import type { ProtocolVersion, QoS } from "../protocol/Packet.ts"
import type { Properties } from "../protocol/Property.ts"
import * as CertificateStore from "../transport/CertificateStore.ts"
import type { CertificatesConfig, Listener, Protocol } from "../transport/Listener.ts"

export interface ListenerSnapshot {
  readonly protocol: Protocol
  readonly localHost: string
  readonly localPort: number
  /** False after `stopListening`. */
  readonly listening: boolean
  /** Whether clients are asked for certificates. */
  readonly sslAuthenticateClients: boolean
  /** The path of its certificate's store, "(given in memory)" where it has none; "" without TLS, as the next ones. */
  readonly sslCertStore: string
  readonly sslCertStorePassword: Redacted.Redacted<string>
  /** The documented number; 0 without TLS. */
  readonly sslCertStoreType: number
  /** As configured: `*`, or what its certificate's subject was chosen by. */
  readonly sslCertSubject: string
}

export interface ConnectionSnapshot {
  readonly connectionId: ConnectionId
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
  /** `TLSv1.3`; without TLS these are "" and 0. */
  readonly sslNegotiatedVersion: string
  readonly sslNegotiatedCipher: string
  /** Bits. */
  readonly sslNegotiatedCipherStrength: number
  readonly sslNegotiatedCipherSuite: string
  /** `ECDHE`, `DHE` or `RSA`; "" in TLS 1.3, whose cipher suites do not say. */
  readonly sslNegotiatedKeyExchange: string
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
  /** -1 before one is given, as in events and in the session's JSON. */
  readonly packetId: number
  readonly state: State
}

export interface SessionDetail extends SessionSnapshot {
  readonly incomingMessages: ReadonlyArray<MessageSnapshot<IncomingState>>
  /** Of a queue that outgrows memory those that are in memory: `outgoingMessageCount` counts all. */
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

const noPassword = Redacted.make("")

/** Never its contents, which hold a private key: whoever shows listeners would show it. */
const storeOf = ({ sslCertStore, sslCertStoreType }: CertificatesConfig): string =>
  CertificateStore.nameOf(sslCertStore, sslCertStoreType)

export const ofListener = (listener: Listener): ListenerSnapshot => {
  const { certificate, listening, localHost, localPort, protocol, sslAuthenticateClients = false } = listener
  return {
    protocol,
    localHost,
    localPort,
    listening,
    sslAuthenticateClients,
    sslCertStore: certificate === undefined ? "" : storeOf(certificate),
    sslCertStorePassword: certificate?.sslCertStorePassword ?? noPassword,
    sslCertStoreType: certificate?.sslCertStoreType ?? 0,
    sslCertSubject: certificate?.sslCertSubject ?? ""
  }
}

export const ofConnection = (connection: ServerConnection): ConnectionSnapshot => {
  const { clientId, id: connectionId, info, userName, version: protocolVersion } = connection
  const { localHost, localPort, protocol, remoteHost, remotePort, tcpKeepAlive: keepAlive, tls } = info
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
    bufferedBytes,
    sslNegotiatedVersion: tls?.version ?? "",
    sslNegotiatedCipher: tls?.cipher ?? "",
    sslNegotiatedCipherStrength: tls?.cipherStrength ?? 0,
    sslNegotiatedCipherSuite: tls?.cipherSuite ?? "",
    sslNegotiatedKeyExchange: tls?.keyExchange ?? ""
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
  packetId: packetId === 0 ? -1 : packetId,
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
