/**
 * One client connection of the load generator: its socket, the CONNECT and SUBSCRIBE exchanges, and the reading loop.
 * What the packets mean after that is the business of its handler.
 */
import * as net from "node:net"
import { chunkBytesMax } from "./replies.ts"
import * as Wire from "./wire.ts"

/** Every socket reads into this one buffer: a chunk is walked to its end before the next read. */
const readBuffer = Buffer.allocUnsafeSlow(chunkBytesMax)

const ignore: Wire.PacketHandler = { packet() {}, flush() {} }

export interface ConnectOptions {
  readonly port: number
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
  private fail: (error: Error) => void = () => {}
  private closing = false

  constructor(options: ConnectOptions) {
    this.protocol = options.protocol
    this.socket = net.connect({
      port: options.port,
      host: "127.0.0.1",
      noDelay: true,
      ...(options.localAddress === undefined ? {} : { localAddress: options.localAddress }),
      onread: {
        buffer: readBuffer,
        callback: (length) => {
          this.walker.walk(readBuffer, length, this.handler)
          return true
        }
      }
    })
    this.socket.on("error", (error) => this.ended(error.message))
    this.socket.on("end", () => this.ended("closed by the broker"))
    this.socket.on("close", () => this.ended("closed by the broker"))
  }

  /** Open a connection; rejects if the broker refuses or closes it. */
  static async open(options: ConnectOptions): Promise<Connection> {
    const connection = new Connection(options)
    connection.socket.write(Wire.connect(options.protocol, options.clientId, options.durable === true))
    await connection.answer(Wire.CONNACK, (bytes, start) => {
      const body = Wire.bodyStart(bytes, start)
      const code = bytes[body + 1]!
      if (code === 0 && options.protocol === 5) connection.readReceiveMaximum(bytes, body + 2)
      if (code === 0 && options.handler !== undefined) connection.handler = options.handler(connection)
      return code === 0 ? undefined : `CONNECT refused with code ${code}`
    })
    return connection
  }

  /** Subscribe to all filters, a hundred a packet; rejects if one is refused. */
  async subscribe(filters: ReadonlyArray<string>, qos: Wire.QoS): Promise<void> {
    for (let from = 0; from < filters.length; from += 100) {
      const some = filters.slice(from, from + 100)
      this.socket.write(Wire.subscribe(this.protocol, 1 + from / 100, some, qos))
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
