/**
 * The broker under test as its tester sees it: a child process that is asked, ended, and whose every word is a fault.
 */
import { type ChildProcess, fork } from "node:child_process"
import { fileURLToPath } from "node:url"
import type { Answer, Options, Question, Report } from "./Report.ts"

/** After this long without an answer, or without its end, the process hangs. */
const HANGS_MILLIS = 30_000

const module = fileURLToPath(new URL("./broker.ts", import.meta.url))

export class BrokerProcess {
  readonly port: number
  private readonly child: ChildProcess
  private readonly waiting = new Map<number, (report: Report | undefined) => void>()
  private readonly closed: Promise<void>
  private lastId = 0
  private printed: string
  private state: "running" | "stopping" | "ended" = "running"
  private endedWith: string | undefined = undefined

  private constructor(child: ChildProcess, port: number, printed: string) {
    this.child = child
    this.port = port
    this.printed = printed
    child.stdout?.on("data", (bytes: Buffer) => this.hear(bytes))
    child.stderr?.on("data", (bytes: Buffer) => this.hear(bytes))
    // A process that dies while it is asked something: its end says enough.
    child.on("error", () => {})
    child.on("message", (message) => {
      const answer = message as Answer // broker.ts sends nothing else
      if (answer.tag !== "answer") return
      this.waiting.get(answer.id)?.(answer.report)
      this.waiting.delete(answer.id)
    })
    this.closed = new Promise((resolve) => {
      // "close", not "exit": by then all it printed has been read.
      child.once("close", (code, signal) => {
        this.endedWith = signal ?? `exit code ${code}`
        this.state = "ended"
        for (const resume of this.waiting.values()) resume(undefined)
        resolve()
      })
    })
  }

  /** Starts one; rejects with what it printed when it does not come up. */
  static start(options: Options): Promise<BrokerProcess> {
    const child = fork(module, [JSON.stringify(options)], {
      execArgv: ["--expose-gc", "--disable-warning=ExperimentalWarning"],
      stdio: ["ignore", "pipe", "pipe", "ipc"]
    })
    return new Promise((resolve, reject) => {
      let printed = ""
      const hear = (bytes: Buffer) => {
        printed += bytes.toString()
      }
      const failed = () => reject(new Error(`the broker did not start: ${printed}`))
      child.stdout?.on("data", hear)
      child.stderr?.on("data", hear)
      child.once("close", failed)
      child.once("message", (message) => {
        const answer = message as Answer // broker.ts sends nothing else
        if (answer.tag !== "ready") return
        child.removeListener("close", failed)
        child.stdout?.removeListener("data", hear)
        child.stderr?.removeListener("data", hear)
        resolve(new BrokerProcess(child, answer.port, printed))
      })
    })
  }

  get pid(): number {
    return this.child.pid ?? -1
  }

  /** What is wrong with the process, whatever the broker does: it ended, or it said something. */
  get fault(): string | undefined {
    if (this.state === "ended") return `the broker's process ended with ${this.endedWith}. ${this.printed}`.trim()
    return this.printed === "" ? undefined : `the broker's process printed: ${this.printed.trim()}`
  }

  /** Rejects when the process is gone or does not answer. */
  async report(collectGarbage: boolean): Promise<Report> {
    const report = await this.ask({ ask: "report", collectGarbage })
    if (report === undefined) throw new Error(this.fault ?? "the broker's process does not answer")
    return report
  }

  async clearRetained(except: string): Promise<void> {
    await this.ask({ ask: "clear", except })
  }

  /** Ends the broker and waits until its process has ended by itself; returns what was wrong with that. */
  async stop(): Promise<string | undefined> {
    if (this.state === "ended") return this.fault
    this.state = "stopping"
    if (this.child.connected) this.child.send({ id: 0, question: { ask: "stop" } })
    if (!(await this.endsWithin(HANGS_MILLIS))) {
      await this.kill()
      return `the broker's process did not end: something keeps it running. ${this.printed}`.trim()
    }
    const orderly = this.endedWith === "exit code 0" && this.printed === ""
    return orderly ? undefined : `the broker's process ended with ${this.endedWith}. ${this.printed}`.trim()
  }

  /** At once, whatever it does. */
  async kill(): Promise<void> {
    if (this.state === "ended") return
    this.child.kill("SIGKILL")
    await this.closed
  }

  private hear(bytes: Buffer): void {
    // Enough to understand a fault; one that repeats must not fill this process.
    if (this.printed.length < 10_000) this.printed += bytes.toString()
  }

  private async endsWithin(millis: number): Promise<boolean> {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<boolean>((resolve) => {
      timer = setTimeout(resolve, millis, false)
    })
    const ended = await Promise.race([this.closed.then(() => true), late])
    clearTimeout(timer)
    return ended
  }

  private ask(question: Question): Promise<Report | undefined> {
    if (this.state === "ended" || !this.child.connected) return Promise.resolve(undefined)
    const id = ++this.lastId
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        this.waiting.delete(id)
        resolve(undefined)
      }, HANGS_MILLIS)
      this.waiting.set(id, (report) => {
        clearTimeout(timer)
        resolve(report)
      })
      this.child.send({ id, question })
    })
  }
}
