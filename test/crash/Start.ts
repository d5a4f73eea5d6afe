/**
 * How long a broker takes to start on a large store, and how much memory: `npm run test:crash -- --start`.
 */
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { databaseIn } from "../../src/cli/StorageFlags.ts"
import type { StoreOperation } from "../../src/core/StoreOperation.ts"
import * as SqliteBatch from "../../src/storage/SqliteBatch.ts"
import { SqliteCatalog } from "../../src/storage/SqliteCatalog.ts"
import { SqliteDatabase } from "../../src/storage/SqliteDatabase.ts"
import { BrokerProcess } from "./BrokerProcess.ts"

export interface Options {
  readonly sessions: number
  /** Waiting in these sessions, the same number in each, or as near as that goes. */
  readonly messages: number
  readonly payloadBytes: number
}

export interface Outcome {
  readonly storeBytes: number
  /** From the start of the process until it listens. */
  readonly startMillis: number
  /** Most memory of the process until then, and what it has then; undefined where the system does not say. */
  readonly memoryBytesMax: number | undefined
  readonly memoryBytes: number | undefined
}

const BATCH = 2_000

const session = (clientId: string, disconnectedAt: number): ReadonlyArray<StoreOperation> => [
  {
    _tag: "PutSession",
    clientId,
    userName: "",
    expirySeconds: 0xffff_ffff,
    disconnectedAt,
    will: undefined
  },
  {
    _tag: "PutSubscription",
    clientId,
    filter: `device/${clientId}/#`,
    qos: 1,
    noLocal: false,
    retainAsPublished: false,
    retainHandling: 0,
    subscriptionIdentifier: 0
  }
]

const message = (clientId: string, order: number, messageId: number, payload: Uint8Array): StoreOperation => ({
  _tag: "PutOutgoing",
  clientId,
  order,
  message: {
    messageId,
    topic: `device/${clientId}/value`,
    payload,
    qos: 1,
    retain: false,
    properties: undefined,
    receivedAt: 1,
    expiresAt: 0
  },
  qos: 1,
  retain: false,
  packetId: 0,
  state: 1,
  subscriptionIdentifiers: undefined
})

function* operations({ messages, payloadBytes, sessions }: Options): Generator<StoreOperation> {
  const now = Date.now()
  const clientId = (index: number) => `client-${index}`
  for (let index = 0; index < sessions; index++) yield* session(clientId(index), now)
  for (let index = 0; index < messages; index++) {
    const payload = new Uint8Array(payloadBytes).fill(index)
    yield message(clientId(index % sessions), 1 + Math.floor(index / sessions), index + 1, payload)
  }
}

const fill = (file: string, options: Options): void => {
  const logBytesMax = 64 * 1024 * 1024
  const database = new SqliteDatabase({ file, durability: "none", fileBytesMax: 0, logBytesMax })
  database.begin(Date.now())
  const catalog = new SqliteCatalog()
  let sequence = 0
  let batch: Array<StoreOperation> = []
  const commit = () => {
    const { batch: encoded, change } = SqliteBatch.encode(catalog, batch, ++sequence)
    database.commit(encoded, Date.now())
    database.rest()
    catalog.apply(change)
    batch = []
  }
  for (const operation of operations(options)) {
    batch.push(operation)
    if (batch.length === BATCH) commit()
  }
  if (batch.length > 0) commit()
  database.close()
}

/** What Linux says of a process's memory. */
const memoryOf = (pid: number, field: "VmHWM" | "VmRSS"): number | undefined => {
  try {
    const found = new RegExp(`${field}:\\s+(\\d+) kB`).exec(readFileSync(`/proc/${pid}/status`, "utf8"))
    return found === null ? undefined : Number(found[1]) * 1024
  } catch {
    return undefined
  }
}

export const measure = async (options: Options): Promise<Outcome> => {
  const dataDir = mkdtempSync(join(tmpdir(), "effect-mqtt-start-"))
  let broker: BrokerProcess | undefined
  try {
    const file = databaseIn(dataDir)
    fill(file, options)
    const startedAt = performance.now()
    broker = new BrokerProcess({ kind: "program", dataDir, durability: "fsync" })
    await broker.port()
    return {
      storeBytes: statSync(file).size,
      startMillis: performance.now() - startedAt,
      memoryBytesMax: memoryOf(broker.pid, "VmHWM"),
      memoryBytes: memoryOf(broker.pid, "VmRSS")
    }
  } finally {
    await broker?.end("SIGKILL")
    rmSync(dataDir, { recursive: true, force: true })
  }
}
