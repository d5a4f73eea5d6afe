/**
 * The command lines of the programs that search for faults: `npm run simulate`, `fuzz`, `soak` and `test:crash`.
 *
 * Owns what they have in common: `--help` prints the usage, and what is wrong with the arguments is said in a line.
 * The exit code is 2 then, and when the program itself fails; 1 says that it found something. What can be asked for is
 * each program's own.
 */

/** A number that a program is given. */
export const whole = (option: string, value: string): number => {
  const number = Number(value)
  if (!/^\d+$/.test(value) || !Number.isSafeInteger(number)) {
    throw new Error(`--${option} must be a whole number, not ${value}`)
  }
  return number
}

/** How often something is done: what is never done finds nothing, and must not pass for a search. */
export const count = (option: string, value: string): number => {
  const number = whole(option, value)
  if (number === 0) throw new Error(`--${option} must be at least 1`)
  return number
}

export const positive = (option: string, value: string): number => {
  const number = Number(value)
  if (!(number > 0)) throw new Error(`--${option} must be a number above 0, not ${value}`)
  return number
}

/**
 * Runs a program.
 *
 * @param parse reads the arguments; undefined: `--help`. Throws an Error whose message says what is wrong with them.
 * @param main returns the exit code
 */
export const run = async <Options>(
  usage: string,
  parse: () => Options | undefined,
  main: (options: Options) => number | Promise<number>
): Promise<void> => {
  let options: Options | undefined
  try {
    options = parse()
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    console.error(message.replaceAll(/\s*\n\s*/g, " "))
    process.exitCode = 2
    return
  }
  if (options === undefined) {
    console.log(usage.trimEnd())
    return
  }
  try {
    process.exitCode = await main(options)
  } catch (error) {
    console.error(error)
    // What it started may still live.
    process.exit(2)
  }
}
