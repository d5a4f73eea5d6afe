/**
 * What a message says, wherever it is: as bytes from a client, in a queue, on its way to the store or back.
 */
import type { Properties } from "../protocol/Property.ts"

export interface Content {
  readonly topic: string
  readonly payload: Uint8Array
  readonly properties: Properties | undefined
}

/** What a message in memory takes besides, about: the objects that it is made of. */
export const OBJECT_BYTES = 256

/** About how much that is, in characters and bytes: never more than the bytes of its PUBLISH. */
export const bytesOf = ({ payload, properties, topic }: Content): number => {
  let bytes = topic.length + payload.length
  if (properties === undefined) return bytes
  for (const [name, value] of properties.userProperties ?? []) bytes += name.length + value.length
  bytes += (properties.correlationData?.length ?? 0) + (properties.contentType?.length ?? 0)
  return bytes + (properties.responseTopic?.length ?? 0)
}
