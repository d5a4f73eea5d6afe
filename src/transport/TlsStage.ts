/**
 * The TLS part of a listener: a `tls.Server` that never listens, and is given connections that have been admitted.
 *
 * Owns its contexts (one a certificate, replaced at run time), and finding the arrival that an event of the server is
 * about. The decision about a client's certificate is asked for by `StagedListener`.
 */
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type { X509Certificate } from "node:crypto"
import * as Fs from "node:fs"
import type * as Net from "node:net"
import * as Tls from "node:tls"
import { type Arrival, failed, type Stages } from "./Arrival.ts"
import * as Certificate from "./Certificate.ts"
import * as CertificateDirectory from "./CertificateDirectory.ts"
import * as CertificateError from "./CertificateError.ts"
import * as CertificateStore from "./CertificateStore.ts"
import * as DistinguishedName from "./DistinguishedName.ts"
import { errnoOf, type ListenError } from "./ListenError.ts"
import type { CertificatesOptions, ClientCertificate, NegotiatedTls } from "./Listener.ts"
import {
  type CertificateConfig,
  CertificatesConfig,
  certificatesOf,
  type TlsConfig,
  withCertificates
} from "./ListenerConfig.ts"
import * as OcspStaple from "./OcspStaple.ts"
import * as TlsSettings from "./TlsSettings.ts"

interface NamedContext {
  readonly answersFor: (hostName: string) => boolean
  readonly context: Tls.SecureContext
}

/** Everything that is replaced together. */
interface Contexts {
  readonly config: CertificatesConfig
  readonly options: Tls.SecureContextOptions
  readonly named: ReadonlyArray<NamedContext>
  readonly staples: ReadonlyArray<OcspStaple.Staple>
}

/** Whether a name, or a name with `*` as its first label, is that of the host. */
const covers = (name: string, host: string): boolean => {
  const [wanted, asked] = [name.toLowerCase(), host.toLowerCase()]
  return wanted.startsWith("*.") ? asked.slice(asked.indexOf(".")) === wanted.slice(1) : asked === wanted
}

const answersFor =
  (hostNames: ReadonlyArray<string>, certificate: X509Certificate) =>
  (host: string): boolean =>
    hostNames.length > 0 ? hostNames.some((name) => covers(name, host)) : certificate.checkHost(host) !== undefined

const secureContext = (options: Tls.SecureContextOptions, store: string) =>
  Effect.try({
    try: () => Tls.createSecureContext(options),
    catch: (error) => {
      const detail = `OpenSSL refuses them (${String(error)}). Make a new key and certificate.`
      return new CertificateError.CredentialsUnusable({ store, why: "refused", detail })
    }
  })

type Check = Pick<TlsConfig, "sslCheckOCSP">

/** Opens and checks every certificate; nothing is in use before all are good. */
const loadContexts = (
  config: CertificatesConfig,
  settings: Tls.SecureContextOptions,
  { sslCheckOCSP }: Check,
  report: (description: string) => void
): Effect.Effect<Contexts, CertificateError.CertificateError> =>
  Effect.gen(function* () {
    const authorities = yield* Certificate.readCertificates("sslCACerts", config.sslCACerts)
    const clientCACerts = yield* Certificate.readCertificates("sslClientCACerts", config.sslClientCACerts)
    const clientCADir = yield* CertificateDirectory.read(config.sslClientCADir)
    const clientCRLs = yield* Certificate.readRevocationLists("sslClientCRLs", config.sslClientCRLs)
    const shared = {
      ...settings,
      // Named or not, never the roots of the web: whoever has a certificate of theirs would be let in.
      ca: [...clientCACerts.map(String), ...clientCADir],
      ...(clientCRLs.length === 0 ? {} : { crl: [...clientCRLs] })
    }
    const staples: Array<OcspStaple.Staple> = []
    const optionsFor = Effect.fnUntraced(function* (each: CertificateConfig) {
      const { certificate, chain: cert, issuer, key } = yield* Certificate.load(each, authorities)
      const staple = sslCheckOCSP === 0 ? undefined : yield* OcspStaple.make(certificate, issuer, sslCheckOCSP, report)
      if (staple !== undefined) staples.push(staple)
      const options = { ...shared, key, cert }
      const store = CertificateStore.nameOf(each.sslCertStore, each.sslCertStoreType)
      return { certificate, options, context: yield* secureContext(options, store) }
    })
    const { options } = yield* optionsFor(config)
    const named = yield* Effect.forEach(config.sniCertificates, (each) =>
      Effect.map(optionsFor(each), ({ certificate, context }) => ({
        answersFor: answersFor(each.hostNames, certificate),
        context
      }))
    )
    return { config, options, named, staples }
  })

const keyOf = (socket: Net.Socket): string => `${socket.remoteAddress} ${socket.remotePort} ${socket.localAddress}`

/** What a client may have done wrong, by the name of OpenSSL's complaint. */
const explain = (error: Error): string => {
  const code = errnoOf(error)
  switch (code) {
    case "ERR_SSL_HTTP_REQUEST":
    case "ERR_SSL_WRONG_VERSION_NUMBER":
    case "ERR_SSL_PACKET_LENGTH_TOO_LONG":
      return `The client does not speak TLS (${code})`
    case "ERR_SSL_UNSUPPORTED_PROTOCOL":
      return `The client offers no enabled TLS version (${code})`
    case "ERR_SSL_NO_SHARED_CIPHER":
      return `The client offers no enabled cipher suite (${code})`
    case "ECONNRESET":
      return `The client went away during the TLS handshake; it may not trust the certificate (${code})`
    default:
      return `TLS handshake failed: ${code}`
  }
}

/** The one common name of the client's certificate; a name with control characters would not be what it looks like. */
const commonNameOf = (socket: Tls.TLSSocket): string | undefined => {
  const names = socket.getPeerX509Certificate()?.toLegacyObject().subject.CN
  return typeof names === "string" && /^\P{Cc}+$/u.test(names) ? names : undefined
}

export class TlsStage {
  readonly authenticatesClients: boolean
  /** Asks for the status of certificates, for ever; undefined: nobody is to be asked. */
  asking: Fiber.Fiber<never> | undefined = undefined
  private readonly namesClients: boolean
  private readonly stages: Stages
  private readonly server: Tls.Server
  private readonly settings: Tls.SecureContextOptions
  private readonly check: Check
  private contexts: Contexts
  /** By the addresses of both ends: what an event of the server names. */
  private readonly pending = new Map<string, Pending>()

  constructor(config: TlsConfig, stages: Stages, settings: Tls.SecureContextOptions, contexts: Contexts) {
    this.stages = stages
    this.settings = settings
    this.contexts = contexts
    this.check = { sslCheckOCSP: config.sslCheckOCSP }
    this.namesClients = config.sslCertUserName
    this.authenticatesClients = config.sslAuthenticateClients || config.sslCertUserName
    this.server = Tls.createServer({
      ...contexts.options,
      handshakeTimeout: 2_000 * config.handshakeTimeoutSeconds, // ours comes first
      requestCert: this.authenticatesClients,
      // The decision is the broker's, and is taken before anything else is done with the connection.
      rejectUnauthorized: false,
      SNICallback: (hostName, done) =>
        done(null, this.contexts.named.find((each) => each.answersFor(hostName))?.context)
    })
    this.server.on("secureConnection", (socket) => this.secured(socket))
    this.server.on("tlsClientError", (error, socket) => this.failed(error, socket))
    if (config.sslCheckOCSP > 0) {
      this.server.on("OCSPRequest", (certificate, _issuer, answer) =>
        answer(null, OcspStaple.find(this.contexts.staples, certificate, Date.now()))
      )
    }
  }

  get certificate(): CertificatesConfig {
    return this.contexts.config
  }

  begin(arrival: Arrival, ready: Pending["ready"]): void {
    const { raw } = arrival
    const key = keyOf(raw)
    const pending: Pending = { arrival, ready }
    this.pending.set(key, pending)
    raw.once("close", () => {
      if (this.pending.get(key) === pending) this.pending.delete(key)
    })
    this.stages.progress(arrival, () => "TLS handshake begins")
    this.server.emit("connection", raw)
  }

  /** What a client that was asked for a certificate has shown; undefined: it was not asked. */
  clientCertificate({ connectionId, stream }: Arrival): ClientCertificate | undefined {
    if (!this.authenticatesClients || !(stream instanceof Tls.TLSSocket)) return undefined
    const presented = stream.getPeerX509Certificate()
    if (presented === undefined) {
      const nothing = { certEncoded: "", certEncodedB: new Uint8Array(), certSubject: "", certIssuer: "" }
      return { connectionId, ...nothing, status: "the client presented none", accept: false }
    }
    return {
      connectionId,
      certEncoded: presented.raw.toString("base64"),
      certEncodedB: presented.raw,
      certSubject: DistinguishedName.fromNode(presented.subject),
      certIssuer: DistinguishedName.fromNode(presented.issuer),
      status: stream.authorized ? "OK" : String(stream.authorizationError),
      accept: stream.authorized
    }
  }

  /** Finds out who a client is whose certificate is accepted; returns why that is not possible although it must be. */
  identify(arrival: Arrival): string | undefined {
    if (!this.namesClients || !(arrival.stream instanceof Tls.TLSSocket)) return undefined
    if (!arrival.stream.authorized) return "The client certificate is not verified, so its name is nobody's"
    arrival.userName = commonNameOf(arrival.stream)
    return arrival.userName === undefined ? "The client certificate has no common name for a user" : undefined
  }

  /** Loads certificates; what it succeeds with uses them from the next handshake on. */
  load(replaced: CertificatesOptions): Effect.Effect<Effect.Effect<void>, ListenError> {
    return Effect.gen({ self: this }, function* () {
      const config = yield* decodeCertificates(withCertificates(this.contexts.config, replaced))
      const report = (description: string) => this.stages.tlsImpaired(280, description)
      const contexts = yield* loadContexts(config, this.settings, this.check, report)
      return Effect.sync(() => {
        this.contexts = contexts
        this.server.setSecureContext(contexts.options)
      })
    })
  }

  get staples(): ReadonlyArray<OcspStaple.Staple> {
    return this.contexts.staples
  }

  /** There will be no handshake to show a certificate's status in: nobody is asked for it any more. */
  stopAccepting(): void {
    this.asking?.interruptUnsafe()
  }

  /** Appends the secrets of every connection to the file, as long as it takes them. */
  logKeys(file: Fs.WriteStream): void {
    const append = (line: Buffer): void => {
      if (file.writableLength < KEY_LOG_BYTES_MAX) file.write(line)
      else file.destroy(new Error(`more than ${KEY_LOG_BYTES_MAX} bytes wait for its disk`))
    }
    this.server.on("keylog", append)
    // A disk that is full must not end the broker.
    file.on("error", ({ message }) => {
      this.server.removeListener("keylog", append)
      this.stages.tlsImpaired(270, `SSLKeyLogFile is not written to any more: ${message}`)
    })
  }

  private secured(socket: Tls.TLSSocket): void {
    const key = keyOf(socket)
    const pending = this.pending.get(key)
    if (pending === undefined || !pending.arrival.isOpen) {
      socket.destroy()
      return
    }
    this.pending.delete(key)
    // Until somebody wants its bytes: what comes with the last message of the handshake waits.
    socket.pause()
    // Errors between now and then are told by its end; of itself it stays.
    socket.on("error", () => socket.destroy())
    pending.ready(socket, TlsSettings.negotiated(socket))
  }

  private failed(error: Error, socket: Tls.TLSSocket): void {
    const pending = this.pending.get(keyOf(socket))
    // Already gone: the end of the raw connection tells.
    if (pending === undefined) return
    this.stages.fail(pending.arrival, failed(explain(error)))
  }
}

interface Pending {
  readonly arrival: Arrival
  readonly ready: (socket: Tls.TLSSocket, tls: NegotiatedTls) => void
}

const decodeCertificates = (options: CertificatesOptions) =>
  Schema.decodeUnknownEffect(CertificatesConfig)(options, { onExcessProperty: "error", errors: "all" }).pipe(
    Effect.mapError(
      (error) =>
        new CertificateError.CertificateStoreUnavailable({ store: "(new certificates)", detail: `${error.message}.` })
    )
  )

/** Most bytes that wait to be written to it; a handshake has less than a kilobyte. */
const KEY_LOG_BYTES_MAX = 1024 * 1024

const { O_APPEND, O_CREAT, O_NONBLOCK, O_WRONLY } = Fs.constants

/** A pipe without a reader is an error: waiting for one, the whole process would stand still, its end included. */
const KEY_LOG_FLAGS = O_WRONLY | O_APPEND | O_CREAT | O_NONBLOCK

/** Secrets are for their owner's eyes only. */
const openKeyLog = (path: string) =>
  Effect.acquireRelease(
    Effect.try({
      try: () => Fs.createWriteStream(path, { fd: Fs.openSync(path, KEY_LOG_FLAGS, 0o600) }),
      catch: (error) => {
        const detail = `${String(error)}. Name a file that can be written, or none.`
        return new CertificateError.TlsSettingUnsupported({ setting: "SSLKeyLogFile", detail })
      }
    }),
    (file) =>
      Effect.callback<void>((resume) => {
        file.end(() => resume(Effect.void))
      })
  )

/** Checks settings and certificates. Fails with what is wrong, before anything is bound. */
export const make: (
  config: TlsConfig,
  stages: Stages
) => Effect.Effect<TlsStage, CertificateError.CertificateError, Scope.Scope> = Effect.fnUntraced(
  function* (config, stages) {
    const settings = yield* TlsSettings.contextOptions(config)
    const report = (description: string) => stages.tlsImpaired(280, description)
    const contexts = yield* loadContexts(certificatesOf(config), settings, config, report)
    const stage = new TlsStage(config, stages, settings, contexts)
    if (config.sslCheckOCSP > 0) stage.asking = yield* Effect.forkScoped(OcspStaple.keep(() => stage.staples, report))
    if (config.sslKeyLogFile !== "") stage.logKeys(yield* openKeyLog(config.sslKeyLogFile))
    return stage
  }
)
