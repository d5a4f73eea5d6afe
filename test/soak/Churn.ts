/**
 * Roles that come and go: clean sessions with subscriptions of all kinds and wills, and clients that take over each
 * other's sessions.
 */
import type { QoS } from "../../src/protocol/Packet.ts"
import type { Random } from "../fixtures/random.ts"
import type { Peer } from "../fuzz/Peer.ts"
import type { Role, Stage } from "./Stage.ts"

/** Clients that come and go at the same time. */
const VISITORS = 12
const FIGHTERS = 3

const anyOf = <A>(items: ReadonlyArray<A>, chance: Random): A => items[chance.below(items.length)]!

const filterOf = (chance: Random): string => {
  const level = () => anyOf(["a", "b", "c", "+", `n${chance.below(500)}`], chance)
  return anyOf([`churn/${level()}/${level()}`, `churn/${level()}/#`, "churn/#", `+/${level()}/z`], chance)
}

/** One life; returns whether its will must come. */
const visit = async (stage: Stage, clientId: string, chance: Random): Promise<boolean> => {
  const hasWill = chance.below(2) === 0
  const will = { topic: "churn-will", payload: Buffer.from(clientId), qos: 1 as const, retain: false }
  const peer = await stage.open({
    protocolVersion: anyOf([3, 4, 5] as const, chance),
    clientId,
    will: hasWill ? will : undefined
  })
  const filters = Array.from({ length: 1 + chance.below(5) }, () => filterOf(chance))
  await peer.subscribe(filters, anyOf([0, 1, 2] as const, chance))
  const answers: Array<Promise<void>> = []
  for (let count = chance.below(6); count > 0; count--) {
    const topic = `churn/${anyOf(["a", "b", `n${chance.below(500)}`], chance)}/z`
    const qos: QoS = anyOf([0, 1, 2] as const, chance)
    answers.push(stage.publish(peer, topic, "x".repeat(chance.below(2_000)), qos))
  }
  await Promise.all(answers)
  if (chance.below(2) === 0) await peer.unsubscribe(filters)
  // Everything it sent has been handled: its books are right whatever end it takes.
  await peer.ping()
  if (chance.below(2) === 0) {
    await peer.disconnect()
    return false
  }
  peer.abort()
  await peer.ended
  return hasWill
}

export const churn: Role = async (stage) => {
  let wills = 0
  let expected = 0
  const heir = await stage.open({ clientId: "churn-heir", onMessage: () => wills++ })
  await heir.subscribe(["churn-will"], 1)
  const visitor = async (number: number): Promise<void> => {
    const chance = stage.chance(`churn ${number}`)
    while (!stage.over) {
      if (await visit(stage, `churn-${number}`, chance)) expected++
      stage.round("churn")
      await stage.pause(chance.below(60))
    }
  }
  await Promise.all(Array.from({ length: VISITORS }, (_, number) => visitor(number)))
  await stage.eventually(`the wills of ${expected} clients, not ${wills}`, () => wills === expected)
  await heir.disconnect()
}

/** Session Taken Over. */
const TAKEN_OVER = 0x8e

/** Connections fight for one durable session; every message for it reaches one of them. */
const fight = async (stage: Stage, number: number): Promise<void> => {
  const clientId = `takeover-${number}`
  const protocolVersion = number % 2 === 0 ? 5 : 4
  const seen = new Set<string>()
  let sent = 0
  const unreleased = new Set<number>()
  const properties = protocolVersion === 5 ? { sessionExpiryInterval: 3_600 } : undefined
  const come = (): Promise<Peer> =>
    stage.open({
      protocolVersion,
      clientId,
      cleanStart: false,
      properties,
      unreleased,
      onMessage: ({ payload }) => seen.add(Buffer.from(payload).toString())
    })
  let holder = await come()
  await holder.subscribe([`takeover/${number}`], 2)
  const feeder = await stage.open({ protocolVersion: 4, clientId: `takeover-feeder-${number}` })
  while (!stage.over) {
    const answers = Array.from({ length: 5 }, () => {
      const qos = sent % 2 === 0 ? 1 : 2
      return stage.publish(feeder, `takeover/${number}`, String(sent++), qos)
    })
    const former = holder
    holder = await come()
    await former.ended
    if (protocolVersion === 5 && former.disconnectCode !== TAKEN_OVER) {
      stage.fail(`${clientId}: taken over with ${former.disconnectCode}`)
    }
    await Promise.all(answers)
    stage.round("takeover")
    await stage.pause(40)
  }
  await stage.eventually(`${clientId}: ${sent} messages, not ${seen.size}`, () => seen.size === sent)
  await feeder.disconnect()
  await discard(stage, holder, clientId)
}

export const takeover: Role = async (stage) => {
  await Promise.all(Array.from({ length: FIGHTERS }, (_, number) => fight(stage, number)))
}

/** Ends a durable session for good. */
export const discard = async (stage: Stage, holder: Peer, clientId: string): Promise<void> => {
  await holder.disconnect()
  const last = await stage.open({ protocolVersion: 4, clientId, cleanStart: true })
  await last.disconnect()
}
