/**
 * What a broker does not use is not loaded: TLS, HTTP and WebSocket cost a plain broker nothing at its start.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Program from "../cli/Program.ts"

/** Starts a broker with a listener, and prints which of these were loaded. */
const script = (listener: string) => `
  import * as Effect from "effect/Effect"
  import * as Broker from "./src/broker/Broker.ts"
  import { registerHooks } from "node:module"
  const loaded = []
  registerHooks({
    load: (url, context, next) => {
      loaded.push(url)
      return next(url, context)
    }
  })
  await Effect.runPromise(Effect.scoped(Effect.gen(function* () {
    const broker = yield* Broker.Broker
    yield* broker.addListener(${listener})
  }).pipe(Effect.provide(Broker.layerMemory()))))
  const builtins = process.moduleLoadList.filter((name) => /NativeModule (_tls_wrap|_http_server|http)$/.test(name))
  console.log("loaded", JSON.stringify([...builtins, ...loaded.filter((url) => /transport|node_modules.ws/.test(url))]))
`

const loadedBy = Effect.fnUntraced(function* (listener: string) {
  const program = yield* Program.start(["--input-type=module", "-e", script(listener)])
  const [, list] = yield* program.line(/loaded (.*)\n/)
  yield* program.exitCode
  return list!
})

describe("cold start", () => {
  it.live("a TCP listener loads nothing beyond the broker", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* loadedBy("{ port: 0 }"), "[]")
    })
  )

  it.live("a WebSocket listener loads what it needs, and no TLS of ours", () =>
    Effect.gen(function* () {
      const list = yield* loadedBy("{ protocol: 2, port: 0 }")
      for (const part of ["StagedListener", "WebSocketStage", "node_modules/ws/"]) assert.include(list, part)
      assert.notInclude(list, "TlsStage")
    })
  )
})
