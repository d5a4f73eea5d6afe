import { assert, describe, it } from "@effect/vitest"
import * as Arbitrary from "effect/Arbitrary"
import * as Schema from "effect/Schema"
import { RetainedTree } from "../../src/core/RetainedTree.ts"
import * as NaiveTopic from "../protocol/NaiveTopic.ts"

interface Message {
  readonly text: string
}

const treeOf = (...topics: ReadonlyArray<string>): RetainedTree<Message> => {
  const tree = new RetainedTree<Message>()
  for (const topic of topics) tree.set(topic, { text: topic })
  return tree
}

const matched = (tree: RetainedTree<Message>, filter: string): Array<string> => {
  const found: Array<string> = []
  tree.match(filter, (topic, message) => {
    assert.strictEqual(message.text, topic)
    found.push(topic)
  })
  return found.sort()
}

describe("RetainedTree", () => {
  it("finds the topics of plain and wildcard filters", () => {
    const tree = treeOf("a", "a/b", "a/b/c", "a//c", "b", "/", "b/b")
    assert.deepStrictEqual(matched(tree, "a/b"), ["a/b"])
    assert.deepStrictEqual(matched(tree, "a/x"), [])
    assert.deepStrictEqual(matched(tree, "a//c"), ["a//c"])
    assert.deepStrictEqual(matched(tree, "+"), ["a", "b"])
    assert.deepStrictEqual(matched(tree, "+/b"), ["a/b", "b/b"])
    assert.deepStrictEqual(matched(tree, "a/+/c"), ["a//c", "a/b/c"])
    assert.deepStrictEqual(matched(tree, "a/#"), ["a", "a//c", "a/b", "a/b/c"])
    assert.deepStrictEqual(matched(tree, "+/+/#"), ["/", "a//c", "a/b", "a/b/c", "b/b"])
    assert.deepStrictEqual(matched(tree, "#"), ["/", "a", "a//c", "a/b", "a/b/c", "b", "b/b"])
  })

  it("keeps $ topics from wildcards at the first level only [MQTT-4.7.2-1]", () => {
    const tree = treeOf("$SYS", "$SYS/a", "$SYS/a/b", "x/$a")
    assert.deepStrictEqual(matched(tree, "#"), ["x/$a"])
    assert.deepStrictEqual(matched(tree, "+"), [])
    assert.deepStrictEqual(matched(tree, "+/#"), ["x/$a"])
    assert.deepStrictEqual(matched(tree, "+/a"), [])
    assert.deepStrictEqual(matched(tree, "x/+"), ["x/$a"])
    assert.deepStrictEqual(matched(tree, "$SYS/#"), ["$SYS", "$SYS/a", "$SYS/a/b"])
    assert.deepStrictEqual(matched(tree, "$SYS/+/b"), ["$SYS/a/b"])
  })

  it("tells set, replaced and missing apart", () => {
    const tree = new RetainedTree<Message>()
    const first = { text: "first" }
    const second = { text: "second" }
    assert.isUndefined(tree.set("a/b", first))
    assert.strictEqual(tree.set("a/b", second), first)
    assert.strictEqual(tree.size, 1)
    assert.strictEqual(tree.get("a/b"), second)
    assert.isUndefined(tree.get("a"))
    assert.isUndefined(tree.delete("a"))
    assert.isUndefined(tree.delete("a/b/c"))
    assert.strictEqual(tree.delete("a/b"), second)
    assert.isUndefined(tree.delete("a/b"))
    assert.strictEqual(tree.size, 0)
  })

  it("drops the levels that nobody needs any more, and no others", () => {
    const tree = treeOf("a/b/c/d", "a/b", "a/x/y", "z")
    tree.delete("a/b/c/d")
    assert.strictEqual(tree.nodeCount, 5)
    tree.delete("a/b")
    tree.delete("z")
    assert.strictEqual(tree.nodeCount, 3)
    assert.deepStrictEqual(matched(tree, "#"), ["a/x/y"])
    tree.delete("a/x/y")
    assert.strictEqual(tree.nodeCount, 0)
  })

  it("stops when the visitor returns false, and only then", () => {
    for (const filter of ["#", "+", "+/#"]) {
      const tree = treeOf("a", "b", "c", "d")
      let visits = 0
      tree.match(filter, () => ++visits < 2)
      assert.strictEqual(visits, 2, filter)
    }
    let visits = 0
    treeOf("a", "a/b", "a/c").match("a/#", () => ++visits < 1)
    assert.strictEqual(visits, 1)
  })

  it("lets the visitor delete what it visits", () => {
    const tree = treeOf("a", "a/b", "a/b/c", "a/d", "e/f")
    const seen: Array<string> = []
    tree.match("#", (topic) => {
      seen.push(topic)
      tree.delete(topic)
    })
    assert.deepStrictEqual(seen.sort(), ["a", "a/b", "a/b/c", "a/d", "e/f"])
    assert.strictEqual(tree.nodeCount, 0)
  })

  it("lists every topic with its message, $ topics too", () => {
    const tree = treeOf("a", "a/b/c", "$SYS/a", "/")
    const listed = [...tree.entries()].map(([topic, message]) => `${topic} ${message.text}`)
    assert.deepStrictEqual(listed.sort(), ["$SYS/a $SYS/a", "/ /", "a a", "a/b/c a/b/c"])
    assert.deepStrictEqual([...new RetainedTree<Message>().entries()], [])
  })

  it("takes the deepest topic and filter without running out of stack", () => {
    const deepest = "/".repeat(65_535)
    const tree = treeOf(deepest)
    for (const filter of [deepest, "#", "+/".repeat(32_767) + "#"])
      assert.deepStrictEqual(matched(tree, filter), [deepest])
    assert.strictEqual([...tree.entries()].length, 1)
    tree.delete(deepest)
    assert.strictEqual(tree.nodeCount, 0)
  })

  const change = Arbitrary.all({
    topic: NaiveTopic.topicArbitrary,
    remove: Arbitrary.schema(Schema.Literals([true, false, false]))
  })

  it.prop(
    "agrees with a plain map after any changes",
    { changes: Arbitrary.array(change, { maxLength: 40 }), filters: Arbitrary.array(NaiveTopic.filterArbitrary) },
    ({ changes, filters }) => {
      const tree = new RetainedTree<Message>()
      const map = new Map<string, Message>()
      for (const { topic, remove } of changes) {
        const before = map.get(topic)
        const message = { text: topic }
        assert.strictEqual(remove ? tree.delete(topic) : tree.set(topic, message), before)
        if (remove) map.delete(topic)
        else map.set(topic, message)
      }
      assert.strictEqual(tree.size, map.size)
      assert.deepStrictEqual([...tree.entries()].map(([topic]) => topic).sort(), [...map.keys()].sort())
      for (const filter of filters) {
        const expected = [...map.keys()].filter((topic) => NaiveTopic.matches(filter, topic))
        assert.deepStrictEqual(matched(tree, filter), expected.sort())
      }
    },
    { arbitrary: { runs: 300, seed: 4 } }
  )

  it("gives what a filter matches one at a time as it does all at once, whatever the filter", () => {
    const tree = treeOf("a", "a/b", "a/b/c", "a//c", "b", "/", "b/b", "$SYS/a")
    for (const filter of ["#", "+", "a/#", "+/b", "+/+/#", "a/b", "x", "$SYS/#", "a/+/c"]) {
      const { next: step } = tree.matches(filter)
      const next = () => step(Number.POSITIVE_INFINITY)
      const found: Array<string> = []
      for (let message = next(); message !== undefined; message = next()) found.push(message.text)
      assert.deepStrictEqual(found.sort(), matched(tree, filter), filter)
      assert.isUndefined(next())
    }
  })

  it("gives one at a time what was there at the beginning and still is, and comes to an end among new ones", () => {
    const tree = treeOf("t/0", "t/1", "t/2", "t/3")
    const { next: step } = tree.matches("t/#")
    const next = () => step(Number.POSITIVE_INFINITY)
    const first = next()?.text ?? ""
    const [gone, replaced, left] = ["t/0", "t/1", "t/2", "t/3"].filter((topic) => topic !== first)
    tree.delete(gone!)
    tree.set(replaced!, { text: "newer" })
    tree.delete(first)
    tree.set(first, { text: "back" })
    assert.strictEqual(next()?.text, left)
    for (let index = 0; index < 1_000; index++) tree.set(`t/new/${index}`, { text: "new" })
    assert.isUndefined(next())
  })

  it("gives nothing more when everything is gone between two steps", () => {
    const tree = treeOf("a/b/c", "a/b/d", "a/e")
    const { next: step } = tree.matches("a/#")
    const next = () => step(Number.POSITIVE_INFINITY)
    assert.isDefined(next())
    for (const topic of ["a/b/c", "a/b/d", "a/e"]) tree.delete(topic)
    assert.isUndefined(next())
    assert.strictEqual(tree.nodeCount, 0)
  })

  it("looks at a bounded number of places at a time, and goes on where it stopped", () => {
    const tree = treeOf(...Array.from({ length: 1_000 }, (_, index) => `${index}/x/${index % 100 === 99 ? "y" : "z"}`))
    const matches = tree.matches("+/x/y")
    const found: Array<unknown> = []
    let calls = 0
    while (!matches.ended) {
      const before = matches.steps
      const message = matches.next(50)
      assert.isAtMost(matches.steps - before, 50)
      if (message !== undefined) found.push(message)
      calls++
    }
    assert.lengthOf(found, 10)
    assert.isAbove(calls, 20)
    assert.isUndefined(matches.next(50))
  })
})
