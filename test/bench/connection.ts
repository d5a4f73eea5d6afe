/**
 * One client connection of the load generator: its socket (with TLS, WebSocket or both), the CONNECT and SUBSCRIBE
 * exchanges, and the reading loop. What the packets mean after that is the business of its handler.
 */
import * as net from "node:net"
import * as tls from "node:tls"
import { chunkBytesMax } from "./replies.ts"
import type { Transport } from "./scenarios.ts"
import * as WebSocket from "./web-socket.ts"
import * as Wire from "./wire.ts"

/** Where a broker listens, and for what. */
export interface Address {
  readonly port: number
  readonly transport: Transport
  /** With TLS: the PEM of the authority that issued the broker's certificate. */
  readonly authority?: string
}

const contexts = new Map<string, tls.SecureContext>()

/**
 * One for all connections: to make it costs as much as a handshake. The same for every broker, whatever it would
 * prefer: a row compares brokers and not ciphers.
 */
const securityOf = (authority = ""): tls.SecureContext => {
  const security: tls.SecureContext =
    contexts.get(authority) ??
    tls.createSecureContext({
      ca: authority,
      minVersion: "TLSv1.3",
      maxVersion: "TLSv1.3",
      ciphers: "TLS_AES_128_GCM_SHA256",
      ecdhCurve: "X25519"
    })
  contexts.set(authority, security)
  return security
}

export const isSecure = (transport: Transport): boolean => transport === "tls" || transport === "wss"

const isWebSocket = (transport: Transport): boolean => transport === "ws" || transport === "wss"

/** Every socket reads into this one buffer: a chunk is walked to its end before the next read. */
const readBuffer = Buffer.allocUnsafeSlow(chunkBytesMax)

const ignore: Wire.PacketHandler = { packet() {}, flush() {} }

export interface ConnectOptions {
  readonly address: Address
  readonly protocol: Wire.Protocol
  readonly clientId: string
  readonly durable?: boolean | undefined
  /** Which loopback address to connect from, when one alone has too few ports. */
  readonly localAddress?: string | undefined
  /** Gets what comes behind CONNACK, also in the same chunk: a session that is resumed has messages waiting. */
  readonly handler?: ((connection: Connection) => Wire.PacketHandler) | undefined
}

/** Connections that were closed by the broker, or failed, since the generator started. */
export const lost: { count: number; reason: string } = { count: 0, reason: "" }

export class Connection {
  readonly socket: net.Socket
  readonly protocol: Wire.Protocol
  /** Who gets the packets. */
  handler: Wire.PacketHandler = ignore
  /** Unacknowledged QoS 1 and 2 messages the broker allows. */
  receiveMaximum = 65_535
  private readonly walker = new Wire.PacketWalker()
  /** Of a WebSocket. */
  private readonly frames: WebSocket.FrameReader | undefined
  /** Of a WebSocket, until it is one. */
  private upgrading: { readonly answer: WebSocket.UpgradeAnswer; readonly done: () => void } | undefined
  private fail: (error: Error) => void = () => {}
  private closing = false

  private constructor(options: ConnectOptions) {
    const { authority, port, transport } = options.address
    this.protocol = options.protocol
    if (isWebSocket(transport)) {
      this.frames = new WebSocket.FrameReader({
        data: (bytes, start, end) => this.walker.push(bytes, start, end, this.handler),
        control: (opcode, body) => this.control(opcode, body)
      })
    }
    const to = {
      port,
      host: "127.0.0.1",
      ...(options.localAddress === undefined ? {} : { localAddress: options.localAddress }),
      onread: {
        buffer: readBuffer,
        callback: (length: number) => {
          this.received(length)
          return true
        }
      }
    }
    this.socket = isSecure(transport) ? tls.connect({ ...to, secureContext: securityOf(authority) }) : net.connect(to)
    this.socket.setNoDelay(true)
    this.socket.on("error", (error) => this.ended(error.message))
    this.socket.on("end", () => this.ended("closed by the broker"))
    this.socket.on("close", () => this.ended("closed by the broker"))
  }

  /** Open a connection; rejects if the broker refuses or closes it. */
  static async open(options: ConnectOptions): Promise<Connection> {
    const connection = new Connection(options)
    if (connection.frames !== undefined) await connection.upgrade(options.address.port)
    connection.write(Wire.connect(options.protocol, options.clientId, options.durable === true))
    await connection.answer(Wire.CONNACK, (bytes, start) => {
      const body = Wire.bodyStart(bytes, start)
      const code = bytes[body + 1]!
      if (code === 0 && options.protocol === 5) connection.readReceiveMaximum(bytes, body + 2)
      if (code === 0 && options.handler !== undefined) connection.handler = options.handler(connection)
      return code === 0 ? undefined : `CONNECT refused with code ${code}`
    })
    return connection
  }

  /** What TLS agreed on: version, cipher suite, key exchange; undefined without TLS. */
  get agreed(): string | undefined {
    if (!(this.socket instanceof tls.TLSSocket)) return undefined
    const key = this.socket.getEphemeralKeyInfo()
    const exchange = key !== null && "name" in key ? ` ${key.name}` : ""
    return `${this.socket.getProtocol()} ${this.socket.getCipher().name}${exchange}`
  }

  /** Send packets; `written` is called when their memory is free again. */
  write(bytes: Uint8Array, written?: (error?: Error | null) => void): void {
    this.socket.write(this.frames === undefined ? bytes : WebSocket.frame(WebSocket.BINARY, bytes), written)
  }

  /** Subscribe to all filters, a hundred a packet; rejects if one is refused. */
  async subscribe(filters: ReadonlyArray<string>, qos: Wire.QoS): Promise<void> {
    for (let from = 0; from < filters.length; from += 100) {
      const some = filters.slice(from, from + 100)
      this.write(Wire.subscribe(this.protocol, 1 + from / 100, some, qos))
      await this.answer(Wire.SUBACK, (bytes, _start, end) => {
        const granted = bytes.subarray(end - some.length, end)
        return granted.every((code) => code === qos) ? undefined : `SUBSCRIBE answered with ${[...granted].join(" ")}`
      })
    }
  }

  /** Close without a reset being an error. */
  close(): void {
    this.closing = true
    this.socket.destroy()
  }

  /** Say goodbye and close. */
  leave(): void {
    this.closing = true
    this.write(Wire.disconnect)
    this.socket.end()
  }

  /** One chunk of the broker's is in the buffer. */
  private received(length: number): void {
    if (this.frames === undefined) {
      this.walker.walk(readBuffer, length, this.handler)
      return
    }
    const from = this.upgrading === undefined ? 0 : this.upgraded(length)
    const { handler } = this
    this.frames.read(readBuffer, from, length)
    handler.flush()
  }

  private upgrade(port: number): Promise<void> {
    return new Promise((resolve, reject) => {
      this.fail = reject
      this.upgrading = { answer: new WebSocket.UpgradeAnswer(), done: resolve }
      this.socket.write(WebSocket.upgradeRequest(port))
    })
  }

  /** Where the frames begin in a chunk that has, or has not, the end of the answer to the upgrade. */
  private upgraded(length: number): number {
    try {
      const end = this.upgrading?.answer.read(readBuffer, length)
      if (end === undefined) return length
      this.upgrading?.done()
      this.upgrading = undefined
      return end
    } catch (error) {
      this.ended(error instanceof Error ? error.message : String(error))
      return length
    }
  }

  private control(opcode: number, body: Uint8Array): void {
    if (opcode === WebSocket.PING) this.socket.write(WebSocket.frame(WebSocket.PONG, body))
    if (opcode === WebSocket.CLOSE) this.ended("closed by the broker")
  }

  /** Wait for a packet of one type; `check` answers what is wrong with it. */
  private answer(
    type: number,
    check: (bytes: Uint8Array, start: number, end: number) => string | undefined
  ): Promise<void> {
    return new Promise((resolve, reject) => {
      this.fail = reject
      let answered = false
      this.handler = {
        packet: (bytes, start, end) => {
          // The rest of the chunk is already somebody else's.
          if (answered) {
            this.handler.packet(bytes, start, end)
            return
          }
          if (bytes[start]! >> 4 !== type) return
          answered = true
          this.handler = ignore
          this.fail = () => {}
          const problem = check(bytes, start, end)
          if (problem === undefined) resolve()
          else reject(new Error(problem))
        },
        flush: () => {
          if (answered) this.handler.flush()
        }
      }
    })
  }

  /** The only CONNACK property the generator must obey; those it does not know the size of end the search. */
  private readReceiveMaximum(bytes: Uint8Array, propertiesAt: number): void {
    let at = propertiesAt + 1
    const end = at + bytes[propertiesAt]!
    while (at < end) {
      const id = bytes[at]!
      const uint16At = (bytes[at + 1]! << 8) | bytes[at + 2]!
      if (id === 0x21) this.receiveMaximum = uint16At
      if (id === 0x21 || id === 0x22 || id === 0x13) at += 3
      else if (id === 0x24 || id === 0x25 || id === 0x28 || id === 0x29 || id === 0x2a) at += 2
      else if (id === 0x11 || id === 0x27) at += 5
      else if (id === 0x12 || id === 0x15 || id === 0x16 || id === 0x1a || id === 0x1c || id === 0x1f)
        at += 3 + uint16At
      else return
    }
  }

  private ended(reason: string): void {
    if (this.closing) return
    this.closing = true
    lost.count++
    lost.reason = reason
    this.fail(new Error(reason))
    this.socket.destroy()
  }
}
