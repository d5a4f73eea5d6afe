/**
 * What kind of run a seed stands for: the broker's limits, the clients and their habits, and how much goes wrong.
 *
 * Owns only this choice. Everything in it is drawn from the seed before the first step.
 */
import * as CoreConfig from "../../src/core/CoreConfig.ts"
import { Random } from "./Random.ts"

export interface Profile {
  readonly clientId: string
  readonly version: 3 | 4 | 5
  /** Asks for a session that outlives its connections. */
  readonly durable: boolean
  /** Session expiry of a durable 5.0 client. */
  readonly expirySeconds: number
  readonly keepAliveSeconds: number
  /** 5.0: what the client announces; undefined: nothing. */
  readonly receiveMaximum: number | undefined
  readonly maximumPacketSize: number | undefined
  readonly topicAliasMaximum: number | undefined
  /** 5.0: uses topic aliases towards the broker. */
  readonly aliases: boolean
  /** Most of its own QoS 1 and 2 messages underway at once. */
  readonly window: number
  readonly topics: ReadonlyArray<string>
  readonly filters: ReadonlyArray<string>
  /** Its filter is a shared one. */
  readonly shared: boolean
  readonly noLocal: boolean
  readonly retainAsPublished: boolean
  readonly identifiers: boolean
  readonly will: boolean
  /** Sends SUBSCRIBE and PUBLISH before its CONNACK arrived. */
  readonly eager: boolean
  /** How often it keeps its answers back for a while. */
  readonly laziness: number
}

export interface Scenario {
  readonly seed: number
  readonly steps: number
  readonly config: CoreConfig.CoreConfig
  /** False: the broker's memory mode. */
  readonly journal: boolean
  /** The store is asked for the middle of long queues. */
  readonly pages: boolean
  /** Somebody listens to every kind of event. */
  readonly events: boolean
  readonly hooks: boolean
  /** An in-process subscriber and an in-process publisher take part. */
  readonly local: boolean
  readonly storeTrouble: number
  /** Chances per step. */
  readonly crashes: number
  readonly cuts: number
  /** How often a client that comes back wants to know nothing of what was, besides what it does of itself. */
  readonly cleanStarts: number
  readonly freezes: number
  /** Long times pass. */
  readonly longWaits: boolean
  readonly payloads: "small" | "medium" | "large"
  /** Sessions have given out most packet ids when they begin. */
  readonly lateIds: boolean
  readonly profiles: ReadonlyArray<Profile>
}

/** Topics below "r" are published with RETAIN, those below "s" are meant for shared subscriptions. */
const topics = ["t/0", "t/0", "t/1", "u/0", "r/0", "r/1", "s/a/0"]
const filters = ["t/0", "t/0", "t/1", "t/+", "t/#", "+/0", "#", "u/0", "r/#", "r/0", "+/+"]
const sharedFilters = ["$share/one/s/a/0", "$share/one/s/#", "$share/two/s/+/0"]

export const isRetainedTopic = (topic: string): boolean => topic.startsWith("r/")

const DEFAULT_STEPS = 350

export const scenarioOf = (seed: number, steps: number | undefined): Scenario => {
  const random = new Random(seed)
  const journal = random.chance(0.7)
  const longWaits = random.chance(0.4)
  const config = configOf(random, longWaits)
  const profiles: Array<Profile> = []
  const count = random.between(2, 6)
  const sharing = random.pick([0.1, 0.1, 0.1, 0.1, 0.1, 0.7])
  for (let index = 0; index < count; index++) profiles.push(profileOf(random, index, config, longWaits, sharing))
  const scenario = {
    seed,
    steps: steps ?? random.between(DEFAULT_STEPS / 2, (DEFAULT_STEPS * 3) / 2),
    config,
    journal,
    events: random.chance(0.25),
    hooks: random.chance(0.2),
    local: random.chance(0.3),
    storeTrouble: random.pick([0, 0, 0.05, 0.15]),
    crashes: journal ? random.pick([0, 0.003, 0.01]) : 0,
    cuts: random.pick([0, 0.01, 0.03, 0.08]),
    freezes: random.pick([0, 0.01, 0.03]),
    cleanStarts: 0,
    longWaits,
    payloads: random.pick(["small", "small", "small", "small", "medium", "large"] as const),
    lateIds: random.chance(0.2),
    profiles
  }
  const pages = journal && random.chance(0.6)
  const paging = pages ? pagingConfigOf(random, config) : config
  const workPerTurnMax = random.pick([1, 3, 20, 100_000, 100_000, 100_000])
  const drawn = { ...scenario, pages, config: { ...paging, workPerTurnMax } }
  if (!pages || sharing <= 0.5 || !random.chance(0.7)) return drawn
  return { ...withOrphans(random, drawn), steps: steps ?? 4 * drawn.steps }
}

/** Members of shared subscriptions get more than they take, and their sessions end while it waits in the store. */
const withOrphans = (random: Random, scenario: Scenario): Scenario => ({
  ...scenario,
  config: { ...scenario.config, queueMemoryBytesMax: random.pick([600, 1_500]) },
  cuts: 0.05,
  cleanStarts: 0.3,
  profiles: scenario.profiles.map((profile) => ({
    ...profile,
    ...(profile.shared ? { durable: true, receiveMaximum: random.pick([1, 2]), laziness: 0.7 } : undefined),
    topics: profile.topics.length > 0 ? ["s/a/0"] : []
  }))
})

/** Little memory for queues: most have a part that is only in the store. */
const pagingConfigOf = (random: Random, config: CoreConfig.CoreConfig): CoreConfig.CoreConfig => ({
  ...config,
  queueMemoryBytesMax: random.pick([600, 1_500, 5_000, 1_000_000]),
  queuesMemoryBytesMax: random.pick([1_000, 1_000_000_000, 1_000_000_000])
})

/** Half of the runs have room for everything; the others have limits that are reached. */
const configOf = (random: Random, longWaits: boolean): CoreConfig.CoreConfig => {
  const config = {
    ...CoreConfig.defaults,
    // So that every session has an end that can be waited for; but not in the middle of a run without long waits.
    sessionExpirySecondsMax: longWaits ? random.pick([60, 600, 3_600]) : 86_400,
    queueQos0: random.chance(0.2),
    inflightMax: random.pick([1, 2, 5, 1_000]),
    receiveMaximum: random.pick([5, 8, 1_000])
  }
  if (random.chance(0.5)) return config
  const queueOverflow = random.pick(["drop-newest", "drop-oldest", "disconnect"] as const)
  return {
    ...config,
    queueMessagesMax: random.pick([2, 5, 20, 1_000]),
    queueBytesMax: random.pick([300, 2_000, 16_000_000]),
    queueOverflow,
    outboxBytesMax: random.pick([400, 3_000, 8_000_000]),
    bufferedBytesMax: random.pick([600, 5_000, 256_000_000]),
    journalBytesMax: random.pick([500, 4_000, 64_000_000]),
    pauseMillisMax: random.pick([0, 100, 1_000]),
    drainTimeoutSeconds: random.pick([1, 5, 30]),
    retainedMessagesMax: random.pick([1, 2, 1_000]),
    retainedBytesMax: random.pick([100, 1_000_000]),
    subscriptionsPerSessionMax: random.pick([2, 100]),
    sessionsMax: random.pick([3, 100]),
    topicAliasMaximum: random.pick([0, 2, 64])
  }
}

/** `sharing` is the share of members of shared subscriptions. */
const profileOf = (
  random: Random,
  index: number,
  config: CoreConfig.CoreConfig,
  longWaits: boolean,
  sharing: number
): Profile => {
  const version = random.pick([3, 4, 4, 4, 5, 5, 5, 5] as const)
  const five = version === 5
  const shared = five && random.chance(sharing * 2) && config.queueOverflow !== "disconnect"
  // A client whose own messages overflow its queue would be disconnected for ever, each time before it is answered.
  const half = config.queueOverflow === "disconnect"
  const publishes = random.chance(half ? 0.5 : 0.8)
  const subscribes = half ? !publishes : random.chance(0.8)
  const some = <Item>(items: ReadonlyArray<Item>): Array<Item> => items.filter(() => random.chance(0.3))
  return {
    clientId: `${shared ? "member" : "client"}-${index}`,
    // 3.1 cannot be told that its session is gone, and must not lose it.
    version: version === 3 && longWaits ? 4 : version,
    durable: random.chance(0.7),
    expirySeconds: longWaits ? random.pick([5, 30, 10_000, 0xffff_ffff]) : 100_000,
    keepAliveSeconds: random.pick([0, 0, 5, 60]),
    receiveMaximum: five && random.chance(0.5) ? random.pick([1, 2, 4]) : undefined,
    maximumPacketSize: five && random.chance(0.1) ? random.pick([100, 300]) : undefined,
    topicAliasMaximum: five && random.chance(0.4) ? random.pick([1, 2, 10]) : undefined,
    aliases: five && random.chance(0.3),
    window: Math.min(config.receiveMaximum, random.pick([1, 3, 5])),
    topics: publishes ? [random.chance(sharing) ? "s/a/0" : random.pick(topics), ...some(topics)] : [],
    shared,
    // One only: each shared subscription gets its own copy.
    filters: shared ? [random.pick(sharedFilters)] : subscribes ? [random.pick(filters), ...some(filters)] : [],
    noLocal: five && !shared && random.chance(0.2),
    retainAsPublished: five && random.chance(0.15),
    identifiers: five && random.chance(0.3),
    will: random.chance(0.3),
    eager: random.chance(0.2),
    laziness: random.pick([0, 0.2, 0.7])
  }
}
