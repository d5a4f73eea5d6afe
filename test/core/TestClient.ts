/**
 * One client of a `CoreHarness`: real packets out, decoded packets in, and a socket whose buffer the test controls.
 */
import type { ServerConnection } from "../../src/core/ServerConnection.ts"
import { DecodedPublish, Decoder } from "../../src/protocol/Decoder.ts"
import * as Encoder from "../../src/protocol/Encoder.ts"
import type { Connect, Packet, Publish, Subscription, Will } from "../../src/protocol/Packet.ts"
import type { CoreHarness } from "./CoreHarness.ts"

export interface ConnectOptions {
  readonly version?: 3 | 4 | 5 | undefined
  /** Default true. */
  readonly clean?: boolean | undefined
  /** Session expiry interval in seconds; 5.0 only. */
  readonly expiry?: number | undefined
  readonly keepAliveSeconds?: number | undefined
  readonly userName?: string | undefined
  readonly password?: Uint8Array | undefined
  readonly will?: Will | undefined
  readonly properties?: Connect["properties"]
}

export interface PublishOptions {
  /** Default 0. */
  readonly qos?: 0 | 1 | 2 | undefined
  /** Default: the next unused one, above QoS 0. */
  readonly packetId?: number | undefined
  readonly retain?: boolean | undefined
  readonly dup?: boolean | undefined
  readonly properties?: Publish["properties"]
}

const INFO = {
  remoteHost: "192.0.2.1",
  remotePort: 50_000,
  localHost: "192.0.2.2",
  localPort: 1883,
  protocol: 0,
  tcpKeepAlive: false
} as const

export class TestClient {
  readonly connection: ServerConnection
  readonly version: 3 | 4 | 5
  /** How the broker asked for the close; undefined: it did not. */
  ended: "drain" | "at-once" | undefined = undefined
  /** Whether the transport is gone. */
  closed = false
  /** Whether the broker reads. */
  reading = true
  /** Every change of it. */
  readonly readingChanges: Array<boolean> = []
  /** Bytes that the socket takes from the broker from now on. */
  window = Number.POSITIVE_INFINITY
  /** Bytes that reached the client. */
  receivedBytes = 0
  private readonly harness: CoreHarness
  private readonly decoder: Decoder
  private packets: Array<Packet> = []
  /** Handed to the socket and not yet accepted: the broker's own buffers, so that a reuse shows. */
  private buffered: Array<Uint8Array> = []
  /** Sent by the client and not yet read. */
  private unread: Array<Uint8Array> = []
  private lastPacketId = 0

  constructor(harness: CoreHarness, version: 3 | 4 | 5) {
    this.harness = harness
    this.version = version
    this.decoder = new Decoder({
      sender: "server",
      version,
      packetBytesMax: 268_435_460,
      topicLevelsMax: 65_535,
      userPropertiesMax: 1_000
    })
    this.connection = harness.core.open(INFO, harness.now)
    this.connection.driver = this
  }

  // Towards the broker.

  /** Sends packets as one chunk, and runs a turn. While the broker does not read, they wait. */
  send(...packets: ReadonlyArray<Packet>): void {
    this.sendBytes(concat(packets.map((packet) => Encoder.encode(packet, this.version))))
  }

  /** Sends bytes as they are. They belong to the broker from now on. */
  sendBytes(bytes: Uint8Array): void {
    this.unread.push(bytes)
    this.pumpInput()
    this.harness.settle()
  }

  connect(clientId: string, options: ConnectOptions = {}): void {
    const { clean, expiry, keepAliveSeconds, password, userName, will } = options
    const properties =
      expiry === undefined ? options.properties : { ...options.properties, sessionExpiryInterval: expiry }
    this.send({
      _tag: "Connect",
      protocolVersion: this.version,
      clientId,
      cleanStart: clean ?? true,
      keepAliveSeconds: keepAliveSeconds ?? 0,
      userName,
      password,
      will,
      properties
    })
  }

  /** Returns the packet id. */
  subscribe(...filters: ReadonlyArray<string | (Partial<Subscription> & { readonly filter: string })>): number {
    const packetId = this.nextPacketId()
    const subscriptions = filters.map((filter) => ({
      qos: 2 as const,
      noLocal: false,
      retainAsPublished: false,
      retainHandling: 0 as const,
      ...(typeof filter === "string" ? { filter } : filter)
    }))
    this.send({ _tag: "Subscribe", packetId, subscriptions, properties: undefined })
    return packetId
  }

  unsubscribe(...filters: ReadonlyArray<string>): number {
    const packetId = this.nextPacketId()
    this.send({ _tag: "Unsubscribe", packetId, filters, properties: undefined })
    return packetId
  }

  /** Returns the packet id; 0 at QoS 0. */
  publish(topic: string, payload: string | Uint8Array, options: PublishOptions = {}): number {
    const packet = this.publication(topic, payload, options)
    this.send(packet)
    return packet.packetId ?? 0
  }

  /** The PUBLISH that `publish` would send. */
  publication(topic: string, payload: string | Uint8Array, options: PublishOptions = {}): Publish {
    const { dup, properties, retain } = options
    const qos = options.qos ?? 0
    return {
      _tag: "Publish",
      topic,
      payload: typeof payload === "string" ? encoder.encode(payload) : payload,
      qos,
      retain: retain ?? false,
      dup: dup ?? false,
      packetId: qos === 0 ? undefined : (options.packetId ?? this.nextPacketId()),
      properties
    }
  }

  pubAck(packetId: number, reasonCode: 0 | 0x80 | 0x97 = 0): void {
    this.send({ _tag: "PubAck", packetId, reasonCode, properties: undefined })
  }

  pubRec(packetId: number, reasonCode: 0 | 0x80 | 0x97 = 0): void {
    this.send({ _tag: "PubRec", packetId, reasonCode, properties: undefined })
  }

  pubRel(packetId: number): void {
    this.send({ _tag: "PubRel", packetId, reasonCode: 0, properties: undefined })
  }

  pubComp(packetId: number): void {
    this.send({ _tag: "PubComp", packetId, reasonCode: 0, properties: undefined })
  }

  ping(): void {
    this.send({ _tag: "PingReq" })
  }

  /** Says DISCONNECT; the broker closes. */
  disconnect(reasonCode: 0 | 4 = 0, properties?: { readonly sessionExpiryInterval?: number }): void {
    this.send({ _tag: "Disconnect", reasonCode, properties })
  }

  /** The network is gone, without a word. */
  drop(): void {
    this.gone()
    this.harness.settle()
  }

  // From the broker.

  /** The packets since the last call. */
  take(): Array<Packet> {
    return this.packets.splice(0)
  }

  /** The same, each as a short text: `words` of this module. */
  takeWords(): Array<string> {
    return this.take().map(words)
  }

  /** The payloads of the PUBLISH packets since the last call; other packets are dropped. */
  takePayloads(): Array<string> {
    return this.take().flatMap((packet) => (packet._tag === "Publish" ? [decoder.decode(packet.payload)] : []))
  }

  /** Bytes that the socket holds. */
  get bufferedBytes(): number {
    return this.buffered.reduce((sum, { length }) => sum + length, 0)
  }

  /** The socket takes this many bytes more (all, and all that come, when left out), and reports it. */
  accept(bytes = Number.POSITIVE_INFINITY): void {
    this.window = bytes
    this.deliver()
    if (this.bufferedBytes === 0) this.connection.outbox.recycle()
    if (!this.closed) this.harness.core.flushed(this.connection, this.bufferedBytes, this.harness.now)
    this.closeWhenDrained()
    this.harness.settle()
  }

  /** The socket takes nothing from now on. */
  freeze(): void {
    this.window = 0
  }

  // Called by the harness.

  flush(): void {
    const { connection, harness } = this
    const { outbox } = connection
    outbox.dirty = false
    const chunks = outbox.take()
    if (chunks.length === 0 || this.closed) return
    this.buffered.push(...chunks)
    this.deliver()
    const { bufferedBytes } = this
    if (bufferedBytes === 0) outbox.recycle()
    harness.core.flushed(connection, bufferedBytes, harness.now)
  }

  end(drain: boolean): void {
    this.ended ??= drain ? "drain" : "at-once"
    if (!drain) this.gone()
    else this.closeWhenDrained()
  }

  read(reading: boolean): void {
    this.reading = reading
    this.readingChanges.push(reading)
  }

  /** Hands over what waits, while the broker reads. Whether there was anything. */
  pumpInput(): boolean {
    if (this.closed || !this.reading || this.unread.length === 0) return false
    this.harness.core.receive(this.connection, this.unread.shift()!, this.harness.now)
    return true
  }

  /** The broker's process is gone: what its sockets held is too. */
  lost(): void {
    this.closed = true
    this.buffered = []
  }

  private nextPacketId(): number {
    this.lastPacketId = (this.lastPacketId % 65_535) + 1
    return this.lastPacketId
  }

  private closeWhenDrained(): void {
    if (this.ended === "drain" && this.buffered.length === 0) this.gone()
  }

  private gone(): void {
    if (this.closed) return
    this.closed = true
    this.buffered = []
    this.harness.core.closed(this.connection, { statusCode: 0, description: "OK" }, this.harness.now)
  }

  /** Copies what the window admits to the client, as a kernel does. */
  private deliver(): void {
    while (this.window > 0 && this.buffered.length > 0) {
      const first = this.buffered[0]!
      const bytes = first.slice(0, Math.min(first.length, this.window))
      if (bytes.length === first.length) this.buffered.shift()
      else this.buffered[0] = first.subarray(bytes.length)
      this.window -= bytes.length
      this.receivedBytes += bytes.length
      this.decoder.push(bytes)
      for (let packet = this.decoder.next(); packet !== undefined; packet = this.decoder.next()) {
        this.packets.push(packet instanceof DecodedPublish ? packet.toPublish() : packet)
      }
      if (this.decoder.error !== undefined) throw this.decoder.error
    }
  }
}

const encoder = new TextEncoder()
const decoder = new TextDecoder()

export const text = (bytes: Uint8Array): string => decoder.decode(bytes)

const concat = (parts: ReadonlyArray<Uint8Array>): Uint8Array => {
  const joined = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0))
  let at = 0
  for (const part of parts) {
    joined.set(part, at)
    at += part.length
  }
  return joined
}

/**
 * A packet as a short text: `PubAck 7`, `PubRec 7 0x97`, `ConnAck 0 present`, `SubAck 1 [2,128]`,
 * `Publish t/a "payload" q1 #7 dup retain`.
 */
export const words = (packet: Packet): string => {
  switch (packet._tag) {
    case "Publish": {
      const { dup, packetId, payload, qos, retain, topic } = packet
      const shown = payload.length > 64 ? `${payload.length} bytes` : text(payload)
      const id = packetId === undefined ? "" : ` #${packetId}`
      return `Publish ${topic} "${shown}" q${qos}${id}${dup ? " dup" : ""}${retain ? " retain" : ""}`
    }
    case "ConnAck":
      return `ConnAck ${packet.reasonCode}${packet.sessionPresent ? " present" : ""}`
    case "PubAck":
    case "PubRec":
    case "PubRel":
    case "PubComp":
      return `${packet._tag} ${packet.packetId}${packet.reasonCode === 0 ? "" : ` 0x${packet.reasonCode.toString(16)}`}`
    case "SubAck":
    case "UnsubAck":
      return `${packet._tag} ${packet.packetId} [${packet.reasonCodes.join(",")}]`
    case "Disconnect":
      return `Disconnect 0x${packet.reasonCode.toString(16)}`
    default:
      return packet._tag
  }
}
