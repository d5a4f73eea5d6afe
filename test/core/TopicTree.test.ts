import { assert, describe, it } from "@effect/vitest"
import * as Arbitrary from "effect/Arbitrary"
import * as Schema from "effect/Schema"
import { TopicTree } from "../../src/core/TopicTree.ts"
import * as NaiveTopic from "../protocol/NaiveTopic.ts"

interface Key {
  readonly name: string
}

const matched = (tree: TopicTree<Key, string>, topic: string): Array<string> => {
  const found: Array<string> = []
  tree.match(topic, (key, value) => found.push(`${key.name} ${value}`))
  return found.sort()
}

const one: Key = { name: "one" }
const two: Key = { name: "two" }

describe("TopicTree", () => {
  it("finds plain and wildcard filters, and # at the level above it", () => {
    const tree = new TopicTree<Key, string>()
    const filters = ["a/b", "a/+", "a/#", "#", "+/b", "a/b/#", "a/b/+", "b/#", "+", "a", "a/b/"]
    for (const filter of filters) tree.set(filter, one, filter)
    assert.deepStrictEqual(matched(tree, "a/b"), ["one #", "one +/b", "one a/#", "one a/+", "one a/b", "one a/b/#"])
    assert.deepStrictEqual(matched(tree, "a"), ["one #", "one +", "one a", "one a/#"])
    assert.deepStrictEqual(matched(tree, "a/b/"), ["one #", "one a/#", "one a/b/", "one a/b/#", "one a/b/+"])
    assert.deepStrictEqual(matched(tree, "c/d"), ["one #"])
  })

  it("keeps $ topics from wildcards at the first level only [MQTT-4.7.2-1]", () => {
    const tree = new TopicTree<Key, string>()
    for (const filter of ["#", "+", "+/a", "+/#", "$SYS/#", "$SYS/+", "$SYS/a", "b/+"]) tree.set(filter, one, filter)
    assert.deepStrictEqual(matched(tree, "$SYS/a"), ["one $SYS/#", "one $SYS/+", "one $SYS/a"])
    assert.deepStrictEqual(matched(tree, "$SYS"), ["one $SYS/#"])
    assert.deepStrictEqual(matched(tree, "b/$a"), ["one #", "one +/#", "one b/+"])
  })

  it("tells set, replaced and missing apart", () => {
    const tree = new TopicTree<Key, string>()
    assert.isUndefined(tree.set("a/+", one, "first"))
    assert.isUndefined(tree.set("a/+", two, "other"))
    assert.strictEqual(tree.set("a/+", one, "second"), "first")
    assert.strictEqual(tree.size, 2)
    assert.strictEqual(tree.get("a/+", one), "second")
    assert.isUndefined(tree.get("a/b", one))
    assert.isUndefined(tree.get("a", one))
    assert.isUndefined(tree.delete("a/b", one))
    assert.isUndefined(tree.delete("a", one))
    assert.strictEqual(tree.delete("a/+", one), "second")
    assert.isUndefined(tree.delete("a/+", one))
    assert.deepStrictEqual(matched(tree, "a/x"), ["two other"])
    assert.strictEqual(tree.size, 1)
  })

  it("drops the levels that nobody needs any more, and no others", () => {
    const tree = new TopicTree<Key, string>()
    const filters = ["a", "a/b/c/d", "a/b/+/d", "a/#", "#", "+/+", "/", "//#"]
    for (const filter of filters) tree.set(filter, one, filter)
    tree.set("a/b/c/d", two, "stays")
    for (const filter of filters) assert.strictEqual(tree.delete(filter, one), filter)
    assert.strictEqual(tree.nodeCount, 4)
    assert.deepStrictEqual(matched(tree, "a/b/c/d"), ["two stays"])
    assert.strictEqual(tree.delete("a/b/c/d", two), "stays")
    assert.strictEqual(tree.nodeCount, 0)
    assert.strictEqual(tree.size, 0)
  })

  it("keeps a level that only a wildcard below it needs", () => {
    for (const longer of ["a/+", "a/#", "a/b"]) {
      const tree = new TopicTree<Key, string>()
      tree.set("a", one, "shorter")
      tree.set(longer, one, longer)
      tree.delete("a", one)
      assert.deepStrictEqual(matched(tree, "a/b"), [`one ${longer}`])
    }
  })

  it("takes level names that objects have of their own", () => {
    const tree = new TopicTree<Key, string>()
    tree.set("__proto__/constructor", one, "x")
    assert.deepStrictEqual(matched(tree, "__proto__/constructor"), ["one x"])
    assert.deepStrictEqual(matched(tree, "toString"), [])
    assert.deepStrictEqual(matched(tree, "__proto__/hasOwnProperty"), [])
  })

  it("takes the deepest filter and topic without running out of stack", () => {
    const tree = new TopicTree<Key, string>()
    const deepest = "/".repeat(65_535)
    const wild = "+/".repeat(32_767) + "#"
    tree.set(deepest, one, "deep")
    tree.set(wild, two, "wild")
    assert.deepStrictEqual(matched(tree, deepest), ["one deep", "two wild"])
    tree.delete(deepest, one)
    tree.delete(wild, two)
    assert.strictEqual(tree.nodeCount, 0)
  })

  it("holds 10,000 subscribers of one filter and 10,000 filters of one subscriber", () => {
    const tree = new TopicTree<Key, string>()
    const keys = Array.from({ length: 10_000 }, (_, i): Key => ({ name: `${i}` }))
    for (const key of keys) tree.set("a/b", key, key.name)
    for (let i = 0; i < 10_000; i++) tree.set(`x/${i}`, one, "x")
    assert.strictEqual(tree.size, 20_000)
    assert.strictEqual(matched(tree, "a/b").length, 10_000)
    assert.deepStrictEqual(matched(tree, "x/77"), ["one x"])
    for (const key of keys) assert.strictEqual(tree.delete("a/b", key), key.name)
    for (let i = 0; i < 10_000; i++) tree.delete(`x/${i}`, one)
    assert.strictEqual(tree.nodeCount, 0)
  })

  const change = Arbitrary.all({
    filter: NaiveTopic.filterArbitrary,
    key: Arbitrary.schema(Schema.Literals([0, 1, 2])),
    remove: Arbitrary.schema(Schema.Literals([true, false, false]))
  })

  it.prop(
    "agrees with a plain list after any changes",
    { changes: Arbitrary.array(change, { maxLength: 40 }), topics: Arbitrary.array(NaiveTopic.topicArbitrary) },
    ({ changes, topics }) => {
      const keys: ReadonlyArray<Key> = [{ name: "0" }, { name: "1" }, { name: "2" }]
      const tree = new TopicTree<Key, string>()
      const list = new Map<string, { readonly filter: string; readonly text: string }>()
      changes.forEach(({ filter, key, remove }, step) => {
        const id = `${key} ${filter}`
        const before = list.get(id)?.text.split(" ")[1]
        if (remove) {
          assert.strictEqual(tree.delete(filter, keys[key]!), before)
          list.delete(id)
        } else {
          assert.strictEqual(tree.set(filter, keys[key]!, `${filter}@${step}`), before)
          list.set(id, { filter, text: `${key} ${filter}@${step}` })
        }
      })
      assert.strictEqual(tree.size, list.size)
      for (const topic of topics) {
        const expected = [...list.values()].filter(({ filter }) => NaiveTopic.matches(filter, topic))
        assert.deepStrictEqual(matched(tree, topic), expected.map(({ text }) => text).sort())
      }
    },
    { arbitrary: { runs: 300, seed: 3 } }
  )
})
