/**
 * What a broker in a process of its own says about itself, and how it is told what to be: the messages between the two
 * processes. Types only.
 */
import type { BrokerSettings } from "../../src/broker/BrokerConfig.ts"
import type { BrokerStats } from "../../src/broker/Broker.ts"

/** Faults put into the broker's process on purpose, to see that they are found. */
export type Planted = "crash" | "leak" | "print"

export interface Options {
  readonly settings: Partial<BrokerSettings>
  /** "nothing": the store of the program. "everything": one that keeps all, and answers a little later. */
  readonly keeps: "nothing" | "everything"
  readonly planted?: Planted | undefined
}

export interface StoreReport {
  readonly sessions: number
  readonly retained: number
  /** Batches and bytes committed since the start. */
  readonly commits: number
  readonly bytes: number
  /** Payload and record bytes handed to the store that it has not confirmed. */
  readonly pendingBytes: number
}

export interface Report {
  readonly connections: number
  readonly sessions: number
  readonly subscriptions: number
  readonly retained: number
  /** Exchanges under way and messages that wait, of all sessions. */
  readonly incomingMessages: number
  readonly outgoingMessages: number
  /** Bytes that wait for sockets. */
  readonly outboxBytes: number
  readonly stats: BrokerStats
  /** Messages dropped so far, by the client id up to its first "-", and the reason. */
  readonly dropped: Readonly<Record<string, number>>
  /** What the core threw, if ever: the events that say so. */
  readonly defects: ReadonlyArray<string>
  readonly store: StoreReport
  /** In use after a collection, when one was asked for. */
  readonly heapBytes: number
  /** Of buffers, outside the heap. */
  readonly bufferBytes: number
  readonly rssBytes: number
  /** The most that was ever resident. */
  readonly rssBytesMax: number
  /** The longest that the event loop was held up since the last collection: by input, or by the machine. */
  readonly stallMillis: number
}

export type Question =
  | { readonly ask: "report"; readonly collectGarbage: boolean }
  /** Takes back every retained message outside these topics. */
  | { readonly ask: "clear"; readonly except: string }
  /** Ends the broker; the process should then end by itself. */
  | { readonly ask: "stop" }

export interface Asked {
  readonly id: number
  readonly question: Question
}

export type Answer =
  | { readonly tag: "ready"; readonly port: number }
  | { readonly tag: "answer"; readonly id: number; readonly report: Report | undefined }
