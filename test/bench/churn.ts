/**
 * Connections that subscribe and unsubscribe at a fixed rate beside the measured traffic.
 */
import { Connection, type ConnectOptions } from "./connection.ts"
import { churnFilter } from "./topics.ts"
import * as Wire from "./wire.ts"

const connectionsCount = 10
const tickMilliseconds = 10

/** A broker that cannot keep up gets no more than this many unanswered packets. */
const unansweredMax = 1_000

export class Churn implements Wire.PacketHandler {
  /** SUBACK and UNSUBACK received, so twice the filters that came and went. */
  answered = 0
  private sent = 0
  private readonly connections: ReadonlyArray<Connection>
  private readonly filtersPerSecond: number
  private timer: NodeJS.Timeout | undefined
  private startedAt = 0

  private constructor(connections: ReadonlyArray<Connection>, filtersPerSecond: number) {
    this.connections = connections
    this.filtersPerSecond = filtersPerSecond
    for (const connection of connections) connection.handler = this
  }

  static async open(options: Omit<ConnectOptions, "clientId">, filtersPerSecond: number): Promise<Churn> {
    const connections: Array<Connection> = []
    for (let index = 0; index < connectionsCount; index++) {
      connections.push(await Connection.open({ ...options, clientId: `churn-${index}` }))
    }
    return new Churn(connections, filtersPerSecond)
  }

  start(): void {
    this.startedAt = performance.now()
    this.timer = setInterval(this.tick, tickMilliseconds)
  }

  stop(): void {
    clearInterval(this.timer)
  }

  packet(bytes: Uint8Array, start: number): void {
    const type = bytes[start]! >> 4
    if (type === Wire.SUBACK || type === Wire.UNSUBACK) this.answered++
  }

  flush(): void {}

  /** Catch up with the clock: a filter is subscribed on its first visit and unsubscribed on the second. */
  private readonly tick = (): void => {
    const due = ((performance.now() - this.startedAt) / 1_000) * 2 * this.filtersPerSecond
    while (this.sent < due && this.sent - this.answered < unansweredMax) {
      const visit = this.sent++
      const connection = this.connections[visit % connectionsCount]!
      const turn = Math.floor(visit / connectionsCount)
      const filter = churnFilter((Math.floor(turn / 2) * connectionsCount + (visit % connectionsCount)) % 100_000)
      const packetId = 1 + (turn % 65_535)
      connection.write(
        turn % 2 === 0
          ? Wire.subscribe(connection.protocol, packetId, [filter], 0)
          : Wire.unsubscribe(connection.protocol, packetId, [filter])
      )
    }
  }
}
