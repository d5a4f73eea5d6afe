/**
 * Where the broker may drop a message, and why: judged at the moment it says that it did.
 */
import type { MessageDropped } from "../../src/core/CoreEvent.ts"
import type { CoreState } from "../../src/core/CoreState.ts"
import * as Topic from "../../src/protocol/Topic.ts"
import type { World } from "./World.ts"

/** More than the largest frame in a simulation. */
export const frameBytesMax = ({ scenario }: World): number => (scenario.payloads === "large" ? 20_200 : 700)

export const check = (world: World, core: CoreState, event: MessageDropped): void => {
  const legal = isLegal(world, core, event)
  world.check(legal, () => `${event.topic} was dropped for ${event.clientId} (${event.reason}) and need not be.`)
}

const isLegal = (world: World, core: CoreState, { clientId, qos, reason, topic }: MessageDropped): boolean => {
  const { config } = core
  const session = core.sessions.get(clientId)
  const profile = world.scenario.profiles.find((one) => one.clientId === clientId)
  switch (reason) {
    case "queue-full": {
      if (session === undefined) return false
      const { queue } = session
      // The oldest was dropped while it was only in the store: that is told when it is read.
      if (config.queueOverflow === "drop-oldest" && queue.stored !== undefined) return true
      // Under this policy the oldest was taken out before it was counted as dropped.
      const shifted = config.queueOverflow === "drop-oldest" ? 1 : 0
      const longest = queue.length + shifted >= config.queueMessagesMax
      return longest || queue.bytes + (1 + shifted) * frameBytesMax(world) > config.queueBytesMax
    }
    case "outbox-full": {
      const waiting = session?.owner?.waitingBytes ?? 0
      return qos === 0 && (waiting > config.outboxBytesMax || core.bufferedBytes > config.bufferedBytesMax)
    }
    case "too-large":
      return profile?.maximumPacketSize !== undefined
    case "expired":
      return true
    case "not-retained": {
      const full = core.retained.size >= config.retainedMessagesMax
      return full || core.retainedBytes + frameBytesMax(world) > config.retainedBytesMax || core.journal.refusing
    }
    case "offline":
      // A group none of whose members can have it; another group of that topic may have members.
      return clientId === "" && world.scenario.profiles.some(({ filters }) => filters.some(isShared))
    case "unsubscribed": {
      // Asked again when the client came back: what waits, and is for no subscription that stands, goes.
      const filters = [...(session?.subscriptions.keys() ?? [])]
      return world.scenario.hooks && !filters.some((filter) => Topic.matches(filter, topic))
    }
    default:
      return false
  }
}

const isShared = (filter: string): boolean => Topic.parseShared(filter) !== undefined
