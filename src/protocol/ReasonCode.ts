/**
 * The reason codes of MQTT 5.0 in one table: number, name, text, and the packets that may carry each.
 *
 * A literal union per packet is derived from the table, and so is the check the decoder makes. The mapping to and
 * from the return codes of 3.1 and 3.1.1 is here too: everywhere else a packet speaks 5.0. Which code fits which
 * situation is decided by whoever sends it.
 */

export const Success = 0x00
export const NormalDisconnection = 0x00
export const GrantedQoS0 = 0x00
export const GrantedQoS1 = 0x01
export const GrantedQoS2 = 0x02
export const DisconnectWithWill = 0x04
export const NoMatchingSubscribers = 0x10
export const NoSubscriptionExisted = 0x11
export const ContinueAuthentication = 0x18
export const ReAuthenticate = 0x19
export const UnspecifiedError = 0x80
export const MalformedPacket = 0x81
export const ProtocolError = 0x82
export const ImplementationSpecificError = 0x83
export const UnsupportedProtocolVersion = 0x84
export const ClientIdentifierNotValid = 0x85
export const BadUserNameOrPassword = 0x86
export const NotAuthorized = 0x87
export const ServerUnavailable = 0x88
export const ServerBusy = 0x89
export const Banned = 0x8a
export const ServerShuttingDown = 0x8b
export const BadAuthenticationMethod = 0x8c
export const KeepAliveTimeout = 0x8d
export const SessionTakenOver = 0x8e
export const TopicFilterInvalid = 0x8f
export const TopicNameInvalid = 0x90
export const PacketIdentifierInUse = 0x91
export const PacketIdentifierNotFound = 0x92
export const ReceiveMaximumExceeded = 0x93
export const TopicAliasInvalid = 0x94
export const PacketTooLarge = 0x95
export const MessageRateTooHigh = 0x96
export const QuotaExceeded = 0x97
export const AdministrativeAction = 0x98
export const PayloadFormatInvalid = 0x99
export const RetainNotSupported = 0x9a
export const QoSNotSupported = 0x9b
export const UseAnotherServer = 0x9c
export const ServerMoved = 0x9d
export const SharedSubscriptionsNotSupported = 0x9e
export const ConnectionRateExceeded = 0x9f
export const MaximumConnectTime = 0xa0
export const SubscriptionIdentifiersNotSupported = 0xa1
export const WildcardSubscriptionsNotSupported = 0xa2

/** The packets that carry a reason code. */
export type Carrier =
  | "ConnAck"
  | "PubAck"
  | "PubRec"
  | "PubRel"
  | "PubComp"
  | "SubAck"
  | "UnsubAck"
  | "Disconnect"
  | "Auth"

interface Row {
  readonly code: number
  readonly name: string
  readonly text: string
  /** Packets that carry it whoever sends them. */
  readonly packets?: ReadonlyArray<Carrier>
  /** Packets that carry it only when a client sends them. */
  readonly client?: ReadonlyArray<Carrier>
  /** Packets that carry it only when a server sends them. */
  readonly server?: ReadonlyArray<Carrier>
}

/**
 * In the order of their numbers.
 *
 * The standard contradicts itself about 0x89, 0x8C and 0x9B in DISCONNECT (one table lists them, another does not or
 * gives them to the server only while the text lets a client send them), so both sides may send them.
 */
export const table = [
  {
    code: Success,
    name: "Success",
    text: "success",
    packets: ["ConnAck", "PubAck", "PubRec", "PubRel", "PubComp", "SubAck", "UnsubAck", "Disconnect"],
    server: ["Auth"]
  },
  { code: GrantedQoS1, name: "GrantedQoS1", text: "granted QoS 1", packets: ["SubAck"] },
  { code: GrantedQoS2, name: "GrantedQoS2", text: "granted QoS 2", packets: ["SubAck"] },
  {
    code: DisconnectWithWill,
    name: "DisconnectWithWill",
    text: "disconnect with will message",
    client: ["Disconnect"]
  },
  {
    code: NoMatchingSubscribers,
    name: "NoMatchingSubscribers",
    text: "no matching subscribers",
    packets: ["PubAck", "PubRec"]
  },
  {
    code: NoSubscriptionExisted,
    name: "NoSubscriptionExisted",
    text: "no subscription existed",
    packets: ["UnsubAck"]
  },
  { code: ContinueAuthentication, name: "ContinueAuthentication", text: "continue authentication", packets: ["Auth"] },
  { code: ReAuthenticate, name: "ReAuthenticate", text: "re-authenticate", client: ["Auth"] },
  {
    code: UnspecifiedError,
    name: "UnspecifiedError",
    text: "unspecified error",
    packets: ["ConnAck", "PubAck", "PubRec", "SubAck", "UnsubAck", "Disconnect"]
  },
  { code: MalformedPacket, name: "MalformedPacket", text: "malformed packet", packets: ["ConnAck", "Disconnect"] },
  { code: ProtocolError, name: "ProtocolError", text: "protocol error", packets: ["ConnAck", "Disconnect"] },
  {
    code: ImplementationSpecificError,
    name: "ImplementationSpecificError",
    text: "implementation specific error",
    packets: ["ConnAck", "PubAck", "PubRec", "SubAck", "UnsubAck", "Disconnect"]
  },
  {
    code: UnsupportedProtocolVersion,
    name: "UnsupportedProtocolVersion",
    text: "unsupported protocol version",
    packets: ["ConnAck"]
  },
  {
    code: ClientIdentifierNotValid,
    name: "ClientIdentifierNotValid",
    text: "client identifier not valid",
    packets: ["ConnAck"]
  },
  {
    code: BadUserNameOrPassword,
    name: "BadUserNameOrPassword",
    text: "bad user name or password",
    packets: ["ConnAck"]
  },
  {
    code: NotAuthorized,
    name: "NotAuthorized",
    text: "not authorized",
    packets: ["ConnAck", "PubAck", "PubRec", "SubAck", "UnsubAck"],
    server: ["Disconnect"]
  },
  { code: ServerUnavailable, name: "ServerUnavailable", text: "server unavailable", packets: ["ConnAck"] },
  { code: ServerBusy, name: "ServerBusy", text: "server busy", packets: ["ConnAck", "Disconnect"] },
  { code: Banned, name: "Banned", text: "banned", packets: ["ConnAck"] },
  { code: ServerShuttingDown, name: "ServerShuttingDown", text: "server shutting down", server: ["Disconnect"] },
  {
    code: BadAuthenticationMethod,
    name: "BadAuthenticationMethod",
    text: "bad authentication method",
    packets: ["ConnAck", "Disconnect"]
  },
  { code: KeepAliveTimeout, name: "KeepAliveTimeout", text: "keep alive timeout", server: ["Disconnect"] },
  { code: SessionTakenOver, name: "SessionTakenOver", text: "session taken over", server: ["Disconnect"] },
  {
    code: TopicFilterInvalid,
    name: "TopicFilterInvalid",
    text: "topic filter invalid",
    packets: ["SubAck", "UnsubAck"],
    server: ["Disconnect"]
  },
  {
    code: TopicNameInvalid,
    name: "TopicNameInvalid",
    text: "topic name invalid",
    packets: ["ConnAck", "PubAck", "PubRec", "Disconnect"]
  },
  {
    code: PacketIdentifierInUse,
    name: "PacketIdentifierInUse",
    text: "packet identifier in use",
    packets: ["PubAck", "PubRec", "SubAck", "UnsubAck"]
  },
  {
    code: PacketIdentifierNotFound,
    name: "PacketIdentifierNotFound",
    text: "packet identifier not found",
    packets: ["PubRel", "PubComp"]
  },
  {
    code: ReceiveMaximumExceeded,
    name: "ReceiveMaximumExceeded",
    text: "receive maximum exceeded",
    packets: ["Disconnect"]
  },
  { code: TopicAliasInvalid, name: "TopicAliasInvalid", text: "topic alias invalid", packets: ["Disconnect"] },
  { code: PacketTooLarge, name: "PacketTooLarge", text: "packet too large", packets: ["ConnAck", "Disconnect"] },
  { code: MessageRateTooHigh, name: "MessageRateTooHigh", text: "message rate too high", packets: ["Disconnect"] },
  {
    code: QuotaExceeded,
    name: "QuotaExceeded",
    text: "quota exceeded",
    packets: ["ConnAck", "PubAck", "PubRec", "SubAck", "Disconnect"]
  },
  { code: AdministrativeAction, name: "AdministrativeAction", text: "administrative action", packets: ["Disconnect"] },
  {
    code: PayloadFormatInvalid,
    name: "PayloadFormatInvalid",
    text: "payload format invalid",
    packets: ["ConnAck", "PubAck", "PubRec", "Disconnect"]
  },
  {
    code: RetainNotSupported,
    name: "RetainNotSupported",
    text: "retain not supported",
    packets: ["ConnAck"],
    server: ["Disconnect"]
  },
  { code: QoSNotSupported, name: "QoSNotSupported", text: "QoS not supported", packets: ["ConnAck", "Disconnect"] },
  {
    code: UseAnotherServer,
    name: "UseAnotherServer",
    text: "use another server",
    packets: ["ConnAck"],
    server: ["Disconnect"]
  },
  { code: ServerMoved, name: "ServerMoved", text: "server moved", packets: ["ConnAck"], server: ["Disconnect"] },
  {
    code: SharedSubscriptionsNotSupported,
    name: "SharedSubscriptionsNotSupported",
    text: "shared subscriptions not supported",
    packets: ["SubAck"],
    server: ["Disconnect"]
  },
  {
    code: ConnectionRateExceeded,
    name: "ConnectionRateExceeded",
    text: "connection rate exceeded",
    packets: ["ConnAck"],
    server: ["Disconnect"]
  },
  { code: MaximumConnectTime, name: "MaximumConnectTime", text: "maximum connect time", server: ["Disconnect"] },
  {
    code: SubscriptionIdentifiersNotSupported,
    name: "SubscriptionIdentifiersNotSupported",
    text: "subscription identifiers not supported",
    packets: ["SubAck"],
    server: ["Disconnect"]
  },
  {
    code: WildcardSubscriptionsNotSupported,
    name: "WildcardSubscriptionsNotSupported",
    text: "wildcard subscriptions not supported",
    packets: ["SubAck"],
    server: ["Disconnect"]
  }
] as const satisfies ReadonlyArray<Row>

type TableRow = (typeof table)[number]

type PacketsOf<R> =
  | (R extends { readonly packets: ReadonlyArray<infer C> } ? C : never)
  | (R extends { readonly client: ReadonlyArray<infer C> } ? C : never)
  | (R extends { readonly server: ReadonlyArray<infer C> } ? C : never)

/** The codes a packet may carry, from either side. */
export type Of<C extends Carrier> = {
  [K in TableRow["code"]]: C extends PacketsOf<Extract<TableRow, { readonly code: K }>> ? K : never
}[TableRow["code"]]

export type ReasonCode = TableRow["code"]
export type ConnAckReasonCode = Of<"ConnAck">
export type PubAckReasonCode = Of<"PubAck">
export type PubRecReasonCode = Of<"PubRec">
export type PubRelReasonCode = Of<"PubRel">
export type PubCompReasonCode = Of<"PubComp">
export type SubAckReasonCode = Of<"SubAck">
export type UnsubAckReasonCode = Of<"UnsubAck">
export type DisconnectReasonCode = Of<"Disconnect">
export type AuthReasonCode = Of<"Auth">

/** The return codes of CONNACK in 3.1 and 3.1.1. */
export type ConnAckReturnCode = 0 | 1 | 2 | 3 | 4 | 5

const rows: ReadonlyArray<Row> = table

const codesOf = (carrier: Carrier, sides: ReadonlyArray<"packets" | "client" | "server">): ReadonlyArray<number> =>
  rows.filter((row) => sides.some((side) => row[side]?.includes(carrier))).map((row) => row.code)

/** The codes a packet may carry, in the order of their numbers. */
export const codes = <C extends Carrier>(carrier: C): ReadonlyArray<Of<C>> =>
  // Filtered from the same table that Of is computed from, which the compiler cannot follow through filter.
  codesOf(carrier, ["packets", "client", "server"]) as ReadonlyArray<Of<C>>

const setOf = (codes: ReadonlyArray<number>): Uint8Array => {
  const set = new Uint8Array(256)
  for (const code of codes) set[code] = 1
  return set
}

const setsOf = (sender: "client" | "server"): { readonly [C in Carrier]: Uint8Array } => ({
  ConnAck: setOf(codesOf("ConnAck", ["packets", sender])),
  PubAck: setOf(codesOf("PubAck", ["packets", sender])),
  PubRec: setOf(codesOf("PubRec", ["packets", sender])),
  PubRel: setOf(codesOf("PubRel", ["packets", sender])),
  PubComp: setOf(codesOf("PubComp", ["packets", sender])),
  SubAck: setOf(codesOf("SubAck", ["packets", sender])),
  UnsubAck: setOf(codesOf("UnsubAck", ["packets", sender])),
  Disconnect: setOf(codesOf("Disconnect", ["packets", sender])),
  Auth: setOf(codesOf("Auth", ["packets", sender]))
})

const allowed = { client: setsOf("client"), server: setsOf("server") }

/** Whether a packet from that side may carry the code. */
export const isAllowed = <C extends Carrier>(carrier: C, sender: "client" | "server", code: number): code is Of<C> =>
  allowed[sender][carrier][code] === 1

/** Whether the code refuses or ends something: 0x80 and above. */
export const isFailure = (code: number): boolean => code >= UnspecifiedError

const texts = new Map<number, string>(rows.map((row) => [row.code, row.text]))

/** The code in words with its number, for people: `not authorized (0x87)`. */
export const describe = (code: number): string =>
  `${texts.get(code) ?? "unknown reason code"} (0x${code.toString(16).toUpperCase().padStart(2, "0")})`

/**
 * What a 3.1 or 3.1.1 client is told instead of a 5.0 CONNACK reason code.
 *
 * Five return codes stand for twenty-one reasons; what has no nearer relative becomes 3, server unavailable.
 */
export const toConnAckReturnCode = (code: ConnAckReasonCode): ConnAckReturnCode => {
  switch (code) {
    case Success:
      return 0
    case UnsupportedProtocolVersion:
      return 1
    case ClientIdentifierNotValid:
      return 2
    case BadUserNameOrPassword:
    case BadAuthenticationMethod:
      return 4
    case NotAuthorized:
    case Banned:
      return 5
    default:
      return 3
  }
}

const fromReturnCode: ReadonlyArray<ConnAckReasonCode> = [
  Success,
  UnsupportedProtocolVersion,
  ClientIdentifierNotValid,
  ServerUnavailable,
  BadUserNameOrPassword,
  NotAuthorized
]

/** The 5.0 reason code of a 3.1 or 3.1.1 return code; `undefined` for a number that those versions reserve. */
export const fromConnAckReturnCode = (returnCode: number): ConnAckReasonCode | undefined => fromReturnCode[returnCode]

/** What a 3.1 or 3.1.1 client is told in SUBACK: the granted QoS, or 0x80 for every failure. */
export const toSubAckReturnCode = (code: SubAckReasonCode): 0 | 1 | 2 | 0x80 =>
  code === GrantedQoS0 || code === GrantedQoS1 || code === GrantedQoS2 ? code : UnspecifiedError
