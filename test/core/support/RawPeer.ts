/**
 * A peer that sends any bytes at all: unlike `TestClient` it has no version of its own, and only checks that what the
 * broker answers is MQTT of the version that the broker believes in.
 */
import type { ServerConnection } from "../../../src/core/ServerConnection.ts"
import type { Packet } from "../../../src/protocol/Packet.ts"
import { DecodedPublish, Decoder } from "../../../src/protocol/Decoder.ts"
import type { CoreHarness } from "../CoreHarness.ts"

const INFO = {
  remoteHost: "192.0.2.3",
  remotePort: 50_001,
  localHost: "192.0.2.2",
  localPort: 1883,
  protocol: 0,
  tcpKeepAlive: false
} as const

export class RawPeer {
  readonly connection: ServerConnection
  closed = false
  readonly packets: Array<Packet> = []
  private readonly harness: CoreHarness
  private decoder: Decoder | undefined = undefined

  constructor(harness: CoreHarness) {
    this.harness = harness
    this.connection = harness.core.open(INFO, harness.now)
    this.connection.driver = this
  }

  /** Sends one chunk; bytes for a connection that is not read or gone are thrown away. */
  send(bytes: Uint8Array): void {
    if (!this.closed && this.connection.reading) this.harness.core.receive(this.connection, bytes, this.harness.now)
    this.harness.settle()
  }

  close(): void {
    this.gone()
    this.harness.settle()
  }

  // Called by the harness.

  flush(): void {
    const { connection, harness } = this
    for (const chunk of connection.outbox.take()) this.hear(chunk)
    connection.outbox.recycle()
    harness.core.flushed(connection, 0, harness.now)
  }

  end(): void {
    this.gone()
  }

  read(): void {}

  private gone(): void {
    if (this.closed) return
    this.closed = true
    this.harness.core.closed(this.connection, { statusCode: 0, description: "OK" }, this.harness.now)
  }

  private hear(chunk: Uint8Array): void {
    const limits = { packetBytesMax: 268_435_460, topicLevelsMax: 65_535, userPropertiesMax: 1_000 }
    this.decoder ??= new Decoder({ sender: "server", version: this.connection.version, ...limits })
    this.decoder.push(chunk.slice())
    for (let packet = this.decoder.next(); packet !== undefined; packet = this.decoder.next()) {
      this.packets.push(packet instanceof DecodedPublish ? packet.toPublish() : packet)
    }
    if (this.decoder.error !== undefined) throw this.decoder.error
  }
}
