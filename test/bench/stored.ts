/** A store as a broker leaves it whose clients are all away: sessions with messages that wait. */
import * as StorageFlags from "../../src/cli/StorageFlags.ts"
import type { StoreOperation } from "../../src/core/StoreOperation.ts"
import * as SqliteBatch from "../../src/storage/SqliteBatch.ts"
import { SqliteCatalog } from "../../src/storage/SqliteCatalog.ts"
import { SqliteDatabase } from "../../src/storage/SqliteDatabase.ts"
import type { StoredScenario } from "./scenarios.ts"

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

function* operations({ messages, payloadBytes, sessions }: StoredScenario): Generator<StoreOperation> {
  const now = Date.now()
  const clientId = (index: number) => `client-${index}`
  for (let index = 0; index < sessions; index++) yield* session(clientId(index), now)
  for (let index = 0; index < messages; index++) {
    const payload = new Uint8Array(payloadBytes).fill(index)
    yield message(clientId(index % sessions), 1 + Math.floor(index / sessions), index + 1, payload)
  }
}

/** Makes it in the data directory of a broker that has not run yet. */
export const fillStore = (directory: string, scenario: StoredScenario): void => {
  const file = StorageFlags.databaseIn(directory)
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
  for (const operation of operations(scenario)) {
    batch.push(operation)
    if (batch.length === BATCH) commit()
  }
  if (batch.length > 0) commit()
  database.close()
}
