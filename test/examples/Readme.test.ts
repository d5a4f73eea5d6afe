/**
 * The README shows the example that is compiled and run here, and no other.
 */
import { assert, describe, it } from "@effect/vitest"
import { readFileSync } from "node:fs"

const read = (path: string) => readFileSync(new URL(path, import.meta.url), "utf8")

describe("The README", () => {
  it("embeds the broker exactly as the example that the tests run", () => {
    const shown = /```ts\n([\s\S]*?)```/.exec(read("../../README.md"))?.[1]
    const example = read("./embedding.ts")
    const code = example.slice(example.indexOf("import "))
    assert.strictEqual(shown, code.replace('"../../src/index.ts"', '"effect-mqtt"'))
  })
})
