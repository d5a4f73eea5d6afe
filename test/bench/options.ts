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
  /** Another checkout of this repository: ours is measured against ours there, and against nothing else. */
  readonly pairedWith: string | undefined
}

const defaultBrokers: ReadonlyArray<BrokerName> = [
  "ours",
  "aedes",
  "aedes-persistent",
  "mosquitto",
  "mosquitto-persistent"
]

/** What the gating of acknowledgements by the journal could slow down. */
const pairedScenarios = ["1-1-qos0", "10-10-qos1", "10-10-qos2", "kept-qos1", "kept-qos2"]
const pairedRounds = 9

export const usage = `Measures this broker beside others on this machine. Usage: npm run bench -- [options]

  --rows a,b       only these (default: all; see below): a row's name, or a word of names, as tls, ws, wss,
                   v5, kept, durable, offline, rate (also --scenario)
  --brokers a,b    only these (default: ${defaultBrokers.join(",")};
                   also: sink); those with persistence are measured in durable rows only:
                   aedes-persistent needs aedes-persistence-level and classic-level (LevelDB, no fsync),
                   mosquitto-persistent has persistence true (which writes its file every 30 minutes)
  --rounds N       runs of each broker in each row, in turn; the table has medians (default 3)
                   The rows "offline" and "start-stored" are measured once: they take up to half a minute a broker.
  --seconds S      length of the window that is measured, after 1 s of warm-up (default 3);
                   of the rows that --quick leaves out, half of it
  --json FILE      write everything that was measured as JSON (- is standard output)
  --quick          a first impression: one round, one second, the main rows (unless --rows names others)
  --self-test      how fast the load generator is: it drives a stand-in that forwards bytes and does nothing else
  --paired-with DIR
                   instead: this checkout's broker against that of another, in ${pairedRounds} rounds; prints the
                   median of the rounds' ratios, and how far they spread. At saturation, without a disk, both run at
                   once and take turns every 50 ms (--seconds is what each has); else one after the other
                   (default rows: ${pairedScenarios.join(",")})
  --help           this text

Everything is on 127.0.0.1. With TLS all brokers have the same RSA certificate, made by the run, and clients insist on
TLS 1.3, TLS_AES_128_GCM_SHA256 and X25519. Durable rows write to the directory for temporary files (TMPDIR).

Rows:
${scenarios.map((scenario) => `  ${scenario.name.padEnd(22)} ${scenario.title}`).join("\n")}
`

/** The scenarios that the stand-in of the self-test can serve, and that bound the generator. */
const selfTestScenarios = ["1-1-qos0", "10-1-qos0", "1-50-qos0", "10-10-qos1", "10-10-qos2", "rate-qos0", "rate-qos1"]

const list = (value: string | undefined): ReadonlyArray<string> | undefined => value?.split(",").filter(Boolean)

const positive = (name: string, value: string | undefined, otherwise: number): number => {
  const number = value === undefined ? otherwise : Number(value)
  if (!(number > 0)) throw new Error(`--${name} must be a number above 0, not ${value}`)
  return number
}

/** The rows of a name, or of a word between its hyphens. */
const rowsOf = (wanted: string): ReadonlyArray<Scenario> => {
  const named = scenarios.filter(({ name }) => name === wanted)
  const found = named.length > 0 ? named : scenarios.filter(({ name }) => name.split("-").includes(wanted))
  if (found.length === 0) throw new Error(`unknown row ${wanted}; --help lists them`)
  return found
}

/** What the arguments ask for, or undefined for `--help`; throws an Error that says what is wrong with them. */
export const parseOptions = (args: ReadonlyArray<string>): Options | undefined => {
  const { values } = parseArgs({
    args: [...args],
    options: {
      rows: { type: "string" },
      scenario: { type: "string" },
      brokers: { type: "string" },
      rounds: { type: "string" },
      seconds: { type: "string" },
      json: { type: "string" },
      "paired-with": { type: "string" },
      quick: { type: "boolean", default: false },
      "self-test": { type: "boolean", default: false },
      help: { type: "boolean", default: false }
    }
  })
  if (values.help) return undefined
  const pairedWith = values["paired-with"]
  const defaultRows = (): ReadonlyArray<string> => {
    if (pairedWith !== undefined) return pairedScenarios
    if (values["self-test"]) return selfTestScenarios
    return scenarios.filter(({ main }) => main || !values.quick).map(({ name }) => name)
  }
  if (pairedWith !== undefined && values.brokers !== undefined) {
    throw new Error("--paired-with measures ours in two checkouts, and no --brokers")
  }
  const names = list(values.rows ?? values.scenario) ?? defaultRows()
  const brokers = list(values.brokers) ?? (values["self-test"] ? ["sink"] : defaultBrokers)
  const rounds = values.quick ? 1 : pairedWith === undefined ? 3 : pairedRounds
  return {
    scenarios: [...new Set(names.flatMap(rowsOf))],
    brokers: brokers.map((name) => {
      if (!isBrokerName(name)) throw new Error(`unknown broker ${name}; known are ${brokerNames.join(", ")}`)
      return name
    }),
    rounds: Math.ceil(positive("rounds", values.rounds, rounds)),
    seconds: positive("seconds", values.seconds, values.quick ? 1 : 3),
    warmUpSeconds: 1,
    json: values.json,
    pairedWith
  }
}
