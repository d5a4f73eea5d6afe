/**
 * A message that somebody does not get: counted, and told with the reason.
 */
import type { QoS } from "../protocol/Packet.ts"
import type { MessageDropped } from "./CoreEvent.ts"
import type { CoreState } from "./CoreState.ts"

export const drop = (
  core: CoreState,
  clientId: string,
  topic: string,
  qos: QoS,
  reason: MessageDropped["reason"]
): void => {
  core.stats.messagesDropped++
  if (core.events.wants.MessageDropped) core.events.push({ _tag: "MessageDropped", clientId, topic, qos, reason })
}
