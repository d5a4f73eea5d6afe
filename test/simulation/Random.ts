/**
 * Numbers that look random and are the same for the same seed, in every run and on every machine.
 *
 * The generator is a small one of four 32-bit words (three that are mixed, one that counts); it is no secret.
 */
export class Random {
  private a: number
  private b: number
  private c: number
  private counter = 1

  constructor(seed: number) {
    this.a = seed | 0
    this.b = Math.imul(seed, 0x9e37_79b9) | 0
    this.c = 0x243f_6a88
    // Seeds that differ in one bit begin to differ in all of them.
    for (let round = 0; round < 12; round++) this.word()
  }

  /** An integer from 0 to `limit` - 1. */
  below(limit: number): number {
    return Math.floor((this.word() / 0x1_0000_0000) * limit)
  }

  /** An integer from `least` to `most`. */
  between(least: number, most: number): number {
    return least + this.below(most - least + 1)
  }

  /** True in that share of the cases. */
  chance(share: number): boolean {
    return this.word() < share * 0x1_0000_0000
  }

  /** One of several, which must not be none. */
  pick<Item>(items: ReadonlyArray<Item>): Item {
    return items[this.below(items.length)]!
  }

  private word(): number {
    const sum = (this.a + this.b + this.counter) | 0
    this.counter = (this.counter + 1) | 0
    this.a = this.b ^ (this.b >>> 9)
    this.b = (this.c + (this.c << 3)) | 0
    this.c = ((this.c << 21) | (this.c >>> 11)) + sum
    return sum >>> 0
  }
}
