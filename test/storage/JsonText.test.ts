/**
 * Text to JSON values: what the manual's sample has besides JSON, and what no parser would refuse.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as JsonText from "../../src/storage/JsonText.ts"

const read = (text: string): unknown => Result.getOrThrowWith(JsonText.parse(text), ({ detail }) => new Error(detail))

const faultOf = (text: string): JsonText.Fault => {
  const parsed = JsonText.parse(text)
  return Result.isFailure(parsed) ? parsed.failure : assert.fail(`taken: ${text.slice(0, 100)}`)
}

describe("a text", () => {
  for (const text of ["null", "1", '"x"', " [1, [2, {}], true] ", '{"a":{"b":[{"a":1},{"a":2}]},"b":"{,}]"}']) {
    it(`${text} is read as JSON`, () => assert.deepStrictEqual(read(text), JSON.parse(text)))
  }

  for (const [text, value] of [
    ["[1,2,]", [1, 2]],
    ['{"a":1, // one\n"b":[2,], //two\n}// end', { a: 1, b: [2] }],
    ['// "{[\n[1]', [1]],
    ['["//x",",]"]', ["//x", ",]"]],
    ['{"a":"\\\\",// x\n}', { a: "\\" }],
    ["[1,//,\n//]\n]", [1]],
    ["[[1,//\n],[2,],]//", [[1], [2]]],
    ['["\\"",]', ['"']]
  ] as const) {
    it(`${JSON.stringify(text)} is read without its comments and last commas`, () =>
      assert.deepStrictEqual(read(text), value))
  }

  it("shows a part of a name that is as long as a document may be", () => {
    const name = "n".repeat(1_000_000)
    assert.strictEqual(faultOf(`{"a":[{"${name}":1,"${name}":2}]}`).path, `a[0].${"n".repeat(100)}`)
  })

  for (const text of [
    "",
    "[1,,]",
    "[,1]",
    "{,}",
    "[1]]",
    '["a""b"]',
    '{"a":,}',
    "[1,//\n,]",
    "[1",
    "]",
    '"',
    '"\\',
    "{1:2}",
    "a:1",
    ":",
    "/* x */ 1",
    "/",
    "1 //"
  ]) {
    if (text === "1 //") it("may end in a comment", () => assert.strictEqual(read(text), 1))
    else {
      it(`${JSON.stringify(text)} is not JSON`, () =>
        assert.deepInclude(faultOf(text), { path: "", detail: faultOf("").detail }))
    }
  }
})

describe("a field that is there twice", () => {
  for (const [text, path] of [
    ['{"a":1,"a":1}', "a"],
    ['{"a":1,"\\u0061":1}', "a"],
    ['{"x":[0,{"y":{"b":1},"b":2,"b":3}]}', "x[1].b"],
    ['[[],[1,2,{"":0,"":0}]]', "[1][2]."],
    ['{"__proto__":1,"__proto__":2}', "__proto__"]
  ] as const) {
    it(`is found: ${text}`, () => {
      assert.deepStrictEqual(faultOf(text), { path, detail: "The field is there twice." })
    })
  }

  it("is another one in another object", () => {
    assert.deepStrictEqual(read('[{"a":1},{"a":{"a":2}}]'), [{ a: 1 }, { a: { a: 2 } }])
  })
})

describe("a shape that no document has", () => {
  const shapes: ReadonlyArray<readonly [what: string, text: () => string, path: string]> = [
    ["a nest of arrays", () => "[".repeat(20_000_000), "[0]".repeat(16)],
    ["a nest of objects", () => '{"a":'.repeat(4_000_000), `a${".a".repeat(15)}`],
    ["a nest in a list", () => `{"x":[1,${"[".repeat(100)}`, `x[1]${"[0]".repeat(14)}`],
    ["countless fields", () => `{${Array.from({ length: 2_000_000 }, (_, at) => `"k${at}":1,`).join("")}`, ""],
    ["countless lists behind a last comma", () => `{"a":[${"[],".repeat(20_000_000)}]}`, ""],
    ["countless numbers", () => `[${"1,".repeat(30_000_000)}1]`, ""],
    ["countless comments", () => `{${"//\n".repeat(20_000_000)}}`, ""],
    ["countless fields somewhere", () => `[{},{${Array.from({ length: 65 }, (_, at) => `"k${at}":1,`).join("")}`, "[1]"]
  ]
  for (const [what, text, path] of shapes) {
    it(`${what} is found before it becomes a value`, () => {
      const made = text()
      const before = process.memoryUsage().heapUsed
      const fault = faultOf(made)
      // As a value such a text is many times its size.
      assert.isBelow(process.memoryUsage().heapUsed - before, 100_000_000)
      assert.strictEqual(fault.path, path)
      assert.match(fault.detail, /16 levels|64 fields|400000 objects|2000000 values/)
    })
  }

  it("is not one that is as deep and as wide as allowed", () => {
    const fields = Object.fromEntries(Array.from({ length: 64 }, (_, at) => [`k${at}`, at]))
    const text = `${"[".repeat(15)}${JSON.stringify(fields)}${"]".repeat(15)}`
    assert.deepStrictEqual(read(text), JSON.parse(text))
  })

  it("no fault shows what is in the text", () => {
    for (const text of ['{"a":"secret', '["secret",,]', "secret", `{"a":"secret","a":"secret"}`]) {
      assert.notInclude(JSON.stringify(faultOf(text)), "secret")
    }
  })
})
