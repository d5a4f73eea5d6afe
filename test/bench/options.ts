/** The command line. */
import { parseArgs } from "node:util"
import { type BrokerName, brokerNames, isBrokerName } from "./brokers.ts"
import { type Scenario, scenarios } from "./scenarios.ts"

export interface Options {
  readonly scenarios: ReadonlyArray<Scenario>
  readonly brokers: ReadonlyArray<BrokerName>
  readonly rounds: number
  readonly seconds: number
  readonly warmUpSeconds: number
  /** Where the results go as JSON; `-` is standard output. */
  readonly json: string | undefined
}

export const usage = `Measures this broker beside others on this machine. Usage: npm run bench -- [options]

  --scenario a,b   only these (default: all; see below)
  --brokers a,b    only these (default: ours,aedes,mosquitto,mosquitto-persistent;
                   also: sink)
  --rounds N       runs of each broker in each scenario, in turn; the table has medians (default 3)
  --seconds S      length of the window that is measured, after 1 s of warm-up (default 3);
                   of the scenarios that --quick leaves out, two thirds of it
  --json FILE      write everything that was measured as JSON (- is standard output)
  --quick          a first impression: one round, one second, the main scenarios
  --self-test      how fast the load generator is: it drives a stand-in that forwards bytes and does nothing else
  --help           this text

Scenarios:
${scenarios.map((scenario) => `  ${scenario.name.padEnd(16)} ${scenario.title}`).join("\n")}
`

/** The scenarios that the stand-in of the self-test can serve, and that bound the generator. */
const selfTestScenarios = ["1-1-qos0", "10-1-qos0", "1-50-qos0", "10-10-qos1", "10-10-qos2", "rate-qos0", "rate-qos1"]

const list = (value: string | undefined): ReadonlyArray<string> | undefined => value?.split(",").filter(Boolean)

const positive = (name: string, value: string | undefined, otherwise: number): number => {
  const number = value === undefined ? otherwise : Number(value)
  if (!(number > 0)) throw new Error(`--${name} must be a number above 0, not ${value}`)
  return number
}

/** What the arguments ask for, or undefined for `--help`; throws an Error that says what is wrong with them. */
export const parseOptions = (args: ReadonlyArray<string>): Options | undefined => {
  const { values } = parseArgs({
    args: [...args],
    options: {
      scenario: { type: "string" },
      brokers: { type: "string" },
      rounds: { type: "string" },
      seconds: { type: "string" },
      json: { type: "string" },
      quick: { type: "boolean", default: false },
      "self-test": { type: "boolean", default: false },
      help: { type: "boolean", default: false }
    }
  })
  if (values.help) return undefined
  const names =
    list(values.scenario) ??
    (values["self-test"]
      ? selfTestScenarios
      : scenarios.filter(({ main }) => main || !values.quick).map(({ name }) => name))
  const brokers =
    list(values.brokers) ?? (values["self-test"] ? ["sink"] : ["ours", "aedes", "mosquitto", "mosquitto-persistent"])
  return {
    scenarios: names.map((name) => {
      const scenario = scenarios.find((known) => known.name === name)
      if (scenario === undefined) throw new Error(`unknown scenario ${name}; --help lists them`)
      return scenario
    }),
    brokers: brokers.map((name) => {
      if (!isBrokerName(name)) throw new Error(`unknown broker ${name}; known are ${brokerNames.join(", ")}`)
      return name
    }),
    rounds: Math.ceil(positive("rounds", values.rounds, values.quick ? 1 : 3)),
    seconds: positive("seconds", values.seconds, values.quick ? 1 : 3),
    warmUpSeconds: 1,
    json: values.json
  }
}
