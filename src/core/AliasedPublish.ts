/**
 * A 5.0 PUBLISH frame with a topic alias put in: copied from a frame without one, property bytes and payload untouched.
 * A large payload can be left where it is, for all the outboxes that it goes to.
 *
 * Owns the bytes only; which alias a topic has is `OutgoingAliases.ts`.
 */
import * as Varint from "../protocol/Varint.ts"
import type { Outbox } from "./Outbox.ts"

const TOPIC_ALIAS = 0x23
const ALIAS_BYTES = 3

/** Reads a variable byte integer of a frame that is known to be good. */
const readVarint = (source: Uint8Array, at: number): number => {
  let value = 0
  for (let shift = 0; ; shift += 7) {
    const byte = source[at++]!
    value |= (byte & 0x7f) << shift
    if (byte < 0x80) return value
  }
}

/**
 * Appends the frame in `source[start, end)` with `alias`; with `known` the topic is left out.
 *
 * @param withId whether the frame has a packet id, which becomes `packetId`
 * @param shared the payload of the frame, to be pointed to instead of copied
 */
export const write = (
  outbox: Outbox,
  source: Uint8Array,
  start: number,
  end: number,
  header: number,
  withId: boolean,
  packetId: number,
  alias: number,
  known: boolean,
  shared: Uint8Array | undefined
): void => {
  const topicAt = start + 1 + Varint.byteLength(readVarint(source, start + 1))
  const topicBytes = (source[topicAt]! << 8) | source[topicAt + 1]!
  const propertiesAt = topicAt + 2 + topicBytes + (withId ? 2 : 0)
  const propertyBytes = readVarint(source, propertiesAt)
  const restAt = propertiesAt + Varint.byteLength(propertyBytes)
  const sentTopicBytes = known ? 0 : topicBytes
  const sentPropertyBytes = propertyBytes + ALIAS_BYTES
  const remaining =
    2 + sentTopicBytes + (withId ? 2 : 0) + Varint.byteLength(sentPropertyBytes) + ALIAS_BYTES + (end - restAt)
  const sharedBytes = shared === undefined ? 0 : shared.length
  let at = outbox.reserve(1 + Varint.byteLength(remaining) + remaining - sharedBytes)
  const { buffer } = outbox
  buffer[at++] = header
  at = Varint.write(remaining, buffer, at)
  buffer[at++] = sentTopicBytes >>> 8
  buffer[at++] = sentTopicBytes & 0xff
  for (let from = topicAt + 2; from < topicAt + 2 + sentTopicBytes; from++) buffer[at++] = source[from]!
  if (withId) {
    buffer[at++] = packetId >>> 8
    buffer[at++] = packetId & 0xff
  }
  at = Varint.write(sentPropertyBytes, buffer, at)
  buffer[at++] = TOPIC_ALIAS
  buffer[at++] = alias >>> 8
  buffer[at++] = alias & 0xff
  buffer.set(source.subarray(restAt, end - sharedBytes), at)
  if (shared !== undefined) outbox.appendShared(shared)
}
