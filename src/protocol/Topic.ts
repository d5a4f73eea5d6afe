/**
 * Topic names and topic filters as strings: what is valid, what is shared, what matches.
 *
 * Everything is one pass over the characters, without recursion and without splitting, so that a hostile topic of
 * 65,535 slashes costs a loop and an error value. Looking a topic up among many filters is not here: see
 * `core/TopicTree.ts`. Clause numbers are those of MQTT 5.0.
 */
import { ProtocolError } from "./ProtocolError.ts"

/** The longest topic in UTF-8 bytes: its length travels in two bytes. */
export const bytesMax = 65_535

const nul = 0x00
const hash = 0x23
const dollar = 0x24
const plus = 0x2b
const slash = 0x2f

const sharePrefix = "$share/"

const faults = {
  empty: "A topic has at least one character [MQTT-4.7.3-1].",
  nul: "A topic does not contain the null character [MQTT-4.7.3-2].",
  illFormed: "A topic is well-formed Unicode, without half surrogate pairs [MQTT-1.5.4-1].",
  tooLong: "A topic is at most 65,535 bytes of UTF-8 [MQTT-4.7.3-3].",
  tooDeep: "The topic has more levels than are accepted here.",
  wildcardInName: "A topic name does not contain the wildcards + and # [MQTT-3.3.2-2].",
  multiLevel: "The wildcard # is the last character of a filter, alone or after a slash [MQTT-4.7.1-1].",
  singleLevel: "The wildcard + fills a whole level of a filter [MQTT-4.7.1-2].",
  noShareName: "A shared subscription is $share/name/filter, and its name is not empty [MQTT-4.8.2-1].",
  badShareName: "The name in $share/name/filter contains no + or #, and a filter follows it [MQTT-4.8.2-2]."
} as const

type Fault = keyof typeof faults

/** Why a topic name (of a PUBLISH or a will) is invalid: code 601, reason code 0x90; `undefined` when it is valid. */
export const validateName = (topic: string, levelsMax: number): ProtocolError | undefined => {
  const fault = faultOf(topic, levelsMax, false)
  return fault === undefined ? undefined : new ProtocolError(0x90, faults[fault], 601)
}

/**
 * Why a topic filter is invalid: code 601, reason code 0x8F; `undefined` when it is valid.
 *
 * A filter that starts with `$share/` must be a valid shared subscription; `$share` alone is an ordinary filter.
 */
export const validateFilter = (filter: string, levelsMax: number): ProtocolError | undefined => {
  const shared = filter.startsWith(sharePrefix)
  const fault = (shared ? shareFaultOf(filter) : undefined) ?? faultOf(filter, shared ? levelsMax + 2 : levelsMax, true)
  return fault === undefined ? undefined : new ProtocolError(0x8f, faults[fault], 601)
}

const shareFaultOf = (filter: string): Fault | undefined => {
  const nameEnd = filter.indexOf("/", sharePrefix.length)
  if (nameEnd === sharePrefix.length || filter.length === sharePrefix.length) return "noShareName" // [MQTT-4.8.2-1]
  if (nameEnd === -1 || nameEnd === filter.length - 1) return "badShareName" // [MQTT-4.8.2-2]
  for (let at = sharePrefix.length; at < nameEnd; at++) {
    const code = filter.charCodeAt(at)
    if (code === plus || code === hash) return "badShareName" // [MQTT-4.8.2-2]
  }
  return undefined
}

const faultOf = (text: string, levelsMax: number, wildcards: boolean): Fault | undefined => {
  const length = text.length
  if (length === 0) return "empty" // [MQTT-4.7.3-1]
  if (length > bytesMax) return "tooLong" // no character is less than a byte, so there is nothing to look at
  let bytes = length
  let levels = 1
  for (let at = 0; at < length; at++) {
    const code = text.charCodeAt(at)
    if (code > 0x7f) {
      if (code < 0x800) bytes += 1
      else if (code < 0xd800 || code > 0xdfff) bytes += 2
      else {
        const low = code < 0xdc00 && at + 1 < length ? text.charCodeAt(at + 1) : 0
        if (low < 0xdc00 || low > 0xdfff) return "illFormed" // [MQTT-1.5.4-1]
        bytes += 2 // two units of the string are four bytes
        at++
      }
    } else if (code === slash) levels++
    else if (code === nul)
      return "nul" // [MQTT-4.7.3-2]
    else if (code === hash || code === plus) {
      if (!wildcards) return "wildcardInName" // [MQTT-3.3.2-2]
      const startsLevel = at === 0 || text.charCodeAt(at - 1) === slash
      if (code === hash && !(startsLevel && at === length - 1)) return "multiLevel" // [MQTT-4.7.1-1]
      const endsLevel = at === length - 1 || text.charCodeAt(at + 1) === slash
      if (!(startsLevel && endsLevel)) return "singleLevel" // [MQTT-4.7.1-2]
    }
  }
  if (bytes > bytesMax) return "tooLong" // [MQTT-4.7.3-3]
  return levels > levelsMax ? "tooDeep" : undefined
}

/** Whether only the server publishes to a topic: `$SYS` and everything below it. */
export const isReserved = (topic: string): boolean =>
  topic.charCodeAt(0) === dollar && (topic === "$SYS" || topic.startsWith("$SYS/"))

/** How many levels a topic name or filter has. */
export const levelsOf = (topic: string): number => {
  let levels = 1
  for (let at = topic.indexOf("/"); at !== -1; at = topic.indexOf("/", at + 1)) levels++
  return levels
}

/**
 * The parts of a shared subscription: `$share/g/a/+` is group `g` and filter `a/+`; `undefined` when it is not shared.
 *
 * It only takes the string apart; `validateFilter` says whether the parts are good.
 */
export const parseShared = (filter: string): { readonly group: string; readonly filter: string } | undefined => {
  if (!filter.startsWith(sharePrefix)) return undefined
  const nameEnd = filter.indexOf("/", sharePrefix.length)
  if (nameEnd === -1) return undefined
  return { group: filter.slice(sharePrefix.length, nameEnd), filter: filter.slice(nameEnd + 1) }
}

/**
 * Whether a valid filter (without `$share/group/`) matches a valid topic name.
 *
 * `a/#` matches `a` itself, and a leading wildcard does not match a name that starts with `$` [MQTT-4.7.2-1].
 */
export const matches = (filter: string, topic: string): boolean => {
  const filterEnd = filter.length
  const topicEnd = topic.length
  if (topic.charCodeAt(0) === dollar) {
    const first = filter.charCodeAt(0)
    if (first === plus || first === hash) return false // [MQTT-4.7.2-1]
  }
  let f = 0
  let t = 0
  // Each turn compares one level; both indices stand at its first character.
  while (true) {
    const code = f < filterEnd ? filter.charCodeAt(f) : slash
    if (code === hash) return true
    if (code === plus) {
      f++
      while (t < topicEnd && topic.charCodeAt(t) !== slash) t++
    } else {
      while (f < filterEnd && t < topicEnd && filter.charCodeAt(f) !== slash) {
        if (filter.charCodeAt(f) !== topic.charCodeAt(t)) return false
        f++
        t++
      }
    }
    if (t < topicEnd && topic.charCodeAt(t) !== slash) return false
    if (f === filterEnd) return t === topicEnd
    if (t === topicEnd) return filter.charCodeAt(f + 1) === hash
    f++
    t++
  }
}
