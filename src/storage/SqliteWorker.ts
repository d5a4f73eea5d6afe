/**
 * The program of the worker thread: answers one request after the other, in the order they came in.
 *
 * Imports nothing of Effect, so that it is up in milliseconds.
 */
import { type MessagePort, parentPort, workerData } from "node:worker_threads"
import type { SqliteBatch } from "./SqliteBatch.ts"
import { type Begun, type DatabaseOptions, HEARTBEAT_MILLIS, type Opened, SqliteDatabase } from "./SqliteDatabase.ts"
import { type FailureKind, of } from "./SqliteFailure.ts"
import type { Page, QueuePage, QueueRange } from "./SqliteReader.ts"

export type Request =
  /** Again: by a broker that had it open before, with a thread that has died. */
  | { readonly _tag: "Open"; readonly again: boolean }
  | { readonly _tag: "Begin" }
  | { readonly _tag: "Page" }
  | { readonly _tag: "Queued"; readonly range: QueueRange }
  | { readonly _tag: "Commit"; readonly batch: SqliteBatch }
  | { readonly _tag: "HasRoom" }
  | { readonly _tag: "Close" }

export interface Results {
  readonly Open: Opened
  readonly Begin: Begun
  readonly Page: Page | undefined
  readonly Queued: QueuePage
  /** The batch's buffer, to be used again. */
  readonly Commit: ArrayBuffer
  readonly HasRoom: boolean
  readonly Close: undefined
}

export type Response =
  | { readonly ok: true; readonly result: Results[keyof Results] }
  | { readonly ok: false; readonly kind: FailureKind; readonly message: string }

let database: SqliteDatabase | undefined

const opened = (): SqliteDatabase => {
  if (database === undefined) throw new Error("The database is not open.")
  return database
}

const answer = (request: Request): Results[keyof Results] => {
  switch (request._tag) {
    case "Open":
      database?.close()
      database = undefined
      // SqliteThread hands these over
      database = new SqliteDatabase({ ...(workerData as DatabaseOptions), mustExist: request.again })
      return database.opened
    case "Begin":
      return opened().begin(Date.now())
    case "Page":
      return opened().page()
    case "Queued":
      return opened().queued(request.range)
    case "Commit":
      opened().commit(request.batch, Date.now())
      return request.batch.bytes.buffer
    case "HasRoom":
      return opened().hasRoom()
    case "Close":
      database?.close()
      database = undefined
      return undefined
  }
}

const transfers = (result: Results[keyof Results]): Array<ArrayBuffer> => {
  if (result instanceof ArrayBuffer) return [result]
  if (typeof result !== "object") return []
  if ("chunks" in result) return [result.chunks.bytes.buffer, result.pools.bytes.buffer]
  return "bytes" in result ? [result.bytes.buffer] : []
}

const serve = (port: MessagePort): void => {
  setInterval(() => database?.beat(Date.now()), HEARTBEAT_MILLIS).unref()
  port.on("message", (request: Request) => {
    let response: Response
    try {
      response = { ok: true, result: answer(request) }
    } catch (error) {
      const { kind, message } = of(error)
      response = { ok: false, kind, message }
    }
    port.postMessage(response, response.ok ? transfers(response.result) : [])
    if (request._tag === "Commit") database?.rest()
    if (request._tag === "Close") port.close()
  })
}

if (parentPort !== null) serve(parentPort)
