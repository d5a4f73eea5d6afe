/**
 * The worker thread as the broker's side sees it: a request, and one day its answer.
 *
 * Owns the thread's life. One that dies is started again by the next request; what was asked of it fails with `died`,
 * and whoever asked knows whether asking again is safe.
 */
import { getCompileCacheDir } from "node:module"
import { dirname } from "node:path"
import { Worker } from "node:worker_threads"
import type { DatabaseOptions } from "./SqliteDatabase.ts"
import type { FailureKind } from "./SqliteFailure.ts"
import type { Request, Response, Results } from "./SqliteWorker.ts"

/** What a request comes to when it does not succeed. */
export interface Refusal {
  readonly kind: FailureKind | "died"
  readonly message: string
}

export type Answer<A> = { readonly ok: true; readonly result: A } | ({ readonly ok: false } & Refusal)

/** As this module: the sources are run as they are, the package has been compiled. */
const program = new URL(import.meta.url.endsWith(".ts") ? "./SqliteWorker.ts" : "./SqliteWorker.js", import.meta.url)

/** A thread has no compile cache of its own accord, and without one takes four times as long to be up. */
const environment = (): NodeJS.ProcessEnv => {
  const cache = getCompileCacheDir()
  // What is said is the subdirectory of this version of Node.
  return cache === undefined ? process.env : { ...process.env, NODE_COMPILE_CACHE: dirname(cache) }
}

type Waiting = (response: Answer<Results[keyof Results]>) => void

export class SqliteThread {
  private readonly options: DatabaseOptions
  private worker: Worker | undefined = undefined
  /** How often a thread has been started. */
  starts = 0
  /** Answers come in the order of the requests. */
  private waiting: Array<Waiting> = []

  constructor(options: DatabaseOptions) {
    this.options = options
  }

  /** Whether there is a thread; one that has died comes back with the next request, its database not yet open. */
  get alive(): boolean {
    return this.worker !== undefined
  }

  request<R extends Request>(
    request: R,
    transfer: ReadonlyArray<ArrayBuffer>,
    answered: (answer: Answer<Results[R["_tag"]]>) => void
  ): void {
    const worker = this.worker ?? this.start()
    this.waiting.push(answered as Waiting) // the worker answers with the result of the request
    worker.postMessage(request, transfer)
  }

  /** Ends the thread, in the middle of what it does; done when it is gone. What it was asked fails. */
  async kill(): Promise<void> {
    await this.worker?.terminate()
  }

  private start(): Worker {
    const worker = new Worker(program, { workerData: this.options, name: "effect-mqtt store", env: environment() })
    let reason = "it ended"
    worker.on("message", (response: Response) => this.waiting.shift()?.(response))
    worker.on("error", (error) => {
      reason = String(error)
    })
    worker.on("exit", () => {
      if (this.worker === worker) this.worker = undefined
      const waiting = this.waiting
      this.waiting = []
      for (const answered of waiting)
        answered({ ok: false, kind: "died", message: `The store's thread died: ${reason}.` })
    })
    this.worker = worker
    this.starts++
    return worker
  }
}
