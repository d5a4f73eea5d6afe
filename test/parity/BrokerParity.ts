/**
 * Where everything is that the manuals of the broker document: the .NET edition, and the Delphi edition, which has the
 * same names but for what is marked so.
 *
 * The names are in `broker-surface.json`. Configuration settings have their table in
 * `src/settings/DocumentedSettings.ts`, because the broker itself needs it.
 */
import { at, none, type Row } from "./Place.ts"

type Rows = Readonly<Record<string, Row>>

const BROKER = "src/broker/Broker.ts#Broker"
const CORE_EVENT = "src/core/CoreEvent.ts"
const BROKER_EVENT = "src/broker/BrokerEvent.ts"
const QUESTION = "src/core/Question.ts"
const HOOKS = "src/broker/Hooks.ts#HooksService"
const SNAPSHOT = "src/broker/Snapshot.ts"
const PEER = "src/transport/Listener.ts#Peer"
const CLIENT_CERTIFICATE = "src/transport/Listener.ts#ClientCertificate"

export const properties: Rows = {
  Connections: at(`${BROKER}.connections`),
  DefaultIdleTimeout: at("src/core/CoreConfig.ts#CoreConfig.idleTimeoutSeconds"),
  Listeners: at(`${BROKER}.listeners`),
  Listening: at(`${BROKER}.listening`),
  Messages: at(`${BROKER}.retainedMessages`),
  Sessions: at(`${BROKER}.sessions`),
  SSLProvider: none("The runtime has one implementation of TLS, OpenSSL, on every platform.")
}

export const methods: Rows = {
  AddBrokerListener: at(`${BROKER}.addListener`),
  Config: at(`${BROKER}.config`),
  Disconnect: at(`${BROKER}.disconnect`),
  DoEvents: none("Node's event loop runs by itself: there is no queue of messages that a program would have to pump."),
  Interrupt: at(`${BROKER}.interrupt`),
  LoadSession: at(`${BROKER}.loadSession`),
  Reset: at(`${BROKER}.reset`),
  SaveSession: at(`${BROKER}.saveSession`),
  Shutdown: at(`${BROKER}.shutdown`),
  StartListening: at(`${BROKER}.startListening`),
  StopListening: at(`${BROKER}.stopListening`)
}

/** A field of each name, the rest of the place in front of it. */
const fields = (type: string, names: Readonly<Record<string, string>>): Rows =>
  Object.fromEntries(Object.entries(names).map(([documented, name]) => [documented, at(`${type}.${name}`)]))

const ids = { ConnectionId: "connectionId", ClientId: "clientId" }
const message = { ...ids, MessageId: "messageId" }
const metadata = { ...message, DUP: "dup", QoS: "qos", Retain: "retain", PacketId: "packetId" }
const status = { ConnectionId: "connectionId", StatusCode: "statusCode", Description: "description" }

/** The hook's answer is what the manual's settable parameter is. */
const accepts = at("src/broker/Hooks.ts#Decision")

export interface EventRow {
  readonly place: Row
  readonly fields: Rows
}

const event = (file: string, name: string, names: Readonly<Record<string, string>>): EventRow => ({
  place: at(`${file}#${name}`),
  fields: fields(`${file}#${name}`, names)
})

export const events: Readonly<Record<string, EventRow>> = {
  Connected: event(CORE_EVENT, "Connected", status),
  ConnectionRequest: {
    place: at(`${HOOKS}.connectionRequest`),
    fields: {
      ...fields(PEER, { Address: "remoteHost", Port: "remotePort" }),
      Accept: at(`${HOOKS}.connectionRequest`)
    }
  },
  Disconnected: event(CORE_EVENT, "Disconnected", status),
  Error: event(BROKER_EVENT, "Error", {
    ConnectionId: "connectionId",
    ErrorCode: "errorCode",
    Description: "description"
  }),
  IncomingMessageStatus: event(CORE_EVENT, "IncomingMessageStatus", { ...metadata, State: "state" }),
  Log: event(BROKER_EVENT, "Log", {
    ConnectionId: "connectionId",
    LogLevel: "logLevel",
    Message: "message",
    LogType: "logType"
  }),
  MessageReceived: event(CORE_EVENT, "MessageReceived", message),
  MessageReceiving: event(CORE_EVENT, "MessageReceiving", metadata),
  MessageSending: event(CORE_EVENT, "MessageSending", metadata),
  MessageSent: event(CORE_EVENT, "MessageSent", message),
  OutgoingMessageStatus: event(CORE_EVENT, "OutgoingMessageStatus", { ...metadata, State: "state" }),
  SessionRemoved: event(CORE_EVENT, "SessionRemoved", { ClientId: "clientId" }),
  SessionRequest: {
    place: at(`${HOOKS}.sessionRequest`),
    fields: {
      ...fields(`${QUESTION}#SessionRequest`, { ...ids, UserName: "userName", Password: "password", IsNew: "isNew" }),
      Accept: accepts
    }
  },
  SSLClientAuthentication: {
    place: at(`${HOOKS}.sslClientAuthentication`),
    fields: fields(CLIENT_CERTIFICATE, {
      ConnectionId: "connectionId",
      CertEncoded: "certEncoded",
      CertEncodedB: "certEncodedB",
      CertSubject: "certSubject",
      CertIssuer: "certIssuer",
      Status: "status",
      Accept: "accept"
    })
  },
  SSLStatus: event(BROKER_EVENT, "SSLStatus", { ConnectionId: "connectionId", Message: "message" }),
  Subscribe: {
    place: at(`${HOOKS}.subscribe`),
    fields: {
      ...fields(`${QUESTION}#SubscribeRequest`, { ...ids, TopicFilter: "topicFilter", RequestedQoS: "requestedQos" }),
      ReturnCode: at(`${QUESTION}#Answer.reasonCode`)
    }
  },
  Unsubscribe: event(CORE_EVENT, "Unsubscribed", { ...ids, TopicFilter: "topicFilter" })
}

export const types: Readonly<Record<string, Rows>> = {
  MQTTBrokerConnection: fields(`${SNAPSHOT}#ConnectionSnapshot`, {
    ...ids,
    KeepAlive: "keepAlive",
    LocalHost: "localHost",
    LocalPort: "localPort",
    Protocol: "protocol",
    RemoteHost: "remoteHost",
    RemotePort: "remotePort",
    UserName: "userName"
  }),
  MQTTBrokerListener: fields(`${SNAPSHOT}#ListenerSnapshot`, {
    LocalHost: "localHost",
    LocalPort: "localPort",
    Protocol: "protocol",
    SSLAuthenticateClients: "sslAuthenticateClients",
    SSLCertStore: "sslCertStore",
    SSLCertStoreB: "sslCertStore",
    SSLCertStorePassword: "sslCertStorePassword",
    SSLCertStoreType: "sslCertStoreType",
    SSLCertSubject: "sslCertSubject"
  }),
  MQTTBrokerMessage: fields(`${SNAPSHOT}#BrokerMessage`, {
    MessageId: "messageId",
    Payload: "payload",
    PayloadB: "payload",
    Topic: "topic"
  }),
  MQTTBrokerSession: {
    ...fields(`${SNAPSHOT}#SessionDetail`, {
      IncomingMessages: "incomingMessages",
      OutgoingMessages: "outgoingMessages"
    }),
    ClientId: at(`${SNAPSHOT}#SessionSnapshot.clientId`),
    ...fields(`${SNAPSHOT}#SubscriptionSnapshot`, { SubGrantedQoS: "grantedQos", SubTopicFilters: "topicFilter" })
  }
}

const NO_REMOTE = "A broker is connected to and connects to nobody: it has no remote host or port of its own to change."
const IMMUTABLE = "A running listener's address cannot be changed at all: configurations are immutable values."
const NO_STREAM = "There is no socket object here that would be used before it is connected, or connected twice."
const EFFECTS_END = "No method blocks until a timeout: a program ends any effect in time with Effect.timeout."
const WINDOWS = "It is a code of the Windows socket library, which Node has no name for."

const brokerError = (name: string): Row => at(`src/broker/BrokerError.ts#${name}`)
const certificateError = (name: string): Row => at(`src/transport/CertificateError.ts#${name}`)
const listenError = (name: string): Row => at(`src/transport/ListenError.ts#${name}`)
const errno = (name: string): Row => at(`src/transport/SocketErrno.ts#table.${name}`)

/** By code. 302 is only in the Delphi edition, where it means what 303 means in the other. */
export const errors: Readonly<Record<number, Row>> = {
  600: brokerError("ProtocolViolation"),
  601: brokerError("InvalidTopic"),

  100: none(NO_REMOTE),
  101: none(NO_REMOTE),
  102: none(NO_REMOTE),
  104: none(NO_STREAM),
  106: none(IMMUTABLE),
  107: none(IMMUTABLE),
  112: none("MQTT has packets with a length, not lines: there is no MaxLineLength to change."),
  116: none(NO_REMOTE),
  117: none("There is no UseConnection option."),
  135: none("Nothing blocks: what would is an effect that is suspended until it can go on."),
  201: none(EFFECTS_END),
  211: brokerError("ShutDown"),
  212: brokerError("NotConnected"),
  213: at("src/settings/SettingError.ts#SettingFixed"),
  301: none(EFFECTS_END),
  302: none("The Delphi edition's number for what is 303 in the .NET edition, and here."),
  303: brokerError("StorageUnavailable"),
  434: none("Text is UTF-8 in MQTT and UTF-16 in JavaScript: there are no code pages to convert to."),
  1105: none(NO_STREAM),
  1117: none(NO_STREAM),
  1119: none(IMMUTABLE),
  1120: none("A client that closes its connection is no failure: its Disconnected event has the status code 0."),

  270: certificateError("TlsSettingUnsupported"),
  271: certificateError("CertificateStoreUnavailable"),
  272: certificateError("CertificateNotFound"),
  273: certificateError("CredentialsUnusable"),
  274: certificateError("CertificateChainMissing"),
  275: certificateError("CertificateChainInvalid"),
  276: at("src/transport/Listener.ts#HandshakeFailure.code"),
  280: certificateError("CertificateExpired"),
  281: at("src/transport/Listener.ts#HandshakeFailure.code"),
  282: certificateError("ServerCertificateMissing"),
  283: none("OpenSSL encrypts inside of Node, which reports a failure there as the end of the connection."),
  284: at("src/broker/ConnectionDriver.ts#TLS_FAILED"),

  10004: errno("EINTR"),
  10009: errno("EBADF"),
  10013: listenError("AccessDenied"),
  10014: errno("EFAULT"),
  10022: at("src/settings/SettingError.ts#InvalidSetting"),
  10024: errno("EMFILE"),
  10035: errno("EAGAIN"),
  10036: errno("EINPROGRESS"),
  10037: errno("EALREADY"),
  10038: errno("ENOTSOCK"),
  10039: errno("EDESTADDRREQ"),
  10040: errno("EMSGSIZE"),
  10041: errno("EPROTOTYPE"),
  10042: errno("ENOPROTOOPT"),
  10043: errno("EPROTONOSUPPORT"),
  10044: errno("ESOCKTNOSUPPORT"),
  10045: at("src/settings/SettingError.ts#SettingNotApplicable"),
  10046: errno("EPFNOSUPPORT"),
  10047: errno("EAFNOSUPPORT"),
  10048: listenError("AddressInUse"),
  10049: listenError("AddressNotAvailable"),
  10050: errno("ENETDOWN"),
  10051: errno("ENETUNREACH"),
  10052: errno("ENETRESET"),
  10053: errno("ECONNABORTED"),
  10054: errno("ECONNRESET"),
  10055: brokerError("LimitReached"),
  10056: errno("EISCONN"),
  10057: errno("ENOTCONN"),
  10058: errno("ESHUTDOWN"),
  10059: errno("ETOOMANYREFS"),
  10060: errno("ETIMEDOUT"),
  10061: errno("ECONNREFUSED"),
  10062: errno("ELOOP"),
  10063: errno("ENAMETOOLONG"),
  10064: errno("EHOSTDOWN"),
  10065: errno("EHOSTUNREACH"),
  10066: errno("ENOTEMPTY"),
  10067: none(WINDOWS),
  10068: none(WINDOWS),
  10069: brokerError("StorageRefuses"),
  10070: errno("ESTALE"),
  10071: none(WINDOWS),
  10091: none(WINDOWS),
  10092: none(WINDOWS),
  10093: none(WINDOWS),
  11001: listenError("HostNotFound"),
  11002: listenError("HostNotFound"),
  11003: listenError("HostNotFound"),
  11004: listenError("HostNotFound")
}
