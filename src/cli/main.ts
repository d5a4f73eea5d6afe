#!/usr/bin/env node
/**
 * The program `effect-mqtt`: turns on Node's compile cache, then loads and runs the rest.
 *
 * Compiling (and, from sources, removing types) is most of a cold start: with the cache the second start takes half
 * the time of the first. It lies beside the installed packages and not in a directory for everybody's temporary files:
 * who can write there could change the code as well. Where it is not writable there is no cache, and no harm.
 */
import { enableCompileCache } from "node:module"
import { fileURLToPath } from "node:url"

enableCompileCache(fileURLToPath(new URL("../../node_modules/.cache/effect-mqtt", import.meta.url)))

const program = await import("./Program.ts")
program.run()
