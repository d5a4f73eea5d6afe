/**
 * Every documented configuration setting of the broker, by its documented name: where it is here, or why it is not.
 *
 * The manuals are the .NET and the Delphi edition; the five settings at the end are only in the latter. Properties that
 * are plain values (DefaultIdleTimeout, SSLProvider) and the LogLevel that the Log event refers to are settings too.
 */
import type { BrokerSettings } from "./BrokerSettings.ts"
import type { ListenerKey } from "./ListenerDefaults.ts"
import { VERSION } from "./Version.ts"

/** Settings of the broker that are one value. */
export type BrokerKey = {
  [K in keyof BrokerSettings]: BrokerSettings[K] extends number | boolean | string ? K : never
}[keyof BrokerSettings]

/** What a connection's handshake has agreed on. */
export type ConnectionKey =
  | "sslNegotiatedCipher"
  | "sslNegotiatedCipherStrength"
  | "sslNegotiatedCipherSuite"
  | "sslNegotiatedKeyExchange"
  | "sslNegotiatedVersion"

export type Place =
  /** Holds for the whole broker, from now on. */
  | { readonly scope: "broker"; readonly key: BrokerKey }
  /** Holds for listeners that are started after it is set. `separator` stands where ours is a semicolon. */
  | { readonly scope: "listener"; readonly key: ListenerKey; readonly separator?: string }
  /** Is read as `Name[connectionId]`. */
  | { readonly scope: "connection"; readonly key: ConnectionKey }
  /** Can only be read. */
  | { readonly scope: "constant"; readonly value: string }
  /** Does not apply, for a reason that is a sentence. */
  | { readonly scope: "none"; readonly reason: string }

const broker = (key: BrokerKey): Place => ({ scope: "broker", key })
const listener = (key: ListenerKey, separator?: string): Place =>
  separator === undefined ? { scope: "listener", key } : { scope: "listener", key, separator }
const connection = (key: ConnectionKey): Place => ({ scope: "connection", key })
const none = (reason: string): Place => ({ scope: "none", reason })

const NO_FIREWALL = "A broker is connected to: it makes no connections that a firewall or proxy would stand before."
const ONE_LIBRARY = "The runtime has one implementation of TLS, OpenSSL, on every platform."

export const places: Readonly<Record<string, Place>> = {
  // Properties.
  DefaultIdleTimeout: broker("idleTimeoutSeconds"),
  SSLProvider: none(ONE_LIBRARY),
  LogLevel: broker("logLevel"),

  // TCPClient settings.
  CloseStreamAfterTransfer: none("The broker sends messages, not files or streams."),
  ConnectionTimeout: listener("handshakeTimeoutSeconds"),
  FirewallAutoDetect: none(NO_FIREWALL),
  FirewallHost: none(NO_FIREWALL),
  FirewallListener: none(NO_FIREWALL),
  FirewallPassword: none(NO_FIREWALL),
  FirewallPort: none(NO_FIREWALL),
  FirewallType: none(NO_FIREWALL),
  FirewallUser: none(NO_FIREWALL),
  KeepAliveInterval: listener("tcpKeepAliveIntervalMillis"),
  KeepAliveTime: listener("tcpKeepAliveMillis"),
  Linger: listener("linger"),
  LingerTime: listener("lingerSeconds"),
  LocalHost: listener("host"),
  LocalPort: listener("port"),
  MaxLineLength: none("MQTT has packets with a length, not lines: packetBytesMax is their limit."),
  MaxTransferRate: listener("transferBytesPerSecondMax"),
  ProxyExceptionsList: none(NO_FIREWALL),
  TCPKeepAlive: listener("tcpKeepAlive"),
  TcpNoDelay: listener("noDelay"),
  // Until it is set it reads "", not the documented 0: the host alone decides then, and "::1" needs no other setting.
  UseIPv6: listener("useIPv6"),
  UseNTLMv2: none("NTLM is a way to sign in at a proxy, and a broker connects to none."),

  // SSL settings.
  CACertFilePaths: none("It is about the Mono runtime; sslClientCACerts takes the path of a file."),
  LogSSLPackets: none(
    "Node writes the packets of TLS to standard error only; SSLStatus tells the steps of a handshake."
  ),
  ReuseSSLSession: listener("reuseSSLSession"),
  SSLCACerts: listener("sslCACerts"),
  SSLCheckCRL: none("Clients look their server up in such a list; sslClientCRLs are those for client certificates."),
  SSLCheckOCSP: listener("sslCheckOCSP"),
  SSLCipherStrength: none("OpenSSL has no setting for it: choose the cipher suites with SSLEnabledCipherSuites."),
  SSLClientCACerts: listener("sslClientCACerts"),
  SSLEnabledCipherSuites: listener("sslEnabledCipherSuites"),
  SSLEnabledProtocols: listener("sslEnabledProtocols"),
  SSLEnableRenegotiation: listener("sslEnableRenegotiation"),
  SSLIncludeCertChain: none("It is about the SSLServerAuthentication event, which only clients have."),
  SSLKeyLogFile: listener("sslKeyLogFile"),
  SSLNegotiatedCipher: connection("sslNegotiatedCipher"),
  SSLNegotiatedCipherStrength: connection("sslNegotiatedCipherStrength"),
  SSLNegotiatedCipherSuite: connection("sslNegotiatedCipherSuite"),
  SSLNegotiatedKeyExchange: connection("sslNegotiatedKeyExchange"),
  SSLNegotiatedKeyExchangeStrength: none("Node does not tell a server the size of the key that was exchanged."),
  SSLNegotiatedVersion: connection("sslNegotiatedVersion"),
  SSLSecurityFlags: none("The sslClientAuthentication hook decides about a certificate that could not be verified."),
  SSLServerCACerts: none("It is about checking the certificates of servers, and a broker connects to none."),
  TLS12SignatureAlgorithms: listener("tls12SignatureAlgorithms"),
  TLS12SupportedGroups: listener("tls12SupportedGroups"),
  TLS13KeyShareGroups: none("It is about the first message of a client; a server takes what it is offered."),
  TLS13SignatureAlgorithms: listener("tls13SignatureAlgorithms"),
  TLS13SupportedGroups: listener("tls13SupportedGroups"),

  // Socket settings.
  AbsoluteTimeout: none("Nothing blocks here that would have such a timeout: Effect.timeout ends any effect in time."),
  FirewallData: none(NO_FIREWALL),
  InBufferSize: none("Node has no setting for the receive buffer of a TCP socket; the operating system sizes it."),
  OutBufferSize: none("Node has no setting for the send buffer of a TCP socket; outboxBytesMax is our own limit."),

  // Base settings.
  BuildInfo: { scope: "constant", value: `effect-mqtt ${VERSION}` },
  GUIAvailable: none("Node has an event loop and no message loop of windows."),
  LicenseInfo: { scope: "constant", value: "MIT" },
  MaskSensitiveData: broker("maskSensitiveData"),
  UseFIPSCompliantAPI: none(
    "It is the choice of a whole process: start Node with --enable-fips, or call crypto.setFips."
  ),
  UseInternalSecurityAPI: none(ONE_LIBRARY),

  // Only in the Delphi edition.
  OpenSSLCADir: listener("sslClientCADir"),
  OpenSSLCAFile: listener("sslClientCACerts"),
  OpenSSLCipherList: listener("sslEnabledCipherSuites", ":"),
  OpenSSLPrngSeedData: none("OpenSSL seeds itself from the operating system."),
  CodePage: none("Text is UTF-8 in MQTT and UTF-16 in JavaScript, whatever the system's code page is.")
}
