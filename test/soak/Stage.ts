/**
 * What the roles of a soak share: how to open clients, when to end, and the books that the broker's counters must agree
 * with at the end.
 */
import { type Random, random } from "../fixtures/random.ts"
import type { QoS } from "../../src/protocol/Packet.ts"
import { Peer, type PeerOptions } from "../fuzz/Peer.ts"

/** Limits of the broker that roles reach on purpose. */
export const limits = {
  inflightMax: 100,
  queueMessagesMax: 200,
  outboxBytesMax: 1_048_576,
  drainTimeoutSeconds: 3,
  pauseMillisMax: 250
}

/** Plays until the stage is over, then ends what it began. */
export type Role = (stage: Stage) => Promise<void>

/** After this long something that must happen will not. */
const LATE_MILLIS = 30_000

export class Stage {
  readonly port: number
  /** Connections opened, messages published on connections that lived to see them handled, messages received. */
  opened = 0
  published = 0
  received = 0
  /** Messages that the broker must have dropped, as its own count names them; roles that cannot know write nothing. */
  readonly dropped: Record<string, number> = {}
  /** Those of which nobody can know how many were dropped: who never read again cannot tell what did not come. */
  readonly unknown = new Set<string>()
  /** Rounds a role has played, by its name. */
  readonly rounds: Record<string, number> = {}
  readonly faults: Array<string> = []
  private readonly until: number
  private readonly enough: Readonly<Record<string, number>> | undefined
  private readonly seed: number
  private readonly waiting = new Set<() => void>()

  /** `until` in milliseconds since the epoch; with `enough`, as soon as every role has played that many rounds. */
  constructor(port: number, until: number, enough: Readonly<Record<string, number>> | undefined, seed: number) {
    this.port = port
    this.until = until
    this.enough = enough
    this.seed = seed
  }

  /** Time is up, everybody has played enough, or a fault has been found. */
  get over(): boolean {
    return Date.now() >= this.until || this.faults.length > 0 || this.played
  }

  private get played(): boolean {
    const { enough, rounds } = this
    return enough !== undefined && Object.entries(enough).every(([role, count]) => (rounds[role] ?? 0) >= count)
  }

  /** The same for the same name and seed. */
  chance(name: string): Random {
    let state = this.seed
    for (const character of name) state = Math.imul(state ^ character.charCodeAt(0), 0x0100_0193)
    return random(state)
  }

  fail(fault: string): void {
    this.faults.push(fault)
    for (const look of this.waiting) look()
  }

  /** One more round of a role. */
  round(role: string): void {
    this.rounds[role] = (this.rounds[role] ?? 0) + 1
  }

  expectDropped(clients: string, reason: string, count: number): void {
    const key = `${clients} ${reason}`
    this.dropped[key] = (this.dropped[key] ?? 0) + count
  }

  expectAny(clients: string, reason: string): void {
    this.unknown.add(`${clients} ${reason}`)
  }

  open(options: Omit<PeerOptions, "port">): Promise<Peer> {
    this.opened++
    const { onMessage } = options
    return Peer.open({
      ...options,
      port: this.port,
      onMessage: (message) => {
        this.received++
        onMessage?.(message)
        for (const look of this.waiting) look()
      }
    })
  }

  publish(peer: Peer, topic: string, payload: string | Uint8Array, qos: QoS = 0, retain = false): Promise<void> {
    this.published++
    return peer.publish(topic, payload, qos, retain)
  }

  /** Resolves when the condition holds, which is looked at whenever a message has come; fails when that takes long. */
  async eventually(what: string, condition: () => boolean): Promise<void> {
    if (condition() || this.faults.length > 0) return
    let timer: NodeJS.Timeout | undefined
    let look: () => void = () => {}
    await new Promise<void>((resolve) => {
      look = () => {
        if (condition() || this.faults.length > 0) resolve()
      }
      this.waiting.add(look)
      timer = setTimeout(() => {
        this.fail(`${what}: not within ${LATE_MILLIS / 1_000} s`)
        resolve()
      }, LATE_MILLIS)
    })
    clearTimeout(timer)
    this.waiting.delete(look)
  }

  pause(millis: number): Promise<void> {
    return new Promise((resolve) => setTimeout(resolve, millis))
  }
}
