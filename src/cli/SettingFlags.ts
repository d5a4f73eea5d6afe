/**
 * `--set Name=Value`: any setting of the broker on the command line, by its documented name or ours.
 */
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import type * as BrokerConfig from "../broker/BrokerConfig.ts"
import * as BrokerError from "../broker/BrokerError.ts"
import * as Settings from "../settings/Settings.ts"

export const flags = {
  set: Flag.String("set").pipe(
    Flag.withDescription("A setting, as Name=Value, documented names included (TcpNoDelay=False); may be repeated"),
    Flag.atLeast(0)
  )
}

/** The settings with what the assignments change, one after the other. */
export const apply = (
  settings: BrokerConfig.BrokerSettings,
  assignments: ReadonlyArray<string>
): Effect.Effect<BrokerConfig.BrokerSettings, BrokerError.BrokerError> =>
  Effect.gen(function* () {
    let changed = settings
    for (const assignment of assignments) {
      changed = Settings.change(changed, yield* Settings.assign(assignment, changed, false))
    }
    return changed
  }).pipe(Effect.mapError(BrokerError.of))
