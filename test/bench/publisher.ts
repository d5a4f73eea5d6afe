/**
 * The publishing side of the load generator: as fast as the broker takes it (QoS 0), as fast as it acknowledges it
 * (QoS 1 and 2), or one message when told to (fixed rate).
 */
import type { Connection } from "./connection.ts"
import * as Replies from "./replies.ts"
import type { MessageScenario } from "./scenarios.ts"
import { deliveriesPerMessage, oneOffDigits, topicsOf } from "./topics.ts"
import type { Traffic } from "./traffic.ts"
import * as Wire from "./wire.ts"

/** Bytes handed to a socket at once, at saturation with QoS 0. */
const writeBytes = 64 * 1024

/** Equal-sized encoded frames that are sent over and over, in turn. */
class FrameRing {
  readonly bytes: Buffer
  readonly frameBytes: number
  readonly frames: number
  private next = 0

  constructor(frames: ReadonlyArray<Buffer>) {
    this.bytes = Buffer.concat(frames)
    this.frames = frames.length
    this.frameBytes = frames[0]!.length
    if (this.bytes.length !== this.frames * this.frameBytes) throw new Error("frames of a ring must have one size")
  }

  /** The next frames, at most `count` and up to the ring's end. */
  take(count: number): Buffer {
    const taken = Math.min(count, this.frames - this.next)
    const from = this.next * this.frameBytes
    this.next = (this.next + taken) % this.frames
    return this.bytes.subarray(from, from + taken * this.frameBytes)
  }
}

const framesOf = (scenario: MessageScenario, publisher: number, count: number): ReadonlyArray<Buffer> => {
  const topics = topicsOf(scenario, publisher)
  const payload = Buffer.alloc(scenario.payloadBytes, Wire.filler)
  const properties = scenario.properties ? Wire.messageProperties() : undefined
  return Array.from({ length: count }, (_, index) =>
    Wire.publish(scenario.protocol, topics[index % topics.length]!, payload, scenario.qos, 1 + index, properties)
  )
}

/** The size on the wire of each message of a scenario, as it is published. */
export const frameBytes = (scenario: MessageScenario): number => framesOf(scenario, 0, 1)[0]!.length

/** What a generator needs of a publisher, however it publishes. */
export interface Publisher {
  /** Messages the broker has yet to acknowledge. */
  readonly unacknowledged: number
  /** What the broker did against the protocol, or refused. */
  readonly errors: number
  start(): void
  stop(): void
}

/** QoS 0 at saturation: one large write a turn of the event loop, the next when the kernel has taken it. */
export class Flood implements Publisher {
  readonly unacknowledged = 0
  readonly errors = 0
  private readonly connection: Connection
  private readonly ring: FrameRing
  private readonly framesPerWrite: number
  private readonly traffic: Traffic
  private readonly deliveriesPerMessage: number
  private readonly renumber: boolean
  private number = 0
  private stopped = false

  constructor(connection: Connection, scenario: MessageScenario, publisher: number, traffic: Traffic) {
    this.connection = connection
    this.traffic = traffic
    this.deliveriesPerMessage = deliveriesPerMessage(scenario)
    this.renumber = scenario.topology === "one-off"
    const topics = topicsOf(scenario, publisher)
    this.framesPerWrite = Math.max(4, Math.floor(writeBytes / frameBytes(scenario)))
    this.ring = new FrameRing(framesOf(scenario, publisher, Math.max(topics.length, this.framesPerWrite)))
  }

  start(): void {
    this.pump()
  }

  stop(): void {
    this.stopped = true
  }

  private readonly pump = (): void => {
    if (this.stopped) return
    if (!this.traffic.hasRoom()) {
      setTimeout(this.pump, 1)
      return
    }
    const bytes = this.ring.take(this.framesPerWrite)
    if (this.renumber) this.renumberTopics(bytes)
    this.traffic.due += (bytes.length / this.ring.frameBytes) * this.deliveriesPerMessage
    this.connection.write(bytes, this.written)
  }

  // The buffer is free again, and the turn of the loop goes to the readers first.
  private readonly written = (error?: Error | null): void => {
    if (error === undefined || error === null) setImmediate(this.pump)
  }

  /** Give each frame a topic that was never used, by writing a number over the last digits of its name. */
  private renumberTopics(bytes: Buffer): void {
    const body = Wire.bodyStart(bytes, 0)
    const lastDigit = body + 2 + bytes.readUInt16BE(body) - 1
    for (let at = 0; at < bytes.length; at += this.ring.frameBytes) {
      let rest = this.number++
      for (let digit = 0; digit < oneOffDigits; digit++) {
        bytes[at + lastDigit - digit] = 48 + (rest % 10)
        rest = Math.floor(rest / 10)
      }
    }
  }
}

/** QoS 1 and 2 at saturation: a window of unacknowledged messages, refilled once for all acknowledgements a chunk. */
export class Window implements Publisher, Wire.PacketHandler {
  unacknowledged = 0
  errors = 0
  private readonly traffic: Traffic
  private readonly deliveriesPerMessage: number
  private readonly connection: Connection
  private readonly ring: FrameRing
  private readonly window: number
  private readonly doneType: number
  private nextDone = 0
  private free = 0
  private stopped = false

  constructor(connection: Connection, scenario: MessageScenario, publisher: number, traffic: Traffic) {
    this.connection = connection
    this.traffic = traffic
    this.deliveriesPerMessage = deliveriesPerMessage(scenario)
    this.window = Math.min(scenario.window ?? 100, connection.receiveMaximum)
    this.doneType = scenario.qos === 1 ? Wire.PUBACK : Wire.PUBCOMP
    // Acknowledgements come in order [MQTT-4.6.0-2, 4.6.0-3]; twice the window keeps an id from early reuse.
    this.ring = new FrameRing(framesOf(scenario, publisher, 2 * this.window))
    connection.handler = this
  }

  start(): void {
    this.publish(this.window)
  }

  stop(): void {
    this.stopped = true
  }

  packet(bytes: Uint8Array, start: number, end: number): void {
    const type = bytes[start]! >> 4
    const idAt = Wire.bodyStart(bytes, start)
    if (end - idAt > 2 && bytes[idAt + 2]! >= 0x80) this.errors++
    if (type === this.doneType) {
      const id = (bytes[idAt]! << 8) | bytes[idAt + 1]!
      if (id !== this.nextDone + 1) this.errors++
      this.nextDone = id % this.ring.frames
      this.free++
    } else if (type === Wire.PUBREC) {
      Replies.acknowledge(0x62, bytes, idAt)
    } else {
      this.errors++
    }
  }

  flush(): void {
    Replies.send(this.connection)
    this.unacknowledged -= this.free
    if (!this.stopped) this.publish(this.free)
    this.free = 0
  }

  private publish(count: number): void {
    for (let rest = count; rest > 0; ) {
      const bytes = this.ring.take(rest)
      const frames = bytes.length / this.ring.frameBytes
      this.connection.write(bytes)
      this.unacknowledged += frames
      this.traffic.due += frames * this.deliveriesPerMessage
      rest -= frames
    }
  }
}

/** One message when told to, with the time of sending in the first eight bytes of its payload. */
export class Single implements Publisher, Wire.PacketHandler {
  unacknowledged = 0
  errors = 0
  private readonly connection: Connection
  private readonly frame: Buffer
  private readonly qos: Wire.QoS
  private readonly traffic: Traffic
  private readonly deliveriesPerMessage: number
  private packetId = 0
  private readonly idAt: number
  private readonly payloadAt: number

  constructor(connection: Connection, scenario: MessageScenario, publisher: number, traffic: Traffic) {
    this.connection = connection
    this.traffic = traffic
    this.qos = scenario.qos
    this.deliveriesPerMessage = deliveriesPerMessage(scenario)
    this.frame = framesOf(scenario, publisher, 1)[0]!
    this.idAt = Wire.publishIdAt(this.frame, 0)
    this.payloadAt = this.frame.length - scenario.payloadBytes
    connection.handler = this
  }

  start(): void {}

  stop(): void {}

  publish(): void {
    const bytes = Buffer.from(this.frame)
    if (this.qos > 0) {
      this.packetId = (this.packetId % 65_535) + 1
      bytes.writeUInt16BE(this.packetId, this.idAt)
      this.unacknowledged++
    }
    bytes.writeDoubleLE(performance.now(), this.payloadAt)
    this.traffic.due += this.deliveriesPerMessage
    this.connection.write(bytes)
  }

  packet(bytes: Uint8Array, start: number): void {
    const type = bytes[start]! >> 4
    if (type === Wire.PUBREC) Replies.acknowledge(0x62, bytes, Wire.bodyStart(bytes, start))
    else if (type === Wire.PUBACK || type === Wire.PUBCOMP) this.unacknowledged--
    else this.errors++
  }

  flush(): void {
    Replies.send(this.connection)
  }
}
