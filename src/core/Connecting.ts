/**
 * CONNECT to CONNACK: identity, permission, takeover, session, what was negotiated, redelivery.
 */
import * as Encoder from "../protocol/Encoder.ts"
import type { ConnAck, Connect } from "../protocol/Packet.ts"
import { ProtocolError } from "../protocol/ProtocolError.ts"
import * as ReasonCode from "../protocol/ReasonCode.ts"
import * as Topic from "../protocol/Topic.ts"
import * as Asking from "./Asking.ts"
import * as Authenticating from "./Authenticating.ts"
import { NEVER_EXPIRES } from "./CoreConfig.ts"
import type { AskedWill, CoreState } from "./CoreState.ts"
import * as Defect from "./Defect.ts"
import * as Disconnection from "./Disconnection.ts"
import * as Holding from "./Holding.ts"
import { Message } from "./Message.ts"
import { OutgoingAliases } from "./OutgoingAliases.ts"
import * as Output from "./Output.ts"
import * as PublishPermission from "./PublishPermission.ts"
import type { Answer } from "./Question.ts"
import * as Redelivery from "./Redelivery.ts"
import * as Resuming from "./Resuming.ts"
import type { ServerConnection } from "./ServerConnection.ts"
import type { Session } from "./Session.ts"
import * as SessionJournal from "./SessionJournal.ts"
import * as Sessions from "./Sessions.ts"
import * as Supervision from "./Supervision.ts"

type ConnAckProperties = NonNullable<ConnAck["properties"]>

const RECEIVE_MAXIMUM_DEFAULT = 65_535
const CLIENT_ID_MAX_31 = 23

export const connect = (core: CoreState, connection: ServerConnection, packet: Connect, now: number): void => {
  if (connection.phase !== "awaiting-connect") {
    const error = new ProtocolError(0x82, "A client sends CONNECT once [MQTT-3.1.0-2].")
    Disconnection.fail(core, connection, error, now)
    return
  }
  connection.version = packet.protocolVersion
  // A refusal keeps to it too [MQTT-3.1.2-24].
  connection.sendBytesMax = packet.properties?.maximumPacketSize ?? Number.POSITIVE_INFINITY
  const refusal = refusalOf(core, packet)
  if (refusal !== undefined) {
    refuse(core, connection, refusal, undefined, now)
    return
  }
  connection.clientId = packet.clientId === "" ? freeClientId(core) : packet.clientId
  connection.userName = connection.info.userName ?? packet.userName ?? ""
  connection.phase = "connecting"
  connection.connectNumber = core.nextConnectNumber()
  const method = packet.properties?.authenticationMethod
  if (method === undefined) decide(core, connection, packet, now)
  else authenticate(core, connection, packet, method)
}

const decide = (core: CoreState, connection: ServerConnection, packet: Connect, now: number): void => {
  if (core.installed.sessionRequest) askPermission(core, connection, packet)
  else permitted(core, connection, packet, now)
}

/** The client may connect: now its will, and the subscriptions that it comes back to. */
const permitted = (core: CoreState, connection: ServerConnection, packet: Connect, now: number): void => {
  const { will } = packet
  if (will === undefined || !core.installed.publish) {
    resume(core, connection, packet, now)
    return
  }
  const answered = ({ reasonCode, reasonString }: Answer, later: number): void => {
    const refusal = refusalOf(core, packet)
    if (refusal !== undefined) refuse(core, connection, refusal, undefined, later)
    else if (ReasonCode.isFailure(reasonCode)) {
      PublishPermission.refused(core, "connect", connection.id, connection, will, reasonCode)
      refuse(core, connection, refusalCode(reasonCode), reasonString, later)
    } else resume(core, connection, packet, later)
  }
  PublishPermission.ask(core, connection, "connect", will, will.topic, answered)
}

const resume = (core: CoreState, connection: ServerConnection, packet: Connect, now: number): void => {
  const session = core.sessions.get(connection.clientId)
  if (session === undefined || packet.cleanStart || !isOwn(core, connection, session)) {
    accept(core, connection, packet, now)
    return
  }
  const rechecked = (grants: Resuming.Grants, later: number): void => {
    const refusal = refusalOf(core, packet)
    if (refusal !== undefined) refuse(core, connection, refusal, undefined, later)
    else accept(core, connection, packet, later, grants)
  }
  if (!Resuming.recheck(core, connection, session, rechecked, now)) accept(core, connection, packet, now)
}

/** [MQTT-4.12.0-1]: whoever named a method proves itself first; who may connect at all is asked after that. */
const authenticate = (core: CoreState, connection: ServerConnection, packet: Connect, method: string): void => {
  const outcome = {
    succeeded: (data: Uint8Array | undefined, later: number) => {
      connection.authenticationData = data
      // Looked at again: many may have proved themselves while there was room for one.
      const refusal = refusalOf(core, packet)
      if (refusal !== undefined) refuse(core, connection, refusal, undefined, later)
      else decide(core, connection, packet, later)
    },
    refused: ({ reasonCode, reasonString }: Answer, later: number) =>
      refuse(core, connection, refusalCode(reasonCode), reasonString, later)
  }
  Authenticating.begin(core, connection, method, packet.properties?.authenticationData, outcome)
}

/** A hook may refuse with any code; one that CONNACK does not have becomes "unspecified". */
const refusalCode = (code: number): ConnAck["reasonCode"] =>
  ReasonCode.isAllowed("ConnAck", "server", code) ? code : ReasonCode.UnspecifiedError

/** [MQTT-3.1.3-6], [MQTT-3.1.3-7]: nobody else's, whatever clients call themselves. */
const freeClientId = (core: CoreState): string => {
  let clientId = core.nextClientId()
  while (core.sessions.has(clientId)) clientId = core.nextClientId()
  return clientId
}

/** What can be refused without asking anybody: a CONNACK reason code in 5.0 terms. */
const refusalOf = (core: CoreState, packet: Connect): ConnAck["reasonCode"] | undefined => {
  const { protocolVersion, clientId, cleanStart, properties, keepAliveSeconds } = packet
  const { config } = core
  if (core.shuttingDown) return ReasonCode.ServerUnavailable
  if (protocolVersion === 3 && (clientId.length === 0 || clientId.length > CLIENT_ID_MAX_31)) {
    return ReasonCode.ClientIdentifierNotValid
  }
  // [MQTT-3.1.3-8]
  if (protocolVersion === 4 && clientId === "" && !cleanStart) return ReasonCode.ClientIdentifierNotValid
  if (properties?.authenticationMethod !== undefined && !core.installed.authenticate)
    return ReasonCode.BadAuthenticationMethod
  if (packet.will !== undefined && Topic.isReserved(packet.will.topic)) return ReasonCode.NotAuthorized
  if (protocolVersion !== 5 && config.keepAliveSecondsMax > 0) {
    // Only 5.0 can be told another keep alive.
    if (keepAliveSeconds === 0 || keepAliveSeconds > config.keepAliveSecondsMax)
      return ReasonCode.ClientIdentifierNotValid
  }
  if (core.journal.refusing && requestedExpiry(packet) > 0) return ReasonCode.QuotaExceeded
  if (core.sessions.size >= config.sessionsMax && !core.sessions.has(clientId)) return ReasonCode.QuotaExceeded
  return undefined
}

/** Seconds the client wants its session kept; before 5.0 a session that is not clean is kept for ever. */
const requestedExpiry = (packet: Connect): number => {
  if (packet.protocolVersion === 5) return packet.properties?.sessionExpiryInterval ?? 0
  return packet.cleanStart ? 0 : NEVER_EXPIRES
}

const askPermission = (core: CoreState, connection: ServerConnection, packet: Connect): void => {
  const { clientId, userName, id: connectionId } = connection
  const make = (questionId: number) =>
    ({
      _tag: "SessionRequest",
      questionId,
      connectionId,
      clientId,
      userName,
      password: packet.password,
      protocolVersion: packet.protocolVersion,
      isNew: packet.cleanStart,
      sessionExists: core.sessions.has(clientId)
    }) as const
  const answered = ({ reasonCode, reasonString }: Answer, later: number): void => {
    // Looked at again: many may have been asked about while there was room for one.
    const refusal = refusalOf(core, packet)
    if (refusal !== undefined) refuse(core, connection, refusal, undefined, later)
    else if (!ReasonCode.isFailure(reasonCode)) permitted(core, connection, packet, later)
    else refuse(core, connection, refusalCode(reasonCode), reasonString, later)
  }
  Asking.ask(core, connection, make, answered)
}

/** A CONNACK that refuses says Session Present 0 [MQTT-3.2.2-6], and the connection ends [MQTT-3.2.2-7]. */
const refuse = (
  core: CoreState,
  connection: ServerConnection,
  reasonCode: ConnAck["reasonCode"],
  reasonString: string | undefined,
  now: number
): void => {
  const properties = reasonString === undefined ? undefined : { reasonString }
  Output.send(core, connection, { _tag: "ConnAck", sessionPresent: false, reasonCode, properties })
  const description = reasonString ?? ReasonCode.describe(reasonCode)
  Disconnection.close(core, connection, false, now, { statusCode: 0, description })
}

const accept = (
  core: CoreState,
  connection: ServerConnection,
  packet: Connect,
  now: number,
  grants?: Resuming.Grants
): void => {
  const { clientId } = connection
  const before = core.journal.sequence
  const former = core.sessions.get(clientId)
  if (former?.owner !== undefined && former.owner.connectNumber > connection.connectNumber) {
    // A hook kept this one waiting while its client connected again: the older must not take over the newer.
    refuse(core, connection, ReasonCode.ServerUnavailable, "A newer connection of this client has been accepted.", now)
    return
  }
  if (former?.owner !== undefined) {
    // [MQTT-3.1.4-3]
    Disconnection.end(
      core,
      former.owner,
      ReasonCode.SessionTakenOver,
      "Another connection took over this session.",
      now
    )
  }
  // Looked up again: a session that ended with its connection is gone by now.
  let session = core.sessions.get(clientId)
  if (session !== undefined && (packet.cleanStart || !isOwn(core, connection, session))) {
    Sessions.remove(core, session, now) // [MQTT-3.1.4-4]
    session = undefined
  } else if (session !== undefined && Sessions.settle(core, session, now)) session = undefined
  const askedWill = core.askedWills.get(clientId)
  if (askedWill !== undefined) {
    waitForWill(core, connection, packet, askedWill, grants)
    return
  }
  const sessionPresent = session !== undefined
  session ??= Sessions.create(core, clientId)
  Sessions.resumed(core, session)
  negotiate(core, connection, session, packet, now)
  // From now on it ends with its connection, and a crash is such an end.
  if (!session.kept) SessionJournal.removeSession(core, session)
  connection.session = session
  session.owner = connection
  session.userName = connection.userName
  session.unclaimed = false
  SessionJournal.putSession(core, session)
  if (grants !== undefined && sessionPresent) Resuming.apply(core, connection, session, grants)
  const connAck: ConnAck = {
    _tag: "ConnAck",
    sessionPresent,
    reasonCode: ReasonCode.Success,
    properties: packet.protocolVersion === 5 ? connAckProperties(core, connection, session, packet) : undefined
  }
  if (Encoder.byteLength(connAck, connection.version) > connection.sendBytesMax) {
    // It may not be sent [MQTT-3.1.2-24], and nothing may be sent before it [MQTT-3.2.0-1].
    const description = "The client's Maximum Packet Size leaves no room for a CONNACK."
    Disconnection.close(core, connection, false, now, { statusCode: 0, description })
    return
  }
  // Also when it is an earlier connection's clean start that is not durable yet: a crash would bring back what was.
  const sequence = core.journal.sequence === before ? (core.removals.get(clientId) ?? 0) : core.journal.sequence
  // Nothing precedes a pending CONNACK: no input is handled and nothing is delivered until it is released.
  if (sequence > core.journal.durable) Holding.hold(core, connection)
  const released = (later: number): void => start(core, connection, session, sessionPresent, later)
  Output.sendWhenDurable(core, connection, sequence, connAck, released, now)
  // Redelivery follows the CONNACK's bytes: `start` only opened the way.
  if (connection.phase === "connected") redeliver(core, connection, now)
}

/** A hook decides about the will of the session that was, and the store has room for no other until then. */
const waitForWill = (
  core: CoreState,
  connection: ServerConnection,
  packet: Connect,
  { waiting }: AskedWill,
  grants: Resuming.Grants | undefined
): void => {
  Holding.hold(core, connection)
  const proceed = (later: number): void => {
    if (connection.phase !== "connecting") return
    Holding.letGo(core, connection, later)
    const refusal = refusalOf(core, packet)
    if (refusal !== undefined) refuse(core, connection, refusal, undefined, later)
    else accept(core, connection, packet, later, grants)
    core.continuing.push(connection)
  }
  waiting.push((later) => Defect.guard(core, connection, later, () => proceed(later)))
}

/** A client id is no proof: what one user left waiting, another who comes with it does not inherit. */
const isOwn = (core: CoreState, connection: ServerConnection, session: Session): boolean =>
  session.unclaimed || session.userName === connection.userName || !core.config.sessionsBoundToUserNames

const negotiate = (
  core: CoreState,
  connection: ServerConnection,
  session: Session,
  packet: Connect,
  now: number
): void => {
  const { config } = core
  const { properties } = packet
  const keepAliveSeconds =
    config.keepAliveSecondsMax > 0 &&
    (packet.keepAliveSeconds === 0 || packet.keepAliveSeconds > config.keepAliveSecondsMax)
      ? config.keepAliveSecondsMax
      : packet.keepAliveSeconds
  connection.keepAliveMillis = keepAliveSeconds * 1_500 // [MQTT-3.1.2-22]
  connection.sendMaximum = Math.min(properties?.receiveMaximum ?? RECEIVE_MAXIMUM_DEFAULT, config.inflightMax)
  const aliasesMax = Math.min(properties?.topicAliasMaximum ?? 0, config.topicAliasMaximum)
  // An alias makes a first message larger: a client that limits packets is spared it, or one could outgrow its limit.
  connection.outgoingAliases =
    aliasesMax > 0 && connection.sendBytesMax === Number.POSITIVE_INFINITY ? new OutgoingAliases(aliasesMax) : undefined
  connection.problemInformation = properties?.requestProblemInformation ?? true
  connection.requestedExpirySeconds = requestedExpiry(packet)
  connection.decoder.packetBytesMax = config.packetBytesMax
  session.expirySeconds = Math.min(connection.requestedExpirySeconds, config.sessionExpirySecondsMax)
  const { will } = packet
  session.will =
    will === undefined
      ? undefined
      : {
          delaySeconds: will.properties?.willDelayInterval ?? 0,
          message: Message.fromParts(
            { ...will, payload: will.payload.slice(), properties: willProperties(will.properties) },
            core.nextMessageId(),
            session,
            now
          )
        }
}

/** The delay is an order to this broker, not part of the message. */
const willProperties = (properties: NonNullable<Connect["will"]>["properties"]) => {
  if (properties === undefined) return undefined
  const { willDelayInterval: _, ...rest } = properties
  return Object.values(rest).some((value) => value !== undefined) ? rest : undefined
}

/** The truth about this broker, as far as it differs from what a client must assume. */
const connAckProperties = (
  core: CoreState,
  connection: ServerConnection,
  session: Session,
  packet: Connect
): ConnAckProperties => {
  const { config } = core
  const keepAliveSeconds = connection.keepAliveMillis / 1_500
  return {
    sessionExpiryInterval:
      session.expirySeconds === connection.requestedExpirySeconds ? undefined : session.expirySeconds,
    assignedClientIdentifier: packet.clientId === "" ? connection.clientId : undefined, // [MQTT-3.2.2-16]
    serverKeepAlive: keepAliveSeconds === packet.keepAliveSeconds ? undefined : keepAliveSeconds,
    receiveMaximum: config.receiveMaximum,
    topicAliasMaximum: config.topicAliasMaximum === 0 ? undefined : config.topicAliasMaximum,
    maximumPacketSize: config.packetBytesMax,
    authenticationMethod: connection.authentication?.method,
    authenticationData: connection.authenticationData
  }
}

/** CONNACK is released: the session has a connection. */
const start = (
  core: CoreState,
  connection: ServerConnection,
  session: Session,
  sessionPresent: boolean,
  now: number
): void => {
  connection.phase = "connected"
  session.setConnection(connection)
  connection.receivedAt = now
  Supervision.watch(core, connection, now)
  // What PUBREL released before the connection was lost is durable by now: its PUBCOMP needs no memory any more.
  if (session.incomingSize > 0) {
    for (const [packetId, incoming] of session.incoming) if (incoming.state === 9) session.incoming.delete(packetId)
  }
  if (core.events.wants.SessionStarted) {
    core.events.push({
      _tag: "SessionStarted",
      connectionId: connection.id,
      clientId: session.clientId,
      userName: session.userName,
      sessionPresent,
      protocolVersion: connection.version
    })
  }
}

/** After the CONNACK: what was underway, then what was queued. */
export const redeliver = (core: CoreState, connection: ServerConnection, now: number): void => {
  const { session } = connection
  if (session === undefined) return
  if (session.inflight.size > 0) Redelivery.resend(core, session, connection)
  Redelivery.pump(core, session, now)
}
