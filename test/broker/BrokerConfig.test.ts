import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as BrokerConfig from "../../src/broker/BrokerConfig.ts"
import * as CoreConfig from "../../src/core/CoreConfig.ts"

const parse = (env: Record<string, string>) => BrokerConfig.fromEnv(undefined, env)

describe("BrokerConfig", () => {
  it.effect("every setting of the core has its default", () =>
    Effect.gen(function* () {
      const settings = yield* BrokerConfig.make()
      assert.deepStrictEqual(settings, BrokerConfig.defaults)
      for (const [name, value] of Object.entries(CoreConfig.defaults)) {
        assert.strictEqual(Reflect.get(settings, name), value, name)
      }
    })
  )

  it.effect("a partial changes what it names and nothing else", () =>
    Effect.gen(function* () {
      const settings = yield* BrokerConfig.make({ inflightMax: 7, queueOverflow: "disconnect" })
      assert.deepStrictEqual(settings, { ...BrokerConfig.defaults, inflightMax: 7, queueOverflow: "disconnect" })
    })
  )

  const numbers = Object.entries(BrokerConfig.defaults).flatMap(([name, value]) =>
    typeof value === "number" ? [name] : []
  )
  for (const name of numbers) {
    for (const value of [-1, 1.5, Number.NaN, Number.POSITIVE_INFINITY]) {
      it.effect(`${name} = ${value} is refused, and the message names the setting`, () =>
        Effect.gen(function* () {
          const error = yield* Effect.flip(BrokerConfig.make({ [name]: value }))
          assert.strictEqual(error.reason._tag, "InvalidSetting")
          assert.include(error.message, `${name} must be a whole number from `)
        })
      )
    }
  }

  it.effect("known failure 26: a limit that would be divided by cannot be 0", () =>
    Effect.gen(function* () {
      for (const name of ["inflightMax", "receiveMaximum", "outboxBytesMax", "drainTimeoutSeconds"]) {
        const error = yield* Effect.flip(BrokerConfig.make({ [name]: 0 }))
        assert.include(error.message, name)
      }
    })
  )

  it.effect("known failure 16: a mistyped name is an error, not a default", () =>
    Effect.gen(function* () {
      // A name that the type does not have: a program without types may still pass it.
      const mistyped: object = { conectionsMax: 5 }
      const error = yield* Effect.flip(BrokerConfig.make(mistyped))
      assert.include(error.message, "conectionsMax")
    })
  )

  it.effect("a wrong choice is an error that names the setting", () =>
    Effect.gen(function* () {
      const wrong: object = { queueOverflow: "explode" }
      const error = yield* Effect.flip(BrokerConfig.make(wrong))
      assert.include(error.message, "queueOverflow")
    })
  )

  it.effect("the environment sets what it names; the rest has its default", () =>
    Effect.gen(function* () {
      const settings = yield* parse({
        EFFECT_MQTT_QUEUE_MESSAGES_MAX: "5000",
        EFFECT_MQTT_QUEUE_QOS0: "true",
        EFFECT_MQTT_QUEUE_OVERFLOW: "drop-oldest",
        EFFECT_MQTT_LISTENERS: "mqtt://0.0.0.0:1884, mqtt://[::1]",
        QUEUE_BYTES_MAX: "2048"
      })
      assert.deepStrictEqual(settings, {
        ...BrokerConfig.defaults,
        queueMessagesMax: 5_000,
        queueQos0: true,
        queueOverflow: "drop-oldest",
        listeners: [
          { protocol: 0, host: "0.0.0.0", port: 1884 },
          { protocol: 0, host: "::1", port: 1883 }
        ]
      })
    })
  )

  it.effect("what listeners have in common holds for those in the environment, in whatever order it is there", () =>
    Effect.gen(function* () {
      const { listenerDefaults, listeners } = yield* parse({
        EFFECT_MQTT_LISTENERS: "mqtts://127.0.0.1",
        EFFECT_MQTT_SSL_CERT_STORE: "server.pfx",
        EFFECT_MQTT_SSL_CERT_STORE_PASSWORD: "secret"
      })
      assert.deepStrictEqual(listeners, [{ protocol: 1, host: "127.0.0.1", port: 8883, sslCertStore: "server.pfx" }])
      assert.isDefined(listenerDefaults.sslCertStorePassword)
    })
  )

  const broken = [
    ["EFFECT_MQTT_QUEUE_MESSAGES_MAX", "many", "queueMessagesMax"],
    ["EFFECT_MQTT_QUEUE_MESSAGES_MAX", "0", "queueMessagesMax must be"],
    ["EFFECT_MQTT_QUEUE_QOS0", "perhaps", "queueQos0"],
    ["EFFECT_MQTT_LISTENERS", "http://localhost:80", "listeners must be URLs"],
    ["EFFECT_MQTT_LISTENERS", "localhost:1883", "listeners must be URLs"]
  ] as const
  for (const [name, value, message] of broken) {
    it.effect(`${name}=${value} is refused`, () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(parse({ [name]: value }))
        assert.include(error.message, message)
      })
    )
  }
})
