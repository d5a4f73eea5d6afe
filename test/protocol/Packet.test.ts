import { assert, describe, it } from "@effect/vitest"
import * as Schema from "effect/Schema"
import { Packet, PacketJson } from "../../src/protocol/Packet.ts"
import { plain } from "../fixtures/decoding.ts"
import { packets } from "../fixtures/generated.ts"
import { valid } from "../fixtures/packets.ts"

const toJson = Schema.encodeSync(PacketJson)
const fromJson = Schema.decodeUnknownSync(PacketJson)

const tags = [
  "Connect",
  "ConnAck",
  "Publish",
  "PubAck",
  "PubRec",
  "PubRel",
  "PubComp",
  "Subscribe",
  "SubAck",
  "Unsubscribe",
  "UnsubAck",
  "PingReq",
  "PingResp",
  "Disconnect",
  "Auth"
] as const

describe("Packet", () => {
  it("has a fixture of every tag", () => {
    assert.deepStrictEqual([...new Set(valid.map(({ packet }) => packet._tag))].sort(), [...tags].sort())
  })

  it("guards every fixture as its own tag and as no other", () => {
    for (const { packet } of valid) {
      for (const tag of tags) assert.strictEqual(Packet.guards[tag](packet), tag === packet._tag, tag)
    }
  })

  it("goes to JSON text and back", () => {
    for (const { packet } of valid) {
      assert.deepStrictEqual(plain(fromJson(JSON.parse(JSON.stringify(toJson(packet))))), plain(packet))
    }
  })

  it.prop("goes to JSON text and back for generated packets", [packets], ([packet]) =>
    assert.deepStrictEqual(plain(fromJson(JSON.parse(JSON.stringify(toJson(packet))))), plain(packet))
  )

  it("writes bytes as base64, and reads an absent field as one that is null", () => {
    const packet = {
      _tag: "Publish",
      topic: "a",
      payload: Uint8Array.of(1, 2, 3),
      qos: 0,
      retain: false,
      dup: false
    } as const
    const json = { _tag: "Publish", topic: "a", payload: "AQID", qos: 0, retain: false, dup: false }
    assert.deepStrictEqual(toJson(packet), json)
    assert.deepStrictEqual(fromJson(json), packet)
    const withNulls = { ...json, packetId: null, properties: null }
    assert.deepStrictEqual(toJson({ ...packet, packetId: undefined, properties: undefined }), withNulls)
    assert.deepStrictEqual(plain(fromJson(withNulls)), packet)
  })

  for (const [name, json] of [
    ["QoS 3", { _tag: "Publish", topic: "a", payload: "", qos: 3, retain: false, dup: false }],
    ["packet identifier 0", { _tag: "PubAck", packetId: 0, reasonCode: 0 }],
    ["packet identifier 65,536", { _tag: "PubAck", packetId: 65_536, reasonCode: 0 }],
    ["a reason code of another packet", { _tag: "PubAck", packetId: 1, reasonCode: 0x92 }],
    ["no filter", { _tag: "Unsubscribe", packetId: 1, filters: [] }],
    ["an unknown tag", { _tag: "PubNack" }],
    ["a fraction", { _tag: "Disconnect", reasonCode: 0, properties: { sessionExpiryInterval: 1.5 } }]
  ] as const) {
    it(`refuses JSON with ${name}`, () => {
      assert.throws(() => fromJson(json))
    })
  }
})
