/**
 * A well-behaved client for long runs: it answers what it gets, and knows which of its own messages were answered.
 *
 * Owns one connection. What must outlive it (the packet ids of unfinished incoming QoS 2 messages) is the caller's.
 * Plain promises and callbacks: thousands of these run beside the broker they test.
 */
import * as Net from "node:net"
import { Decoder } from "../../src/protocol/Decoder.ts"
import * as Encoder from "../../src/protocol/Encoder.ts"
import type { ConnAck, Connect, Packet, Publish, QoS } from "../../src/protocol/Packet.ts"

/** A connection that nobody closed has ended, or what comes from it is not MQTT. */
export class Lost extends Error {}

/** After this long an answer does not come any more. */
const SILENCE_MILLIS = 30_000

export interface PeerOptions extends Partial<Omit<Connect, "_tag">> {
  readonly port: number
  /** Packet ids of QoS 2 messages that came in and are not released: kept by the caller, it belongs to the session. */
  readonly unreleased?: Set<number> | undefined
  readonly onMessage?: ((message: Publish) => void) | undefined
}

interface Pending {
  readonly answered: (packet: Packet) => void
  readonly lost: (error: Error) => void
}

/** Whoever waits for it later still hears of a failure; that nobody waits yet is not one. */
const heard = <A>(promise: Promise<A>): Promise<A> => {
  promise.catch(() => {})
  return promise
}

export class Peer {
  readonly socket: Net.Socket
  readonly ended: Promise<void>
  onMessage: (message: Publish) => void
  connAck: ConnAck | undefined = undefined
  /** The reason code of the DISCONNECT that came in, if one did. */
  disconnectCode: number | undefined = undefined
  /** False while it takes messages without acknowledging them. */
  acknowledges = true
  private readonly version: 3 | 4 | 5
  private readonly decoder: Decoder
  private readonly unreleased: Set<number>
  private readonly pending = new Map<string, Pending>()
  private lastId = 0
  private fault: string | undefined = undefined
  private isClosed = false

  private constructor(options: PeerOptions, version: 3 | 4 | 5) {
    this.version = version
    this.onMessage = options.onMessage ?? (() => {})
    this.unreleased = options.unreleased ?? new Set()
    this.decoder = new Decoder({
      sender: "server",
      version,
      packetBytesMax: 268_435_460,
      topicLevelsMax: 65_536,
      userPropertiesMax: 100_000
    })
    this.socket = Net.connect({ port: options.port, host: "127.0.0.1", noDelay: true })
    this.socket.on("data", (bytes: Buffer) => this.receive(bytes))
    this.socket.on("error", (error) => {
      this.fault ??= error.message
    })
    this.ended = new Promise((resolve) => {
      this.socket.once("close", () => {
        this.isClosed = true
        const error = new Lost(this.fault ?? "the broker closed the connection")
        for (const { lost } of this.pending.values()) lost(error)
        this.pending.clear()
        resolve()
      })
    })
  }

  /** Resolves with the CONNACK; rejects when it refuses, or the connection ends first. */
  static async open(options: PeerOptions): Promise<Peer> {
    const { onMessage: _, port: __, unreleased: ___, protocolVersion = 5, ...connect } = options
    const peer = new Peer(options, protocolVersion)
    const answer = peer.awaits("ConnAck", 0)
    peer.send({
      _tag: "Connect",
      protocolVersion,
      clientId: "",
      cleanStart: true,
      keepAliveSeconds: 0,
      userName: undefined,
      password: undefined,
      will: undefined,
      properties: undefined,
      ...connect
    })
    const connAck = (await answer) as ConnAck // nothing else resolves it
    if (connAck.reasonCode !== 0) {
      peer.abort()
      throw new Lost(`CONNECT refused with ${connAck.reasonCode}`)
    }
    peer.connAck = connAck
    return peer
  }

  get closed(): boolean {
    return this.isClosed
  }

  /** Set when what came in is not MQTT. */
  get problem(): string | undefined {
    return this.decoder.error?.message
  }

  send(packet: Packet): void {
    if (!this.isClosed) this.socket.write(Encoder.encode(packet, this.version))
  }

  /** Resolves when the broker has taken responsibility; at QoS 0, when it is written. */
  publish(topic: string, payload: string | Uint8Array, qos: QoS = 0, retain = false): Promise<void> {
    const bytes = typeof payload === "string" ? Buffer.from(payload) : payload
    const packetId = qos === 0 ? undefined : this.nextId()
    const packet = { _tag: "Publish", topic, payload: bytes, qos, retain, dup: false, packetId } as const
    if (packetId === undefined) {
      this.send(packet)
      return this.isClosed ? Promise.reject(new Lost("closed")) : Promise.resolve()
    }
    const answer = this.awaits(qos === 1 ? "PubAck" : "PubComp", packetId)
    this.send(packet)
    const accepted = answer.then((packet) => {
      const code = "reasonCode" in packet ? packet.reasonCode : 0
      if (code >= 0x80) throw new Lost(`PUBLISH to ${topic} refused with ${code}`)
    })
    return heard(accepted)
  }

  /** Resolves with the reason codes. */
  async subscribe(filters: ReadonlyArray<string>, qos: QoS, options: object = {}): Promise<ReadonlyArray<number>> {
    const packetId = this.nextId()
    const answer = this.awaits("SubAck", packetId)
    const subscriptions = filters.map((filter) => ({
      filter,
      qos,
      noLocal: false,
      retainAsPublished: false,
      retainHandling: 0 as const,
      ...options
    }))
    this.send({ _tag: "Subscribe", packetId, subscriptions })
    const packet = await answer
    return packet._tag === "SubAck" ? packet.reasonCodes : []
  }

  async unsubscribe(filters: ReadonlyArray<string>): Promise<void> {
    const packetId = this.nextId()
    const answer = this.awaits("UnsubAck", packetId)
    this.send({ _tag: "Unsubscribe", packetId, filters })
    await answer
  }

  /** A round trip: everything sent before has been handled when it comes back. */
  async ping(): Promise<void> {
    const answer = this.awaits("PingResp", 0)
    this.send({ _tag: "PingReq" })
    await answer
  }

  /** In good order; resolves when the broker has closed. */
  async disconnect(): Promise<void> {
    this.send({ _tag: "Disconnect", reasonCode: 0 })
    this.socket.end()
    this.socket.resume()
    await this.ended
  }

  /** Without a word. */
  abort(): void {
    this.socket.destroy()
  }

  private nextId(): number {
    this.lastId = this.lastId === 65_535 ? 1 : this.lastId + 1
    return this.lastId
  }

  private awaits(tag: Packet["_tag"], packetId: number): Promise<Packet> {
    const answer = new Promise<Packet>((resolve, reject) => {
      if (this.isClosed) {
        reject(new Lost(this.fault ?? "closed"))
        return
      }
      const key = `${tag} ${packetId}`
      const timer = setTimeout(() => {
        this.pending.delete(key)
        reject(new Lost(`no ${tag} within ${SILENCE_MILLIS / 1_000} s`))
      }, SILENCE_MILLIS)
      this.pending.set(key, {
        answered: (packet) => {
          clearTimeout(timer)
          resolve(packet)
        },
        lost: (error) => {
          clearTimeout(timer)
          reject(error)
        }
      })
    })
    return heard(answer)
  }

  private settle(tag: Packet["_tag"], packetId: number, packet: Packet): void {
    const key = `${tag} ${packetId}`
    const pending = this.pending.get(key)
    this.pending.delete(key)
    pending?.answered(packet)
  }

  private receive(bytes: Uint8Array): void {
    this.decoder.push(bytes)
    this.socket.cork()
    for (let packet = this.decoder.next(); packet !== undefined; packet = this.decoder.next()) this.handle(packet)
    this.socket.uncork()
    if (this.decoder.error !== undefined) {
      this.fault ??= `the broker sent what is not MQTT: ${this.decoder.error.message}`
      this.socket.destroy()
    }
  }

  private handle(packet: Packet): void {
    switch (packet._tag) {
      case "Publish":
        this.take(packet)
        return
      case "PubRec":
        if (packet.reasonCode < 0x80) this.acknowledge("PubRel", packet.packetId)
        else this.settle("PubComp", packet.packetId, packet)
        return
      case "PubRel":
        this.unreleased.delete(packet.packetId)
        if (this.acknowledges) this.acknowledge("PubComp", packet.packetId)
        return
      case "Disconnect":
        this.disconnectCode = packet.reasonCode
        this.fault ??= `the broker sent DISCONNECT with ${packet.reasonCode}`
        return
      case "PubAck":
      case "PubComp":
      case "SubAck":
      case "UnsubAck":
        this.settle(packet._tag, packet.packetId, packet)
        return
      default:
        this.settle(packet._tag, 0, packet)
    }
  }

  private take(message: Publish): void {
    const { packetId = 0, qos } = message
    const isNew = qos < 2 || !this.unreleased.has(packetId)
    if (qos === 2) this.unreleased.add(packetId)
    if (isNew) this.onMessage(message)
    if (!this.acknowledges || qos === 0) return
    this.acknowledge(qos === 1 ? "PubAck" : "PubRec", packetId)
  }

  private acknowledge(tag: "PubAck" | "PubRec" | "PubRel" | "PubComp", packetId: number): void {
    this.send({ _tag: tag, packetId, reasonCode: 0 })
  }
}
