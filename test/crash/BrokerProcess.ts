/**
 * The real program in a process of its own, to be killed.
 */
import { type ChildProcess, spawn } from "node:child_process"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("../..", import.meta.url))

export class BrokerProcess {
  private readonly child: ChildProcess
  private output = ""

  constructor(dataDir: string, args: ReadonlyArray<string> = []) {
    this.child = spawn(
      process.execPath,
      ["src/cli/main.ts", "broker", "--port", "0", "--data-dir", dataDir, ...args],
      // The offline subscriber's queue may become long: what it loses is to be the broker's fault.
      {
        cwd: root,
        env: { ...process.env, EFFECT_MQTT_QUEUE_MESSAGES_MAX: "10000000", EFFECT_MQTT_QUEUE_BYTES_MAX: "1000000000" },
        stdio: ["ignore", "pipe", "pipe"]
      }
    )
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream?.on("data", (bytes: Buffer) => {
        this.output += bytes.toString()
      })
    }
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
