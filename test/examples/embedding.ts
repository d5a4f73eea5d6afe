/**
 * A broker inside an Effect program: it listens, takes part in the conversation, and stops with the program.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { Broker } from "../../src/index.ts"

const program = Effect.gen(function* () {
  const broker = yield* Broker.Broker
  yield* Console.log("listening on", yield* broker.listeners)
  yield* broker.publish({ topic: "greetings", payload: "hello", retain: true })
  yield* Stream.runForEach(broker.subscribe("sensors/#"), ({ payload, topic }) =>
    Console.log(topic, new TextDecoder().decode(payload))
  )
})

NodeRuntime.runMain(
  Effect.provide(program, Broker.layerMemory({ listeners: [{ port: Number(process.env.PORT ?? 1883) }] }))
)
