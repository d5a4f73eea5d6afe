/**
 * Topic matching written a second time, the obvious way, and generators of topics and filters that often match: what
 * the fast ones in `src` are held against.
 */
import * as Arbitrary from "effect/Arbitrary"
import * as Schema from "effect/Schema"

/** The definition in 4.7.1 and 4.7.2 of MQTT 5.0, level by level. */
export const matches = (filter: string, topic: string): boolean => {
  const wanted = filter.split("/")
  const levels = topic.split("/")
  if (topic.startsWith("$") && (wanted[0] === "+" || wanted[0] === "#")) return false
  if (wanted.at(-1) === "#") {
    const fixed = wanted.slice(0, -1)
    return fixed.length <= levels.length && fixed.every((level, i) => level === "+" || level === levels[i])
  }
  return wanted.length === levels.length && wanted.every((level, i) => level === "+" || level === levels[i])
}

const levels = Schema.Literals(["a", "b", "ab", "", "$s"])
const filterLevels = Schema.Literals(["a", "b", "ab", "", "$s", "+", "+"])

const notEmpty = (text: string): string => (text === "" ? "a" : text)

export const topicArbitrary = Arbitrary.map(
  Arbitrary.array(Arbitrary.schema(levels), { minLength: 1, maxLength: 5 }),
  (parts) => notEmpty(parts.join("/"))
)

export const filterArbitrary = Arbitrary.map(
  Arbitrary.all({
    parts: Arbitrary.array(Arbitrary.schema(filterLevels), { maxLength: 4 }),
    multi: Arbitrary.schema(Schema.Boolean)
  }),
  ({ parts, multi }) => notEmpty((multi ? [...parts, "#"] : parts).join("/"))
)
