/**
 * The topic names and filters of a scenario. Names of one scenario all have the same length, so that every frame of
 * a publisher has the same size.
 */
import { type MessageScenario, treeTopics } from "./scenarios.ts"

const padded = (index: number): string => String(index).padStart(5, "0")

const indexes = (count: number): ReadonlyArray<number> => Array.from({ length: count }, (_, index) => index)

/** Digits of the number that makes a one-off topic unique; the generator overwrites them in the encoded frame. */
export const oneOffDigits = 10

/** The topics a publisher visits, in turn. */
export const topicsOf = (scenario: MessageScenario, publisher: number): ReadonlyArray<string> => {
  switch (scenario.topology) {
    case "shared":
      return ["bench/shared/value"]
    case "pairwise":
      return [`bench/pair/${padded(publisher)}`]
    case "wildcard":
      return [`bench/wild/${padded(publisher)}/room/temperature`]
    case "tree":
      return indexes(treeTopics).map((index) => `bench/tree/${padded(index)}/value`)
    case "group":
      return ["bench/group/value"]
    case "one-off":
      return [`bench/once/${padded(publisher)}${"0".repeat(oneOffDigits)}`]
  }
}

/** The filters a subscriber holds. None of them overlap: a message is delivered to a subscriber at most once. */
export const filtersOf = (scenario: MessageScenario, subscriber: number): ReadonlyArray<string> => {
  switch (scenario.topology) {
    case "shared":
      return ["bench/shared/value"]
    case "pairwise":
      return [`bench/pair/${padded(subscriber)}`]
    case "wildcard": {
      const id = padded(subscriber)
      return [`bench/+/${id}/room/#`, `bench/+/${id}/garden/#`, `+/wild/${id}/+/humidity`, `bench/wild/${id}/cellar/+`]
    }
    case "tree":
      return indexes(treeTopics)
        .filter((index) => index % scenario.subscribers === subscriber)
        .map((index) => `bench/tree/${padded(index)}/${index % 20 < 10 ? "value" : "+"}`)
    case "group":
      return ["$share/bench/bench/group/value"]
    case "one-off":
      return ["bench/once/+"]
  }
}

/** How many subscribers each message reaches. */
export const deliveriesPerMessage = (scenario: MessageScenario): number =>
  scenario.topology === "shared" || scenario.topology === "one-off" ? scenario.subscribers : 1

/**
 * A filter that comes and goes beside the measured ones, and never matches them. Half are exact, half have a
 * wildcard, all share the first level with the measured topics, as in a real tree.
 */
export const churnFilter = (index: number): string => `bench/churn/${padded(index)}${index % 2 === 0 ? "" : "/+"}`
