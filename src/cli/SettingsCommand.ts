/**
 * `effect-mqtt settings`: every setting there is, with its default, as `--set` takes it.
 */
import * as Command from "effect/cli/Command"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as BrokerConfig from "../broker/BrokerConfig.ts"
import * as Settings from "../settings/Settings.ts"

const PREFIX = BrokerConfig.ENVIRONMENT_PREFIX

const description = `List every setting of a broker, the documented ones by their documented names.

What is shown of those that can be set is the default. Set them with --set Name=Value, or in the environment:
  ${PREFIX}_QUEUE_MESSAGES_MAX=5000
  ${PREFIX}_TCP_NO_DELAY=False`.replaceAll("\n", "\n  ") // in line with the heading that help puts above it

type Heading = (typeof headings)[number]
const headings = ["To set:", "To read only:", "Not as text:", "Not applicable:"] as const

/** What is said of a setting, and where. */
const entryOf = ({ name, place }: Settings.Setting): Effect.Effect<readonly [Heading, line: string]> => {
  switch (place.scope) {
    case "connection":
      return Effect.succeed(["To read only:", `${name}[connectionId]`])
    case "constant":
      return Effect.succeed(["To read only:", `${name}=${place.value}`])
    case "structured":
      return Effect.succeed(["Not as text:", `${name}: ${place.where}`])
    case "none":
      return Effect.succeed(["Not applicable:", `${name}: ${place.reason}`])
    default:
      return Settings.read(name, BrokerConfig.defaults, () => Effect.succeed("")).pipe(
        Effect.orDie, // it has just been found
        Effect.map((value) => ["To set:", `${name}=${value}`] as const)
      )
  }
}

export const command = Command.make("settings", {}, () =>
  Effect.gen(function* () {
    const entries = yield* Effect.forEach(Settings.all, entryOf)
    for (const heading of headings) {
      const lines = entries.flatMap(([under, line]) => (under === heading ? [`  ${line}`] : []))
      yield* Console.log([heading, ...lines.sort()].join("\n"))
    }
  })
).pipe(
  Command.withDescription(description),
  Command.withShortDescription("List every setting, with its default"),
  Command.withExamples([{ command: "effect-mqtt settings", description: "All that --set takes" }])
)
