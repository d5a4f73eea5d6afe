/**
 * One message to everybody concerned: the retained store and the route of its topic.
 */
import * as ReasonCode from "../protocol/ReasonCode.ts"
import type { CoreState } from "./CoreState.ts"
import * as Delivery from "./Delivery.ts"
import * as Dropping from "./Dropping.ts"
import type { Message } from "./Message.ts"
import * as RetainedMessages from "./RetainedMessages.ts"
import type { Route } from "./Router.ts"

/** Returns the reason code an acknowledgement may carry: success, "no matching subscribers", or a retained limit. */
export const routeAlong = (core: CoreState, message: Message, route: Route, now: number): number => {
  const retained = message.retain ? RetainedMessages.set(core, message) : ReasonCode.Success
  // Only a QoS 1 publisher of 5.0 can be told.
  if (retained !== ReasonCode.Success) Dropping.drop(core, "", message.topic, message.qos, "not-retained")
  const receivers = Delivery.deliverAll(core, message, route, now)
  if (retained !== ReasonCode.Success) return retained
  return receivers === 0 ? ReasonCode.NoMatchingSubscribers : ReasonCode.Success
}

/** For messages that no connection brought: wills and in-process messages. */
export const route = (core: CoreState, message: Message, now: number): number =>
  routeAlong(core, message, core.router.route(message.topic), now)
