/**
 * The configuration of a listener, one Schema a protocol: names, defaults and ranges, the documented ones where the
 * documentation has them.
 *
 * What each TLS setting does is in `TlsSettings.ts` and `Certificate.ts`, of the sockets in `TcpListener.ts` and
 * `ShapedConnection.ts`, of WebSocket in `WebSocketStage.ts`.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Struct from "effect/Struct"
import { isIP } from "node:net"

/** 0 TCP, 1 TLS, 2 WebSocket, 3 secure WebSocket: the documented numbers. */
export const Protocol = Schema.Literals([0, 1, 2, 3]).annotate({
  message: "protocol must be 0 (TCP), 1 (TLS), 2 (WebSocket) or 3 (secure WebSocket)"
})
export type Protocol = typeof Protocol.Type

const defaulted = <S extends Schema.Top>(schema: S, value: S["Encoded"]) =>
  schema.pipe(Schema.withDecodingDefaultKey(Effect.succeed(value)))

const whole = (name: string, minimum: number, maximum: number) => {
  const message = `${name} must be a whole number from ${minimum} to ${maximum}`
  const inRange = (value: number) => Number.isInteger(value) && value >= minimum && value <= maximum
  return Schema.Number.check(Schema.makeFilter(inRange, { message }))
}

/** An address, or a network written like 10.0.0.0/8. */
const isNetwork = (text: string): boolean => {
  const [address = "", prefix, ...more] = text.split("/")
  const family = isIP(address)
  if (family === 0 || more.length > 0) return false
  return prefix === undefined || (/^\d{1,3}$/.test(prefix) && Number(prefix) <= (family === 4 ? 32 : 128))
}

const Network = Schema.String.check(
  Schema.makeFilter(isNetwork, { message: "proxyProtocolFrom must hold addresses, or networks like 10.0.0.0/8" })
)

const Host = Schema.String.check(
  // biome-ignore lint/suspicious/noControlCharactersInRegex: that is what it must not have
  Schema.makeFilter((text: string) => /^[^\s\u0000-\u001f]+$/.test(text), {
    expected: "an address or a name, without blanks"
  })
)

/** What every listener has; only the usual port differs. */
const socketFields = (port: number) => ({
  /** The address to bind, or a name that resolves to it. Only this machine can reach the default. */
  host: defaulted(Host, "127.0.0.1"),
  /** 0 takes any free port; the listener reports which. */
  port: defaulted(whole("port", 0, 65_535), port),
  /** `UseIPv6`: 0 IPv4 only, 1 IPv6 only, 2 IPv6 or else IPv4. Left out: as the host is written. */
  useIPv6: Schema.optionalKey(Schema.Literals([0, 1, 2])),
  /** With host "::": refuse IPv4. */
  ipv6Only: defaulted(Schema.Boolean, false),
  /** Connections that the operating system holds until they are accepted. */
  backlog: defaulted(whole("backlog", 1, 65_535), 511),
  /** `TcpNoDelay`: sends at once instead of waiting for more. On, unlike the manual's: output is gathered before. */
  noDelay: defaulted(Schema.Boolean, true),
  /** `TCPKeepAlive`: whether the operating system probes connections that are idle. Either time below turns it on. */
  tcpKeepAlive: defaulted(Schema.Boolean, false),
  /** `KeepAliveTime`: idle milliseconds before the first probe, in whole seconds; 0: the operating system's own. */
  tcpKeepAliveMillis: defaulted(whole("tcpKeepAliveMillis", 0, 32_767_000), 0),
  /** `KeepAliveInterval`: milliseconds between unanswered probes (Node 26.4 and later); 0: a second. */
  tcpKeepAliveIntervalMillis: defaulted(whole("tcpKeepAliveIntervalMillis", 0, 32_767_000), 0),
  /** `Linger`: a close waits until what was written is sent. False: it resets at once, and drops what is unsent. */
  linger: defaulted(Schema.Boolean, true),
  /** `LingerTime`: seconds that such a close may wait before it resets; 0: as long as the broker's own limits say. */
  lingerSeconds: defaulted(whole("lingerSeconds", 0, 86_400), 0),
  /** `MaxTransferRate`: most bytes sent per second and connection; 0: no limit. */
  transferBytesPerSecondMax: defaulted(whole("transferBytesPerSecondMax", 0, Number.MAX_SAFE_INTEGER), 0),
  /** `ConnectionTimeout`: seconds for PROXY header, TLS handshake and WebSocket upgrade, each. */
  handshakeTimeoutSeconds: defaulted(whole("handshakeTimeoutSeconds", 1, 3_600), 10),
  /** Who must begin with a PROXY protocol header (version 1 or 2), and is believed. Nobody else's is looked for. */
  proxyProtocolFrom: defaulted(Schema.Array(Network), [])
})

/** A path for the store types that are files; text or bytes for the others. Auto-detection takes either. */
const Store = Schema.Union([Schema.NonEmptyString, Schema.Uint8Array])

const Password = Schema.Union([Schema.Redacted(Schema.String), Schema.RedactedFromValue(Schema.String)])

/** Where a certificate and its private key are. */
const certificateFields = {
  /** `SSLCertStoreType`: 2 and 3 PFX file and blob, 6 and 7 PEM file and blob, 99 finds out. */
  sslCertStoreType: defaulted(whole("sslCertStoreType", 0, 99), 99),
  sslCertStore: Store.pipe(
    Schema.annotateKey({
      messageMissingKey: "a listener with TLS needs sslCertStore: the path of a PFX or PEM file, or its contents"
    })
  ),
  sslCertStorePassword: defaulted(Password, ""),
  /** `*` takes the first certificate with a key; or a subject, a part of one, or `Thumbprint=` and a hash. */
  sslCertSubject: defaulted(Schema.String, "*"),
  /** The private key (PEM, or the path of a PEM file) when the store does not hold it. */
  sslCertKey: Schema.optionalKey(Store)
}

export const CertificateConfig = Schema.Struct(certificateFields)
export interface CertificateConfig extends Schema.Schema.Type<typeof CertificateConfig> {}

/** A certificate for certain host names (SNI); without names: those in the certificate. */
export const NamedCertificateConfig = Schema.Struct({
  ...certificateFields,
  hostNames: defaulted(Schema.Array(Schema.NonEmptyString), [])
})
export interface NamedCertificateConfig extends Schema.Schema.Type<typeof NamedCertificateConfig> {}

/** What can be replaced while the listener runs. */
const replaceableFields = {
  ...certificateFields,
  /** Certificates for clients that ask for another host name. */
  sniCertificates: defaulted(Schema.Array(NamedCertificateConfig), []),
  /** `SSLCACerts`: certificates (PEM, or a path) that lead from the certificate to one that clients know. */
  sslCACerts: defaulted(Schema.String, ""),
  /** `SSLClientCACerts`: who may issue client certificates (PEM, or a path). None: only the hook can accept one. */
  sslClientCACerts: defaulted(Schema.String, ""),
  /**
   * `OpenSSLCADir`: a directory of further such certificates in PEM files, all of which are read (names do not matter);
   * "": none. At most 2,000 files and 16 MiB.
   */
  sslClientCADir: defaulted(Schema.String, ""),
  /**
   * Revoked client certificates (PEM, or a path): the list of each authority between a client's certificate and the one
   * that is known. Where one of these lists is missing or out of date, nobody is verified.
   */
  sslClientCRLs: defaulted(Schema.String, "")
}

const tlsFields = {
  ...replaceableFields,
  /** `SSLAuthenticateClients`: asks clients for a certificate, and lets in only who has one that is accepted. */
  sslAuthenticateClients: defaulted(Schema.Boolean, false),
  /**
   * The common name of a client's verified certificate is its user name, whatever its CONNECT says. Includes
   * `sslAuthenticateClients`; who has no such name is refused.
   */
  sslCertUserName: defaulted(Schema.Boolean, false),
  /**
   * `SSLCheckOCSP`: the status of the certificate is asked for at its authority's responder, and shown to clients. 0
   * not; 1 where there is one that answers, and a revoked certificate is refused; 2 as well one of unknown status.
   */
  sslCheckOCSP: defaulted(Schema.Literals([0, 1, 2]), 0),
  /** 192 TLS 1.0, 768 TLS 1.1, 3072 TLS 1.2, 12288 TLS 1.3, added up. 15360 is the last two; the manual's is 3072. */
  sslEnabledProtocols: defaulted(whole("sslEnabledProtocols", 0, 65_535), 15_360),
  /**
   * Documented or OpenSSL names with `;` between them, or a list in OpenSSL's own syntax (`HIGH:!aNULL:!MD5`, which
   * `OpenSSLCipherList` is for); `*`: those that the runtime thinks safe. A list without suites of TLS 1.3 leaves those
   * as they are: `sslEnabledProtocols` turns that version off. `TLS_DHE_…` suites are only used if a list has them.
   */
  sslEnabledCipherSuites: defaulted(Schema.NonEmptyString, "*"),
  /**
   * Groups of TLS 1.2 and before: documented or OpenSSL names with `,` between them; "" in both versions: the
   * runtime's.
   *
   * OpenSSL has one list for all versions: what is named for one can be used in the other as well, and where only one
   * is named, what is usual in the other is added so that its clients stay. Who wants to forbid something names what is
   * allowed for both, or enables one version.
   */
  tls12SupportedGroups: defaulted(Schema.String, ""),
  /** The same for TLS 1.3. */
  tls13SupportedGroups: defaulted(Schema.String, ""),
  /** Signature algorithms of TLS 1.2; all else is as with groups. */
  tls12SignatureAlgorithms: defaulted(Schema.String, ""),
  /** The same for TLS 1.3. */
  tls13SignatureAlgorithms: defaulted(Schema.String, ""),
  /** Secrets of every connection are appended here, for Wireshark. "": nowhere. */
  sslKeyLogFile: defaulted(Schema.String, ""),
  /** `ReuseSSLSession`: clients may resume a session without a full handshake. */
  reuseSSLSession: defaulted(Schema.Boolean, true),
  /** Whether clients may renegotiate (TLS 1.2). */
  sslEnableRenegotiation: defaulted(Schema.Boolean, false)
}

const WebPath = Schema.String.check(
  Schema.makeFilter((path: string) => path === "" || path.startsWith("/"), {
    message: 'path must begin with "/", or be empty for any'
  })
)

const webSocketFields = {
  /** The only path that is served; "": any. */
  path: defaulted(WebPath, ""),
  /** Origins whose pages may connect (`https://app.example`); empty: any. Programs that send none may always. */
  origins: defaulted(Schema.Array(Schema.NonEmptyString), []),
  /**
   * Largest frame, and largest message of several; 0: as large as the largest packet (`packetBytesMax`), as it is when
   * a connection begins.
   */
  frameBytesMax: defaulted(whole("frameBytesMax", 0, 268_435_460), 0),
  /**
   * Compression. Costs memory and time for each connection: also one whose client has not said who it is may then make
   * the broker hold a message of `frameBytesMax`.
   */
  perMessageDeflate: defaulted(Schema.Boolean, false),
  /** Seconds between pings, for the sake of proxies; who has not answered at the next is cut off. 0: none. */
  pingSeconds: defaulted(whole("pingSeconds", 0, 86_400), 0)
}

export const TcpListenerConfig = Schema.Struct({
  protocol: defaulted(Schema.Literal(0), 0),
  ...socketFields(1883)
})
export interface TcpListenerConfig extends Schema.Schema.Type<typeof TcpListenerConfig> {}

export const TlsListenerConfig = Schema.Struct({
  protocol: Schema.Literal(1),
  ...socketFields(8883),
  ...tlsFields
})
export interface TlsListenerConfig extends Schema.Schema.Type<typeof TlsListenerConfig> {}

export const WebSocketListenerConfig = Schema.Struct({
  protocol: Schema.Literal(2),
  ...socketFields(80),
  ...webSocketFields
})
export interface WebSocketListenerConfig extends Schema.Schema.Type<typeof WebSocketListenerConfig> {}

export const SecureWebSocketListenerConfig = Schema.Struct({
  protocol: Schema.Literal(3),
  ...socketFields(443),
  ...tlsFields,
  ...webSocketFields
})
export interface SecureWebSocketListenerConfig extends Schema.Schema.Type<typeof SecureWebSocketListenerConfig> {}

/** The certificates of a listener, as they can be replaced at run time. */
export const CertificatesConfig = Schema.Struct(replaceableFields)
export interface CertificatesConfig extends Schema.Schema.Type<typeof CertificatesConfig> {}

const certificatesKeys = Object.keys(replaceableFields) as ReadonlyArray<keyof CertificatesConfig> // written out above

/** Those of a listener's settings. */
export const certificatesOf = (config: CertificatesConfig): CertificatesConfig => Struct.pick(config, certificatesKeys)

/** What is replaced of them: what is left out stays as it is. */
export type CertificatesOptions = Partial<typeof CertificatesConfig.Encoded>

/**
 * Options with others put over them. A certificate is replaced as a whole: with another `sslCertStore` goes what says
 * how the one before is opened, which would not open this one.
 */
export const withCertificates = <A extends object>(options: A, replaced: CertificatesOptions): A => {
  const given = Object.entries(replaced).filter(([, value]) => value !== undefined)
  const stays = ([key]: readonly [string, unknown]) =>
    replaced.sslCertStore === undefined || !Object.hasOwn(certificateFields, key)
  // What was taken out is put in again, but for what has a default.
  return Object.fromEntries([...Object.entries(options).filter(stays), ...given]) as A
}

/** One member a protocol, told apart by `protocol`. */
export const ListenerConfig = Schema.Union([
  TcpListenerConfig,
  TlsListenerConfig,
  WebSocketListenerConfig,
  SecureWebSocketListenerConfig
])
export type ListenerConfig = typeof ListenerConfig.Type
export type TlsConfig = TlsListenerConfig | SecureWebSocketListenerConfig
export type WebSocketConfig = WebSocketListenerConfig | SecureWebSocketListenerConfig

/** What one writes: every field that has a default may be left out. */
export type ListenerOptions = typeof ListenerConfig.Encoded

const schemas = {
  0: TcpListenerConfig,
  1: TlsListenerConfig,
  2: WebSocketListenerConfig,
  3: SecureWebSocketListenerConfig
} as const satisfies Record<Protocol, Schema.Codec<ListenerConfig, unknown>>

const decodeProtocol = Schema.decodeUnknownEffect(Schema.Struct({ protocol: Protocol }))

/** Fills in defaults. Fails with every fault, each with its name; only those of the protocol that was asked for. */
export const decode = (options: ListenerOptions): Effect.Effect<ListenerConfig, Schema.SchemaError> =>
  Effect.flatMap(decodeProtocol({ protocol: options.protocol ?? 0 }), ({ protocol }) => {
    const schema: Schema.Codec<ListenerConfig, unknown> = schemas[protocol]
    return Schema.decodeUnknownEffect(schema)(options, { onExcessProperty: "error", errors: "all" })
  })

const Replacement = Schema.Struct({ ...replaceableFields, sslCertStore: Schema.optionalKey(Store) })

/** Fails with every fault of certificates that are to replace others, each with its name. */
export const checkReplacement = (options: object): Effect.Effect<unknown, Schema.SchemaError> =>
  Schema.decodeUnknownEffect(Replacement)(options, { onExcessProperty: "error", errors: "all" })

/** Whether a TCP listener needs nothing besides its server. */
export const isPlain = (config: TcpListenerConfig): boolean =>
  config.proxyProtocolFrom.length === 0 &&
  config.linger &&
  config.lingerSeconds === 0 &&
  config.transferBytesPerSecondMax === 0
