/** One run: a fresh broker, a fresh load generator, one scenario. */
import { fileURLToPath } from "node:url"
import type { RunningBroker } from "./brokers.ts"
import { certificates } from "./certificates.ts"
import { ask } from "./children.ts"
import { isSecure } from "./connection.ts"
import type { Answer, Job } from "./job.ts"
import type { Options } from "./options.ts"
import { type Scenario, transportOf } from "./scenarios.ts"
import type { Signal } from "./turns.ts"

const generator = fileURLToPath(new URL("./generator.ts", import.meta.url))

/** Connecting, warming up and draining, beside the windows themselves. */
const spareSeconds = 30
/** A million messages in and out, each phase with its own limit. */
const offlineSecondsMax = 100

/** What was measured or why not, and how long the broker took to start if it did. */
export type Found = Answer & { readonly startMilliseconds?: number }

export const messageOf = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause))

/** Start a broker, measure a scenario on it, and stop it; `joined` is told of both processes. Never rejects. */
export const measure = async (
  start: () => Promise<RunningBroker>,
  scenario: Scenario,
  options: Pick<Options, "seconds" | "warmUpSeconds">,
  joined: (process: Signal) => void = () => {}
): Promise<Found> => {
  try {
    const running = await start()
    const { pid, port, startMilliseconds } = running
    try {
      joined(running.signal)
      const { warmUpSeconds } = options
      const seconds = scenario.main ? options.seconds : options.seconds / 2
      const transport = transportOf(scenario)
      const authority = isSecure(transport) ? { authority: certificates().authority } : {}
      const job: Job = { scenario, address: { port, transport, ...authority }, brokerPid: pid, seconds, warmUpSeconds }
      const limit = scenario.kind === "offline" ? offlineSecondsMax : 2 * (seconds + warmUpSeconds) + spareSeconds
      const answer = await ask<Job, Answer>(generator, job, limit, joined)
      if (scenario.kind !== "stored" || "error" in answer) return { ...answer, startMilliseconds }
      // The start itself is what this one is about.
      return { measurement: { ...answer.measurement, startMilliseconds } }
    } catch (cause) {
      return { error: messageOf(cause), startMilliseconds }
    } finally {
      await running.stop()
    }
  } catch (cause) {
    return { error: messageOf(cause) }
  }
}
