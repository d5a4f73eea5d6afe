/**
 * The documented session JSON: exactly its fields, the manual's own sample, and an error with its place for everything
 * else.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { SessionImage } from "../../src/core/SessionImage.ts"
import * as SessionJson from "../../src/storage/SessionJson.ts"
import { random } from "../fixtures/random.ts"

const NOW = 1_700_000_000_000
const limits = {
  charactersMax: 200_000,
  topicLevelsMax: 20,
  subscriptionsPerSessionMax: 10,
  queueMessagesMax: 10,
  userPropertiesMax: 4
}

/** As the manual prints it, comments, trailing comma and an incoming state of 3 included. */
const sample = `{
"ClientId":"Client1",
"Subscriptions":[{ // A collection of the client's subscribed topics
"Topic":"topic name",
"QoS":2,
}],
"IncomingMessages": [{ // A collection of incoming messages
"MessageId":1, // The incoming message's ID
"Topic":"A", // The incoming message's topic
"Payload":"54657374", // hexadecimal message payload
"QoS":2, // The incoming message's QoS level
"DUP":false, // Whether this message is a duplicate
"Retain":false, // Whether this is a retained message
"PacketId":1, // This message's packet ID
"State":3 // See IncomingMessageStatus event for State details
}],
"OutgoingMessages":[{ // A collection of outgoing messages
"MessageId":2,
"Topic":"A",
"Payload":"54657374",
"QoS":2,
"DUP":false,
"Retain":false,
"PacketId":2,
"State":3 // See OutgoingMessageStatus event for State details
}]
}`

const decode = (text: string) => Effect.catchTag(SessionJson.decode(text, limits, NOW), "TooMany", Effect.die)

const document = (): Record<string, unknown> => ({
  ClientId: "a",
  Subscriptions: [{ Topic: "t", QoS: 1 }],
  IncomingMessages: [message({ State: 8 })],
  OutgoingMessages: [message({ State: 3 }), message({ State: 1, PacketId: -1 })]
})

const message = (fields: Record<string, unknown>): Record<string, unknown> => ({
  MessageId: 1,
  Topic: "A",
  Payload: "54657374",
  QoS: 2,
  DUP: false,
  Retain: false,
  PacketId: 1,
  State: 8,
  ...fields
})

const will = (fields: Record<string, unknown>): Record<string, unknown> => ({
  Topic: "w",
  Payload: "",
  QoS: 0,
  Retain: false,
  Delay: 0,
  ...fields
})

const full: SessionImage = {
  clientId: "a",
  userName: "ann",
  expirySeconds: 60,
  subscriptions: [
    {
      filter: "$share/g/t/#",
      qos: 1,
      noLocal: false,
      retainAsPublished: true,
      retainHandling: 2,
      subscriptionIdentifier: 7
    }
  ],
  incoming: [
    {
      messageId: 4,
      topic: "t",
      payload: Buffer.from([0, 255]),
      qos: 2,
      retain: true,
      dup: true,
      packetId: 9,
      properties: undefined,
      receivedAt: NOW,
      expiresAt: 0,
      state: 7
    }
  ],
  outgoing: [
    {
      messageId: 5,
      topic: "t",
      payload: Buffer.from(""),
      qos: 1,
      retain: false,
      dup: false,
      packetId: 0,
      properties: {
        payloadFormatIndicator: 1,
        messageExpiryInterval: 30,
        contentType: "x",
        responseTopic: "answer",
        correlationData: Buffer.from([1]),
        userProperties: [["k", "v"]]
      },
      receivedAt: NOW,
      expiresAt: NOW + 30_000,
      state: 1,
      subscriptionIdentifiers: [7],
      sharedFilter: "$share/g/t/#"
    }
  ],
  will: {
    topic: "w",
    payload: Buffer.from("bye"),
    qos: 1,
    retain: true,
    properties: { contentType: "y" },
    delaySeconds: 12
  }
}

describe("the manual's sample", () => {
  it.effect("loads: comments and the trailing comma are taken out, the incoming state 3 is 8", () =>
    Effect.gen(function* () {
      const image = yield* decode(sample)
      assert.strictEqual(image.clientId, "Client1")
      assert.deepInclude(image.subscriptions[0], { filter: "topic name", qos: 2 })
      assert.deepInclude(image.incoming[0], { topic: "A", qos: 2, packetId: 1, state: 8 })
      assert.deepInclude(image.outgoing[0], { messageId: 2, packetId: 2, state: 3 })
      assert.strictEqual(Buffer.from(image.outgoing[0]!.payload).toString(), "Test")
      const again = JSON.parse(yield* SessionJson.encode(image, limits))
      assert.strictEqual(again.IncomingMessages[0].State, 8)
    })
  )

  it.effect("is saved with exactly its fields, in its order", () =>
    Effect.gen(function* () {
      const json = yield* SessionJson.encode(yield* decode(sample), limits)
      const withoutState = sample
        .replace(/\/\/.*$/gm, "")
        .replace(",\n}]", "\n}]")
        .replace('"State":3', '"State":8')
      assert.strictEqual(json, JSON.stringify(JSON.parse(withoutState)))
    })
  )

  it.effect("is the only thing that is tolerated besides JSON", () =>
    Effect.gen(function* () {
      for (const wrong of [
        sample.replace("// A collection of the", "/* A collection of the */"),
        sample.replace('"QoS":2,\n}]', '"QoS":2,,\n}]'),
        sample.replace("[{ // A", "[,{ // A"),
        sample.replace('"ClientId"', "ClientId"),
        sample.slice(0, -1),
        `${sample},`,
        "",
        "{,}"
      ]) {
        const error = yield* Effect.flip(decode(wrong))
        assert.deepStrictEqual([error._tag, error.code, error.path], ["InvalidSessionJson", 600, ""])
      }
    })
  )

  it.effect("comments and commas inside of strings are text", () =>
    Effect.gen(function* () {
      const text = sample.replace("topic name", '//not\\",}a comment')
      const { subscriptions } = yield* decode(text)
      assert.strictEqual(subscriptions[0]?.filter, '//not",}a comment')
    })
  )
})

describe("what 3.1.1 cannot say", () => {
  it.effect("goes there and back", () =>
    Effect.gen(function* () {
      const json = yield* SessionJson.encode(full, limits)
      assert.deepStrictEqual(yield* decode(json), full)
      const { OutgoingMessages, SessionExpiryInterval, Subscriptions, UserName, Will } = JSON.parse(json)
      assert.strictEqual(UserName, "ann")
      assert.strictEqual(SessionExpiryInterval, 60)
      assert.deepStrictEqual(Subscriptions, [
        { Topic: "$share/g/t/#", QoS: 1, RetainAsPublished: true, RetainHandling: 2, SubscriptionIdentifier: 7 }
      ])
      assert.strictEqual(OutgoingMessages[0].PacketId, -1)
      assert.strictEqual(OutgoingMessages[0].Properties.CorrelationData, "01")
      assert.strictEqual(Will.Delay, 12)
    })
  )

  it.effect("is not there when there is nothing to say", () =>
    Effect.gen(function* () {
      for (const expirySeconds of [0, 0xffff_ffff]) {
        const image = { ...full, userName: "", expirySeconds, incoming: [], outgoing: [], will: undefined }
        const json = JSON.parse(yield* SessionJson.encode({ ...image, subscriptions: [] }, limits))
        assert.deepStrictEqual(Object.keys(json), ["ClientId", "Subscriptions", "IncomingMessages", "OutgoingMessages"])
      }
    })
  )

  it.effect("a message that expires counts from its expiry, wherever it is loaded", () =>
    Effect.gen(function* () {
      const json = yield* SessionJson.encode(full, limits)
      const later = yield* SessionJson.decode(json, limits, NOW + 20_000)
      assert.deepInclude(later.outgoing[0], { receivedAt: NOW, expiresAt: NOW + 30_000 })
      const text = JSON.stringify({
        ...document(),
        OutgoingMessages: [message({ State: 1, PacketId: -1, Properties: { MessageExpiryInterval: 5 } })]
      })
      assert.deepInclude((yield* decode(text)).outgoing[0], { receivedAt: NOW, expiresAt: NOW + 5_000 })
    })
  )
})

/** Each changes a good document in one place, which the error names. */
const faults: ReadonlyArray<readonly [what: string, path: string, change: object, code?: 601 | undefined]> = [
  ["no client id", "ClientId", { ClientId: undefined }],
  ["an empty client id", "ClientId", { ClientId: "" }],
  ["a client id that cannot travel", "ClientId", { ClientId: "a\u0000" }],
  ["no list", "Subscriptions", { Subscriptions: undefined }],
  ["a list that is none", "IncomingMessages", { IncomingMessages: {} }],
  ["an unknown field", "Extra", { Extra: 1 }],
  [
    "an unknown field of a subscription",
    "Subscriptions[0].Extra",
    { Subscriptions: [{ Topic: "t", QoS: 1, Extra: 1 }] }
  ],
  ["a QoS of 3", "Subscriptions[0].QoS", { Subscriptions: [{ Topic: "t", QoS: 3 }] }],
  ["a QoS of 3", "OutgoingMessages[0].QoS", { OutgoingMessages: [message({ State: 3, QoS: 3 })] }],
  ["a QoS as text", "OutgoingMessages[0].QoS", { OutgoingMessages: [message({ State: 3, QoS: "2" })] }],
  ["an odd number of digits", "IncomingMessages[0].Payload", { IncomingMessages: [message({ Payload: "546" })] }],
  ["no digits", "IncomingMessages[0].Payload", { IncomingMessages: [message({ Payload: "5g" })] }],
  ["a payload that is none", "IncomingMessages[0].Payload", { IncomingMessages: [message({ Payload: 54 })] }],
  ...[0, 1, 2, 4, 5, 10, 11, -1, 7.5].map(
    (State) =>
      [`incoming state ${State}`, "IncomingMessages[0].State", { IncomingMessages: [message({ State })] }] as const
  ),
  ...[0, 6, 7, 8, 9, 10].map(
    (State) =>
      [`outgoing state ${State}`, "OutgoingMessages[0].State", { OutgoingMessages: [message({ State })] }] as const
  ),
  ["state 2 at QoS 2", "OutgoingMessages[0].QoS", { OutgoingMessages: [message({ State: 2 })] }],
  ["state 8 at QoS 1", "IncomingMessages[0].QoS", { IncomingMessages: [message({ QoS: 1 })] }],
  ["a packet id of 0", "IncomingMessages[0].PacketId", { IncomingMessages: [message({ PacketId: 0 })] }],
  ["a packet id above all", "IncomingMessages[0].PacketId", { IncomingMessages: [message({ PacketId: 65_536 })] }],
  ["a packet id twice", "IncomingMessages[1].PacketId", { IncomingMessages: [message({}), message({})] }],
  ["a waiting message with one", "OutgoingMessages[0].PacketId", { OutgoingMessages: [message({ State: 1 })] }],
  ["a message id that is none", "IncomingMessages[0].MessageId", { IncomingMessages: [message({ MessageId: 1.5 })] }],
  [
    "the same filter twice",
    "Subscriptions[1].Topic",
    {
      Subscriptions: [
        { Topic: "t", QoS: 1 },
        { Topic: "t", QoS: 0 }
      ]
    }
  ],
  ["a wrong filter", "Subscriptions[0].Topic", { Subscriptions: [{ Topic: "t/#/x", QoS: 1 }] }, 601],
  ["a topic with a wildcard", "IncomingMessages[0].Topic", { IncomingMessages: [message({ Topic: "a/+" })] }, 601],
  [
    "an empty topic",
    "OutgoingMessages[1].Topic",
    { OutgoingMessages: [message({ State: 3 }), message({ State: 3, PacketId: 2, Topic: "" })] },
    601
  ],
  [
    "too many levels",
    "OutgoingMessages[0].Topic",
    { OutgoingMessages: [message({ State: 3, Topic: "/".repeat(20) })] },
    601
  ],
  [
    "a wrong response topic",
    "OutgoingMessages[0].Properties.ResponseTopic",
    { OutgoingMessages: [message({ State: 3, Properties: { ResponseTopic: "#" } })] },
    601
  ],
  ["a wrong will", "Will.Topic", { Will: will({ Topic: "#" }) }, 601],
  [
    "a will with a wrong response topic",
    "Will.Properties.ResponseTopic",
    { Will: will({ Properties: { ResponseTopic: "+" } }) },
    601
  ],
  ["a will that lasts for ever", "Will.Delay", { Will: will({ Delay: 1e300 }) }],
  ["a will to the server's own topics", "Will.Topic", { Will: will({ Topic: "$SYS/x" }) }],
  ["a message to them", "IncomingMessages[0].Topic", { IncomingMessages: [message({ Topic: "$SYS/x" })] }],
  [
    "more correlation data than a packet can have",
    "OutgoingMessages[0].Properties.CorrelationData",
    { OutgoingMessages: [message({ State: 3, Properties: { CorrelationData: "00".repeat(65_536) } })] }
  ],
  [
    "a shared subscription with No Local",
    "Subscriptions[0].NoLocal",
    { Subscriptions: [{ Topic: "$share/g/t", QoS: 1, NoLocal: true }] }
  ],
  ...(
    [
      ["a wrong filter that a message came by", "$share/g/#/x", 601],
      ["one that is not shared", "A", undefined],
      ["one that does not match", "$share/g/B", undefined]
    ] as const
  ).map(
    ([what, SharedFilter, code]) =>
      [
        what,
        "OutgoingMessages[0].SharedFilter",
        { OutgoingMessages: [message({ State: 3, SharedFilter })] },
        code
      ] as const
  ),
  [
    "a shared filter of an incoming message",
    "IncomingMessages[0].SharedFilter",
    { IncomingMessages: [message({ SharedFilter: "$share/g/A" })] }
  ],
  ["a client id that is half a character", "ClientId", { ClientId: "\ud800" }],
  ["a user name that is half a character", "UserName", { UserName: "\udc00x" }],
  ["a topic that is", "IncomingMessages[0].Topic", { IncomingMessages: [message({ Topic: "a\udfff" })] }, 601],
  ["a filter that is", "Subscriptions[0].Topic", { Subscriptions: [{ Topic: "\ud83d", QoS: 0 }] }, 601],
  ["a message id above all", "IncomingMessages[0].MessageId", { IncomingMessages: [message({ MessageId: 2 ** 53 })] }],
  ["no message id", "IncomingMessages[0].MessageId", { IncomingMessages: [message({ MessageId: -1 })] }],
  ["an expiry of nothing", "SessionExpiryInterval", { SessionExpiryInterval: 0 }],
  ["an expiry above all", "SessionExpiryInterval", { SessionExpiryInterval: 2 ** 32 }],
  ["an instant beyond all time", "OutgoingMessages[0].ExpiresAt", { OutgoingMessages: [message({ ExpiresAt: 1e17 })] }],
  [
    "a subscription identifier of 0",
    "OutgoingMessages[0].SubscriptionIdentifiers[1]",
    { OutgoingMessages: [message({ State: 3, SubscriptionIdentifiers: [1, 0] })] }
  ],
  [
    "half a user property",
    "OutgoingMessages[0].Properties.UserProperties[0][1]",
    { OutgoingMessages: [message({ State: 3, Properties: { UserProperties: [["k"]] } })] }
  ],
  [
    "a property of another packet",
    "OutgoingMessages[0].Properties.TopicAlias",
    { OutgoingMessages: [message({ State: 3, Properties: { TopicAlias: 1 } })] }
  ]
]

describe("a document that is wrong", () => {
  for (const [what, path, change, code] of faults) {
    it.effect(`${what}: ${path}`, () =>
      Effect.gen(function* () {
        yield* decode(JSON.stringify(document()))
        const error = yield* Effect.flip(decode(JSON.stringify({ ...document(), ...change })))
        assert.deepStrictEqual([error.code, error.path], [code ?? 600, path])
        assert.include(error.message, path)
      })
    )
  }

  it.effect("is no object at all", () =>
    Effect.gen(function* () {
      for (const text of ["null", "[]", "1", '"x"']) {
        assert.deepInclude(yield* Effect.flip(decode(text)), { code: 600, path: "" })
      }
    })
  )

  it.effect("names a key that every object has as what it is: an unknown field", () =>
    Effect.gen(function* () {
      const good = JSON.stringify(document())
      for (const [text, path] of [
        [good.replace("{", '{"__proto__":{"UserName":"x"},'), "__proto__"],
        [good.replace('"State":8', '"__proto__":{"State":8}'), "IncomingMessages[0].__proto__"],
        [good.replace('"QoS":1', '"QoS":1,"constructor":{"prototype":{}}'), "Subscriptions[0].constructor"]
      ] as const) {
        assert.strictEqual((yield* Effect.flip(decode(text))).path, path)
      }
      assert.isFalse("UserName" in {})
    })
  )

  it.effect("has a number that JSON can say and nothing can be", () =>
    Effect.gen(function* () {
      for (const number of ["1e400", "-1e400", "1e-400", "9".repeat(400)]) {
        const text = JSON.stringify(document()).replace('"PacketId":1', `"PacketId":${number}`)
        assert.strictEqual((yield* Effect.flip(decode(text))).path, "IncomingMessages[0].PacketId", number)
      }
    })
  )

  it.effect("100 MB are refused before they are looked at", () =>
    Effect.gen(function* () {
      const huge = yield* Effect.flip(decode(`"${"x".repeat(100_000_000)}"`))
      assert.include(huge.message, "more than 200000 characters")
    })
  )

  const pairs = Array.from({ length: 5 }, () => ["k", "v"])
  const lists: ReadonlyArray<readonly [limit: SessionJson.TooMany["limit"], path: string, change: object]> = [
    ["subscriptionsPerSessionMax", "Subscriptions", { Subscriptions: Array.from({ length: 11 }, () => 1) }],
    ["receiveMaximum", "IncomingMessages", { IncomingMessages: Array.from({ length: 65_536 }, () => 1) }],
    ["queueMessagesMax", "OutgoingMessages", { OutgoingMessages: Array.from({ length: 65_546 }, () => 1) }],
    [
      "userPropertiesMax",
      "OutgoingMessages[1].Properties.UserProperties",
      { OutgoingMessages: [message({ State: 3 }), message({ Properties: { UserProperties: pairs } })] }
    ],
    ["userPropertiesMax", "Will.Properties.UserProperties", { Will: will({ Properties: { UserProperties: pairs } }) }]
  ]
  for (const [limit, path, change] of lists) {
    it.effect(`a list beyond ${limit} is not looked at: ${path}`, () =>
      Effect.gen(function* () {
        const text = JSON.stringify({ ...document(), ...change })
        const error = yield* Effect.flip(SessionJson.decode(text, limits, NOW))
        assert.deepInclude(error, { _tag: "TooMany", limit, path })
      })
    )
  }

  it.effect("is not quoted: what is in it are others' secrets", () =>
    Effect.gen(function* () {
      for (const change of [
        { IncomingMessages: [message({ Payload: "5ecre" })] },
        { IncomingMessages: [message({ QoS: "secret" })] },
        { secret: "secret" }
      ]) {
        const error = yield* Effect.flip(decode(JSON.stringify({ ...document(), ...change })))
        assert.notMatch(error.detail, /5ecre|secret/)
      }
      assert.notInclude((yield* Effect.flip(decode('{"secret'))).message, "secret")
    })
  )

  it.effect("a session that would be longer than what can be loaded is not written", () =>
    Effect.gen(function* () {
      const payload = new Uint8Array(120_000)
      const error = yield* Effect.flip(
        SessionJson.encode({ ...full, incoming: [{ ...full.incoming[0]!, payload }] }, limits)
      )
      assert.include(error.message, "sessionJsonCharactersMax")
    })
  )
})

describe("a document that is damaged anywhere", () => {
  const scraps = ['"', "{", "}", "[", "]", ",", ":", "\\", "//", "\n", "null", "-1", "1e999", "0.5", '"__proto__":']
  const source = random(7)
  const pick = <A>(from: ReadonlyArray<A>): A => from[source.below(from.length)]!

  /** Its text with one to three of its words lost, replaced or moved. */
  const damaged = (words: ReadonlyArray<string>): string => {
    const left = [...words]
    for (let count = 1 + source.below(3); count > 0; count--) {
      const at = source.below(left.length)
      left.splice(at, source.below(2), ...(source.below(3) === 0 ? [] : [pick([pick(scraps), pick(words)])]))
    }
    return left.join("")
  }

  it.effect("is refused with a typed error, or is another session that is written and read as it is", () =>
    Effect.gen(function* () {
      const words = (yield* SessionJson.encode(full, limits)).match(/"[^"]*"|-?\d+|[{}[\],:]|true|false/g)!
      let [taken, refused] = [0, 0]
      for (let round = 0; round < 4_000; round++) {
        const text = damaged(words)
        const image = yield* Effect.option(SessionJson.decode(text, limits, NOW)) // a defect is none
        if (Option.isNone(image)) refused++
        else {
          taken++
          assert.deepStrictEqual(yield* decode(yield* SessionJson.encode(image.value, limits)), image.value, text)
        }
      }
      assert.isAbove(taken, 20)
      assert.isAbove(refused, 3_000)
    })
  )
})
