/**
 * What was promised, held against what arrived.
 */
import { DatabaseSync } from "node:sqlite"
import type { Publisher } from "./Publisher.ts"
import type { Subscriber } from "./Subscriber.ts"

/** Whoever was promised something: the numbers that were acknowledged, by topic. */
export interface Source {
  readonly acknowledged: ReadonlyMap<string, ReadonlyArray<number>>
}

type Topics = ReadonlyArray<readonly [topic: string, acknowledged: ReadonlyArray<number>]>

/** What was acknowledged on the topics that everybody is subscribed to. */
const topicsOf = (sources: ReadonlyArray<Source>): Topics =>
  sources.flatMap(({ acknowledged }) => [...acknowledged].filter(([topic]) => topic.startsWith("t/")))

/** Whether the last message of each topic is there. */
export const isComplete = (sources: ReadonlyArray<Source>, { received }: Subscriber): boolean =>
  topicsOf(sources).every(([topic, numbers]) => received.get(topic)?.at(-1) === numbers.at(-1))

/** Every acknowledged message has arrived, QoS 2 once, and each topic in its order. */
export const judge = (sources: ReadonlyArray<Source>, { clientId, qos, received }: Subscriber): ReadonlyArray<string> =>
  topicsOf(sources).flatMap(([topic, acknowledged]) => {
    const numbers = received.get(topic) ?? []
    const once = new Set(numbers)
    const complaints: Array<string> = []
    const lost = acknowledged.filter((number) => !once.has(number))
    if (lost.length > 0) complaints.push(`${clientId} never got ${topic} ${lost.slice(0, 10)} (${lost.length} in all)`)
    if (qos === 2 && topic.endsWith("/2") && once.size !== numbers.length) {
      const twice = numbers.filter((number, index) => numbers.indexOf(number) !== index)
      complaints.push(`${clientId} got ${topic} ${twice.slice(0, 10)} more than once (${twice.length} in all)`)
    }
    const firsts = [...once]
    const late = firsts.findIndex((number, index) => index > 0 && number < firsts[index - 1]!)
    if (late !== -1) complaints.push(`${clientId} got ${topic} ${firsts[late]} after ${firsts[late - 1]}`)
    return complaints
  })

/** What is retained is what was acknowledged last, and nothing that was taken back. */
export const judgeRetained = (
  publishers: ReadonlyArray<Publisher>,
  retained: ReadonlyMap<string, ReadonlyArray<number>>
): ReadonlyArray<string> =>
  publishers.flatMap(({ acknowledged, clientId, cleared }) => {
    const back = cleared.filter((topic) => retained.has(topic))
    const last = acknowledged.get(`retained/${clientId}`)?.at(-1)
    const found = retained.get(`retained/${clientId}`)?.at(-1)
    return [
      ...back.map((topic) => `${topic} is back, and its end was acknowledged`),
      ...(last === found ? [] : [`retained/${clientId} is ${found}, and ${last} was acknowledged`])
    ]
  })

/** Throws when a copy of the store is damaged. */
export const checkCopy = (file: string): void => {
  const database = new DatabaseSync(file)
  try {
    const [verdict] = Object.values(database.prepare("PRAGMA integrity_check(1)").get() ?? {})
    if (verdict !== "ok") throw new Error(`The copy is damaged: ${verdict}`)
  } finally {
    database.close()
  }
}
