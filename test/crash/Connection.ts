/**
 * One connection of a client that outlives many of them: packets out, packets in, and its end.
 */
import * as net from "node:net"
import { Decoder } from "../../src/protocol/Decoder.ts"
import * as Encoder from "../../src/protocol/Encoder.ts"
import type { Connect, Packet } from "../../src/protocol/Packet.ts"

/** The reason code of the goodbye at the very end. */
export const SHUTTING_DOWN = 0x8b

export type Version = 4 | 5

/** A session that outlives the connection. */
export const connectPacket = (clientId: string, version: Version): Connect => ({
  _tag: "Connect",
  protocolVersion: version,
  clientId,
  cleanStart: false,
  keepAliveSeconds: 0,
  userName: undefined,
  password: undefined,
  will: undefined,
  properties: version === 5 ? { sessionExpiryInterval: 0xffff_ffff } : undefined
})

export class Connection {
  open = true
  private readonly socket: net.Socket
  private readonly version: Version

  /** `received` is called for every packet, until the connection ends. */
  constructor(
    port: number,
    clientId: string,
    version: Version,
    received: (packet: Packet) => void,
    connect: Connect = connectPacket(clientId, version)
  ) {
    this.version = version
    const decoder = new Decoder({
      sender: "server",
      version,
      packetBytesMax: 1_000_000,
      topicLevelsMax: 100,
      userPropertiesMax: 100
    })
    this.socket = net.connect({ port, host: "127.0.0.1", noDelay: true })
    this.socket.on("data", (bytes: Buffer) => {
      decoder.push(bytes)
      for (let packet = decoder.next(); packet !== undefined && this.open; packet = decoder.next()) received(packet)
      if (decoder.error !== undefined) throw new Error(`The broker sent what is no packet: ${decoder.error.message}`)
    })
    this.socket.on("error", () => {}) // "close" follows
    this.socket.on("close", () => {
      this.open = false
    })
    this.send(connect)
  }

  send(packet: Packet): void {
    if (this.open) this.socket.write(Encoder.encode(packet, this.version))
  }

  end(): void {
    this.open = false
    this.socket.destroy()
  }
}
