/**
 * Roles that do not keep up: a reader that hardly reads for a while, readers that stop for good, and one that
 * acknowledges nothing. What the broker drops for them is known to the message, but for those that never read again.
 */
import type { Publish } from "../../src/protocol/Packet.ts"
import type { Peer } from "../fuzz/Peer.ts"
import { limits, type Role, type Stage } from "./Stage.ts"

const PAYLOAD = new Uint8Array(16 * 1024)
/** Far more than a socket's buffers and an outbox take: 24 MiB. */
const MESSAGES = 1_536
/** Published, and awaited, at a time. */
const PORTION = 64

/** What a slow reader reads between two portions. */
const SIP_BYTES = 256 * 1024

const pour = async (
  stage: Stage,
  publisher: Peer,
  topic: string,
  between: () => Promise<void> = async () => {}
): Promise<void> => {
  for (let sent = 0; sent < MESSAGES; sent += PORTION) {
    for (let count = 0; count < PORTION; count++) await stage.publish(publisher, topic, PAYLOAD)
    // The broker may not read the publisher for a while; never for longer than its limit.
    await publisher.ping()
    await between()
  }
}

/** A reader that reads a little now and then: slow, but not frozen. */
class Thirst {
  /** The longest time between two sips. */
  longestMillis = 0
  private readonly reader: Peer
  private lastAt = Date.now()

  constructor(reader: Peer) {
    this.reader = reader
  }

  async sip(stage: Stage): Promise<void> {
    const { socket } = this.reader
    const before = socket.bytesRead
    socket.resume()
    for (let tries = 0; tries < 20 && socket.bytesRead < before + SIP_BYTES; tries++) await stage.pause(1)
    socket.pause()
    this.longestMillis = Math.max(this.longestMillis, Date.now() - this.lastAt)
    this.lastAt = Date.now()
  }
}

/** Reads next to nothing, and then all: what did not come was dropped, and counted. */
export const late: Role = async (stage) => {
  let received = 0
  let marks = 0
  const onMessage = ({ qos }: Publish) => {
    if (qos === 0) received++
    else marks++
  }
  const reader = await stage.open({ clientId: "slow-reader", onMessage })
  await reader.subscribe(["slow/late"], 0)
  await reader.subscribe(["slow/mark"], 1)
  const publisher = await stage.open({ clientId: "slow-publisher" })
  for (let round = 1; !stage.over; round++) {
    const before = received
    const thirst = new Thirst(reader)
    reader.socket.pause()
    await pour(stage, publisher, "slow/late", () => thirst.sip(stage))
    reader.socket.resume()
    // Behind everything that was not dropped.
    await stage.publish(publisher, "slow/mark", "mark", 1)
    await stage.eventually(`slow: mark ${round}`, () => marks === round || reader.closed)
    if (reader.closed) {
      // On a machine that stands still the reader does too, and the broker was right.
      if (thirst.longestMillis < limits.drainTimeoutSeconds * 1_000) {
        stage.fail("slow: the broker disconnected a reader that had read")
      }
      stage.expectAny("slow", "outbox-full")
      break
    }
    stage.expectDropped("slow", "outbox-full", MESSAGES - (received - before))
    stage.round("late reader")
    await stage.pause(500)
  }
  await reader.disconnect()
  await publisher.disconnect()
}

/** Stops reading for good: disconnected, which its will tells. */
export const frozen: Role = async (stage) => {
  let gone = 0
  stage.expectAny("frozen", "outbox-full")
  const publisher = await stage.open({ protocolVersion: 4, clientId: "frozen-publisher", onMessage: () => gone++ })
  await publisher.subscribe(["frozen-will"], 1)
  while (!stage.over) {
    const before = gone
    const will = { topic: "frozen-will", payload: Buffer.from("gone"), qos: 1 as const, retain: false }
    const reader = await stage.open({ clientId: "frozen-reader", will })
    await reader.subscribe(["slow/frozen"], 0)
    reader.socket.pause()
    await pour(stage, publisher, "slow/frozen")
    await stage.eventually("frozen: the broker disconnects who does not read", () => gone > before)
    reader.abort()
    await reader.ended
    stage.round("frozen reader")
    await stage.pause(1_000)
  }
  await publisher.disconnect()
}

/** Acknowledges nothing: the window fills, then the queue, then the newest are dropped. */
export const stuck: Role = async (stage) => {
  const publisher = await stage.open({ clientId: "stuck-publisher" })
  for (let round = 0; !stage.over; round++) {
    let received = 0
    const reader = await stage.open({ clientId: "stuck-reader", onMessage: () => received++ })
    reader.acknowledges = false
    await reader.subscribe(["slow/stuck"], 2)
    const count = 400
    for (let sent = 0; sent < count; sent += 50) {
      await Promise.all(
        Array.from({ length: 50 }, () => stage.publish(publisher, "slow/stuck", "stuck", round % 2 === 0 ? 1 : 2))
      )
    }
    stage.expectDropped("stuck", "queue-full", count - limits.inflightMax - limits.queueMessagesMax)
    await stage.eventually("stuck: a window of messages", () => received === limits.inflightMax)
    await reader.disconnect()
    stage.round("stuck reader")
    await stage.pause(500)
  }
  await publisher.disconnect()
}
