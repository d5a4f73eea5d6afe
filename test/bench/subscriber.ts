/**
 * The receiving side of the load generator: counts deliveries, acknowledges them once a chunk, and at a fixed rate
 * notes how long each was under way.
 */
import type { Connection } from "./connection.ts"
import * as Replies from "./replies.ts"
import type { MessageScenario } from "./scenarios.ts"
import type { Traffic } from "./traffic.ts"
import * as Wire from "./wire.ts"

/** Latencies in milliseconds, kept while `recording`. */
export class Latencies {
  recording = false
  readonly samples: Array<number> = []
}

/** One in so many deliveries is looked at more closely, beginning with the first. */
const sampleEvery = 4_096

export class Subscriber implements Wire.PacketHandler {
  /** Packets that a subscriber does not expect. */
  errors = 0
  private delivered = 0
  private readonly connection: Connection
  private readonly traffic: Traffic
  private readonly latencies: Latencies | undefined
  private readonly qos: Wire.QoS
  private readonly payloadBytes: number

  constructor(connection: Connection, scenario: MessageScenario, traffic: Traffic, latencies: Latencies | undefined) {
    this.connection = connection
    this.qos = scenario.qos
    this.payloadBytes = scenario.payloadBytes
    this.traffic = traffic
    this.latencies = latencies
    connection.handler = this
  }

  packet(bytes: Uint8Array, start: number, end: number): void {
    const first = bytes[start]!
    if (first >> 4 === Wire.PUBLISH) {
      // At QoS 2 too a message counts when it arrives, not when it is released.
      this.traffic.delivered++
      if (this.delivered++ % sampleEvery === 0 && !this.isAsPublished(bytes, start, end)) this.errors++
      const qos = first & 0x06
      if (qos !== 0) Replies.acknowledge(qos === 2 ? 0x40 : 0x50, bytes, Wire.publishIdAt(bytes, start))
      if (this.latencies?.recording) this.latencies.samples.push(this.latency(bytes, end))
    } else if (first >> 4 === Wire.PUBREL) {
      Replies.acknowledge(0x70, bytes, Wire.bodyStart(bytes, start))
    } else {
      this.errors++
    }
  }

  flush(): void {
    Replies.send(this.connection)
  }

  /** Whether a PUBLISH has the QoS, the kind of topic and the payload that all messages have. */
  private isAsPublished(bytes: Uint8Array, start: number, end: number): boolean {
    const topicAt = Wire.bodyStart(bytes, start) + 2
    const payloadAt = end - this.payloadBytes
    return (
      (bytes[start]! & 0x06) >> 1 === this.qos &&
      payloadAt > topicAt &&
      Buffer.from(bytes.subarray(topicAt, topicAt + 6)).toString() === "bench/" &&
      // The first eight bytes may be a time.
      bytes.subarray(payloadAt + 8, end).every((byte) => byte === Wire.filler)
    )
  }

  private latency(bytes: Uint8Array, end: number): number {
    const view = new DataView(bytes.buffer, bytes.byteOffset + end - this.payloadBytes, 8)
    return performance.now() - view.getFloat64(0, true)
  }
}
