/**
 * The documented JSON of a session, as `saveSession` writes it and `loadSession` reads it: one Schema, both ways.
 *
 * A session of MQTT 3.1.1 has exactly the documented fields. What those cannot say (properties and subscription options
 * of MQTT 5.0, expiry, whose session it is) is in optional ones that are absent while they hold nothing.
 *
 * It reads what the manual prints: `//` comments and the comma after a last field (`JsonText.ts`), and an incoming
 * state 3, which is 8. Everything else that is wrong is an error that names the place. No error shows what was found
 * there: payloads are secrets of others.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaGetter from "effect/SchemaGetter"
import * as SchemaIssue from "effect/SchemaIssue"
import { NEVER_EXPIRES } from "../core/CoreConfig.ts"
import type { Subscription } from "../core/Session.ts"
import type { IncomingImage, MessageImage, OutgoingImage, SessionImage, WillImage } from "../core/SessionImage.ts"
import * as Packet from "../protocol/Packet.ts"
import * as PacketLength from "../protocol/PacketLength.ts"
import * as Property from "../protocol/Property.ts"
import * as Topic from "../protocol/Topic.ts"
import * as JsonText from "./JsonText.ts"

/** The document is no session: it cannot be read, or what it says cannot be. */
export class InvalidSessionJson extends Schema.TaggedError<InvalidSessionJson>()("InvalidSessionJson", {
  /** 601 for a topic, 600 for everything else. */
  code: Schema.Literals([600, 601]),
  /** Where in the document: `OutgoingMessages[2].State`; "" for the document as a whole. */
  path: Schema.String,
  detail: Schema.String
}) {
  override get message(): string {
    return `Invalid session JSON${this.path === "" ? "" : ` at ${this.path}`}: ${this.detail}`
  }
}

/** A list in the document is longer than a limit allows, and was not looked at. */
export class TooMany extends Schema.TaggedError<TooMany>()("TooMany", {
  limit: Schema.Literals(["subscriptionsPerSessionMax", "receiveMaximum", "queueMessagesMax", "userPropertiesMax"]),
  /** Of the list in the document. */
  path: Schema.String
}) {}

export interface Limits {
  /** Longest document, in characters. */
  readonly charactersMax: number
  readonly topicLevelsMax: number
  readonly subscriptionsPerSessionMax: number
  /** Of the outgoing messages those that wait; as many as there are packet ids may be underway besides. */
  readonly queueMessagesMax: number
  /** Of one message. */
  readonly userPropertiesMax: number
}

/** The largest message number that leaves room to count on. */
const MESSAGE_ID_MAX = 2 ** 52

const Hex = Schema.String.check(
  Schema.makeFilter((text: string) => text.length % 2 === 0 && !/[^0-9A-Fa-f]/.test(text), {
    expected: "an even number of hexadecimal digits"
  })
).pipe(
  Schema.decodeTo(Schema.Uint8Array, {
    decode: SchemaGetter.transform((text: string): Uint8Array => Buffer.from(text, "hex")),
    encode: SchemaGetter.transform((bytes: Uint8Array) =>
      Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("hex")
    )
  })
)

const optional = Schema.optionalKey

/** What a PUBLISH of MQTT 5.0 can say besides; the subscription identifiers have a field of their own. */
const Properties = Schema.Struct({
  PayloadFormatIndicator: optional(Schema.Literals([0, 1])),
  MessageExpiryInterval: optional(Property.integer(0, 0xffff_ffff)),
  ContentType: optional(Property.Text),
  ResponseTopic: optional(Property.Text),
  CorrelationData: optional(
    Hex.check(Schema.makeFilter((bytes) => bytes.length <= 0xffff, { expected: "at most 65,535 bytes" }))
  ),
  UserProperties: optional(Schema.Array(Schema.Tuple([Property.Text, Property.Text])))
})
type Properties = typeof Properties.Type

const SubscriptionJson = Schema.Struct({
  /** The topic filter. */
  Topic: Schema.String,
  /** The granted QoS. */
  QoS: Packet.QoS,
  NoLocal: optional(Schema.Boolean),
  RetainAsPublished: optional(Schema.Boolean),
  RetainHandling: optional(Schema.Literals([0, 1, 2])),
  SubscriptionIdentifier: optional(Property.integer(1, Property.varintMax))
})

const messageFields = {
  MessageId: Property.integer(0, MESSAGE_ID_MAX),
  Topic: Schema.String,
  Payload: Hex,
  QoS: Packet.QoS,
  DUP: Schema.Boolean,
  Retain: Schema.Boolean,
  /** -1 at QoS 0 and before one is allocated. */
  PacketId: Property.integer(-1, 0xffff),
  Properties: optional(Properties),
  /** Milliseconds since the epoch; absent: does not expire. */
  ExpiresAt: optional(Property.integer(1, Number.MAX_SAFE_INTEGER))
}

/** In the sample of the manual an incoming message has the number that an outgoing one has at that point. */
const IncomingState = Schema.Literals([3, 6, 7, 8, 9]).pipe(
  Schema.decodeTo(Schema.Literals([6, 7, 8, 9]), {
    decode: SchemaGetter.transform((state) => (state === 3 ? 8 : state)),
    encode: SchemaGetter.passthroughSupertype()
  })
)

const IncomingJson = Schema.Struct({ ...messageFields, State: IncomingState })

const OutgoingJson = Schema.Struct({
  ...messageFields,
  State: Schema.Literals([1, 2, 3, 4, 5]),
  SubscriptionIdentifiers: optional(Schema.Array(Property.integer(1, Property.varintMax))),
  /** The shared subscription it came by: it goes to another member of it when the session ends. */
  SharedFilter: optional(Schema.String)
})

const WillJson = Schema.Struct({
  Topic: Schema.String,
  Payload: Hex,
  QoS: Packet.QoS,
  Retain: Schema.Boolean,
  /** Seconds from loading to its publication. */
  Delay: Property.integer(0, 0xffff_ffff),
  Properties: optional(Properties)
})

const ClientId = Property.Text.check(Schema.makeFilter((text: string) => text !== "", { expected: "a client id" }))

/** The document. */
export const SessionJson = Schema.Struct({
  ClientId,
  Subscriptions: Schema.Array(SubscriptionJson),
  IncomingMessages: Schema.Array(IncomingJson),
  OutgoingMessages: Schema.Array(OutgoingJson),
  /** Whose session it is; absent: the first client's that comes with the client id. */
  UserName: optional(Property.Text),
  /** Seconds from loading; absent: for ever. */
  SessionExpiryInterval: optional(Property.integer(1, NEVER_EXPIRES)),
  /** A will that waits for its delay. */
  Will: optional(WillJson)
})
export type SessionJson = typeof SessionJson.Type

/** Fields that hold nothing are left out. */
const present = <A extends object>(object: A): { [K in keyof A]: Exclude<A[K], undefined> } =>
  // The cast: the loop has taken out what the type takes out.
  Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined)) as {
    [K in keyof A]: Exclude<A[K], undefined>
  }

const propertiesTo = (properties: Property.Properties | undefined): Properties | undefined => {
  if (properties === undefined) return undefined
  const json = present({
    PayloadFormatIndicator: properties.payloadFormatIndicator,
    MessageExpiryInterval: properties.messageExpiryInterval,
    ContentType: properties.contentType,
    ResponseTopic: properties.responseTopic,
    CorrelationData: properties.correlationData,
    UserProperties: properties.userProperties
  })
  return Object.keys(json).length === 0 ? undefined : json
}

const propertiesFrom = (json: Properties | undefined): Property.Properties | undefined =>
  json === undefined
    ? undefined
    : present({
        payloadFormatIndicator: json.PayloadFormatIndicator,
        messageExpiryInterval: json.MessageExpiryInterval,
        contentType: json.ContentType,
        responseTopic: json.ResponseTopic,
        correlationData: json.CorrelationData,
        userProperties: json.UserProperties
      })

const subscriptionTo = (subscription: Subscription): (typeof SubscriptionJson)["Type"] =>
  present({
    Topic: subscription.filter,
    QoS: subscription.qos,
    NoLocal: subscription.noLocal || undefined,
    RetainAsPublished: subscription.retainAsPublished || undefined,
    RetainHandling: subscription.retainHandling === 0 ? undefined : subscription.retainHandling,
    SubscriptionIdentifier: subscription.subscriptionIdentifier || undefined
  })

const messageTo = (image: MessageImage) =>
  ({
    MessageId: image.messageId,
    Topic: image.topic,
    Payload: image.payload,
    QoS: image.qos,
    DUP: image.dup,
    Retain: image.retain,
    PacketId: image.packetId === 0 ? -1 : image.packetId
  }) as const

const extrasTo = (image: MessageImage) => ({
  Properties: propertiesTo(image.properties),
  ExpiresAt: image.expiresAt === 0 ? undefined : image.expiresAt
})

const willTo = ({ delaySeconds, payload, properties, qos, retain, topic }: WillImage): (typeof WillJson)["Type"] =>
  present({
    Topic: topic,
    Payload: payload,
    QoS: qos,
    Retain: retain,
    Delay: delaySeconds,
    Properties: propertiesTo(properties)
  })

const fromImage = (image: SessionImage): SessionJson =>
  present({
    ClientId: image.clientId,
    Subscriptions: image.subscriptions.map(subscriptionTo),
    IncomingMessages: image.incoming.map((one) => present({ ...messageTo(one), State: one.state, ...extrasTo(one) })),
    OutgoingMessages: image.outgoing.map((one) =>
      present({
        ...messageTo(one),
        State: one.state,
        ...extrasTo(one),
        SubscriptionIdentifiers: one.subscriptionIdentifiers,
        SharedFilter: one.sharedFilter
      })
    ),
    UserName: image.userName === "" ? undefined : image.userName,
    // A session that ends with its connection has none to end with where it is loaded.
    SessionExpiryInterval:
      image.expirySeconds === 0 || image.expirySeconds === NEVER_EXPIRES ? undefined : image.expirySeconds,
    Will: image.will === undefined ? undefined : willTo(image.will)
  })

const messageFrom = (json: (typeof IncomingJson | typeof OutgoingJson)["Type"], now: number): MessageImage => {
  const properties = propertiesFrom(json.Properties)
  const lifeMillis = (properties?.messageExpiryInterval ?? 0) * 1_000
  const expiresAt = json.ExpiresAt ?? (properties?.messageExpiryInterval === undefined ? 0 : now + lifeMillis)
  return {
    messageId: json.MessageId,
    topic: json.Topic,
    payload: json.Payload,
    qos: json.QoS,
    dup: json.DUP,
    retain: json.Retain,
    packetId: Math.max(json.PacketId, 0),
    properties,
    // What a receiver is told of its remaining life is counted from here.
    receivedAt: expiresAt === 0 ? now : Math.max(0, expiresAt - lifeMillis),
    expiresAt
  }
}

/** A message at QoS 1 whose PUBACK is not sent is no part of a session: its client sends it again. */
const isKept = (json: (typeof IncomingJson)["Type"]): boolean => json.State !== 6

const toImage = (json: SessionJson, now: number): SessionImage => ({
  clientId: json.ClientId,
  userName: json.UserName,
  expirySeconds: json.SessionExpiryInterval ?? NEVER_EXPIRES,
  subscriptions: json.Subscriptions.map((one) => ({
    filter: one.Topic,
    qos: one.QoS,
    noLocal: one.NoLocal ?? false,
    retainAsPublished: one.RetainAsPublished ?? false,
    retainHandling: one.RetainHandling ?? 0,
    subscriptionIdentifier: one.SubscriptionIdentifier ?? 0
  })),
  incoming: json.IncomingMessages.filter(isKept).map((one) => ({
    ...messageFrom(one, now),
    state: one.State as IncomingImage["state"] // 6 has just been left out
  })),
  outgoing: json.OutgoingMessages.map((one): OutgoingImage => {
    const { SharedFilter: sharedFilter, State: state, SubscriptionIdentifiers: subscriptionIdentifiers } = one
    return { ...messageFrom(one, now), state, subscriptionIdentifiers, sharedFilter }
  }),
  will:
    json.Will === undefined
      ? undefined
      : {
          topic: json.Will.Topic,
          payload: json.Will.Payload,
          qos: json.Will.QoS,
          retain: json.Will.Retain,
          properties: propertiesFrom(json.Will.Properties),
          delaySeconds: json.Will.Delay
        }
})

const fault = (path: string, detail: string, code: 600 | 601 = 600): InvalidSessionJson =>
  new InvalidSessionJson({ code, path, detail })

const format = SchemaIssue.makeFormatterStandardSchemaV1()

const fromIssue = (issue: SchemaIssue.Issue): InvalidSessionJson => {
  const [first] = format(issue).issues
  const path = (first?.path ?? []).map((segment) => (typeof segment === "object" ? segment.key : segment))
  return fault(JsonText.describePath(path), first?.message ?? "it is not a session")
}

const QOS_OF_STATE: Readonly<Record<number, 1 | 2>> = { 2: 1, 3: 2, 4: 2, 5: 2, 6: 1, 7: 2, 8: 2, 9: 2 }

type MessageJson = (typeof IncomingJson | typeof OutgoingJson)["Type"]

/** What a topic is in the document: 601 when MQTT does not allow it. */
const topicFault = (path: string, topic: string | undefined, levelsMax: number): InvalidSessionJson | undefined => {
  const wrong = topic === undefined ? undefined : Topic.validateName(topic, levelsMax)
  return wrong === undefined ? undefined : fault(path, wrong.message, 601)
}

/** What would not fit into a packet, or is not for clients to publish. */
const contentFault = (
  path: string,
  json: Pick<MessageJson, "Topic" | "Payload" | "QoS" | "Retain" | "Properties">,
  fromClient: boolean,
  levelsMax: number
): InvalidSessionJson | undefined => {
  const { Payload: payload, Properties, QoS: qos, Retain: retain, Topic: topic } = json
  const wrong =
    topicFault(`${path}.Topic`, topic, levelsMax) ??
    topicFault(`${path}.Properties.ResponseTopic`, Properties?.ResponseTopic, levelsMax)
  if (wrong !== undefined) return wrong
  if (fromClient && Topic.isReserved(topic)) return fault(`${path}.Topic`, "Only the server publishes to $SYS.")
  const properties = propertiesFrom(Properties)
  const packet = { _tag: "Publish", topic, payload, qos, retain, dup: false, packetId: 1, properties } as const
  const fits = PacketLength.byteLength(packet, 5) <= Property.varintMax
  return fits ? undefined : fault(path, "The message is larger than a packet can be.")
}

/** What a message says that does not go together; each packet id stands for one exchange of its direction. */
const exchangeFault = (path: string, json: MessageJson, packetIds: Set<number>): InvalidSessionJson | undefined => {
  const { PacketId, QoS, State } = json
  if (State === 1) {
    return PacketId > 0 ? fault(`${path}.PacketId`, "A message that waits to be sent has none yet: -1.") : undefined
  }
  if (QOS_OF_STATE[State] !== QoS) return fault(`${path}.QoS`, `A message in state ${State} has another QoS.`)
  if (PacketId < 1) return fault(`${path}.PacketId`, `A message in state ${State} has one, from 1 to 65535.`)
  if (packetIds.has(PacketId)) return fault(`${path}.PacketId`, `Another message has ${PacketId} already.`)
  packetIds.add(PacketId)
  return undefined
}

const sharedFault = (path: string, json: MessageJson, levelsMax: number): InvalidSessionJson | undefined => {
  if (!("SharedFilter" in json) || json.SharedFilter === undefined) return undefined
  const wrong = Topic.validateFilter(json.SharedFilter, levelsMax)
  if (wrong !== undefined) return fault(`${path}.SharedFilter`, wrong.message, 601)
  const shared = Topic.parseShared(json.SharedFilter)
  if (shared !== undefined && Topic.matches(shared.filter, json.Topic)) return undefined
  return fault(`${path}.SharedFilter`, "It is no shared subscription that the topic matches.")
}

const subscriptionsFault = (json: SessionJson, levelsMax: number): InvalidSessionJson | undefined => {
  const filters = new Set<string>()
  for (const [at, { NoLocal, Topic: filter }] of json.Subscriptions.entries()) {
    const path = `Subscriptions[${at}]`
    const wrong = Topic.validateFilter(filter, levelsMax)
    if (wrong !== undefined) return fault(`${path}.Topic`, wrong.message, 601)
    if (filters.has(filter)) return fault(`${path}.Topic`, "There is another subscription to that filter.")
    if (NoLocal === true && Topic.parseShared(filter) !== undefined) {
      return fault(`${path}.NoLocal`, "A shared subscription does not have it [MQTT-3.8.3-4].")
    }
    filters.add(filter)
  }
  return undefined
}

/** What the Schema cannot say; undefined: nothing is wrong. */
const faultOf = (json: SessionJson, levelsMax: number): InvalidSessionJson | undefined => {
  const wrong = subscriptionsFault(json, levelsMax)
  if (wrong !== undefined) return wrong
  for (const list of ["IncomingMessages", "OutgoingMessages"] as const) {
    const packetIds = new Set<number>()
    for (const [at, message] of json[list].entries()) {
      const path = `${list}[${at}]`
      const found =
        contentFault(path, message, list === "IncomingMessages", levelsMax) ??
        exchangeFault(path, message, packetIds) ??
        sharedFault(path, message, levelsMax)
      if (found !== undefined) return found
    }
  }
  return json.Will === undefined ? undefined : contentFault("Will", json.Will, true, levelsMax)
}

const PACKET_IDS = 65_535

const fieldOf = (value: unknown, name: string): unknown =>
  typeof value === "object" && value !== null && Object.hasOwn(value, name)
    ? (value as Record<string, unknown>)[name] // it has just been looked up
    : undefined

const lengthOf = (value: unknown): number => (Array.isArray(value) ? value.length : 0)

/** Lists that are too long, found before each of their elements is looked at; undefined: none is. */
const excessOf = (document: unknown, limits: Limits): TooMany | undefined => {
  const tooManyProperties = (message: unknown, path: string): TooMany | undefined =>
    lengthOf(fieldOf(fieldOf(message, "Properties"), "UserProperties")) > limits.userPropertiesMax
      ? new TooMany({ limit: "userPropertiesMax", path: `${path}.Properties.UserProperties` })
      : undefined
  for (const [path, limit, most] of [
    ["Subscriptions", "subscriptionsPerSessionMax", limits.subscriptionsPerSessionMax],
    ["IncomingMessages", "receiveMaximum", PACKET_IDS],
    ["OutgoingMessages", "queueMessagesMax", PACKET_IDS + limits.queueMessagesMax]
  ] as const) {
    const list: unknown = fieldOf(document, path)
    if (lengthOf(list) > most) return new TooMany({ limit, path })
    if (!Array.isArray(list)) continue
    for (const [at, message] of list.entries()) {
      const found = tooManyProperties(message, `${path}[${at}]`)
      if (found !== undefined) return found
    }
  }
  return tooManyProperties(fieldOf(document, "Will"), "Will")
}

const decodeDocument = Schema.decodeUnknownEffect(SessionJson)
const encodeDocument = Schema.encodeEffect(SessionJson)

export const tooLong = (charactersMax: number): InvalidSessionJson =>
  fault("", `The document has more than ${charactersMax} characters (sessionJsonCharactersMax).`)

/** A session of messages without payloads has one in a hundred characters, and most have fewer. */
const CHARACTERS_PER_NEST = 160

/** Most objects and lists of a document: with the default length it takes less than a second, whatever is in it. */
const nestsMaxOf = ({ charactersMax }: Pick<Limits, "charactersMax">): number =>
  Math.max(JsonText.NESTS_MAX, Math.floor(charactersMax / CHARACTERS_PER_NEST))

const tooRich = (nestsMax: number): InvalidSessionJson =>
  fault(
    "",
    `The session has more than ${nestsMax} messages, subscriptions and user properties. Raise sessionJsonCharactersMax.`
  )

/** At least as many objects and lists as the document of a session has. */
const partsOf = ({ incoming, outgoing, subscriptions, will }: SessionImage): number => {
  let parts = 8 + subscriptions.length
  for (const { properties } of [...incoming, ...outgoing, ...(will === undefined ? [] : [will])]) {
    parts += properties === undefined ? 1 : 4 + (properties.userProperties?.length ?? 0)
  }
  return parts
}

/** Reads a document. The whole of it is good, or nothing is. Takes time in proportion to its length. */
export const decode: (
  text: string,
  limits: Limits,
  now: number
) => Effect.Effect<SessionImage, InvalidSessionJson | TooMany> = Effect.fnUntraced(function* (text, limits, now) {
  // A program without types may give anything.
  if (typeof text !== "string") return yield* fault("", "The document must be a text.")
  if (text.length > limits.charactersMax) return yield* tooLong(limits.charactersMax)
  const parsed = JsonText.parse(text, nestsMaxOf(limits))
  if (Result.isFailure(parsed)) return yield* fault(parsed.failure.path, parsed.failure.detail)
  const excess = excessOf(parsed.success, limits)
  if (excess !== undefined) return yield* excess
  const json = yield* decodeDocument(parsed.success, { onExcessProperty: "error" }).pipe(
    Effect.mapError((error) => fromIssue(error.issue))
  )
  const found = faultOf(json, limits.topicLevelsMax)
  return found === undefined ? toImage(json, now) : yield* found
})

/** Writes a document that `decode` reads back. Fails when it would be too long for that. */
export const encode: (
  image: SessionImage,
  limits: Pick<Limits, "charactersMax">
) => Effect.Effect<string, InvalidSessionJson> = Effect.fnUntraced(function* (image, { charactersMax }) {
  const nestsMax = nestsMaxOf({ charactersMax })
  if (partsOf(image) > nestsMax) return yield* tooRich(nestsMax)
  // Looked at before it is made: a string has a limit too.
  const payloads = [...image.incoming, ...image.outgoing].reduce((sum, { payload }) => sum + 2 * payload.length, 0)
  const text =
    payloads > charactersMax ? undefined : JSON.stringify(yield* Effect.orDie(encodeDocument(fromImage(image))))
  return text === undefined || text.length > charactersMax ? yield* tooLong(charactersMax) : text
})
