/**
 * The connection machine: every phase with every packet, in both generations. Which packets a phase accepts is one
 * table; whatever is not in it ends that connection and nothing else.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Encoder from "../../src/protocol/Encoder.ts"
import type { Packet } from "../../src/protocol/Packet.ts"
import { CoreHarness } from "./CoreHarness.ts"
import type { TestClient } from "./TestClient.ts"

const none = { properties: undefined }

const packets: ReadonlyArray<Packet> = [
  {
    _tag: "Connect",
    protocolVersion: 5,
    clientId: "other",
    cleanStart: true,
    keepAliveSeconds: 0,
    userName: undefined,
    password: undefined,
    will: undefined,
    ...none
  },
  { _tag: "ConnAck", sessionPresent: false, reasonCode: 0, ...none },
  { _tag: "Publish", topic: "t", payload: Uint8Array.of(1), qos: 0, retain: false, dup: false, ...none },
  { _tag: "PubAck", packetId: 9, reasonCode: 0, ...none },
  { _tag: "PubRec", packetId: 9, reasonCode: 0, ...none },
  { _tag: "PubRel", packetId: 9, reasonCode: 0, ...none },
  { _tag: "PubComp", packetId: 9, reasonCode: 0, ...none },
  {
    _tag: "Subscribe",
    packetId: 9,
    subscriptions: [{ filter: "f", qos: 0, noLocal: false, retainAsPublished: false, retainHandling: 0 }],
    ...none
  },
  { _tag: "SubAck", packetId: 9, reasonCodes: [0], ...none },
  { _tag: "Unsubscribe", packetId: 9, filters: ["f"], ...none },
  { _tag: "UnsubAck", packetId: 9, reasonCodes: [], ...none },
  { _tag: "PingReq" },
  { _tag: "PingResp" },
  { _tag: "Disconnect", reasonCode: 0, ...none },
  { _tag: "Auth", reasonCode: 0x18, properties: { authenticationMethod: "m" } }
]

/** What a connected client may send. DISCONNECT is accepted too, and ends the connection by wish. */
const accepted = new Set<Packet["_tag"]>([
  "Publish",
  "PubAck",
  "PubRec",
  "PubRel",
  "PubComp",
  "Subscribe",
  "Unsubscribe",
  "PingReq"
])

type Reach = (harness: CoreHarness, version: 4 | 5) => TestClient

/** How a connection gets into each phase, and whether a packet ends it there. */
const phases: Readonly<Record<string, { readonly reach: Reach; readonly ends: (tag: Packet["_tag"]) => boolean }>> = {
  "awaiting-connect": { reach: (harness, version) => harness.open(version), ends: (tag) => tag !== "Connect" },
  connecting: {
    reach: (harness, version) => {
      harness.install("sessionRequest")
      const client = harness.open(version)
      client.connect("c")
      return client
    },
    // The question is open: what comes waits for the answer.
    ends: () => false
  },
  connected: { reach: (harness, version) => harness.connect("c", { version }), ends: (tag) => !accepted.has(tag) },
  ending: {
    reach: (harness, version) => {
      const client = harness.connect("c", { version })
      harness.core.disconnect(client.connection, 0x98, harness.now)
      return client
    },
    ends: () => false
  },
  closed: {
    reach: (harness, version) => {
      const client = harness.connect("c", { version })
      client.drop()
      return client
    },
    ends: () => false
  }
}

describe("the connection machine", () => {
  for (const version of [4, 5] as const) {
    for (const [phase, { ends, reach }] of Object.entries(phases)) {
      for (const packet of packets) {
        if (packet._tag === "Auth" && version === 4) continue // AUTH is not a packet of 3.1.1
        it(`version ${version}, ${phase}, ${packet._tag}`, () => {
          const harness = new CoreHarness()
          const bystander = harness.connect("bystander", { version })
          bystander.take()
          const client = reach(harness, version)
          assert.strictEqual(client.connection.phase, phase)
          const sent = packet._tag === "Connect" ? { ...packet, protocolVersion: version } : packet
          harness.core.receive(client.connection, Encoder.encode(sent, version), harness.now)
          const { phase: after } = client.connection
          if (phase === "ending" || phase === "closed") assert.strictEqual(after, phase)
          else assert.strictEqual(after === "ending" || after === "closed", ends(packet._tag), `now ${after}`)
          harness.settle()
          bystander.ping()
          assert.deepStrictEqual(
            bystander.take().map(({ _tag }) => _tag),
            ["PingResp"]
          )
          client.drop()
          assert.isUndefined(harness.session("c")?.owner)
        })
      }
    }
  }
})
