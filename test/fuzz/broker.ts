/**
 * A broker as a process of its own that answers questions about itself: the one under test of the fuzz run and the
 * soak. Its only argument is the options as JSON. It prints nothing: whatever comes out of it is a fault.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import { monitorEventLoopDelay } from "node:perf_hooks"
import * as Broker from "../../src/broker/Broker.ts"
import * as BrokerConfig from "../../src/broker/BrokerConfig.ts"
import { BrokerStorage } from "../../src/storage/BrokerStorage.ts"
import * as MemoryStorage from "../../src/storage/MemoryStorage.ts"
import type { Answer, Asked, Options, Planted, Question, Report } from "./Report.ts"

type BrokerService = Broker.Broker["Service"]

const options = JSON.parse(process.argv[2] ?? "{}") as Options // written by BrokerProcess.ts

const store = new MemoryStorage.MemoryStore()
const commits = { count: 0, bytes: 0, pendingBytes: 0 }

/** As a disk would: the answer comes in a later round of the event loop. */
const keeping = (): BrokerStorage["Service"] => {
  const memory = MemoryStorage.make(store)
  return {
    ...memory,
    commit: (operations, sequence) => {
      let bytes = 0
      for (const operation of operations) bytes += 128 + ("message" in operation ? operation.message.payload.length : 0)
      commits.pendingBytes += bytes
      return Effect.callback<void>((resume) => {
        setImmediate(() => resume(Effect.void))
      }).pipe(
        Effect.andThen(memory.commit(operations, sequence)),
        Effect.tap(() =>
          Effect.sync(() => {
            commits.count++
            commits.bytes += bytes
            commits.pendingBytes -= bytes
          })
        )
      )
    }
  }
}

const storage: Layer.Layer<BrokerStorage> =
  options.keeps === "everything" ? Layer.sync(BrokerStorage)(keeping) : MemoryStorage.layer

const defects: Array<string> = []
const dropped: Record<string, number> = {}
const leaked: Array<Uint8Array> = []

/** Faults that a broker may have, so that a test can show that they would not go unnoticed. */
const plant = (fault: Planted, connections: number): void => {
  if (fault === "leak") leaked.push(new Uint8Array(262_144).fill(1))
  else if (fault === "print" && connections === 100) console.error("something went wrong")
  else if (fault === "crash" && connections === 100) throw new Error("planted")
}

const watch = (broker: BrokerService) =>
  Stream.runForEach(broker.eventsOf("Error", "MessageDropped", "StorageChanged", "Connected"), (event) =>
    Effect.sync(() => {
      if (event._tag === "Connected") {
        // Outside the fiber, where nothing catches it.
        const { planted } = options
        if (planted !== undefined) setImmediate(() => plant(planted, Number(event.connectionId)))
      } else if (event._tag === "MessageDropped") {
        const key = `${event.clientId.split("-", 1)[0]} ${event.reason}`
        // Hostile clients choose their names: no more of them than anybody asks about.
        if (key in dropped || Object.keys(dropped).length < 100) dropped[key] = (dropped[key] ?? 0) + 1
      } else if (event._tag === "StorageChanged") defects.push(`storage ${event.state}: ${event.description}`)
      else if (event.description.startsWith("The broker failed")) defects.push(event.description)
    })
  )

const eventLoop = monitorEventLoopDelay({ resolution: 10 })
eventLoop.enable()

const round = () => new Promise<void>((resolve) => setImmediate(resolve))

/** What one collection frees may free more (weak references, buffers): twice, with the event loop in between. */
const collectGarbage = async (): Promise<void> => {
  for (let times = 0; times < 3; times++) {
    await round()
    globalThis.gc?.()
  }
}

const report = (broker: BrokerService, stallMillis: number): Report => {
  const connections = Effect.runSync(broker.connections)
  const sessions = Effect.runSync(broker.sessions)
  const { arrayBuffers, heapUsed, rss } = process.memoryUsage()
  const sum = <A>(items: ReadonlyArray<A>, of: (item: A) => number) =>
    items.reduce((total, item) => total + of(item), 0)
  return {
    connections: connections.length,
    sessions: sessions.length,
    subscriptions: sum(sessions, ({ subscriptions }) => subscriptions.length),
    retained: Effect.runSync(broker.retainedMessages).length,
    incomingMessages: sum(sessions, ({ incomingMessageCount }) => incomingMessageCount),
    outgoingMessages: sum(sessions, ({ outgoingMessageCount }) => outgoingMessageCount),
    outboxBytes: sum(connections, ({ bufferedBytes }) => bufferedBytes),
    stats: Effect.runSync(broker.stats),
    dropped,
    defects,
    store: {
      sessions: store.sessions.size,
      retained: store.retained.size,
      commits: commits.count,
      bytes: commits.bytes,
      pendingBytes: commits.pendingBytes
    },
    heapBytes: heapUsed,
    bufferBytes: arrayBuffers,
    rssBytes: rss,
    rssBytesMax: process.resourceUsage().maxRSS * 1_024,
    stallMillis
  }
}

const answer = async (broker: BrokerService, question: Question): Promise<Report | undefined> => {
  if (question.ask === "report") {
    const stallMillis = Math.round(eventLoop.max / 1e6)
    if (question.collectGarbage) {
      await collectGarbage()
      eventLoop.reset()
    }
    return report(broker, stallMillis)
  }
  if (question.ask === "clear") {
    for (const { topic } of Effect.runSync(broker.retainedMessages)) {
      if (topic.startsWith(question.except)) continue
      await Effect.runPromise(broker.publish({ topic, payload: "", retain: true }))
    }
  }
  return undefined
}

const send = (message: Answer): void => {
  process.send?.(message)
}

/** Until somebody asks for the end. */
const serve = (broker: BrokerService): Effect.Effect<void> =>
  Effect.callback((resume) => {
    process.on("message", (message) => {
      const { id, question } = message as Asked // BrokerProcess.ts sends nothing else
      if (question.ask === "stop") {
        resume(Effect.void)
        return
      }
      void answer(broker, question).then((report) => send({ tag: "answer", id, report }))
    })
    // Whoever asked is gone.
    process.on("disconnect", () => resume(Effect.void))
  })

const program = Effect.gen(function* () {
  const broker = yield* Broker.Broker
  yield* Effect.forkChild(watch(broker), { startImmediately: true })
  const [listener] = yield* broker.listeners
  send({ tag: "ready", port: listener!.localPort })
  yield* serve(broker)
})

const layer = Broker.layer.pipe(
  Layer.provide([BrokerConfig.layer({ listeners: [{ port: 0 }], ...options.settings }), storage])
)

await Effect.runPromise(program.pipe(Effect.provide(layer)))
// Nothing of the broker may keep the process from ending now; the channel to the parent would.
if (process.connected) process.disconnect?.()
