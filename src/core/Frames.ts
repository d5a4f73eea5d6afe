/**
 * Packets in words, for the log: one line each, what it is and what it is about.
 *
 * Called only while frames are logged. Passwords and authentication data are never shown, payloads only where that was
 * asked for.
 */
import type { DecodedPublish } from "../protocol/Decoder.ts"
import type { Connect, Packet, Publish } from "../protocol/Packet.ts"
import type { CoreEvents } from "./CoreEvent.ts"
import type { ServerConnection } from "./ServerConnection.ts"

/** Most bytes of a payload that are shown. */
const SHOWN_BYTES = 256

const text = new TextDecoder("utf-8", { fatal: true })

/** As text where it is text, else in hexadecimal digits. */
const show = (bytes: Uint8Array): string => {
  const shown = bytes.subarray(0, SHOWN_BYTES)
  const more = bytes.length > SHOWN_BYTES ? "…" : ""
  try {
    return JSON.stringify(text.decode(shown)) + more
  } catch (_error) {
    // It is no text: that is not a failure.
    return Array.from(shown, (byte) => byte.toString(16).padStart(2, "0")).join("") + more
  }
}

const publish = (packet: Publish | DecodedPublish, whole: boolean): string => {
  const { dup, packetId, payload, qos, retain, topic } = packet
  const id = packetId === undefined ? "" : ` #${packetId}`
  const flags = `${dup ? " dup" : ""}${retain ? " retain" : ""}`
  const shown = whole ? `: ${show(payload)}` : ""
  return `PUBLISH ${JSON.stringify(topic)} QoS ${qos}${id}${flags}, ${payload.length} bytes${shown}`
}

const connect = ({ cleanStart, clientId, keepAliveSeconds, password, protocolVersion, userName, will }: Connect) => {
  const user = userName === undefined ? "" : ` user ${JSON.stringify(userName)}`
  const secret = password === undefined ? "" : " password ***"
  const last = will === undefined ? "" : ` will ${JSON.stringify(will.topic)}`
  const clean = cleanStart ? " clean" : ""
  return (
    `CONNECT version ${protocolVersion} client ${JSON.stringify(clientId)}` +
    `${user}${secret}${clean} keep alive ${keepAliveSeconds} s${last}`
  )
}

/** A packet in words; `whole`: with its payload. */
export const describe = (packet: Packet | DecodedPublish, whole: boolean): string => {
  switch (packet._tag) {
    case "Publish":
      return publish(packet, whole)
    case "Connect":
      return connect(packet)
    case "Subscribe": {
      const filters = packet.subscriptions.map(({ filter, qos }) => `${JSON.stringify(filter)} QoS ${qos}`)
      return `SUBSCRIBE #${packet.packetId} ${filters.join(", ")}`
    }
    case "Unsubscribe":
      return `UNSUBSCRIBE #${packet.packetId} ${packet.filters.map((filter) => JSON.stringify(filter)).join(", ")}`
    case "SubAck":
    case "UnsubAck":
      return `${packet._tag.toUpperCase()} #${packet.packetId} ${packet.reasonCodes.join(", ")}`
    case "ConnAck":
      return `CONNACK ${packet.reasonCode}${packet.sessionPresent ? " session present" : ""}`
    default: {
      const id = "packetId" in packet ? ` #${packet.packetId}` : ""
      const reason = "reasonCode" in packet && packet.reasonCode !== 0 ? ` ${packet.reasonCode}` : ""
      return `${packet._tag.toUpperCase()}${id}${reason}`
    }
  }
}

/** One packet that came from a client, or goes to it. */
export const tell = (
  events: CoreEvents,
  connection: ServerConnection,
  direction: "received" | "sent",
  packet: Packet | DecodedPublish
): void => {
  const { clientId, id: connectionId } = connection
  const words = describe(packet, events.frames === "whole")
  events.push({ _tag: "Frame", connectionId, clientId, text: `${direction} ${words}` })
}
