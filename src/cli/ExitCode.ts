/**
 * What the program's exit codes mean, and how a failure becomes one.
 */
import * as Cause from "effect/Cause"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Runtime from "effect/Runtime"
import * as Schema from "effect/Schema"
import type { BrokerErrorReason } from "../broker/BrokerError.ts"

/** It was asked to stop, and did. */
const STOPPED = 0
/** A failure nobody foresaw. */
const UNEXPECTED = 1
/** Wrong arguments or settings. */
export const USAGE = 2
/** An address could not be listened on. */
const CANNOT_LISTEN = 3
/** What the store keeps could not be opened, loaded or copied. */
export const STORAGE = 4

/** For `--help`. */
export const explanation = [
  "Exit codes:",
  `  ${STOPPED}  stopped because it was asked to (Ctrl-C, SIGTERM)`,
  `  ${UNEXPECTED}  an unexpected failure`,
  `  ${USAGE}  wrong arguments, or a setting out of its range`,
  `  ${CANNOT_LISTEN}  cannot listen: an address that is in use, forbidden or not here, or a bad certificate`,
  `  ${STORAGE}  cannot open, load or copy what is kept: damaged, in use, not writable, of a later version`
].join("\n")

/** A failure that has been explained on standard error; only the exit code is left to set. */
export class ProgramFailed extends Schema.TaggedError<ProgramFailed>()("ProgramFailed", {
  exitCode: Schema.Int
}) {
  override readonly [Runtime.errorExitCode] = this.exitCode
  override readonly [Runtime.errorReported] = false
}

/** Says on standard error what went wrong, and ends with that exit code. */
export const fail = (message: string, exitCode: number): Effect.Effect<never, ProgramFailed> =>
  Effect.andThen(Console.error(`effect-mqtt: ${message}`), Effect.fail(new ProgramFailed({ exitCode })))

export const of = (reason: BrokerErrorReason): number => {
  switch (reason._tag) {
    case "AddressInUse":
    case "AccessDenied":
    case "AddressNotAvailable":
    case "HostNotFound":
    case "SocketFailed":
    case "TlsSettingUnsupported":
    case "CertificateStoreUnavailable":
    case "CertificateNotFound":
    case "CredentialsUnusable":
    case "CertificateChainMissing":
    case "CertificateChainInvalid":
    case "CertificateExpired":
    case "CertificateStatusBad":
    case "ServerCertificateMissing":
      return CANNOT_LISTEN
    case "StorageUnavailable":
      return STORAGE
    case "InvalidSetting":
    case "UnknownSetting":
    case "SettingNotApplicable":
    case "SettingFixed":
      return USAGE
    default:
      return UNEXPECTED
  }
}

const isShowHelp = (error: unknown): boolean =>
  typeof error === "object" && error !== null && "_tag" in error && error._tag === "ShowHelp"

/** An interrupt is a request to stop, and help shown for wrong arguments is wrong usage. */
export const teardown: Runtime.Teardown = (exit, onExit) => {
  if (Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause)) {
    onExit(STOPPED)
    return
  }
  Runtime.defaultTeardown(exit, (code) => {
    const wrongUsage = code !== 0 && Exit.isFailure(exit) && isShowHelp(Cause.squash(exit.cause))
    onExit(wrongUsage ? USAGE : code)
  })
}
