/** From runs to the numbers that are printed and judged. */
import { assert, describe, it } from "@effect/vitest"
import { parseCores } from "../bench/affinity.ts"
import { belongs, supports } from "../bench/brokers.ts"
import { compareRounds, type Round } from "../bench/comparison.ts"
import { parseOptions, usage } from "../bench/options.ts"
import { type Run, resultsOf } from "../bench/results.ts"
import { isDurable, type MessageScenario, roundsOf, scenarios, transportOf } from "../bench/scenarios.ts"
import { median, quantile } from "../bench/statistics.ts"
import { pairTable, resultTable } from "../bench/table.ts"
import { judge } from "../bench/targets.ts"
import { deliveriesPerMessage, filtersOf, topicsOf } from "../bench/topics.ts"

const run = (broker: Run["broker"], deliveriesPerSecond: number, messagesLost: number): Run => ({
  scenario: "1-1-qos0",
  broker,
  round: 1,
  measurement: { deliveriesPerSecond, messagesLost, cpuMicrosPerDelivery: 1e6 / deliveriesPerSecond, notes: [] }
})

const messageScenarios = scenarios.filter((scenario): scenario is MessageScenario => scenario.kind === "messages")

/** Whether a filter matches a topic: the naive way, level by level. */
const matches = (filter: string, topic: string): boolean => {
  const levels = topic.split("/")
  const wanted = filter.split("/")
  const rest = wanted.indexOf("#")
  if (rest < 0 && wanted.length !== levels.length) return false
  return wanted.slice(0, rest < 0 ? wanted.length : rest).every((level, i) => level === "+" || level === levels[i])
}

describe("statistics", () => {
  it("takes the middle", () => {
    assert.strictEqual(median([3, 1, 2]), 2)
    assert.strictEqual(median([4, 1, 2, 3]), 2.5)
    assert.isUndefined(median([]))
  })

  it("takes a percentile", () => {
    const values = Array.from({ length: 100 }, (_, index) => 100 - index)
    assert.strictEqual(quantile(values, 0.5), 51)
    assert.strictEqual(quantile(values, 0.99), 100)
    assert.isUndefined(quantile([], 0.5))
  })
})

describe("results", () => {
  it("has medians of speed, the worst of losses, and ratios to the peers", () => {
    const [ours, peer] = resultsOf([
      run("ours", 1_000, 0),
      run("mosquitto", 100, 7),
      run("ours", 3_000, 0),
      run("mosquitto", 200, 0),
      run("ours", 2_000, 1),
      run("mosquitto", 300, 0)
    ])
    assert.strictEqual(ours?.metrics.deliveriesPerSecond, 2_000)
    assert.strictEqual(ours?.metrics.messagesLost, 1)
    assert.isUndefined(ours?.oursToThis)
    assert.strictEqual(peer?.metrics.messagesLost, 7)
    assert.strictEqual(peer?.oursToThis, 10)
    assert.strictEqual(peer?.cpuToOurs, 10)
  })

  it("says what a broker does not support, and does not take that for a failure", () => {
    const row = scenarios.find(({ name }) => name === "group-qos1")!
    assert.deepStrictEqual(
      (["ours", "mosquitto", "aedes", "sink"] as const).map((broker) => supports(broker, row)),
      [true, true, false, false]
    )
    assert.isTrue(supports("aedes", scenarios[0]!))
    const measurement = { notes: ["not supported"] }
    const [result] = resultsOf([{ scenario: row.name, broker: "aedes", round: 1, measurement }])
    assert.deepStrictEqual(result?.metrics, {})
    assert.include(resultTable([result!]), "not supported")
  })

  it("compares handshakes as it does deliveries", () => {
    const handshakes = (broker: Run["broker"], handshakesPerSecond: number): Run => ({
      scenario: "tls-handshakes",
      broker,
      round: 1,
      measurement: { handshakesPerSecond, cpuMicrosPerHandshake: 1e6 / handshakesPerSecond, notes: [] }
    })
    const [, peer] = resultsOf([handshakes("ours", 1_000), handshakes("mosquitto", 500)])
    assert.strictEqual(peer?.oursToThis, 2)
    assert.strictEqual(peer?.cpuToOurs, 2)
    assert.include(resultTable([peer!]), "500 handshakes/s, 2,000 µs of CPU each")
  })

  it("has the time of a start on a store, and the memory it takes", () => {
    const measurement = { startMilliseconds: 4_321, residentBytes: 300 * 1_048_576, notes: [] }
    const results = resultsOf([{ scenario: "start-stored", broker: "ours", round: 1, measurement }])
    assert.include(resultTable(results), "4,321 ms; 300 MiB")
    const verdict = judge(results).find(({ title }) => title.startsWith("start-stored"))
    assert.deepInclude(verdict, { reached: 4.321, met: true })
  })

  it("says so when the generator is the limit", () => {
    const busy = (generatorCpuShare: number, brokerCpuShare: number): string => {
      const measurement = { deliveriesPerSecond: 1, generatorCpuShare, brokerCpuShare, notes: [] }
      return resultTable(resultsOf([{ scenario: "1-1-qos0", broker: "ours", round: 1, measurement }]))
    }
    assert.include(busy(0.99, 0.6), "the generator is the limit: it took 99 % of a core, the broker 60 %")
    assert.include(busy(0.99, 0.99), "| the generator took 99 % of a core, the broker 99 %")
    assert.notInclude(busy(0.8, 0.99), "generator")
  })

  it("keeps the reason of a run that failed", () => {
    const [result] = resultsOf([{ scenario: "idle", broker: "aedes", round: 1, error: "no" }])
    assert.strictEqual(result?.rounds, 0)
    assert.deepStrictEqual(result?.notes, ["failed: no"])
  })

  it("judges a target by its bound, and not at all without numbers", () => {
    const verdict = (ours: number, lost: number) =>
      judge(resultsOf([run("ours", ours, lost), run("mosquitto", 100, 0)]))
        .slice(0, 2)
        .map(({ met }) => met)
    assert.deepStrictEqual(verdict(1_000, 0), [true, true])
    assert.deepStrictEqual(verdict(999, 1), [false, false])
    assert.isTrue(judge([]).every(({ met }) => met === undefined))
  })
})

describe("scenarios", () => {
  it("have names of their own", () => {
    assert.strictEqual(new Set(scenarios.map(({ name }) => name)).size, scenarios.length)
  })

  it("measure brokers that keep things only where there is something to keep, and a million messages once", () => {
    for (const scenario of scenarios) {
      const isOurs = scenario.kind === "stored"
      assert.isTrue(belongs("ours", scenario))
      assert.strictEqual(belongs("mosquitto-persistent", scenario), isDurable(scenario) && !isOurs)
      assert.strictEqual(belongs("aedes-persistent", scenario), isDurable(scenario) && !isOurs)
      assert.strictEqual(belongs("aedes", scenario), !isOurs)
      assert.strictEqual(roundsOf(scenario, 3), scenario.kind === "offline" || isOurs ? 1 : 3)
    }
  })

  for (const scenario of messageScenarios) {
    it(`${scenario.name}: each message is due as many deliveries as filters match it`, () => {
      const everyone = Array.from({ length: scenario.subscribers }, (_, index) => filtersOf(scenario, index))
      for (let publisher = 0; publisher < scenario.publishers; publisher++) {
        const topics = topicsOf(scenario, publisher)
        assert.strictEqual(new Set(topics.map((topic) => topic.length)).size, 1)
        for (const topic of [topics[0]!, topics.at(-1)!]) {
          const matching = everyone.flatMap((filters) =>
            filters.filter((filter) => matches(filter.replace(/^\$share\/[^/]+\//, ""), topic))
          )
          // All who share one filter get one delivery between them.
          const shared = matching.filter((filter) => filter.startsWith("$share/"))
          const deliveries = matching.length - shared.length + new Set(shared).size
          assert.strictEqual(deliveries, deliveriesPerMessage(scenario))
        }
      }
    })
  }
})

describe("pairs", () => {
  const round = (number: number, here: number, there: number): Round => ({
    scenario: "1-1-qos0",
    round: number,
    here: { deliveriesPerSecond: here, cpuMicrosPerDelivery: 1, notes: [] },
    there: { deliveriesPerSecond: there, notes: [] },
    errors: []
  })

  it("has the median of the rounds' ratios, not the ratio of the medians", () => {
    const failed: Round = { scenario: "1-1-qos0", round: 4, errors: ["there: no"] }
    const found = compareRounds("1-1-qos0", [round(1, 90, 100), round(2, 300, 100), round(3, 20, 10), failed])
    assert.strictEqual(found.length, 1)
    assert.deepInclude(found[0], { metric: "deliveriesPerSecond", rounds: 3, ratio: 2, least: 0.9, most: 3 })
    assert.deepInclude(found[0], { here: 90, there: 100 })
    assert.include(pairTable(found), "| 0.900 to 3.000 |")
  })

  it("has nothing to say without pairs", () => {
    assert.deepStrictEqual(compareRounds("1-1-qos0", []), [])
  })
})

describe("command line", () => {
  const rowsOf = (...args: ReadonlyArray<string>) => parseOptions(args)?.scenarios ?? []

  it("selects rows by name, or by a word of it", () => {
    assert.deepStrictEqual(
      rowsOf("--rows", "tls").map(({ name }) => name),
      scenarios.filter((scenario) => transportOf(scenario) === "tls").map(({ name }) => name)
    )
    assert.isTrue(rowsOf("--rows", "durable,offline").every(isDurable))
    assert.isTrue(rowsOf("--rows", "v5").every(({ protocol }) => protocol === 5))
    // A name is that row only, though it is a part of others.
    assert.strictEqual(rowsOf("--rows", "1-1-qos0").length, 1)
    assert.strictEqual(rowsOf("--rows", "tls,tls-handshakes").length, rowsOf("--rows", "tls").length)
    assert.strictEqual(rowsOf().length, scenarios.length)
  })

  it("pairs this checkout with another, more often and without others", () => {
    const options = parseOptions(["--paired-with", "/elsewhere"])
    assert.strictEqual(options?.pairedWith, "/elsewhere")
    assert.strictEqual(options?.rounds, 9)
    assert.deepStrictEqual(
      options?.scenarios.map(({ name }) => name),
      ["1-1-qos0", "10-10-qos1", "10-10-qos2", "kept-qos1", "kept-qos2"]
    )
    // What outlives its connection is in memory there: on a disk it is the disk that is measured.
    assert.isFalse(options?.scenarios.some(isDurable))
    assert.throws(() => parseOptions(["--paired-with", "/elsewhere", "--brokers", "aedes"]), /brokers/)
  })

  it("tells of every row and option", () => {
    for (const { name } of scenarios) assert.include(usage, `  ${name} `)
    for (const option of ["rows", "brokers", "rounds", "seconds", "json", "quick", "self-test", "paired-with"]) {
      assert.include(usage, `--${option}`)
    }
    assert.isUndefined(parseOptions(["--help"]))
  })

  it("selects scenarios and brokers, and says what it does not know", () => {
    const options = parseOptions(["--scenario", "idle,frozen", "--brokers", "aedes", "--rounds", "2"])
    assert.deepStrictEqual(
      options?.scenarios.map(({ name }) => name),
      ["idle", "frozen"]
    )
    assert.deepStrictEqual(options?.brokers, ["aedes"])
    assert.strictEqual(options?.rounds, 2)
    assert.throws(() => parseOptions(["--scenario", "nonsense"]), /nonsense/)
    assert.throws(() => parseOptions(["--rounds", "many"]), /rounds/)
  })

  it("reads a list of cores", () => {
    assert.deepStrictEqual(parseCores("0-2,5"), [0, 1, 2, 5])
  })
})
