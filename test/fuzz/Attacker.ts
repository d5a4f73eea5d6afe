/**
 * Plays one script against a broker, and watches that what comes back is MQTT within what the client allowed.
 */
import * as Net from "node:net"
import { Decoder } from "../../src/protocol/Decoder.ts"
import * as Encoder from "../../src/protocol/Encoder.ts"
import type { Packet, Publish } from "../../src/protocol/Packet.ts"
import type { Script } from "./Script.ts"

/** A broker that has not closed a connection by then never will. */
const CLOSES_MILLIS = 20_000

export class Attacker {
  readonly script: Script
  /** What the broker did wrong on this connection; `undefined`: nothing so far. */
  problem: string | undefined = undefined
  bytesReceived = 0
  private readonly socket: Net.Socket
  private readonly decoder: Decoder
  private readonly closed: Promise<void>
  private isClosed = false
  private unacknowledged = 0
  private sending = true
  /** Its answers got between the pieces of its script: nobody can tell what the broker makes of that. */
  private interfered = false

  constructor(port: number, script: Script) {
    this.script = script
    const { packetBytesMax, version } = script.expected
    this.decoder = new Decoder({
      sender: "server",
      version,
      packetBytesMax,
      topicLevelsMax: 65_536,
      userPropertiesMax: 100_000
    })
    this.socket = Net.connect({
      port,
      host: "127.0.0.1",
      noDelay: true,
      allowHalfOpen: true
    })
    if (script.reads) this.socket.on("data", (bytes: Buffer) => this.receive(bytes))
    // The broker closes when it has heard enough: a reset is an answer. Nobody there to answer is not.
    this.socket.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "ECONNREFUSED") this.problem ??= "nobody listens any more"
    })
    this.socket.on("end", () => this.socket.end())
    this.closed = new Promise((resolve) => {
      this.socket.once("close", () => {
        this.isClosed = true
        resolve()
      })
    })
  }

  /** Sends everything and ends as the script says; one that lingers comes back while it is still there. */
  async play(): Promise<void> {
    const { chunks, end } = this.script
    await this.connected()
    for (const chunk of chunks) {
      if (this.isClosed || !this.socket.writable) break
      await this.write(chunk)
    }
    this.sending = false
    if (end === "vanish") this.socket.destroy()
    else if (end === "reset") this.socket.resetAndDestroy()
    else if (end === "finish") {
      this.socket.end()
      await this.closes("after the client has closed its half")
    } else await this.remain()
    if (end !== "linger") await this.leave()
  }

  /** For those that linger. */
  async leave(): Promise<void> {
    this.socket.destroy()
    await this.closed
  }

  private async remain(): Promise<void> {
    const { answers, expected, reads } = this.script
    if (expected.mustClose && reads && !this.interfered) await this.closes("although it must")
    else if (answers !== "none") await this.within(this.closed, 50)
  }

  private connected(): Promise<void> {
    return new Promise((resolve) => {
      this.socket.once("connect", resolve)
      this.socket.once("close", () => resolve())
    })
  }

  /** Resolves a round of the event loop after the socket has taken it, so that most chunks arrive as such. */
  private write(chunk: Uint8Array): Promise<void> {
    return new Promise((resolve) => {
      const goOn = () => setImmediate(resolve)
      // A broker that does not read any more, and has not closed either, would hold this up for ever.
      if (this.socket.write(chunk)) goOn()
      else void this.within(this.drained(), 2_000).then(goOn)
    })
  }

  private drained(): Promise<void> {
    return new Promise((resolve) => {
      this.socket.once("drain", resolve)
      this.socket.once("close", () => resolve())
    })
  }

  private async closes(when: string): Promise<void> {
    if (await this.within(this.closed, CLOSES_MILLIS)) return
    this.problem ??= `the broker does not close ${when}`
    this.socket.destroy()
  }

  private async within(event: Promise<void>, millis: number): Promise<boolean> {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<boolean>((resolve) => {
      timer = setTimeout(resolve, millis, false)
    })
    const happened = await Promise.race([event.then(() => true), late])
    clearTimeout(timer)
    return happened
  }

  private receive(bytes: Uint8Array): void {
    this.bytesReceived += bytes.length
    this.decoder.push(bytes)
    for (let packet = this.decoder.next(); packet !== undefined; packet = this.decoder.next()) this.handle(packet)
    const { error } = this.decoder
    if (error !== undefined) this.problem ??= `the broker sent what it must not: ${error.message}`
  }

  private handle(packet: Packet): void {
    if (packet._tag === "Publish") this.check(packet)
    if (this.script.answers === "none") return
    for (const answer of answersTo(packet, this.script.answers === "wrong")) {
      this.interfered ||= this.sending
      const bytes = Encoder.encode(answer, this.script.expected.version)
      for (let times = this.script.answers === "twice" ? 2 : 1; times > 0; times--) {
        if (this.socket.writable) this.socket.write(bytes)
      }
    }
  }

  private check({ packetId, properties, qos }: Publish): void {
    const { receiveMaximum, topicAliasMaximum } = this.script.expected
    if (qos > 0 && packetId !== undefined) this.unacknowledged++
    if (this.script.answers === "none" && receiveMaximum !== undefined && this.unacknowledged > receiveMaximum) {
      this.problem ??= `the broker sent more than the Receive Maximum of ${receiveMaximum}`
    }
    if ((properties?.topicAlias ?? 0) > topicAliasMaximum) {
      this.problem ??= `the broker sent topic alias ${properties?.topicAlias} of at most ${topicAliasMaximum}`
    }
  }
}

const answersTo = (packet: Packet, wrong: boolean): ReadonlyArray<Packet> => {
  const answer = (_tag: "PubAck" | "PubRec" | "PubRel" | "PubComp", packetId: number): ReadonlyArray<Packet> => [
    { _tag, packetId, reasonCode: 0 }
  ]
  switch (packet._tag) {
    case "Publish":
      if (packet.packetId === undefined) return []
      return answer((packet.qos === 1) === wrong ? "PubRec" : "PubAck", packet.packetId)
    case "PubRec":
      return answer(wrong ? "PubComp" : "PubRel", packet.packetId)
    case "PubRel":
      return answer(wrong ? "PubRec" : "PubComp", packet.packetId)
    default:
      return []
  }
}
