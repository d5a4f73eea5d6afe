/**
 * The 27 properties of MQTT 5.0 in one table: id, name, wire type, where each may appear and where it may repeat.
 *
 * The TypeScript type of every packet's properties, their Schema (`Property`), and the lookups that the property
 * decoder and encoder use are all derived from this table. What a property means, and its default, belong to whoever
 * reads it; bytes belong to `PropertyDecoder` and `PropertyEncoder`.
 *
 * Apart from `Property`, so that the decoder and the encoder do not load Schema.
 */

/** Where properties travel: a packet, or the will inside CONNECT. */
export type Carrier =
  | "Connect"
  | "Will"
  | "ConnAck"
  | "Publish"
  | "PubAck"
  | "PubRec"
  | "PubRel"
  | "PubComp"
  | "Subscribe"
  | "SubAck"
  | "Unsubscribe"
  | "UnsubAck"
  | "Disconnect"
  | "Auth"

export const carriers: ReadonlyArray<Carrier> = [
  "Connect",
  "Will",
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
  "Disconnect",
  "Auth"
]

/** The value each wire type has in a properties object. `bit` and `boolean` are both one byte that must be 0 or 1. */
export interface WireTypes {
  readonly bit: 0 | 1
  readonly boolean: boolean
  readonly uint16: number
  readonly uint32: number
  /** Variable byte integers: only the subscription identifiers, which are always a list. */
  readonly varint: ReadonlyArray<number>
  readonly text: string
  readonly binary: Uint8Array
  /** Pairs of strings: only the user properties, which are always a list, in the order they travelled in. */
  readonly pair: ReadonlyArray<readonly [string, string]>
}

export type Wire = keyof WireTypes

interface Row {
  readonly id: number
  readonly wire: Wire
  readonly carriers: ReadonlyArray<Carrier>
  /** Where it may appear more than once; everywhere else a second one is a protocol error. */
  readonly repeatable: ReadonlyArray<Carrier>
  /** Smallest legal number, where that is not 0. */
  readonly minimum?: number
}

const acknowledgements = ["PubAck", "PubRec", "PubRel", "PubComp", "SubAck", "UnsubAck"] as const

/** In the order of their ids. */
export const table = {
  payloadFormatIndicator: { id: 0x01, wire: "bit", carriers: ["Publish", "Will"], repeatable: [] },
  /** Seconds. */
  messageExpiryInterval: { id: 0x02, wire: "uint32", carriers: ["Publish", "Will"], repeatable: [] },
  contentType: { id: 0x03, wire: "text", carriers: ["Publish", "Will"], repeatable: [] },
  responseTopic: { id: 0x08, wire: "text", carriers: ["Publish", "Will"], repeatable: [] },
  correlationData: { id: 0x09, wire: "binary", carriers: ["Publish", "Will"], repeatable: [] },
  subscriptionIdentifiers: {
    id: 0x0b,
    wire: "varint",
    carriers: ["Publish", "Subscribe"],
    repeatable: ["Publish"],
    minimum: 1
  },
  /** Seconds; 0xFFFFFFFF never expires. */
  sessionExpiryInterval: { id: 0x11, wire: "uint32", carriers: ["Connect", "ConnAck", "Disconnect"], repeatable: [] },
  assignedClientIdentifier: { id: 0x12, wire: "text", carriers: ["ConnAck"], repeatable: [] },
  /** Seconds. */
  serverKeepAlive: { id: 0x13, wire: "uint16", carriers: ["ConnAck"], repeatable: [] },
  authenticationMethod: { id: 0x15, wire: "text", carriers: ["Connect", "ConnAck", "Auth"], repeatable: [] },
  authenticationData: { id: 0x16, wire: "binary", carriers: ["Connect", "ConnAck", "Auth"], repeatable: [] },
  requestProblemInformation: { id: 0x17, wire: "boolean", carriers: ["Connect"], repeatable: [] },
  /** Seconds. */
  willDelayInterval: { id: 0x18, wire: "uint32", carriers: ["Will"], repeatable: [] },
  requestResponseInformation: { id: 0x19, wire: "boolean", carriers: ["Connect"], repeatable: [] },
  responseInformation: { id: 0x1a, wire: "text", carriers: ["ConnAck"], repeatable: [] },
  serverReference: { id: 0x1c, wire: "text", carriers: ["ConnAck", "Disconnect"], repeatable: [] },
  reasonString: {
    id: 0x1f,
    wire: "text",
    carriers: ["ConnAck", ...acknowledgements, "Disconnect", "Auth"],
    repeatable: []
  },
  receiveMaximum: { id: 0x21, wire: "uint16", carriers: ["Connect", "ConnAck"], repeatable: [], minimum: 1 },
  topicAliasMaximum: { id: 0x22, wire: "uint16", carriers: ["Connect", "ConnAck"], repeatable: [] },
  topicAlias: { id: 0x23, wire: "uint16", carriers: ["Publish"], repeatable: [], minimum: 1 },
  maximumQoS: { id: 0x24, wire: "bit", carriers: ["ConnAck"], repeatable: [] },
  retainAvailable: { id: 0x25, wire: "boolean", carriers: ["ConnAck"], repeatable: [] },
  userProperties: {
    id: 0x26,
    wire: "pair",
    carriers: [
      "Connect",
      "Will",
      "ConnAck",
      "Publish",
      ...acknowledgements,
      "Subscribe",
      "Unsubscribe",
      "Disconnect",
      "Auth"
    ],
    repeatable: carriers
  },
  /** Bytes of a whole packet, fixed header included. */
  maximumPacketSize: { id: 0x27, wire: "uint32", carriers: ["Connect", "ConnAck"], repeatable: [], minimum: 1 },
  wildcardSubscriptionAvailable: { id: 0x28, wire: "boolean", carriers: ["ConnAck"], repeatable: [] },
  subscriptionIdentifiersAvailable: { id: 0x29, wire: "boolean", carriers: ["ConnAck"], repeatable: [] },
  sharedSubscriptionAvailable: { id: 0x2a, wire: "boolean", carriers: ["ConnAck"], repeatable: [] }
} as const satisfies Record<string, Row>

type Table = typeof table

export type Name = keyof Table

export type Value<N extends Name> = WireTypes[Table[N]["wire"]]

/** The names that may appear in a carrier. */
export type NameOf<C extends Carrier> = {
  [N in Name]: C extends Table[N]["carriers"][number] ? N : never
}[Name]

type AllProperties = { readonly [N in Name]?: Value<N> | undefined }

/** Every property, each optional: what a function takes that does not care which packet it looks at. */
export interface Properties extends AllProperties {}

/** The properties that may appear in a carrier. */
export type Of<C extends Carrier> = Pick<AllProperties, NameOf<C>>

/** One row of the table in the form the codec wants: one bit per property and per carrier. */
export interface Definition {
  readonly name: Name
  readonly id: number
  readonly wire: Wire
  readonly minimum: number
  /** This property's own bit, for the set of properties already seen in a packet. */
  readonly bit: number
  /** A bit for each carrier that it may appear in: see `carrierBit`. */
  readonly carriers: number
  readonly repeatable: number
}

/** The bit that stands for a carrier in `Definition.carriers` and `Definition.repeatable`. */
export const carrierBit = (carrier: Carrier): number => 1 << carriers.indexOf(carrier)

const bitsOf = (list: ReadonlyArray<Carrier>): number => list.reduce((bits, carrier) => bits | carrierBit(carrier), 0)

const names = Object.keys(table) as ReadonlyArray<Name> // the table is a literal: it has no other keys

export const definitions: ReadonlyArray<Definition> = names.map((name, index) => {
  const row: Row = table[name]
  return {
    name,
    id: row.id,
    wire: row.wire,
    minimum: row.minimum ?? 0,
    bit: 1 << index,
    carriers: bitsOf(row.carriers),
    repeatable: bitsOf(row.repeatable)
  }
})

/** The definitions by id; `undefined` where no property has that id. */
export const definitionById: ReadonlyArray<Definition | undefined> = Array.from({ length: 0x80 }, (_, id) =>
  definitions.find((definition) => definition.id === id)
)

/** The definitions that may appear in a carrier, in the order of their ids. */
export const definitionsOf = (carrier: Carrier): ReadonlyArray<Definition> =>
  definitions.filter((definition) => (definition.carriers & carrierBit(carrier)) !== 0)
