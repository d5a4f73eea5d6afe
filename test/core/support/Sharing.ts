/**
 * What tests of shared subscriptions repeat: a group of members, and a publisher of numbers.
 */
import type { Subscription } from "../../../src/core/Session.ts"
import type { CoreHarness } from "../CoreHarness.ts"
import { type ConnectOptions, type PublishOptions, type TestClient, text } from "../TestClient.ts"
import { all, ready, subscriber } from "./Clients.ts"

type Filter = string | (Partial<Subscription> & { readonly filter: string })

/** The payloads that came, other packets left out. */
export const payloads = (client: TestClient): ReadonlyArray<string> => client.takePayloads()

export const upTo = (count: number): ReadonlyArray<string> => Array.from({ length: count }, (_, index) => `${index}`)

/** `count` clients m0, m1, … that subscribe to the same. */
export const members = (
  h: CoreHarness,
  count: number,
  options: ConnectOptions,
  ...filters: ReadonlyArray<Filter>
): ReadonlyArray<TestClient> =>
  Array.from({ length: count }, (_, index) => subscriber(h, `m${index}`, options, ...filters))

/** A clean client that publishes "0", "1", … to a topic. */
export const source = (h: CoreHarness, topic: string) => {
  const client = ready(h, "source", { version: 5 })
  let next = 0
  const send = (count: number, options: PublishOptions = {}): void => {
    for (let index = 0; index < count; index++) client.publish(topic, `${next++}`, options)
  }
  return { client, send }
}

/** The messages that came: `0 q1`, `1 q2 dup`. */
export const summary = (client: TestClient): ReadonlyArray<string> =>
  all(client, "Publish").map(({ dup, payload, qos }) => `${text(payload)} q${qos}${dup ? " dup" : ""}`)
