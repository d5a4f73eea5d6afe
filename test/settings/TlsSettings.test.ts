/**
 * The documented lists of TLS (cipher suites, groups, signature algorithms), by what clients of each version get.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type { ConnectionOptions } from "node:tls"
import * as BrokerConfig from "../../src/broker/BrokerConfig.ts"
import * as Settings from "../../src/settings/Settings.ts"
import * as TestHandler from "../transport/TestHandler.ts"
import { connect, listen } from "../transport/TestTls.ts"

/** The settings after these assignments. */
const assigned = (assignments: ReadonlyArray<string>) =>
  Effect.gen(function* () {
    let settings = BrokerConfig.defaults
    for (const assignment of assignments) {
      settings = Settings.change(settings, yield* Settings.assign(assignment, settings, true))
    }
    return settings
  })

/** Without the suites that have no group. */
const tls12 = { maxVersion: "TLSv1.2", ciphers: "ECDHE+AESGCM" } as const
const tls13 = { minVersion: "TLSv1.3" } as const

/** What a client gets: the suite, or the group of one that offers certain ones; or that it is refused. */
const outcome = (port: number, options: ConnectionOptions) =>
  connect(port, options).pipe(
    Effect.map((socket) => {
      if (options.ecdhCurve === undefined) return socket.getCipher().name
      const group = socket.getEphemeralKeyInfo()
      // Groups that are no curves have no name there.
      return group !== null && "name" in group && group.name !== undefined ? group.name : options.ecdhCurve
    }),
    Effect.orElseSucceed(() => "refused")
  )

const suite12 = "ECDHE-RSA-AES128-GCM-SHA256"
const suite13 = "TLS_AES_256_GCM_SHA384"

const manual12 =
  "sha512-ecdsa,sha512-rsa,sha512-dsa,sha384-ecdsa,sha384-rsa,sha384-dsa,sha256-ecdsa,sha256-rsa,sha256-dsa," +
  "sha224-ecdsa,sha224-rsa,sha224-dsa,sha1-ecdsa,sha1-rsa,sha1-dsa"
const manual13 =
  "rsa_pss_sha256,rsa_pss_sha384,rsa_pss_sha512,rsa_pkcs1_sha256,rsa_pkcs1_sha384,rsa_pkcs1_sha512," +
  "ecdsa_secp256r1_sha256,ecdsa_secp384r1_sha384,ecdsa_secp521r1_sha512,ed25519,ed448"
const groups13 =
  "ecdhe_x25519,ecdhe_x448,ecdhe_secp256r1,ecdhe_secp384r1,ecdhe_secp521r1," +
  "ffdhe_2048,ffdhe_3072,ffdhe_4096,ffdhe_6144,ffdhe_8192"

const cases: ReadonlyArray<
  readonly [assignments: ReadonlyArray<string>, clients: ReadonlyArray<readonly [ConnectionOptions, string]>]
> = [
  // A client of TLS 1.2 that offers nothing else.
  ...["DHE-RSA-AES128-GCM-SHA256", "DHE-RSA-AES256-SHA256"].map(
    (ciphers) =>
      [
        [
          "SSLEnabledCipherSuites=TLS_DHE_RSA_WITH_AES_128_GCM_SHA256;" +
            "TLS_DHE_RSA_WITH_AES_256_CBC_SHA256;TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"
        ],
        [
          [{ ...tls12, ciphers }, ciphers],
          [tls13, suite13]
        ]
      ] as const
  ),
  [["OpenSSLCipherList=DHE+AESGCM"], [[{ ...tls12, ciphers: "DHE+AESGCM" }, "DHE-RSA-AES256-GCM-SHA384"]]],
  [[], [[{ ...tls12, ciphers: "DHE+AESGCM" }, "refused"]]],
  [
    ["SSLEnabledCipherSuites=TLS_AES_128_GCM_SHA256;TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"],
    [
      [tls12, "ECDHE-RSA-AES256-GCM-SHA384"],
      [tls13, "TLS_AES_128_GCM_SHA256"],
      [{ ...tls12, ciphers: suite12 }, "refused"],
      [{ ...tls13, ciphers: suite13 }, "refused"]
    ]
  ],
  [
    ["TLS13SignatureAlgorithms=rsa_pss_sha256", "TLS12SignatureAlgorithms=sha512-ecdsa,sha512-rsa"],
    [
      [tls12, suite12],
      [tls13, suite13],
      [{ ...tls12, sigalgs: "RSA+SHA512" }, suite12],
      [{ ...tls12, sigalgs: "RSA+SHA384" }, "refused"],
      [{ ...tls13, sigalgs: "rsa_pss_rsae_sha256" }, suite13],
      [{ ...tls13, sigalgs: "rsa_pss_rsae_sha384" }, "refused"]
    ]
  ],
  [
    [`TLS12SignatureAlgorithms=${manual12}`],
    [
      [tls12, suite12],
      [tls13, suite13],
      [{ ...tls13, sigalgs: "rsa_pss_rsae_sha512" }, suite13]
    ]
  ],
  [
    [`TLS12SignatureAlgorithms=${manual12}`, `TLS13SignatureAlgorithms=${manual13}`],
    [
      [tls12, suite12],
      [tls13, suite13]
    ]
  ],
  [
    ["TLS13SignatureAlgorithms=rsa_pss_sha512"],
    [
      [{ ...tls12, sigalgs: "RSA+SHA256" }, suite12],
      [{ ...tls13, sigalgs: "rsa_pss_rsae_sha512" }, suite13],
      [{ ...tls13, sigalgs: "rsa_pss_rsae_sha256" }, "refused"]
    ]
  ],
  [
    ["SSLEnabledProtocols=3072", "TLS12SignatureAlgorithms=sha512-rsa", "TLS13SignatureAlgorithms=rsa_pss_sha256"],
    [
      [{ ...tls12, sigalgs: "RSA+SHA512" }, suite12],
      [{ ...tls12, sigalgs: "rsa_pss_rsae_sha256" }, "refused"]
    ]
  ],
  [
    ["TLS13SupportedGroups=ecdhe_x25519", "TLS12SupportedGroups=ecdhe_secp384r1"],
    [
      [{ ...tls13, ecdhCurve: "X25519" }, "X25519"],
      [{ ...tls12, ecdhCurve: "P-384" }, "secp384r1"],
      [{ ...tls12, ecdhCurve: "P-256" }, "refused"],
      [{ ...tls13, ecdhCurve: "P-256" }, "refused"]
    ]
  ],
  [
    ["TLS12SupportedGroups=ecdhe_secp384r1"],
    [
      [{ ...tls13, ecdhCurve: "X25519" }, "X25519"],
      [{ ...tls13, ecdhCurve: "ffdhe2048" }, "ffdhe2048"],
      [{ ...tls12, ecdhCurve: "P-384" }, "secp384r1"]
    ]
  ],
  [
    ["TLS13SupportedGroups=ecdhe_x25519"],
    [
      [{ ...tls12, ecdhCurve: "P-521" }, "secp521r1"],
      [{ ...tls13, ecdhCurve: "X25519" }, "X25519"],
      [{ ...tls13, ecdhCurve: "X448" }, "refused"]
    ]
  ],
  [
    ["SSLEnabledProtocols=12288", "TLS12SupportedGroups=ecdhe_secp384r1", "TLS13SupportedGroups=ecdhe_x25519"],
    [
      [{ ...tls13, ecdhCurve: "P-384" }, "refused"],
      [{ ...tls13, ecdhCurve: "X25519" }, "X25519"]
    ]
  ],
  [
    ["TLS12SupportedGroups=ecdhe_secp256r1,ecdhe_secp384r1,ecdhe_secp521r1", `TLS13SupportedGroups=${groups13}`],
    [
      [{ ...tls12, ecdhCurve: "P-256" }, "prime256v1"],
      [{ ...tls13, ecdhCurve: "X448" }, "X448"]
    ]
  ]
]

describe("the lists of TLS", () => {
  for (const [assignments, clients] of cases) {
    const lists = assignments.map((each) => (each.length > 100 ? `${each.slice(0, 100)}…` : each)).join(" and ")
    it.live(`${lists || "of a broker that was told nothing"}: ${clients.map(([, got]) => got).join(", ")}`, () =>
      Effect.gen(function* () {
        const settings = yield* assigned(assignments)
        for (const assignment of assignments) {
          const [name = "", value] = assignment.split("=")
          assert.strictEqual(yield* Settings.read(name, settings, () => Effect.succeed("")), value)
        }
        const { localPort } = yield* listen(yield* TestHandler.make(), settings.listenerDefaults)
        for (const [options, got] of clients) assert.strictEqual(yield* outcome(localPort, options), got)
      })
    )
  }
})
