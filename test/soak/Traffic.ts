/**
 * Roles that come and stay: steady traffic of every version and QoS, of which nothing may be lost, and the members of
 * shared subscriptions.
 */
import type { QoS } from "../../src/protocol/Packet.ts"
import type { Peer } from "../fuzz/Peer.ts"
import type { Role, Stage } from "./Stage.ts"

/** Messages a burst, and the time between two bursts. */
const BURST = 10
const BETWEEN_MILLIS = 50

const numberOf = ({ payload }: { readonly payload: Uint8Array }): number =>
  Number(Buffer.from(payload.buffer, payload.byteOffset, payload.length).toString().trim())

const payloadOf = (number: number): string => String(number).padEnd(64)

/** One publisher, one subscriber: everything arrives, once, in order. */
const pair = async (stage: Stage, protocolVersion: 3 | 4 | 5, qos: QoS): Promise<void> => {
  const name = `steady-${protocolVersion}-${qos}`
  let sent = 0
  let next = 0
  const subscriber = await stage.open({
    protocolVersion,
    clientId: `${name}-s`,
    onMessage: (message) => {
      const number = numberOf(message)
      if (number !== next) stage.fail(`${name}: message ${number} came and not ${next}`)
      next = number + 1
    }
  })
  await subscriber.subscribe([`steady/${protocolVersion}/${qos}`], qos)
  const publisher = await stage.open({ protocolVersion, clientId: `${name}-p` })
  while (!stage.over) {
    const answers: Array<Promise<void>> = []
    for (let count = 0; count < BURST; count++) {
      answers.push(stage.publish(publisher, `steady/${protocolVersion}/${qos}`, payloadOf(sent++), qos))
    }
    await Promise.all(answers)
    stage.round("steady")
    await stage.pause(BETWEEN_MILLIS)
  }
  await publisher.ping()
  await stage.eventually(`${name}: the last of ${sent} messages`, () => next === sent)
  await publisher.disconnect()
  await subscriber.disconnect()
}

/** All of that once more, to one who subscribes with wildcards. */
export const steady: Role = async (stage) => {
  let observed = 0
  const observer = await stage.open({ clientId: "steady-observer", onMessage: () => observed++ })
  await observer.subscribe(["steady/+/0", "steady/#"], 0)
  const before = stage.rounds.steady ?? 0
  const pairs: Array<Promise<void>> = []
  for (const version of [3, 4, 5] as const) for (const qos of [0, 1, 2] as const) pairs.push(pair(stage, version, qos))
  await Promise.all(pairs)
  const sent = BURST * ((stage.rounds.steady ?? 0) - before)
  await stage.eventually(`the observer: the last of ${sent} messages`, () => observed === sent)
  await observer.disconnect()
}

/** Three members divide the messages; one keeps leaving and coming back. */
export const shared: Role = async (stage) => {
  const seen = new Set<number>()
  let sent = 0
  const member = async (number: number): Promise<Peer> => {
    const onMessage = (message: { readonly payload: Uint8Array }) => {
      const value = numberOf(message)
      if (seen.has(value)) stage.fail(`shared: message ${value} came twice`)
      seen.add(value)
    }
    const peer = await stage.open({ clientId: `shared-${number}`, onMessage })
    await peer.subscribe(["$share/group/shared/+"], 2)
    return peer
  }
  const members = [await member(0), await member(1), await member(2)]
  const publisher = await stage.open({ protocolVersion: 4, clientId: "shared-publisher" })
  while (!stage.over) {
    const answers = Array.from({ length: BURST }, () => stage.publish(publisher, "shared/x", payloadOf(sent++), 2))
    const [, , restless] = members
    await restless!.unsubscribe(["$share/group/shared/+"])
    await restless!.subscribe(["$share/group/shared/+"], 2)
    await Promise.all(answers)
    stage.round("shared")
    await stage.pause(BETWEEN_MILLIS)
  }
  await stage.eventually(`shared: all of ${sent} messages, not ${seen.size}`, () => seen.size === sent)
  for (const peer of [...members, publisher]) await peer.disconnect()
}
