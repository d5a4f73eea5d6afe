/**
 * A broker in a process of its own, to be killed.
 */
import { type ChildProcess, spawn } from "node:child_process"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import * as StorageFlags from "../../src/cli/StorageFlags.ts"
import type { Durability } from "../../src/storage/SqliteFile.ts"

/** The real program, or a broker embedded in another whose log is emptied all the time. */
export type Kind = "program" | "embedded"

export const kinds: ReadonlyArray<Kind> = ["program", "embedded"]

export interface Options {
  readonly kind: Kind
  readonly dataDir: string
  readonly durability: Durability
}

export interface EmbeddedOptions {
  readonly file: string
  readonly durability: Durability
}

const root = fileURLToPath(new URL("../..", import.meta.url))

const argumentsOf = ({ dataDir, durability, kind }: Options): ReadonlyArray<string> => {
  if (kind === "program") {
    return ["src/cli/main.ts", "broker", "--port", "0", "--data-dir", dataDir, "--durability", durability]
  }
  const options: EmbeddedOptions = { file: StorageFlags.databaseIn(dataDir), durability }
  return ["test/crash/broker.ts", JSON.stringify(options)]
}

/** What has been compiled once need not be again a hundred times, and queues are to be read from the file. */
const embedded = ({ dataDir }: Options): NodeJS.ProcessEnv => ({
  NODE_COMPILE_CACHE: join(dataDir, "compiled"),
  EFFECT_MQTT_QUEUE_MEMORY_BYTES_MAX: "4096"
})

const environment = (options: Options): NodeJS.ProcessEnv => ({
  ...process.env,
  ...(options.kind === "embedded" && embedded(options)),
  // The offline subscriber's queue may become long: what it loses is to be the broker's fault.
  EFFECT_MQTT_QUEUE_MESSAGES_MAX: "10000000",
  EFFECT_MQTT_QUEUE_BYTES_MAX: "1000000000"
})

export class BrokerProcess {
  private readonly child: ChildProcess
  private output = ""

  constructor(options: Options) {
    this.child = spawn(process.execPath, argumentsOf(options), {
      cwd: root,
      env: environment(options),
      stdio: ["ignore", "pipe", "pipe"]
    })
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream?.on("data", (bytes: Buffer) => {
        this.output += bytes.toString()
      })
    }
  }

  get pid(): number {
    return this.child.pid ?? 0
  }

  /** Where it listens. Fails, with what it said, when it ends instead. */
  readonly port = (): Promise<number> =>
    new Promise((resolve, reject) => {
      const look = () => {
        const found = /listening on mqtt:\/\/127\.0\.0\.1:(\d+)/.exec(this.output)
        if (found !== null) resolve(Number(found[1]))
      }
      this.child.stdout?.on("data", look)
      this.child.once("close", () => reject(new Error(`the broker did not start:\n${this.output}`)))
      look()
    })

  /** Kills it, and resolves when it is gone. Fails, with what it said, when it had ended by itself. */
  readonly kill = async (): Promise<void> => {
    const code = await this.end("SIGKILL")
    if (code !== null) throw new Error(`the broker ended by itself, with ${code}:\n${this.output}`)
  }

  /** Ends it with a signal, and resolves with its exit code when it is gone. */
  readonly end = (signal: NodeJS.Signals): Promise<number | null> =>
    new Promise((resolve) => {
      if (this.child.exitCode !== null || this.child.signalCode !== null) {
        resolve(this.child.exitCode)
        return
      }
      this.child.once("close", (code) => resolve(code))
      this.child.kill(signal)
    })
}
