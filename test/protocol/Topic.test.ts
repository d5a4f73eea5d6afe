import { assert, describe, it } from "@effect/vitest"
import * as Topic from "../../src/protocol/Topic.ts"
import * as NaiveTopic from "./NaiveTopic.ts"

const levelsMax = 200

const assertFault = (error: ReturnType<typeof Topic.validateName>, reasonCode: number, words: string) => {
  assert.isDefined(error)
  assert.strictEqual(error._tag, "ProtocolError")
  assert.strictEqual(error.code, 601)
  assert.strictEqual(error.reasonCode, reasonCode)
  assert.include(error.message, words)
}

const badText: ReadonlyArray<readonly [name: string, text: string, words: string]> = [
  ["empty", "", "MQTT-4.7.3-1"],
  ["a null character", "a/\0/b", "MQTT-4.7.3-2"],
  ["half a surrogate pair at the end", "a/\ud83d", "MQTT-1.5.4-1"],
  ["half a surrogate pair before another character", "a/\ud83dx", "MQTT-1.5.4-1"],
  ["half a surrogate pair before a character above the surrogates", "a/\ud83d\uffee", "MQTT-1.5.4-1"],
  ["the second half first", "a/\udca9\ud83d", "MQTT-1.5.4-1"],
  ["65,536 bytes of ASCII", "a".repeat(65_536), "MQTT-4.7.3-3"],
  ["65,536 bytes in two-byte characters", "é".repeat(32_768), "MQTT-4.7.3-3"],
  ["65,537 bytes in three-byte characters", "日".repeat(21_845) + "aa", "MQTT-4.7.3-3"],
  ["65,536 bytes in four-byte characters", "💩".repeat(16_384), "MQTT-4.7.3-3"],
  ["201 levels", "/".repeat(200), "levels"],
  ["65,535 slashes", "/".repeat(65_535), "levels"]
]

const goodText: ReadonlyArray<readonly [name: string, text: string]> = [
  ["one level", "a"],
  ["one slash: two empty levels", "/"],
  ["spaces, a dollar sign, a byte order mark", "$SYS/a b/\ufeff"],
  ["65,535 bytes of ASCII", "a".repeat(65_535)],
  ["65,535 bytes in two-byte characters", "é".repeat(32_767) + "a"],
  ["65,535 bytes in three-byte characters", "日".repeat(21_845)],
  ["65,535 bytes in four-byte characters", "💩".repeat(16_383) + "aaa"],
  ["200 levels", "/".repeat(199)]
]

describe("validateName", () => {
  for (const [name, text] of goodText) {
    it(`accepts ${name}`, () => assert.isUndefined(Topic.validateName(text, levelsMax)))
  }
  for (const [name, text, words] of badText) {
    it(`refuses ${name}`, () => assertFault(Topic.validateName(text, levelsMax), 0x90, words))
  }
  for (const text of ["+", "#", "a/+", "a/#", "a+b", "a#", "+/a"]) {
    it(`refuses the wildcard in ${text}`, () => assertFault(Topic.validateName(text, levelsMax), 0x90, "MQTT-3.3.2-2"))
  }
})

describe("validateFilter", () => {
  for (const [name, text] of goodText) {
    it(`accepts ${name}`, () => assert.isUndefined(Topic.validateFilter(text, levelsMax)))
  }
  for (const [name, text, words] of badText) {
    it(`refuses ${name}`, () => assertFault(Topic.validateFilter(text, levelsMax), 0x8f, words))
  }
  for (const text of [
    "+",
    "#",
    "/#",
    "+/+",
    "a/+/b",
    "a/#",
    "+/#",
    "/+",
    "$SYS/#",
    "$share",
    "$shared/a",
    "$share/g/#"
  ]) {
    it(`accepts ${text}`, () => assert.isUndefined(Topic.validateFilter(text, levelsMax)))
  }
  for (const text of ["a#", "#a", "a/#/b", "##", "#/", "+#", "$share/g/a#"]) {
    it(`refuses the # in ${text}`, () => assertFault(Topic.validateFilter(text, levelsMax), 0x8f, "MQTT-4.7.1-"))
  }
  for (const text of ["a+", "+a", "a/b+/c", "++", "$share/g/+a"]) {
    it(`refuses the + in ${text}`, () => assertFault(Topic.validateFilter(text, levelsMax), 0x8f, "MQTT-4.7.1-2"))
  }
  for (const text of ["$share/", "$share//a"]) {
    it(`refuses ${text}: no share name`, () => assertFault(Topic.validateFilter(text, levelsMax), 0x8f, "MQTT-4.8.2-1"))
  }
  for (const text of ["$share/g", "$share/g/", "$share/+/a", "$share/g#/a", "$share/a+b/c"]) {
    it(`refuses ${text}: a bad share`, () => assertFault(Topic.validateFilter(text, levelsMax), 0x8f, "MQTT-4.8.2-2"))
  }
  it("does not count $share and the share name as levels", () => {
    assert.isUndefined(Topic.validateFilter("$share/g/a/b", 2))
    assertFault(Topic.validateFilter("$share/g/a/b/c", 2), 0x8f, "levels")
    assertFault(Topic.validateFilter("a/b/c", 2), 0x8f, "levels")
  })
})

describe("parseShared", () => {
  const cases: ReadonlyArray<readonly [string, { group: string; filter: string } | undefined]> = [
    ["$share/g/a/+", { group: "g", filter: "a/+" }],
    ["$share/g//finance", { group: "g", filter: "/finance" }],
    ["$share/g/#", { group: "g", filter: "#" }],
    ["$share/g", undefined],
    ["$share", undefined],
    ["$SHARE/g/a", undefined],
    ["a/b", undefined]
  ]
  for (const [filter, parts] of cases) {
    it(`takes ${filter} apart`, () => assert.deepStrictEqual(Topic.parseShared(filter), parts))
  }
})

describe("matches", () => {
  const cases: ReadonlyArray<readonly [filter: string, topic: string, expected: boolean]> = [
    ["a/b", "a/b", true],
    ["a/b", "a/bc", false],
    ["a/bc", "a/b", false],
    ["a/b", "A/B", false],
    ["a", "a/b", false],
    ["ab", "a/", false],
    ["ab", "a//", false],
    ["abc", "a/c", false],
    ["ab/", "a/", false],
    ["ab/c", "a/c", false],
    ["a/b", "a", false],
    ["a/", "a", false],
    ["a", "a/", false],
    ["/a", "a", false],
    ["#", "a/b/c", true],
    ["#", "/", true],
    ["a/#", "a", true],
    ["a/#", "a/", true],
    ["a/#", "a/b/c", true],
    ["a/#", "ab", false],
    ["a/b/#", "a", false],
    ["+", "a", true],
    ["+", "/a", false],
    ["/+", "/a", true],
    ["+/+", "/a", true],
    ["+", "a/b", false],
    ["a/+", "a", false],
    ["a/+", "a/", true],
    ["a/+/c", "a/b/c", true],
    ["a/+/c", "a/b/d", false],
    ["a/+/c", "a//c", true],
    ["+/#", "a", true],
    ["#", "$SYS/a", false],
    ["+/a", "$SYS/a", false],
    ["+/#", "$SYS", false],
    ["$SYS/#", "$SYS/a", true],
    ["$SYS/#", "$SYS", true],
    ["$SYS/+", "$SYS/a", true],
    ["a/+", "a/$b", true],
    ["a/#", "a/$b", true]
  ]
  for (const [filter, topic, expected] of cases) {
    it(`${filter} ${expected ? "matches" : "does not match"} ${topic}`, () => {
      assert.strictEqual(Topic.matches(filter, topic), expected)
      assert.strictEqual(NaiveTopic.matches(filter, topic), expected)
    })
  }

  it.prop(
    "agrees with the definition for any filter and topic",
    { filter: NaiveTopic.filterArbitrary, topic: NaiveTopic.topicArbitrary },
    ({ filter, topic }) => Topic.matches(filter, topic) === NaiveTopic.matches(filter, topic),
    { arbitrary: { runs: 3_000, seed: 1 } }
  )

  it.prop(
    "the generated filters and topics are valid, so that the property above is about valid ones",
    { filter: NaiveTopic.filterArbitrary, topic: NaiveTopic.topicArbitrary },
    ({ filter, topic }) =>
      Topic.validateFilter(filter, levelsMax) === undefined && Topic.validateName(topic, levelsMax) === undefined,
    { arbitrary: { runs: 500, seed: 2 } }
  )

  it("takes the deepest topics", () => {
    assert.isTrue(Topic.matches("+/".repeat(32_767) + "#", "/".repeat(65_535)))
    assert.isFalse(Topic.matches("/".repeat(65_534), "/".repeat(65_535)))
  })
})
