/**
 * Every failure that a broker's effects can have, provoked for real: what was done to get it, its documented code, and
 * that it says what to do.
 */
import { afterAll, assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Layer from "effect/Layer"
import { readFileSync } from "node:fs"
import * as Broker from "../../src/broker/Broker.ts"
import * as BrokerError from "../../src/broker/BrokerError.ts"
import * as ConnectionId from "../../src/core/ConnectionId.ts"
import * as Storage from "../../src/storage/BrokerStorage.ts"
import type { ListenerOptions } from "../../src/transport/Listener.ts"
import * as Program from "../cli/Program.ts"
import * as TestCertificates from "../transport/TestCertificates.ts"
import * as RawClient from "./RawClient.ts"
import { brokerLayer, type Options, port } from "./support.ts"

const files = TestCertificates.folder()
afterAll(() => files.remove())

type Tag = BrokerError.BrokerErrorReason["_tag"]
type Provoked = Effect.Effect<unknown, BrokerError.BrokerError, Scope.Scope>

/** With a broker of its own. */
const withBroker = (
  use: (broker: Broker.Broker["Service"], port: number) => Effect.Effect<unknown, BrokerError.BrokerError, Scope.Scope>,
  options?: Options
): Provoked =>
  Effect.gen(function* () {
    return yield* use(yield* Broker.Broker, yield* port)
  }).pipe(Effect.provide(brokerLayer(options)))

const listening = (options: ListenerOptions): Provoked =>
  withBroker((broker) => broker.addListener({ port: 0, ...options } as ListenerOptions))

const { ca, server } = TestCertificates.standard()
const tls = (options: Partial<Extract<ListenerOptions, { readonly protocol: 1 }>>): Provoked =>
  listening({ protocol: 1, sslCertStore: server.pem, ...options })

/** A store that fails in this way as soon as there is something to keep. */
const failing = (reason: Storage.StorageErrorReason) =>
  Layer.succeed(Storage.BrokerStorage)({
    keeps: "everything",
    load: reason._tag === "StorageCorrupt" ? Stream.fail(new Storage.StorageError({ reason })) : Stream.empty,
    commit: () => Effect.fail(new Storage.StorageError({ reason }))
  })

const SESSION = '{"ClientId":"a","Subscriptions":[],"IncomingMessages":[],"OutgoingMessages":[]}'

/** How to get each of them, and the code that it has then. */
const provoking: Readonly<Record<Exclude<Tag, "AccessDenied">, readonly [code: number, how: Provoked]>> = {
  ProtocolViolation: [
    600,
    withBroker((broker) => broker.publish({ topic: "t", payload: "", properties: { contentType: "\u0000" } }))
  ],
  InvalidTopic: [601, withBroker((broker) => broker.publish({ topic: "a/#", payload: "" }))],
  NotConnected: [212, withBroker((broker) => broker.disconnect(ConnectionId.fromNumber(7)))],
  ShutDown: [211, withBroker((broker) => Effect.andThen(broker.shutdown, broker.publish({ topic: "t", payload: "" })))],
  NoSuchSession: [211, withBroker((broker) => broker.saveSession("nobody"))],
  SessionConnected: [
    211,
    withBroker((broker, bound) =>
      RawClient.connect(bound, { clientId: "a" }).pipe(Effect.orDie, Effect.andThen(broker.loadSession(SESSION)))
    )
  ],
  LimitReached: [
    10055,
    withBroker((broker) => broker.setRetainedMessage({ topic: "t", payload: "x" }), {
      settings: { retainedMessagesMax: 0 }
    })
  ],
  StorageRefuses: [
    10069,
    withBroker(
      (broker) =>
        Effect.gen(function* () {
          const state = yield* broker
            .eventsOf("StorageChanged")
            .pipe(Stream.take(1), Stream.runDrain, Effect.forkScoped({ startImmediately: true }))
          yield* Effect.forkScoped(broker.publish({ topic: "t", payload: "x", retain: true }))
          yield* Fiber.join(state)
          return yield* broker.loadSession(SESSION)
        }),
      {
        storage: failing(new Storage.StorageFull({ detail: "no space." })),
        settings: { shutdownTimeoutSeconds: 0 }
      }
    )
  ],
  InvalidSessionJson: [600, withBroker((broker) => broker.loadSession("{"))],
  InvalidSetting: [10022, withBroker((broker) => broker.config("LogLevel=loud"))],
  UnknownSetting: [10022, withBroker((broker) => broker.config("LogLevle"))],
  SettingNotApplicable: [10045, withBroker((broker) => broker.config("CodePage"))],
  SettingFixed: [213, withBroker((broker) => broker.config("receiveMaximum=5"))],
  StorageUnavailable: [
    303,
    withBroker(() => Effect.void, { storage: failing(new Storage.StorageCorrupt({ detail: "rubbish" })) })
  ],
  AddressInUse: [10048, withBroker((broker, bound) => broker.addListener({ port: bound }))],
  // An address of the documentation, which no machine has.
  AddressNotAvailable: [10049, listening({ host: "192.0.2.1" })],
  HostNotFound: [11001, listening({ host: "::1", useIPv6: 0 })],
  // A link-local address without its interface.
  SocketFailed: [10022, listening({ host: "fe80::1" })],
  TlsSettingUnsupported: [270, tls({ sslEnabledCipherSuites: "NO_SUCH_SUITE" })],
  CertificateStoreUnavailable: [271, tls({ sslCertStoreType: 6, sslCertStore: "/nowhere/server.pem" })],
  CertificateNotFound: [272, tls({ sslCertSubject: "CN=somebody else" })],
  CredentialsUnusable: [
    273,
    tls({ sslCertStore: TestCertificates.pfx([server], "right"), sslCertStorePassword: "wrong" })
  ],
  CertificateChainMissing: [274, tls({ sslCACerts: TestCertificates.authority("Other CA", "client").certPem })],
  CertificateChainInvalid: [275, tls({ sslCACerts: TestCertificates.authority("Test CA", "client").certPem })],
  CertificateExpired: [
    280,
    tls({ sslCertStore: TestCertificates.issue({ commonName: "old", issuer: ca, from: -9, to: -2 }).pem })
  ],
  // It names nobody who could be asked.
  CertificateStatusBad: [280, tls({ sslCheckOCSP: 2 })],
  ServerCertificateMissing: [282, tls({ sslCertStore: server.certPem })]
}

describe("a failure of a broker", () => {
  for (const [tag, [code, how]] of Object.entries(provoking)) {
    it.live(`${tag} (${code})`, () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(how)
        assert.strictEqual(error._tag, "BrokerError")
        assert.deepStrictEqual([error.reason._tag, error.code], [tag, code])
        assert.strictEqual(error.message, error.reason.message)
        assert.match(error.message, /^[A-Z].{20,}/)
      })
    )
  }

  it("is one of these, and of the one below", () => {
    const tags = BrokerError.BrokerErrorReason.members.map(({ fields }) => {
      const { ast } = fields._tag as { readonly ast: { readonly literal: string } } // the tag of a tagged error
      return ast.literal
    })
    assert.sameMembers(tags, [...Object.keys(provoking), "AccessDenied"])
  })
})

describe("a port that only the system's administrator may take", () => {
  const RESERVED = 1
  const unprivileged = (): number => {
    try {
      return Number(readFileSync("/proc/sys/net/ipv4/ip_unprivileged_port_start", "utf8"))
    } catch (_error) {
      return 0 // not Linux: nothing is known of it
    }
  }

  const everybody = unprivileged() <= RESERVED
  if (everybody) console.log(`AccessDenied is not provoked: this system lets everybody take port ${RESERVED}.`)

  it.live.skipIf(everybody)("AccessDenied (10013), in a process without rights", () =>
    Effect.gen(function* () {
      // Everything is loaded before the rights are given up: others may not read this repository.
      const code = `
        const Effect = await import("effect/Effect")
        const Broker = await import("./src/broker/Broker.ts")
        if (process.getuid() === 0) process.setuid(65534)
        const listen = Effect.flatMap(Broker.Broker, (broker) => broker.addListener({ port: ${RESERVED} }))
        const provoked = Effect.scoped(Effect.flip(listen)).pipe(Effect.provide(Broker.layerMemory()))
        const error = await Effect.runPromise(provoked)
        console.log(error.reason._tag, error.code)`
      const program = yield* Program.start(["--input-type=module", "--eval", code])
      yield* program.line(/AccessDenied 10013/)
    })
  )
})
