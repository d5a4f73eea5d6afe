/**
 * The load generator process: takes one job from its parent, does it, answers, and ends. It also ends when the parent
 * does.
 */
import type { Answer, Job, Measurement } from "./job.ts"
import { runHandshakes } from "./load-handshakes.ts"
import { runIdle } from "./load-idle.ts"
import { runMessages } from "./load-messages.ts"
import { runOffline } from "./load-offline.ts"
import { residentBytes } from "./process-stats.ts"

const run = (job: Job): Promise<Measurement> => {
  const { scenario } = job
  switch (scenario.kind) {
    case "messages":
      return runMessages(job, scenario)
    case "idle":
      return runIdle(job, scenario)
    case "offline":
      return runOffline(job, scenario)
    case "stored":
      // It listens: nothing else is asked of it.
      return Promise.resolve({ residentBytes: residentBytes(job.brokerPid), notes: [] })
    case "handshakes":
      return runHandshakes(job, scenario)
  }
}

const answer = (message: Answer): void => {
  process.send?.(message, () => process.exit())
}

process.once("disconnect", () => process.exit())
process.once("message", (job: Job) => {
  run(job).then(
    (measurement) => answer({ measurement }),
    (cause: unknown) => answer({ error: cause instanceof Error ? cause.message : String(cause) })
  )
})
