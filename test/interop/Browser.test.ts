/**
 * A real browser: headless Chromium loads a page that uses MQTT.js' browser build, and tells by MQTT what it found.
 * Without Chromium on the PATH this test says so.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import { spawn, spawnSync } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import * as Http from "node:http"
import { createRequire } from "node:module"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import * as Broker from "../../src/broker/Broker.ts"
import { brokerLayer, collect, port } from "../broker/support.ts"

const names = ["chromium", "chromium-browser", "google-chrome"]
const chromium = names.find((name) => spawnSync(name, ["--version"]).status === 0)
if (chromium === undefined) console.log(`skipped: no browser on the PATH (${names.join(", ")}; Debian: chromium)`)

const library = (): Buffer => {
  const manifest = createRequire(import.meta.url).resolve("mqtt/package.json")
  return readFileSync(join(dirname(manifest), "dist", "mqtt.min.js"))
}

/** Subscribes, publishes at every QoS to itself, and reports what came back, or what went wrong. */
const page = (url: string): string => `<!doctype html>
<meta charset="utf-8">
<script src="/mqtt.js"></script>
<script>
  const client = mqtt.connect(${JSON.stringify(url)}, { protocolVersion: 5, clientId: "browser", reconnectPeriod: 0 })
  const heard = []
  const large = "0123456789".repeat(30000)
  const report = (result) => client.publish("report", JSON.stringify(result), { qos: 1 })
  client.on("message", (topic, payload) => {
    const text = payload.toString()
    heard.push(text === large ? "large" : text)
    if (heard.length === 4) report({ heard })
  })
  client.on("connect", async () => {
    await client.subscribeAsync("echo", { qos: 2 })
    for (const qos of [0, 1, 2]) await client.publishAsync("echo", "QoS " + qos + " ✓", { qos })
    await client.publishAsync("echo", large, { qos: 1 })
  })
</script>`

/** Serves the page until the scope closes; returns its origin. */
const serve = (html: () => string) =>
  Effect.acquireRelease(
    Effect.callback<Http.Server>((resume) => {
      const server = Http.createServer((request, response) => {
        const script = request.url === "/mqtt.js"
        response.setHeader("Content-Type", script ? "text/javascript" : "text/html")
        response.end(script ? library() : html())
      })
      server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
    }),
    (server) =>
      Effect.sync(() => {
        server.close()
        server.closeAllConnections()
      })
  ).pipe(Effect.map((server) => `http://127.0.0.1:${(server.address() as AddressInfo).port}`)) // it listens on TCP

const browse = (program: string, url: string) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const profile = mkdtempSync(join(tmpdir(), "effect-mqtt-browser-"))
      const quiet = ["--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking"]
      // A sandbox needs rights that a container does not have; the page is our own.
      const args = [
        "--headless=new",
        "--no-sandbox",
        ...quiet,
        `--user-data-dir=${profile}`,
        "--remote-debugging-port=0",
        url
      ]
      return { profile, child: spawn(program, args, { stdio: "ignore" }) }
    }),
    ({ child, profile }) =>
      Effect.callback<void>((resume) => {
        const done = () => {
          rmSync(profile, { recursive: true, force: true, maxRetries: 5 })
          resume(Effect.void)
        }
        if (child.exitCode !== null) done()
        else {
          child.once("close", done)
          child.kill("SIGKILL")
        }
      })
  )

describe("Chromium with MQTT.js", () => {
  it.live.skipIf(chromium === undefined)(
    "subscribes, publishes and receives on a WebSocket listener, from an allowed origin only",
    () =>
      Effect.gen(function* () {
        const served = { html: "" }
        const origin = yield* serve(() => served.html)
        yield* Effect.gen(function* () {
          const broker = yield* Broker.Broker
          const reports = yield* collect(broker.subscribe("report"), 1)
          served.html = page(`ws://127.0.0.1:${yield* port}/mqtt`)
          yield* Effect.scoped(Effect.andThen(browse(chromium!, origin), Fiber.join(reports)))
          const [report] = yield* Fiber.join(reports)
          assert.deepStrictEqual(JSON.parse(Buffer.from(report!.payload).toString()), {
            heard: ["QoS 0 ✓", "QoS 1 ✓", "QoS 2 ✓", "large"]
          })
        }).pipe(Effect.provide(brokerLayer({ settings: { listeners: [{ protocol: 2, port: 0, origins: [origin] }] } })))
        yield* Effect.gen(function* () {
          const broker = yield* Broker.Broker
          const failed = yield* collect(
            Stream.filter(broker.eventsOf("Connected"), ({ statusCode }) => statusCode !== 0),
            1
          )
          served.html = page(`ws://127.0.0.1:${yield* port}/mqtt`)
          yield* Effect.scoped(Effect.andThen(browse(chromium!, origin), Fiber.join(failed)))
          assert.include((yield* Fiber.join(failed))[0]!.description, "403")
        }).pipe(
          Effect.provide(
            brokerLayer({ settings: { listeners: [{ protocol: 2, port: 0, origins: ["https://else.example"] }] } })
          )
        )
      }),
    60_000
  )
})
