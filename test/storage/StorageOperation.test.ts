import { assert, describe, it } from "@effect/vitest"
import * as Schema from "effect/Schema"
import * as StorageOperation from "../../src/storage/StorageOperation.ts"
import { incoming, message, outgoing, retained, session, subscription } from "../../src/storage/StorageContract.ts"

const encode = Schema.encodeUnknownSync(Schema.fromJsonString(StorageOperation.StoreOperationJson))
const decode = Schema.decodeUnknownSync(Schema.fromJsonString(StorageOperation.StoreOperationJson))

describe("StorageOperation", () => {
  const operations = [
    session("a", { will: { message: message(1), delaySeconds: 5 } }),
    subscription("a", "x/+"),
    outgoing("a", 1),
    incoming("a", 65_535),
    retained("r"),
    { _tag: "SetOutgoing", clientId: "a", order: 1, packetId: 3, state: 4 },
    { _tag: "RemoveSession", clientId: "a" },
    { _tag: "RenameSession", clientId: "a", to: "\u0000b" },
    { _tag: "RemoveSubscription", clientId: "a", filter: "x" },
    { _tag: "RemoveOutgoing", clientId: "a", order: 1 },
    { _tag: "RemoveIncoming", clientId: "a", packetId: 1 },
    { _tag: "RemoveRetained", topic: "r" }
  ] as const
  for (const operation of operations) {
    it(`${operation._tag} comes back from JSON as it was`, () => {
      assert.deepStrictEqual(decode(encode(operation)), operation)
    })
  }

  const broken = [
    ["an unknown tag", { _tag: "PutWhatever", clientId: "a" }],
    ["a state that a broker cannot have", { _tag: "SetOutgoing", clientId: "a", order: 1, packetId: 3, state: 6 }],
    ["a packet id out of range", { _tag: "RemoveIncoming", clientId: "a", packetId: 65_536 }],
    ["a missing field", { _tag: "RemoveSubscription", clientId: "a" }]
  ] as const
  for (const [what, value] of broken) {
    it(`${what} is refused`, () => {
      assert.throws(() => decode(JSON.stringify(value)))
    })
  }
})
