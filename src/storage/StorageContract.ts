/**
 * What every store that keeps everything must do, whatever it is made of: the tests of your own.
 *
 * `cases` are effects that fail with an AssertionError; they need no test runner of any kind. Provide each with a store
 * that is made anew for it and is empty: `Effect.runPromise(Effect.provide(body, layer))`. Within a case both halves of
 * a restart use the same one.
 */
import * as Changes from "./contract/Changes.ts"
import type { Case } from "./contract/Case.ts"
import * as Messages from "./contract/Messages.ts"
import * as Queues from "./contract/Queues.ts"
import * as Records from "./contract/Records.ts"

/** For tests of your own beside these. */
export * from "./StorageRecords.ts"

export const cases: ReadonlyArray<Case> = [...Records.cases, ...Changes.cases, ...Messages.cases, ...Queues.cases]
