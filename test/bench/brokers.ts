/**
 * The brokers that are measured: how each is started in a process of its own, on a free port of 127.0.0.1, and when
 * it counts as listening.
 */
import { execFileSync } from "node:child_process"
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { createConnection, createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { certificates } from "./certificates.ts"
import { startChild } from "./children.ts"
import { isSecure } from "./connection.ts"
import { isDurable, type Scenario, type Transport, transportOf } from "./scenarios.ts"
import { fillStore } from "./stored.ts"
import type { Signal } from "./turns.ts"
import * as WebSocket from "./web-socket.ts"

/**
 * `-persistent`: with what the broker has to keep things (mosquitto writes its file every 30 minutes, aedes leaves the
 * fsync to the operating system). `sink` is no broker but a stand-in for one that does nothing: what it reaches is the
 * generator's own limit.
 */
export const brokerNames = ["ours", "aedes", "aedes-persistent", "mosquitto", "mosquitto-persistent", "sink"] as const

export type BrokerName = (typeof brokerNames)[number]

export const isBrokerName = (name: string): name is BrokerName => brokerNames.some((known) => known === name)

export interface RunningBroker {
  readonly pid: number
  readonly port: number
  /** From just before the process was started to its first accepted connection. */
  readonly startMilliseconds: number
  readonly stop: () => Promise<void>
  readonly signal: Signal
}

const listenTimeoutMilliseconds = 15_000
/** For one that has a large store to read first, also on a machine that does something else. */
const storedListenTimeoutMilliseconds = 120_000
const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url))
const ourCheckout = here("../../")
const programOf = (checkout: string): string => join(checkout, "src/cli/main.ts")
const levelPackages = ["aedes-persistence-level", "classic-level"]

/** Why a broker cannot be measured on this machine, or undefined if it can. */
export const unavailable = (name: BrokerName): string | undefined => {
  if (name === "aedes-persistent") {
    const missing = levelPackages.filter((each) => !existsSync(join(ourCheckout, "node_modules", each)))
    if (missing.length > 0) return `not installed: ${missing.join(", ")}`
  }
  if (name.startsWith("mosquitto") && versionOf("mosquitto") === "unknown") return "mosquitto is not on the PATH"
  return undefined
}

/** Whether a broker speaks a scenario's protocol, and has what it measures: aedes knows no shared subscriptions. */
export const supports = (name: BrokerName, scenario: Scenario): boolean => {
  if (name === "ours" || name.startsWith("mosquitto")) return true
  if (name === "sink" && transportOf(scenario) !== "tcp") return false
  return scenario.protocol === 4 && (scenario.kind !== "messages" || scenario.topology !== "group")
}

/** Whether a broker is of interest in a scenario: with persistence where something is kept; a store is ours to read. */
export const belongs = (name: BrokerName, scenario: Scenario): boolean =>
  scenario.kind === "stored" ? name === "ours" : !name.endsWith("-persistent") || isDurable(scenario)

export const versionOf = (name: BrokerName): string => {
  try {
    switch (name) {
      case "ours":
        return versionIn("../../package.json")
      case "aedes":
        return versionIn("../../node_modules/aedes/package.json")
      case "aedes-persistent":
        return levelPackages
          .map((each) => `${each} ${versionIn(`../../node_modules/${each}/package.json`)}`)
          .join(" + ")
      case "mosquitto":
      case "mosquitto-persistent":
        return /version (\S+)/.exec(execFileSync("mosquitto", ["-h"], { encoding: "utf8" }))?.[1] ?? "unknown"
      case "sink":
        return "-"
    }
  } catch (error) {
    // `mosquitto -h` prints its version, then exits with a status that some releases set to 1 or 3.
    const printed = error instanceof Error && "stdout" in error ? String(error.stdout) : ""
    return /version (\S+)/.exec(printed)?.[1] ?? "unknown"
  }
}

const versionIn = (path: string): string => {
  const parsed: { version?: string } = JSON.parse(readFileSync(here(path), "utf8"))
  return parsed.version ?? "unknown"
}

/**
 * Start a broker. At a fixed rate Nagle's algorithm is off in the peers: their defaults leave it on, which makes them
 * up to 1.8 times as fast at saturation, and adds milliseconds to the latency of single messages. Ours decides itself.
 */
export const startBroker = (name: BrokerName, scenario: Scenario): Promise<RunningBroker> => {
  const noDelay = scenario.kind === "messages" && scenario.messagesPerSecond !== undefined
  const transport = transportOf(scenario)
  switch (name) {
    case "ours":
      return startOurs(ourCheckout, scenario)
    case "aedes":
      return startAedes(transport, noDelay, false)
    case "aedes-persistent":
      return startAedes(transport, noDelay, true)
    case "mosquitto":
      return startMosquitto({ transport, noDelay, persistent: false })
    case "mosquitto-persistent":
      return startMosquitto({ transport, noDelay, persistent: true })
    case "sink":
      return startNode([here("./sink-server.ts")])
  }
}

const listenUrls: Readonly<Record<Transport, string>> = {
  tcp: "mqtt://127.0.0.1:0",
  tls: "mqtts://127.0.0.1:0",
  ws: `ws://127.0.0.1:0${WebSocket.path}`,
  wss: `wss://127.0.0.1:0${WebSocket.path}`
}

const certificateFlags = (transport: Transport): ReadonlyArray<string> => {
  if (!isSecure(transport)) return []
  const { cert, key } = certificates()
  return ["--cert", cert, "--key", key]
}

/**
 * Ours, as a checkout (the path of its folder) has it; on a disk where that is asked for. Queues have room for what is
 * measured, as the peers' have.
 */
export const startOurs = (checkout: string, scenario: Scenario): Promise<RunningBroker> => {
  const transport = transportOf(scenario)
  const command = [programOf(checkout), "broker", "--listen", listenUrls[transport], ...certificateFlags(transport)]
  if (!isDurable(scenario)) return startNode([...command, "--memory"])
  const directory = mkdtempSync(join(tmpdir(), "mqtt-bench-"))
  const cleanUp = (): void => rmSync(directory, { recursive: true, force: true })
  const isStored = scenario.kind === "stored"
  if (isStored) fillStore(directory, scenario)
  const limits = ["--set", "queueMessagesMax=100000000", "--set", "queueBytesMax=100000000000"]
  const timeout = isStored ? storedListenTimeoutMilliseconds : listenTimeoutMilliseconds
  return startNode([...command, "--data-dir", directory, ...limits], cleanUp, timeout)
}

const startAedes = (transport: Transport, noDelay: boolean, persistent: boolean): Promise<RunningBroker> => {
  const flags = ["--transport", transport, ...certificateFlags(transport), ...(noDelay ? ["--no-delay"] : [])]
  const command = [here("./aedes-server.ts"), ...flags]
  if (!persistent) return startNode(command)
  const directory = mkdtempSync(join(tmpdir(), "mqtt-bench-"))
  return startNode([...command, "--data-dir", directory], () => rmSync(directory, { recursive: true, force: true }))
}

/** A Node program that prints the address it listens on. */
const startNode = async (
  args: ReadonlyArray<string>,
  cleanUp?: () => void,
  timeoutMilliseconds = listenTimeoutMilliseconds
): Promise<RunningBroker> => {
  const startedAt = performance.now()
  const child = startChild(process.execPath, args, cleanUp)
  try {
    const [, port] = await child.printed(/127\.0\.0\.1:(\d+)/, timeoutMilliseconds)
    await accepts(Number(port), child.ended)
    const { pid, signal, stop } = child
    return { pid, port: Number(port), startMilliseconds: performance.now() - startedAt, stop, signal }
  } catch (error) {
    await child.stop()
    throw error
  }
}

interface MosquittoOptions {
  readonly transport: Transport
  readonly noDelay: boolean
  readonly persistent: boolean
}

/** One with WebSockets only says that it has nothing to listen on, and ends: it gets a second listener, for nobody. */
const listenersOf = async (port: number, transport: Transport): Promise<ReadonlyArray<string>> => [
  ...(transport === "ws" || transport === "wss" ? [`listener ${await freePort()} 127.0.0.1`] : []),
  `listener ${port} 127.0.0.1`,
  ...(transport === "ws" || transport === "wss" ? ["protocol websockets"] : []),
  ...(isSecure(transport) ? [`certfile ${certificates().cert}`, `keyfile ${certificates().key}`] : [])
]

/**
 * Debian's mosquitto with nothing on that costs time (no log; no persistence unless asked for), and with its limits on
 * queued and unacknowledged messages off (0 is "no maximum"), so that it need not drop or wait.
 */
const mosquittoConfig = async (port: number, directory: string, options: MosquittoOptions): Promise<string> =>
  [
    ...(await listenersOf(port, options.transport)),
    "allow_anonymous true",
    "max_queued_messages 0",
    "max_inflight_messages 0",
    `set_tcp_nodelay ${options.noDelay}`,
    ...(options.persistent ? ["persistence true", `persistence_location ${directory}/`] : ["persistence false"]),
    "log_type none",
    ""
  ].join("\n")

const startMosquitto = async (options: MosquittoOptions): Promise<RunningBroker> => {
  const port = await freePort()
  const directory = mkdtempSync(join(tmpdir(), "mqtt-bench-"))
  const path = join(directory, "mosquitto.conf")
  // Started by root it becomes another user, who writes there.
  chmodSync(directory, 0o777)
  writeFileSync(path, await mosquittoConfig(port, directory, options))
  const startedAt = performance.now()
  const child = startChild("mosquitto", ["-c", path], () => rmSync(directory, { recursive: true, force: true }))
  try {
    await accepts(port, child.ended)
    const { pid, signal, stop } = child
    return { pid, port, startMilliseconds: performance.now() - startedAt, stop, signal }
  } catch (error) {
    await child.stop()
    throw error
  }
}

const freePort = (): Promise<number> =>
  new Promise((resolve, reject) => {
    const server = createServer()
    server.on("error", reject)
    server.listen(0, "127.0.0.1", () => {
      const address = server.address()
      server.close(() =>
        typeof address === "object" && address !== null ? resolve(address.port) : reject(new Error("no free port"))
      )
    })
  })

const connects = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = createConnection({ port, host: "127.0.0.1" })
    socket.once("connect", () => {
      socket.destroy()
      resolve(true)
    })
    socket.once("error", () => resolve(false))
  })

/** Wait until the port accepts a connection; rejects when the process ends first or the time is up. */
const accepts = async (port: number, ended: () => string | undefined): Promise<void> => {
  const giveUpAt = performance.now() + listenTimeoutMilliseconds
  while (!(await connects(port))) {
    const reason = ended()
    if (reason !== undefined) throw new Error(reason)
    if (performance.now() > giveUpAt) throw new Error(`does not accept connections on port ${port}`)
    await new Promise((resolve) => setTimeout(resolve, 1))
  }
}
