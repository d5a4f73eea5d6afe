/**
 * The version of this package, as `--version` and `BuildInfo` say it.
 *
 * Written here and not read from package.json, which is not where a bundler puts the code. A test compares the two.
 */
export const VERSION = "0.1.0"
