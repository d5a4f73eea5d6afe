/**
 * What has happened to the messages of a chunk since it was written: three bytes each, the state and the packet id.
 */
import type { OutgoingState } from "../core/MessageState.ts"

const BYTES = 3
/** As in the chunk. */
const SAME = 0
const GONE = 0xff

/** The bytes of a chunk of `count` messages, as kept (or none yet). */
export const read = (kept: unknown, count: number): Uint8Array => {
  const states = new Uint8Array(count * BYTES)
  if (kept instanceof Uint8Array) states.set(kept.subarray(0, states.length))
  return states
}

export const remove = (states: Uint8Array, index: number): void => {
  states[index * BYTES] = GONE
}

/** Sets what has not gone. */
export const set = (states: Uint8Array, index: number, state: number, packetId: number): void => {
  const at = index * BYTES
  if (states[at] === GONE) return
  states[at] = state
  states[at + 1] = packetId >>> 8
  states[at + 2] = packetId
}

export const isGone = (states: Uint8Array, index: number): boolean => states[index * BYTES] === GONE

export const allGone = (states: Uint8Array): boolean => {
  for (let at = 0; at < states.length; at += BYTES) if (states[at] !== GONE) return false
  return true
}

/** Undefined: as in the chunk. */
export const get = (
  states: Uint8Array,
  index: number
): { readonly state: OutgoingState; readonly packetId: number } | undefined => {
  const at = index * BYTES
  const state = states[at]!
  if (state === SAME) return undefined
  // A state that no exchange has is found when the record is checked.
  return { state: state as OutgoingState, packetId: (states[at + 1]! << 8) | states[at + 2]! }
}
