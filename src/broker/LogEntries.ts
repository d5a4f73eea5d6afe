/**
 * The documented Log event: what it says of what happens, at which level and of which type.
 *
 * Level 1 tells of the broker, 2 of connections and sessions too, 3 of every packet too. No line has a password in it.
 */
import type { CoreEventTag, Frame } from "../core/CoreEvent.ts"
import type { BrokerEvent, Log, ShellEvent } from "./BrokerEvent.ts"

type Told = BrokerEvent | Frame

/** The events of the core that lines of this level are made of. */
export const sources = (level: number): ReadonlyArray<CoreEventTag> => {
  const faults: ReadonlyArray<CoreEventTag> = level >= 1 ? ["ProtocolFailure"] : []
  return level >= 2 ? [...faults, ...SESSION_TAGS] : faults
}

const SESSION_TAGS = [
  "Connected",
  "Disconnected",
  "SessionStarted",
  "SessionRemoved",
  "Subscribed",
  "Unsubscribed",
  "MessageDropped",
  "PublishRefused"
] as const satisfies ReadonlyArray<CoreEventTag>

const address = ({ localHost, localPort }: { readonly localHost: string; readonly localPort: number }): string =>
  localHost.includes(":") ? `[${localHost}]:${localPort}` : `${localHost}:${localPort}`

const quote = JSON.stringify

const entry = (
  logLevel: Log["logLevel"],
  logType: Log["logType"],
  connectionId: Log["connectionId"],
  message: string
): Log => ({
  _tag: "Log",
  connectionId,
  logLevel,
  message,
  logType
})

/** The line about something that happened; undefined: there is none. */
export const of = (event: Told): Log | undefined => {
  switch (event._tag) {
    case "Frame":
      return entry(3, "Frame", event.connectionId, event.text)
    case "Connected":
    case "Disconnected": {
      const { connectionId, description, statusCode } = event
      const failed = statusCode === 0 && description === "OK" ? "" : `: ${description} (${statusCode})`
      return entry(2, "Session", connectionId, `${event._tag}${failed}`)
    }
    case "SessionStarted": {
      const { clientId, connectionId, protocolVersion, sessionPresent, userName } = event
      const user = userName === "" ? "" : ` of user ${quote(userName)}`
      const verb = sessionPresent ? "came back to its session" : "began a session"
      return entry(2, "Session", connectionId, `${quote(clientId)}${user} ${verb} (version ${protocolVersion})`)
    }
    case "SessionRemoved":
      return entry(2, "Session", "", `The session of ${quote(event.clientId)} was removed`)
    case "Subscribed": {
      const { clientId, connectionId, requestedQos, returnCode, topicFilter } = event
      const words = `${quote(clientId)} asked for ${quote(topicFilter)} at QoS ${requestedQos}, answer ${returnCode}`
      return entry(2, "Session", connectionId, words)
    }
    case "Unsubscribed":
      return entry(2, "Session", event.connectionId, `${quote(event.clientId)} left ${quote(event.topicFilter)}`)
    case "MessageDropped": {
      const { clientId, qos, reason, topic } = event
      const receiver = clientId === "" ? "" : ` for ${quote(clientId)}`
      return entry(2, "Session", "", `A message${receiver} on ${quote(topic)} at QoS ${qos}: ${reason}`)
    }
    case "PublishRefused": {
      const { clientId, connectionId, qos, reasonCode, stage, topic } = event
      const words = `${quote(clientId)} may not publish on ${quote(topic)} at QoS ${qos}: ${reasonCode} (${stage})`
      return entry(2, "Session", connectionId, words)
    }
    case "ProtocolFailure": {
      const { clientId, connectionId, description, errorCode } = event
      return entry(1, "Info", connectionId, `Error ${errorCode} of client ${quote(clientId)}: ${description}`)
    }
    default:
      return ofShell(event)
  }
}

const ofShell = (event: Exclude<Told, Frame>): Log | undefined => {
  switch (event._tag) {
    case "Error":
      return entry(1, "Info", event.connectionId, `Error ${event.errorCode}: ${event.description}`)
    case "ListenerStarted":
      return entry(1, "Info", "", `Listening on ${address(event)} (protocol ${event.protocol})`)
    case "ListenerStopped":
      return entry(1, "Info", "", `Stopped listening on ${address(event)} (protocol ${event.protocol})`)
    case "ConnectionRefused": {
      const { reason, remoteHost, remotePort } = event
      return entry(1, "Info", "", `Refused a connection from ${remoteHost}:${remotePort}: ${reason}`)
    }
    case "StorageChanged":
      return entry(1, "Info", "", `The store is ${event.state}: ${event.description}`)
    case "SSLStatus":
      return entry(3, "Info", event.connectionId, event.message)
    default:
      return undefined
  }
}

/** Kinds that only become a line, so that somebody must build them for it. */
export const isLogged = (level: number, tag: ShellEvent["_tag"]): boolean =>
  level >= 3 || (level >= 1 && tag !== "SSLStatus")
