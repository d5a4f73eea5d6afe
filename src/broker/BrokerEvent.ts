/**
 * What a broker tells: the core's events, and those that only the shell can know of.
 */
import type { ConnectionId } from "../core/ConnectionId.ts"
import * as CoreEvent from "../core/CoreEvent.ts"
import type { StorageState } from "../core/Journal.ts"
import type { Protocol } from "../transport/Listener.ts"
import type * as Snapshot from "./Snapshot.ts"

/** Something went wrong while a message or a question was handled; `errorCode` is the documented number. */
export interface Error {
  readonly _tag: "Error"
  /** "" when it is about no single connection. */
  readonly connectionId: ConnectionId | ""
  readonly errorCode: number
  readonly description: string
}

export interface Log {
  readonly _tag: "Log"
  /** "" when it is about no single connection. */
  readonly connectionId: ConnectionId | ""
  /** 1 information, 2 verbose, 3 debug: the documented levels. */
  readonly logLevel: 1 | 2 | 3
  readonly message: string
  readonly logType: "Info" | "Session" | "Frame"
}

export interface ListenerStarted {
  readonly _tag: "ListenerStarted"
  readonly protocol: Protocol
  readonly localHost: string
  readonly localPort: number
}

export interface ListenerStopped {
  readonly _tag: "ListenerStopped"
  readonly protocol: Protocol
  readonly localHost: string
  readonly localPort: number
}

/** How a TLS or WebSocket handshake goes, in words. Comes before the Connected event of the same connection. */
export interface SSLStatus {
  readonly _tag: "SSLStatus"
  readonly connectionId: ConnectionId
  readonly message: string
}

export type RefusalReason = "connections-max" | "handshakes-max" | "hook" | "proxy-header" | "shutting-down"

/** A raw connection was closed before a byte of it was read, or because its PROXY header was missing or wrong. */
export interface ConnectionRefused {
  readonly _tag: "ConnectionRefused"
  readonly remoteHost: string
  readonly remotePort: number
  readonly protocol: Protocol
  readonly reason: RefusalReason
}

/** The store stopped, or began again, to keep what it is given. */
export interface StorageChanged {
  readonly _tag: "StorageChanged"
  readonly state: StorageState
  readonly description: string
}

/**
 * A session ended. It can still be looked at and saved while this is told, unless another has taken its place: a clean
 * start, a loaded one. `session` is what was in it in any case.
 */
export interface SessionRemoved {
  readonly _tag: "SessionRemoved"
  readonly clientId: string
  readonly session: Snapshot.SessionDetail
}

export type ShellEvent =
  | Error
  | Log
  | ListenerStarted
  | ListenerStopped
  | SSLStatus
  | ConnectionRefused
  | StorageChanged

export type BrokerEvent = Exclude<CoreEvent.CoreEvent, CoreEvent.SessionRemoved> | SessionRemoved | ShellEvent

export type Tag = BrokerEvent["_tag"]

/** The event with that tag. */
export type OfTag<T extends Tag> = Extract<BrokerEvent, { readonly _tag: T }>

const shellTags: ReadonlyArray<ShellEvent["_tag"]> = [
  "Error",
  "Log",
  "ListenerStarted",
  "ListenerStopped",
  "SSLStatus",
  "ConnectionRefused",
  "StorageChanged"
]

export const tags: ReadonlyArray<Tag> = [...CoreEvent.tags, ...shellTags]
