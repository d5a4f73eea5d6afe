/**
 * The documented states of a message on its way, and the only ways from one to the next.
 *
 * The numbers are the manual's (`IncomingMessageStatus`, `OutgoingMessageStatus`), seen from the broker. Each table is
 * checked against its `Transition` type by the compiler: an edge that is not listed there does not compile.
 */

/** 1 waiting, 2 sent awaiting PUBACK, 3 sent awaiting PUBREC, 4 PUBREC received, 5 PUBREL sent, 10 done. */
export type OutgoingState = 1 | 2 | 3 | 4 | 5 | 10

export type OutgoingInput =
  | "sendQos0"
  | "sendQos1"
  | "sendQos2"
  | "pubAck"
  | "pubRec"
  | "pubRecFailure"
  | "pubRel"
  | "pubComp"

/** 6 before PUBACK, 7 before PUBREC, 8 PUBREC sent awaiting PUBREL, 9 PUBREL received, 10 done. */
export type IncomingState = 6 | 7 | 8 | 9 | 10

export type IncomingInput = "pubAck" | "pubRec" | "pubRel" | "pubComp" | "publish"

export type OutgoingTransition =
  | readonly [from: 1, input: "sendQos0", to: 10]
  | readonly [from: 1, input: "sendQos1", to: 2]
  | readonly [from: 1, input: "sendQos2", to: 3]
  | readonly [from: 2, input: "sendQos1", to: 2] // resent with DUP after a reconnect [MQTT-4.4.0-1]
  | readonly [from: 3, input: "sendQos2", to: 3]
  | readonly [from: 2, input: "pubAck", to: 10]
  | readonly [from: 3, input: "pubRec", to: 4]
  | readonly [from: 3, input: "pubRecFailure", to: 10] // [MQTT-4.3.3-4] a PUBREC of 0x80 and above ends the exchange
  | readonly [from: 4, input: "pubRec", to: 4] // asked again before PUBREL was released
  | readonly [from: 4, input: "pubRel", to: 5]
  | readonly [from: 5, input: "pubRel", to: 5] // resent after a reconnect
  | readonly [from: 5, input: "pubRec", to: 5] // the client asks again: PUBREL is sent again
  | readonly [from: 5, input: "pubComp", to: 10]

export type IncomingTransition =
  | readonly [from: 6, input: "pubAck", to: 10]
  | readonly [from: 7, input: "pubRec", to: 8]
  | readonly [from: 7, input: "publish", to: 7] // a duplicate before PUBREC was released
  | readonly [from: 7, input: "pubRel", to: 9] // after a restart the PUBREC may have been seen and not remembered
  | readonly [from: 8, input: "publish", to: 8] // a duplicate before PUBREL: PUBREC again, every time
  | readonly [from: 8, input: "pubRec", to: 8]
  | readonly [from: 8, input: "pubRel", to: 9]
  | readonly [from: 9, input: "pubRel", to: 9]
  | readonly [from: 9, input: "publish", to: 9]
  | readonly [from: 9, input: "pubComp", to: 10]

export const outgoingTransitions: ReadonlyArray<OutgoingTransition> = [
  [1, "sendQos0", 10],
  [1, "sendQos1", 2],
  [1, "sendQos2", 3],
  [2, "sendQos1", 2],
  [3, "sendQos2", 3],
  [2, "pubAck", 10],
  [3, "pubRec", 4],
  [3, "pubRecFailure", 10],
  [4, "pubRec", 4],
  [4, "pubRel", 5],
  [5, "pubRel", 5],
  [5, "pubRec", 5],
  [5, "pubComp", 10]
]

export const incomingTransitions: ReadonlyArray<IncomingTransition> = [
  [6, "pubAck", 10],
  [7, "pubRec", 8],
  [7, "publish", 7],
  [7, "pubRel", 9],
  [8, "publish", 8],
  [8, "pubRec", 8],
  [8, "pubRel", 9],
  [9, "pubRel", 9],
  [9, "publish", 9],
  [9, "pubComp", 10]
]

type Rows<Input extends string, State extends number> = Readonly<Record<Input, ReadonlyArray<State | undefined>>>

/** The row of one input, indexed by state: the packet path pays two loads, no hash. */
const row = <State extends number>(
  transitions: ReadonlyArray<readonly [from: State, input: string, to: State]>,
  input: string
): ReadonlyArray<State | undefined> => {
  const states = new Array<State | undefined>(11).fill(undefined)
  for (const [from, by, to] of transitions) if (by === input) states[from] = to
  return states
}

export const outgoingStates: ReadonlyArray<OutgoingState> = [1, 2, 3, 4, 5, 10]
export const outgoingInputs: ReadonlyArray<OutgoingInput> = [
  "sendQos0",
  "sendQos1",
  "sendQos2",
  "pubAck",
  "pubRec",
  "pubRecFailure",
  "pubRel",
  "pubComp"
]
export const incomingStates: ReadonlyArray<IncomingState> = [6, 7, 8, 9, 10]
export const incomingInputs: ReadonlyArray<IncomingInput> = ["pubAck", "pubRec", "pubRel", "pubComp", "publish"]

const outgoingRow = (input: OutgoingInput) => row<OutgoingState>(outgoingTransitions, input)
const incomingRow = (input: IncomingInput) => row<IncomingState>(incomingTransitions, input)

/** `outgoingAfter.pubAck[state]`: the next state, or undefined when that input is not legal in `state`. */
export const outgoingAfter: Rows<OutgoingInput, OutgoingState> = {
  sendQos0: outgoingRow("sendQos0"),
  sendQos1: outgoingRow("sendQos1"),
  sendQos2: outgoingRow("sendQos2"),
  pubAck: outgoingRow("pubAck"),
  pubRec: outgoingRow("pubRec"),
  pubRecFailure: outgoingRow("pubRecFailure"),
  pubRel: outgoingRow("pubRel"),
  pubComp: outgoingRow("pubComp")
}

/** `incomingAfter.pubRel[state]`: the next state, or undefined when that input is not legal in `state`. */
export const incomingAfter: Rows<IncomingInput, IncomingState> = {
  pubAck: incomingRow("pubAck"),
  pubRec: incomingRow("pubRec"),
  pubRel: incomingRow("pubRel"),
  pubComp: incomingRow("pubComp"),
  publish: incomingRow("publish")
}
