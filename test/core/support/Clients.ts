/**
 * Short ways to say what most tests of the core need: a client that is in, the one packet it got, a broker that has
 * forgotten everybody.
 */
import { assert } from "@effect/vitest"
import type { Packet, Subscription } from "../../../src/protocol/Packet.ts"
import { DecodedPublish, Decoder } from "../../../src/protocol/Decoder.ts"
import * as Encoder from "../../../src/protocol/Encoder.ts"
import type { CoreHarness } from "../CoreHarness.ts"
import type { ConnectOptions, TestClient } from "../TestClient.ts"

export const versions = [3, 4, 5] as const

/** A client whose CONNECT was accepted, its CONNACK taken. */
export const ready = (harness: CoreHarness, clientId: string, options: ConnectOptions = {}): TestClient => {
  const client = harness.connect(clientId, options)
  const connAck = only(client, "ConnAck")
  assert.strictEqual(connAck.reasonCode, 0, `${clientId} was refused`)
  return client
}

/** Such a client with subscriptions, its SUBACK taken. */
export const subscriber = (
  harness: CoreHarness,
  clientId: string,
  options: ConnectOptions,
  ...filters: ReadonlyArray<string | (Partial<Subscription> & { readonly filter: string })>
): TestClient => {
  const client = ready(harness, clientId, options)
  client.subscribe(...filters)
  only(client, "SubAck")
  return client
}

type Tagged<T extends Packet["_tag"]> = Extract<Packet, { readonly _tag: T }>

/** The one packet that came, and it is of this type. */
export const only = <T extends Packet["_tag"]>(client: TestClient, tag: T): Tagged<T> => {
  const packets = client.take()
  assert.deepStrictEqual(
    packets.map(({ _tag }) => _tag),
    [tag]
  )
  return packets[0] as Tagged<T> // just checked
}

/** The packets of this type, whatever else came. */
export const all = <T extends Packet["_tag"]>(client: TestClient, tag: T): ReadonlyArray<Tagged<T>> =>
  client.take().filter((packet): packet is Tagged<T> => packet._tag === tag)

/** An object without the keys that hold nothing. */
export const present = (object: object | undefined): Record<string, unknown> =>
  Object.fromEntries(Object.entries(object ?? {}).filter(([, value]) => value !== undefined))

/** `30 05 ...` as bytes. */
export const hex = (text: string): Uint8Array => Uint8Array.from(text.trim().split(/\s+/), (byte) => parseInt(byte, 16))

/** What a server that speaks `version` hears of a client's packet: proof that the test sends what it says. */
export const asHeard = (packet: Packet, version: 3 | 4 | 5): Packet | undefined => {
  const limits = { packetBytesMax: 268_435_460, topicLevelsMax: 65_535, userPropertiesMax: 1_000 }
  const decoder = new Decoder({ sender: "client", version, ...limits })
  decoder.push(Encoder.encode(packet, version))
  const heard = decoder.next()
  return heard instanceof DecodedPublish ? heard.toPublish() : heard
}

/** A session kept for ever in any version. */
export const kept = (version: 3 | 4 | 5): ConnectOptions =>
  version === 5 ? { version, clean: false, expiry: 0xffff_ffff } : { version, clean: false }

/** Nothing is left of anybody: no connection, session, subscription, deadline or question. */
export const assertForgotten = (harness: CoreHarness): void => {
  const { core } = harness
  const left = {
    connections: core.connections.size,
    sessions: core.sessions.size,
    subscriptions: core.subscriptionCount,
    deadline: core.deadline()
  }
  assert.deepStrictEqual(left, { connections: 0, sessions: 0, subscriptions: 0, deadline: Number.POSITIVE_INFINITY })
}
