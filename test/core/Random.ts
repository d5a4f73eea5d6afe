/** Numbers that look random and are the same in every run. */

/** `next(n)` is an integer from 0 to n - 1 (a linear congruential generator, its upper bits). */
export const random = (seed: number): ((below: number) => number) => {
  let state = (seed * 2_654_435_761 + 12_345) >>> 0
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 0x1_0000_0000) * below)
  }
}
