/**
 * Not a broker: the least that can stand in for one, to show how fast the load generator itself is.
 *
 * It answers the handshakes, acknowledges by packet id, and hands the publishers' frames on, byte for byte, to the
 * connections that subscribed to exactly the topic of a publisher's first message. It keeps no sessions, matches no
 * wildcards, and looks at no more of a message than where it ends. MQTT 3.1.1 only.
 */
import * as net from "node:net"
import * as Replies from "./replies.ts"
import * as Wire from "./wire.ts"

/** Bytes waiting for a slow subscriber, above which its publishers are not read. */
const waitingBytesMax = 1024 * 1024

const subscribersOf = new Map<string, Array<net.Socket>>()

class Peer implements Wire.PacketHandler {
  private readonly socket: net.Socket
  private readonly walker = new Wire.PacketWalker()
  private receivers: ReadonlyArray<net.Socket> | undefined
  /** The frames of the current chunk that lie side by side, and go out in one write. */
  private run: { bytes: Uint8Array; start: number; end: number } | undefined

  constructor(socket: net.Socket) {
    this.socket = socket
    socket.on("data", (bytes: Buffer) => this.walker.walk(bytes, bytes.length, this))
    socket.on("error", () => socket.destroy())
  }

  packet(bytes: Uint8Array, start: number, end: number): void {
    const type = bytes[start]! >> 4
    if (type === Wire.PUBLISH) this.publish(bytes, start, end)
    else if (type === Wire.PUBREC) Replies.acknowledge(0x62, bytes, Wire.bodyStart(bytes, start))
    else if (type === Wire.PUBREL) Replies.acknowledge(0x70, bytes, Wire.bodyStart(bytes, start))
    else if (type === Wire.SUBSCRIBE) this.subscribe(bytes, start)
    else if (type === Wire.CONNECT) this.socket.write(Buffer.from([Wire.CONNACK << 4, 2, 0, 0]))
  }

  flush(): void {
    this.forward()
    Replies.send(this.socket)
    for (const receiver of this.receivers ?? []) {
      if (receiver.writableLength <= waitingBytesMax) continue
      this.socket.pause()
      receiver.once("drain", () => this.socket.resume())
    }
  }

  private publish(bytes: Uint8Array, start: number, end: number): void {
    this.receivers ??= subscribersOf.get(this.textAt(bytes, Wire.bodyStart(bytes, start))) ?? []
    const qos = bytes[start]! & 0x06
    if (qos !== 0) Replies.acknowledge(qos === 2 ? 0x40 : 0x50, bytes, Wire.publishIdAt(bytes, start))
    if (this.run?.bytes === bytes && this.run.end === start) {
      this.run.end = end
      return
    }
    this.forward()
    this.run = { bytes, start, end }
  }

  private forward(): void {
    if (this.run === undefined) return
    const frames = this.run.bytes.subarray(this.run.start, this.run.end)
    this.run = undefined
    for (const receiver of this.receivers ?? []) receiver.write(frames)
  }

  private subscribe(bytes: Uint8Array, start: number): void {
    const idAt = Wire.bodyStart(bytes, start)
    const filter = this.textAt(bytes, idAt + 2)
    const qos = bytes[idAt + 4 + Buffer.byteLength(filter)]!
    subscribersOf.set(filter, [...(subscribersOf.get(filter) ?? []), this.socket])
    this.socket.write(Buffer.from([0x90, 3, bytes[idAt]!, bytes[idAt + 1]!, qos]))
  }

  private textAt(bytes: Uint8Array, at: number): string {
    const length = (bytes[at]! << 8) | bytes[at + 1]!
    return Buffer.from(bytes.subarray(at + 2, at + 2 + length)).toString()
  }
}

const server = net.createServer({ noDelay: true }, (socket) => {
  new Peer(socket)
})
server.listen({ host: "127.0.0.1", port: 0, backlog: 1024 }, () => {
  // Listening on a port gives an AddressInfo; a string is for pipes.
  const { port } = server.address() as net.AddressInfo
  console.log(`sink listens on 127.0.0.1:${port}`)
})
