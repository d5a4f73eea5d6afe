import { assert, describe, it } from "@effect/vitest"
import {
  incomingAfter,
  incomingInputs,
  incomingStates,
  incomingTransitions,
  outgoingAfter,
  outgoingInputs,
  outgoingStates,
  outgoingTransitions
} from "../../src/core/MessageState.ts"

/** Written down from the documented meaning of the states, apart from the table under test. "-": not legal. */
const outgoing = {
  //            1      2      3      4      5      10
  sendQos0: ["10", "-", "-", "-", "-", "-"],
  sendQos1: ["2", "2", "-", "-", "-", "-"],
  sendQos2: ["3", "-", "3", "-", "-", "-"],
  pubAck: ["-", "10", "-", "-", "-", "-"],
  pubRec: ["-", "-", "4", "4", "5", "-"],
  pubRecFailure: ["-", "-", "10", "-", "-", "-"],
  pubRel: ["-", "-", "-", "5", "5", "-"],
  pubComp: ["-", "-", "-", "-", "10", "-"]
} as const

const incoming = {
  //         6     7    8    9     10
  pubAck: ["10", "-", "-", "-", "-"],
  pubRec: ["-", "8", "8", "-", "-"],
  pubRel: ["-", "9", "9", "9", "-"],
  pubComp: ["-", "-", "-", "10", "-"],
  publish: ["-", "7", "8", "9", "-"]
} as const

const shown = (state: number | undefined): string => (state === undefined ? "-" : String(state))

describe("MessageState", () => {
  it("has exactly the documented states", () => {
    assert.deepStrictEqual([...outgoingStates], [1, 2, 3, 4, 5, 10])
    assert.deepStrictEqual([...incomingStates], [6, 7, 8, 9, 10])
    assert.deepStrictEqual([...outgoingInputs].sort(), Object.keys(outgoing).sort())
    assert.deepStrictEqual([...incomingInputs].sort(), Object.keys(incoming).sort())
  })

  it("moves outgoing messages along the documented edges only: every state, every input", () => {
    for (const input of outgoingInputs) {
      assert.deepStrictEqual(
        outgoingStates.map((state) => shown(outgoingAfter[input][state])),
        [...outgoing[input]],
        input
      )
    }
  })

  it("moves incoming messages along the documented edges only: every state, every input", () => {
    for (const input of incomingInputs) {
      assert.deepStrictEqual(
        incomingStates.map((state) => shown(incomingAfter[input][state])),
        [...incoming[input]],
        input
      )
    }
  })

  it("has one edge for a state and an input", () => {
    for (const transitions of [outgoingTransitions, incomingTransitions]) {
      const keys = transitions.map(([from, input]) => `${from} ${input}`)
      assert.strictEqual(new Set(keys).size, keys.length)
    }
  })

  it("ends in 10 from everywhere, and never leaves it", () => {
    const ends = (transitions: ReadonlyArray<readonly [number, string, number]>, states: ReadonlyArray<number>) => {
      const reaching = new Set([10])
      for (let round = 0; round < states.length; round++) {
        for (const [from, , to] of transitions) if (reaching.has(to)) reaching.add(from)
      }
      assert.deepStrictEqual(
        states.filter((state) => !reaching.has(state)),
        []
      )
      assert.isFalse(transitions.some(([from]) => from === 10))
    }
    ends(outgoingTransitions, outgoingStates)
    ends(incomingTransitions, incomingStates)
  })
})
