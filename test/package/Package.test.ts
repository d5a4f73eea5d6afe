/**
 * What `npm pack` ships: only what a user needs, and it runs and type-checks where nothing of this repository is.
 */
import { assert, describe, it } from "@effect/vitest"
import { execFile, spawn } from "node:child_process"
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { promisify } from "node:util"
import * as Mqtt from "mqtt"

const run = promisify(execFile)
const root = resolve(import.meta.dirname, "../..")

/** `npm` sets variables for its scripts that would point a second npm back at this repository. */
const environment = () =>
  Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^(npm_|INIT_CWD)/.test(name) || /registry|cache/.test(name))
  )

const consumer = `
import * as Effect from "effect/Effect"
import * as Broker from "effect-mqtt/broker/Broker"
import { Topic } from "effect-mqtt"

export const connections = Effect.gen(function* () {
  const broker = yield* Broker.Broker
  return yield* broker.connections
})
export const matches: boolean = Topic.matches("a/+", "a/b")
`

const consumerConfig = {
  compilerOptions: { module: "nodenext", target: "es2024", strict: true, noEmit: true, skipLibCheck: true, types: [] },
  files: ["consumer.ts"]
}

/** What is installed there comes first: a Node too, when it has been. */
const programOptions = (directory: string) => ({
  cwd: directory,
  env: { ...environment(), PATH: `${join(directory, "node_modules/.bin")}:${process.env.PATH}` }
})

/** Starts the installed program and waits for the line that says where it listens. */
const startBroker = async (directory: string) => {
  const program = spawn("effect-mqtt", ["broker", "--port", "0"], {
    ...programOptions(directory),
    stdio: ["ignore", "pipe", "pipe"]
  })
  const exit = new Promise<number | null>((done) => program.once("exit", (code) => done(code)))
  let output = ""
  const port = await new Promise<number>((found, failed) => {
    const look = (chunk: Buffer) => {
      output += chunk.toString()
      const match = /127\.0\.0\.1:(\d+)/.exec(output)
      if (match !== null) found(Number(match[1]))
    }
    program.stdout.on("data", look)
    program.stderr.on("data", look)
    program.once("exit", () => failed(new Error(`The program ended before it listened:\n${output}`)))
  })
  return { port, exit, end: (signal: NodeJS.Signals) => program.kill(signal), output: () => output }
}

/** The thread that writes the store is found and runs in the package too: a message survives the broker's death. */
const checkDurability = async (directory: string) => {
  const first = await startBroker(directory)
  const durable = { clientId: "durable", clean: false } as const
  const client = await Mqtt.connectAsync(`mqtt://127.0.0.1:${first.port}`, durable)
  await client.subscribeAsync("kept", { qos: 1 })
  await client.endAsync()
  const publisher = await Mqtt.connectAsync(`mqtt://127.0.0.1:${first.port}`)
  await publisher.publishAsync("kept", "through a crash", { qos: 1 })
  await publisher.endAsync()
  const { stdout } = await run("effect-mqtt", ["backup", "copy.db"], programOptions(directory))
  assert.match(stdout, /copied \d+ bytes to copy\.db/)
  await rm(join(directory, "copy.db"))
  first.end("SIGKILL")
  await first.exit
  const second = await startBroker(directory)
  const again = Mqtt.connect(`mqtt://127.0.0.1:${second.port}`, durable)
  const payload = await new Promise((done) => again.once("message", (_, received) => done(received.toString())))
  assert.strictEqual(payload, "through a crash")
  await again.endAsync()
  second.end("SIGTERM")
  assert.strictEqual(await second.exit, 0)
  assert.notInclude(second.output(), "Warning")
}

/** On the oldest Node that the package says it runs on. */
const checkOldestNode = async (directory: string) => {
  const { engines } = JSON.parse(await readFile(join(root, "package.json"), "utf8")) as { engines: { node: string } }
  const oldest = engines.node.replace(">=", "")
  const install = ["install", "--prefer-offline", "--no-audit", "--no-fund", `node@${oldest}`]
  await run("npm", install, { cwd: directory, env: environment() })
  const { stdout } = await run("node", ["--version"], programOptions(directory))
  assert.isTrue(stdout.startsWith(`v${oldest}.`), stdout)
  await checkDurability(directory)
}

describe("the package", () => {
  it("installs elsewhere, type-checks and runs", { timeout: 240_000 }, async () => {
    const directory = await mkdtemp(join(tmpdir(), "effect-mqtt-package-"))
    try {
      const packed = await run("npm", ["pack", "--json", "--pack-destination", directory], {
        cwd: root,
        env: environment()
      })
      const [tarball] = Object.values(JSON.parse(packed.stdout.slice(packed.stdout.search(/^[[{]/m)))) as Array<{
        filename: string
        files: Array<{ path: string }>
      }>
      assert.isDefined(tarball)
      const unexpected = tarball!.files.filter(
        ({ path }) => !/^(package\.json|README\.md|LICENSE|dist\/.+\.(js|d\.ts))$/.test(path)
      )
      assert.deepStrictEqual(unexpected, [])
      assert.isTrue(tarball!.files.some(({ path }) => path === "dist/cli/main.js"))

      await writeFile(
        join(directory, "package.json"),
        JSON.stringify({ name: "consumer", private: true, type: "module" })
      )
      const install = ["install", "--prefer-offline", "--no-audit", "--no-fund", join(directory, tarball!.filename)]
      await run("npm", install, { cwd: directory, env: environment() })
      await writeFile(join(directory, "consumer.ts"), consumer)
      await writeFile(join(directory, "tsconfig.json"), JSON.stringify(consumerConfig))
      await run(join(root, "node_modules/.bin/tsc"), ["-p", directory])

      const broker = await startBroker(directory)
      const client = await Mqtt.connectAsync(`mqtt://127.0.0.1:${broker.port}`)
      const received = new Promise<string>((done) => client.once("message", (_, payload) => done(payload.toString())))
      await client.subscribeAsync("a/#")
      await client.publishAsync("a/b", "from the tarball", { qos: 1 })
      assert.strictEqual(await received, "from the tarball")
      await client.endAsync()
      broker.end("SIGTERM")
      assert.strictEqual(await broker.exit, 0)

      await checkDurability(directory)
      await checkOldestNode(directory)
    } finally {
      await rm(directory, { recursive: true, force: true })
    }
  })
})
